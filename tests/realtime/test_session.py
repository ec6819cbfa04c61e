from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.realtime import FRAME_SECONDS, ITEM_SAMPLES, Item, Session

from .doubles import FlatFace, VirtualClock, make_all, picture_of, run, session_of


def tone(seconds: float, rate_hz: int, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 200 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def heard(items: list[Item]) -> np.ndarray:
    return np.concatenate([item.sound for item in items])


def no_jump(items: list[Item]) -> None:
    """The head's path goes on by one at every item that shows a picture of its own."""
    paths = [picture_of(item).path for item in items]
    steps = np.diff(paths)
    assert set(steps.tolist()) <= {0, 1}, paths
    assert all(step == 1 or items[i + 1].is_repeat for i, step in enumerate(steps)), paths


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def face() -> FlatFace:
    return FlatFace()


@pytest.fixture
def session(face: FlatFace, clock: VirtualClock) -> Iterator[Session]:
    made = session_of(face, clock)
    yield made
    made.close()


def test_idle_is_made_and_never_repeats(session: Session, face: FlatFace, clock: VirtualClock) -> None:
    items = run(session, clock, 200)
    assert [item.index for item in items] == list(range(200))
    assert not any(item.is_repeat for item in items)
    assert all(item.state == "idle" and not item.sound.any() for item in items)
    no_jump(items)
    # Silence is known ahead: a second of it is one call of the models.
    assert face.performances[0].calls < 200 / 20


def test_speech_comes_out_whole_and_with_its_own_pictures(session: Session, clock: VirtualClock) -> None:
    rng = np.random.default_rng(0)
    levels = rng.uniform(0, 0.5, 75)
    speech = np.repeat(levels, ITEM_SAMPLES).astype(np.float32)
    before = run(session, clock, 20)
    name = session.speak(speech, 48_000)
    items = run(session, clock, 120)
    spoken = [item for item in items if item.state == "speech"]
    assert len(spoken) == 75
    np.testing.assert_array_equal(heard(spoken), speech)
    assert [item.index for item in spoken] == list(range(spoken[0].index, spoken[0].index + 75))
    # The picture beside each slice shows that slice; levels change within the resampler's filter.
    shown = [picture_of(item).loudness for item in spoken]
    np.testing.assert_allclose(shown, levels, atol=0.05)
    assert [(event.name, event.utterance, item.index) for item in items for event in item.events] == [
        ("speech.start", name, spoken[0].index),
        ("speech.end", name, spoken[-1].index),
    ]
    no_jump(before + items)
    assert not any(item.is_repeat for item in items)


def test_speech_begins_within_what_was_drawn_already(session: Session, clock: VirtualClock) -> None:
    run(session, clock, 40)
    session.speak(tone(1, 24_000), 24_000)
    items = run(session, clock, 10)
    assert next(place for place, item in enumerate(items) if item.state == "speech") <= 2


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("piece", [111, 4_000])
def test_pieces_of_any_rate_and_length_are_one_utterance(
    session: Session, clock: VirtualClock, rate_hz: int, piece: int
) -> None:
    speech = tone(1.3, rate_hz)
    pieces = [speech[start : start + piece] for start in range(0, len(speech), piece)]
    for place, part in enumerate(pieces):
        session.speak(part, rate_hz, "one", is_last=place == len(pieces) - 1)
    items = run(session, clock, 60)
    spoken = heard([item for item in items if item.state == "speech"])
    # A third of a millisecond beyond 1.3 s would be another frame.
    assert len(spoken) == -(-1300 // 40) * ITEM_SAMPLES
    wanted = tone(1.3, 48_000)
    inner = slice(2_000, -2_000)
    np.testing.assert_allclose(spoken[: len(wanted)][inner], wanted[inner], atol=0.01)


def test_utterances_follow_each_other_in_their_order(session: Session, clock: VirtualClock) -> None:
    run(session, clock, 5)
    names = [session.speak(tone(0.5, 16_000), 16_000) for _ in range(3)]
    items = run(session, clock, 80)
    events = [(event.name, event.utterance) for item in items for event in item.events]
    assert events == [(kind, name) for name in names for kind in ("speech.start", "speech.end")]
    assert sum(item.state == "speech" for item in items) == 3 * 13
    no_jump(items)


def test_speech_that_comes_slowly_has_pauses_and_loses_nothing(session: Session, clock: VirtualClock) -> None:
    parts = [tone(0.4, 48_000, level) for level in (0.1, 0.2, 0.3)]
    items = run(session, clock, 10)
    for place, part in enumerate(parts):
        session.speak(part, 48_000, "slow", is_last=place == 2)
        items += run(session, clock, 30)
    spoken = heard([item for item in items if item.state == "speech"])
    np.testing.assert_array_equal(spoken, np.concatenate(parts))
    events = [event.name for item in items for event in item.events]
    assert events == ["speech.start", "speech.end"]
    no_jump(items)


def test_an_interruption_is_heard_with_the_next_item(session: Session, clock: VirtualClock) -> None:
    items = run(session, clock, 10)
    name = session.speak(tone(5, 16_000), 16_000)
    items += run(session, clock, 30)
    assert items[-1].state == "speech"
    assert session.interrupt() == 1
    after = run(session, clock, 40)
    assert [item.generation for item in after] == [1] * 40
    assert not heard(after).any()
    assert all(item.state == "idle" for item in after)
    assert [(event.name, event.utterance) for event in after[0].events] == [("speech.end", name)]
    no_jump(items + after)
    # Pieces of it that are still on their way are dropped.
    session.speak(tone(1, 16_000), 16_000, name)
    assert not heard(run(session, clock, 40)).any()
    # The next one is spoken.
    session.speak(tone(1, 16_000), 16_000)
    assert sum(item.state == "speech" for item in run(session, clock, 40)) == 25


def test_many_interruptions_at_any_moment_leave_no_jump(session: Session, clock: VirtualClock) -> None:
    rng = np.random.default_rng(3)
    items: list[Item] = []
    for _ in range(60):
        if rng.random() < 0.7:
            session.speak(tone(rng.uniform(0.05, 2), 16_000), 16_000)
        items += run(session, clock, int(rng.integers(1, 30)))
        if rng.random() < 0.5:
            session.interrupt()
    no_jump(items)
    assert not any(item.is_repeat for item in items)
    open_utterance = None
    for event in itertools.chain.from_iterable(item.events for item in items):
        assert (event.name == "speech.start") == (open_utterance is None)
        assert open_utterance in (None, event.utterance)
        open_utterance = event.utterance if event.name == "speech.start" else None


def test_what_is_not_made_in_time_is_repeated_while_the_sound_goes_on(session: Session, clock: VirtualClock) -> None:
    run(session, clock, 10)
    speech = tone(2, 48_000)
    session.speak(speech, 48_000)
    items = run(session, clock, 10)
    origin = session.origin
    for _ in range(5):
        # Nobody makes anything.
        clock.sleep_until(session.next_due)
        items.append(session.take())
    late = items[-5:]
    assert [item.is_repeat for item in late][-2:] == [True, True]
    items += run(session, clock, 60)
    np.testing.assert_array_equal(heard([item for item in items if item.state == "speech"]), speech)
    assert session.origin == origin
    # Where pictures are their own again, they belong to their sound again.
    own = [item for item in items[20:55] if item.state == "speech" and not item.is_repeat]
    assert len(own) > 20
    np.testing.assert_allclose(
        [picture_of(item).loudness for item in own], [np.sqrt(np.mean(item.sound**2)) for item in own], atol=0.02
    )


def test_who_comes_back_after_a_while_gets_the_present(session: Session, clock: VirtualClock) -> None:
    run(session, clock, 10)
    origin = session.origin
    clock.sleep_until(clock.now() + 30)
    item = session.take()
    assert session.origin == origin
    assert item.index == pytest.approx((clock.now() - origin) / FRAME_SECONDS, abs=1)
    assert session.stats()["skipped"] > 700


def test_what_nobody_takes_is_not_made(session: Session, face: FlatFace, clock: VirtualClock) -> None:
    run(session, clock, 50)
    session.speak(tone(300, 16_000), 16_000)
    for _ in range(120):
        clock.sleep_until(clock.now() + 1)
        make_all(session, clock)
    # A piece of motion or two, and no more for every second that passes.
    assert session.stats()["sound"] < 100
    calls = face.performances[0].calls
    items = run(session, clock, 7600)
    assert face.performances[0].calls > calls
    # All of it is spoken when somebody is back.
    assert sum(float(np.abs(item.sound).max()) > 0.2 for item in items) == pytest.approx(300 * 25, abs=2)


def test_long_speech_is_taken_in_pieces_that_keep_nobody_waiting(session: Session, clock: VirtualClock) -> None:
    longest = 0

    class Watched:
        """The session's lock; sees how much sound came while it was held."""

        def __init__(self, lock: Any) -> None:
            self.lock, self.before = lock, 0.0

        def __enter__(self) -> None:
            self.lock.acquire()
            self.before = session._feed.waiting_seconds

        def __exit__(self, *_: object) -> None:
            nonlocal longest
            longest = max(longest, session._feed.waiting_seconds - self.before)
            self.lock.release()

    session._lock = Watched(session._lock)  # type: ignore[assignment]
    speech = tone(60, 44_100)
    session.speak(speech, 44_100)
    assert 0 < longest < 1.5
    sound = heard(run(session, clock, 1600))
    # Nothing is lost between them: the tone has no step.
    assert np.abs(np.diff(sound[48_000:-48_000])).max() < 0.02
    assert len(np.flatnonzero(np.abs(sound) > 0.01)) > 0.9 * 60 * 48_000


def test_a_live_source_that_comes_too_fast_is_not_kept(session: Session, clock: VirtualClock) -> None:
    run(session, clock, 5)
    for _ in range(100):
        session.hear(tone(4, 8_000), 8_000)
    make_all(session, clock)
    assert session.stats()["sound"] < 250


def test_a_live_source_is_shown_soon_and_in_time(session: Session, clock: VirtualClock) -> None:
    run(session, clock, 30)
    speech = tone(4, 16_000)
    spoken_at, shown_at = None, None
    items: list[Item] = []
    for start in range(0, len(speech), 320):
        session.hear(speech[start : start + 320], 16_000)
        spoken_at = clock.now() if spoken_at is None else spoken_at
        make_all(session, clock)
        until = clock.now() + 0.02
        while session.next_due <= until:
            items += run(session, clock, 1)
            if shown_at is None and items[-1].sound.any():
                shown_at = clock.now()
        clock.sleep_until(until)
    assert spoken_at is not None and shown_at is not None
    assert shown_at - spoken_at < 0.32
    loud = [item for item in items if np.abs(item.sound).max() > 0.2]
    assert len(loud) > 85
    assert not any(item.is_repeat for item in items)
    assert all(item.state == "speech" for item in loud)
    # Its sound has no gap.
    sound = heard(loud[1:-1])
    assert np.abs(np.diff(sound)).max() < 0.02
    no_jump(items)


def test_a_live_source_that_stops_leaves_an_idle_face(session: Session, clock: VirtualClock) -> None:
    session.hear(tone(0.5, 16_000), 16_000)
    run(session, clock, 60)
    items = run(session, clock, 60)
    assert all(item.state == "idle" and not item.sound.any() and not item.is_repeat for item in items)
    no_jump(items)


def test_a_live_source_that_nobody_looks_at_is_not_kept(session: Session, clock: VirtualClock) -> None:
    for _ in range(500):
        session.hear(tone(0.1, 16_000), 16_000)
        make_all(session, clock)
    assert session.stats()["sound"] < 100


def test_a_sentence_comes_before_a_live_source(session: Session, clock: VirtualClock) -> None:
    items = run(session, clock, 5)
    for _ in range(25):
        session.hear(tone(0.04, 16_000, 0.1), 16_000)
        items += run(session, clock, 1)
    speech = tone(1, 48_000)
    session.speak(speech, 48_000)
    spoken: list[Item] = []
    for _ in range(60):
        session.hear(tone(0.04, 16_000, 0.1), 16_000)
        spoken += run(session, clock, 1)
    sound = heard(spoken)
    start = int(np.argmax(np.abs(sound) > 0.2)) // ITEM_SAMPLES * ITEM_SAMPLES
    np.testing.assert_array_equal(sound[start : start + len(speech)], speech)


LONG = pytest.mark.skipif("GENEFACE_LONG" not in os.environ, reason="takes a minute or two: GENEFACE_LONG=1 runs it")


@pytest.mark.parametrize("hours", [0.2, pytest.param(8, marks=LONG)])
def test_neither_sound_nor_picture_drifts(session: Session, clock: VirtualClock, hours: float) -> None:
    """An hour has 90 000 items. Sound and picture of each are one thing, so it is the clock that could drift."""
    run(session, clock, 1)
    origin, rng, taken = session.origin, np.random.default_rng(1), 1
    for _ in range(round(hours * 10)):
        session.speak(tone(rng.uniform(1, 60), 16_000), 16_000)
        items = run(session, clock, 9_000)
        assert items[0].index == taken
        taken += 9_000
        assert items[-1].index == taken - 1
        assert not any(item.is_repeat for item in items)
        spoken = [item for item in items if item.state == "speech"]
        shown = [picture_of(item).loudness for item in spoken]
        np.testing.assert_allclose(shown, [np.sqrt(np.mean(item.sound**2)) for item in spoken], atol=0.02)
    assert session.origin == origin
    assert session.next_due == pytest.approx(origin + taken * FRAME_SECONDS, abs=1e-6)


def test_background_changes_from_a_next_picture_on(session: Session, clock: VirtualClock) -> None:
    run(session, clock, 5)
    session.set_background("#00b140")
    shown = [picture_of(item).background for item in run(session, clock, 5)]
    assert shown[-1] == "#00b140"


@pytest.mark.parametrize(
    ("samples", "rate_hz"),
    [
        (np.zeros((10, 2)), 16_000),
        (np.full(10, np.nan), 16_000),
        (np.full(10, 100.0), 16_000),
        (np.zeros(10), 7),
        (np.zeros(10), True),
        ("sound", 16_000),
    ],
)
def test_what_is_no_sound_is_refused(session: Session, samples: object, rate_hz: int) -> None:
    for give in (session.hear, session.speak):
        with pytest.raises(InputError):
            give(samples, rate_hz)  # type: ignore[arg-type]


def test_more_speech_than_can_wait_is_refused(session: Session) -> None:
    session.speak(np.zeros(16_000 * 600, np.float32), 16_000)
    with pytest.raises(InputError, match="would wait"):
        session.speak(np.zeros(16_000 * 100, np.float32), 16_000)


def test_sound_after_the_end_of_an_utterance_is_refused(session: Session) -> None:
    name = session.speak(np.zeros(160, np.float32), 16_000)
    with pytest.raises(InputError, match="has ended"):
        session.speak(np.zeros(160, np.float32), 16_000, name)


def test_a_closed_session_ends_its_takers(session: Session) -> None:
    async def take() -> int:
        count = 0
        async for _ in session.items():
            count += 1
            if count == 3:
                session.close()
        return count

    assert asyncio.run(take()) == 3
    with pytest.raises(RuntimeError, match="closed"):
        session.take()
