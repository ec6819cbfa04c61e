"""Which of a file's streams are used: the default one of those that can be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from geneface.errors import InputError

MAX_CHANNELS = 64

_AnyStream = TypeVar("_AnyStream", bound=Stream)


@dataclass(frozen=True)
class SoundTrack:
    """A sound stream that can be decoded."""

    stream: AudioStream
    names: tuple[str, ...]
    """FFmpeg's names of its channels, "NONE" for those of no stated place."""


def find_video(container: InputContainer) -> VideoStream | None:
    """The picture stream, or None: the default one if it can be decoded; cover art is not one."""
    return _preferred([s for s in container.streams.video if is_moving(s)])


def is_moving(stream: VideoStream) -> bool:
    """Whether a stream is video that can be decoded; PyAV has no codec context for codecs that FFmpeg doesn't know."""
    return stream.codec_context is not None and not stream.disposition & Disposition.attached_pic


def find_sound(path: Path, container: InputContainer) -> SoundTrack | None:
    """The sound stream, or None: the default one if it can be decoded. To be called once an opening.

    Raises:
        InputError: the stream has too many channels.
    """
    stream = _preferred([s for s in container.streams.audio if s.codec_context is not None])
    if stream is None:
        return None
    layout = stream.codec_context.layout
    count = layout.nb_channels
    # FFmpeg knows no number where a header states far too many.
    if count > MAX_CHANNELS or (not count and stream.codec_context.name.startswith("pcm")):
        raise InputError(
            f"{path} has {count or 'none or thousands of'} sound channels, at most {MAX_CHANNELS} are read",
            "convert it first, e.g. with ffmpeg",
        )
    if "(" in layout.name or layout.name.startswith("ambisonic"):
        # Channels in an order of their own are kept in a list, of which PyAV's layouts and frames all hold the same
        # copy, and each of them frees it. Here it is left to the one above.
        stream.codec_context.layout = f"{count} channels"
    return SoundTrack(stream, tuple(channel.name for channel in layout.channels))


def _preferred(streams: Sequence[_AnyStream]) -> _AnyStream | None:
    """The first of those that the file marks as default, or else of those that don't comment on the others."""
    aside = Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired
    plain = [s for s in streams if not s.disposition & aside] or streams
    return next((s for s in plain if s.disposition & Disposition.default), plain[0] if plain else None)
