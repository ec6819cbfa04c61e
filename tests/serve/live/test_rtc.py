"""A peer connection against aiortc's own other side: what arrives, when it says it was, and what it obeys."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import aiortc
import aiortc.rtp
import numpy as np
import pytest

from geneface.realtime import Session
from geneface.serve.errors import ApiError
from geneface.serve.live import rtc, rtc_tracks
from geneface.serve.live.rtc_sender import LEAST_BIT_RATE, MOST_BIT_RATE, BitRate, gather_on, report_media_time
from geneface.serve.live.sessions import LiveSession

from ...flash import EVERY, FlashSession

POOL = ThreadPoolExecutor(2)


class Tone(aiortc.mediastreams.AudioStreamTrack):
    """A microphone that hears 440 Hz, in 16-bit pieces of 20 ms at 8 kHz."""

    async def recv(self) -> Any:
        frame: Any = await super().recv()
        times = (frame.pts + np.arange(frame.samples)) / frame.sample_rate
        frame.planes[0].update((np.sin(2 * np.pi * 440 * times) * 16_000).astype(np.int16).tobytes())
        return frame


def has_parameters(payload: bytes) -> bool:
    """RFC 6184: a sequence parameter set, alone or first in an aggregation packet."""
    return len(payload) > 3 and 7 in (payload[0] & 31, payload[3] & 31 if payload[0] & 31 == 24 else 0)


class OtherSide:
    """What a page has: sees, hears, speaks, and a data channel."""

    def __init__(self, has_microphone: bool = False) -> None:
        self.connection: Any = aiortc.RTCPeerConnection(aiortc.RTCConfiguration([]))
        self.connection.addTransceiver("video", "recvonly")
        if has_microphone:
            self.connection.addTrack(Tone())
        else:
            self.connection.addTransceiver("audio", "recvonly")
        self.channel = self.connection.createDataChannel("events")
        self.messages: list[dict[str, Any]] = []
        self.channel.on("message", lambda text: self.messages.append(json.loads(text)))
        self.pictures: list[tuple[int, float]] = []
        """Time stamp of 90 kHz, brightness."""
        self.sounds: list[tuple[int, np.ndarray]] = []
        """Time stamp of 48 kHz, left channel."""
        self.reports: dict[str, list[tuple[int, int]]] = {"audio": [], "video": []}
        """NTP and RTP time of each sender report."""
        self.raw: dict[str, list[int]] = {"audio": [], "video": []}
        """Time stamps on the wire, by kind."""
        self.keys: list[int] = []
        """Time stamps of the pictures that come with parameter sets."""
        self.tasks: list[asyncio.Task[None]] = []
        self.connection.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self._read(track))))

    async def offer(self) -> str:
        gatherers = {t.sender.transport.transport.iceGatherer for t in self.connection.getTransceivers()}
        gather_on({*gatherers, self.connection.sctp.transport.transport.iceGatherer}, ["127.0.0.1"])
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        await self.connection.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))
        for receiver in self.connection.getReceivers():
            self._watch(receiver)

    def _watch(self, receiver: Any) -> None:
        kind, handle_rtcp, handle_rtp = receiver.track.kind, receiver._handle_rtcp_packet, receiver._handle_rtp_packet

        async def rtcp(packet: Any) -> None:
            if isinstance(packet, aiortc.rtp.RtcpSrPacket) and packet.sender_info.packet_count:
                self.reports[kind].append((packet.sender_info.ntp_timestamp, packet.sender_info.rtp_timestamp))
            await handle_rtcp(packet)

        async def rtp(packet: Any, arrival_time_ms: int) -> None:
            self.raw[kind].append(packet.timestamp)
            if kind == "video" and has_parameters(packet.payload):
                self.keys.append(packet.timestamp)
            await handle_rtp(packet, arrival_time_ms=arrival_time_ms)

        receiver._handle_rtcp_packet, receiver._handle_rtp_packet = rtcp, rtp

    async def _read(self, track: Any) -> None:
        with contextlib.suppress(aiortc.mediastreams.MediaStreamError):
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.pictures.append((frame.pts, float(frame.to_ndarray(format="gray")[8:-8, 8:-8].mean())))
                else:
                    self.sounds.append((frame.pts, frame.to_ndarray().reshape(-1, 2)[:, 0] / 32768))

    async def close(self) -> None:
        await self.connection.close()
        for task in self.tasks:
            task.cancel()


async def until(holds: Callable[[], Any], what: str, seconds: float = 20) -> None:
    for _ in range(round(seconds / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(what)


def peer_of(session: FlashSession) -> rtc.Peer:
    return rtc.Peer(LiveSession(cast(Session, session), "flash", time.monotonic()), POOL)


@contextlib.asynccontextmanager
async def connected(session: FlashSession, **settings: Any) -> AsyncIterator[tuple[rtc.Peer, OtherSide]]:
    peer, other = peer_of(session), OtherSide(**settings)
    try:
        await other.accept(await peer.answer(await other.offer()))
        await until(lambda: other.channel.readyState == "open" and other.pictures and other.sounds, "nothing arrived")
        yield peer, other
    finally:
        await other.close()
        await peer.end()


def clicks(sounds: list[tuple[int, np.ndarray]]) -> list[float]:
    """Seconds of the onsets, on the receiver's time stamps."""
    found: list[float] = []
    for start, samples in sounds:
        loud = np.flatnonzero(np.abs(samples) > 0.2)
        if len(loud) and (not found or (start + loud[0]) / SECOND - found[-1] > 0.5):
            found.append((start + int(loud[0])) / SECOND)
    return found


