"""Fit an adaptation (`motion.adaptation`) to a person's own seconds, in numpy. No torch.

F frames, K landmarks, C coefficients of the person's basis, M members. Several regressions from speech to the
person's coefficients are fitted side by side, and stacked (Wolpert 1992; Breiman 1996): each predicts the blocks
that it was not fitted to, and how much of each is used is what fits those blocks best. The fewer the seconds, the
nearer the weights are held to the members' mean, which no person measured has been worse off with.
Nothing is looked at but the frames that are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from geneface.geometry.landmarks import lip_opening
from geneface.motion.adaptation import LOWER_LIP, UPPER_LIP, Adaptation, speech_windows
from geneface.motion.basis import MotionBasis, fit_basis
from geneface.motion.convnet import ConvNet
from geneface.motion.generic import GenericMotion
from geneface.motion.manifold import seen_shapes
from geneface.motion.score import correlation
from geneface.training.adaptation.convnet import ConvNetTrainConfig, network_settings, train_convnet
from geneface.types import VIDEO_RATE_HZ, FloatArray, ProgressFn, no_progress

MEMBERS = ("affine", "speech", "residual", "last", "nets")
SHORTEST_SECONDS = 4.0
"""Below it only gain and offset are fitted."""
_SHAPES_SECONDS = 10.0
"""Fewer show too few of a person's shapes to hold the motion to them."""
_GUARD_FRAMES = 8
"""Frames between fitted and validated clips, so that smoothness does not pass for prediction."""
_FOLDS = 4
_SHORTEST_BLOCK = 12
"""Frames of a validated block: a correlation over fewer is chance, and each block counts alike."""
_SPEECH_PENALTY, _LAST_PENALTY = 10.0, 1.0
"""Per frame, for regressors of unit variance."""
_PRIOR_SECONDS = 20.0
"""The mean of the members weighs as much as so many seconds of validated frames."""
_GAIN_RANGE = (0.6, 3.0)
_AFFINE_RANGE = (0.3, 3.0)
_CLOSED_PERCENTILE = 1.0
_CHANCE = 0.15
"""Lips that follow their sound no better than this have nothing to be learnt from: another's voice, or silence."""
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class PersonClip:
    """Consecutive frames of one recording of a person, and what the generic model makes of their speech."""

    generic: GenericMotion
    measured: FloatArray
    """[F, K, 3] displacement from the person's neutral."""

    def __len__(self) -> int:
        return len(self.measured)

    def __getitem__(self, frames: slice) -> PersonClip:
        return PersonClip(self.generic[frames], self.measured[frames])


@dataclass(frozen=True)
class InBasis:
    """A clip in the coefficients of the person's basis: taken once for all that is fitted to it."""

    generic: GenericMotion
    start: Float64
    """[F, C] of the generic motion."""
    target: FloatArray
    """[F, C] of the measured motion."""

    @classmethod
    def of(cls, clips: Sequence[PersonClip], basis: MotionBasis) -> list[InBasis]:
        """All of them."""
        return [
            cls(
                clip.generic,
                basis.coefficients(clip.generic.displacement).astype(np.float64),
                basis.coefficients(clip.measured),
            )
            for clip in clips
        ]


@dataclass(frozen=True)
class Linear:
    """inputs [F, S] -> inputs @ weights + constant [F, C]."""

    weights: Float64
    constant: Float64

    def __call__(self, inputs: NDArray[np.floating]) -> Float64:
        return inputs @ self.weights + self.constant


@dataclass(frozen=True)
class Members:
    """Regressions that were fitted to the same frames."""

    basis: MotionBasis
    gain: float
    offset: Float64
    speech: Linear
    """Coefficients from speech alone."""
    residual: Linear
    """What the affine part leaves, from speech."""
    last: Linear
    """The same from the generic model's hidden layer."""
    nets: tuple[ConvNet, ...]
    """The same from both."""

    def affine(self, part: InBasis) -> Float64:
        """[F, C] of gain and offset alone."""
        return self.gain * part.start + self.offset

    def predict(self, part: InBasis) -> Float64:
        """[M, F, C] in the order of `MEMBERS`."""
        generic, affine = part.generic, self.affine(part)
        inputs = generic.inputs()
        windows = speech_windows(generic.frame_features())
        net = np.mean([network(inputs) for network in self.nets], axis=0)
        residuals = (self.residual(windows), self.last(generic.hidden), net)
        return np.stack([affine, self.speech(windows), *(affine + residual for residual in residuals)])


