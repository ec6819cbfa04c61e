"""The README's table: rows and columns come out of metrics.json as they are, and nothing is invented."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from geneface.evaluation.metrics.registry import DEFINITIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("paper_table", ROOT / "benchmarks" / "paper_table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def figures(**values: float | None) -> dict[str, Any]:
    return {key: {"value": value, "reason": None if value is not None else "no"} for key, value in values.items()}


def test_columns_are_metrics_that_exist(script: ModuleType) -> None:
    assert {key for _, _, key in script.COLUMNS + script.LIP_COLUMNS} <= set(DEFINITIONS)


def test_rows_keep_their_order_and_what_is_missing_is_not_a_number(script: ModuleType) -> None:
    metrics = {
        "tables": {
            "image_frame": {
                "rows": [
                    {"name": "ground truth", "figures": figures(frame_psnr=None, frame_niqe=6.934)},
                    {"name": "a, from speech", "figures": figures(frame_psnr=31.849, frame_fid=None)},
                ]
            },
            "image_head": {"rows": [{"name": "a, from speech", "figures": figures(head_psnr=32.04, head_ssim=0.9505)}]},
            "sync": {"rows": []},
            "lips": {"rows": []},
        }
    }
    truth, speech = script.table("a", metrics, script.COLUMNS)
    cells = [cell.strip() for cell in speech.strip("|").split("|")]
    assert cells[:2] == ["a", "a, from speech"]
    titles = [title for title, _, _ in script.COLUMNS]
    assert cells[2 + titles.index("PSNR, frame")] == "31.8"
    assert cells[2 + titles.index("SSIM, head")] == "0.951" or cells[2 + titles.index("SSIM, head")] == "0.95"
    assert cells[2 + titles.index("FID")] == "n/a"
    truth_cells = [cell.strip() for cell in truth.strip("|").split("|")]
    assert truth_cells[2 + titles.index("NIQE")] == "6.93" and truth_cells[2 + titles.index("PSNR, head")] == "n/a"


def test_the_sitting_names_grid_clips_only(script: ModuleType) -> None:
    bundled, other = script.subjects(Path("data"))
    assert bundled.bundled and not other.bundled
    assert len(bundled.videos) == len(set(bundled.videos)) == 170
    assert all(video.parent == Path("data/grid_s1") and video.suffix == ".mp4" for video in bundled.videos)
