"""A live session by WebRTC in Chromium: a page of the server's own, no network but the loopback's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fastapi.responses import HTMLResponse
from playwright.sync_api import Page, sync_playwright

from geneface.realtime import Session
from geneface.serve.app import create_app
from geneface.serve.settings import ServeSettings

from ...flash import FlashSession
from ..serving import serving

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
CONNECT = """async ([id, hasMicrophone]) => {
  const connection = new RTCPeerConnection();
  const seen = window.seen = { messages: [], flashes: [], clicks: [], pictures: 0, connection };
  if (hasMicrophone) {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    connection.addTrack(microphone.getTracks()[0], microphone);
  } else {
    connection.addTransceiver("audio", { direction: "recvonly" });
  }
  connection.addTransceiver("video", { direction: "recvonly" });
  seen.channel = connection.createDataChannel("events");
  seen.channel.onmessage = (event) => seen.messages.push(JSON.parse(event.data));
  const stream = new MediaStream();
  connection.ontrack = (event) => stream.addTrack(event.track);
  await connection.setLocalDescription(await connection.createOffer());
  const answer = await fetch(`/v1/live/${id}/offer`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(connection.localDescription),
  });
  if (!answer.ok) return await answer.json();
  await connection.setRemoteDescription(await answer.json());

  for (const receiver of connection.getReceivers()) receiver.jitterBufferTarget = 0;

  const video = document.createElement("video");
  video.srcObject = stream;
  document.body.append(video);
  await video.play();
  const context = new OffscreenCanvas(8, 8).getContext("2d", { willReadFrequently: true });
  const look = (now, frame) => {
    seen.pictures += 1;
    context.drawImage(video, 0, 0, 8, 8);
    if (context.getImageData(4, 4, 1, 1).data[0] > 128) seen.flashes.push(frame.expectedDisplayTime);
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);

  const audio = new AudioContext({ sampleRate: 48000 });
  const ear = audio.createScriptProcessor(256, 1, 1);
  let quietUntil = 0;
  ear.onaudioprocess = (event) => {
    const samples = event.inputBuffer.getChannelData(0);
    const place = samples.findIndex((sample) => Math.abs(sample) > 0.1);
    const output = audio.getOutputTimestamp();
    const begin = event.playbackTime - (2 * 256) / 48000 + place / 48000;
    const now = output.performanceTime + 1000 * (begin - output.contextTime);
    if (place >= 0 && now > quietUntil) { seen.clicks.push(now); quietUntil = now + 500; }
  };
  audio.createMediaStreamSource(stream).connect(ear);
  ear.connect(audio.destination);
  // Milliseconds between a flash and its click, the worst of the last three. Web Audio hears 40 ms later than people do.
  seen.apart = () => Math.max(...seen.flashes.slice(-4, -1).map(
    (flash) => Math.min(...seen.clicks.map((click) => Math.abs(click - flash - 40)))));
  // What Chromium itself says: by the sender reports, how far what sounds is from what is shown.
  setInterval(async () => {
    const times = {};
    (await connection.getStats()).forEach((one) => {
      if (one.type === "inbound-rtp") times[one.kind] = one.estimatedPlayoutTimestamp;
    });
    seen.offset = Math.abs(times.audio - times.video);
  }, 200);
  return { codec: "H264" };
}"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, FlashSession]]:
    """The server's address, and a session that flashes and clicks."""
    settings = ServeSettings(home=tmp_path, port=0, workers=2)
    app, session = create_app(settings), FlashSession()

    @app.post("/flash")
    async def flash() -> str:
        return app.state.context.live.add(cast(Session, session), "flash").id

    @app.get("/flash", response_class=HTMLResponse)
    async def page() -> str:
        return "<!doctype html><title>flash</title>"

    with serving(app, settings) as server:
        yield server.url, session


def opened(browser: Any, url: str) -> tuple[Page, list[str]]:
    page, console = browser.new_page(), []
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(f"{url}/flash")
    return page, console


def until(page: Page, expression: str, seconds: float = 20) -> None:
    page.wait_for_function(f"() => {expression}", timeout=1000 * seconds)


def test_chromium_sees_hears_and_steers(browser: Any, served: tuple[str, FlashSession]) -> None:
    url, session = served
    page, console = opened(browser, url)
    live_id = page.evaluate("async () => (await fetch('/flash', { method: 'POST' })).json()")
    assert page.evaluate(CONNECT, [live_id, True]) == {"codec": "H264"}
    until(page, "seen.flashes.length > 5 && seen.clicks.length > 5")
    stats = page.evaluate("async () => [...(await seen.connection.getStats()).values()]")
    video = next(one for one in stats if one["type"] == "inbound-rtp" and one["kind"] == "video")
    codecs = {one["mimeType"] for one in stats if one["type"] == "codec"}
    assert codecs == {"video/H264", "audio/opus"}
    assert video["framesDecoded"] > 100 and video["packetsLost"] == 0 and video["keyFramesDecoded"] >= 4
    # Its buffer for sound is long at the beginning; by the sender reports it brings both together.
    until(page, "seen.offset < 40 && seen.apart() < 80", 60)

    page.evaluate("() => seen.channel.send(JSON.stringify({ type: 'say', text: 'Hello.' }))")
    until(page, "seen.messages.some((message) => message.type === 'speech.end')")
    page.evaluate("() => seen.channel.send(JSON.stringify({ type: 'interrupt', ref: 1 }))")
    until(page, "seen.messages.some((message) => message.type === 'accepted' && message.generation === 1)")
    assert session.said == ["Hello."] and session.generation == 1
    heard = np.concatenate([samples for samples, _ in session.heard])
    assert len(heard) > 48_000 and np.abs(heard).max() > 0.01, "the microphone of Chromium beeps"
    assert console == []
    page.close()


def test_an_offer_that_is_none_is_refused_in_words(browser: Any, served: tuple[str, FlashSession]) -> None:
    url, _ = served
    page, _ = opened(browser, url)
    found = page.evaluate(CONNECT, ["live_none", False])
    assert found["error"]["code"] == "not_found"
    page.close()
