"""How loud the speech is, frame by frame: what head, brows and blinks follow. F frames at 25 Hz.

People move head and brows more while they speak than in pauses, most a little before what is stressed, and nod with
their phrases (Graf et al. 2002, Munhall et al. 2004). All of it is made from loudness alone, which is as sure in noise
and in any language; the height of brows follows neither loudness nor pitch with the same sign from one recording to
the next. Only what live speech has heard is looked at, so that recorded and live speech move alike.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.idle import frame_energy_db
from geneface.signal.sound import speech_gain
from geneface.types import FloatArray

LOOK_FRAMES = 4
"""Frames after a frame whose sound is known when it is made: live speech hears 172 ms ahead."""
PAUSE = 0.2
"""Loudness below which nothing is said: 19 dB under the mean level of the speech."""
_QUIET_DB, _LOUD_DB = -45.0, -15.0
"""Levels of loudness 0 and 1, of speech at `signal.sound.LEVEL_DB`."""
_FAST, _SLOW = 2.0, 12.0
"""Time constants, frames: of a stressed word, of a phrase."""
_FAST_POLES, _SLOW_POLES = 3, 2
STATES = _FAST_POLES + _SLOW_POLES
_KEPT = np.exp(-1 / np.repeat([_FAST, _SLOW], [_FAST_POLES, _SLOW_POLES])).tolist()


def loudness(samples: FloatArray, gain: float = 1.0) -> FloatArray:
    """Sound [T] that a gain brings to the reference level -> [ceil(T / 640)], 0 in silence, 1 in a loud vowel."""
    # The gain in dB, because a copy of an hour of sound would not stay small.
    level = frame_energy_db(samples) + np.float32(20 * np.log10(gain))
    return np.clip((level - _QUIET_DB) / (_LOUD_DB - _QUIET_DB), 0, 1).astype(np.float32)


def loudness_of(samples: FloatArray) -> FloatArray:
    """The same of a recording [T] at any level."""
    return loudness(samples, speech_gain(samples))


def heard_windows(loud: FloatArray, frames: int, look: int = LOOK_FRAMES) -> FloatArray:
    """What is known when each frame is made: its own loudness and that of the next. [*] -> [frames, look + 1].

    After the sound there is silence.
    """
    padded = np.zeros(frames + look + 1, np.float32)
    padded[: len(loud)] = loud[: len(padded)]
    return np.lib.stride_tricks.sliding_window_view(padded, look + 1)[:frames]


def followed(drive: FloatArray, state: NDArray[np.float64]) -> NDArray[np.float64]:
    """Low-pass filters in a row, each of one pole, for word and for phrase: continuous whatever the sound does.

    Args:
        drive: [F] loudness.
        state: [STATES] after the frame before; zeros at rest.

    Returns:
        [F, STATES] after each frame. `stress_of` takes what counts.
    """
    states = np.empty((len(drive), STATES))
    values = state.tolist()
    for frame, loud in enumerate(drive.tolist()):
        given = loud
        for pole, kept in enumerate(_KEPT):
            given = loud if pole == _FAST_POLES else given
            given = values[pole] = kept * values[pole] + (1 - kept) * given
        states[frame] = values
    return states


def stress_of(states: NDArray[np.float64]) -> FloatArray:
    """[F, STATES] -> [F, 2] stress of the word and of the phrase, 0 to 1."""
    return np.asarray(states[:, [_FAST_POLES - 1, STATES - 1]], np.float32)


def stress_of_recording(loud: FloatArray) -> FloatArray:
    """Loudness of each frame of a recording [F] -> stress [F, 2], as it would be while it is spoken."""
    windows = heard_windows(loud, len(loud))
    return stress_of(followed(windows[:, -1], np.zeros(STATES)))


PAUSE_PACE, STRESS_PACE = 0.6, 1.5
"""How fast the recorded movement of head and brows is played in a pause, and under the strongest stress."""
_PHRASE = 0.15
"""Stress of the phrase above which silence is the end of one."""
_NODDING = [0, 4, 5]
"""Of a pose: rotation about the axis through the ears, height and distance."""
_FOLDS, _BLOCK_FRAMES = 5, 50
_LEAST_SKILL = 0.05
"""Share of the pitch's variance that must be foretold of blocks that were left out."""
_LARGEST_NOD = 0.2
"""Radians, under the strongest stress."""
_RIDGE = 0.3
"""Weight of no movement at all, in variances of stress."""
_COLUMNS = STATES + 2
"""What is kept of a frame: the filters, its place on the path, whether it was a pause."""