SECOND = 48_000


def media_time(report: tuple[int, int], stamp: int, rate_hz: int) -> float:
    """NTP seconds of a time stamp, as a receiver has it from a sender report."""
    ntp, rtp = report
    return ntp / 2**32 + ((stamp - rtp + 2**31) % 2**32 - 2**31) / rate_hz


def test_a_flash_and_its_click_are_one_moment() -> None:
    async def run() -> None:
        async with connected(FlashSession()) as (_, other):
            await until(lambda: min(map(len, other.reports.values())) >= 3, "no sender reports")
            await until(lambda: len(clicks(other.sounds)) >= 3, "no clicks")
            sight, sound = other.reports["video"], other.reports["audio"]
            # Every report of one sender tells the same time, to the grid of its time stamps.
            for reports, rate in ((sight, 90_000), (sound, 48_000)):
                origins = [media_time(report, reports[0][1], rate) for report in reports]
                assert max(origins) - min(origins) < 2 / rate
            # The decoder counts from the first packet; sound and picture meet in the reports.
            first = {kind: media_time(self[0], stamps[0], rate) for kind, self, stamps, rate in (
                ("video", sight, other.raw["video"], 90_000), ("audio", sound, other.raw["audio"], 48_000))}  # fmt: skip
            dark = [value for _, value in other.pictures if value < 128]
            flashes = [pts / 90_000 for pts, value in other.pictures if value > 128]
            assert len(flashes) >= 2 and len(dark) > 10 * len(flashes)
            seen = [first["video"] + time - other.pictures[0][0] / 90_000 for time in flashes]
            heard = [first["audio"] + time - other.sounds[0][0] / SECOND for time in clicks(other.sounds)]
            # The click of the last flash may be still to come.
            pairs = [time for time in seen[1:] if time < heard[-1] + 0.5]
            offsets = [min((time - other_time for other_time in heard), key=abs) for time in pairs]
            # Opus decodes later than it encodes; the packets' times already say so.
            assert offsets and max(map(abs, offsets)) < 0.001, offsets

    asyncio.run(run())


def test_time_stamps_follow_the_items_and_a_second_has_a_key_frame() -> None:
    async def run() -> None:
        async with connected(FlashSession()) as (_, other):
            await until(lambda: len(other.pictures) > 2 * EVERY + 5, "too few pictures")
            steps = np.diff(sorted(set(other.raw["video"])))
            assert np.all(steps % 3600 == 0) and np.median(steps) == 3600
            assert len(other.keys) >= 2 and np.diff(other.keys).max() <= EVERY * 3600

    asyncio.run(run())


