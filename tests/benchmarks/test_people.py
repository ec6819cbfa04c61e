"""One row a person: from metrics.json as it is, and nothing is done twice."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from geneface.evaluation.metrics.registry import DEFINITIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("people", ROOT / "benchmarks" / "people.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def metrics(name: str = "avatar") -> dict[str, Any]:
    """Rows of an avatar; the value of a figure says which row it is of."""

    def rows(values: dict[str, float]) -> dict[str, Any]:
        ends = {"from speech": 0, "from tracked landmarks": 1, "pasted, from speech": 2}
        return {
            "rows": [
                {"name": f"{name}, {end}", "figures": {key: {"value": value + more} for key, value in values.items()}}
                for end, more in ends.items()
            ]
        }

    tables = {
        "image_frame": rows({"frame_psnr": 30, "frame_sharpness_ratio": 0.5}),
        "image_head": rows({"head_psnr": 40}),
        "image_mouth": rows({"mouth_psnr": 20, "mouth_sharpness_ratio": 0.25}),
        "pasted": rows({"seam_step": 1.5, "seam_error_ratio": 0.75}),
    }
    return {"subject": name, "tables": tables}


def test_columns_are_metrics_that_exist(script: ModuleType) -> None:
    assert {key for _, _, keys in script.COLUMNS for _, key in keys} <= set(DEFINITIONS)


def test_a_row_takes_each_figure_from_its_own_row(script: ModuleType) -> None:
    cells = [cell.strip() for cell in script.row("ann", metrics(), 61.4).strip("|").split("|")]
    assert len(cells) == len(script.heading()[0].strip("|").split("|"))
    assert cells == [
        "ann", "30.0 / 40.0 / 20.0", "31.0 / 41.0 / 21.0", "32.0 / 42.0 / 22.0",
        "0.50", "0.25", "2.25", "3.50", "2.75", "n/a", "61",
    ]  # fmt: skip


def test_an_avatar_without_a_body_has_no_pasted_figures(script: ModuleType) -> None:
    content = metrics()
    del content["tables"]["pasted"]
    for table in content["tables"].values():
        table["rows"] = table["rows"][:2]
    cells = [cell.strip() for cell in script.row("ann", content, None).strip("|").split("|")]
    assert cells[3] == "n/a / n/a / n/a" and cells[6:] == ["n/a"] * 5 and cells[1] == "30.0 / 40.0 / 20.0"


def test_what_is_whole_is_not_done_again_and_a_refused_video_stops_nobody(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[tuple[str, str]] = []

    def run(command: str, *arguments: str) -> None:
        out = Path(arguments[arguments.index("-o") + 1])
        done.append((command, out.parent.name))
        if out.parent.name == "bad":
            raise subprocess.CalledProcessError(2, command)
        out.mkdir(parents=True, exist_ok=True)
        file = {"prepare": "manifest.json", "train": "config.json", "evaluate": "metrics.json"}[command]
        (out / file).write_text(json.dumps(metrics()), encoding="utf-8")

    monkeypatch.setattr(script, "run", run)
    videos = [str(tmp_path / name) for name in ("ann.mp4", "bad.mp4", "bob.mp4")]
    monkeypatch.setattr(sys, "argv", ["people.py", *videos, "-o", str(tmp_path / "out"), "--consent", "ours"])
    with pytest.raises(SystemExit, match="no row of: bad"):
        script.main()
    steps = ["prepare", "train", "evaluate"]
    assert done == [*((step, "ann") for step in steps), ("prepare", "bad"), *((step, "bob") for step in steps)]
    first = capsys.readouterr().out
    assert first.count("| 30.0 / 40.0 / 20.0 |") == 2 and " bad " not in first
    assert (tmp_path / "out" / "table.md").read_text(encoding="utf-8") == first

    done.clear()
    with pytest.raises(SystemExit, match="no row of: bad"):
        script.main()
    assert done == [("prepare", "bad")] and capsys.readouterr().out == first


def test_an_interrupted_training_has_no_seconds(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ann" / "portrait").mkdir(parents=True)
    (tmp_path / "ann" / "portrait" / "manifest.json").write_text("{}", encoding="utf-8")

    def killed(*arguments: str) -> None:
        raise KeyboardInterrupt

    arguments = script.argparse.Namespace(preset="fast", renderer="gaussian", consent="", size=256, max_frames=9)
    monkeypatch.setattr(script, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        script.evaluated(tmp_path / "ann.mp4", tmp_path / "ann", arguments)

    def made(command: str, *rest: str) -> None:
        out = Path(rest[rest.index("-o") + 1])
        out.mkdir()
        name = "config.json" if command == "train" else "metrics.json"
        (out / name).write_text(json.dumps(metrics()), encoding="utf-8")

    monkeypatch.setattr(script, "run", made)
    assert script.evaluated(tmp_path / "ann.mp4", tmp_path / "ann", arguments)[1] is None
