"""Single images: lossless PNG, JPEG, transparency, refusal of anything else."""

from __future__ import annotations

import struct
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


def jpeg(image: np.ndarray, pixel_format: str = "yuvj444p") -> bytes:
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = pixel_format, Fraction(1, 1)
    encoder.options = {"qscale": "2"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = frame.reformat(format=pixel_format, interpolation=0x10 | 0x40000)
    return b"".join(bytes(p) for p in [*encoder.encode(frame), *encoder.encode(None)])


def chunk(name: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + name + payload + struct.pack(">I", zlib.crc32(name + payload))


def png(rows: np.ndarray, depth: int, kind: int, *others: bytes, late: bytes = b"") -> bytes:
    """A PNG file of rows of bytes [H, B], of some bit depth and colour type; `others` are chunks before the pixels."""
    width = {0: 8, 2: 24, 3: 8, 4: 16, 6: 32}[kind] * depth // 8
    head = struct.pack(">IIBBBBB", rows.shape[1] * 8 // width, len(rows), depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = [chunk(b"IHDR", head), *others, chunk(b"IDAT", data), late, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ramps(height: int = 64, width: int = 64) -> np.ndarray:
    down, across = np.linspace(0, 255, height).astype(np.uint8), np.linspace(0, 255, width).astype(np.uint8)
    return np.stack(np.broadcast_arrays(down[:, None], across[None], np.uint8(60)), axis=-1)


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_jpeg(tmp_path) -> None:
    image = ramps()
    assert np.abs(read_image(saved(tmp_path / "a.jpg", jpeg(image))).astype(int) - image).mean() < 3


def test_colours_between_the_samples_of_a_jpeg(tmp_path) -> None:
    """Two pixels across and down share a sample of colour; it lies between them, not on the first."""
    image = ramps()
    shown = read_image(saved(tmp_path / "a.jpg", jpeg(image, "yuvj420p"))).astype(int)
    assert np.abs(shown - image)[4:-4, 4:-4].mean() < 1.3


def tiff(orientation: int, order: str = ">", kind: int = 3) -> bytes:
    magic = b"MM\0*" if order == ">" else b"II*\0"
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *((orientation, 0) if kind == 3 else (orientation,)))
    other = struct.pack(order + "HHII", 0x10F, 2, 1, 0)
    entry = struct.pack(order + "HHI", 0x112, kind, 1) + value
    return magic + struct.pack(order + "IH", 8, 2) + other + entry + bytes(4)


def with_exif(data: bytes, exif: bytes) -> bytes:
    payload = b"Exif\0\0" + exif
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]


UPRIGHT = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.swapaxes(image, 0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(np.swapaxes(image, 0, 1), 2),
    8: lambda image: np.rot90(image, 1),
}
"""What EXIF's orientations ask for: the stored top row is shown at the top, right, bottom or left, and so on."""


@pytest.mark.parametrize("orientation", list(UPRIGHT))
def test_pictures_are_turned_upright(tmp_path, orientation) -> None:
    image = ramps(32, 48)
    expected = UPRIGHT[orientation](image)
    for exif in (tiff(orientation), tiff(orientation, "<"), tiff(orientation, "<", 4)):
        shown = read_image(saved(tmp_path / "a.jpg", with_exif(jpeg(image), exif)))
        assert shown.shape == expected.shape and np.abs(shown.astype(int) - expected).mean() < 3
    stored = png(image.reshape(32, -1), 8, 2, chunk(b"eXIf", tiff(orientation)))
    assert np.array_equal(read_image(saved(tmp_path / "a.png", stored)), expected)


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"XX" * 9, tiff(0), tiff(9), tiff(6)[:20], tiff(6)[:30], b"II*\0" + b"\xff" * 9]
)
def test_damaged_exif_is_passed_over(tmp_path, exif) -> None:
    image = ramps()
    assert np.abs(read_image(saved(tmp_path / "a.jpg", with_exif(jpeg(image), exif))).astype(int) - image).mean() < 3


