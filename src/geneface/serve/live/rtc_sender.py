"""What aiortc's senders don't offer: what the receiver reports, reports of one clock, and sockets on given addresses.

aiortc has no public way to these three. Each is one attribute that is replaced on one object, here and nowhere else;
`tests/serve/live/test_rtc.py` sees when a new version moves them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from aiortc import RTCRtpSender, clock
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtcpRrPacket,
    RtcpSrPacket,
    unpack_remb_fci,
)

from geneface.io.live import LEAST_BIT_RATE, MOST_BIT_RATE

_NTP_SECOND = 1 << 32
_START_BIT_RATE = 1_500_000


class BitRate:
    """How many bits a second the way to one receiver takes: rises slowly, falls fast with loss, obeys its estimate.

    The rule is that of loss-based congestion control: over 10 % of packets lost, the rate falls by half of that share;
    under 2 %, it rises by 5 % with each report, about one a second.
    """

    def __init__(self) -> None:
        self._by_loss = float(_START_BIT_RATE)
        self._by_estimate = float(MOST_BIT_RATE)

    @property
    def value(self) -> int:
        """Bits a second, between the least and the most of `io.live`."""
        return round(min(max(min(self._by_loss, self._by_estimate), LEAST_BIT_RATE), MOST_BIT_RATE))

    def hear_of_loss(self, share: float) -> None:
        """A receiver's report: the share of packets that were lost since the last, 0 to 1."""
        if share > 0.1:
            self._by_loss *= 1 - share / 2
        elif share < 0.02:
            self._by_loss *= 1.05
        self._by_loss = min(max(self._by_loss, LEAST_BIT_RATE), MOST_BIT_RATE)

    def hear_of_estimate(self, bit_rate: float) -> None:
        """What the receiver believes that its network takes; a tenth is left for sound and headers."""
        self._by_estimate = 0.9 * bit_rate


def listen_to_reports(sender: RTCRtpSender, bit_rate: BitRate, ask_for_key: Callable[[], None]) -> None:
    """Let the receiver's reports about `sender` set `bit_rate`, and its requests for a whole picture ask for one."""
    handle = sender._handle_rtcp_packet

    async def watched(packet: Any) -> None:
        if isinstance(packet, RtcpRrPacket | RtcpSrPacket):
            for report in packet.reports:
                if report.ssrc == sender._ssrc:
                    bit_rate.hear_of_loss(report.fraction_lost / 256)
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt in (RTCP_PSFB_PLI, RTCP_PSFB_FIR):
            ask_for_key()
        elif isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_APP:
            try:
                estimate, about = unpack_remb_fci(packet.fci)
            except ValueError:
                return
            if sender._ssrc in about:
                bit_rate.hear_of_estimate(estimate)
        await handle(packet)

    sender._handle_rtcp_packet = watched


def report_media_time(
    sender: RTCRtpSender, rate_hz: int, sent: Callable[[], int | None], origin: Callable[[], int]
) -> None:
    """Make the sender's reports say when its packets were due, not when they left.

    A browser holds sound against picture by these reports. aiortc writes the moment of sending into them, which is
    later by encoding and queueing, and by another amount for each of the two: lips would wander by some milliseconds.

    Args:
        sender: of sound or picture.
        rate_hz: of its time stamps.
        sent: the last time stamp of which all packets have left, or None while one is on its way.
        origin: NTP time of time stamp 0, always the same; asked for when something was sent.
    """
    send = sender._send_rtcp
    base: int | None = None  # what aiortc added to all time stamps

    async def timed(packets: list[Any]) -> None:
        nonlocal base
        for packet in packets:
            if isinstance(packet, RtcpSrPacket) and packet.sender_info.packet_count:
                info = packet.sender_info
                stamp = sent()
                if base is None and stamp is not None:
                    base = (info.rtp_timestamp - stamp) % (1 << 32)
                if base is not None:
                    origin_ntp = origin()
                    # Signed, as a time stamp of the first second may lie before the origin.
                    since = (info.rtp_timestamp - base + (1 << 31)) % (1 << 32) - (1 << 31)
                    since += _wraps(info.ntp_timestamp - origin_ntp, since, rate_hz) << 32
                    info.ntp_timestamp = origin_ntp + since * _NTP_SECOND // rate_hz
        await send(packets)

    sender._send_rtcp = timed


def _wraps(elapsed_ntp: int, since: int, rate_hz: int) -> int:
    """How often a 32-bit time stamp went round: video's does in 13 hours."""
    return round((elapsed_ntp / _NTP_SECOND * rate_hz - since) / (1 << 32))


def ntp_of(moment: float, now: float) -> int:
    """NTP time of `moment` on the monotonic clock, on which it is `now`."""
    return clock.current_ntp_time() - round((now - moment) * _NTP_SECOND)


def gather_on(gatherers: Iterable[Any], addresses: list[str]) -> None:
    """Open sockets on these addresses only, where aiortc takes all of the machine but the loopback's."""
    for gatherer in gatherers:
        _gather_on(gatherer._connection, addresses)


def _gather_on(connection: Any, own: list[str]) -> None:
    gather = connection.get_component_candidates

    async def on_own(component: int, addresses: list[str], timeout: int = 5) -> Any:
        del addresses
        return await gather(component=component, addresses=own, timeout=timeout)

    connection.get_component_candidates = on_own
