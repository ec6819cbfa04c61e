"""Times of packets and pictures that a file states wrongly: clocks that jump or restart, and pictures without an order.

Times are container seconds. A stretch is what was recorded without touching the clock: inside it all streams of a file
share one clock. `find_stretches` is pure; `Clock` applies what it finds to the packets of one stream.
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
"""A picture whose own time is so far behind the oldest packet's lost its packets."""


@dataclass(frozen=True)
class PacketTime:
    """One packet in the order of the file."""

    stream: int
    start: float
    """Container time at which it is to be decoded."""
    shown: float
    """Container time at which it is to be shown or heard."""
    duration: float


@dataclass(frozen=True)
class Stretch:
    """Where a stretch begins in one stream."""

    packet: int
    """How many packets of this stream come before."""
    shift_seconds: float
    """To be added to the stated times from here on."""


def find_stretches(packets: Sequence[PacketTime]) -> dict[int, list[Stretch]]:
    """Find where a file's clock jumps or restarts, and what makes it go on.

    A stream that alone stands still, while another tells the time, has paused: its clock is right. A time that the
    next packet takes back is a slip of one packet and moves nothing. Each stretch begins where the longest stream of
    those before it ends, so that nothing overlaps and sound stays with its picture.

    Args:
        packets: all packets of the streams that count, as they lie in the file.

    Returns:
        stream -> its stretches after the first, which is not moved.
    """
    slips = _slips(packets)
    counts: dict[int, int] = {}
    place: dict[int, int] = {}
    ends: dict[int, float] = {}
    latest: list[dict[int, float]] = [{}]
    spans: list[dict[int, list[float]]] = [{}]
    found: dict[int, list[tuple[int, int]]] = {}
    for number, packet in enumerate(packets):
        stream = packet.stream
        counts[stream] = counts.get(stream, -1) + 1
        if number in slips:
            continue
        at = place.get(stream, 0)
        step = packet.start - ends.get(stream, packet.start)
        # A stream that begins late may begin after a jump.
        is_late = stream not in ends and not _is_near(packet.start, latest[0]) and len(latest) > 1
        if step < -BACKWARD_SECONDS or (step > FORWARD_SECONDS and not _is_near(packet.start, latest[at])) or is_late:
            later = (k for k in range(at + 1, len(latest)) if _is_near(packet.start, latest[k]))
            at = next(later, len(latest))
            if at == len(latest):
                latest.append({})
                spans.append({})
            found.setdefault(stream, []).append((counts[stream], at))
            place[stream] = at
        ends[stream] = packet.start + packet.duration
        latest[at][stream] = packet.start
        span = spans[at].setdefault(stream, [packet.shown, packet.shown])
        span[:] = min(span[0], packet.shown), max(span[1], packet.shown + packet.duration)
    shifts = _shifts(spans)
    return {stream: [Stretch(count, shifts[at]) for count, at in where] for stream, where in found.items()}


def _is_near(start: float, clocks: dict[int, float]) -> bool:
    return any(abs(start - other) <= FORWARD_SECONDS for other in clocks.values())


def _slips(packets: Sequence[PacketTime]) -> set[int]:
    """Packets whose time jumps, while the next one of their stream goes on as if nothing had been."""
    slips: set[int] = set()
    before: dict[int, PacketTime] = {}
    doubtful: dict[int, int] = {}
    for number, packet in enumerate(packets):
        last = before.get(packet.stream)
        doubt = doubtful.pop(packet.stream, None)
        if last is not None and _is_jump(packet.start - last.start):
            if doubt is None:
                doubtful[packet.stream] = number
                continue
        elif doubt is not None:
            slips.add(doubt)
        before[packet.stream] = packet
    return slips


def _is_jump(step: float) -> bool:
    return not -BACKWARD_SECONDS <= step <= FORWARD_SECONDS


def _shifts(spans: Sequence[dict[int, list[float]]]) -> list[float]:
    """Shift of each stretch, from the first and the last stated time of each stream in it."""
    shifts = [0.0]
    reached = {stream: span[1] for stream, span in spans[0].items()}
    for stretch in spans[1:]:
        # A stream that was silent so far can't begin before the others have ended.
        end = max(reached.values(), default=0.0)
        shift = max(reached.get(stream, end) - span[0] for stream, span in stretch.items())
        shifts.append(shift)
        reached.update({stream: span[1] + shift for stream, span in stretch.items()})
    return shifts


class Clock:
    """Gives the packets of one stream times that go on, and decoded pictures their place.

    Of an ordinary file nothing is changed, and nothing is read twice: the whole file is looked through
    (`all_packets`) when its clock jumps for the first time.
    """

    def __init__(self, stream: Stream, all_packets: Callable[[], Iterator[Packet]]) -> None:
        self.jumps: list[float] = []
        """Mended time of the first packet after each jump of the clock, container seconds."""
        self._stream = stream
        self._all_packets = all_packets
        self._stretches: list[Stretch] | None = None
        self._count = 0
        self._end: float | None = None
        self._shift = 0.0
        # A picture is one packet; sound may be cut into frames otherwise, but has no order of its own.
        self._order = _Order() if isinstance(stream, VideoStream) else None

    def mend(self, packet: Packet) -> None:
        """Move the times of the stream's next packet, before it is decoded."""
        timed = packet_time(packet)
        if timed is None:
            self._count += packet.size > 0
            return
        if self._stretches is None and self._end is not None and _is_jump(timed.start - self._end):
            times = (packet_time(other) for other in self._all_packets())
            self._stretches = find_stretches([time for time in times if time is not None]).get(self._stream.index, [])
        self._end = timed.start + timed.duration
        for stretch in self._stretches or ():
            if stretch.packet == self._count:
                self._shift = stretch.shift_seconds
                self.jumps.append(timed.shown + self._shift)
        self._count += 1
        if self._shift:
            ticks = round(Fraction(self._shift) / (packet.time_base or Fraction(1)))
            packet.dts = None if packet.dts is None else packet.dts + ticks
            packet.pts = None if packet.pts is None else packet.pts + ticks
        if self._order:
            self._order.packet(packet)

    def place(self, frame: Frame) -> None:
        """Correct the time of the next decoded frame, where the file gives no order of presentation."""
        if self._order and isinstance(self._stream, VideoStream):
            self._order.frame(frame, bool(self._stream.codec_context.has_b_frames))


class _Order:
    """AVI and its copies state when a packet is decoded, not when its picture is shown.

    With B pictures the two differ. The decoder puts them in the right order, so the n-th picture gets the n-th time.
    """

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._delay: int | None = None
        self._is_stated = False

    def packet(self, packet: Packet) -> None:
        if self._is_stated or not packet.size:
            return
        pts, dts = packet.pts, packet.dts
        delay = None if pts is None or dts is None else pts - dts
        if pts is not None and (delay is None or self._delay not in (None, delay)):
            self._is_stated = True  # the file does tell the order
            self._waiting.clear()
        elif dts is not None:
            self._delay = delay
            heapq.heappush(self._waiting, dts if pts is None else pts)

    def frame(self, frame: Frame, has_b_pictures: bool) -> None:
        if not self._waiting:
            return
        time = heapq.heappop(self._waiting)
        if not has_b_pictures:
            return
        if frame.pts is not None:
            far = _FAR_SECONDS / (frame.time_base or 1)
            while self._waiting and time < frame.pts - far:
                time = heapq.heappop(self._waiting)
        frame.pts = time


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
