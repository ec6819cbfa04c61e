"""A live session over WebRTC, for networks that let UDP through: one offer, one answer.

The connection carries the session's picture (H.264, VP8 where that is refused) and sound (Opus), the other side's
microphone, and a data channel with the JSON messages of the WebSocket. Needs the extra [webrtc].

No other host is spoken to of our own accord. Candidates in the offer are not tried: the other side's packets show where
it is, which works wherever it reaches the server, and nobody can point the server at a third. Only an operator who names
STUN servers has candidates tried, as hole punching needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from aiortc import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.mediastreams import MediaStreamError
from av.audio.frame import AudioFrame

from geneface.io.live import SOUND_RATE_HZ
from geneface.realtime import Item, Session
from geneface.serve.errors import ApiError
from geneface.serve.live.rtc_sender import BitRate, gather_on, listen_to_reports, ntp_of, report_media_time
from geneface.serve.live.rtc_tracks import PictureTrack, SoundTrack

Message = dict[str, Any]
CONNECT_SECONDS = 20.0
"""After that a peer that never came is given up."""
_MOST_MESSAGE = 64 * 1024
_LOUDEST = 32_768


class Peer:
    """One other side. It takes the session's items from `answer` to `close`; no other transport may."""

    def __init__(
        self,
        session: Session,
        on_message: Callable[[Message], None],
        *,
        addresses: Sequence[str] = ("127.0.0.1",),
        stun: Sequence[str] = (),
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """Must be made on the event loop that serves it.

        Args:
            session: whose face is sent.
            on_message: takes what comes by the data channel.
            addresses: of this machine, to open UDP ports on; empty: all but the loopback's.
            stun: `stun:host:port`, asked for this machine's public address.
            on_close: called once, when the connection has ended for whatever reason.
        """
        self._session, self._on_message, self._on_close = session, on_message, on_close
        self._addresses, self._stun = list(addresses), list(stun)
        self._connection = RTCPeerConnection(RTCConfiguration([RTCIceServer(url) for url in self._stun]))
        self._bit_rate = BitRate()
        self._picture = PictureTrack(lambda: self._bit_rate.value)
        self._sound = SoundTrack(self._sent)
        self._channel: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def answer(self, offer: str) -> str:
        """The answer's SDP to an offer's, with all candidates in it; sending begins when the other side connects.

        Raises:
            ApiError: 422, the offer is damaged or asks for what is not there.
        """
        try:
            return await self._answer(offer)
        except (ValueError, KeyError, IndexError, AttributeError, AssertionError, TypeError) as error:
            # aiortc reads SDP with bare splits and look-ups.
            await self.close()
            raise _bad_offer("can't be read") from error
        except (OperationError, InvalidAccessError, InvalidStateError) as error:
            await self.close()
            raise _bad_offer("has no codec in common with this server (H.264 or VP8, Opus)") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the connection; once more does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        current = asyncio.current_task()
        for task in self._tasks - {current}:
            task.cancel()
        await self._connection.close()
        self._on_close()

    def tell(self, message: Message) -> None:
        """Send a message by the data channel, if there is one by now."""
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps(message))

    async def _answer(self, offer: str) -> str:
        connection = self._connection
        if "\nm=video" not in offer:
            raise _bad_offer("asks for no video")
        self._add("video", self._picture)
        if "\nm=audio" in offer:
            self._add("audio", self._sound)
        self._listen()
        await connection.setRemoteDescription(
            RTCSessionDescription(_without_candidates(offer, bool(self._stun)), "offer")
        )
        if self._addresses:
            senders = [sender.transport for sender in connection.getSenders()]
            transports = senders + ([connection.sctp.transport] if connection.sctp else [])
            gather_on({transport.transport.iceGatherer for transport in transports}, self._addresses)
        await connection.setLocalDescription(await connection.createAnswer())
        answer = connection.localDescription.sdp
        self._picture.is_h264 = _first_codec(answer, "video") == "H264"
        self._start(self._send_items())
        self._start(self._give_up())
        return answer

    def _add(self, kind: str, track: PictureTrack | SoundTrack) -> None:
        connection = self._connection
        transceiver = connection.addTransceiver(track, "sendrecv" if kind == "audio" else "sendonly")
        if kind == "video":
            capabilities = RTCRtpSender.getCapabilities("video").codecs
            order = ("video/h264", "video/vp8", "video/rtx")
            wanted = [codec for name in order for codec in capabilities if codec.mimeType.lower() == name]
            transceiver.setCodecPreferences(wanted)
            listen_to_reports(transceiver.sender, self._bit_rate, self._picture.ask_for_key)
        origin = ntp_of(self._session.origin, time.monotonic())
        report_media_time(transceiver.sender, track.rate_hz, lambda: track.sent, origin)

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

        @connection.on("connectionstatechange")
        async def on_state() -> None:
            if connection.connectionState in ("failed", "closed"):
                await self.close()

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_items(self) -> None:
        async for item in self._session.items():
            self._picture.put(item)
            self._sound.put(item)
        await self.close()

    async def _give_up(self) -> None:
        await asyncio.sleep(CONNECT_SECONDS)
        if self._connection.connectionState in ("new", "connecting"):
            await self.close()

    async def _hear(self, track: Any) -> None:
        """The microphone: aiortc decodes it to 16-bit stereo at 48 kHz, 20 ms a piece."""
        with contextlib.suppress(MediaStreamError):
            while True:
                frame: AudioFrame = await track.recv()
                channels = len(frame.layout.channels)
                samples = frame.to_ndarray().reshape(-1, channels).astype(np.float32).mean(1) / _LOUDEST
                self._session.hear(samples, frame.sample_rate or SOUND_RATE_HZ)

    def _heard_message(self, text: str | bytes) -> None:
        try:
            if len(text) > _MOST_MESSAGE:
                raise ApiError(413, "too_large", "the message is larger than 64 kB", "send long texts in pieces")
            message = json.loads(text)
            if not isinstance(message, dict):
                raise ApiError(422, "bad_request", "a message must be a JSON object", "see docs/serve.md")
            self._on_message(message)
        except ApiError as error:
            self._refuse(error.code, error.message, error.remedy)
        except ValueError:
            self._refuse("bad_request", "a message must be JSON", "see docs/serve.md")

    def _refuse(self, code: str, message: str, remedy: str) -> None:
        self.tell({"type": "error", "code": code, "message": message, "remedy": remedy})

    def _sent(self, item: Item) -> None:
        for event in item.events:
            self.tell({"type": event.name, "utterance": event.utterance, "index": item.index})


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


def _first_codec(sdp: str, kind: str) -> str:
    """Name of the codec that a description prefers for `kind`."""
    lines = sdp.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"m={kind} "))
    payload = lines[start].split()[3]
    named = next(line for line in lines[start:] if line.startswith(f"a=rtpmap:{payload} "))
    return named.split()[1].split("/")[0]
