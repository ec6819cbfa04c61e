"""Streams are judged by decoders that know nothing of them: those of libavcodec and libavformat."""

from __future__ import annotations

import io
from itertools import pairwise

import av
import numpy as np
import pytest

from geneface.realtime import ITEM_SAMPLES, Item
from geneface.serve.live.packets import Kind, Packet
from geneface.serve.live.streams import FragmentStream, UnitStream, codec_string, open_stream
from tests.flash import CLICK, SIZE, Plain

SILENCE = np.zeros(ITEM_SAMPLES, np.float32)


def item(index: int, value: int = 0, *, click: bool = False, repeat: bool = False, generation: int = 0) -> Item:
    return Item(index, generation, "idle", Plain(value), CLICK if click else SILENCE, repeat)


def stream_of(stream: UnitStream | FragmentStream, items: list[Item]) -> list[Packet]:
    found = stream.head()
    for number, one in enumerate(items):
        found += stream.packets(one, is_key=number == 0, has_picture=True)
    return found


def of_kind(packets: list[Packet], kind: Kind) -> list[Packet]:
    return [packet for packet in packets if packet.kind == kind]


def greys(units: list[Packet]) -> list[int]:
    """Of each picture, decoded one by one: as many come out as went in, at once."""
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = {"flags": "low_delay"}
    values = []
    for unit in units:
        (frame,) = decoder.decode(av.Packet(unit.payload))  # type: ignore[attr-defined]
        assert frame.colorspace == 1 and frame.color_range == 1
        values.append(round((float(frame.to_ndarray()[:SIZE].mean()) - 16) * 255 / 219))
    return values


@pytest.mark.parametrize("sound", ["opus", "pcm"])
def test_every_picture_comes_out_of_a_decoder_at_once(sound: str) -> None:
    values = [0, 255, 128, 64, 200] * 6
    packets = stream_of(UnitStream(SIZE, SIZE, sound), [item(i, value) for i, value in enumerate(values)])
    units = of_kind(packets, Kind.PICTURE)
    assert greys(units) == pytest.approx(values, abs=6)
    assert [unit.microseconds for unit in units] == [40_000 * i for i in range(len(values))]
    assert [unit.index for unit in units if unit.is_key] == [0, 25]


def test_a_repeated_picture_is_not_sent_and_its_sound_is() -> None:
    packets = stream_of(UnitStream(SIZE, SIZE, "pcm"), [item(0, 9), item(1, 9, repeat=True), item(2, 200)])
    assert [packet.index for packet in of_kind(packets, Kind.PICTURE)] == [0, 2]
    assert [packet.index for packet in of_kind(packets, Kind.SOUND)] == [0, 1, 2]
    assert greys(of_kind(packets, Kind.PICTURE)) == pytest.approx([9, 200], abs=6)


def test_a_listener_who_falls_behind_gets_sound_and_then_the_picture_of_now() -> None:
    stream = UnitStream(SIZE, SIZE, "pcm")
    packets = stream.packets(item(0, 50), is_key=True, has_picture=True)
    for index in range(1, 6):
        late = stream.packets(item(index, 100 + index), is_key=False, has_picture=False)
        assert [packet.kind for packet in late] == [Kind.SOUND]
    packets += stream.packets(item(6, 220), is_key=False, has_picture=True)
    # No key frame was needed: nothing that was encoded is missing.
    assert greys(of_kind(packets, Kind.PICTURE)) == pytest.approx([50, 220], abs=6)


def test_a_key_frame_can_be_asked_for() -> None:
    stream = UnitStream(SIZE, SIZE, "pcm")
    stream.packets(item(0, 10), is_key=True, has_picture=True)
    stream.packets(item(1, 99), is_key=False, has_picture=True)
    alone = stream.packets(item(2, 99, repeat=True), is_key=True, has_picture=True)
    assert of_kind(alone, Kind.PICTURE)[0].is_key
    assert greys(of_kind(alone, Kind.PICTURE)) == pytest.approx([99], abs=6)


def test_samples_are_what_the_item_holds() -> None:
    (packet,) = of_kind(stream_of(UnitStream(SIZE, SIZE, "pcm"), [item(7, click=True)]), Kind.SOUND)
    assert packet.microseconds == 280_000
    assert np.frombuffer(packet.payload, "<i2") / 32_767 == pytest.approx(CLICK, abs=1e-4)


