"""Closed-form alignment of generic motion to one person, in numpy.

F frames, K landmarks, C coefficients of the person's own basis, D feature width, S speech regressors. Two parts,
both linear, both fitted by ridge regression:

    affine   a gain and an offset for each coefficient of the generic motion
    speech   what the affine part leaves, from the person's own speech features around the frame

and one gain for all, which gives the opening of the mouth the amplitude that regression shrinks. How much of each is
used is chosen by cross-validation inside the frames it is given; nothing else is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_COUNT, lip_opening, positions
from geneface.io.store import load_tensors, save_tensors
from geneface.motion.basis import MotionBasis, fit_basis
from geneface.motion.score import correlation
from geneface.types import FloatArray, SpeechFeatures

_TAPS = (-6, -4, -2, 0, 2)
"""Frames around the present one whose features the speech part sees: 0.24 s back, and 0.08 s ahead, as the generic
model for live speech does."""
_SPEECH_COMPONENTS = 64
_GUARD_FRAMES = 8
"""Frames between fitted and validated stretches, so that smoothness does not pass for prediction."""
_FOLDS = 4
_SHORTEST_BLOCK = 12
"""Frames of a validated block: a correlation over fewer is chance, and each block counts alike."""
_SHARES = (0.25, 0.5, 0.75, 1.0)
_PENALTIES = (3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
"""Per frame, for regressors of unit variance."""
_STIFFNESSES = (0.02, 0.5, 1e4)
"""Penalties of gains that differ between coefficients; with the last one none does."""
_GAIN_RANGE = (0.6, 3.0)
_UPPER_LIP = positions((191, 80, 81, 82, 13, 312, 311, 310, 415))
_LOWER_LIP = positions((95, 88, 178, 87, 14, 317, 402, 318, 324))
"""Inner lips, corner to corner, each point above its partner."""
_CLOSED_PERCENTILE = 1.0
_WORTHWHILE = 0.01
"""Correlation that the speech part must add to be used at all."""


@dataclass(frozen=True)
class Stretch:
    """Consecutive frames of one recording of the person, with the generic model's idea of them."""

    generic: FloatArray
    """[F, K, 3] displacement predicted by the generic model."""
    measured: FloatArray
    """[F, K, 3] displacement from the person's neutral."""
    features: FloatArray
    """[2F, D]."""

    def __len__(self) -> int:
        return len(self.measured)

    def __getitem__(self, frames: slice) -> Stretch:
        start, stop, _ = frames.indices(len(self))
        return Stretch(self.generic[start:stop], self.measured[start:stop], self.features[2 * start : 2 * stop])


@dataclass(frozen=True)
class SpeechPart:
    """Linear map from speech features to coefficients."""

    projection: FloatArray
    """[D, S / taps] principal components of the person's features, divided to unit variance."""
    mean: FloatArray
    """[D]."""
    weights: FloatArray
    """[S + 1, C]; the last row is the constant."""

    def coefficients(self, features: FloatArray) -> FloatArray:
        """[2F, D] -> [F, C]."""
        # Not "@", as in `MotionBasis`.
        design = _taps(np.einsum("fd,ds->fs", _frame_features(features, self.mean), self.projection))
        return np.asarray(np.einsum("fs,sc->fc", design, self.weights[:-1]) + self.weights[-1], np.float32)


