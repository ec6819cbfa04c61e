"""Fragmented MP4 for MediaSource: a head once, then a fragment for every item, ISO 14496-12.

libavformat writes the head. It would hold each fragment back until the next frame comes, to know how long the last one
lasts; all frames of a live face last 40 ms, so that fragments are put together here.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Sequence

import av
import numpy as np

from geneface.io.live import LiveSoundEncoder, LiveVideoEncoder, configure_video
from geneface.realtime import FRAME_SECONDS, ITEM_SAMPLES, SOUND_RATE_HZ
from geneface.types import ByteArray, FloatArray

PICTURE_SCALE = 12_800
"""Ticks a second of the pictures' track, as libavformat chooses it for 25 a second."""
_PICTURE_TICKS = round(PICTURE_SCALE * FRAME_SECONDS)
_START_CODE = re.compile(b"\x00\x00\x00?\x01")
_SPS, _PPS = 7, 8
_PICTURES, _SOUND = 1, 2
_IS_SYNC, _NOT_SYNC = 0x02000000, 0x01010000
_GLOBAL_HEADER = 1 << 22
_OPUS_SAMPLES, _AAC_SAMPLES = 960, 1024


class Fragments:
    """One stream of fragmented MP4 with its encoders. Only one thread at a time may call."""

    def __init__(self, width: int, height: int, bit_rate: int, picture_codec: str, sound_codec: str) -> None:
        """`picture_codec`: as RFC 6381 names it; `sound_codec`: "aac" or "opus"."""
        self._size, self._bit_rate = (width, height), bit_rate
        is_opus = sound_codec == "opus"
        self._pictures = LiveVideoEncoder(bit_rate)
        self._sound = LiveSoundEncoder("libopus" if is_opus else "aac")
        self._samples = _OPUS_SAMPLES if is_opus else _AAC_SAMPLES
        self._names = picture_codec, "opus" if is_opus else "mp4a.40.2"
        self._count = 0

    @property
    def media_type(self) -> str:
        """For `MediaSource.isTypeSupported`."""
        return f'video/mp4; codecs="{", ".join(self._names)}"'

    def head(self) -> bytes:
        """ftyp and moov."""
        buffer = io.BytesIO()
        options = {"movflags": "empty_moov+default_base_moof+skip_trailer", "fflags": "+bitexact"}
        with av.open(buffer, "w", format="mp4", options=options) as file:
            video = file.add_stream("libx264", rate=round(1 / FRAME_SECONDS))
            configure_video(video.codec_context, *self._size, self._bit_rate, has_headers=False)
            video.codec_context.flags |= _GLOBAL_HEADER
            sound = file.add_stream(self._sound.context.name, rate=SOUND_RATE_HZ, layout="mono")
            sound.codec_context.format = self._sound.context.format.name
            file.start_encoding()
            head = buffer.getvalue()
        return head

    def fragment(self, planes: ByteArray, sound: FloatArray, *, is_key: bool = False) -> tuple[bytes, bool]:
        """moof and mdat of the next item, and whether its picture needs no earlier one.

        Args:
            planes: uint8 [3 H / 2, W].
            sound: float32 [1920].
        """
        index = self._count
        self._count += 1
        unit = self._pictures.encode(planes, index, is_key)
        # What an encoder puts before the first sample lies before 0, where a track can't begin.
        frames = [packet for packet in self._sound.encode(sound, index * ITEM_SAMPLES) if (packet.pts or 0) >= 0]
        flags = _IS_SYNC if unit.is_keyframe else _NOT_SYNC
        tracks = [_Run(_PICTURES, index * _PICTURE_TICKS, [(_PICTURE_TICKS, length_prefixed(bytes(unit)), flags)])]
        if frames:
            samples = [(self._samples, bytes(packet), _IS_SYNC) for packet in frames]
            tracks.append(_Run(_SOUND, frames[0].pts or 0, samples))
        return _moof_and_mdat(self._count, tracks), unit.is_keyframe


class _Run:
    """Consecutive samples of one track: (ticks, bytes, flags)."""

    def __init__(self, track: int, start: int, samples: Sequence[tuple[int, bytes, int]]) -> None:
        self.track, self.start, self.samples = track, start, samples

    def box(self, data_offset: int) -> bytes:
        """traf."""
        # default-base-is-moof; offset, duration, size and flags of each sample.
        tfhd = _box(b"tfhd", struct.pack(">II", 0x020000, self.track))
        tfdt = _box(b"tfdt", struct.pack(">IQ", 0x01000000, self.start))
        rows = b"".join(struct.pack(">III", ticks, len(data), flags) for ticks, data, flags in self.samples)
        trun = _box(b"trun", struct.pack(">IIi", 0x000701, len(self.samples), data_offset) + rows)
        return _box(b"traf", tfhd + tfdt + trun)

    @property
    def data(self) -> bytes:
        """All bytes."""
        return b"".join(data for _, data, _ in self.samples)


def length_prefixed(unit: bytes) -> bytes:
    """An access unit in Annex B form -> as MP4 has it: lengths of four bytes, no parameter sets (the head has them).

    A trailing zero byte of a unit belongs to the next start code.
    """
    parts = [part.rstrip(b"\x00") for part in _START_CODE.split(unit) if part]
    kept = [part for part in parts if part and part[0] & 31 not in (_SPS, _PPS)]
    return b"".join(struct.pack(">I", len(part)) + part for part in kept)


def _moof_and_mdat(number: int, runs: Sequence[_Run]) -> bytes:
    mfhd = _box(b"mfhd", struct.pack(">II", 0, number))
    size = 8 + len(mfhd) + sum(len(run.box(0)) for run in runs)
    offsets = size + 8 + np.cumsum([0, *(len(run.data) for run in runs)])
    boxes = b"".join(run.box(int(offset)) for run, offset in zip(runs, offsets, strict=False))
    return _box(b"moof", mfhd + boxes) + _box(b"mdat", b"".join(run.data for run in runs))


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content
