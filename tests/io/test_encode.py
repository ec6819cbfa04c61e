"""Writing: what players need, true colours, equal lengths, whole or absent files, errors from both threads."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io.audio import SourceSound
from geneface.io.media import probe
from geneface.io.video import read_frames, write_video, write_webm_alpha
from geneface.ops import reference
from geneface.types import Waveform


def chart() -> np.ndarray:
    """Patches of 32x32 px: a 4x4x4 cube of colours and a row of grays."""
    levels = np.array([16, 96, 176, 248], np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(8, 8, 3)
    grays = np.linspace(0, 255, 8).astype(np.uint8)[None, :, None].repeat(3, axis=2)
    return np.concatenate([colours, grays]).repeat(32, axis=0).repeat(32, axis=1)


def boxes(data: bytes) -> list[str]:
    """Names of the top-level boxes of an MP4 file, in order."""
    names, position = [], 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        names.append(data[position + 4 : position + 8].decode("latin1"))
        size = int.from_bytes(data[position + 8 : position + 16], "big") if size == 1 else size
        position += max(size, 8)
    return names


def noise(seconds: float) -> Waveform:
    generator = np.random.default_rng(1)
    return Waveform(generator.normal(0, 0.1, round(16_000 * seconds)).astype(np.float32))


def pictures(count: int, size: int = 64) -> list[np.ndarray]:
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    image = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(128)), axis=-1)
    return [np.roll(image, i, axis=1) for i in range(count)]


def test_colour_chart_survives(tmp_path) -> None:
    path = tmp_path / "chart.mp4"
    write_video(path, [chart()] * 5, None)
    for frame in read_frames(path):
        difference = np.abs(frame.image.astype(int) - chart())
        assert difference.mean() <= 2
        inner = difference.reshape(9, 32, 8, 32, 3)[:, 8:24, :, 8:24].mean(axis=(1, 3))
        assert inner.max() <= 4


def test_colour_chart_survives_as_planes(tmp_path) -> None:
    path = tmp_path / "chart.mp4"
    planes = reference.to_yuv420((chart() / 255).astype(np.float32))
    write_video(path, [planes] * 5, None)
    for frame in read_frames(path):
        difference = np.abs(frame.image.astype(int) - chart())
        assert difference.mean() <= 2
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


def test_planes_and_pictures_are_not_mixed(tmp_path) -> None:
    with pytest.raises(ValueError, match="pictures must be"):
        write_video(tmp_path / "a.mp4", [np.zeros((96, 64), np.uint8), *pictures(1)], None)
    with pytest.raises(ValueError, match="pictures must be"):
        write_webm_alpha(tmp_path / "a.webm", [np.zeros((96, 64), np.uint8)], None)


def test_colour_chart_survives_in_ffmpeg(tmp_path, ffmpeg) -> None:
    path = tmp_path / "chart.mp4"
    write_video(path, [chart()] * 3, None)
    command = [ffmpeg, "-v", "error", "-i", str(path), "-frames:v", "1"]
    run = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"],
        check=True,
        capture_output=True,
    )
    image = np.frombuffer(run.stdout, np.uint8).reshape(chart().shape)
    assert np.abs(image.astype(int) - chart()).mean() <= 2


def test_decoded_planes_obey_bt709(tmp_path) -> None:
    """The stored Y, Cb, Cr of flat colours are those of the definition, limited range."""
    colour = np.array([200, 60, 30])
    path = tmp_path / "flat.mp4"
    write_video(path, [np.tile(colour.astype(np.uint8), (64, 64, 1))] * 3, None)
    with av.open(str(path)) as container:
        planes = next(container.decode(video=0)).to_ndarray()
    red, green, blue = colour / 255
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    expected = [16 + 219 * y, 128 + 224 * (blue - y) / 1.8556, 128 + 224 * (red - y) / 1.5748]
    seen = [planes[:64].mean(), planes[64:80].mean(), planes[80:].mean()]
    assert np.abs(np.array(seen) - expected).max() < 1.5


def test_stream_properties(tmp_path) -> None:
    path = tmp_path / "plain.mp4"
    assert write_video(path, pictures(50), noise(2), metadata={"title": "A test"}) == 50
    with av.open(str(path)) as container:
        video: Any = container.streams.video[0]
        audio: Any = container.streams.audio[0]
        context = video.codec_context
        assert (context.name, video.profile, context.pix_fmt) == ("h264", "High", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert (audio.codec_context.name, audio.rate, video.average_rate) == ("aac", 48_000, 25)
        assert video.start_time == 0 and audio.start_time == 0
        assert container.metadata["synthetic"] == "true" and container.metadata["title"] == "A test"
        assert "Synthetic media" in container.metadata["comment"]
    names = boxes(path.read_bytes())
    assert names.index("moov") < names.index("mdat")


def test_ffprobe_has_no_complaints(tmp_path, ffmpeg) -> None:
    path = tmp_path / "plain.mp4"
    write_video(path, pictures(50), noise(2))
    run = subprocess.run([ffmpeg, "-v", "warning", "-i", str(path), "-f", "null", "-"], capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr == ""
    ffprobe = shutil.which("ffprobe")
    if ffprobe is not None:
        command = [ffprobe, "-v", "warning", "-show_entries", "format_tags:stream=profile,color_space", str(path)]
        shown = subprocess.run(command, capture_output=True, text=True)
        assert shown.stderr == "" and "profile=High" in shown.stdout and "color_space=bt709" in shown.stdout
        assert "TAG:synthetic=true" in shown.stdout and "TAG:comment=Synthetic media" in shown.stdout


@pytest.mark.parametrize("seconds", [0.04, 0.5, 1.013, 2.0, 3.337])
@pytest.mark.parametrize("count", ["up", "fewer", "more"])
def test_sound_and_pictures_end_together(tmp_path, seconds, count) -> None:
    frames = max(1, -(-round(seconds * 16_000) // 640) + {"up": 0, "fewer": -5, "more": 5}[count])
    path = tmp_path / "length.mp4"
    write_video(path, pictures(frames), noise(seconds))
    with av.open(str(path)) as container:
        for stream in container.streams:
            assert stream.duration is not None and stream.time_base is not None
            assert float(stream.duration * stream.time_base) == pytest.approx(frames / 25, abs=0.022)


@pytest.mark.parametrize("height,width", [(65, 63), (64, 63), (65, 64)])
def test_odd_size_is_padded_to_even(tmp_path, height, width) -> None:
    image = pictures(1, 80)[0][:height, :width]
    path = tmp_path / "odd.mp4"
    write_video(path, [image] * 2, None, crf=1)
    read = next(read_frames(path)).image
    assert read.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(read[-1].astype(int) - read[height - 1]).max() <= 4
    assert np.abs(read[:height, :width].astype(int) - image).mean() < 2


def test_buffers_may_be_reused(tmp_path) -> None:
    buffer = np.zeros((64, 64, 3), np.uint8)

    def frames():
        for i in range(40):
            buffer[:] = 20 + 5 * i
            yield buffer

    path = tmp_path / "reuse.mp4"
    write_video(path, frames(), None, crf=1)
    means = [float(frame.image.mean()) for frame in read_frames(path)]
    assert np.abs(np.array(means) - (20 + 5 * np.arange(40))).max() < 2


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 256])
def test_same_input_gives_the_same_bytes(tmp_path, size) -> None:
    contents = set()
    for i in range(8):
        # Memory that is handed out again with other content brings uninitialised reads to light.
        np.random.default_rng(i).random(20_000 * (i + 1))
        write_video(tmp_path / "a.mp4", pictures(30, size), noise(1.2))
        contents.add((tmp_path / "a.mp4").read_bytes())
    assert len(contents) == 1


def test_other_frame_rate(tmp_path) -> None:
    path = tmp_path / "fast.mp4"
    write_video(path, pictures(60), noise(2), rate_hz=30)
    info = probe(path)
    assert info.video is not None and info.video.frame_rate == 30
    assert info.duration_seconds == pytest.approx(2.0, abs=0.03)


def test_error_while_drawing_leaves_nothing(tmp_path) -> None:
    def frames():
        yield from pictures(20)
        raise RuntimeError("the renderer broke")

    threads = threading.active_count()
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"the old file")
    with pytest.raises(RuntimeError, match="the renderer broke"):
        write_video(path, frames(), noise(1))
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]
    assert threading.active_count() == threads


def test_error_while_encoding_reaches_the_caller(tmp_path, tone, make_wav) -> None:
    bad = np.tile(tone, 4)
    bad[50_000] = np.nan
    sound = SourceSound(make_wav("bad.wav", bad))
    drawn = []

    def frames():
        for image in pictures(1000):
            drawn.append(1)
            yield image

    with pytest.raises(InputError, match="NaN") as caught:
        write_video(tmp_path / "out.mp4", frames(), sound)
    assert "3.1" in caught.value.where
    assert len(drawn) < 200
    assert [path.name for path in tmp_path.iterdir()] == ["bad.wav"]


def test_nothing_to_write(tmp_path) -> None:
    with pytest.raises(InputError, match="nothing to write"):
        write_video(tmp_path / "none.mp4", [], noise(1))
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_different_sizes_are_a_programming_error(tmp_path) -> None:
    with pytest.raises(ValueError, match="pictures must be"):
        write_video(tmp_path / "a.mp4", [*pictures(2), *pictures(1, size=32)], None)
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, sys
import numpy as np
from geneface.errors import InputError
from geneface.io.video import write_video
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
generator = np.random.default_rng(0)
frames = (generator.integers(0, 255, (128, 128, 3), dtype=np.uint8) for _ in range(100))
try:
    write_video(sys.argv[1], frames, None)
except InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_disk_that_takes_no_more(tmp_path) -> None:
    """The limit on file size stands for a full disk: writes begin to fail half-way."""
    path = tmp_path / "out.mp4"
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "cannot write" in run.stdout and "choose another place" in run.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_is_flat(tmp_path) -> None:
    """2000 pictures of 0.2 MB pass through a process that grows by a small part of that."""
    code = f"""