@dataclass(frozen=True)
class Alignment:
    """Generic displacement (and speech) to the person's displacement; a `motion.runtime.PersonMotion`."""

    basis: MotionBasis
    """The person's own."""
    gain: FloatArray
    """[C]."""
    offset: FloatArray
    """[C]."""
    amplitude: float
    """About the person's mean motion."""
    share: float
    """Of the speech part: prediction = affine + share * (speech - affine)."""
    speech: SpeechPart | None
    lips: FloatArray
    """[2, 9] vertical distance of the inner lips' pairs: at rest, and the least that the person was seen with."""

    @property
    def past_frames(self) -> int:
        return -min(_TAPS) if self.speech is not None else 0

    @property
    def future_frames(self) -> int:
        return max(_TAPS) if self.speech is not None else 0

    def coefficients(self, displacement: FloatArray, features: SpeechFeatures | None = None) -> FloatArray:
        """[F, K, 3] and [2F, D] -> [F, C] in the person's basis. Without features the affine part works alone."""
        generic = self.basis.coefficients(displacement) * self.gain + self.offset
        if self.speech is not None and features is not None:
            generic = generic + self.share * (self.speech.coefficients(features.values) - generic)
        # Coefficients are centred on the person's mean motion, so this scales about it.
        return np.asarray(self.amplitude * generic, np.float32)

    def apply(self, displacement: FloatArray, features: SpeechFeatures | None = None) -> FloatArray:
        """[F, K, 3] generic -> [F, K, 3] displacement from the person's neutral, head units."""
        return self.displacement(self.coefficients(displacement, features))

    def displacement(self, coefficients: FloatArray) -> FloatArray:
        """[F, C] in the person's basis -> [F, K, 3]. Lips that would pass through each other meet halfway."""
        displacement = self.basis.displacement(coefficients)
        rest, least = self.lips
        gap = rest + displacement[:, _UPPER_LIP, 1] - displacement[:, _LOWER_LIP, 1]
        missing = np.maximum(least - gap, 0) / 2
        displacement[:, _UPPER_LIP, 1] += missing
        displacement[:, _LOWER_LIP, 1] -= missing
        return displacement

    def save(self, path: Path) -> None:
        tensors: dict[str, NDArray] = {
            **self.basis.tensors(),
            "gain": self.gain,
            "offset": self.offset,
            "lips": self.lips,
            "scalars": np.array([self.amplitude, self.share], np.float32),
        }
        if self.speech is not None:
            tensors |= {f"speech.{name}": getattr(self.speech, name) for name in ("projection", "mean", "weights")}
        save_tensors(path, tensors)

    @classmethod
    def load(cls, path: Path) -> Alignment:
        """Read what `save` wrote.

        Raises:
            InputError: it is missing, or its tensors don't belong together.
        """
        tensors = load_tensors(path)
        _check(tensors, path)
        speech = None
        if "speech.weights" in tensors:
            speech = SpeechPart(*(tensors[f"speech.{name}"] for name in ("projection", "mean", "weights")))
        amplitude, share = (float(value) for value in tensors["scalars"])
        basis = MotionBasis.from_tensors(tensors)
        return cls(basis, tensors["gain"], tensors["offset"], amplitude, share, speech, tensors["lips"])


