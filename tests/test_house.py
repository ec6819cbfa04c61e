"""The house rules that a machine can check: no circles of imports, no long file or function, nothing public unexplained.

Each rule is a function from source text to complaints, so that a planted fault shows that it sees.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

import pytest

from .test_architecture import PACKAGE, imports

MOST_LINES, MOST_FUNCTION_LINES = 400, 60
KERNELS = PACKAGE.parents[1] / "csrc"
FOREIGN_HOOKS = {"forward", "main", "parse_args", "invoke"}
"""Methods that torch and click call by these names: their contract is theirs."""
Sources = Mapping[str, str]
"""Path in the package, with slashes -> source text."""


@pytest.fixture(scope="module")
def sources() -> Sources:
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


# ---- circles


def import_pairs(sources: Sources) -> Iterator[tuple[str, str]]:
    """(importing file, imported file) of what is imported when a module is loaded."""
    for path, text in sources.items():
        package = ".".join(("geneface", *PurePosixPath(path).parent.parts))
        for name in imports(ast.parse(text), package, lazy=False):
            inside = "/".join(name.split(".")[1:])
            for target in (f"{inside}.py", f"{inside}/__init__.py"):
                if name.startswith("geneface.") and target in sources and target != path:
                    yield path, target


def circles(sources: Sources) -> list[str]:
    """At every level of the tree, files and folders of one folder that import each other in a circle.

    A circle of files in different folders is one of the folders in which their paths part.
    """
    levels: dict[str, dict[str, set[str]]] = {}
    for path, target in import_pairs(sources):
        a, b = path.removesuffix(".py").split("/"), target.removesuffix(".py").split("/")
        depth = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
        levels.setdefault("/".join(a[:depth]), {}).setdefault(a[depth], set()).add(b[depth])
    return [
        f"{folder or 'geneface'}: {' -> '.join([*circle, circle[0]])}"
        for folder, graph in levels.items()
        if (circle := _circle(graph))
    ]


def _circle(graph: Mapping[str, set[str]]) -> list[str]:
    """One shortest way from a node back to itself, or nothing."""
    for start in sorted(graph):
        ways = [[start]]
        seen = set[str]()
        while ways:
            way = ways.pop(0)
            for step in sorted(graph.get(way[-1], ())):
                if step == start:
                    return way
                if step not in seen:
                    seen.add(step)
                    ways.append([*way, step])
    return []


def test_no_imports_in_a_circle(sources: Sources) -> None:
    assert circles(sources) == []


@pytest.mark.parametrize(
    "planted",
    [
        {"a/x.py": "from geneface.a import y", "a/y.py": "from geneface.a.x import f"},
        {"a/x.py": "import geneface.b.y", "b/y.py": "from geneface.a.z import f", "a/z.py": ""},
        {"a/p/x.py": "from ..q.y import f", "a/q/y.py": "from geneface.a.r import z", "a/r/z.py": "",
         "a/r/w.py": "from geneface.a.p.x import f"},
        {"a/x.py": "class A:\n    from geneface.a import y", "a/y.py": "if True:\n    import geneface.a.x"},
        {"a/x.py": "from geneface.a.p.y import f", "a/p/y.py": "from geneface.a.x import g"},
    ],
)  # fmt: skip
def test_a_planted_circle_is_seen(planted: Sources) -> None:
    assert len(circles(planted)) == 1


@pytest.mark.parametrize(
    "harmless",
    [
        {"a/x.py": "from geneface.a import y", "a/y.py": "def f():\n    from geneface.a import x"},
        {"a/x.py": "from geneface.a import y", "a/y.py": "if TYPE_CHECKING:\n    from geneface.a import x"},
        {"a/x.py": "from geneface.a.y import f", "a/y.py": "from geneface.b import z", "b/z.py": "import numpy"},
    ],
)
def test_what_is_no_circle_when_modules_are_loaded_is_none(harmless: Sources) -> None:
    assert circles(harmless) == []


# ---- sizes


def too_long(sources: Sources) -> list[str]:
    """Files over `MOST_LINES` lines."""
    lengths = {path: len(text.splitlines()) for path, text in sources.items()}
    return [f"{path}: {length} lines" for path, length in lengths.items() if length > MOST_LINES]


def long_functions(sources: Sources) -> list[str]:
    """Functions whose statements, signature and docstring aside, span over `MOST_FUNCTION_LINES` lines."""
    found = []
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > MOST_FUNCTION_LINES:
                    found.append(f"{path}: {node.name} has {lines} lines")
    return found


def test_no_file_is_two_ideas(sources: Sources) -> None:
    assert too_long(sources) == []
    kernels = {path.name: path.read_text(encoding="utf-8") for path in KERNELS.glob("*.[ch]pp")}
    assert too_long(kernels) == []


def test_no_function_is_two(sources: Sources) -> None:
    assert long_functions(sources) == []


def test_what_is_too_long_is_seen() -> None:
    assert too_long({"x.py": "\n" * 401, "y.py": "\n" * 400}) == ["x.py: 401 lines"]
    long, right = ("class A:\n    def f(self):\n        'Says.'\n" + "        x = 1\n" * n for n in (61, 60))
    assert long_functions({"x.py": long, "y.py": right}) == ["x.py: f has 61 lines"]


# ---- docstrings


def unexplained(sources: Sources) -> list[str]:
    """Public modules, classes, functions, methods and properties without a docstring.

    Public is what no underscore hides, in no hidden class. A method of a class needs none where a class that it names
    as its base explains a method of that name, nor where a package outside calls it by that name (`FOREIGN_HOOKS`).
    """
    trees = {path: ast.parse(text) for path, text in sources.items()}
    explained = {
        (node.name, method.name)
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
    }
    found = []
    for path, tree in trees.items():
        if not ast.get_docstring(tree):
            found.append(path)
        found += [f"{path}: {name}" for name in _bare(tree.body, explained)]
    return found


def _bare(
    body: Iterable[ast.stmt], explained: set[tuple[str, str]], owner: ast.ClassDef | None = None
) -> Iterator[str]:
    bases = [] if owner is None else [ast.unparse(base).split("[")[0].split(".")[-1] for base in owner.bases]
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from _bare(node.body, explained, owner)
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        is_told = owner is not None and (
            any((base, node.name) in explained for base in bases) or (bool(bases) and node.name in FOREIGN_HOOKS)
        )
        if not ast.get_docstring(node) and not is_told:
            yield f"{owner.name}.{node.name}" if owner is not None else node.name
        if isinstance(node, ast.ClassDef):
            yield from _bare(node.body, explained, node)


def test_everything_public_is_explained(sources: Sources) -> None:
    assert len(sources) > 100
    assert unexplained(sources) == []


def test_what_is_unexplained_is_seen() -> None:
    base = '"""M."""\nclass Base:\n    """B."""\n    def told(self):\n        """T."""\n'
    bare = '"""M."""\nclass A(base.Base):\n    def told(self): ...\n    def f(self): ...\n    @property\n    def g(self): ...\n'
    assert unexplained({"x.py": base, "y.py": bare}) == ["y.py: A", "y.py: A.f", "y.py: A.g"]
    assert unexplained({"x.py": "def f(): ...\n"}) == ["x.py", "x.py: f"]
    hidden = '"""M."""\ndef _f(): ...\nclass _A:\n    def f(self): ...\nclass B(Module):\n    """B."""\n    def forward(self): ...\n'
    assert unexplained({"x.py": hidden}) == []


def test_the_package_is_really_read(sources: Sources) -> None:
    assert "evaluation/metrics/registry.py" in sources and len(sources) > 150
    assert ("evaluation/evaluate.py", "evaluation/schema.py") in set(import_pairs(sources))
