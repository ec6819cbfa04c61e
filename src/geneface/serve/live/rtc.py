"""A live session over WebRTC, for networks that let UDP through: one offer, one answer.

The connection carries the session's picture (H.264, VP8 where that is refused) and sound (Opus), the other side's
microphone, and a data channel with the JSON messages of the WebSocket. Needs the extra [webrtc].

No other host is spoken to of our own accord. Candidates in the offer are not tried: the other side's packets show where
it is, which works wherever it reaches the server, and nobody can point the server at a third. Only where the operator
names STUN servers are candidates tried, as hole punching needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpCodecCapability
from av.audio.frame import AudioFrame

from geneface.realtime import SOUND_RATE_HZ, Item
from geneface.serve.errors import ApiError
from geneface.serve.live.orders import Orders
from geneface.serve.live.rtc_sender import BitRate, gather_on, listen_to_reports, ntp_of, report_media_time
from geneface.serve.live.rtc_tracks import PictureTrack, SoundTrack
from geneface.serve.live.sessions import LiveSession, Message
from geneface.serve.safety.rates import Bucket

CONNECT_SECONDS = 20.0
"""After that a peer that never came is given up."""
_MOST_WAITING = 1 << 20
"""Bytes of messages that wait for the other side. One that takes none is let go."""
_LOUDEST = 32_768


class Peer:
    """One other side, and a session's listener as soon as it has connected (see `sessions.Listener`)."""

    def __init__(
        self,
        live: LiveSession,
        pool: Executor,
        *,
        addresses: Sequence[str] = ("127.0.0.1",),
        stun: Sequence[str] = (),
        most_messages_a_second: int = 200,
    ) -> None:
        """Must be made on the event loop that serves it.

        Args:
            live: whose face is sent.
            pool: its threads encode.
            addresses: of this machine, to open UDP ports on; empty: all but the loopback's.
            stun: `stun:host:port`, asked for this machine's public address.
            most_messages_a_second: who sends more for long is sent away.
        """
        self._live, self._addresses, self._has_stun = live, list(addresses), bool(stun)
        self._connection = RTCPeerConnection(RTCConfiguration([RTCIceServer(url) for url in stun]))
        self._bit_rate = BitRate()
        self._picture = PictureTrack(self._bit_rate, pool)
        self._sound = SoundTrack(self._sent)
        self._orders = Orders(live, self.tell, {"key_frame": self._key_frame})
        self._origin: int | None = None
        self._channel: Any = None
        self._messages = Bucket(most_messages_a_second, 2 * most_messages_a_second)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def answer(self, offer: str) -> str:
        """The answer's SDP to an offer's, with all candidates in it; sending begins when the other side connects.

        Who was answered for the same session before, and has not connected, is given up.

        Raises:
            ApiError: 422, the offer is damaged or asks for what is not there.
        """
        earlier, self._live.expected = self._live.expected, self
        if earlier is not None:
            await earlier.end()
        try:
            return await self._answer(offer)
        except (ValueError, KeyError, IndexError, AttributeError, AssertionError, TypeError) as error:
            # aiortc reads SDP with bare splits and look-ups.
            await self.end()
            raise _bad_offer("can't be read") from error
        except (OperationError, InvalidAccessError, InvalidStateError) as error:
            await self.end()
            raise _bad_offer("has no codec in common with this server (H.264 or VP8, Opus)") from error
        except BaseException:
            await self.end()
            raise

    # ---- what a listener does

    async def show(self, item: Item) -> None:
        """See `Listener`: an item that is due now."""
        self._picture.put(item)
        self._sound.put(item)

    def tell(self, message: Message) -> None:
        """See `Listener`: by the data channel, if the other side opened one."""
        if self._is_closed or self._channel is None or self._channel.readyState != "open":
            return
        if self._channel.bufferedAmount > _MOST_WAITING:
            self._start(self.end())
            return
        self._channel.send(json.dumps(message))

    def close(self, reason: str) -> None:
        """See `Listener`."""
        self.tell({"type": "closed", "reason": reason})
        self._start(self.end())

    async def end(self) -> None:
        """End the connection; once more does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._expect_no_more()
        self._live.detach(self)
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        await self._connection.close()

    def _expect_no_more(self) -> None:
        if self._live.expected is self:
            self._live.expected = None

    # ---- setting up

    async def _answer(self, offer: str) -> str:
        connection = self._connection
        if "\nm=video" not in offer:
            raise _bad_offer("asks for no video")
        self._add("video", self._picture)
        if "\nm=audio" in offer:
            self._add("audio", self._sound)
        self._listen()
        offer = _without_candidates(offer, self._has_stun)
        await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        if self._addresses:
            senders = [sender.transport for sender in connection.getSenders()]
            transports = senders + ([connection.sctp.transport] if connection.sctp else [])
            gather_on({transport.transport.iceGatherer for transport in transports}, self._addresses)
        await connection.setLocalDescription(await connection.createAnswer())
        answer = connection.localDescription.sdp
        self._picture.is_h264 = _first_codec(answer, "video") == "H264"
        self._start(self._give_up())
        return answer

    def _add(self, kind: str, track: PictureTrack | SoundTrack) -> None:
        connection = self._connection
        transceiver = connection.addTransceiver(track, "sendrecv" if kind == "audio" else "sendonly")
        if kind == "video":
            capabilities = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(sorted(capabilities, key=_preference))
            listen_to_reports(transceiver.sender, self._bit_rate, self._picture.ask_for_key)
        report_media_time(transceiver.sender, track.rate_hz, lambda: track.sent, self._origin_ntp)

    def _origin_ntp(self) -> int:
        """NTP time of the session's first item, taken once for both tracks."""
        if self._origin is None:
            self._origin = ntp_of(self._live.session.origin, time.monotonic())
        return self._origin

    def _listen(self) -> None:
        connection = self._connection

        @connection.on("track")
        def on_track(track: Any) -> None:
            if track.kind == "audio":
                self._start(self._hear(track))

        @connection.on("datachannel")
        def on_channel(channel: Any) -> None:
            self._channel = channel
            channel.on("message", self._heard_message)
            self.tell(self._live.ready(codec="webrtc", rate=SOUND_RATE_HZ))

        @connection.on("connectionstatechange")
        async def on_state() -> None:
            if connection.connectionState == "connected" and self._live.session.is_closed:
                await self.end()
            elif connection.connectionState == "connected" and not self._is_closed:
                self._expect_no_more()
                self._live.attach(self)
            elif connection.connectionState in ("failed", "closed"):
                await self.end()

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _give_up(self) -> None:
        await asyncio.sleep(CONNECT_SECONDS)
        if self._connection.connectionState in ("new", "connecting"):
            await self.end()

    async def _hear(self, track: Any) -> None:
        """The microphone: aiortc decodes it to 16-bit stereo at 48 kHz, 20 ms a piece."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: AudioFrame = await track.recv()
                channels = len(frame.layout.channels)
                samples = frame.to_ndarray().reshape(-1, channels).astype(np.float32).mean(1) / _LOUDEST
                self._live.hear(samples, frame.sample_rate or SOUND_RATE_HZ)

    def _sent(self, item: Item) -> None:
        pictures, size = self._picture.counts()
        self._live.sent(item, pictures=pictures, size=size)

    def _heard_message(self, text: str | bytes) -> None:
        if self._is_closed:
            return
        # Nothing slows a data channel down: where a WebSocket's messages would wait, these end it.
        if self._messages.take_if_there():
            self.close("bad_request")
        else:
            self._start(self._orders.obey(text))

    async def _key_frame(self, _: Message) -> None:
        self._picture.ask_for_key()


def addresses_of(host: str) -> list[str]:
    """Where to open UDP ports for a server that listens on `host`: there, too; empty means on all addresses."""
    name = "127.0.0.1" if host == "localhost" else host
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return []
    return [] if address.is_unspecified else [str(address)]


def _bad_offer(what: str) -> ApiError:
    return ApiError(422, "bad_offer", f"the offer {what}", "send the SDP of RTCPeerConnection.createOffer() as it is")


def _without_candidates(offer: str, keeps_addresses: bool) -> str:
    """The offer without where the other side says it is, or without names of which only multicast knows the address."""
    dropped = (".local ", "end-of-candidates") if keeps_addresses else ("",)
    lines = [
        line
        for line in offer.splitlines()
        if not (line.startswith(("a=candidate:", "a=end-of-candidates")) and any(part in line for part in dropped))
    ]
    return "\r\n".join(lines) + "\r\n"


def _preference(codec: RTCRtpCodecCapability) -> int:
    """Place in the order: H.264 constrained baseline, other H.264, VP8, what repairs losses."""
    name = codec.mimeType.lower()
    is_constrained = "42e0" in str(codec.parameters.get("profile-level-id", ""))
    return 0 if is_constrained else {"video/h264": 1, "video/vp8": 2}.get(name, 3)


def _first_codec(sdp: str, kind: str) -> str:
    """Name of the codec that a description prefers for `kind`."""
    lines = sdp.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"m={kind} "))
    payload = lines[start].split()[3]
    named = next(line for line in lines[start:] if line.startswith(f"a=rtpmap:{payload} "))
    return named.split()[1].split("/")[0]
