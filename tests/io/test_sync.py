"""A click and a flash that happen together stay together: read, write with our writer, read again."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from geneface.io.audio import SourceSound, read_audio
from geneface.io.video import read_frames, write_video
from geneface.types import Waveform

FLASH_FRAME = 30
FLASH_SECONDS = 1.2
TOLERANCE_SECONDS = 0.010


def flash_images(rate: int = 25) -> list[np.ndarray]:
    """Two seconds of dark pictures, white from `FLASH_SECONDS` on."""
    return [np.full((64, 64, 3), 235 if i >= FLASH_SECONDS * rate else 20, np.uint8) for i in range(2 * rate)]


def click_samples(rate: int, start_seconds: float = 0.0) -> np.ndarray:
    """Two seconds with a 2 ms burst whose middle is at `FLASH_SECONDS` on the media clock."""
    time = start_seconds + np.arange(2 * rate) / rate
    return (0.8 * np.exp(-(((time - FLASH_SECONDS) / 0.001) ** 2))).astype(np.float32)


def click_seconds(audio: Waveform) -> float:
    energy = audio.samples.astype(np.float64) ** 2
    return audio.start_seconds + float((np.arange(len(energy)) * energy).sum() / energy.sum()) / 16_000


def flash_seconds(path: Path) -> float:
    return next(frame.time_seconds for frame in read_frames(path) if frame.image.mean() > 128)


CONTAINERS = [
    ("a.mp4", "libx264", "aac", 44_100, {}),
    ("b-frames.mp4", "libx264", "aac", 48_000, {"bf": "3", "preset": "medium"}),
    ("low-rate.mp4", "libx264", "aac", 16_000, {}),
    ("he.mkv", "libx264", "aac", 48_000, {}),
    ("opus.webm", "libvpx", "libopus", 48_000, {"deadline": "realtime"}),
    ("pcm.mov", "libx264", "pcm_s16le", 44_100, {}),
    ("pcm.avi", "mpeg4", "pcm_s16le", 22_050, {}),
    ("mp3.mkv", "mpeg4", "libmp3lame", 44_100, {}),
    ("broadcast.ts", "mpeg2video", "mp2", 48_000, {}),
    ("stream.ts", "libx264", "aac", 48_000, {"bf": "2"}),
    ("old.mpg", "mpeg1video", "mp2", 44_100, {}),
    ("flac.mkv", "ffv1", "flac", 96_000, {}),
]


@pytest.mark.slow
@pytest.mark.parametrize("name,video_codec,audio_codec,rate,options", CONTAINERS, ids=[c[0] for c in CONTAINERS])
def test_click_and_flash_stay_together(make_media, tmp_path, name, video_codec, audio_codec, rate, options) -> None:
    source = make_media(
        name,
        images=flash_images(),
        samples=click_samples(rate),
        sample_rate=rate,
        video_codec=video_codec,
        audio_codec=audio_codec,
        options=options,
    )
    audio = read_audio(source)
    assert flash_seconds(source) == pytest.approx(FLASH_SECONDS, abs=1e-6)
    assert click_seconds(audio) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)

    copy = tmp_path / "copy.mp4"
    write_video(copy, (frame.image for frame in read_frames(source)), audio)
    assert flash_seconds(copy) == pytest.approx(FLASH_SECONDS, abs=1e-6)
    assert click_seconds(read_audio(copy)) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
@pytest.mark.parametrize("start", [0.3, 0.75])
def test_sound_that_starts_late_keeps_its_time(make_media, tmp_path, name, start) -> None:
    samples = click_samples(48_000, start)
    source = make_media(name, images=flash_images(), samples=samples, sample_rate=48_000, audio_start=start)
    audio = read_audio(source)
    # Some containers can't hide the encoder's priming, 1024 silent samples, which then come first.
    assert start - 0.025 < audio.start_seconds < start + 0.002
    assert click_seconds(audio) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)
    copy = tmp_path / "copy.mp4"
    write_video(copy, (frame.image for frame in read_frames(source)), audio)
    assert click_seconds(read_audio(copy)) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)


@pytest.mark.parametrize("name", ["shifted.mp4", "shifted.mkv"])
def test_container_that_starts_late_counts_from_its_first_picture(make_media, name) -> None:
    source = make_media(name, images=flash_images(), samples=click_samples(48_000), sample_rate=48_000, shift=3.0)
    assert flash_seconds(source) == pytest.approx(FLASH_SECONDS, abs=1e-6)
    assert click_seconds(read_audio(source)) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)


def test_sound_that_starts_before_the_pictures_is_cut_on_writing(tmp_path) -> None:
    audio = Waveform(click_samples(16_000, -0.5), start_seconds=-0.5)
    path = tmp_path / "early.mp4"
    write_video(path, flash_images(), audio)
    assert click_seconds(read_audio(path)) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)


def test_holes_in_the_sound_become_silence(make_media, tmp_path, ffmpeg) -> None:
    whole = make_media("whole.mkv", samples=click_samples(48_000), sample_rate=48_000, audio_codec="pcm_s16le")
    holed = tmp_path / "holed.mkv"
    # Drop the packets between 0.4 and 0.9 s without touching the timestamps of the others.
    command = [ffmpeg, "-v", "error", "-i", str(whole), "-c", "copy"]
    subprocess.run([*command, "-bsf:a", "noise=drop=between(pts*tb\\,0.4\\,0.9)", str(holed)], check=True)
    assert holed.stat().st_size < 0.85 * whole.stat().st_size
    audio = read_audio(holed)
    assert click_seconds(audio) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)
    assert audio.duration_seconds == pytest.approx(2.0, abs=0.03)


def test_copied_sound_file_keeps_channels_and_time(make_media, tmp_path) -> None:
    stereo = np.stack([click_samples(44_100), np.zeros(88_200, np.float32)], axis=1)
    source = make_media("stereo.m4a", samples=stereo, sample_rate=44_100)
    path = tmp_path / "out.mp4"
    write_video(path, flash_images(), SourceSound(source))
    again = read_audio(path)
    assert click_seconds(again) == pytest.approx(FLASH_SECONDS, abs=TOLERANCE_SECONDS)
    assert np.abs(again.samples).max() == pytest.approx(0.4, abs=0.1)


@pytest.mark.slow
def test_ffmpeg_agrees_on_the_written_file(tmp_path, ffmpeg) -> None:
    path = tmp_path / "out.mp4"
    write_video(path, flash_images(), Waveform(click_samples(16_000)))
    command = [ffmpeg, "-v", "error", "-i", str(path)]
    sound = subprocess.run(
        [*command, "-vn", "-ac", "1", "-ar", "16000", "-f", "f32le", "-"], check=True, capture_output=True
    ).stdout
    assert click_seconds(Waveform(np.frombuffer(sound, np.float32))) == pytest.approx(FLASH_SECONDS, abs=0.003)
    gray = subprocess.run(
        [*command, "-an", "-pix_fmt", "gray", "-f", "rawvideo", "-"], check=True, capture_output=True
    ).stdout
    means = np.frombuffer(gray, np.uint8).reshape(-1, 64 * 64).mean(axis=1)
    assert int(np.argmax(means > 128)) == FLASH_FRAME


@pytest.mark.slow
@pytest.mark.parametrize("rate", [Fraction(24_000, 1001), 24, Fraction(30_000, 1001), 30, 50, 60])
def test_other_frame_rates_come_out_at_25(make_media, rate) -> None:
    count = round(3 * rate)
    flash = round(Fraction(6, 5) * rate)
    images = [np.full((48, 64, 3), 235 if i >= flash else 20, np.uint8) for i in range(count)]
    source = make_media("rate.mp4", images=images, rate=rate)
    frames = list(read_frames(source))
    times = [frame.time_seconds for frame in frames]
    assert times == [i / 25 for i in range(75)]
    seen = next(frame.time_seconds for frame in frames if frame.image.mean() > 128)
    # The nearest picture is at most half a step of either rate away.
    assert abs(seen - float(flash / Fraction(rate))) <= 0.02 + 1e-9
