"""Clocks that jump, restart or say nothing: every picture once, in order, with its sound."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.io.audio import read_audio
from geneface.io.clock import PacketTime, find_segments
from geneface.io.video import VideoFrame, read_frames

RATE_HZ = 48_000
FLASH_SECONDS = 1.2
PICTURE, SOUND = 0, 1


def two_streams(start: float, seconds: float, *, picture: bool = True, sound: bool = True) -> list[PacketTime]:
    """Packets of both streams in the order of their times: pictures at 25 Hz, sound at 50 Hz."""
    packets = [PacketTime(PICTURE, start + i / 25, start + i / 25, 0.04) for i in range(round(25 * seconds)) if picture]
    packets += [PacketTime(SOUND, start + i / 50, start + i / 50, 0.02) for i in range(round(50 * seconds)) if sound]
    return sorted(packets, key=lambda packet: packet.decoded)


def mended(packets: list[PacketTime]) -> dict[int, list[float]]:
    """Times of each stream's packets after `find_segments`, counted packet by packet."""
    found = find_segments(packets)
    times: dict[int, list[float]] = {PICTURE: [], SOUND: []}
    for packet in packets:
        shift = 0.0
        for segment in found.get(packet.stream, []):
            if segment.packet <= len(times[packet.stream]):
                shift = segment.shift_seconds
        times[packet.stream].append(packet.shown + shift)
    return times


@pytest.mark.parametrize("second", [0.0, 2.0, 7200.0, 95_000.0])
def test_a_second_recording_goes_on_where_the_first_ends(second) -> None:
    times = mended(two_streams(1.0, 5) + two_streams(second, 4))
    assert times[PICTURE] == pytest.approx(list(1 + np.arange(225) / 25))
    assert times[SOUND] == pytest.approx(list(1 + np.arange(450) / 50))


def test_the_longer_stream_tells_when_the_next_recording_begins() -> None:
    first = two_streams(0, 5) + two_streams(5, 0.5, picture=False)
    times = mended(first + two_streams(0, 3))
    assert times[PICTURE][125] == pytest.approx(5.5) and times[SOUND][275] == pytest.approx(5.5)


def test_many_restarts() -> None:
    times = mended([packet for _ in range(6) for packet in two_streams(3, 2)])
    assert times[PICTURE] == pytest.approx(list(3 + np.arange(300) / 25))


@pytest.mark.slow
@pytest.mark.parametrize("pause", [2.0, 9.0, 60.0, 4000.0])
def test_a_stream_that_pauses_alone_is_not_moved(pause) -> None:
    packets = two_streams(0, 3) + two_streams(3, pause, picture=False) + two_streams(3 + pause, 3)
    assert find_segments(packets) == {}


def test_a_short_gap_in_all_streams_stays() -> None:
    assert find_segments(two_streams(0, 3) + two_streams(11, 3)) == {}


@pytest.mark.parametrize("wrong", [-5.0, 500.0])
def test_one_packet_with_a_wrong_time_moves_nothing(wrong) -> None:
    packets = two_streams(0, 4)
    packets[100] = PacketTime(packets[100].stream, wrong, wrong, 0.04)
    assert find_segments(packets) == {}


def test_sound_that_begins_after_the_jump() -> None:
    times = mended(two_streams(0, 3, sound=False) + two_streams(5000, 3))
    assert times[PICTURE][75] == pytest.approx(3) and times[SOUND][0] == pytest.approx(3)


def part(make_media: Any, name: str, shift: float) -> Path:
    """Two seconds, white and with a click at `FLASH_SECONDS`; its clock begins at `shift`."""
    images = [np.full((64, 64, 3), 235 if 30 <= i < 33 else 20 + i, np.uint8) for i in range(50)]
    time = np.arange(2 * RATE_HZ) / RATE_HZ
    click = (0.8 * np.exp(-(((time - FLASH_SECONDS) / 0.001) ** 2))).astype(np.float32)
    options = {"bf": "2", "preset": "medium"}
    return make_media(name, images=images, samples=click, sample_rate=RATE_HZ, options=options, shift=shift)


def join(paths: Iterable[Path], out: Path) -> Path:
    """One file after the other, each with its own clock."""
    if out.suffix == ".ts":
        out.write_bytes(b"".join(path.read_bytes() for path in paths))
        return out
    with av.open(str(out), "w") as target:
        streams: dict[int, Any] = {}
        for path in paths:
            with av.open(str(path)) as source:
                streams = streams or {s.index: target.add_stream_from_template(s) for s in source.streams}
                for packet in source.demux():
                    if packet.dts is not None or packet.pts is not None:
                        packet.stream = streams[packet.stream.index]
                        target.mux(packet)
    return out


