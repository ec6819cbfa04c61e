"""Interlaced video is read as whole pictures of one time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.io.media import probe
from geneface.io.video import read_frames


def bar(time: float, height: int = 96, width: int = 128) -> np.ndarray:
    """A vertical bar that moves by 100 pixels a second."""
    image = np.full((height, width, 3), 40, np.uint8)
    left = 10 + round(100 * time)
    image[:, left : left + 24] = 220
    return image


def write(path: Path, codec: str, options: dict[str, str], bottom_first: bool = False, rotation: int = 0) -> Path:
    """One second at 25 Hz: the even rows show the frame's time, the odd ones half a frame later, or the reverse."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for i in range(25):
            image = bar((i + 0.5 * bottom_first) / 25)
            image[1::2] = bar((i + 0.5 * (not bottom_first)) / 25)[1::2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv444p")
            # Chroma of 4:2:0 would mix the fields; the bar is gray, so there is none.
            planes = np.full((144, 128), 128, np.uint8)
            planes[:96] = frame.to_ndarray()[0]
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def combing(image: np.ndarray) -> float:
    """Largest difference between a row and its neighbours: nothing in the picture changes from row to row."""
    rows = image[..., 0].astype(float)
    return float(np.abs(np.diff(rows[2:-2], axis=0)).mean())


KINDS = [
    ("h264.mp4", "libx264", {"qp": "4", "flags": "+ilme+ildct", "x264-params": "tff=1"}, False),
    ("h264-bottom.mp4", "libx264", {"qp": "4", "flags": "+ilme+ildct", "x264-params": "bff=1"}, True),
    ("b-pictures.ts", "libx264", {"qp": "4", "bf": "2", "flags": "+ilme+ildct", "x264-params": "tff=1"}, False),
]


@pytest.mark.parametrize("name,codec,options,bottom_first", KINDS, ids=[kind[0] for kind in KINDS])
def test_fields_become_pictures(tmp_path, name, codec, options, bottom_first) -> None:
    path = write(tmp_path / name, codec, options, bottom_first)
    frames = list(read_frames(path))
    assert len(frames) == 25 and not any(frame.is_repeat for frame in frames)
    for i, frame in enumerate(frames[2:-2], start=2):
        assert combing(frame.image) < 2
        # The time of the first field.
        assert np.abs(frame.image.astype(int) - bar(i / 25)).mean() < 6
    info = probe(path).video
    assert info is not None and info.changes == ("interlaced, made progressive",)


def test_the_same_rows_without_the_flag_are_left_alone(tmp_path) -> None:
    path = write(tmp_path / "progressive.mp4", "libx264", {"qp": "4"})
    assert combing(list(read_frames(path))[10].image) > 4
    info = probe(path).video
    assert info is not None and info.changes == ()


def test_interlaced_and_turned(tmp_path) -> None:
    path = write(tmp_path / "turned.mp4", *KINDS[0][1:3], rotation=90)
    image = list(read_frames(path))[10].image
    assert image.shape == (128, 96, 3)
    assert combing(np.rot90(image, -1)) < 2
