"""From tracked runs to squares and what is dropped, on faces placed by hand; notes in words."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_crops import FACE_PX, NO_HAIR, faces

from geneface.io.tensors import TensorWriter
from geneface.portrait.crops import Square
from geneface.portrait.manifest import DroppedSpan
from geneface.portrait.notes import (
    describe_disk,
    describe_dropped,
    describe_enlargement,
    describe_size,
    describe_usable,
    disk_bytes,
)
from geneface.portrait.plan import HEAD_LEAVES
from geneface.portrait.scan import SourceScan
from geneface.portrait.segments import Segment
from geneface.portrait.survey import Survey, frame_spans, merge_spans
from geneface.portrait.tracks import TrackedSpan

SCAN = SourceScan("/videos/a.mp4", 1280, 720, 1000, 25.0, False, 0, (), (), "")


def framed_at(x: np.ndarray):
    """`frame_spans` of one run whose face stands at these places."""
    mesh = faces(np.stack([x, np.full(len(x), 350.0)], axis=1))
    shot = SimpleNamespace(scan=SCAN, followed=SimpleNamespace(hair=NO_HAIR))
    return frame_spans([TrackedSpan(0, 0, 0, mesh)], [shot])  # type: ignore[list-item]


def test_a_head_that_sits_elsewhere_later_gets_a_square_of_its_own():
    runs, squares, rest = framed_at(
        np.concatenate([np.full(300, 250.0), np.linspace(250, 1000, 20), np.full(200, 1000.0)])
    )
    assert [run.framing for run in runs] == [0, 1] and len(squares) == 2
    assert runs[0].start == 0 and runs[0].frames >= 300
    assert runs[1].start + runs[1].frames == 520 and runs[1].frames >= 200
    lost = sum(span.stop - span.start for span in rest) * 25
    assert lost == pytest.approx(520 - runs[0].frames - runs[1].frames) and lost <= 20
    assert all(span.reason == HEAD_LEAVES for span in rest)
    for run in runs:
        low, high = run.mesh_px[..., 0].min(), run.mesh_px[..., 0].max()
        square = squares[run.framing]
        assert square.x < low - 0.2 * FACE_PX and square.x + square.side > high + 0.2 * FACE_PX


def test_a_short_visit_elsewhere_is_dropped():
    runs, _, rest = framed_at(np.concatenate([np.full(300, 250.0), np.full(40, 1000.0), np.full(200, 250.0)]))
    assert [(run.start, run.frames, run.framing) for run in runs] == [(0, 300, 0), (340, 200, 0)]
    assert [(span.start, span.stop) for span in rest] == [(12.0, 13.6)]


def test_spans_that_follow_on_each_other_are_one():
    parts = [
        DroppedSpan("a", 2, 3, "x"),
        DroppedSpan("a", 1, 2, "x"),
        DroppedSpan("a", 3, 4, "y"),
        DroppedSpan("b", 4, 5, "y"),
    ]
    assert merge_spans(parts) == [DroppedSpan("a", 1, 3, "x"), DroppedSpan("a", 3, 4, "y"), DroppedSpan("b", 4, 5, "y")]


def test_a_minute_is_a_minute_to_the_digit_that_is_shown():
    assert "more" not in describe_usable(1500) and "more" not in describe_usable(1499)
    assert describe_usable(1499).startswith("60.0 s")
    assert "60 s or more" in describe_usable(1490)


def test_dropped_parts_are_told_with_places_the_costliest_first():
    parts = [DroppedSpan("a.mp4", 0, 1, "small"), *(DroppedSpan("b.mp4", i, i + 0.5, "two faces") for i in range(6))]
    text = describe_dropped(parts, with_source=True)
    assert text.index("two faces") < text.index("small (0.00-1.00 s of a.mp4)")
    assert "0.00-0.50 s of b.mp4" in text and "and 2 more" in text
    assert "of a.mp4" not in describe_dropped(parts[:1], with_source=False)


def survey_of(side: int, frames: int = 100) -> Survey:
    """One segment whose square has so many pixels in the video."""
    span = TrackedSpan(0, 0, 0, np.zeros((frames, 478, 3), np.float32))
    return Survey([], [], [Segment("a", span, 0.0, 0.0, None)], [Square(0, 0, side)], [], [], [])


def test_a_size_is_told_where_it_is_more_or_less_than_the_video_holds():
    assert "450 pixels" in describe_enlargement(survey_of(450), 512) and describe_size(survey_of(450)) == ""
    assert describe_enlargement(survey_of(500), 512) == "" and "500 pixels" in describe_size(survey_of(500))
    assert describe_enlargement(Survey([], [], [], [], [], [], []), 512) == ""


def test_the_disk_of_a_portrait_is_that_of_its_arrays(tmp_path: Path):
    frames, size = 40, 64
    with TensorWriter(tmp_path / "segment.safetensors") as writer:
        writer.append("frames", np.zeros((frames, size, size, 3), np.uint8))
        writer.append("masks", np.zeros((frames, 2, size, size), np.uint8))
    written = (tmp_path / "segment.safetensors").stat().st_size
    finished, most = disk_bytes(frames, size)
    assert written < finished < written + frames * 20_000 and most > 2 * written
    assert describe_disk(1500, [256, 512]) == (
        "the portrait will take about 0.5 GB at --size 256 (1.1 GB while it is made), "
        "2.0 GB at --size 512 (4.3 GB while it is made) of disk"
    )
    # A minute of 1080p is a tenth of a byte a pixel at most, and there twice while it is joined.
    pixels = 1500 * 1920 * 1080
    whole, made = disk_bytes(1500, 256, pixels)
    alone, before = disk_bytes(1500, 256)
    assert 0.02 * pixels < whole - alone < 0.1 * pixels and made - before == 2 * (whole - alone)
