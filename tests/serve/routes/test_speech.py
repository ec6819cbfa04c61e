"""The routes of text to speech, through OpenAI's own client library against a real server."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import av
import httpx2
import numpy as np
import openai
import pytest
import soundfile

from geneface.errors import InputError
from geneface.io.sound_stream import SOUND_FORMATS, SoundFormat
from geneface.serve.app import create_app
from geneface.serve.settings import ServeSettings
from geneface.types import FloatArray
from geneface.voice.registry import open_voice
from geneface.voice.voice import VoiceInfo, joined

from ..serving import Served, serving

TEXT = "Good morning. It works."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("hibari", reason="the extra [tts] brings the voice")
    settings = ServeSettings(home=tmp_path_factory.mktemp("home"), port=0, workers=1)
    with serving(create_app(settings), settings) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def expected() -> FloatArray:
    return joined(open_voice().speak(TEXT))


def decoded(data: bytes) -> tuple[np.ndarray, int]:
    """By FFmpeg, whatever the format: mono samples and their rate."""
    with av.open(io.BytesIO(data)) as container:
        frames = list(container.decode(audio=0))
        resampler = av.AudioResampler("fltp", "mono", 24_000)
        blocks = [block.to_ndarray()[0] for frame in [*frames, None] for block in resampler.resample(frame)]
        return np.concatenate(blocks), frames[0].sample_rate


@pytest.mark.parametrize("format", [format for format in SOUND_FORMATS if format != "pcm"])
def test_every_format_is_that_sound(client: openai.OpenAI, expected: FloatArray, format: SoundFormat) -> None:
    """Another decoder hears what the voice said, at the same place."""
    answer = client.audio.speech.create(model="any", voice="heart", input=TEXT, response_format=format)
    types = {"mp3": "mpeg", "opus": "ogg"}
    assert answer.response.headers["content-type"] == f"audio/{types.get(format, format)}"
    heard, _ = decoded(answer.content)
    assert abs(len(heard) - len(expected)) < 0.15 * 24_000
    size = 1 << 18
    agreement = np.fft.irfft(np.conj(np.fft.rfft(expected, size)) * np.fft.rfft(heard, size))
    assert agreement.max() > 0.95 * np.linalg.norm(heard) * np.linalg.norm(expected)
    lag = int(agreement.argmax())
    assert min(lag, size - lag) < 0.06 * 24_000
    if format in ("wav", "flac"):
        np.testing.assert_allclose(heard, expected, atol=2e-4)


def test_wav_states_its_length_and_pcm_is_bare(client: openai.OpenAI, expected: FloatArray) -> None:
    ask = client.audio.speech.create
    data = ask(model="any", voice="heart", input=TEXT, response_format="wav").content
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:4] == (1, 2, 24_000, len(expected))
    samples, rate = soundfile.read(io.BytesIO(data))
    assert rate == 24_000 and len(samples) == len(expected)
    pcm = ask(model="any", voice="heart", input=TEXT, response_format="pcm").content
    assert pcm == data[44:]
    # Without a format it is MP3, as OpenAI has it.
    assert decoded(ask(model="any", voice="heart", input="Hello.").content)[1] == 24_000


def test_events_carry_the_same_file(client: openai.OpenAI) -> None:
    whole = client.audio.speech.create(model="any", voice="heart", input=TEXT, response_format="pcm").content
    ask = client.audio.speech.with_streaming_response.create
    with ask(model="any", voice="heart", input=TEXT, response_format="pcm", stream_format="sse") as answer:
        events = list(httpx2.EventSource(answer.http_response))
    facts = [json.loads(event.data) for event in events]
    assert b"".join(base64.b64decode(fact["audio"]) for fact in facts[:-1]) == whole
    assert {fact["type"] for fact in facts[:-1]} == {"speech.audio.delta"} and len(facts) > 2
    assert facts[-1]["type"] == "speech.audio.done" and facts[-1]["usage"]["input_tokens"] == len(TEXT)


def test_the_voices(server: Served) -> None:
    listed = httpx2.get(f"{server.url}/v1/audio/voices", trust_env=False).json()
    assert listed["voices"][0] == "heart" and listed["data"][0]["is_default"]
    assert listed["data"][0] | {"description": ""} == {
        "id": "heart", "object": "voice", "name": "Heart", "language": "en-us", "description": "", "is_default": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input": ""}, "no words"),
        ({"input": "你好"}, "CJK letters"),
        ({"input": "x " * 15_000}, "30000 characters"),
        ({"voice": "alloy"}, "no voice 'alloy'"),
        ({"voice": "../../etc/passwd"}, "no voice"),
        ({"response_format": "exe"}, "response_format"),
        ({"speed": 4}, "speed"),
        ({"stream_format": "x"}, "stream_format"),
    ],
)
def test_refusals_are_a_sentence(client: openai.OpenAI, changes: dict[str, object], words: str) -> None:
    body = {"model": "any", "voice": "heart", "input": TEXT, **changes}
    with pytest.raises(openai.APIStatusError) as told:
        client.post("/audio/speech", body=body, cast_to=httpx2.Response)
    assert told.value.status_code == 422
    error = told.value.body
    assert isinstance(error, dict) and set(error) == {"code", "message", "remedy"}
    assert words in error["message"] and "\n" not in error["message"]


class Slow:
    """A voice that is never done, and fails if it is told to."""

    name, rate_hz, language = "slow", 24_000, ""

    def __init__(self, fails: bool = False) -> None:
        self.was_closed, self._fails = threading.Event(), fails

    def all(self) -> list[VoiceInfo]:
        return []

    def get(self, name: str | None = None) -> Slow:
        return self

    def speak(self, text: str, speed: float = 1.0) -> Iterator[FloatArray]:
        try:
            while not self.was_closed.wait(0.01):
                yield np.zeros(4800, np.float32)
                if self._fails:
                    raise InputError("the voice has gone", "call it back")
        finally:
            self.was_closed.set()


def test_who_leaves_ends_the_speaking(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr(server.app.state.context, "voices", slow)
    asked = {"input": TEXT, "response_format": "pcm"}
    with (
        httpx2.Client(trust_env=False) as client,
        client.stream("POST", f"{server.url}/v1/audio/speech", json=asked) as answer,
    ):
        assert len(next(answer.iter_bytes(1000))) == 1000 and not slow.was_closed.is_set()
    assert slow.was_closed.wait(20)


def test_only_some_are_spoken_at_a_time(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    address, asked = f"{server.url}/v1/audio/speech", {"input": TEXT, "response_format": "pcm"}
    monkeypatch.setattr(server.app.state.context, "voices", Slow())
    with httpx2.Client(trust_env=False) as client, ExitStack() as open_ones:
        heard = [open_ones.enter_context(client.stream("POST", address, json=asked)).iter_bytes(1000) for _ in range(2)]
        assert [len(next(pieces)) for pieces in heard] == [1000, 1000]
        refused = client.post(address, json=asked)
        assert refused.status_code == 503 and refused.headers["Retry-After"] == "1"
        assert refused.json()["error"]["code"] == "busy"
    monkeypatch.undo()
    # Both have their end, as has one that was refused: otherwise nobody would be heard any more.
    for text, status in (("", 422), ("", 422), ("", 422), (TEXT, 200)):
        end = time.monotonic() + 20
        while (answer := httpx2.post(address, json={"input": text}, trust_env=False)).status_code == 503:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert answer.status_code == status


def test_a_failure_in_the_middle_is_not_taken_for_the_end(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.app.state.context, "voices", Slow(fails=True))
    asked = {"input": TEXT, "response_format": "pcm"}
    address = f"{server.url}/v1/audio/speech"
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.post(address, json=asked, trust_env=False)
    monkeypatch.setattr(server.app.state.context, "voices", Slow(fails=True))
    told = httpx2.post(address, json={**asked, "stream_format": "sse"}, trust_env=False).text
    assert "speech.audio.delta" in told and "the voice has gone" in told and "done" not in told


def test_without_the_extra_the_route_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from geneface.voice import hibari

    hibari._load.cache_clear()
    monkeypatch.setitem(sys.modules, "hibari", None)
    settings = ServeSettings(home=tmp_path, port=0, workers=1)
    with serving(create_app(settings), settings) as server:
        answer = httpx2.post(f"{server.url}/v1/audio/speech", json={"input": TEXT}, trust_env=False)
        listed = httpx2.get(f"{server.url}/v1/audio/voices", trust_env=False)
    assert answer.status_code == listed.status_code == 501
    assert answer.json()["error"]["code"] == "extra_missing" and "[tts]" in answer.json()["error"]["remedy"]