JOINED = [("restart.ts", 0.0), ("jump.ts", 7200.0), ("days.ts", 80_000.0), ("jump.mkv", 7200.0), ("jump.mp4", 7200.0)]


@pytest.mark.parametrize("name,jump", JOINED, ids=[name for name, _ in JOINED])
def test_a_clock_that_jumps_loses_nothing_and_keeps_sound_and_picture_together(
    make_media, tmp_path, name, jump
) -> None:
    parts = [part(make_media, "first.ts", 0.0), part(make_media, "second.ts", jump)]
    path = join(parts, tmp_path / name)
    frames = list(read_frames(path))
    bright = np.array([frame.image.mean() for frame in frames])
    assert 100 <= len(frames) <= 104 and sum(not frame.is_repeat for frame in frames) == 100
    flashes = np.flatnonzero((bright > 200) & (np.roll(bright, 1) < 200))
    assert len(flashes) == 2 and flashes[0] == 30
    audio = read_audio(path)
    assert audio.duration_seconds < 4.5
    energy = audio.samples.astype(np.float64) ** 2
    for flash in flashes:
        begin = flash / 25 - audio.start_seconds - 0.5
        window = energy[round(begin * 16_000) : round((begin + 1) * 16_000)]
        click = begin + float((np.arange(len(window)) * window).sum() / window.sum()) / 16_000 + audio.start_seconds
        assert click == pytest.approx(flash / 25, abs=0.021)
    # The jump is a cut, and the only one.
    assert [frame.is_cut for frame in frames].count(True) == 1
    assert next(i for i, frame in enumerate(frames) if frame.is_cut) in range(flashes[0] + 18, flashes[1] - 28)


def shades(frames: Iterable[VideoFrame]) -> list[int]:
    return [round((float(frame.image.mean()) - 20) / 3) for frame in frames]


def numbered_images(count: int) -> list[np.ndarray]:
    """Picture i has brightness 20 + 3 i: which picture is shown can be read from it."""
    return [np.full((32, 48, 3), 20 + 3 * i, np.uint8) for i in range(count)]


def test_a_gap_of_more_than_a_second_is_a_cut_at_both_ends(make_media) -> None:
    times = [i / 25 for i in range(25)] + [3 + i / 25 for i in range(25)]
    path = make_media("gap.mkv", images=numbered_images(50), times=times, options={"qp": "0"})
    frames = list(read_frames(path))
    assert len(frames) == 100
    # From 1.00 s on picture 24 stands only because there is no other; 25 comes at 3 s.
    assert [i for i, frame in enumerate(frames) if frame.is_cut] == [25, 75]
    assert shades(frames)[24:76] == [24] * 51 + [25]


@pytest.mark.parametrize("rate", [1, 2])
def test_slow_pictures_are_no_cuts(make_media, rate) -> None:
    path = make_media("slow.mp4", images=numbered_images(8), rate=rate, options={"qp": "0"})
    assert not any(frame.is_cut for frame in read_frames(path))


B_PICTURES = [
    ("h264.avi", "libx264", {"bf": "3", "preset": "medium", "qp": "0"}),
    ("divx.avi", "mpeg4", {"bf": "2", "qmin": "1", "qmax": "1"}),
]


@pytest.mark.parametrize("name,codec,options", B_PICTURES, ids=[name for name, _, _ in B_PICTURES])
def test_b_pictures_of_avi_and_of_its_copies(make_media, tmp_path, name, codec, options) -> None:
    path = make_media(name, images=numbered_images(50), video_codec=codec, options=options)
    assert shades(read_frames(path)) == list(range(50))
    copy = tmp_path / "copy.mp4"
    with av.open(str(path)) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.pts = packet.dts + 1 if packet.pts is None else packet.pts
                packet.stream = stream
                target.mux(packet)
    assert shades(read_frames(copy)) == list(range(50))


@pytest.mark.parametrize("lead", [Fraction(2, 25), Fraction(1, 2), Fraction(1)])
@pytest.mark.parametrize("options", [{"qp": "0"}, {"qp": "0", "bf": "3", "preset": "medium"}], ids=["plain", "b"])
def test_pictures_before_zero_in_matroska(make_media, tmp_path, tone, lead, options) -> None:
    whole = make_media("whole.mkv", images=numbered_images(50), samples=np.tile(tone, 2), options=options)
    path = tmp_path / "early.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.pts is None or packet.time_base is None:
                continue
            ticks = round(lead / packet.time_base)
            packet.pts -= ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    assert shades(read_frames(path)) == list(range(50))
    assert read_audio(path).start_seconds == pytest.approx(read_audio(whole).start_seconds, abs=0.003)
