"""A live face to a streaming server, a player, a file or a virtual camera.

    from geneface.adapters.output import push_to
    from geneface.avatar.avatar import Avatar
    from geneface.realtime import Scheduler

    face = Scheduler().open(Avatar.load("folder/of/an/avatar"))
    threading.Thread(target=push_to, args=(face, "rtmp://127.0.0.1/live/KEY")).start()
    face.speak(samples, 16_000)

What is left out because the network is slow is left out of the stream: its time stamps count from the first
item that was sent and never shift, sound and picture alike.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame

from geneface.errors import InputError
from geneface.io.live import VIDEO_TIME_BASE, LiveSoundEncoder, configure_video
from geneface.realtime import ITEM_SAMPLES, SOUND_RATE_HZ, Item, Session
from geneface.types import VIDEO_RATE_HZ

VIDEO_BIT_RATE = 2_500_000
_SOUND_BIT_RATE = 128_000
_CONNECT_SECONDS, _SEND_SECONDS = 10.0, 10.0
_SCHEME = re.compile(r"([a-z0-9]+)://", re.IGNORECASE)


@dataclass(frozen=True)
class _Target:
    container: str
    options: dict[str, str] = field(default_factory=dict)
    is_camera: bool = False


_SENT_AT_ONCE = {"flush_packets": "1"}
_STREAMS = {
    "rtmp": _Target("flv", {"flvflags": "no_duration_filesize", **_SENT_AT_ONCE}),
    "rtmps": _Target("flv", {"flvflags": "no_duration_filesize", **_SENT_AT_ONCE}),
    "srt": _Target("mpegts", _SENT_AT_ONCE),
    "udp": _Target("mpegts", {"pkt_size": "1316", **_SENT_AT_ONCE}),
    "tcp": _Target("mpegts", _SENT_AT_ONCE),
}
_FILES = {
    # In fragments, so that what was written can be played whenever the writing ends.
    ".mp4": _Target("mp4", {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}),
    ".mkv": _Target("matroska"),
    ".ts": _Target("mpegts"),
    ".flv": _Target("flv"),
}
_CAMERA = _Target("v4l2", is_camera=True)


def push_to(
    session: Session, url: str | Path, *, bit_rate: int = VIDEO_BIT_RATE, stop: threading.Event | None = None
) -> int:
    """Send a session's pictures and sound until it is closed: H.264 and AAC. Blocks: give it a thread.

    Args:
        session: an open one, which nobody else takes items from.
        url: `rtmp://`, `rtmps://`, `srt://`, `udp://` or `tcp://`; a file (.mp4, .mkv, .ts, .flv), which is
            overwritten; or the device of a virtual camera (`/dev/video9` of v4l2loopback), which gets pictures only.
        bit_rate: of the pictures, in bits a second.
        stop: ends it earlier.

    Returns:
        The number of pictures that were sent.

    Raises:
        InputError: an address or file that can't be used, or a connection that broke.
    """
    text = str(url)
    target, count = _target_of(text), 0
    try:
        with closing(_opened(text, target)) as container:
            writer = (_Camera if target.is_camera else _Writer)(container, session, bit_rate)
            first = None
            for item in _items(session, stop):
                first = item.index if first is None else first
                writer.add(item, item.index - first)
                count += 1
            writer.finish()
    except av.ProtocolNotFoundError as error:
        raise InputError(
            f"this build of PyAV can't send to {_shown(text)}", "send by rtmp:// or udp://, or to a file"
        ) from error
    except (av.FFmpegError, OSError) as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{_shown(text)} takes no video ({reason})", "check that the receiver runs and the address is right"
        ) from error
    return count


def _target_of(url: str) -> _Target:
    scheme = _SCHEME.match(url)
    target = _STREAMS.get(scheme[1].lower()) if scheme else _FILES.get(Path(url).suffix.lower())
    if target is None and not scheme and url.startswith("/dev/video"):
        target = _CAMERA
    if target is None:
        known = [*(f"{name}://" for name in _STREAMS), *(f"*{suffix}" for suffix in _FILES), "/dev/video*"]
        raise InputError(f"there is no way to send video to {_shown(url)}", f"give one of {', '.join(known)}")
    return target


def _shown(url: str) -> str:
    """The address without what may be secret: stream keys stand in paths, passphrases in queries, names before @."""
    scheme = _SCHEME.match(url)
    return url if scheme is None else scheme[0] + re.split(r"[/?]", url[scheme.end() :])[0].rpartition("@")[2]


def _opened(url: str, target: _Target) -> OutputContainer:
    return av.open(url, "w", format=target.container, options=target.options, timeout=(_CONNECT_SECONDS, _SEND_SECONDS))


def _items(session: Session, stop: threading.Event | None) -> Iterator[Item]:
    for item in session.frames():
        if stop is not None and stop.is_set():
            return
        yield item


class _Writer:
    """Encodes both into one container, without a frame of delay."""

    def __init__(self, container: OutputContainer, session: Session, bit_rate: int) -> None:
        self._container = container
        self._video: Any = container.add_stream("libx264", rate=VIDEO_RATE_HZ)
        configure_video(self._video.codec_context, session.width, session.height, bit_rate)
        # Tells the container what comes; the packets are those of an encoder that keeps gaps.
        self._sound_stream: Any = container.add_stream("aac", rate=SOUND_RATE_HZ, layout="mono")
        self._sound = LiveSoundEncoder("aac", _SOUND_BIT_RATE)

    def add(self, item: Item, place: int) -> None:
        """Send one item, whose time is `place` frames: its picture, then the sound that is whole by now."""
        frame = VideoFrame.from_ndarray(item.picture.to_yuv420(), format="yuv420p")
        frame.pts, frame.time_base = place, VIDEO_TIME_BASE
        self._container.mux(self._video.encode(frame))
        self._send(self._sound.encode(item.sound, place * ITEM_SAMPLES))

    def finish(self) -> None:
        """Send what the encoders hold."""
        self._container.mux(self._video.encode(None))
        self._send(self._sound.finish())

    def _send(self, packets: list[Packet]) -> None:
        for packet in packets:
            # The encoder's run-up lies before the first picture, where some containers can't go.
            if packet.pts is not None and packet.pts >= 0:
                packet.stream = self._sound_stream
                self._container.mux(packet)


class _Camera:
    """Bare pictures to a video device: what a video call sees as a camera."""

    def __init__(self, container: OutputContainer, session: Session, bit_rate: int) -> None:
        del bit_rate
        self._container = container
        self._stream: Any = container.add_stream("rawvideo", rate=VIDEO_RATE_HZ)
        self._stream.width, self._stream.height, self._stream.pix_fmt = session.width, session.height, "yuv420p"

    def add(self, item: Item, place: int) -> None:
        """Show one item's picture."""
        frame = VideoFrame.from_ndarray(item.picture.to_yuv420(), format="yuv420p")
        frame.pts, frame.time_base = place, VIDEO_TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Nothing is held back."""