def test_remarks_of_a_png_do_not_matter(tmp_path) -> None:
    image = noise(6, 5, 3)
    rows = image.reshape(6, -1)
    for x, y in ((0, 1), (1, 0), (0, 0), (2**32 - 1, 1), (2**31, 2**31)):
        remark = chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
        assert np.array_equal(read_image(saved(tmp_path / "a.png", png(rows, 8, 2, remark))), image)
        assert np.array_equal(read_image(saved(tmp_path / "a.png", png(rows, 8, 2, late=remark))), image)
    for name, payload in (
        (b"pHYs", b""),
        (b"iCCP", b"x\0\0?"),
        (b"cHRM", bytes(32)),
        (b"gAMA", b"\xff"),
        (b"sBIT", b""),
    ):
        data = png(rows, 8, 2, chunk(name, payload)[:-1] + b"!")
        assert np.array_equal(read_image(saved(tmp_path / "a.png", data)), image)


def test_kinds_of_png(tmp_path) -> None:
    image = noise(6, 5, 4)
    grey, rgb, alpha = image[..., 0], image[..., :3], image[..., 3]
    as_grey = np.repeat(grey[..., None], 3, axis=2)

    def shown(data: bytes, alpha: bool = False) -> np.ndarray:
        return read_image(saved(tmp_path / "a.png", data), alpha=alpha)

    def wide(values: np.ndarray) -> np.ndarray:
        return (values.reshape(6, -1).astype(">u2") * 257).view(np.uint8)

    assert np.array_equal(shown(png(grey, 8, 0)), as_grey)
    assert np.array_equal(shown(png(rgb.reshape(6, -1), 8, 2)), rgb)
    assert np.array_equal(shown(png(image.reshape(6, -1), 8, 6), alpha=True), image)
    both = np.stack([grey, alpha], axis=2)
    assert np.array_equal(shown(png(both.reshape(6, -1), 8, 4), alpha=True), np.dstack([as_grey, alpha]))
    palette = noise(1, 256, 3)[0]
    assert np.array_equal(shown(png(grey, 8, 3, chunk(b"PLTE", palette.tobytes()))), palette[grey])
    for values, kind, expected in ((grey, 0, as_grey), (rgb, 2, rgb), (image, 6, rgb), (both, 4, as_grey)):
        assert np.abs(shown(png(wide(values), 16, kind)).astype(int) - expected).max() <= 1


def test_truncated_or_damaged(tmp_path) -> None:
    image = noise(160, 240, 3)
    whole = jpeg(image)
    write_png(tmp_path / "a.png", image)
    lossless = (tmp_path / "a.png").read_bytes()
    cuts = [data[: int(len(data) * part)] for data in (whole, lossless) for part in (0.02, 0.1, 0.5, 0.9, 0.98)]
    for data in (*cuts, whole[:3], whole[:30], lossless[:8], lossless[:40]):
        with pytest.raises(InputError, match=r"the image .*a\.jpg is damaged or cut off: copy it again"):
            read_image(saved(tmp_path / "a.jpg", data))
    # Nothing of the picture is missing here.
    for data in (whole + bytes(100), whole[:-2], lossless + bytes(100), lossless[:-12]):
        assert read_image(saved(tmp_path / "a.jpg", data)).shape == image.shape


def test_size_is_told_from_damage(tmp_path) -> None:
    rows = np.zeros((3000, 500), np.uint8)
    assert read_image(saved(tmp_path / "a.png", png(rows, 1, 0))).shape == (3000, 4000, 3)
    for width, height in ((9000, 9000), (2**31 - 1, 2**31 - 1)):
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"")
        with pytest.raises(InputError, match=f"has {width}x{height} pixels, more than 67 million: scale"):
            read_image(saved(tmp_path / "a.png", data))
    data = bytearray(jpeg(noise(16, 16, 3)))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(InputError, match="has 65535x65535 pixels"):
        read_image(saved(tmp_path / "a.jpg", bytes(data)))


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
    pytest.importorskip("PIL", reason="Pillow is the other decoder")
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
