"""HDR, wide colours and rare matrices: by the standards' formulas, written out here once more, and by libzimg."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io.media import probe
from geneface.io.video import read_frames

BT709, BT2020, P3 = 1, 9, 12
PQ, HLG = 16, 18
ICTCP, YCGCO = 14, 8

TO_BT709 = {
    BT709: np.eye(3),
    # BT.2087, table 3 (rounded there); Display P3 by the same method.
    BT2020: np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]),
    P3: np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]]),
}


def write_planes(
    path: Path, planes: np.ndarray, matrix: int, primaries: int, transfer: int, full: bool = False
) -> Path:
    """Two lossless pictures of given numbers [3, H, W], eight bits: no converter is involved."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.height, stream.width = planes.shape[1:]
        stream.pix_fmt = "yuv444p"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc = matrix, primaries, transfer
        context.color_range = 2 if full else 1
        for i in range(2):
            frame = av.VideoFrame.from_ndarray(planes.astype(np.uint8), format="yuv444p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def chart(full: bool = False) -> np.ndarray:
    """Y, Cb, Cr [3, 64, 96] of 24 patches whose colours all lie inside RGB, most of them like skin, wood or cloth."""
    generator = np.random.default_rng(3)
    signal = 0.15 + 0.6 * generator.random((4, 6, 1)) + 0.12 * generator.random((4, 6, 3))
    y = signal @ np.array([0.2627, 0.6780, 0.0593])
    cb, cr = (signal[..., 2] - y) / 1.8814, (signal[..., 0] - y) / 1.4746
    levels = [255 * y, 255 * cb + 128, 255 * cr + 128] if full else [219 * y + 16, 224 * cb + 128, 224 * cr + 128]
    return np.round(np.stack(levels)).repeat(16, axis=1).repeat(16, axis=2)


def shown(planes: np.ndarray, primaries: int, transfer: int, full: bool = False) -> np.ndarray:
    """[H, W, 3] levels of a BT.709 display of 1000 cd/m2 for BT.2020 Y, Cb, Cr: H.273, BT.2100, BT.1886."""
    y, cb, cr = planes.astype(np.float64)
    if full:
        y, cb, cr = y / 255, (cb - 128) / 255, (cr - 128) / 255
    else:
        y, cb, cr = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    red, blue = y + 1.4746 * cr, y + 1.8814 * cb
    green = (y - 0.2627 * red - 0.0593 * blue) / 0.6780
    signal = np.clip(np.stack([red, green, blue], axis=-1), 0, 1)
    if transfer == PQ:
        root = signal ** (32 / 2523)
        light = 10 * (np.maximum(root - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * root)) ** (8192 / 1305)
    elif transfer == HLG:
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = scene**1.2
    else:
        light = signal**2.4
    return 255 * np.clip(light @ TO_BT709[primaries].T, 0, 1) ** (1 / 2.4)


KINDS = [("hlg", BT2020, HLG), ("pq", BT2020, PQ), ("bt2020", BT2020, 14), ("p3", P3, BT709), ("hlg-untagged", 2, HLG)]


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("name,primaries,transfer", KINDS, ids=[kind[0] for kind in KINDS])
def test_wide_and_bright_colours_are_shown_as_bt709(tmp_path, name, primaries, transfer, full) -> None:
    planes = chart(full)
    path = write_planes(tmp_path / f"{name}.mp4", planes, BT2020, primaries, transfer, full)
    image = next(read_frames(path)).image
    expected = shown(planes, BT2020 if primaries == 2 else primaries, transfer, full)
    assert np.abs(image - expected).max() <= 2
    # Read as they are, they would be something else.
    assert np.abs(expected - shown(planes, BT709, BT709, full)).mean() > 1
    info = probe(path).video
    assert info is not None and len(info.changes) == 1 and "mapped to BT.709" in info.changes[0]


@pytest.mark.parametrize("primaries,transfer", [(2, 2), (1, 1), (5, 6), (6, 6), (7, 7), (1, 13), (22, 4)])
def test_ordinary_colours_keep_their_numbers(tmp_path, primaries, transfer) -> None:
    planes = chart()
    plain = next(read_frames(write_planes(tmp_path / "plain.mp4", planes, 6, 2, 2))).image
    path = write_planes(tmp_path / "tagged.mp4", planes, 6, primaries, transfer)
    assert np.array_equal(next(read_frames(path)).image, plain)
    info = probe(path).video
    assert info is not None and info.changes == ()


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
def test_ycgco(tmp_path, full) -> None:
    rgb = np.array([200.0, 120.0, 60.0])
    levels = rgb if full else 16 + 219 / 255 * rgb
    red, green, blue = levels
    numbers = [(red + 2 * green + blue) / 4, (2 * green - red - blue) / 4 + 128, (red - blue) / 2 + 128]
    planes = np.broadcast_to(np.round(numbers)[:, None, None], (3, 64, 96))
    image = next(read_frames(write_planes(tmp_path / "ycgco.mp4", planes, YCGCO, BT709, BT709, full))).image
    assert np.abs(image - rgb).max() <= 2


def test_matrix_that_follows_from_the_primaries(tmp_path) -> None:
    planes = chart()
    derived = next(read_frames(write_planes(tmp_path / "derived.mp4", planes, 12, BT2020, 14))).image
    named = next(read_frames(write_planes(tmp_path / "named.mp4", planes, BT2020, BT2020, 14))).image
    assert np.abs(derived.astype(int) - named).max() <= 1


def test_unknown_colours_are_refused_by_name(tmp_path) -> None:
    path = write_planes(tmp_path / "odd.mp4", chart(), ICTCP, BT2020, PQ)
    with pytest.raises(InputError, match="ICtCp") as caught:
        next(read_frames(path))
    assert caught.value.remedy


TEN_BIT = [
    ("hlg", "p=2020:t=arib-std-b67:m=2020_ncl:npl=1000", "yuv420p10le"),
    ("pq", "p=2020:t=smpte2084:m=2020_ncl:npl=1000", "yuv420p12le"),
    ("dim-pq", "p=2020:t=smpte2084:m=2020_ncl:npl=100", "yuv422p10le"),
    ("p3", "p=smpte432:t=709:m=709", "yuv420p10le"),
    ("dci", "p=smpte431:t=709:m=709", "yuv420p10le"),
    ("srgb-p3", "p=smpte432:t=iec61966-2-1:m=709:r=full", "yuv444p10le"),
    ("rgb", "p=2020:t=arib-std-b67:m=gbr:r=full:npl=1000", "gbrp10le"),
]


@pytest.mark.slow
@pytest.mark.parametrize("name,to,pix_fmt", TEN_BIT, ids=[kind[0] for kind in TEN_BIT])
def test_within_two_levels_of_libzimg(tmp_path, ffmpeg, name, to, pix_fmt) -> None:
    filters = subprocess.run([ffmpeg, "-hide_banner", "-filters"], check=True, capture_output=True, text=True).stdout
    if " zscale " not in filters:
        pytest.skip("this ffmpeg has no zscale")
    path = tmp_path / f"{name}.mkv"
    y, x = np.mgrid[:120, :160] / 100
    waves = [np.sin(3 * x + 2 * y), np.sin(4 * y - x + 1), np.cos(2 * x - 3 * y)]
    rgb = np.round(np.stack([120 + 90 * wave for wave in waves], axis=-1)).astype(np.uint8)
    make = f"scale=out_color_matrix=bt709,format=yuv444p,zscale=min=709:tin=709:pin=709:rin=tv:{to},format={pix_fmt}"
    command = [ffmpeg, "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "160x120", "-i", "-", "-vf", make]
    command += ["-chroma_sample_location", "left"]  # where zscale puts it
    subprocess.run([*command, "-c:v", "ffv1", str(path)], check=True, input=rgb.tobytes())
    back = "zscale=npl=1000:p=bt709:t=bt709:m=gbr:r=full:d=none,format=gbrp,format=rgb24"
    command = [ffmpeg, "-v", "error", "-i", str(path), "-frames:v", "1", "-vf", back, "-f", "rawvideo", "-"]
    expected = np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.uint8)
    image = next(read_frames(path)).image
    difference = np.abs(image.astype(int) - expected.reshape(image.shape))
    # Smooth pictures: at hard edges the two enlarge chroma differently.
    assert difference.mean() < 0.3 and np.quantile(difference, 0.999) <= 2