import resource
import numpy as np
from geneface.io.video import write_video
from geneface.types import Waveform
image = np.zeros((256, 256, 3), np.uint8)
def run(count):
    write_video({str(tmp_path / "m.mp4")!r}, (image for _ in range(count)), Waveform(np.zeros(640 * count, np.float32)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
first = run(250)
print((run(2000) - first) / 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 25


def test_transparency_survives_in_webm(tmp_path) -> None:
    colour = np.full((64, 96, 3), 90, np.uint8)
    ramp = np.broadcast_to(np.linspace(0, 255, 96).astype(np.uint8), (64, 96))
    path = tmp_path / "alpha.webm"
    write_webm_alpha(path, [np.dstack([colour, ramp])] * 10, noise(0.4))
    decoder: Any = av.CodecContext.create("libvpx-vp9", "r")
    frames = []
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata.get("alpha_mode") == "1"
        assert container.streams.audio[0].codec_context.name == "opus"
        for packet in container.demux(video=0):
            frames += decoder.decode(packet if packet.size else None)
    assert len(frames) == 10
    assert frames[5].format.name == "yuva420p"
    rgba = frames[5].reformat(format="rgba").to_ndarray()
    assert np.abs(rgba[..., 3].astype(int) - ramp).mean() < 6
    assert next(read_frames(path)).image.shape == (64, 96, 3)


def test_pyav_without_the_encoder(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(av, "codecs_available", frozenset({"aac"}))
    with pytest.raises(InputError, match="libx264"):
        write_video(tmp_path / "a.mp4", pictures(1), None)


@pytest.mark.parametrize("target", ["file/a.mp4", ".", "/proc/a.mp4", "/proc/new/a.mp4"])
def test_unwritable_places(tmp_path, target) -> None:
    (tmp_path / "file").write_text("x")
    if target.startswith("/proc") and not Path("/proc").exists():
        pytest.skip("no such folder here")
    with pytest.raises(InputError, match="cannot write") as caught:
        write_video(tmp_path / target, pictures(1), None)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("width", "is_synthetic", "effort"), [(1280, True, b"subme=1"), (1280, False, b"subme=2"), (640, True, b"subme=2")]
)
def test_large_drawn_pictures_are_encoded_in_a_hurry(tmp_path, width, is_synthetic, effort):
    path = tmp_path / "a.mp4"
    frames = [np.full((960, width, 3), 90, np.uint8)] * 2
    write_video(path, frames, None, is_synthetic=is_synthetic)
    # x264 writes its settings into the stream: subme is 1 with "superfast", 2 with "veryfast".
    assert effort in path.read_bytes()
