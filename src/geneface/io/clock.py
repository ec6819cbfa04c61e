"""Times of packets and pictures that a file states wrongly: clocks that jump or restart, and pictures without an order.

Times are container seconds. A segment is what was recorded without touching the clock: inside it all streams of a file
share one clock. `find_segments` is pure; `Clock` applies what it finds to the packets of one stream.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from av.frame import Frame
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

BACKWARD_SECONDS = 0.5
"""A clock that steps back by more than this has restarted; less is disorder among packets."""
FORWARD_SECONDS = 10.0
"""A clock that steps forward by more than this, in all streams, has jumped (FFmpeg's own threshold). What nobody
recorded takes no time; shorter gaps stay."""
_FAR_SECONDS = 1.0
"""Packets that are so much older than the picture they would give their time to gave no picture."""
_STEPS_BACK = 3
"""After so many pictures with times before their predecessors' a file's times are no longer believed."""
_LONGEST_SECONDS = 1.0
"""No packet lasts longer: MP4 has the one before a jump last until after it."""
_REORDERED_SECONDS, _REORDERED_PACKETS = 3.0, 32
"""A picture is stored at most so long, and so many pictures, after one that is shown later."""


@dataclass(frozen=True)
class PacketTime:
    """One packet in the order of the file."""

    stream: int
    decoded: float
    """Container time at which it is to be decoded."""
    shown: float
    """Container time at which it is to be shown or heard."""
    duration: float = 0.0


@dataclass(frozen=True)
class Segment:
    """Where a segment begins in one stream."""

    packet: int
    """How many packets of this stream come before."""
    shift_seconds: float
    """To be added to the stated times from here on."""


def find_segments(packets: Sequence[PacketTime]) -> dict[int, list[Segment]]:
    """Find where a file's clock jumps or restarts, and what makes it go on.

    A stream that alone stands still, while another tells the time, has paused: its clock is right. A time that the
    next packet takes back is a slip of one packet and moves nothing. Each segment begins where the longest stream of
    those before it ends, so that nothing overlaps and sound stays with its picture.

    Args:
        packets: all packets of the streams that count, as they lie in the file.

    Returns:
        stream -> its segments after the first, which is not moved.
    """
    slips = _slips(packets)
    counts: dict[int, int] = {}
    place: dict[int, int] = {}
    before: dict[int, PacketTime] = {}
    durations: dict[int, float] = {}
    latest: list[dict[int, float]] = [{}]
    spans: list[dict[int, list[float]]] = [{}]
    found: dict[int, list[tuple[int, int]]] = {}
    for number, packet in enumerate(packets):
        stream, shown = packet.stream, packet.shown
        counts[stream] = counts.get(stream, -1) + 1
        if number in slips:
            continue
        at = place.get(stream, 0)
        if _leaves(packet, before.get(stream), latest, at):
            later = (k for k in range(at + 1, len(latest)) if _is_near(shown, latest[k]))
            at = next(later, len(latest))
            if at == len(latest):
                latest.append({})
                spans.append({})
            found.setdefault(stream, []).append((counts[stream], at))
            place[stream] = at
        before[stream] = packet
        latest[at][stream] = shown
        if packet.duration <= _LONGEST_SECONDS:
            durations[stream] = packet.duration
        span = spans[at].setdefault(stream, [shown, shown])
        span[:] = min(span[0], shown), max(span[1], shown + durations.get(stream, 0.0))
    shifts = _shifts(spans)
    return {stream: [Segment(count, shifts[at]) for count, at in where] for stream, where in found.items()}


def _leaves(packet: PacketTime, before: PacketTime | None, latest: Sequence[dict[int, float]], at: int) -> bool:
    """Whether a packet is not of segment `at`, where its stream was. `latest`: newest times of each segment."""
    if before is None:
        # A stream that begins late may begin after a jump.
        return len(latest) > 1 and not _is_near(packet.shown, latest[at])
    if not _is_jump(before, packet):
        return False
    others = {stream: shown for stream, shown in latest[at].items() if stream != packet.stream}
    return packet.shown < before.shown or not _is_near(packet.shown, others)


def _is_jump(before: PacketTime, packet: PacketTime) -> bool:
    """Whether a stream's clock is set back or far forward between two packets, as far as the stream alone can tell."""
    step = packet.shown - before.shown
    # Pictures are shown in another order than they are stored in. Decoding times are in order, but where the demuxer
    # makes them up itself (Matroska) they jump too late.
    return step > FORWARD_SECONDS or step < -_REORDERED_SECONDS or packet.decoded - before.decoded < -BACKWARD_SECONDS


def _is_near(shown: float, clocks: dict[int, float]) -> bool:
    return any(abs(shown - other) <= FORWARD_SECONDS for other in clocks.values())


def _slips(packets: Sequence[PacketTime]) -> set[int]:
    """Packets whose time jumps, while the next one of their stream goes on as if nothing had been."""
    slips: set[int] = set()
    before: dict[int, PacketTime] = {}
    doubtful: dict[int, int] = {}
    for number, packet in enumerate(packets):
        last = before.get(packet.stream)
        doubt = doubtful.pop(packet.stream, None)
        if last is not None and _is_jump(last, packet):
            if doubt is None:
                doubtful[packet.stream] = number
                continue
        elif doubt is not None:
            slips.add(doubt)
        before[packet.stream] = packet
    return slips


def _shifts(spans: Sequence[dict[int, list[float]]]) -> list[float]:
    """Shift of each segment, from the first and the last stated time of each stream in it."""
    shifts = [0.0]
    reached = {stream: span[1] for stream, span in spans[0].items()}
    for segment in spans[1:]:
        # A stream that was silent so far can't begin before the others have ended.
        end = max(reached.values(), default=0.0)
        shift = max(reached.get(stream, end) - span[0] for stream, span in segment.items())
        shifts.append(shift)
        reached.update({stream: span[1] + shift for stream, span in segment.items()})
    return shifts


class Clock:
    """Gives the packets of one stream times that go on, and decoded pictures their place.

    Of an ordinary file nothing is changed, and nothing is read twice: the whole file is looked through
    (`all_packets`) when its clock jumps for the first time.
    """

    def __init__(self, stream: Stream, is_guessed: bool, all_packets: Callable[[], Iterator[Packet]]) -> None:
        """`is_guessed`: the container has no times of presentation, those of its packets are guesses."""
        self.jumps: list[float] = []
        """Mended time of the first packet after each jump of the clock, container seconds."""
        self._stream = stream
        self._all_packets = all_packets
        self._segments: list[Segment] | None = None
        self._count = 0
        self._before: PacketTime | None = None
        self._shift = 0.0
        # A picture is one packet; sound may be cut into frames otherwise, but has no order of its own.
        self._leading: list[int] | None = None
        self._order = _Order(is_guessed) if isinstance(stream, VideoStream) else None

    def mend(self, packet: Packet) -> None:
        """Move the times of the stream's next packet, before it is decoded."""
        timed = packet_time(packet)
        if timed is None:
            self._lead_in(packet)
            return
        if self._segments is None and self._before is not None and _is_jump(self._before, timed):
            times = (packet_time(other) for other in self._all_packets())
            self._segments = find_segments([time for time in times if time is not None]).get(self._stream.index, [])
        self._before = timed
        for segment in self._segments or ():
            if segment.packet == self._count:
                self._shift = segment.shift_seconds
                self.jumps.append(timed.shown + self._shift)
        self._count += 1
        if self._shift:
            ticks = round(Fraction(self._shift) / (packet.time_base or Fraction(1)))
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
        if self._order:
            self._order.packet(packet)

    def _lead_in(self, packet: Packet) -> None:
        """Give a time to a packet that has none, if its picture comes before the first that has.

        The demuxer of Matroska leaves out the times of pictures that are shown before zero.
        """
        if not self._order or not packet.size:
            return
        if self._leading is None and self._before is None:
            self._leading = self._leading_times()
            self._order.untimed = len(self._leading)
        if self._leading:
            packet.pts = self._leading.pop(0)
            self._order.packet(packet)

    def _leading_times(self) -> list[int]:
        """Times of the packets at the start that have none, as if their order were that of presentation."""
        untimed = duration = 0
        known: list[int] = []
        for packet in self._all_packets():
            if packet.stream.index != self._stream.index or not packet.size:
                continue
            ticks = packet.dts if packet.pts is None else packet.pts
            if ticks is not None:
                known.append(ticks)
            else:
                untimed, duration = untimed + 1, packet.duration or duration
            if len(known) > _REORDERED_PACKETS:
                break
        if not known or not duration:
            return []
        return [min(known) - (untimed - number) * duration for number in range(untimed)]

    def place(self, frame: Frame) -> None:
        """Correct the time of the next decoded frame, where the file gives no order of presentation."""
        if self._order and isinstance(self._stream, VideoStream):
            self._order.frame(frame, bool(self._stream.codec_context.has_b_frames))


class _Order:
    """Gives the n-th picture the n-th time where packets state when they are decoded, not when they are shown.

    The decoder puts B pictures in their right order. AVI has no other times, and copies of AVI files into other
    containers keep them.
    """

    def __init__(self, is_guessed: bool) -> None:
        self._is_guessed = is_guessed
        self._waiting: list[int] = []
        self._delay: int | None = None
        self._varies = False
        self._last: int | None = None
        self._steps_back = 0
        self.untimed = 0
        """So many pictures come from packets that had no time, at first."""

    def packet(self, packet: Packet) -> None:
        pts, dts = packet.pts, packet.dts
        time = dts if pts is None else pts
        if not packet.size or time is None:
            return
        if pts is not None and dts is not None:
            # Where the two differ by more than a constant, the file does tell the order.
            self._varies |= self._delay not in (None, pts - dts)
            self._delay = pts - dts
        elif pts is not None:
            self._varies = True  # the demuxer knows no order of decoding: the time is that of presentation
        heapq.heappush(self._waiting, time)

    def frame(self, frame: Frame, has_b_pictures: bool) -> None:
        own = frame.pts
        is_guessed = self._is_guessed or self.untimed > 0 or self._steps_back >= _STEPS_BACK
        is_guessed |= has_b_pictures and not self._varies
        self.untimed -= 1
        if is_guessed and self._waiting:
            time = heapq.heappop(self._waiting)
            far = _FAR_SECONDS / (frame.time_base or 1)
            while own is not None and self._waiting and time < own - far:
                time = heapq.heappop(self._waiting)
            frame.pts = time
        elif own is not None:
            self._steps_back += self._last is not None and own <= self._last
            self._last = own
            while self._waiting and self._waiting[0] <= own:
                heapq.heappop(self._waiting)


def packet_time(packet: Packet) -> PacketTime | None:
    """When a packet is decoded; None for those that say nothing, such as the one that ends a stream."""
    ticks = packet.pts if packet.dts is None else packet.dts
    base = packet.time_base
    if ticks is None or base is None:
        return None
    # Not as fractions: these are made for every packet.
    unit = base.numerator / base.denominator
    shown = ticks if packet.pts is None else packet.pts
    return PacketTime(packet.stream.index, ticks * unit, shown * unit, (packet.duration or 0) * unit)
