"""A conversation through the whole server: WebSocket, real voice, drawn face; the model is a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import hibari  # noqa: F401  (the whole module needs it)
import httpx2
import numpy as np
import pytest
import soundfile
from websockets.sync.client import ClientConnection, connect

from geneface.io.assets import asset_path
from geneface.serve.app import create_app
from geneface.serve.live.packets import Kind, Packet
from geneface.serve.settings import ServeSettings
from geneface.signal.sound import resample

from ...voice.stand_in import Answer, StandIn
from ..serving import Served, serving
from .partners_fixtures import CHAT, LISTEN, Typist

pytestmark = pytest.mark.slow
RATE = 48_000


@pytest.fixture(scope="module")
def partner() -> Iterator[StandIn]:
    with StandIn().running() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def served(partner: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = ServeSettings.model_validate(
        {"home": tmp_path_factory.mktemp("home"), "chat_url": partner.url, "chat_model": "m", "listen_url": partner.url}
    )
    with serving(create_app(settings), settings) as found:
        yield found


@pytest.fixture
def stream(served: Served) -> Iterator[ClientConnection]:
    with httpx2.Client(base_url=served.url, timeout=30, trust_env=False) as client:
        live = client.post("/v1/live", json={}).json()
        assert live["conversation"] is True
        with connect(f"ws://127.0.0.1:{served.port}{live['stream']}?audio=pcm", open_timeout=10) as connection:
            yield connection
        client.delete(f"/v1/live/{live['id']}")


def until(stream: ClientConnection, is_wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """The messages up to the first that is wanted; items go by."""
    found: list[dict[str, Any]] = []
    for _ in range(2000):
        content = stream.recv(timeout=20)
        if isinstance(content, str):
            found.append(json.loads(content))
            if is_wanted(found[-1]):
                return found
    raise AssertionError(f"it never came: {found}")


def of(kind: str, **facts: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda message: message["type"] == kind and all(message.get(name) == value for name, value in facts.items())


def test_typed_answered_and_talked_over(stream: ClientConnection, partner: StandIn) -> None:
    typist = Typist(partner)
    partner.answers[LISTEN] = lambda _: Answer([b'{"text": "Wait a moment."}'])
    stream.send(json.dumps({"type": "chat", "text": "Who are you?", "ref": 1}))
    until(stream, of("transcript", role="user", text="Who are you?"))
    typist.say("I am a face that speaks on a small machine, and I go on for quite a while, as you hear. And")
    told = until(stream, of("speech.start"))
    assert any(of("transcript", role="assistant")(message) for message in told)

    # A real sentence into the microphone, while it speaks.
    samples, rate = soundfile.read(asset_path("speech", "demo.flac"), dtype="float32")
    sentence = resample(np.asarray(samples, np.float32), rate, RATE)[RATE + 5000 : 3 * RATE]
    said = np.concatenate([np.zeros(RATE // 2, np.float32), sentence, np.zeros(RATE, np.float32)])
    stream.send(json.dumps({"type": "microphone", "rate": RATE}))
    for piece in np.array_split(said, len(said) // 960):
        stream.send(Packet(Kind.MICROPHONE, (piece * 32_767).astype("<i2").tobytes()).to_bytes())
    told = until(stream, of("generation"))
    assert told[-1]["generation"] == 1
    told += until(stream, of("transcript", role="user", text="Wait a moment."))
    assert any(of("speech.end")(message) for message in told)
    cut = [message for message in told if of("transcript", role="assistant", is_final=True)(message)]
    assert cut and "as you hear" not in cut[0]["text"]
    assert partner.was_left.wait(10)

    typist.say("Of course.")
    typist.end()
    until(stream, of("speech.start"))
    asked = [json.loads(request.body)["messages"] for request in partner.asked if request.path == CHAT]
    assert len(asked) == 2 and [message["content"] for message in asked[1] if message["role"] == "assistant"] in (
        [], [cut[0]["text"]]
    )  # fmt: skip
    assert asked[1][-1]["role"] == "user" and asked[1][-1]["content"].endswith("Wait a moment.")
