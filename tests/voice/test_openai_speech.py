"""Voices of other servers, which may be slow, broken or hostile: one sentence each time, and never without end."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator

import httpx2
import numpy as np
import pytest
import soundfile

from geneface.errors import InputError
from geneface.voice.openai_speech import OpenAISpeech
from geneface.voice.registry import VoiceChoice, open_voice, voice_names
from geneface.voice.voice import joined

from .stand_in import Answer, Asked, StandIn

ROUTE = "/v1/audio/speech"
SINE = (0.5 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000)).astype(np.float32)


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn().running() as stand_in:
        yield stand_in


def wav(samples: np.ndarray, rate: int = 24_000, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype=subtype, format=format)
    return file.getvalue()


def answered(server: StandIn, body: bytes, content_type: str = "audio/wav", *, size: int = 1000, status: int = 200):
    def answer(_: Asked) -> Answer:
        return Answer((body[at : at + size] for at in range(0, len(body), size)), content_type, status)

    server.answers[ROUTE] = answer


def test_each_sentence_is_a_request_as_openai_has_it(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENEFACE_VOICE_KEY", "secret-1")
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-others")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answered(server, wav(SINE))
    voice = open_voice("nova", url=f"{server.url}/v1", model="kokoro")
    sound = joined(voice.speak("Hello there. How are you?", 1.25))
    assert voice.rate_hz == 24_000 and len(sound) == 48_000
    np.testing.assert_allclose(sound[:24_000], SINE, atol=1e-4)
    asked = [json.loads(request.body) for request in server.asked]
    shared = {"model": "kokoro", "voice": "nova", "response_format": "wav", "speed": 1.25}
    assert asked == [{**shared, "input": text} for text in ("Hello there.", "How are you?")]
    assert all(request.headers["authorization"] == "Bearer secret-1" for request in server.asked)
    assert voice_names(url=server.url)[0].is_default
    assert VoiceChoice("nova", url=server.url).decides() == (f"{server.url} None nova", [])


@pytest.mark.parametrize("address", ["", "/", "/v1", "/v1/", "/v1/audio/speech"])
def test_an_address_may_be_root_version_or_route(server: StandIn, address: str) -> None:
    answered(server, wav(SINE))
    assert len(joined(OpenAISpeech(server.url + address).speak("Hi."))) == 24_000
    assert server.asked[0].path == ROUTE and "authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("rate", "subtype", "channels", "size"),
    [(24_000, "FLOAT", 1, 7), (48_000, "PCM_16", 2, 1001), (22_050, "PCM_32", 1, 64), (16_000, "PCM_16", 1, 100_000)],
)
def test_wav_of_any_kind_in_any_pieces(server: StandIn, rate: int, subtype: str, channels: int, size: int) -> None:
    times = np.arange(rate) / rate
    tone = 0.5 * np.sin(2 * np.pi * 440 * times)
    answered(server, wav(np.stack([tone] * channels, axis=1), rate, subtype), size=size)
    sound = joined(OpenAISpeech(server.url).speak("Hi."))
    assert abs(len(sound) - 24_000) <= 1
    np.testing.assert_allclose(sound[2000:22_000], SINE[2000:22_000], atol=2e-3)


def test_headers_of_streams_that_state_no_length(server: StandIn) -> None:
    body = bytearray(wav(SINE))
    at = body.index(b"data")
    body[4:8] = body[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    answered(server, bytes(body))
    np.testing.assert_allclose(joined(OpenAISpeech(server.url).speak("Hi.")), SINE, atol=1e-4)
    answered(server, (SINE * 32767).astype("<i2").tobytes(), "audio/pcm", size=333)
    np.testing.assert_allclose(joined(OpenAISpeech(server.url).speak("Hi.")), SINE, atol=1e-4)


def test_the_first_samples_come_before_the_rest_is_there(server: StandIn) -> None:
    rest_is_asked = threading.Event()
    body = wav(SINE)

    def pieces() -> Iterator[bytes]:
        yield body[:10_000]
        rest_is_asked.wait(20)
        yield body[10_000:]

    server.answers[ROUTE] = lambda _: Answer(pieces(), "audio/wav")
    spoken = OpenAISpeech(server.url).speak("Hi.")
    first = next(spoken)
    assert 0 < len(first) < 5_000 and not rest_is_asked.is_set()
    rest_is_asked.set()
    assert len(first) + len(joined(spoken)) == 24_000


def test_closing_leaves_the_server_at_once(server: StandIn) -> None:
    def pieces() -> Iterator[bytes]:
        yield wav(SINE)
        while not server.is_over.wait(0.01):
            yield bytes(9600)

    server.answers[ROUTE] = lambda _: Answer(pieces(), "audio/wav")
    spoken = OpenAISpeech(server.url).speak("Hi.")
    next(spoken)
    spoken.close()
    assert server.was_left.wait(10)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "words"),
    [
        (b'{"error": {"message": "no such voice"}}', "application/json", 400, ("answered 400", "no such voice")),
        (b'{"detail": "bad key"}', "application/json", 401, ("answered 401", "bad key", "GENEFACE_VOICE_KEY")),
        (b"<html>nginx</html>", "text/html", 404, ("answered 404:", "check the address")),
        (b"slow down", "text/plain", 429, ("answered 429", "wait")),
        (b"", "text/plain", 302, ("answered 302", "check the address")),
        (b"<html>hello</html>", "text/html; charset=utf-8", 200, ("text/html instead of WAV",)),
        (b"ID3" + bytes(500), "audio/mpeg", 200, ("audio/mpeg instead of WAV",)),
        (b"", "audio/wav", 200, ("gave no sound",)),
        (wav(SINE)[:30], "audio/wav", 200, ("gave no sound",)),
        (wav(np.full(500, np.nan, np.float32), subtype="FLOAT"), "audio/wav", 200, ("NaN",)),
        (wav(SINE, subtype="PCM_U8"), "audio/wav", 200, ("8 bits",)),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0" + bytes(100), "audio/wav", 200, ("tells no format",)),
        (b"RIFF\0\0\0\0WAVE" + b"junk\xf0\xff\xff\xff" + bytes(100_000), "audio/wav", 200, ("header has no end",)),
    ],
)  # fmt: skip
def test_what_is_no_sound_is_one_sentence(
    server: StandIn, body: bytes, content_type: str, status: int, words: tuple[str, ...]
) -> None:
    answered(server, body, content_type, status=status)
    with pytest.raises(InputError) as told:
        joined(OpenAISpeech(server.url).speak("Hi."))
    text = str(told.value)
    assert "\n" not in text and len(text) < 500 and server.url in text
    for word in words:
        assert word in text


def test_an_answer_without_end_ends(server: StandIn) -> None:
    def pieces() -> Iterator[bytes]:
        yield wav(SINE)
        while not server.is_over.is_set():
            yield bytes(1 << 20)

    server.answers[ROUTE] = lambda _: Answer(pieces(), "audio/wav")
    with pytest.raises(InputError, match="without end"):
        for _ in OpenAISpeech(server.url).speak("Hi."):
            pass


def test_a_redirect_is_not_followed(server: StandIn) -> None:
    server.answers[ROUTE] = lambda _: Answer(status=307, headers={"Location": f"{server.url}/elsewhere"})
    with pytest.raises(InputError, match="answered 307"):
        joined(OpenAISpeech(server.url).speak("Hi."))
    assert [request.path for request in server.asked] == [ROUTE]


def test_a_server_that_hangs_or_is_not_there(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_: Asked) -> Answer:
        server.is_over.wait(20)
        return Answer()

    server.answers[ROUTE] = hang
    voice = OpenAISpeech(server.url)
    monkeypatch.setattr(voice, "_client", httpx2.Client(timeout=0.2))
    with pytest.raises(InputError, match="was silent for"):
        joined(voice.speak("Hi."))
    with pytest.raises(InputError, match="can't be reached: start that server"):
        joined(OpenAISpeech("http://127.0.0.1:1").speak("Hi."))


def test_no_secret_is_told(server: StandIn) -> None:
    address = server.url.replace("http://", "http://me:pass@")
    answered(server, b"", "text/plain", status=500)
    with pytest.raises(InputError) as told:
        joined(OpenAISpeech(f"{address}/v1?token=abc").speak("Hi."))
    assert "pass" not in str(told.value) and "abc" not in str(told.value)


def test_what_is_no_address_or_name_is_refused() -> None:
    for address in (
        "",
        "127.0.0.1:8000",
        "ftp://x/v1",
        "file:///etc/passwd",
        "http://",
        "http://[::1",
        "http://x:99999",
    ):
        with pytest.raises(InputError, match="no address of a server"):
            OpenAISpeech(address)
    for name in ("a\nb", "x" * 200, "ü|"):
        with pytest.raises(InputError, match="no name of a voice"):
            OpenAISpeech("http://127.0.0.1", name)
