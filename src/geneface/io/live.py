"""Pictures and sound for people who watch now: H.264 without a frame of delay, Opus and AAC, on one count of frames.

Picture k and its 40 ms of sound carry the same time, k / 25 s, whatever was left out before them; what comes later
never moves what came earlier. `io.encode` writes files instead.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame

from geneface.io.audio import SOUNDTRACK_RATE_HZ
from geneface.io.encode import declare_bt709, refuse_without
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray

SOUND_RATE_HZ = SOUNDTRACK_RATE_HZ
LEAST_BIT_RATE, MOST_BIT_RATE = 500_000, 2_500_000
"""Of pictures, in bits a second: below, a face is blocks; above, nobody sees more at 512 x 512."""
VIDEO_TIME_BASE = Fraction(1, VIDEO_RATE_HZ)
SOUND_TIME_BASE = Fraction(1, SOUND_RATE_HZ)

_QUALITY = "23"
"""x264's crf: what a face takes where it is not too much; its own default."""
_STEP = 0.15
"""Smaller changes of the bit rate are not worth an encoder of their own."""


class LiveVideoEncoder:
    """H.264 constrained baseline (which every browser and phone decodes in hardware): one picture in, one packet out.

    A key frame every second, and whenever one is asked for. `bit_rate` may be set at any time; it holds from the next
    key frame on, as each is the first picture of what follows. No picture takes more than half a second's share.
    """

    def __init__(self, bit_rate: int = 1_500_000, *, has_headers: bool = True) -> None:
        """`has_headers`: repeat the parameter sets with each key frame; containers keep them in their own header."""
        self.bit_rate = bit_rate
        self._has_headers = has_headers
        self._context: Any = None
        self._rate = 0
        self._since_key = 0

    def encode(self, planes: ByteArray, index: int, is_key: bool = False) -> Packet:
        """One picture: uint8 planes [3 H / 2, W] as `ops.to_yuv420` makes them; `index` counts frames of 1/25 s.

        Indices rise; the gaps between them are kept.
        """
        height, width = planes.shape[0] * 2 // 3, planes.shape[1]
        is_key = is_key or self._since_key >= VIDEO_RATE_HZ or self._is_outgrown(width, height)
        if is_key and (self._context is None or self._is_outgrown(width, height) or self._rate_moved()):
            self._context = self._opened(width, height)
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv420p")
        frame.pts, frame.time_base = index, VIDEO_TIME_BASE
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        self._since_key = 1 if is_key else self._since_key + 1
        (packet,) = self._context.encode(frame)
        return packet

    def _is_outgrown(self, width: int, height: int) -> bool:
        return self._context is None or (self._context.width, self._context.height) != (width, height)

    def _rate_moved(self) -> bool:
        return abs(self._wanted_rate() / self._rate - 1) > _STEP

    def _wanted_rate(self) -> int:
        return min(max(self.bit_rate, LEAST_BIT_RATE), MOST_BIT_RATE)

    def _opened(self, width: int, height: int) -> Any:
        refuse_without("libx264")
        self._rate = self._wanted_rate()
        context: Any = av.CodecContext.create("libx264", "w")
        configure_video(context, width, height, self._rate, has_headers=self._has_headers)
        return context


def configure_video(context: Any, width: int, height: int, bit_rate: int, *, has_headers: bool = True) -> None:
    """Make an encoder of libx264 that of `LiveVideoEncoder`: equal arguments give equal parameter sets.

    Args:
        bit_rate: at most, over half a second; a face that hardly moves takes less.
    """
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.framerate, context.time_base = Fraction(VIDEO_RATE_HZ), VIDEO_TIME_BASE
    declare_bt709(context)
    context.options = {
        # 1.3 ms for 512 x 768 against 0.8 of ultrafast, which blocks and takes 15 to 50 % more bits.
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "baseline",
        "forced-idr": "1",
        "g": str(VIDEO_RATE_HZ),
        "threads": "1",
        "crf": _QUALITY,
        "maxrate": str(bit_rate),
        "bufsize": str(bit_rate // 2),
        # Key frames come when they are due, and never for a change of the picture.
        "x264-params": f"scenecut=0:chromaloc=1:repeat-headers={int(has_headers)}",
    }


class LiveSoundEncoder:
    """Mono sound at 48 kHz to packets of Opus (20 ms) or AAC (21 ms) with the time of what they hold.

    Silence fills gaps between the slices that it is given, so that a late slice sounds where it belongs.
    """

    def __init__(self, codec: Literal["libopus", "aac"], bit_rate: int = 64_000) -> None:
        context: Any = av.CodecContext.create(codec, "w")
        is_opus = codec == "libopus"
        context.sample_rate, context.layout, context.format = SOUND_RATE_HZ, "mono", "flt" if is_opus else "fltp"
        context.bit_rate, context.time_base = bit_rate, SOUND_TIME_BASE
        context.options = {"application": "lowdelay", "frame_duration": "20"} if is_opus else {"aac_coder": "fast"}
        context.open()
        self._context = context
        self._pending = np.zeros(0, np.float32)
        self._next: int | None = None
        """Sample number of the first pending one."""

    @property
    def context(self) -> Any:
        """The encoder, for a container's stream."""
        return self._context

    def encode(self, sound: FloatArray, start: int) -> list[Packet]:
        """[T] samples in [-1, 1] of which the first is number `start`; packets come when a block is full."""
        if self._next is None:
            self._next = start
        gap = start - self._next - len(self._pending)
        if gap < 0:
            raise ValueError(f"sample {start} was encoded before")
        self._pending = np.concatenate([self._pending, np.zeros(gap, np.float32), np.asarray(sound, np.float32)])
        size, packets = self._context.frame_size, []
        while len(self._pending) >= size:
            packets += self._block(self._pending[:size])
            self._pending = self._pending[size:]
        return packets

    def finish(self) -> list[Packet]:
        """What is left."""
        packets = self._block(self._pending) if len(self._pending) else []
        self._pending = self._pending[:0]
        return packets + self._context.encode(None)

    def _block(self, samples: FloatArray) -> list[Packet]:
        assert self._next is not None
        frame = AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None], format=self._context.format.name, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE_HZ, self._next, SOUND_TIME_BASE
        self._next += len(samples)
        return self._context.encode(frame)
