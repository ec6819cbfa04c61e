"""What a performance is written as: a video, a video without background, pictures, or the motion alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

from geneface.io.audio import SourceSound
from geneface.io.image import write_png_sequence
from geneface.io.tensors import TensorWriter
from geneface.io.video import write_video, write_webm_alpha
from geneface.render.renderer import Picture
from geneface.types import VIDEO_RATE_HZ, ByteArray, MotionTrack, ProgressFn, Waveform

Format = Literal["mp4", "webm-alpha", "png", "landmarks"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES = {"mp4": ".mp4", "webm-alpha": ".webm", "png": "", "landmarks": ".safetensors"}


def write_pictures(
    out: Path,
    format: Format,
    pictures: Iterator[Picture],
    sound: Waveform | SourceSound | None,
    avatar: str,
    progress: ProgressFn,
    total: int,
) -> int:
    """Write the pictures of an avatar as they come, with their sound; returns their number. Whole or not at all."""

    def counted(convert: Callable[[Picture], ByteArray]) -> Iterator[ByteArray]:
        for done, picture in enumerate(pictures, start=1):
            yield convert(picture)
            progress("rendering", done, total)

    if format == "webm-alpha":
        return write_webm_alpha(out, counted(lambda picture: picture.to_rgba()), sound)
    if format == "png":
        return write_png_sequence(out, counted(lambda picture: picture.to_uint8()))
    planes = counted(lambda picture: picture.to_yuv420())
    return write_video(out, planes, sound, metadata={"title": f"geneface avatar {avatar}"})


def write_motion(
    out: Path, windows: Iterator[MotionTrack], facts: Mapping[str, str], progress: ProgressFn, total: int
) -> int:
    """Write the motion alone, as it comes; returns the number of frames. Whole or not at all."""
    done = 0
    with TensorWriter(out, {**facts, "rate_hz": str(VIDEO_RATE_HZ)}) as file:
        for window in windows:
            file.append("landmarks", window.points)
            file.append("rotation", window.pose.rotation)
            file.append("translation", window.pose.translation)
            if window.pose.torso is not None:
                file.append("torso", window.pose.torso)
            if window.body is not None:
                file.append("body", window.body)
            done += len(window)
            progress("rendering", done, total)
    return done
