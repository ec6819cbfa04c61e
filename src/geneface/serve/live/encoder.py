"""Encoders of a live stream: pictures to H.264, sound to Opus, AAC or plain samples. Nothing waits inside them.

Pictures: Constrained Baseline, no frame that refers to a later one, so a decoder gives out each as it comes. x264's
preset superfast: 1.3 ms a picture of 512 x 768 on one core against .8 for ultrafast, for a seventh (256 px: a third)
fewer bytes and with the deblocking that ultrafast leaves out.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec.context import CodecContext
from av.packet import Packet as MediaPacket
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import ColorRange

from geneface.realtime import FRAME_SECONDS, SOUND_RATE_HZ
from geneface.types import ByteArray, FloatArray

SoundCodec = Literal["opus", "aac", "pcm"]
GROUP_FRAMES = round(1 / FRAME_SECONDS)
"""From one key frame to the next: 1 s."""
_CRF = 23
_BITS_A_PIXEL = 0.3
"""Of one picture at most, over a second: 2 Mbit/s at 512 x 512."""
_LEAST_BITS, _MOST_BITS = 800_000, 6_000_000
_OPUS_BITS, _AAC_BITS = 64_000, 96_000
_BT709 = 1
_LEVELS = ((3600, "3.1"), (8192, "4.0"), (22_080, "5.0"), (36_864, "5.1"))
_GLOBAL_HEADER = 1 << 22


class PictureEncoder:
    """One stream of H.264. Only one thread at a time may call."""

    def __init__(self, width: int, height: int, most: int | None = None) -> None:
        """`width`, `height`: even; `most`: bits a second, by default what is enough for the size."""
        context = CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)
        most = most or int(min(max(width * height * _BITS_A_PIXEL / FRAME_SECONDS, _LEAST_BITS), _MOST_BITS))
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate = Fraction(GROUP_FRAMES)
        context.time_base = 1 / context.framerate
        context.thread_count = 1
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = int(ColorRange.MPEG)
        context.options = self.options = {
            "preset": "superfast",
            "tune": "zerolatency",
            "profile": "baseline",
            "level": _level(width, height),
            "crf": str(_CRF),
            "maxrate": str(most),
            "bufsize": str(most // 2),
            "g": str(GROUP_FRAMES),
            "sc_threshold": "0",
            "forced-idr": "1",
        }
        """Of libx264, for whoever needs the same parameter sets."""
        self._context = context
        self._count = 0
        self.width, self.height = width, height

    @property
    def codec_string(self) -> str:
        """RFC 6381: Constrained Baseline and the level."""
        return f"avc1.42C0{round(10 * float(self.options['level'])):02X}"

    def encode(self, planes: ByteArray, *, is_key: bool = False) -> tuple[bytes, bool]:
        """One picture, uint8 [3 H / 2, W] -> its access unit in Annex B form, and whether it needs no earlier one.

        Args:
            is_key: it must need none.
        """
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv420p")
        frame.pts = self._count
        self._count += 1
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        packets = self._context.encode(frame)
        assert len(packets) == 1, "x264 held a picture back"
        return bytes(packets[0]), bool(packets[0].is_keyframe)


class OpusEncoder:
    """Sound as Opus packets of 20 ms; decoded, it comes `delay` samples late, which time stamps must say."""

    delay = 120
    """2.5 ms at 48 kHz: RFC 6716 has no less."""

    def __init__(self) -> None:
        self._context = _sound_context("libopus", "s16", _OPUS_BITS)
        # Without the speech mode's 4 ms more of delay; at this rate nobody hears the difference.
        self._context.options = {"application": "lowdelay", "frame_duration": "20", "vbr": "on"}
        self._count = 0

    def encode(self, sound: FloatArray) -> list[tuple[int, bytes]]:
        """Samples [T], whole packets of them -> packets with the places of their first samples, at 48 kHz."""
        frame = AudioFrame.from_ndarray(to_s16(sound)[None], format="s16", layout="mono")
        packets = self._context.encode(_stamped(frame, self._count))
        self._count += len(sound)
        return [(int(packet.pts or 0), bytes(packet)) for packet in packets]

    @property
    def header(self) -> bytes:
        """OpusHead, RFC 7845."""
        return bytes(self._context.extradata or b"")


class AacEncoder:
    """Sound as AAC frames of 1024 samples, for players that know no Opus; one frame and a part wait inside."""

    def __init__(self) -> None:
        self._context = _sound_context("aac", "fltp", _AAC_BITS)
        self._context.flags |= _GLOBAL_HEADER
        self._context.options = {"aac_coder": "fast"}
        self._context.open()
        self._count = 0

    def encode(self, sound: FloatArray) -> list[tuple[int, bytes]]:
        """Samples [T] -> the frames that are ready, with the places of their first samples, at 48 kHz."""
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound, np.float32)[None], format="fltp", layout="mono")
        packets: list[MediaPacket] = self._context.encode(_stamped(frame, self._count))
        self._count += len(sound)
        return [(int(packet.pts or 0), bytes(packet)) for packet in packets]

    @property
    def header(self) -> bytes:
        """AudioSpecificConfig, ISO 14496-3."""
        return bytes(self._context.extradata or b"")


def to_s16(sound: FloatArray) -> np.ndarray:
    """Samples in [-1, 1] as whole numbers of two bytes, little endian; what lies beyond is cut."""
    return np.clip(np.rint(np.asarray(sound) * 32_767), -32_768, 32_767).astype("<i2")


def _level(width: int, height: int) -> str:
    """Of H.264, by the macroblocks of a picture (ITU-T H.264, table A-1); 25 a second are within each."""
    blocks = -(-width // 16) * -(-height // 16)
    return next(level for most, level in _LEVELS if blocks <= most)


def _sound_context(codec: str, form: str, bits: int) -> AudioCodecContext:
    context = CodecContext.create(codec, "w")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate, context.layout, context.format = SOUND_RATE_HZ, "mono", form
    context.bit_rate = bits
    context.time_base = Fraction(1, SOUND_RATE_HZ)
    return context


def _stamped(frame: AudioFrame, count: int) -> AudioFrame:
    frame.sample_rate = SOUND_RATE_HZ
    frame.time_base = Fraction(1, SOUND_RATE_HZ)
    frame.pts = count
    return frame
