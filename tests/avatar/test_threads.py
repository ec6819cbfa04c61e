"""One avatar for many: threads, streams in turn, processes. Each gives what it gives alone, to the bit."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geneface.avatar.ahead import ahead
from geneface.avatar.avatar import Avatar
from geneface.avatar.performance import Performance
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.types import Waveform

SIZES = (64, 96, 128)


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return Avatar.load("grid-s1")


@pytest.fixture(scope="module")
def sounds() -> list[Waveform]:
    """A second each, all different."""
    samples = read_audio(asset_path("speech", "demo.flac")).samples
    return [Waveform(samples[start : start + 16_000]) for start in range(16_000, 16_000 * 4, 16_000)]


@pytest.fixture(scope="module")
def alone(sounds: list[Waveform]) -> list[list[np.ndarray]]:
    """Each sound at its size, from an avatar of its own."""
    return [list(Avatar.load("grid-s1").stream(sound, size=size)) for sound, size in zip(sounds, SIZES, strict=True)]


def is_same(frames: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return len(frames) == len(expected) and all(map(np.array_equal, frames, expected))


@pytest.mark.slow
def test_threads_get_the_frames_that_each_gets_alone(avatar: Avatar, sounds: list[Waveform], alone: list) -> None:
    together = threading.Barrier(2 * len(SIZES))

    def frames(number: int) -> list[np.ndarray]:
        together.wait()
        return list(avatar.stream(sounds[number], size=SIZES[number]))

    numbers = [*range(len(SIZES))] * 2
    with ThreadPoolExecutor(len(numbers)) as pool:
        results = list(pool.map(frames, numbers))
    assert all(is_same(result, alone[number]) for number, result in zip(numbers, results, strict=True))


@pytest.mark.slow
def test_streams_of_all_sizes_in_turn_in_one_thread(avatar: Avatar, sounds: list[Waveform], alone: list) -> None:
    streams = [avatar.stream(sound, size=size) for sound, size in zip(sounds, SIZES, strict=True)]
    frames = list(zip(*streams, strict=True))
    assert all(is_same(list(one), expected) for one, expected in zip(zip(*frames, strict=True), alone, strict=True))


def test_a_stream_may_go_from_thread_to_thread_and_be_closed_in_any(
    avatar: Avatar, sounds: list[Waveform], alone: list
) -> None:
    stream = avatar.stream(sounds[0], size=SIZES[0])
    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as other:
        frames = [by.submit(next, stream).result() for by in (pool, other) * 3]
        other.submit(stream.close).result()
    assert is_same(frames, alone[0][: len(frames)])
    assert "ahead" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.slow
def test_live_sound_from_many_threads_is_heard_once(avatar: Avatar, sounds: list[Waveform]) -> None:
    """All pieces are equal, so that the order of the threads does not matter."""
    piece, count = sounds[0].samples[:1600], 16
    live = avatar.live()
    expected = [live.push(piece) for _ in range(count)] + [live.finish()]
    live = avatar.live()
    with ThreadPoolExecutor(4) as pool:
        tracks = [*pool.map(lambda _: live.push(piece), range(count)), live.finish()]
    by_time = sorted(point.tobytes() for track in tracks for point in track.points)
    assert by_time == sorted(point.tobytes() for track in expected for point in track.points)


@pytest.mark.slow
def test_a_copy_and_an_avatar_from_another_process_are_the_same(
    avatar: Avatar, sounds: list[Waveform], alone: list
) -> None:
    for again in (pickle.loads(pickle.dumps(avatar)), copy.deepcopy(avatar)):
        assert is_same(list(again.stream(sounds[0], size=SIZES[0])), alone[0])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        motion = pool.apply(Avatar.motion, (avatar, sounds[1], Performance(seed=3)))
    np.testing.assert_array_equal(motion.points, avatar.motion(sounds[1], Performance(seed=3)).points)


def test_without_its_adaptation_it_speaks_alike_wherever_it_arrives(avatar: Avatar, sounds: list[Waveform]) -> None:
    generic = avatar.unadapted()
    assert generic is not None and generic.unadapted() is None
    expected = generic.motion(sounds[0]).points
    assert np.abs(expected - avatar.motion(sounds[0]).points).max() > 1e-3, "the adaptation says something"
    again = pickle.loads(pickle.dumps(generic))
    np.testing.assert_array_equal(again.motion(sounds[0]).points, expected)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forks_child_draws_but_leaves_its_parents_streams() -> None:
    """In a process of its own, where nothing but the avatar has threads."""
    program = """
import os, sys
import numpy as np
from geneface.avatar.ahead import ahead
from geneface.avatar.avatar import Avatar
from geneface.types import Waveform
avatar = Avatar.load("grid-s1")
sound = Waveform(np.random.default_rng(0).normal(0, 0.1, 16_000))
expected = list(avatar.stream(sound, size=64))
begun = avatar.stream(sound, size=64)
next(begun)
items = ahead((number for number in range(9)), 1)
next(items)
child = os.fork()
if not child:
    same = all(map(np.array_equal, avatar.stream(sound, size=64), expected))
    try:
        next(items)
    except RuntimeError as error:
        os._exit(0 if same and "parent process" in str(error) else 3)
    os._exit(4)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert all(map(np.array_equal, begun, expected[1:])) and list(items) == [*range(1, 9)]
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_stream_that_is_left_open_does_not_hold_up_the_end() -> None:
    program = """
import numpy as np
from geneface.avatar.avatar import Avatar
from geneface.types import Waveform
stream = Avatar.load("grid-s1").stream(Waveform(np.full(16_000 * 60, 0.1)), size=64)
next(stream)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fault_while_the_thread_cleans_up_is_told() -> None:
    def items():
        try:
            yield 1
            yield 2
        finally:
            raise ValueError("cannot be closed")

    with pytest.raises(ValueError, match="cannot be closed"):
        list(ahead(items(), 1))
    begun = ahead(items(), 1)
    next(begun)
    begun.close()