def test_opus_sounds_where_its_time_stamps_say() -> None:
    items = [item(index, click=index == 3) for index in range(8)]
    sounds = of_kind(stream_of(UnitStream(SIZE, SIZE, "opus"), items), Kind.SOUND)
    assert len(sounds) == 16
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate, decoder.layout = 48_000, "mono"  # type: ignore[attr-defined]
    loud = []
    for packet in sounds:
        for frame in decoder.decode(av.Packet(packet.payload)):  # type: ignore[attr-defined]
            samples = frame.to_ndarray().ravel()
            places = np.flatnonzero(np.abs(samples) > 0.4)
            loud += [packet.microseconds / 1e6 + place / 48_000 for place in places]
    assert min(loud) == pytest.approx(0.12, abs=0.0005)


@pytest.mark.parametrize("sound", ["aac", "opus"])
def test_fragments_are_an_mp4_in_which_flash_and_click_agree(sound: str) -> None:
    items = [item(index + 90, 255 if index == 30 else 0, click=index == 30) for index in range(60)]
    packets = stream_of(FragmentStream(SIZE, SIZE, sound), items)
    assert [packet.kind for packet in packets] == [Kind.INIT] + [Kind.FRAGMENT] * 60
    whole = b"".join(packet.payload for packet in packets)
    with av.open(io.BytesIO(whole)) as file:
        pictures = [(frame.time, float(frame.to_ndarray()[:SIZE].mean())) for frame in file.decode(video=0)]
    assert len(pictures) == 60
    assert [time for time, grey in pictures if grey > 128] == pytest.approx([1.2])
    assert np.diff([time for time, _ in pictures]) == pytest.approx(0.04)
    with av.open(io.BytesIO(whole)) as file:
        frames = [(frame.time, frame.to_ndarray()[0]) for frame in file.decode(audio=0)]
    loud = [time + place / 48_000 for time, samples in frames for place in np.flatnonzero(np.abs(samples) > 0.3)]
    assert loud[0] == pytest.approx(1.2, abs=0.003)
    assert all(after[0] - before[0] < 0.03 for before, after in pairwise(frames))


def test_fragments_repeat_what_has_no_picture_in_time() -> None:
    stream = FragmentStream(SIZE, SIZE, "aac")
    packets = stream.head() + stream.packets(item(0, 200), is_key=True, has_picture=True)
    (repeated,) = stream.packets(item(1, 10), is_key=False, has_picture=False)
    whole = b"".join(packet.payload for packet in [*packets, repeated])
    with av.open(io.BytesIO(whole)) as file:
        greys = [float(frame.to_ndarray()[:SIZE].mean()) for frame in file.decode(video=0)]
    assert len(greys) == 2 and greys[0] == pytest.approx(greys[1], abs=1)


@pytest.mark.parametrize(("width", "height"), [(128, 128), (512, 512), (1920, 1080)])
def test_the_codec_string_is_that_of_the_stream(width: int, height: int) -> None:
    picture = Plain(10, width)
    planes = np.ascontiguousarray(np.full((height * 3 // 2, width), 128, np.uint8))

    class Shaped(Plain):
        def to_yuv420(self) -> np.ndarray:
            return planes

    made = Item(0, 0, "idle", Shaped(picture.value), SILENCE, False)
    (unit,) = of_kind(UnitStream(width, height, "pcm").packets(made, is_key=True, has_picture=True), Kind.PICTURE)
    parameters = unit.payload[unit.payload.index(b"\x00\x00\x01\x67") + 4 :][:3]
    told = bytes.fromhex(codec_string(width, height).removeprefix("avc1."))
    # Constrained Baseline, and a level that is enough for the stream.
    assert told[:2] == parameters[:2] == b"\x42\xc0"
    assert told[2] >= parameters[2]


def test_unknown_streams_are_refused() -> None:
    for codec, sound in (("webcodecs", "aac"), ("vp8", "opus"), ("", "")):
        with pytest.raises(ValueError):
            open_stream(codec, SIZE, SIZE, sound)
