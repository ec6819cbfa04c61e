"""The examples of docs/api.md and docs/text.md run, and the public names are what docs/api.md says."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile

import geneface
from geneface import api
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGE = DOCS / "api.md"


def _blocks(page: Path) -> list[tuple[str, str]]:
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python([^\n]*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


BLOCKS = _blocks(PAGE)
RUN = [source for mark, source in BLOCKS if not mark.strip()]
SPEAK = [source for mark, source in _blocks(DOCS / "text.md") if not mark.strip()]
ONLY_BOUND = [source for mark, source in BLOCKS if mark.strip() == "not-run"]


@pytest.mark.parametrize("source", RUN, ids=[str(number) for number in range(len(RUN))])
def test_an_example_runs(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = read_audio(asset_path("speech", "demo.flac"))
    soundfile.write(tmp_path / "speech.flac", sound.samples[:16_000], 16_000)
    monkeypatch.chdir(tmp_path)
    exec(compile(source, str(PAGE), "exec"), {"__name__": "example"})


@pytest.mark.parametrize("source", SPEAK, ids=[str(number) for number in range(len(SPEAK))])
def test_an_example_speaks(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hibari", reason="the extra [tts] brings the voice")
    monkeypatch.chdir(tmp_path)
    exec(compile(source, "docs/text.md", "exec"), {"__name__": "example"})


def test_examples_that_need_a_training_call_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take minutes: its calls are held against the real signatures instead."""
    called: list[str] = []

    def stand_in(name: str, result: Any) -> Any:
        signature = inspect.signature(getattr(api, name))

        def call(*args: Any, **named: Any) -> Any:
            signature.bind(*args, **named)
            called.append(name)
            return result

        return call

    render = inspect.signature(geneface.Avatar.render)
    avatar: Any = SimpleNamespace(render=lambda *args, **named: render.bind(None, *args, **named))
    results = {
        "prepare": SimpleNamespace(notes=()),
        "train": geneface.TrainedAvatar(avatar, {}, "", (), ()),
        "evaluate": {"tables": {}},
    }
    for name, result in results.items():
        monkeypatch.setattr(geneface, name, stand_in(name, result), raising=False)
    monkeypatch.setattr(geneface, "Avatar", SimpleNamespace(load=lambda folder: avatar), raising=False)
    assert len(ONLY_BOUND) == 2 and len(RUN) >= 5 and SPEAK
    for source in ONLY_BOUND:
        exec(compile(source, str(PAGE), "exec"), {})
    assert called == ["prepare", "train", "evaluate"]


def test_every_public_name_is_there_and_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert set(geneface.__all__) <= set(dir(geneface))
    for name in geneface.__all__:
        value = getattr(geneface, name)
        if name != "__version__":
            assert inspect.getdoc(value), name
            assert f"`{name}`" in page, name
    with pytest.raises(AttributeError, match="has no attribute 'Avatars'"):
        _ = geneface.Avatars  # type: ignore[attr-defined]


def test_public_names_agree_with_what_type_checkers_see() -> None:
    """Under TYPE_CHECKING each is imported from the module that it is loaded from."""
    source = inspect.getsource(geneface)
    seen = {}
    for module, names in re.findall(r"^    from geneface\.([\w.]+) import ([\w, ]+)$", source, re.MULTILINE):
        seen |= dict.fromkeys(names.split(", "), module)
    assert seen == geneface._HOMES
    assert set(seen) | {"__version__"} == set(geneface.__all__)


def test_the_import_loads_nothing() -> None:
    program = (
        "import sys, geneface; heavy = {'numpy', 'pydantic', 'typer', 'onnxruntime', 'av', 'soundfile'};"
        "print(sorted(heavy & set(sys.modules))); geneface.InputError; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_a_type_checker_finds_types() -> None:
    assert (Path(geneface.__file__).parent / "py.typed").is_file()
