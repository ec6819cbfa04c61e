"""Where utterances begin and end, and what a server makes of them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path

import numpy as np
import pytest
import soundfile

from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.serve.conversation import listen
from geneface.serve.conversation.listen import Heard, Transcriber, Utterances
from geneface.signal.sound import resample
from geneface.types import FloatArray
from geneface.voice import remote

from ...voice.stand_in import Answer, Asked, StandIn
from .partners_fixtures import LISTEN

RATE = 16_000


@pytest.fixture(scope="module")
def speech() -> FloatArray:
    """Some seconds of real sentences, from within a word on."""
    samples, rate = soundfile.read(asset_path("speech", "demo.flac"), dtype="float32")
    return resample(np.asarray(samples, np.float32), rate, RATE)[17_600:]


def noise(seconds: float, level_db: float, seed: int = 0) -> FloatArray:
    samples = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 10 ** (level_db / 20)
    return samples.astype(np.float32)


def cut(
    sound: FloatArray, rate: int = RATE, piece: int = 320, *, is_over_speech: bool = False
) -> list[tuple[float, Heard]]:
    """Everything that becomes clear, with the second in which it does."""
    utterances, found = Utterances(), []
    for start in range(0, len(sound), piece):
        heard = utterances.push(sound[start : start + piece], rate, is_over_speech=is_over_speech)
        found += [((start + piece) / rate, part) for part in heard]
    return found


@pytest.mark.parametrize("room_db", [-100.0, -60.0, -45.0])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_an_utterance_is_found_whole(speech: FloatArray, room_db: float, rate: int) -> None:
    first = speech[: 3 * RATE // 2]
    sound = np.concatenate([np.zeros(RATE), first, np.zeros(2 * RATE), first, np.zeros(RATE)])
    sound = (sound + noise(len(sound) / RATE, room_db)).astype(np.float32)
    found = cut(resample(sound, RATE, rate), rate, rate // 50)
    loud = np.flatnonzero(np.abs(first) > 0.03)
    begins, ends = 1 + loud[0] / RATE, 1 + loud[-1] / RATE
    assert [heard.has_begun for _, heard in found] == [True, False, True, False]
    assert begins - 0.1 < found[0][0] < begins + 0.25
    assert ends + 0.4 < found[1][0] < ends + 1.2
    samples = found[1][1].samples
    assert samples is not None and len(samples) / RATE > loud[-1] / RATE - loud[0] / RATE
    # It is the sound that was said, from before its first loud sample.
    size = 1 << 17
    agreement = np.fft.irfft(np.conj(np.fft.rfft(first, size)) * np.fft.rfft(samples, size))
    assert agreement.max() > 0.9 * np.linalg.norm(first) * np.linalg.norm(samples)


def test_pieces_of_any_length_give_the_same(speech: FloatArray) -> None:
    sound = np.concatenate([noise(0.5, -60), speech[: 2 * RATE] + noise(2, -60, 1), noise(1.5, -60, 2)])
    expected = [heard.samples for _, heard in cut(sound) if heard.samples is not None]
    assert len(expected) == 1
    for piece in (7, 77, 4096, len(sound)):
        found = [heard.samples for _, heard in cut(sound, piece=piece) if heard.samples is not None]
        assert len(found) == 1
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("level_db", [-90.0, -50.0, -40.0, -30.0])
def test_a_noisy_room_is_not_speech_for_long(level_db: float) -> None:
    """A steady noise is taken for speech once at most, and never again."""
    found = cut(noise(20, level_db))
    assert sum(heard.has_begun for _, heard in found) <= (level_db > -36)
    assert all(seconds < 6 for seconds, _ in found)


def test_a_knock_begins_and_is_worth_nothing() -> None:
    sound = noise(3, -60)
    sound[RATE : RATE + RATE // 9] += noise(1 / 9, -15)[: RATE // 9]
    found = cut(sound)
    assert [heard.has_begun for _, heard in found] == [True, False]
    assert found[1][1].samples is not None and len(found[1][1].samples) == 0


def test_over_the_face_s_speech_more_is_needed(speech: FloatArray) -> None:
    echo = noise(0.5, -60)
    echo = np.concatenate([echo, 0.1 * speech[: 3 * RATE] + noise(3, -60, 1)]).astype(np.float32)
    assert cut(echo) and not cut(echo, is_over_speech=True)
    voice = np.concatenate([noise(0.5, -60), speech[: 2 * RATE]])
    assert cut(voice, is_over_speech=True)[0][1].has_begun


def test_endless_speech_is_cut(speech: FloatArray) -> None:
    talk = np.concatenate([speech[RATE // 2 : RATE // 2 + 2000]] * 600)
    found = [len(heard.samples) / RATE for _, heard in cut(talk) if heard.samples is not None]
    assert found[0] == pytest.approx(30.0, abs=0.1) and max(found) <= 30.1


def test_values_that_are_no_sound_do_no_harm() -> None:
    utterances = Utterances()
    for samples in (np.full(5000, np.nan), np.full(5000, np.inf), np.full(5000, 1e30), np.zeros(0)):
        for heard in utterances.push(samples.astype(np.float32), 48_000):
            assert heard.samples is None or np.isfinite(heard.samples).all()


# ---- the server


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn().running() as stand_in:
        yield stand_in


def transcribed(transcriber: Transcriber, samples: FloatArray) -> str:
    async def ask() -> str:
        try:
            return await transcriber.text(samples)
        finally:
            await transcriber.close()

    return asyncio.run(ask())


def form(asked: Asked) -> dict[str, bytes]:
    """The parts of a multipart form, by another reader."""
    head = f"Content-Type: {asked.headers['content-type']}\r\n\r\n".encode()
    message = message_from_bytes(head + asked.body, policy=HTTP)
    return {
        str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
        for part in message.iter_parts()  # type: ignore[attr-defined]
    }  # type: ignore[return-value]


def test_a_sound_goes_as_wav_and_comes_as_text(
    server: StandIn, speech: FloatArray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENEFACE_LISTEN_KEY", "secret-3")
    server.answers[LISTEN] = lambda _: Answer(['{"text": " Hello\\n there. 你好 "}'.encode()])
    assert transcribed(Transcriber(f"{server.url}/v1", "base.en"), speech[:RATE]) == "Hello there. 你好"
    (asked,) = server.asked
    parts = form(asked)
    assert parts["model"] == b"base.en" and parts["response_format"] == b"json"
    assert asked.headers["authorization"] == "Bearer secret-3"
    samples, rate = soundfile.read(io.BytesIO(parts["file"]), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, speech[:RATE], atol=2**-15)


@pytest.mark.parametrize("text", ["", "  ", "...", " [♪] "])
def test_nothing_said_is_no_text(server: StandIn, text: str) -> None:
    server.answers[LISTEN] = lambda _: Answer([f'{{"text": "{text}"}}'.encode()])
    assert transcribed(Transcriber(server.url), np.zeros(RATE, np.float32)) == ""


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer([b'{"error": "busy"}'], status=503), ("answered 503", "busy")),
        (Answer([b"{}"], status=403), ("answered 403", "GENEFACE_LISTEN_KEY")),
        (Answer([b"hello"]), ("no transcript",)),
        (Answer([b"[" * 90_000]), ("no transcript",)),
        (Answer([b'{"text": 5}']), ("no transcript",)),
        (Answer([b"[]"]), ("no transcript",)),
        (Answer([b"x" * 100_000] * 20), ("without end",)),
    ],
)
def test_what_is_no_transcript_is_one_sentence(server: StandIn, answer: Answer, words: tuple[str, ...]) -> None:
    server.answers[LISTEN] = lambda _: answer
    with pytest.raises(InputError) as told:
        transcribed(Transcriber(server.url), np.zeros(RATE, np.float32))
    for word in (*words, server.url):
        assert word in str(told.value)


def test_a_transcriber_that_hangs(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_: Asked) -> Answer:
        server.is_over.wait(20)
        return Answer()

    transcriber = Transcriber(server.url)

    def trickle() -> Iterator[bytes]:
        while not server.is_over.wait(0.01):
            yield b" "

    server.answers[LISTEN] = lambda _: Answer(trickle())
    monkeypatch.setattr(listen, "_ANSWER_SECONDS", 0.3)
    with pytest.raises(InputError, match="no whole answer"):
        transcribed(Transcriber(server.url), np.zeros(RATE, np.float32))
    monkeypatch.setattr(listen, "_ANSWER_SECONDS", 20)
    server.answers[LISTEN] = hang
    monkeypatch.setattr(transcriber, "_remote", remote.Remote("it", server.url + LISTEN, "X", read_seconds=0.3))
    with pytest.raises(InputError, match="was silent for"):
        transcribed(transcriber, np.zeros(RATE, np.float32))