def _check(tensors: dict[str, NDArray], path: Path) -> None:
    """Avatars are passed around: shapes and values are checked before they are used."""
    width = len(tensors.get("gain", ()))
    face = (KEYPOINT_COUNT, 3)
    shapes: dict[str, tuple[int, ...]] = {
        "basis.synthesis": (width, *face),
        "basis.analysis": (width, *face),
        "basis.mean": face,
        "gain": (width,),
        "offset": (width,),
        "scalars": (2,),
        "lips": (2, len(_UPPER_LIP)),
    }
    if "speech.weights" in tensors:
        regressors = len(tensors["speech.weights"]) - 1
        features = len(tensors.get("speech.mean", ()))
        shapes["speech.mean"] = (features,)
        shapes["speech.projection"] = (features, regressors // len(_TAPS))
        shapes["speech.weights"] = (regressors // len(_TAPS) * len(_TAPS) + 1, width)
    for name, shape in shapes.items():
        if name not in tensors or tensors[name].shape != shape or not np.isfinite(tensors[name]).all():
            raise InputError(f"{path} is damaged ({name})", "train the avatar again or copy it anew")


def closed_form_alignment(
    stretches: Sequence[Stretch], neutral: FloatArray, width: int = 32
) -> tuple[Alignment, dict[str, float]]:
    """Fit an alignment to a person's training frames.

    Args:
        stretches: the training frames; held-out ones must not be among them.
        neutral: [K, 3] the person's neutral face, for the opening of the lips.
        width: C at most.

    Returns:
        the alignment, and what cross-validation said: `generic`, `affine`, `aligned` (mean correlation of the lip
        opening over the validated stretches), `stiffness`, `share`, `penalty`, `amplitude`.
    """
    folds = split_folds(stretches)
    basis = fit_basis(np.concatenate([stretch.measured for stretch in stretches]), width)
    lips = _lip_limits(stretches, neutral)
    # The stiffest gain is one for all: the generic model, but for its amplitude. Others must be worth it.
    affine = {stiffness: [_fit_affine(part, basis, lips, stiffness) for part, _ in folds] for stiffness in _STIFFNESSES}
    tried = {stiffness: _validate(folds, fitted, neutral) for stiffness, fitted in affine.items()}
    stiffness = max(_STIFFNESSES, key=lambda choice: tried[choice][0])
    if tried[stiffness][0] < tried[_STIFFNESSES[-1]][0] + _WORTHWHILE:
        stiffness = _STIFFNESSES[-1]
    best, (share, penalty) = tried[stiffness], (0.0, 0.0)
    for each_penalty in _PENALTIES:
        parts = [_fit_speech(part, basis, each_penalty) for part, _ in folds]
        for each_share in _SHARES:
            both = [
                replace(fitted, share=each_share, speech=part)
                for fitted, part in zip(affine[stiffness], parts, strict=True)
            ]
            figures = _validate(folds, both, neutral)
            if figures[0] > max(best[0], tried[stiffness][0] + _WORTHWHILE):
                best, share, penalty = figures, each_share, each_penalty
    amplitude = float(np.clip(best[1], *_GAIN_RANGE))
    speech = _fit_speech(stretches, basis, penalty) if share else None
    fitted = _fit_affine(stretches, basis, lips, stiffness)
    generic = [
        correlation(lip_opening(neutral + stretch.generic), lip_opening(neutral + stretch.measured))
        for _, validation in folds
        for stretch in validation
    ]
    return replace(fitted, share=share, speech=speech, amplitude=amplitude), {
        "generic": float(np.mean(generic)),
        "affine": tried[stiffness][0],
        "aligned": best[0],
        "stiffness": stiffness,
        "share": share,
        "penalty": penalty,
        "amplitude": amplitude,
    }


def _validate(
    folds: Sequence[tuple[list[Stretch], list[Stretch]]], alignments: Sequence[Alignment], neutral: FloatArray
) -> tuple[float, float]:
    """Mean correlation of the lip opening, and the measured over the predicted deviation, on validated stretches."""
    scores, made, real = [], 0.0, 0.0
    for (_, validation), alignment in zip(folds, alignments, strict=True):
        for stretch in validation:
            measured = lip_opening(neutral + stretch.measured)
            points = neutral + alignment.apply(stretch.generic, SpeechFeatures(stretch.features, ""))
            predicted = lip_opening(points)
            scores.append(correlation(predicted, measured))
            made, real = made + float(predicted.std()), real + float(measured.std())
    return float(np.mean(scores)), real / max(made, 1e-9)


def split_folds(stretches: Sequence[Stretch], folds: int = _FOLDS) -> list[tuple[list[Stretch], list[Stretch]]]:
    """(fitted, validated) pairs. Many clips are dealt out whole; a few long ones are cut into consecutive blocks.

    Beside long stretches, those too short to be cut are always fitted and never validated.
    """
    long = [stretch for stretch in stretches if len(stretch) >= folds * _SHORTEST_BLOCK]
    if len(stretches) >= 2 * folds or (len(stretches) > 1 and not long):
        count = min(folds, len(stretches))
        return [
            (
                [stretch for index, stretch in enumerate(stretches) if index % count != fold],
                [stretch for index, stretch in enumerate(stretches) if index % count == fold],
            )
            for fold in range(count)
        ]
    short = [stretch for stretch in stretches if len(stretch) < folds * _SHORTEST_BLOCK] if long else []
    pairs = []
    for fold in range(folds):
        fitted: list[Stretch] = list(short)
        validated: list[Stretch] = []
        for stretch in long or stretches:
            first, last = fold * len(stretch) // folds, (fold + 1) * len(stretch) // folds
            # Of a single short stretch the guard must leave something to fit.
            guard = min(_GUARD_FRAMES, len(stretch) // (2 * folds))
            validated.append(stretch[first:last])
            rest = [stretch[: max(0, first - guard)], stretch[min(len(stretch), last + guard) :]]
            fitted += [part for part in rest if len(part)]
        pairs.append((fitted, validated))
    return pairs


def _lip_limits(stretches: Sequence[Stretch], neutral: FloatArray) -> FloatArray:
    """[2, 9], see `Alignment.lips`."""
    rest = neutral[_UPPER_LIP, 1] - neutral[_LOWER_LIP, 1]
    gaps = [rest + stretch.measured[:, _UPPER_LIP, 1] - stretch.measured[:, _LOWER_LIP, 1] for stretch in stretches]
    # A percentile: single frames of the tracker are wrong.
    least = np.percentile(np.concatenate(gaps), _CLOSED_PERCENTILE, axis=0)
    return np.stack([rest, least]).astype(np.float32)


def _fit_affine(stretches: Sequence[Stretch], basis: MotionBasis, lips: FloatArray, stiffness: float) -> Alignment:
    """Gain and offset per coefficient by ridge regression towards the gain all share."""
    generic = np.concatenate([basis.coefficients(stretch.generic) for stretch in stretches]).astype(np.float64)
    measured = np.concatenate([basis.coefficients(stretch.measured) for stretch in stretches]).astype(np.float64)
    middle, target = generic.mean(0), measured.mean(0)
    generic, measured = generic - middle, measured - target
    products, squares = (generic * measured).mean(0), (generic**2).mean(0)
    shared = products.sum() / max(float(squares.sum()), 1e-12)
    penalty = stiffness * squares.mean() + 1e-12
    gain = (products + penalty * shared) / (squares + penalty)
    offset = target - gain * middle
    return Alignment(basis, gain.astype(np.float32), offset.astype(np.float32), 1.0, 0.0, None, lips)


def _frame_features(features: FloatArray, mean: FloatArray) -> FloatArray:
    """[2F, D] -> [F, D], the mean of each frame's two rows, centred."""
    return features.reshape(len(features) // 2, 2, -1).mean(1) - mean


def _taps(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """[F, N] -> [F, N taps]: the rows around each frame, the first and last repeated beyond the ends."""
    index = np.clip(np.arange(len(rows))[:, None] + np.array(_TAPS), 0, len(rows) - 1)
    return rows[index].reshape(len(rows), -1)


def _fit_speech(stretches: Sequence[Stretch], basis: MotionBasis, penalty: float) -> SpeechPart:
    """Ridge regression of the coefficients on principal components of the features at `_TAPS`."""
    frames = [stretch.features.reshape(len(stretch), 2, -1).mean(1) for stretch in stretches]
    mean = np.concatenate(frames).mean(0)
    centred = np.concatenate(frames).astype(np.float64) - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    chosen = np.argsort(values)[::-1][:_SPEECH_COMPONENTS]
    projection = vectors[:, chosen] / np.sqrt(np.maximum(values[chosen], 1e-9 * values.max() + 1e-12))
    design = np.concatenate([_taps((rows - mean) @ projection) for rows in frames])
    measured = np.concatenate([basis.coefficients(stretch.measured) for stretch in stretches]).astype(np.float64)
    middle, target = design.mean(0), measured.mean(0)
    design, measured = design - middle, measured - target
    normal = design.T @ design / len(design) + penalty * np.eye(design.shape[1])
    weights = np.linalg.solve(normal, design.T @ measured / len(design))
    constant = target - middle @ weights
    # In C order, as a file gives them back: sums are taken in the order of memory.
    return SpeechPart(
        projection.astype(np.float32, order="C"),
        mean.astype(np.float32),
        np.vstack([weights, constant]).astype(np.float32, order="C"),
    )
