"""Which frames of a portrait become the body loop: calm head, little-moving mouth, and ends at which the path can turn.

One run of training frames if any is long enough; of many short ones (clips) those that are joined by jumps that do not
show (`ways`), if together they are longer than the longest alone. Everything is judged by tracks and crops, which are
at hand; what lies outside the crop is looked at when the pictures are read (`build`).

Symbols: F frames of the portrait, C candidates, P frames of the loop.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.poses import training_runs
from geneface.geometry.landmarks import lip_opening
from geneface.portrait.portrait import Portrait
from geneface.render.planes import LUMA
from geneface.training.body.ways import (
    Look,
    face_pixels,
    find_jumps,
    look_at,
    picture_cells,
    turn_costs,
)
from geneface.types import VIDEO_RATE_HZ, FloatArray, MotionTrack

SHORTEST_FRAMES = VIDEO_RATE_HZ
"""Runs that are no longer take no part."""
_CANDIDATES = 8
"""So many times the wanted length is looked at."""
_LEAST_SHARE = 0.8
"""A window may be so much shorter than wanted, for better ends."""
_END_WEIGHT = 0.5
"""How much the ends count against the calm of what is between them."""


def choose_frames(portrait: Portrait, frames: int) -> NDArray[np.intp]:
    """[P] numbers of at most `frames` frames, rising: one window, or several whole runs. Empty: there are none.

    Held-out frames, and those that are not clear, are never among them.
    """
    usable = ~portrait.heldout & portrait.clear
    runs = [run for run in training_runs(portrait.segment, usable) if run.stop - run.start > SHORTEST_FRAMES]
    restless = restlessness(portrait)
    runs = _one_size(portrait, runs)
    if not runs:
        return np.zeros(0, np.intp)
    candidates = _candidates(runs, restless, frames)
    chosen = np.concatenate([np.arange(run.start, run.stop) for run in candidates])
    number = np.repeat(np.arange(len(candidates), dtype=np.int32), [run.stop - run.start for run in candidates])
    look = _look(portrait, chosen, number)
    window = _best_window(look, restless[chosen], frames)
    if len(window) < _LEAST_SHARE * frames and len(candidates) > 1:
        joined = _joined(look, restless[chosen], frames)
        window = joined if len(joined) > len(window) else window
    return chosen[window]


def restlessness(portrait: Portrait) -> FloatArray:
    """[F] how much head and mouth move around each frame, and how far the mouth is open: 1 each in the median."""
    camera = portrait.camera
    places = face_pixels(MotionTrack(portrait.landmarks, portrait.pose), camera)
    opening = lip_opening(portrait.landmarks)
    same = np.concatenate([[False], portrait.segment[1:] == portrait.segment[:-1]])
    moved = np.where(same, np.linalg.norm(np.diff(places, axis=0, prepend=places[:1]), axis=-1).mean(-1), 0)
    spoken = np.where(same, np.abs(np.diff(opening, prepend=opening[:1])), 0)
    scaled = [values / max(float(np.median(values)), 1e-6) for values in (moved, opening, spoken)]
    return np.sum(scaled, axis=0).astype(np.float32)


def _one_size(portrait: Portrait, runs: list[slice]) -> list[slice]:
    """The runs whose source pictures and crop are those of most frames: one loop is one video."""
    kinds: dict[tuple[float, ...], list[slice]] = {}
    for run in runs:
        source = portrait.source(int(portrait.segment[run.start]))
        if source is not None:
            kinds.setdefault((source.width, source.height, *source.crop), []).append(run)
    return max(kinds.values(), key=lambda some: sum(run.stop - run.start for run in some), default=[])


def _candidates(runs: list[slice], restless: FloatArray, frames: int) -> list[slice]:
    """The longest run, and the calmest of the others, in order: as many frames as are looked at."""
    longest = max(runs, key=lambda run: run.stop - run.start)
    chosen, total = [longest], longest.stop - longest.start
    for run in sorted(runs, key=lambda run: float(restless[run].mean())):
        if run is not longest and total < _CANDIDATES * frames:
            chosen.append(run)
            total += run.stop - run.start
    return sorted(chosen, key=lambda run: run.start)


def _look(portrait: Portrait, chosen: NDArray[np.intp], number: NDArray[np.int32]) -> Look:
    size = portrait.size
    cells = np.stack([picture_cells(portrait.frame(int(index))[0] @ LUMA, size) for index in chosen])
    portrait.release_pictures()
    track = MotionTrack(portrait.landmarks, portrait.pose)[chosen]
    return look_at(cells, face_pixels(track, portrait.camera), (0, 0, size), (size, size), number)


def _best_window(look: Look, restless: FloatArray, frames: int) -> NDArray[np.intp]:
    """The calmest window of a run with good ends; of runs that are shorter than wanted, the longest."""
    costs = turn_costs(look) / look.limit
    edges = [0, *(np.flatnonzero(np.diff(look.run)) + 1).tolist(), len(look.run)]
    longest = max(stop - start for start, stop in pairwise(edges))
    length = min(frames, longest)
    total = np.concatenate([[0], np.cumsum(restless, dtype=np.float64)])
    best, window = np.inf, np.zeros(0, np.intp)
    for start, stop in pairwise(edges):
        if stop - start < length:
            continue
        for first in range(start, stop - round(_LEAST_SHARE * length) + 1):
            lasts = np.arange(first + round(_LEAST_SHARE * length), min(first + length, stop) + 1)
            calm = (total[lasts] - total[first]) / (lasts - first)
            # An end that turns well is as good as any other that does.
            ends = np.maximum(costs[lasts - 2], 0.5) + np.maximum(costs[first], 0.5)
            score = calm / 3 + _END_WEIGHT * ends - 2 * (lasts - first) / length
            at = int(score.argmin())
            if score[at] < best:
                best, window = float(score[at]), np.arange(first, int(lasts[at]))
    return window


def _joined(look: Look, restless: FloatArray, frames: int) -> NDArray[np.intp]:
    """Whole runs that jumps join, from the calmest that has any on, as many as fit."""
    jumps = look.run[find_jumps(look)]
    runs = np.unique(look.run)
    length = np.bincount(look.run)
    calm = {int(run): float(restless[look.run == run].mean()) for run in runs}
    near = {int(run): {int(x) for pair in jumps if run in pair for x in pair} - {int(run)} for run in runs}
    best: list[int] = []
    for first in sorted(runs.tolist(), key=calm.__getitem__):
        chosen, front = [first], set(near[first])
        while front:
            nearest = min(front, key=lambda run: (calm[run], run))
            front.discard(nearest)
            if sum(length[run] for run in chosen) + length[nearest] <= frames:
                chosen.append(nearest)
                front |= near[nearest] - set(chosen)
        if sum(length[run] for run in chosen) > sum(length[run] for run in best):
            best = chosen
    return np.flatnonzero(np.isin(look.run, best))
