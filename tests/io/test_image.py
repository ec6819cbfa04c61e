"""Single images: lossless PNG, JPEG, transparency, refusal of anything else."""

from __future__ import annotations

import subprocess
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io.image import read_image, read_png, write_png, write_png_sequence


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (17, 33), (64, 48)])
def test_png_is_lossless(tmp_path, size) -> None:
    image = noise(size[0], size[1], 3)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(read_png(tmp_path / "a.png"), image)


def test_png_pixels_by_hand(tmp_path) -> None:
    """The bytes are unpacked here without any library of images; unfiltered rows only occur for some encoders."""
    image = noise(4, 5, 4)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(read_image(tmp_path / "a.png", alpha=True), image)
    data = (tmp_path / "a.png").read_bytes()
    assert data[12:16] == b"IHDR" and data[16:26] == (5).to_bytes(4, "big") + (4).to_bytes(4, "big") + bytes([8, 6])
    start = data.index(b"IDAT")
    packed = data[start + 4 : start + 4 + int.from_bytes(data[start - 4 : start], "big")]
    assert len(zlib.decompress(packed)) == 4 * (1 + 5 * 4)


def test_opaque_where_there_is_no_alpha(tmp_path) -> None:
    write_png(tmp_path / "a.png", noise(8, 8, 3))
    assert (read_image(tmp_path / "a.png", alpha=True)[..., 3] == 255).all()


def test_jpeg(tmp_path) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(60)), axis=-1)
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width = encoder.height = 64
    encoder.pix_fmt, encoder.time_base = "yuvj444p", Fraction(1, 1)
    encoder.options = {"qscale": "2"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuvj444p")
    (tmp_path / "a.jpg").write_bytes(b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)]))
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - image).mean() < 3


def test_ffmpeg_reads_our_png(tmp_path, ffmpeg) -> None:
    image = noise(33, 17, 3)
    write_png(tmp_path / "a.png", image)
    command = [ffmpeg, "-v", "warning", "-i", str(tmp_path / "a.png"), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    run = subprocess.run(command, capture_output=True, check=True)
    assert run.stderr == b"" and np.array_equal(np.frombuffer(run.stdout, np.uint8).reshape(33, 17, 3), image)


def test_sequence(tmp_path) -> None:
    images = [noise(8, 8, 4) for _ in range(3)]
    assert write_png_sequence(tmp_path / "frames", images) == 3
    names = sorted(path.name for path in (tmp_path / "frames").iterdir())
    assert names == ["frame_000000.png", "frame_000001.png", "frame_000002.png"]
    assert np.array_equal(read_image(tmp_path / "frames" / names[2], alpha=True), images[2])


def test_sequence_leaves_nothing_on_error(tmp_path) -> None:
    def images():
        yield noise(8, 8, 3)
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        write_png_sequence(tmp_path / "frames", images())
    assert list(tmp_path.iterdir()) == []


def test_refused_images(tmp_path: Path) -> None:
    def refuse(path: Path, words: str) -> None:
        with pytest.raises(InputError, match=words):
            read_image(path)

    refuse(tmp_path / "none.png", "does not exist")
    (tmp_path / "text.png").write_text("no image")
    refuse(tmp_path / "text.png", "neither")
    write_png(tmp_path / "a.png", noise(64, 64, 3))
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    refuse(tmp_path / "cut.png", "damaged")
    with pytest.raises(ValueError, match="an image is"):
        write_png(tmp_path / "b.png", np.zeros((4, 4), np.uint8))


def test_a_jpeg_is_near_the_picture_and_small(tmp_path: Path) -> None:
    """Read by another decoder: colours, range and orientation are right."""
    from PIL import Image

    from geneface.io.image import encode_jpeg, write_jpeg

    ramp = np.linspace(0, 255, 96)
    image = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[::-1], (64, 1)), np.tile(ramp[:64, None], (1, 96))], axis=-1)
    image = image.round().astype(np.uint8)
    write_jpeg(tmp_path / "a.jpg", image)
    assert (tmp_path / "a.jpg").read_bytes() == encode_jpeg(image)
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.format == "JPEG"
        read = np.asarray(opened.convert("RGB")).astype(int)
    assert np.abs(read - image).mean() < 2
    with pytest.raises(ValueError, match="JPEG"):
        encode_jpeg(np.zeros((8, 8, 4), np.uint8))
