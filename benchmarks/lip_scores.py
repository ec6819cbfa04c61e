"""Lip figures of one person's clips, finer than an evaluation's: lag, shape, closures and contact, worst second.

F frames at 25 Hz, K named landmarks, all in face widths. A clip is scored alone and clips are averaged, as in
`evaluation.metrics.lips`; closures and contacts are pooled. Levels of closed and open lips are the person's own, from
all frames that are known, so that a few held-out seconds are judged as the rest is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.articulation import (
    OpeningLevels,
    clearly_open,
    closes,
    closures,
    opening_levels,
    silence_motion_ratio,
)
from geneface.evaluation.metrics.lips import (
    LipClip,
    averaged_correlation,
    correlation,
    lagged_correlations,
    lip_landmark_distance,
)
from geneface.geometry.landmarks import (
    MESH_CHIN,
    MESH_NOSE_BASE,
    lip_opening,
    lip_protrusion,
    lip_width,
    positions,
)
from geneface.io.words import Words
from geneface.signal.spans import true_spans
from geneface.types import VIDEO_RATE_HZ, FloatArray

_NOSE, _CHIN = positions((MESH_NOSE_BASE, MESH_CHIN))
NEAR_FRAMES = 1
"""A closure is in time when its middle is so near to that of the truth's; a sound has its contact so near to it."""
_WORST_FRAMES = VIDEO_RATE_HZ
_SHORTEST = 12
"""Frames of a clip that a correlation is taken over: over fewer it is chance."""


@dataclass(frozen=True)
class ScoredClip:
    """What is known of some consecutive frames, and what was predicted for them."""

    name: str
    truth: FloatArray
    """[F, K, 3]."""
    predicted: FloatArray
    """[F, K, 3]."""
    speech: NDArray[np.bool_]
    """[F] frames from the first word or sound to the last."""
    words: Words | None = None
    samples: FloatArray | None = None
    """[T] at 16 kHz."""
    first_frame: int = 0
    """Where in the recording it begins."""


