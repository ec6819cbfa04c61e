"""The live encoders against FFmpeg's decoders: what comes out, when, and how much of it."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest

from geneface.io.live import LEAST_BIT_RATE, SOUND_RATE_HZ, LiveSoundEncoder, LiveVideoEncoder

SIZE = 128


def plain(value: int, size: int = SIZE) -> np.ndarray:
    planes = np.full((size * 3 // 2, size), 128, np.uint8)
    planes[:size] = value
    return planes


def patches(random: np.random.Generator, size: int = 256) -> np.ndarray:
    """Something new in every picture, which a low rate can still show somehow."""
    return random.integers(16, 235, (size * 3 // 16, size // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)


def units(data: bytes) -> list[int]:
    """Types of the NAL units of an access unit."""
    return [piece[0] & 31 for piece in data.split(b"\0\0\1")[1:]]


def test_every_picture_comes_out_at_once_and_decodes_to_what_it_was() -> None:
    encoder, decoder = LiveVideoEncoder(), av.CodecContext.create("h264", "r")
    decoder.flags |= 1 << 19  # of FFmpeg: give out each picture at once
    for index in range(30):
        value = 40 + 5 * index
        packet = encoder.encode(plain(value), index)
        assert (packet.pts, packet.dts) == (index, index)
        (frame,) = decoder.decode(av.Packet(bytes(packet)))
        assert abs(float(frame.to_ndarray()[:SIZE].mean()) - value) < 2


def test_a_second_has_a_key_frame_and_so_has_who_asks() -> None:
    encoder = LiveVideoEncoder()
    keys = []
    for index in range(80):
        packet = encoder.encode(plain(100), index, is_key=index == 60)
        if packet.is_keyframe:
            keys.append(index)
            # Whoever comes in here can decode it: parameter sets, then a picture that needs no other.
            kinds = [kind for kind in units(bytes(packet)) if kind in (1, 5, 7, 8)]
            assert kinds[:2] == [7, 8] and set(kinds[2:]) == {5}
    assert keys == [0, 25, 50, 60]


def test_it_is_constrained_baseline() -> None:
    data = bytes(LiveVideoEncoder().encode(plain(100), 0))
    start = next(
        place for place in range(len(data)) if data[place : place + 3] == b"\0\0\1" and data[place + 3] & 31 == 7
    )
    profile, constraints = data[start + 4 : start + 6]
    assert profile == 66 and constraints & 0x40


def test_the_bit_rate_is_kept_and_changes_with_a_key_frame() -> None:
    random, encoder = np.random.default_rng(0), LiveVideoEncoder(2_000_000)
    sizes, keys = [], []
    for index in range(100):
        if index == 55:
            encoder.bit_rate = LEAST_BIT_RATE // 2  # less than what is sensible: the least is taken
        packet = encoder.encode(patches(random), index)
        sizes.append(packet.size * 8)
        keys += [index] if packet.is_keyframe else []
    assert keys == [0, 25, 50, 75], sizes
    before, after = sum(sizes[25:50]), sum(sizes[75:])
    assert 1_000_000 < before < 2_600_000
    # A second, and half of one that the decoder may have waiting.
    assert after < before / 2 and after < 1.5 * LEAST_BIT_RATE


def test_another_size_begins_anew() -> None:
    encoder = LiveVideoEncoder()
    encoder.encode(plain(100), 0)
    packet = encoder.encode(plain(100, 64), 1)
    (frame,) = av.CodecContext.create("h264", "r").decode(av.Packet(bytes(packet))) or [None]
    assert packet.is_keyframe and (frame is None or (frame.width, frame.height) == (64, 64))


@pytest.mark.parametrize("codec", ["libopus", "aac"])
def test_sound_is_where_its_packets_say_also_after_a_gap(codec: str) -> None:
    encoder = LiveSoundEncoder(codec)  # type: ignore[arg-type]
    click = np.zeros(1920, np.float32)
    click[480:720] = 0.8 * np.sin(np.arange(240) * 2 * np.pi * 2000 / SOUND_RATE_HZ)
    packets = []
    for index in (0, 1, 2, 3, 10, 11, 12, 13):
        packets += encoder.encode(click if index in (2, 11) else np.zeros(1920, np.float32), index * 1920)
    packets += encoder.finish()
    starts = [packet.pts for packet in packets]
    assert np.all(np.diff(starts) == encoder.context.frame_size)
    decoder: Any = av.CodecContext.create(codec, "r")
    decoder.sample_rate, decoder.layout = SOUND_RATE_HZ, "mono"
    if codec == "aac":
        decoder.extradata = encoder.context.extradata or bytes([0x11, 0x88])
    found = []
    for packet in packets:
        for frame in decoder.decode(av.Packet(bytes(packet))):
            samples = frame.to_ndarray().reshape(-1)[:: len(frame.layout.channels) if not frame.format.is_planar else 1]
            loud = np.flatnonzero(np.abs(samples / (32_768 if frame.format.name == "s16" else 1)) > 0.3)
            if len(loud):
                found.append(packet.pts + int(loud[0]))
    assert len(found) >= 2
    wanted = [2 * 1920 + 480, 11 * 1920 + 480]
    assert all(min(abs(place - time) for place in found) < 240 for time in wanted), found


def test_no_sample_is_encoded_twice() -> None:
    encoder = LiveSoundEncoder("libopus")
    encoder.encode(np.zeros(1920, np.float32), 0)
    with pytest.raises(ValueError, match="before"):
        encoder.encode(np.zeros(1920, np.float32), 1000)