def fit_adaptation(
    clips: Sequence[PersonClip],
    neutral: FloatArray,
    width: int = 32,
    *,
    nets: ConvNetTrainConfig | None = None,
    seed: int = 0,
    progress: ProgressFn = no_progress,
) -> tuple[Adaptation, dict[str, float]]:
    """Fit an adaptation to a person's training frames.

    Args:
        clips: the training frames; held-out ones must not be among them.
        neutral: [K, 3] the person's neutral face, for the opening of the lips.
        width: C at most.
        nets: how the networks are trained, by default as so many seconds ask for.
        seed: of the networks.

    Returns:
        the adaptation, and what cross-validation said: mean correlation of the lip opening over the validated blocks
        (`generic`, `adapted`), `amplitude`, and the weight of each member.
    """
    basis = fit_basis(np.concatenate([clip.measured for clip in clips]), width)
    whole = InBasis.of(clips, basis)
    lips = _lip_limits(clips, neutral)
    gain, offset = _fit_affine(whole)
    seconds = sum(map(len, clips)) / VIDEO_RATE_HZ
    shapes = np.concatenate([part.target for part in whole])
    seen = seen_shapes(shapes if seconds >= _SHAPES_SECONDS else shapes[:0])
    if seconds < SHORTEST_SECONDS:
        return _gain_and_offset(clips, neutral, basis, seen, lips, gain, offset)
    folds = split_folds(clips)
    # The last step, which makes one adaptation of what was fitted, takes no time.
    progress("adapt the motion", 0, len(folds))
    config = network_settings(seconds) if nets is None else nets
    fitted: list[Members] = []
    for number, (part, _) in enumerate(folds):
        fitted.append(_fit_members(InBasis.of(part, basis), basis, config, seed * len(folds) + number))
        progress("adapt the motion", number + 1, len(folds))
    blocks = [
        (clip, members.predict(part), part.target.astype(np.float64))
        for members, (_, validated) in zip(fitted, folds, strict=True)
        for clip, part in zip(validated, InBasis.of(validated, basis), strict=True)
    ]
    weights = stack([(predicted, target) for _, predicted, target in blocks])
    made = [basis.displacement(np.tensordot(weights, predicted, 1)) for _, predicted, _ in blocks]
    amplitude, adapted = _amplitude(made, [clip for clip, *_ in blocks], neutral)
    if adapted < _CHANCE:
        return _gain_and_offset(clips, neutral, basis, seen, lips, gain, offset)
    final = _fit_linear(whole, basis, (gain, offset))
    # The networks of the folds are a committee (Krogh and Vedelsby 1995): none is trained on all frames.
    committee = tuple(net for members in fitted for net in members.nets)
    adaptation = _combine(replace(final, nets=committee), weights, amplitude, seen, lips)
    return adaptation, {
        "generic": _generic_score([clip for clip, *_ in blocks], neutral),
        "adapted": adapted,
        "amplitude": amplitude,
        **{f"weight_{name}": float(weight) for name, weight in zip(MEMBERS, weights, strict=True)},
    }


def stack(blocks: Sequence[tuple[Float64, Float64]], prior_seconds: float = _PRIOR_SECONDS) -> Float64:
    """[M] weights of the members, none negative, in sum 1, whose mix comes nearest to the targets.

    The mix is also drawn to the members' mean, as by `prior_seconds` of further frames on which that is right.

    Args:
        blocks: (predicted [M, F, C], target [F, C]) of frames that the members were not fitted to.
    """
    products = np.sum([np.einsum("mfc,nfc->mn", predicted, predicted) for predicted, _ in blocks], axis=0)
    matches = np.sum([np.einsum("mfc,fc->m", predicted, target) for predicted, target in blocks], axis=0)
    count = len(matches)
    share = prior_seconds * VIDEO_RATE_HZ / sum(len(target) for _, target in blocks)
    matches = matches + share * products @ np.full(count, 1 / count)
    products = (1 + share) * products
    best, weights = np.inf, np.full(count, 1 / count)
    # The best of all subsets whose own solution has no negative weight: 31 small systems.
    for size in range(1, count + 1):
        for subset in map(list, combinations(range(count), size)):
            chosen = _solve_simplex(products[np.ix_(subset, subset)], matches[subset])
            error = float(chosen @ products[np.ix_(subset, subset)] @ chosen - 2 * chosen @ matches[subset])
            if chosen.min() >= 0 and error < best:
                best, weights = error, np.zeros(count)
                weights[subset] = chosen
    return weights