def jaw_drop(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Height of the nose's base over the chin. [..., K, 3] -> [...], same unit."""
    return points[..., _NOSE, 1] - points[..., _CHIN, 1]


CURVES: dict[str, Callable[[NDArray[np.floating]], NDArray[np.floating]]] = {
    "opening": lip_opening,
    "width": lip_width,
    "protrusion": lip_protrusion,
    "jaw": jaw_drop,
}


def lip_scores(clips: Sequence[ScoredClip], levels: OpeningLevels | None) -> dict[str, float]:
    """All figures of some clips of one person; what can't be told is left out.

    Args:
        levels: closed and open lips of the person (`person_levels`).
    """
    clips = [clip for clip in clips if len(clip.truth) >= _SHORTEST]
    if not clips:
        return {}
    scores = _followed(clips) | _distances(clips)
    if levels is not None:
        scores |= _closing(clips, levels) | _contacts(clips, levels)
    return {key: value for key, value in scores.items() if np.isfinite(value)}


def person_levels(truths: Sequence[FloatArray]) -> OpeningLevels | None:
    """Levels of closed and open lips over all that is known of a person, each [F, K, 3]."""
    return opening_levels([lip_opening(truth) for truth in truths])


def _followed(clips: Sequence[ScoredClip]) -> dict[str, float]:
    """Correlations: how well the lips follow, and how late."""
    scores: dict[str, float] = {}
    for name, curve in CURVES.items():
        scores[f"{name}_r"] = _mean([correlation(curve(clip.truth), curve(clip.predicted)) for clip in clips])
    inside = [clip for clip in clips if clip.speech.sum() >= _SHORTEST]
    for name in ("opening", "width"):
        curve = CURVES[name]
        rows = [correlation(curve(clip.truth)[clip.speech], curve(clip.predicted)[clip.speech]) for clip in inside]
        scores[f"{name}_r_in_speech"] = _mean(rows)
    curves = [(lip_opening(clip.truth), lip_opening(clip.predicted)) for clip in clips]
    mean = averaged_correlation([lagged_correlations(*pair) for pair in curves])
    if np.isfinite(mean).any() and np.ptp(mean[np.isfinite(mean)]) > 0:
        scores["opening_r_best"] = float(mean.max())
        scores["best_lag"] = float(np.argmax(mean) - len(mean) // 2)
    spreads = [float(other.std() / truth.std()) for truth, other in curves if truth.std() > 0]
    scores["amplitude"] = _mean(spreads)
    scores["too_open"] = _mean([float((other - truth).mean()) for truth, other in curves])
    return scores


def _distances(clips: Sequence[ScoredClip]) -> dict[str, float]:
    """Lip landmark distance: whole, in speech and out of it, and in the worst second."""
    scores = {"lmd": _mean([lip_landmark_distance(clip.truth, clip.predicted) for clip in clips])}
    for name, wanted in (("speech", True), ("pauses", False)):
        parts = [(clip.truth[clip.speech == wanted], clip.predicted[clip.speech == wanted]) for clip in clips]
        rows = [(lip_landmark_distance(*part), len(part[0])) for part in parts if len(part[0])]
        if rows:
            scores[f"lmd_{name}"] = float(np.average([value for value, _ in rows], weights=[n for _, n in rows]))
    scores["worst_second_lmd"] = max(worst_second(clip)[0] for clip in clips)
    scores["silence_motion"] = silence_motion_ratio(
        [LipClip(clip.truth, clip.predicted, clip.samples, clip.words) for clip in clips]
    )
    return scores


def worst_second(clip: ScoredClip) -> tuple[float, int]:
    """Largest mean lip landmark distance of a second, and the frame in the recording at which that begins."""
    each = np.array([lip_landmark_distance(a[None], b[None]) for a, b in zip(clip.truth, clip.predicted, strict=True)])
    length = min(_WORST_FRAMES, len(each))
    means = np.convolve(each, np.full(length, 1 / length), "valid")
    start = int(np.argmax(means))
    return float(means[start]), clip.first_frame + start


def _closing(clips: Sequence[ScoredClip], levels: OpeningLevels) -> dict[str, float]:
    """Closures of the truth that are met, and those that are made where it is clearly open.

    `closures_met` and `closures_false` are the evaluation's figures (docs/metrics.md). `closures_timed`: made with its
    middle within `NEAR_FRAMES` of the truth's. `false_events`: share of the closures that were made in speech, not of
    frames. `_own_level`: the same with lips that count as closed by the prediction's own range, which tells timing
    from how far they close.
    """
    own = person_levels([clip.predicted for clip in clips])
    result: dict[str, float] = {}
    found = [closures(lip_opening(clip.truth), levels, clip.words) for clip in clips]
    whole = [_whole(lip_opening(clip.truth) < levels.closed, spans) for clip, spans in zip(clips, found, strict=True)]
    result["closures"] = float(sum(map(len, found)))
    for suffix, level in (("", levels.closed), ("_own_level", own.closed if own else float("nan"))):
        closed = [lip_opening(clip.predicted) < level for clip in clips]
        pairs, timed = list(zip(closed, found, strict=True)), list(zip(closed, whole, strict=True))
        result[f"closures_met{suffix}"] = _mean([closes(row, *span) for row, spans in pairs for span in spans])
        result[f"closures_timed{suffix}"] = _mean([_in_time(row, *span) for row, spans in timed for span in spans])
        is_open = [clearly_open(lip_opening(clip.truth), levels) for clip in clips]
        falsely = np.concatenate([row[frames] for row, frames in zip(closed, is_open, strict=True)])
        result[f"closures_false{suffix}"] = float(falsely.mean()) if falsely.size else float("nan")
        made = [event for clip, row in zip(clips, closed, strict=True) for event in _made(clip, row, levels)]
        result[f"false_events{suffix}"] = _mean(made)
    return result


def _whole(closed: NDArray[np.bool_], spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The runs of closed frames [F] that some spans are in: those of words reach no further than the word's start."""
    return [run for run in true_spans(closed) if any(run[0] < stop and start < run[1] for start, stop in spans)]


def _in_time(closed: NDArray[np.bool_], start: int, stop: int) -> bool:
    """Whether a run of closed frames [F] has its middle near that of [start, stop)."""
    return any(abs(begin + end - start - stop) <= 2 * NEAR_FRAMES for begin, end in true_spans(closed))


def _made(clip: ScoredClip, closed: NDArray[np.bool_], levels: OpeningLevels) -> list[bool]:
    """Of each closure [F] that was made in speech, whether the truth's lips are clearly open all around it."""
    opening = lip_opening(clip.truth)
    return [
        bool((opening[max(start - NEAR_FRAMES, 0) : stop + NEAR_FRAMES] > levels.open).all())
        for start, stop in true_spans(closed & clip.speech)
    ]


def contact_frame(start: float, end: float, word: str) -> int | None:
    """The frame near which the lower lip meets the teeth for the first sound of a word, None for other words.

    Words spelled with an initial f, v or ph; the letter f alone is spoken "ef", with the contact at its end.
    """
    spelled = word.strip("'\" ").casefold()
    if not spelled.startswith(("f", "v", "ph")):
        return None
    return int(np.floor((end if spelled == "f" else start) * VIDEO_RATE_HZ + 0.5))


def _contacts(clips: Sequence[ScoredClip], levels: OpeningLevels) -> dict[str, float]:
    """f and v: teeth are not tracked, but a lower lip that touches them leaves a narrow opening.

    `contacts_met`: share of the truth's narrow openings (not clearly open within a frame of the sound) at which the
    predicted lips are narrow, too, without being so all around. `contact_gap`: mean difference of the narrowest
    opening there, predicted less true.
    """
    met, gaps = [], []
    for clip in clips:
        truth, other = lip_opening(clip.truth), lip_opening(clip.predicted)
        for spoken in clip.words or ():
            frame = contact_frame(*spoken)
            if frame is None or not NEAR_FRAMES <= frame < len(truth) - NEAR_FRAMES:
                continue
            start, stop = frame - NEAR_FRAMES, frame + NEAR_FRAMES + 1
            if truth[start:stop].min() < levels.open:
                met.append(closes(other < levels.open, start, stop))
                gaps.append(float(other[start:stop].min() - truth[start:stop].min()))
    return {"contacts": float(len(met)), "contacts_met": _mean(met), "contact_gap": _mean(gaps)}


def _mean(values: Sequence[float]) -> float:
    finite = [float(value) for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
