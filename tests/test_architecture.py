"""Imports point down the tiers of docs/architecture.md, and rendering needs the core packages alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import geneface

PACKAGE = Path(geneface.__file__).resolve().parent
TIERS = {
    "errors": 0,
    "types": 1, "config": 1, "workers": 1,
    "geometry": 2, "imaging": 2, "ops": 2, "io": 2, "signal": 2, "_native": 2,
    "analysis": 3, "motion": 3, "render": 3, "voice": 3,
    "avatar": 4, "corpus": 4, "portrait": 4,
    "training": 5, "evaluation": 5,
    "api": 6, "bench": 6, "realtime": 6,
    "serve": 7, "adapters": 7,
    "apps": 8,
    "__main__": 9,
}  # fmt: skip
CORE_PACKAGES = {
    "numpy",
    "onnxruntime",
    "av",
    "soundfile",
    "soxr",
    "typer",
    "rich",
    "pydantic",
    "safetensors",
    "geneface",
}
CORE_MODULES = (
    "api", "apps.cli", "apps.diagnosis", "apps.jobs", "apps.progress",
    "avatar.avatar", "analysis.speech", "voice.registry", "motion.runtime", "motion.person",
    "training.gaussian.train", "training.avatar", "portrait.portrait", "portrait.prepare",
    "portrait.check", "corpus.prepare", "evaluation.evaluate", "evaluation.compare",
)  # fmt: skip
"""What rendering, evaluating and training a renderer run on."""
WHERE_ALLOWED = {
    "torch": (
        "motion/",
        "bench/",
        "training/",
        "analysis/whisper",
        "analysis/hubert",
        "evaluation/networks/",
        "evaluation/metrics/lpips",
        "evaluation/metrics/fid",
        "evaluation/metrics/lse",
    ),
    "skimage": ("evaluation/metrics/colour",),
    "fastapi": ("serve/",),
    "starlette": ("serve/",),
    "uvicorn": ("serve/", "apps/"),
    "httpx2": ("serve/", "voice/"),
    "aiortc": ("serve/live/",),
    "hibari": ("voice/",),
    "livekit": ("adapters/",),
    "pipecat": ("adapters/",),
    "PIL": (),
    "python_speech_features": ("evaluation/metrics/lse",),
    "onnx": ("motion/", "training/"),
    "mediapipe": (),
    "scipy": (),
    "cv2": (),
    "transformers": ("analysis/",),
    "ray": ("corpus/cluster",),
}
"""Optional package -> starts of the paths that may name it."""


def _files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


class _AtRunTime(ast.NodeTransformer):
    """Leaves out what only type checkers see."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if _is_type_checking(node) else self.generic_visit(node)


def imports(tree: ast.AST, package: str, *, lazy: bool = True) -> Iterator[str]:
    """Full names of imported modules. `lazy` false leaves out function bodies and TYPE_CHECKING blocks."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, *([base] if base else [])])
            yield base
            # `from geneface import ops` names a module, too.
            yield from (f"{base}.{alias.name}" for alias in node.names if (base + ".").startswith("geneface."))
        elif lazy or not (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or _is_type_checking(node)
        ):
            yield from imports(node, package, lazy=lazy)


def _package(path: Path) -> str:
    return ".".join(("geneface", *path.relative_to(PACKAGE).parent.parts))


def _violations(path: Path, tree: ast.AST) -> list[str]:
    relative = path.relative_to(PACKAGE)
    own = relative.parts[0].removesuffix(".py")
    if own == "__init__":
        return []
    found = []
    for name in imports(tree, _package(path)):
        parts = name.split(".")
        if parts[0] != "geneface" or len(parts) < 2 or parts[1] not in TIERS or parts[1] == own:
            continue
        if TIERS[parts[1]] >= TIERS[own]:
            found.append(f"{relative} (tier {TIERS[own]}) imports {name} (tier {TIERS[parts[1]]})")
    return found


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    assert _violations(path, ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "where, source",
    [
        ("io/audio.py", "from geneface.analysis import speech"),
        ("portrait/x.py", "def f():\n    from geneface.corpus.prepare import y"),
        ("motion/x.py", "from ..render import condition"),
        ("motion/x.py", "from geneface import evaluation"),
        ("types.py", "import geneface.config"),
    ],
)
def test_the_test_sees_what_it_must(where: str, source: str) -> None:
    assert _violations(PACKAGE / where, ast.parse(source))
    assert not _violations(PACKAGE / "apps/x.py", ast.parse(source.replace("..render", "geneface.render")))


def test_every_folder_has_a_tier() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders <= set(TIERS)


@pytest.mark.slow
@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_one_place_opens_onnx_graphs(path: Path) -> None:
    """It is where onnxruntime's reports to its makers are turned off."""
    tree = _AtRunTime().visit(ast.parse(path.read_text(encoding="utf-8")))
    named = {name.split(".")[0] for name in imports(tree, _package(path))}
    assert "onnxruntime" not in named or path.relative_to(PACKAGE).as_posix() == "io/session.py"


@pytest.mark.slow
@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_optional_packages_stay_in_their_corner(path: Path) -> None:
    relative = path.relative_to(PACKAGE).as_posix()
    named = {name.split(".")[0] for name in imports(ast.parse(path.read_text(encoding="utf-8")), _package(path))}
    wrong = {name for name, starts in WHERE_ALLOWED.items() if name in named and not relative.startswith(starts)}
    assert not wrong


def _module_file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@pytest.mark.slow
def test_the_core_path_imports_core_packages_alone() -> None:
    pending, seen, foreign = [f"geneface.{name}" for name in CORE_MODULES], set(), set()
    while pending:
        file = _module_file(pending.pop())
        if file is None or file in seen:
            continue
        seen.add(file)
        for name in imports(ast.parse(file.read_text(encoding="utf-8")), _package(file), lazy=False):
            top = name.split(".")[0]
            if top == "geneface":
                # A package's __init__ runs before its modules.
                pending += [".".join(name.split(".")[:length]) for length in range(2, len(name.split(".")) + 1)]
            elif top not in CORE_PACKAGES and top not in sys.stdlib_module_names:
                foreign.add(f"{file.relative_to(PACKAGE)}: {name}")
    assert not foreign
    assert len(seen) > len(CORE_MODULES)


@pytest.mark.slow
def test_the_core_path_loads_without_the_extras() -> None:
    blocked = sorted(WHERE_ALLOWED)
    program = f"""
import importlib, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
for name in {CORE_MODULES!r}:
    importlib.import_module("geneface." + name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
