"""Small whole files of every kind that users give, and ways to spoil them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
AVATAR_FILES = (
    "config.json",
    "model.safetensors",
    "motion.safetensors",
    "background.png",
    "motion/config.json",
    "motion/stats.safetensors",
    "person/adaptation.json",
    "person/adaptation.safetensors",
)
_VIDEOS = {
    "a.mp4": ("libx264", "aac"),
    "fragments.mp4": ("libx264", "aac"),
    "a.mov": ("mjpeg", "pcm_s16le"),
    "a.mkv": ("libx264", "libopus"),
    "a.webm": ("libvpx", "libvorbis"),
    "a.avi": ("mpeg4", "libmp3lame"),
    "a.ts": ("libx264", "aac"),
    "a.mpg": ("mpeg2video", "mp2"),
    "a.wmv": ("wmv2", "wmav2"),
    "a.flv": ("flv", "libmp3lame"),
}
"""Name -> picture and sound codec; those that this build lacks are left out."""
_SOUNDS = {"a.mp3": "libmp3lame", "a.m4a": "aac", "a.ogg": "libvorbis", "a.opus": "libopus", "a.ac3": "ac3"}
_TABLE = """avatar,audio,out,format,size,background,seed,temperature,mouth_gain,blink
grid-s1,speech.wav,one.mp4,mp4,256,keep,3,0.5,1.2,auto
grid-s1,"a, b.wav",two.webm,webm-alpha,,#00b140,,,,off
grid-s1,deep/größe.flac,,,,wall.png,,,,
"""
_RATE_HZ, _PICTURES = 16_000, 20
_INTERESTING = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000)


def make_samples(folder: Path) -> list[Path]:
    """Write them; returns their paths."""
    time = np.arange(_RATE_HZ * _PICTURES // 25) / _RATE_HZ
    sound = (0.3 * np.sin(2 * np.pi * 220 * time) * np.sin(9 * time)).astype(np.float32)
    made = [_film(folder / name, *codecs, sound) for name, codecs in _VIDEOS.items()]
    made += [_film(folder / name, None, codec, sound) for name, codec in _SOUNDS.items()]
    for name, kind in (("a.wav", "PCM_16"), ("float.wav", "FLOAT"), ("a.flac", "PCM_16"), ("a.aiff", "PCM_24")):
        soundfile.write(folder / name, np.stack([sound, -sound], axis=1), _RATE_HZ, subtype=kind)
        made.append(folder / name)
    for name, codec, kind in (("a.png", "png", "rgb24"), ("alpha.png", "png", "rgba"), ("a.jpg", "mjpeg", "yuvj420p")):
        (folder / name).write_bytes(_picture(codec, kind))
        made.append(folder / name)
    (folder / "jobs.csv").write_text(_TABLE, encoding="utf-8")
    (folder / "excel.csv").write_text("sep=;\n" + _TABLE.replace(",", ";"), encoding="utf-16")
    return [*(path for path in made if path is not None), folder / "jobs.csv", folder / "excel.csv"]


def _images(width: int = 64, height: int = 48) -> list[Bytes]:
    rows, columns = np.mgrid[:height, :width]
    shades = [np.stack([rows * 5, columns * 4, rows * 0 + 12 * n], axis=-1) for n in range(_PICTURES)]
    return [np.ascontiguousarray(shade % 256, np.uint8) for shade in shades]


def _picture(codec: str, kind: str) -> bytes:
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, kind, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(_images()[3], format="rgb24").reformat(format=kind)
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def _film(path: Path, picture_codec: str | None, sound_codec: str, sound: NDArray[np.float32]) -> Path | None:
    codecs = [codec for codec in (picture_codec, sound_codec) if codec is not None]
    if any(codec not in av.codecs_available for codec in codecs):
        return None
    options = {"movflags": "frag_keyframe+empty_moov"} if path.name.startswith("fragments") else {}
    with av.open(str(path), "w", options=options) as opened:
        container: Any = opened
        video: Any = None if picture_codec is None else container.add_stream(picture_codec, rate=25)
        audio: Any = container.add_stream(sound_codec, rate=48_000 if "opus" in sound_codec else 44_100, layout="mono")
        audio.codec_context.bit_rate = 64_000
        if video is not None:
            video.width, video.height = 64, 48
            video.pix_fmt = "yuvj420p" if picture_codec == "mjpeg" else "yuv420p"
            for number, image in enumerate(_images()):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=video.pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        block = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        block.sample_rate = _RATE_HZ
        audio.codec_context.open(strict=False)
        # The encoders take blocks of their own size.
        size = int(audio.codec_context.frame_size or 1024)
        resampler = av.AudioResampler(audio.format, "mono", audio.rate, frame_size=size)
        for frame in [*resampler.resample(block), *resampler.resample(None)]:
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


def _place(content: Bytes, generator: np.random.Generator) -> int:
    """Anywhere, but every second time near the beginning, where headers are."""
    limit = len(content) if generator.random() < 0.5 else min(len(content), 512)
    return int(generator.integers(max(limit, 1)))


def _part(content: Bytes, generator: np.random.Generator) -> slice:
    start = _place(content, generator)
    return slice(start, start + int(min(2 ** generator.uniform(0, 14), len(content))))


def _flip(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    for _ in range(int(2 ** generator.uniform(0, 7))):
        content[_place(content, generator)] ^= np.uint8(1 << generator.integers(8))
    return content


def _overwrite(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    where = _part(content, generator)
    content[where] = generator.integers(0, 256, len(content[where]))
    return content


def _run(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    content[_part(content, generator)] = generator.choice([0, 0, 0xFF, 0x20])
    return content


def _number(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    start, size = _place(content, generator), int(generator.choice([1, 2, 4]))
    order = "big" if generator.random() < 0.5 else "little"
    value = int(generator.choice(_INTERESTING)) % (1 << 8 * size)
    written = np.frombuffer(value.to_bytes(size, order), np.uint8)
    content[start : start + size] = written[: len(content) - start]
    return content


def _truncate(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    return content[: _place(content, generator)]


def _cut(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    return np.delete(content, _part(content, generator))


def _double(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    part = content[_part(content, generator)]
    return np.insert(content, _place(content, generator), np.tile(part, int(generator.integers(1, 4))))


def _splice(content: Bytes, other: Bytes, generator: np.random.Generator) -> Bytes:
    part = other[_part(other, generator)]
    start = _place(content, generator)
    return np.concatenate([content[:start], part, content[start + (len(part) if generator.random() < 0.5 else 0) :]])


_WAYS: tuple[Callable[[Bytes, Bytes, np.random.Generator], Bytes], ...] = (
    _flip, _overwrite, _run, _number, _truncate, _cut, _double, _splice
)  # fmt: skip


def mutate(content: bytes, other: bytes, generator: np.random.Generator) -> bytes:
    """The content spoilt in one to four ways; `other` is what parts may come from."""
    spoilt, source = np.frombuffer(content, np.uint8).copy(), np.frombuffer(other, np.uint8)
    for _ in range(int(generator.integers(1, 5))):
        if len(spoilt) and len(source):
            spoilt = _WAYS[int(generator.integers(len(_WAYS)))](spoilt, source, generator)
    return spoilt.tobytes()
