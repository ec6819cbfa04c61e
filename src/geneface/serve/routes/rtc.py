"""Live sessions by WebRTC; docs/serve.md, "WebRTC"."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from geneface.errors import MissingExtraError
from geneface.serve.context import Context, context_of
from geneface.serve.errors import ApiError

router = APIRouter(prefix="/v1/live", tags=["live"])
_MOST_SDP = 64 * 1024


class Description(BaseModel):
    """A session description, as RTCPeerConnection has it."""

    model_config = ConfigDict(extra="forbid")

    sdp: str = Field(max_length=_MOST_SDP)
    type: Literal["offer", "answer"]


@router.post("/{live_id}/offer")
async def answer_offer(
    live_id: str, offer: Description, server: Annotated[Context, Depends(context_of)]
) -> Description:
    """See and hear a session by WebRTC: the offer of a peer connection -> the answer, complete with candidates."""
    sessions = server.live
    live = sessions.get(live_id)
    if live is None:
        raise ApiError(404, "not_found", "there is no such live session", "open one by POST /v1/live")
    if offer.type != "offer":
        raise ApiError(422, "bad_offer", "the description is no offer", "send that of createOffer()")
    try:
        from geneface.serve.live.rtc import Peer, addresses_of
    except ImportError as error:
        raise MissingExtraError("aiortc", "webrtc", error) from error
    settings = server.settings
    # What a STUN server tells is of no use to a port that only this machine reaches.
    addresses = [] if settings.stun else addresses_of(settings.host)
    rate = settings.most_messages_a_second
    peer = Peer(live, sessions.pool, addresses=addresses, stun=settings.stun, most_messages_a_second=rate)
    return Description(sdp=await peer.answer(offer.sdp), type="answer")
