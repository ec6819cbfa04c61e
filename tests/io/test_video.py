"""Reading: colours, pixel formats, rotation, odd sizes, timestamps."""

from __future__ import annotations

import gc
import os
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io.media import probe
from geneface.io.video import read_frames, write_video

CORNERS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)

LOSSLESS = {"qp": "0"}


def corner_image(width: int = 96, height: int = 64) -> np.ndarray:
    """Red upper left, green upper right, blue lower left, white lower right."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = CORNERS[0], CORNERS[1]
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = CORNERS[2], CORNERS[3]
    return image


def corners(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    rows, columns = [height // 4, height - height // 4], [width // 4, width - width // 4]
    return np.array([image[y - 2 : y + 2, x - 2 : x + 2].mean(axis=(0, 1)) for y in rows for x in columns])


def numbered_images(count: int) -> list[np.ndarray]:
    """Picture i has brightness 20 + 3 i: which picture is shown can be read from it."""
    return [np.full((32, 48, 3), 20 + 3 * i, np.uint8) for i in range(count)]


def numbers(path: Path) -> list[int]:
    return [round((float(frame.image.mean()) - 20) / 3) for frame in read_frames(path)]


def write_planes(path: Path, planes: tuple[int, int, int], matrix: int, full_range: bool, size: int = 64) -> None:
    """Two lossless pictures of one colour, given as Y, Cb, Cr: no converter is involved."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width = stream.height = size
        stream.pix_fmt = "yuv444p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        array = np.stack([np.full((size, size), value, np.uint8) for value in planes])
        for i in range(2):
            frame = av.VideoFrame.from_ndarray(array, format="yuv444p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def colour_of(planes: tuple[int, int, int], red_weight: float, blue_weight: float, full_range: bool) -> np.ndarray:
    """RGB of Y, Cb, Cr by the definition of the matrix (H.273, equations 38-60)."""
    y, cb, cr = (float(value) for value in planes)
    if full_range:
        y, cb, cr = y / 255, (cb - 128) / 255, (cr - 128) / 255
    else:
        y, cb, cr = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    red = y + 2 * (1 - red_weight) * cr
    blue = y + 2 * (1 - blue_weight) * cb
    green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return np.clip(np.array([red, green, blue]) * 255, 0, 255)


MATRICES = [
    ("bt709", 1, 64, 0.2126, 0.0722),
    ("bt601", 6, 64, 0.299, 0.114),
    ("bt2020", 9, 64, 0.2627, 0.0593),
    ("untagged-small", 2, 64, 0.299, 0.114),
    ("untagged-hd", 2, 720, 0.2126, 0.0722),
]


@pytest.mark.parametrize("name,matrix,size,red_weight,blue_weight", MATRICES, ids=[m[0] for m in MATRICES])
@pytest.mark.parametrize("full_range", [False, True], ids=["limited", "full"])
def test_colour_matrix_and_range_follow_the_tags(
    tmp_path, name, matrix, size, red_weight, blue_weight, full_range
) -> None:
    path = tmp_path / "colour.mp4"
    for planes in [(120, 100, 160), (90, 150, 110)]:
        write_planes(path, planes, matrix, full_range, size)
        image = next(read_frames(path)).image
        expected = colour_of(planes, red_weight, blue_weight, full_range)
        assert np.abs(image.mean(axis=(0, 1)) - expected).max() <= 2


FORMATS = [
    ("ten-bit.mp4", "libx264", "yuv420p10le", {"qp": "1"}),
    ("yuv444.mp4", "libx264", "yuv444p", {"qp": "1"}),
    ("yuv422.mov", "prores_ks", "yuv422p10le", {}),
    ("rgb.mkv", "ffv1", "bgr0", {}),
    ("rgba.mov", "png", "rgba", {}),
    ("jpeg.avi", "mjpeg", "yuvj420p", {"qscale": "2"}),
    ("mpeg2.mpg", "mpeg2video", "yuv420p", {"b": "4000000"}),
    ("vp9.webm", "libvpx-vp9", "yuv420p", {"crf": "10", "b": "0", "cpu-used": "8", "deadline": "realtime"}),
]


@pytest.mark.parametrize("name,codec,pix_fmt,options", FORMATS, ids=[f[0] for f in FORMATS])
def test_any_pixel_format_gives_the_same_colours(make_media, name, codec, pix_fmt, options) -> None:
    full = pix_fmt == "yuvj420p"
    path = make_media(
        name, images=[corner_image()] * 3, video_codec=codec, pix_fmt=pix_fmt, options=options, full_range=full
    )
    frames = list(read_frames(path))
    assert frames[0].image.shape == (64, 96, 3) and frames[0].image.dtype == np.uint8
    assert np.abs(corners(frames[0].image) - CORNERS).max() < 8


@pytest.mark.parametrize("codec,options", [("ffv1", {}), ("libx264", {"qp": "1"})])
def test_gray_video(make_media, codec, options) -> None:
    image = np.repeat(np.linspace(30, 220, 96, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    path = make_media("gray.mkv", images=[image] * 2, video_codec=codec, pix_fmt="gray", options=options)
    read = next(read_frames(path)).image
    assert np.abs(read.astype(int) - read[..., :1]).max() <= 1
    # Untagged gray is read as full or limited range by different programs: only the order of tones is sure.
    assert np.corrcoef(read[32, :, 0], image[32, :, 0])[0, 1] > 0.999


@pytest.mark.parametrize("width,height", [(95, 63), (96, 63), (33, 64)])
def test_odd_sizes(make_media, width, height) -> None:
    path = make_media("odd.mp4", images=[corner_image(width, height)] * 2, pix_fmt="yuv444p", options={"qp": "1"})
    image = next(read_frames(path)).image
    assert image.shape == (height, width, 3)
    assert np.abs(corners(image) - CORNERS).max() < 8


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_metadata_is_applied(make_media, ffmpeg, rotation) -> None:
    path = make_media("turned.mp4", images=[corner_image()] * 2, rotation=rotation, options={"qp": "1"})
    image = next(read_frames(path)).image
    info = probe(path).video
    assert info is not None and (info.height, info.width) == image.shape[:2] and info.rotation % 90 == 0
    command = [ffmpeg, "-v", "error", "-i", str(path), "-frames:v", "1", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    # ffmpeg turns pictures upright by itself: an independent opinion on the direction.
    expected = np.frombuffer(raw, np.uint8).reshape(image.shape)
    assert np.abs(corners(image) - corners(expected)).max() < 8
    assert image.shape[:2] == ((96, 64) if rotation % 180 else (64, 96))


def test_wide_pixels_become_square(tmp_path) -> None:
    path = tmp_path / "pal.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 90, 72, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 15)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(corner_image(90, 72), format="rgb24")))
        container.mux(stream.encode(None))
    assert next(read_frames(path)).image.shape == (72, 96, 3)


def test_constant_25_is_passed_through(make_media) -> None:
    path = make_media("plain.mp4", images=numbered_images(50), options={"bf": "3", **LOSSLESS})
    frames = list(read_frames(path))
    assert numbers(path) == list(range(50))
    assert not any(frame.is_repeat for frame in frames)


def test_50_takes_every_second_picture(make_media) -> None:
    path = make_media("fast.mp4", images=numbered_images(60), rate=50, options=LOSSLESS)
    assert numbers(path) == list(range(0, 60, 2))


def test_24_repeats_one_picture_a_second(make_media) -> None:
    path = make_media("film.mp4", images=numbered_images(72), rate=24, options=LOSSLESS)
    frames = list(read_frames(path))
    assert len(frames) == 75 and sum(frame.is_repeat for frame in frames) == 3
    shown = np.array(numbers(path))
    assert np.abs(shown / 24 - np.arange(75) / 25).max() <= 0.5 / 24 + 1e-6


@pytest.mark.parametrize("name", ["variable.mp4", "variable.mkv"])
def test_variable_rate_follows_the_timestamps(make_media, name) -> None:
    times = [0.0, 0.04, 0.12, 0.16, 0.5, 0.52, 0.56, 0.6, 1.4, 1.44, 1.48, 1.52]
    path = make_media(name, images=numbered_images(len(times)), times=times, options=LOSSLESS)
    shown = numbers(path)
    # Every picture that stands long enough appears within half a step of its time, never earlier.
    for i, time in enumerate(times):
        if i in shown:
            assert abs(shown.index(i) / 25 - time) <= 0.02 + 0.002
    assert shown[5:12] == [3] * 7 and shown[16:34] == [7] * 18
    assert shown[35:39] == [8, 9, 10, 11]
    info = probe(path).video
    assert info is not None and info.is_variable


def test_probe_of_a_plain_file(make_media, tone) -> None:
    path = make_media("plain.mkv", images=numbered_images(25), rate=Fraction(30_000, 1001), samples=tone)
    info = probe(path)
    assert info.video is not None and info.audio is not None
    assert (info.video.width, info.video.height, info.video.codec) == (48, 32, "h264")
    assert info.video.frame_rate == pytest.approx(29.97, abs=0.01) and not info.video.is_variable
    assert (info.audio.rate, info.audio.channels) == (16_000, 1)


def test_sound_only_has_no_pictures(make_wav, tone) -> None:
    with pytest.raises(InputError, match="no pictures"):
        next(read_frames(make_wav("tone.wav", tone)))


def test_size_that_changes_is_refused(tmp_path) -> None:
    path = tmp_path / "joined.ts"
    for i, size in enumerate([64, 96]):
        part = tmp_path / f"part{i}.ts"
        with av.open(str(part), "w") as container:
            stream: Any = container.add_stream("mpeg2video", rate=25)
            stream.width = stream.height = size
            stream.pix_fmt = "yuv420p"
            for k in range(10):
                frame = av.VideoFrame.from_ndarray(np.zeros((size, size, 3), np.uint8), format="rgb24")
                frame.pts, frame.time_base = 10 * i + k, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        path.write_bytes((path.read_bytes() if path.exists() else b"") + part.read_bytes())
    with pytest.raises(InputError, match="changes"):
        list(read_frames(path))


def test_a_read_picture_leaves_no_thread_and_no_memory_behind(tmp_path: Path) -> None:
    """Not even until the garbage collector comes: a picture of 4K video is 12 MB."""
    write_video(tmp_path / "a.mp4", iter(numbered_images(60)), None)
    frames = read_frames(tmp_path / "a.mp4")
    gc.collect()
    gc.disable()
    try:
        next(frames)
        threads = len(os.listdir("/proc/self/task"))
        count = sum(1 for _ in frames)
        assert len(os.listdir("/proc/self/task")) <= threads
        kept = sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert count == 59 and kept < 10
