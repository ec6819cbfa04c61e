"""The route of WebRTC on a real server, with a real face; aiortc is the other side."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiortc
import httpx2
import pytest

from geneface.serve.app import create_app
from geneface.serve.settings import ServeSettings

from ..serving import serving


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    settings = ServeSettings(home=tmp_path, port=0, workers=2)
    with serving(create_app(settings), settings) as server:
        yield server.url


@pytest.mark.slow
def test_a_face_comes_by_webrtc_and_speaks(url: str) -> None:
    live = httpx2.post(f"{url}/v1/live", json={"model": "grid-s1"}, timeout=60).json()
    sizes: set[tuple[int, int]] = set()
    loudest: list[float] = []

    async def read(track: Any) -> None:
        with contextlib.suppress(aiortc.mediastreams.MediaStreamError):
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    sizes.add((frame.width, frame.height))
                else:
                    loudest.append(abs(frame.to_ndarray()).max() / 32_768)

    async def run() -> None:
        connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration([]))
        connection.addTransceiver("video", "recvonly")
        connection.addTransceiver("audio", "recvonly")
        tasks: list[asyncio.Task[None]] = []
        connection.on("track", lambda track: tasks.append(asyncio.ensure_future(read(track))))
        await connection.setLocalDescription(await connection.createOffer())
        offer = {"sdp": connection.localDescription.sdp, "type": "offer"}
        answer = httpx2.post(f"{url}/v1/live/{live['id']}/offer", json=offer, timeout=20)
        assert answer.status_code == 200 and answer.json()["type"] == "answer"
        await connection.setRemoteDescription(aiortc.RTCSessionDescription(**answer.json()))
        client = httpx2.AsyncClient(timeout=20)
        said = False
        for _ in range(500):
            if sizes and not said:
                said = (await client.post(f"{url}/v1/live/{live['id']}/say", json={"text": "Hello."})).is_success
            if max(loudest, default=0) > 0.1:
                break
            await asyncio.sleep(0.04)
        assert (await client.get(f"{url}/v1/live/{live['id']}")).json()["has_listener"]
        await connection.close()
        await client.aclose()
        for task in tasks:
            task.cancel()

    asyncio.run(run())
    assert sizes == {(live["width"], live["height"])} and max(loudest) > 0.1


def test_what_is_no_offer_is_refused(url: str) -> None:
    offer = {"sdp": "v=0", "type": "offer"}
    assert httpx2.post(f"{url}/v1/live/live_none/offer", json=offer).json()["error"]["code"] == "not_found"
    too_long = httpx2.post(f"{url}/v1/live/live_none/offer", json={"sdp": "x" * 70_000, "type": "offer"})
    assert too_long.status_code == 422


@pytest.mark.slow
def test_without_the_extra_it_says_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    live = httpx2.post(f"{url}/v1/live", json={}, timeout=60).json()
    for kind, sdp in (("answer", "v=0"), ("offer", "v=0")):
        refused = httpx2.post(f"{url}/v1/live/{live['id']}/offer", json={"sdp": sdp, "type": kind})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_offer")
    monkeypatch.setitem(sys.modules, "aiortc", None)
    for name in [name for name in sys.modules if name.startswith("geneface.serve.live.rtc")]:
        monkeypatch.delitem(sys.modules, name)
    refused = httpx2.post(f"{url}/v1/live/{live['id']}/offer", json={"sdp": "v=0", "type": "offer"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (501, "extra_missing")
    assert "'.[webrtc]'" in refused.json()["error"]["remedy"]
