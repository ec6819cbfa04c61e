"""Which way up: all turns and mirror images that a display matrix can ask for, and those that are refused."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io.media import probe
from geneface.io.video import read_frames


def picture() -> np.ndarray:
    """96 x 64 in four shades, so that no turn or mirror image of it is another."""
    image = np.empty((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48], image[32:, 48:] = 30, 90, 150, 210
    return image


def with_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Write the display matrix of an MP4 file's track header (ISO 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 44
    struct.pack_into(">6i", data, start, *(round(65536 * value) for value in (a, b, 0, c, d, 0)))
    path.write_bytes(bytes(data))
    return path


def placed(image: np.ndarray, a: float, b: float, c: float, d: float) -> np.ndarray:
    """Each stored point (x, y) goes to (ax + cy, bx + dy), pixel by pixel."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    u, v = np.rint(a * x + c * y).astype(int), np.rint(b * x + d * y).astype(int)
    u, v = u - u.min(), v - v.min()
    out = np.zeros((v.max() + 1, u.max() + 1, 3), image.dtype)
    out[v, u] = image
    return out


EIGHT = [
    (1, 0, 0, 1),
    (-1, 0, 0, 1),
    (1, 0, 0, -1),
    (-1, 0, 0, -1),
    (0, 1, 1, 0),
    (0, -1, 1, 0),
    (0, 1, -1, 0),
    (0, -1, -1, 0),
]


@pytest.mark.parametrize("matrix", EIGHT)
def test_turns_and_mirror_images(make_media, matrix) -> None:
    path = make_media("turned.mp4", images=[picture()] * 2, options={"qp": "0"})
    stored = next(read_frames(path)).image
    with_matrix(path, *matrix)
    image = next(read_frames(path)).image
    assert np.array_equal(image, placed(stored, *matrix))
    info = probe(path).video
    assert info is not None and (info.height, info.width) == image.shape[:2]
    a, b, c, d = matrix
    assert ("mirrored" in " ".join(info.changes)) == (a * d - b * c < 0)
    unmirrored = stored[:, ::-1] if a * d - b * c < 0 else stored
    assert np.array_equal(image, np.rot90(unmirrored, info.rotation // 90))


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (0.5, 0, 0, 0.5), (0.99995, 0.01, -0.01, 0.99995)])
def test_matrices_that_turn_nothing(make_media, matrix) -> None:
    path = make_media("plain.mp4", images=[picture()] * 2, options={"qp": "0"})
    stored = next(read_frames(path)).image
    assert np.array_equal(next(read_frames(with_matrix(path, *matrix))).image, stored)


@pytest.mark.parametrize("matrix", [(0.7071, 0.7071, -0.7071, 0.7071), (0.94, 0.34, -0.34, 0.94), (1, 0, 1, 0)])
def test_other_angles_are_refused(make_media, matrix) -> None:
    path = with_matrix(make_media("odd.mp4", images=[picture()] * 2), *matrix)
    for reader in (probe, lambda name: next(read_frames(name))):
        with pytest.raises(InputError, match="quarter turns") as caught:
            reader(path)
        assert str(path) in str(caught.value) and caught.value.remedy


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_matroska_projection(make_media, rotation) -> None:
    plain = next(read_frames(make_media("plain.mkv", images=[picture()] * 2, options={"qp": "0"}))).image
    path = make_media("turned.mkv", images=[picture()] * 2, options={"qp": "0"}, rotation=rotation)
    assert np.array_equal(next(read_frames(path)).image, np.rot90(plain, rotation // 90))


@pytest.mark.parametrize("tag,turns", [("90", -1), ("270", 1), ("180", 2), ("-90", 1), ("0", 0), ("up", 0), ("nan", 0)])
def test_rotate_tag_of_older_matroska(tmp_path, tag, turns) -> None:
    path = tmp_path / "tagged.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "bgr0"
        stream.metadata["ROTATE"] = tag  # degrees clockwise
        frame = av.VideoFrame.from_ndarray(picture(), format="rgb24")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.array_equal(next(read_frames(path)).image, np.rot90(picture(), turns))