def _solve_simplex(products: Float64, matches: Float64) -> Float64:
    """Minimum of w' products w - 2 w' matches for weights of sum 1."""
    count = len(matches)
    ridge = 1e-9 * np.trace(products) * np.eye(count)
    system = np.block([[products + ridge, np.ones((count, 1))], [np.ones((1, count)), np.zeros((1, 1))]])
    return np.linalg.lstsq(system, np.append(matches, 1.0), rcond=None)[0][:count]


def split_folds(clips: Sequence[PersonClip], folds: int = _FOLDS) -> list[tuple[list[PersonClip], list[PersonClip]]]:
    """(fitted, validated) pairs. Many clips are dealt out whole; a few long ones are cut into consecutive blocks.

    Clips too short to be cut are always fitted and never validated, if there are long ones.
    """
    long = [clip for clip in clips if len(clip) >= folds * _SHORTEST_BLOCK]
    if len(clips) >= 2 * folds or (len(clips) > 1 and not long):
        count = min(folds, len(clips))
        return [
            (
                [clip for index, clip in enumerate(clips) if index % count != fold],
                [clip for index, clip in enumerate(clips) if index % count == fold],
            )
            for fold in range(count)
        ]
    short = [clip for clip in clips if len(clip) < folds * _SHORTEST_BLOCK] if long else []
    pairs = []
    for fold in range(folds):
        fitted: list[PersonClip] = list(short)
        validated: list[PersonClip] = []
        for clip in long or clips:
            first, last = fold * len(clip) // folds, (fold + 1) * len(clip) // folds
            # Of a single short clip the guard must leave something to fit.
            guard = min(_GUARD_FRAMES, len(clip) // (2 * folds))
            validated.append(clip[first:last])
            rest = [clip[: max(0, first - guard)], clip[min(len(clip), last + guard) :]]
            fitted += [part for part in rest if len(part)]
        pairs.append((fitted, validated))
    return pairs


def _fit_members(parts: Sequence[InBasis], basis: MotionBasis, config: ConvNetTrainConfig, seed: int) -> Members:
    """All members; the networks' seeds follow from `seed`."""
    members = _fit_linear(parts, basis, _fit_affine(parts))
    inputs = [part.generic.inputs() for part in parts]
    together = np.concatenate(inputs)
    mean, scale = together.mean(0), 1 / (together.std(0) + 1e-3)
    scaled = [((rows - mean) * scale).astype(np.float32) for rows in inputs]
    targets = [(part.target - members.affine(part)).astype(np.float32) for part in parts]
    nets = []
    for number in range(config.committee):
        net = train_convnet(scaled, targets, config, seed=seed * config.committee + number)
        enter = net.enter * scale.astype(np.float32)
        nets.append(replace(net, enter=enter, enter_bias=net.enter_bias - enter @ mean.astype(np.float32)))
    return replace(members, nets=tuple(nets))


def _fit_linear(parts: Sequence[InBasis], basis: MotionBasis, affine: tuple[float, Float64]) -> Members:
    """All members but the networks, given gain and offset."""
    gain, offset = affine
    nothing = Linear(np.zeros((0, 0)), np.zeros(0))
    members = Members(basis, gain, offset, nothing, nothing, nothing, ())
    target = np.concatenate([part.target for part in parts]).astype(np.float64)
    left = target - np.concatenate([members.affine(part) for part in parts])
    windows = np.concatenate([speech_windows(part.generic.frame_features()) for part in parts])
    hidden = np.concatenate([part.generic.hidden for part in parts])
    both = _ridge(windows, np.concatenate([target, left], axis=1), _SPEECH_PENALTY)
    width = target.shape[1]
    return replace(
        members,
        speech=Linear(both.weights[:, :width], both.constant[:width]),
        residual=Linear(both.weights[:, width:], both.constant[width:]),
        last=_ridge(hidden, left, _LAST_PENALTY),
    )


def _fit_affine(parts: Sequence[InBasis]) -> tuple[float, Float64]:
    """One gain for all coefficients, and an offset for each, by least squares."""
    generic = np.concatenate([part.start for part in parts])
    measured = np.concatenate([part.target for part in parts]).astype(np.float64)
    middle, target = generic.mean(0), measured.mean(0)
    centred = generic - middle
    gain = float((centred * (measured - target)).sum() / max(float((centred**2).sum()), 1e-12))
    # A sound that does not belong to the lips must not turn them upside down.
    gain = float(np.clip(gain, *_AFFINE_RANGE))
    return gain, target - gain * middle


def _ridge(inputs: NDArray[np.floating], targets: Float64, penalty: float) -> Linear:
    """Ridge regression on standardised inputs [F, S], in whichever of its two forms is smaller."""
    inputs = inputs.astype(np.float64)
    mean, scale = inputs.mean(0), inputs.std(0) + 1e-3
    rows, middle = (inputs - mean) / scale, targets.mean(0)
    strength = penalty * len(rows)
    if len(rows) < rows.shape[1]:
        inverse = rows @ rows.T + strength * np.eye(len(rows))
        weights = rows.T @ np.linalg.solve(inverse, targets - middle)
    else:
        normal = rows.T @ rows + strength * np.eye(rows.shape[1])
        weights = np.linalg.solve(normal, rows.T @ (targets - middle))
    weights /= scale[:, None]
    return Linear(weights, middle - mean @ weights)


def _combine(members: Members, weights: Float64, amplitude: float, seen: FloatArray, lips: FloatArray) -> Adaptation:
    """The mix of the members, as one sum."""
    share = dict(zip(MEMBERS, weights, strict=True))
    residuals = share["residual"], share["last"], share["nets"]
    affine = share["affine"] + sum(residuals)
    offset = affine * members.offset + share["speech"] * members.speech.constant
    offset = offset + share["residual"] * members.residual.constant + share["last"] * members.last.constant
    each = np.float32(share["nets"] / max(len(members.nets), 1))
    nets = tuple(replace(net, leave=each * net.leave, leave_bias=each * net.leave_bias) for net in members.nets)
    # In C order, as a file gives them back: sums are taken in the order of memory.
    speech = share["speech"] * members.speech.weights + share["residual"] * members.residual.weights
    adaptation = Adaptation(
        members.basis,
        np.full(members.basis.width, affine * members.gain, np.float32),
        offset.astype(np.float32),
        np.ascontiguousarray(speech, np.float32),
        np.ascontiguousarray(share["last"] * members.last.weights, np.float32),
        nets if share["nets"] > 0 else (),
        amplitude,
        seen,
        lips,
    )
    return adaptation.halved()


def _gain_and_offset(
    clips: Sequence[PersonClip],
    neutral: FloatArray,
    basis: MotionBasis,
    seen: FloatArray,
    lips: FloatArray,
    gain: float,
    offset: Float64,
) -> tuple[Adaptation, dict[str, float]]:
    """What a few seconds allow."""
    width = basis.width
    nothing = np.zeros((0, width), np.float32)
    gains = np.full(width, gain, np.float32)
    adaptation = Adaptation(basis, gains, offset.astype(np.float32), nothing, nothing, (), 1.0, seen, lips).halved()
    made = [adaptation.apply(clip.generic) for clip in clips]
    amplitude, adapted = _amplitude(made, clips, neutral)
    figures = {"generic": _generic_score(clips, neutral), "adapted": adapted, "amplitude": amplitude}
    return replace(adaptation, amplitude=amplitude), figures


def _amplitude(
    made: Sequence[NDArray[np.floating]], clips: Sequence[PersonClip], neutral: FloatArray
) -> tuple[float, float]:
    """Measured over predicted deviation of the lip opening, and the mean correlation of both."""
    pairs = [
        (lip_opening(neutral + predicted), lip_opening(neutral + clip.measured))
        for predicted, clip in zip(made, clips, strict=True)
    ]
    ratio = sum(float(real.std()) for _, real in pairs) / max(sum(float(own.std()) for own, _ in pairs), 1e-9)
    return float(np.clip(ratio, *_GAIN_RANGE)), float(np.mean([correlation(own, real) for own, real in pairs]))


def _generic_score(clips: Sequence[PersonClip], neutral: FloatArray) -> float:
    """Mean correlation of the lip opening before adaptation."""
    return _amplitude([clip.generic.displacement for clip in clips], clips, neutral)[1]


def _lip_limits(clips: Sequence[PersonClip], neutral: FloatArray) -> FloatArray:
    """[2, 9], see `Adaptation.lips`."""
    rest = neutral[UPPER_LIP, 1] - neutral[LOWER_LIP, 1]
    gaps = [rest + clip.measured[:, UPPER_LIP, 1] - clip.measured[:, LOWER_LIP, 1] for clip in clips]
    # A percentile: single frames of the tracker are wrong.
    least = np.percentile(np.concatenate(gaps), _CLOSED_PERCENTILE, axis=0)
    return np.stack([rest, least]).astype(np.float32)
