"""Which stream of several is read: default flags, codecs that nobody knows, covers, layouts that crash PyAV."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from geneface.errors import InputError
from geneface.io.audio import SoundReader, read_audio
from geneface.io.media import probe
from geneface.io.video import read_frames

RATE = 48_000


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(path: Path) -> int:
    """The tone of a sound file, in Hz."""
    samples = read_audio(path).samples[1000:13_800]
    return round(int(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))).argmax()) * 16_000 / len(samples))


def write_tracks(
    path: Path,
    tones: list[float],
    shades: list[int] | None = None,
    sound_flags: list[int] | None = None,
    picture_flags: list[int] | None = None,
) -> Path:
    """A file with a sound track for each tone and a picture track for each shade of grey, with flags."""
    with av.open(str(path), "w") as container:
        videos: list[Any] = []
        for flags in picture_flags or [int(Disposition.default)] * len(shades or []):
            video: Any = container.add_stream("mpeg4", rate=25)
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
            video.disposition = flags
            videos.append(video)
        audios: list[Any] = []
        for flags in sound_flags or [int(Disposition.default)] * len(tones):
            audio: Any = container.add_stream("aac", rate=RATE, layout="stereo")
            audio.disposition = flags
            audios.append(audio)
        for video, shade in zip(videos, shades or [], strict=True):
            for index in range(25):
                image = np.full((64, 64, 3), shade, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        for audio, hz in zip(audios, tones, strict=True):
            samples = np.stack([tone(hz)] * 2)
            for start in range(0, samples.shape[1], 1024):
                block = np.ascontiguousarray(samples[:, start : start + 1024])
                sound = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
                sound.sample_rate, sound.pts, sound.time_base = RATE, start, Fraction(1, RATE)
                container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
    return path


def rename_codec(path: Path, codec: bytes, which: int) -> Path:
    """Make the codec of one track unknown: its four letters in the sample description."""
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(which + 1):
        at = data.index(b"stsd", at + 1)
    assert data[at + 16 : at + 20] == codec
    data[at + 16 : at + 20] = b"zzzz"
    description = data.index(b"esds", at)
    data[description : description + 4] = b"zzzz"  # it names the codec again
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("unknown,expected", [(0, 880), (1, 440)])
def test_sound_in_an_unknown_codec_is_passed_over(tmp_path, unknown, expected) -> None:
    path = rename_codec(write_tracks(tmp_path / "a.mov", [440, 880]), b"mp4a", unknown)
    assert pitch(path) == expected
    info = probe(path)
    assert info.audio is not None and info.audio.codec == "aac" and SoundReader(path).channels() == 2


def test_only_sound_in_an_unknown_codec(tmp_path) -> None:
    path = rename_codec(write_tracks(tmp_path / "a.mov", [440], [128]), b"mp4a", 1)
    with pytest.raises(InputError, match=r"the sound of .*a\.mov is in a format that can't be decoded: .+"):
        read_audio(path)
    info = probe(path)
    assert info.audio is None and info.video is not None
    assert len(list(read_frames(path))) == 25


def test_pictures_in_an_unknown_codec(tmp_path) -> None:
    path = rename_codec(write_tracks(tmp_path / "a.mov", [440], [50, 200]), b"mp4v", 0)
    assert np.abs(next(iter(read_frames(path))).image.astype(int) - 200).max() < 4
    rename_codec(path, b"mp4v", 1)
    assert pitch(path) == 440 and probe(path).video is None
    with pytest.raises(InputError, match="pictures"):
        list(read_frames(path))


def test_the_default_track_is_taken(tmp_path) -> None:
    plain, default = 0, int(Disposition.default)
    path = write_tracks(tmp_path / "a.mkv", [440, 880], [50, 200], [plain, default], [plain, default])
    assert pitch(path) == 880
    assert np.abs(next(iter(read_frames(path))).image.astype(int) - 200).max() < 4


def test_a_description_for_the_blind_is_not_taken(tmp_path) -> None:
    flags = [int(Disposition.visual_impaired), 0]
    assert pitch(write_tracks(tmp_path / "a.mkv", [440, 880], sound_flags=flags)) == 880


def png_header(width: int, height: int) -> bytes:
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR" + head + bytes(4)


@pytest.mark.parametrize("cover", [b"\xff\xd8\xff\xe0 damaged", png_header(9000, 9000), b""])
def test_a_bad_cover_does_not_silence_the_sound(tmp_path, make_media, cover) -> None:
    path = make_media("a.mp3", samples=tone(440), sample_rate=RATE, audio_codec="libmp3lame")
    kind = b"image/png" if cover.startswith(b"\x89") else b"image/jpeg"
    picture = b"\0" + kind + b"\0\x03\0" + cover
    frame = b"APIC" + len(picture).to_bytes(4, "big") + b"\0\0" + picture
    size = len(frame)
    tag = b"ID3\x03\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + frame
    data = path.read_bytes()
    old = 10 + int.from_bytes(data[8:10], "big") if data.startswith(b"ID3") else 0
    path.write_bytes(tag + data[old:])
    assert pitch(path) == 440
    assert probe(path).video is None


@pytest.mark.slow
def test_channels_in_an_order_of_their_own(tmp_path, ffmpeg) -> None:
    """PyAV frees the list of such an order twice, so this runs in a process of its own."""
    samples = np.zeros((RATE, 3), np.int16)
    samples[:, 2] = 32_767 * tone(440)
    (tmp_path / "a.raw").write_bytes(samples.tobytes())
    command = [ffmpeg, "-v", "error", "-f", "s16le", "-ch_layout", "FR+FL+FC", "-ar", str(RATE)]
    made = subprocess.run([*command, "-i", str(tmp_path / "a.raw"), "-c:a", "pcm_s16le", str(tmp_path / "a.mov")])
    if made.returncode:
        pytest.skip("this ffmpeg writes no such layouts")
    code = (
        "import sys; from geneface.io.audio import read_audio; from geneface.io.media import probe;"
        "probe(sys.argv[1]); print(abs(read_audio(sys.argv[1]).samples[1000:-1000]).max())"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.mov")], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == pytest.approx(0.5, abs=0.01)