def test_h264_is_chosen_though_vp8_is_offered_first() -> None:
    async def run() -> None:
        other, peer = OtherSide(), peer_of(FlashSession())
        offer = await other.offer()
        assert offer.index("VP8") < offer.index("H264")
        assert rtc._first_codec(await peer.answer(offer), "video") == "H264"
        await peer.end()
        await other.close()

    asyncio.run(run())


def test_without_h264_the_other_side_gets_vp8() -> None:
    async def run() -> None:
        session = FlashSession()
        other = OtherSide()
        capabilities: Any = aiortc.RTCRtpReceiver.getCapabilities("video")
        codecs = [c for c in capabilities.codecs if c.mimeType == "video/VP8"]
        other.connection.getTransceivers()[0].setCodecPreferences(codecs)
        peer = peer_of(session)
        answer = await peer.answer(await other.offer())
        assert "H264" not in answer
        await other.accept(answer)
        await until(lambda: any(value > 128 for _, value in other.pictures), "no flash")
        await other.close()
        await peer.end()

    asyncio.run(run())


def test_the_microphone_reaches_the_session() -> None:
    async def run() -> None:
        session = FlashSession()
        async with connected(session, has_microphone=True):
            await until(lambda: sum(len(samples) for samples, _ in session.heard) > SECOND, "the session hears nothing")
            samples = np.concatenate([samples for samples, _ in session.heard])[SECOND // 2 : SECOND]
            assert {rate for _, rate in session.heard} == {SECOND}
            spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
            assert abs(spectrum.argmax() * SECOND / len(samples) - 440) < 5
            assert 0.3 < np.abs(samples).max() < 0.7

    asyncio.run(run())


def test_messages_go_both_ways_and_interruption_empties_the_way() -> None:
    async def run() -> None:
        session = FlashSession()

        async with connected(session) as (_, other):
            other.channel.send(json.dumps({"type": "say", "text": "Hello.", "ref": 7}))
            other.channel.send(json.dumps({"type": "ping", "ref": 8}))
            other.channel.send(json.dumps({"type": "background", "background": "#00ff00", "ref": 9}))
            await until(lambda: other.messages and other.messages[-1]["type"] == "speech.end", "no events")
            found = {(m["type"], m.get("ref")): m for m in other.messages if m["type"] != "stats"}
            assert other.messages[0]["type"] == "ready" and other.messages[0]["codec"] == "webrtc"
            assert {key[1] for key in found if key[0] == "accepted"} == {7, 8, 9}
            assert found["accepted", 7]["utterance"] == found["speech.end", None]["utterance"]
            assert session.said == ["Hello."] and session.background == "#00ff00"
            await until(lambda: len(other.pictures) % EVERY == 12, "no time between two key frames")
            other.channel.send(json.dumps({"type": "interrupt"}))
            await until(lambda: len(other.keys) > 1 and np.diff(other.keys).min() < EVERY * 3600, "no key frame")
            assert session.generation == 1
            assert {"type": "generation", "generation": 1} in other.messages
            path = json.dumps({"type": "background", "background": "/etc/passwd"})
            for text in ("no JSON", "[1]", json.dumps({"type": "dance"}), "x" * 70_000, path):
                other.channel.send(text)
            await until(lambda: sum(m["type"] == "refused" for m in other.messages) == 5, "faults are not told")
            assert {m["code"] for m in other.messages if m["type"] == "refused"} == {"bad_message", "bad_input"}

    asyncio.run(run())


def test_a_lost_picture_is_asked_for_again() -> None:
    async def run() -> None:
        async with connected(FlashSession()) as (peer, other):
            asked: list[int] = []
            for sender in peer._connection.getSenders():
                if sender.kind == "video":
                    rtc.listen_to_reports(sender, BitRate(), lambda: asked.append(1))
            receiver: Any = next(r for r in other.connection.getReceivers() if r.track.kind == "video")
            await receiver._send_rtcp_pli(next(iter(receiver._RTCRtpReceiver__active_ssrc)))
            await until(lambda: asked, "the request is not heard")

    asyncio.run(run())


def test_the_rate_falls_with_loss_rises_without_and_obeys_the_estimate() -> None:
    rate = BitRate()
    before = rate.value
    rate.hear_of_loss(0.3)
    assert rate.value < 0.9 * before
    for _ in range(100):
        rate.hear_of_loss(0.5)
    assert rate.value == LEAST_BIT_RATE
    for _ in range(100):
        rate.hear_of_loss(0.0)
    assert rate.value == MOST_BIT_RATE
    rate.hear_of_estimate(1_000_000)
    assert rate.value == 900_000


def test_what_the_receiver_estimates_holds() -> None:
    async def run() -> None:
        async with connected(FlashSession()) as (peer, other):
            receiver: Any = next(r for r in other.connection.getReceivers() if r.track.kind == "video")
            about = next(iter(receiver._RTCRtpReceiver__active_ssrc))
            estimate = aiortc.rtp.RtcpPsfbPacket(
                fmt=aiortc.rtp.RTCP_PSFB_APP, ssrc=1, media_ssrc=0, fci=aiortc.rtp.pack_remb_fci(1_000_000, [about])
            )
            await receiver.transport._send_rtp(bytes(estimate))
            await until(lambda: 890_000 < peer._bit_rate.value < 900_001, "the estimate is not heard")

    asyncio.run(run())


@pytest.mark.parametrize("rate_hz", [48_000, 90_000])
def test_reports_tell_the_media_time_for_days(rate_hz: int) -> None:
    """Time stamps of 32 bits go round every 13 to 25 hours; the time that reports tell does not."""
    origin, base, told, stamp = 5 << 32, 4_000_000_000, [], 0

    class Sender:
        async def _send_rtcp(self, packets: list[Any]) -> None:
            told.append(packets[0].sender_info.ntp_timestamp)

    async def run() -> None:
        nonlocal stamp
        sender: Any = Sender()
        report_media_time(sender, rate_hz, lambda: stamp, lambda: origin)
        for hour in range(100):
            stamp = hour * 3600 * rate_hz
            # aiortc's own: the moment of sending, 20 ms later.
            info = aiortc.rtp.RtcpSenderInfo(
                ntp_timestamp=origin + (hour * 3600 << 32) + (1 << 32) // 50,
                rtp_timestamp=(base + stamp) % (1 << 32),
                packet_count=1,
                octet_count=1,
            )
            await sender._send_rtcp([aiortc.rtp.RtcpSrPacket(ssrc=1, sender_info=info)])

    asyncio.run(run())
    assert told == [origin + (hour * 3600 << 32) for hour in range(100)]


@pytest.mark.parametrize(
    "offer",
    ["", "v=0", "v=0\r\nm=video", "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "\0" * 99],
)
def test_a_damaged_offer_is_refused(offer: str) -> None:
    async def run() -> None:
        session = FlashSession()
        with pytest.raises(ApiError) as refused:
            await peer_of(session).answer(offer)
        assert refused.value.status == 422 and refused.value.code == "bad_offer"

    asyncio.run(run())


def test_no_candidate_of_the_offer_is_tried_unless_the_operator_names_stun() -> None:
    offer = "\r\n".join(
        [
            "v=0",
            "a=candidate:1 1 UDP 2 192.0.2.7 5000 typ host",
            "a=candidate:2 1 UDP 2 0bff.local 5001 typ host",
            "a=end-of-candidates",
            "",
        ]
    )
    assert "candidate" not in rtc._without_candidates(offer, False)
    kept = rtc._without_candidates(offer, True)
    assert "192.0.2.7" in kept and ".local" not in kept


def test_ports_are_opened_where_the_server_listens() -> None:
    assert rtc.addresses_of("127.0.0.1") == rtc.addresses_of("localhost") == ["127.0.0.1"]
    assert rtc.addresses_of("192.0.2.1") == ["192.0.2.1"]
    assert rtc.addresses_of("0.0.0.0") == rtc.addresses_of("::") == []

    async def run() -> None:
        other, peer = OtherSide(), peer_of(FlashSession())
        answer = await peer.answer(await other.offer())
        places = {line.split()[4] for line in answer.splitlines() if line.startswith("a=candidate:")}
        assert places == {"127.0.0.1"}
        await peer.end()
        await other.close()

    asyncio.run(run())


def test_who_was_answered_and_did_not_come_makes_room_for_the_next() -> None:
    async def run() -> None:
        live = LiveSession(cast(Session, FlashSession()), "flash", time.monotonic())
        peers = [rtc.Peer(live, POOL) for _ in range(3)]
        others = [OtherSide() for _ in peers]
        for peer, other in zip(peers, others, strict=True):
            await peer.answer(await other.offer())
        assert [peer._connection.connectionState for peer in peers[:2]] == ["closed", "closed"]
        assert peers[2]._connection.connectionState != "closed"
        for one in (*others, peers[2]):
            await (one.close() if isinstance(one, OtherSide) else one.end())

    asyncio.run(run())


def test_who_connects_takes_over_and_who_is_sent_away_is_told() -> None:
    async def run() -> None:
        live = LiveSession(cast(Session, FlashSession()), "flash", time.monotonic())
        peers, others = [rtc.Peer(live, POOL), rtc.Peer(live, POOL)], [OtherSide(), OtherSide()]
        for peer, other in zip(peers, others, strict=True):
            await other.accept(await peer.answer(await other.offer()))
            await until(lambda other=other: other.pictures, "nothing arrived")
        closed = {"type": "closed", "reason": "taken_over"}
        await until(lambda: closed in others[0].messages, "the first one is not told")
        await until(lambda: others[0].connection.connectionState == "closed", "the first one stays")
        await live.close()
        await until(lambda: others[1].connection.connectionState == "closed", "the second one stays")
        assert {"type": "closed", "reason": "closed"} in others[1].messages
        for other in others:
            await other.close()

    asyncio.run(run())


def test_pictures_do_not_wait_for_what_else_runs_in_threads() -> None:
    """Sounds that are decoded, faces that are opened: asyncio's own threads may all be busy."""

    async def run() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        is_over = threading.Event()
        busy = asyncio.ensure_future(asyncio.to_thread(is_over.wait, 30))
        try:
            async with connected(FlashSession()):
                pass
        finally:
            is_over.set()
            await busy

    asyncio.run(run())


def test_a_flood_of_messages_ends_the_connection() -> None:
    async def run() -> None:
        async with connected(FlashSession()) as (peer, other):
            for _ in range(1000):
                other.channel.send('{"type": "ping"}')
            await until(lambda: peer._connection.connectionState == "closed", "it goes on")

    asyncio.run(run())


def test_who_takes_no_messages_is_let_go() -> None:
    async def run() -> None:
        async with connected(FlashSession()) as (peer, _):
            peer._channel._addBufferedAmount(2 << 20)
            peer.tell({"type": "stats"})
            await until(lambda: peer._connection.connectionState == "closed", "it waits for ever")

    asyncio.run(run())


@pytest.mark.parametrize("is_closed_first", [False, True])
def test_nobody_listens_to_a_session_that_has_ended(is_closed_first: bool) -> None:
    async def run() -> None:
        live = LiveSession(cast(Session, FlashSession()), "flash", time.monotonic())
        peer, other = rtc.Peer(live, POOL), OtherSide()
        answer = await peer.answer(await other.offer())
        if is_closed_first:
            await live.close()
        else:
            # Between its last look at the session and the moment in which it is expected no more.
            live.session.close()
            await other.accept(answer)
        # Long before one that never comes is given up.
        await until(lambda: peer._connection.connectionState == "closed", "it stays", rtc.CONNECT_SECONDS / 2)
        assert not live.has_listener and live.expected is None
        await other.close()

    asyncio.run(run())


def test_a_long_gap_costs_no_silence_and_an_item_is_sent_when_it_has_left() -> None:
    async def run() -> None:
        told: list[int] = []
        session, track = FlashSession(), rtc_tracks.SoundTrack(lambda item: told.append(item.index))
        items = [session.take() for _ in range(100)]
        track.put(items[0])
        first = [await track.recv()]
        assert told == []
        first.append(await track.recv())
        assert told == [0]
        track.put(items[99])
        encoded = track._encoder
        later = [await track.recv(), await track.recv()]
        assert track._encoder is not encoded
        for packets, index in ((first, 0), (later, 99)):
            starts = [packet.pts - index * 1920 for packet in packets]
            assert starts[1] - starts[0] == 960 and -400 < starts[0] <= 0

    asyncio.run(run())