@dataclass(frozen=True)
class Acting:
    """What speech asks of head, brows and lids, in F frames."""

    stress: FloatArray
    """[F, 2] of the word and of the phrase."""
    times: NDArray[np.float64]
    """[F] where the recorded movement is, in frames of its path."""
    pauses: NDArray[np.bool_]
    """[F] nothing is said now or in the next frames."""
    ends: NDArray[np.bool_]
    """[F] the first frame of a pause after a phrase."""


class Follower:
    """Follows the loudness of speech as it is spoken. Pieces of any lengths give the same."""

    def __init__(self, start: float, pace: float = 1.0, kept: int = 0) -> None:
        """`start`: the first place on the path; `kept`: so many of the last frames can be taken back."""
        self._pace = pace
        # Pages that were never written take no memory.
        self._ring = np.empty((kept + 1, _COLUMNS))
        self._ring[0] = [0.0] * STATES + [start, 1.0]
        self._count = 0

    def follow(self, heard: FloatArray) -> Acting:
        """[F, look + 1] loudness of the next frames, each with those after it (`heard_windows`)."""
        before = self._ring[self._count % len(self._ring)]
        states = followed(heard[:, -1], before[:STATES])
        stress = stress_of(states)
        paces = self._pace * (PAUSE_PACE + (STRESS_PACE - PAUSE_PACE) * stress[:, 0])
        # From one frame to the next, in this order: a piece's sum has the bits of the whole's.
        times = np.cumsum(np.concatenate([before[STATES : STATES + 1], paces.astype(np.float64)]))[1:]
        pauses = heard.max(axis=1, initial=0.0) < PAUSE
        ends = pauses & ~np.concatenate([[before[-1] > 0], pauses[:-1]]) & (stress[:, 1] > _PHRASE)
        self._keep(np.concatenate([states, times[:, None], pauses[:, None]], axis=1))
        return Acting(stress, times, pauses, ends)

    def step_back(self, frames: int) -> None:
        """The last `frames`, at most as many as are kept, were never seen."""
        self._count -= frames

    def _keep(self, rows: NDArray[np.float64]) -> None:
        self._count += len(rows)
        last = rows[-len(self._ring) :]
        self._ring[np.arange(self._count - len(last) + 1, self._count + 1) % len(self._ring)] = last


def fit_nod(pose: FloatArray, word: FloatArray, runs: list[slice]) -> FloatArray:
    """How a person's head nods with stress: ridge regression of its pitch, and of the place that goes with it.

    Other turns of the head follow whom they look at, and the slow stress of the phrase did not hold in other blocks.
    Kept only if blocks of time that it was not fitted to follow it.

    Args:
        pose: [F, 6] rotation and translation, smooth.
        word: [F] stress of the word.
        runs: stretches of training frames.

    Returns:
        [6] pose per stress; zeros where nothing is to be had.
    """
    blocks = _blocks(runs)
    nod = np.zeros(6, np.float32)
    if len(blocks) < _FOLDS:
        return nod
    errors, spread = 0.0, 0.0
    for left in range(_FOLDS):
        weights = _ridge(pose, word, [block for number, block in enumerate(blocks) if number % _FOLDS != left])
        for block in blocks[left::_FOLDS]:
            truth = _centred(pose[block, 0])
            errors += float(np.square(truth - weights[0] * _centred(word[block])).sum())
            spread += float(np.square(truth).sum())
    if errors > (1 - _LEAST_SKILL) * spread:
        return nod
    nod[_NODDING] = _ridge(pose, word, blocks)[_NODDING]
    return nod * np.float32(min(1.0, _LARGEST_NOD / max(abs(float(nod[0])), 1e-9)))


def _blocks(runs: list[slice]) -> list[slice]:
    """The runs in blocks of about 2 s."""
    blocks = []
    for run in runs:
        count = max((run.stop - run.start) // _BLOCK_FRAMES, 1)
        edges = np.linspace(run.start, run.stop, count + 1).astype(int)
        blocks += [slice(a, b) for a, b in itertools.pairwise(edges.tolist()) if b - a >= _BLOCK_FRAMES // 2]
    return blocks


def _ridge(values: FloatArray, word: FloatArray, blocks: list[slice]) -> FloatArray:
    """[F, C] on [F] -> [C]."""
    x = np.concatenate([_centred(word[block]) for block in blocks]).astype(np.float64)
    y = np.concatenate([_centred(values[block]) for block in blocks]).astype(np.float64)
    return (x @ y / ((1 + _RIDGE) * (x @ x) + 1e-9)).astype(np.float32)


def _centred(values: FloatArray) -> FloatArray:
    return values - values.mean(axis=0)
