"""Texts through a voice that does as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.realtime.speaking import MOST_TEXTS, Speaking


class StandIn:
    """A voice: a piece for each word. It waits for `go` before each, and fails at the word "fail"."""

    name, rate_hz, language = "stand-in", 24_000, "en"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.closed = 0

    def speak(self, text: str, speed: float = 1.0) -> Iterator[np.ndarray]:
        try:
            for word in text.split():
                assert self.go.wait(30)
                if word == "fail":
                    raise InputError("the voice failed", "try again")
                yield np.full(2400, len(word) / 100, np.float32)
        finally:
            self.closed += 1


class Heard:
    """What a session would be given."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, int, bool]] = []

    def __call__(self, samples: np.ndarray, rate_hz: int, utterance: str, is_last: bool) -> None:
        self.pieces.append((utterance, len(samples), is_last))

    def ended(self, utterance: str) -> bool:
        return (utterance, 0, True) in self.pieces


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


@pytest.fixture
def voice() -> StandIn:
    return StandIn()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def speaking(voice: StandIn, heard: Heard) -> Iterator[Speaking]:
    made = Speaking(voice, heard, lambda: 0.0)  # type: ignore[arg-type]
    yield made
    voice.go.set()
    made.close()


def test_texts_are_spoken_in_their_order_and_end(speaking: Speaking, heard: Heard) -> None:
    names = [speaking.say("one two"), speaking.say("three")]
    until(lambda: heard.ended(names[1]))
    assert heard.pieces == [
        (names[0], 2400, False),
        (names[0], 2400, False),
        (names[0], 0, True),
        (names[1], 2400, False),
        (names[1], 0, True),
    ]


def test_an_interruption_forgets_all_texts_and_closes_the_voice(
    speaking: Speaking, voice: StandIn, heard: Heard
) -> None:
    voice.go.clear()
    names = {speaking.say("one two three"), speaking.say("four")}
    until(lambda: speaking._current is not None)
    assert set(speaking.interrupt()) == names
    voice.go.set()
    after = speaking.say("five")
    until(lambda: heard.ended(after))
    # At most the piece that was under way; the session refuses that.
    assert len([piece for piece in heard.pieces if piece[0] in names]) <= 1
    assert not any(heard.ended(name) for name in names)
    until(lambda: voice.closed == 2)


def test_a_voice_that_hangs_does_not_hold_up_what_is_said_after_an_interruption(
    speaking: Speaking, voice: StandIn, heard: Heard
) -> None:
    def interrupted() -> None:
        speaking.say("one")
        until(lambda: speaking._current is not None)
        speaking.interrupt()

    before = threading.active_count()
    voice.go.clear()
    interrupted()
    quick = voice.speak
    voice.speak = lambda text, speed=1.0: iter([np.zeros(10, np.float32)])  # type: ignore[method-assign]
    after = speaking.say("two")
    until(lambda: heard.ended(after))
    # Whoever goes on so fills no memory with threads.
    voice.speak = quick  # type: ignore[method-assign]
    interrupted()
    interrupted()
    for _ in range(20):
        speaking.say("one")
        speaking.interrupt()
    assert threading.active_count() <= before + 3
    voice.go.set()
    until(lambda: not speaking._left)
    last = speaking.say("three")
    until(lambda: heard.ended(last))


def test_a_voice_that_fails_ends_its_utterance_and_not_the_next(speaking: Speaking, heard: Heard) -> None:
    failed, after = speaking.say("one fail two"), speaking.say("three")
    until(lambda: heard.ended(after))
    assert heard.ended(failed)
    assert isinstance(speaking.take_error(), InputError)
    assert speaking.take_error() is None


def test_so_many_texts_wait_and_no_more(speaking: Speaking, voice: StandIn) -> None:
    voice.go.clear()
    speaking.say("one")
    until(lambda: speaking._current is not None)
    for _ in range(MOST_TEXTS):
        speaking.say("more")
    with pytest.raises(InputError, match="wait to be spoken"):
        speaking.say("too many")
    assert len(speaking.interrupt()) == MOST_TEXTS + 1
    speaking.say("room again")


def test_closing_ends_the_thread(speaking: Speaking, heard: Heard) -> None:
    until_said = speaking.say("one")
    until(lambda: heard.ended(until_said))
    thread: Any = speaking._thread
    speaking.close()
    thread.join(10)
    assert not thread.is_alive()


def test_without_a_voice_nothing_is_said() -> None:
    with pytest.raises(InputError, match="no voice"):
        Speaking(None, lambda *_: None, lambda: 0.0).say("hello")
