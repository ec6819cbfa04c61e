"""The tables of the ablations: one for each shortcoming that the GeneFace paper states, and one of everything.

A *row* is one variant of one group ("motion", "person", "renderer", "speed") and seed, with its figures. A difference
counts as one when it is larger than `CERTAIN` standard errors over seeds, pooled over the variants of a kind (trained
again, or changed after training); with one seed no difference is judged. All seeds share the held-out clips, so this
says nothing of other clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ablation_motion import MOTION_VARIANTS, OURS, SAMPLED
from ablation_person import PERSON_VARIANTS, RENDERER_VARIANTS

from geneface.evaluation.metrics.registry import DEFINITIONS
from geneface.evaluation.protocol.controls import cost
from geneface.evaluation.schema import Figure

CERTAIN = 3.0
GROUPS = {
    "motion": "Generic model on the corpus's held-out clips",
    "person": "Avatar's motion from the portrait's held-out speech",
    "renderer": "Renderer on the portrait's held-out frames, from tracked landmarks",
    "speed": "Frames a second",
}
CHANGES: dict[str, dict[str, str]] = {
    "motion": {variant.name: variant.change for variant in MOTION_VARIANTS.values()},
    "person": PERSON_VARIANTS,
    "renderer": RENDERER_VARIANTS,
    "speed": {OURS: "the avatar, or the bundled one"},
}
COLUMNS: dict[str, str] = {
    "opening_correlation": "opening r",
    "width_correlation": "width r",
    "opening_amplitude_ratio": "amplitude ratio",
    "closure_rate": "closures made",
    "false_closure_rate": "false closures",
    "lip_landmark_distance": "lip distance, face widths",
    "offset_frames": "offset, frames",
    "fast_offset_frames": "offset in fast speech, frames",
    "silence_motion_ratio": "motion in silence, ratio",
    "brow_jitter_ratio": "brow jitter ratio",
    f"{SAMPLED}opening_correlation": "opening r, sampled",
    f"{SAMPLED}opening_amplitude_ratio": "amplitude ratio, sampled",
    "head_psnr": "PSNR, head, dB",
    "head_luminance_shift": "luminance shift, levels",
    "head_ciede2000": "CIEDE2000",
    "head_sharpness_ratio": "sharpness ratio",
    "motion_rate": "motion, frames/s",
    "render_rate": "pictures, frames/s",
    "stream_rate": "speech to pictures, frames/s",
    "picture_side": "side of the pictures, px",
}
"""Key -> title."""


@dataclass(frozen=True)
class Row:
    group: str
    variant: str
    seed: int
    figures: Mapping[str, Figure]
    reason: str | None = None
    """Why there are no figures."""


@dataclass(frozen=True)
class Part:
    """Some variants of a group by some keys."""

    group: str
    variants: tuple[str, ...]
    keys: tuple[str, ...]


_TIMING = ("fast_offset_frames", "offset_frames", "opening_correlation", "lip_landmark_distance")
_OPENING = ("opening_amplitude_ratio", "closure_rate", "false_closure_rate", "opening_correlation")
_COLOUR = ("head_luminance_shift", "head_ciede2000", "head_psnr", "head_sharpness_ratio")
SECTIONS: dict[str, tuple[Part, ...]] = {
    "3.3.1 Slow": (Part("speed", (OURS,), ("motion_rate", "render_rate", "stream_rate", "picture_side")),),
    "3.3.2 Few training steps": (
        Part("motion", (OURS, "few-steps"), ("opening_correlation", "lip_landmark_distance", *_OPENING[:2])),
    ),
    "3.3.3 Small opening of the mouth": (
        Part("motion", (OURS, "lip-motion-penalty", "smooth-lips", "first-frame-blend"), _OPENING),
        Part("person", (OURS, "no-adaptation", "smooth-lips", "first-frame-blend"), _OPENING),
    ),
    "3.3.4 Trembling brows, poor detail": (
        Part("motion", (OURS, "no-smoothing", "smooth-lips"), ("brow_jitter_ratio",)),
        Part("person", (OURS, "no-smoothing", "smooth-lips"), ("brow_jitter_ratio", "silence_motion_ratio")),
        Part("renderer", (OURS,), ("head_sharpness_ratio", "head_psnr")),
    ),
    "3.3.5 Colour and sharpness": (Part("renderer", tuple(RENDERER_VARIANTS), _COLOUR),),
    "3.3.6 Lips late on fast phonemes": (
        Part("motion", (OURS, "undilated", "latent-6hz", "drop-features", "smooth-lips"), _TIMING),
        Part("person", (OURS, "smooth-lips"), _TIMING),
    ),
    "Other choices": (
        Part("motion", (OURS, "no-flow", "no-sync"), (*_TIMING[:1], *_OPENING, *(k for k in COLUMNS if SAMPLED in k))),
    ),
}
"""Shortcoming -> the variants that answer it, and the figures that show it."""


def report(rows: Sequence[Row], note: str) -> str:
    """The whole Markdown text."""
    lines = ["# Ablations", "", note, "", *_legend(rows)]
    for title, parts in SECTIONS.items():
        lines += ["", f"## {title}"]
        for part in parts:
            lines += ["", *_table(rows, part, with_group=len(parts) > 1)]
    for group, title in GROUPS.items():
        present = [row for row in rows if row.group == group and row.figures]
        if present:
            keys = tuple(key for key in COLUMNS if key in present[0].figures)
            lines += ["", f"## Everything: {title.lower()}", ""]
            lines += _table(rows, Part(group, tuple(CHANGES[group]), keys))
    return "\n".join(lines) + "\n"


def _legend(rows: Sequence[Row]) -> list[str]:
    lines = []
    for group, title in GROUPS.items():
        names = [name for name in CHANGES[group] if any(r.group == group and r.variant == name for r in rows)]
        if names:
            lines += [f"{title}:", "", *(f"- `{name}`: {CHANGES[group][name]}" for name in names), ""]
    return lines


def _table(rows: Sequence[Row], part: Part, with_group: bool = False) -> list[str]:
    heading = part.group if with_group else "variant"
    titles = " | ".join(COLUMNS[key] for key in part.keys)
    lines = [f"| {heading} | {titles} |", "|---" * (len(part.keys) + 1) + "|"]
    for name in part.variants:
        own = [row for row in rows if row.group == part.group and row.variant == name]
        if not own:
            continue
        reason = next((row.reason for row in own if row.reason), None)
        cells = [f"n/a: {reason}" if reason else cell(rows, part.group, name, key) for key in part.keys]
        lines.append(f"| {name} | {' | '.join(cells[:1] + ['n/a'] * (len(cells) - 1) if reason else cells)} |")
    return lines


def cell(rows: Sequence[Row], group: str, name: str, key: str) -> str:
    """Mean over seeds, half the range, and the verdict against `ours`."""
    values = list(_values(rows, group, name, key).values())
    if not values:
        own = [row for row in rows if row.group == group and row.variant == name]
        reasons = [row.figures[key].reason for row in own if key in row.figures]
        return f"n/a: {reasons[0]}" if reasons else "n/a"
    mean = float(np.mean(values))
    text = f"{mean:.{_digits(mean)}f}"
    if len(values) > 1:
        text += f" ± {(max(values) - min(values)) / 2:.{_digits(mean)}f}"
    word = verdict(rows, group, name, key)
    return f"{text} ({word})" if word else text


def verdict(rows: Sequence[Row], group: str, name: str, key: str) -> str | None:
    """ "worse", "better" or "same" as `ours`; None where that can't be said."""
    own = _losses(rows, group, name, key)
    if name == OURS or len(own) < 2:
        return None
    error = _spread(rows, group, name, key) / np.sqrt(len(own))
    mean = float(np.mean(own))
    if abs(mean) <= CERTAIN * error:
        return "same"
    return "worse" if mean > 0 else "better"


def _losses(rows: Sequence[Row], group: str, name: str, key: str) -> list[float]:
    """How much worse the variant is than `ours`, seed by seed."""
    definition = DEFINITIONS.get(key.removeprefix(SAMPLED))
    # What evaluations do not define here are the frames a second.
    direction = definition.direction if definition else "higher"
    ours, own = _values(rows, group, OURS, key), _values(rows, group, name, key)
    return [cost(direction, own[seed]) - cost(direction, ours[seed]) for seed in own if seed in ours]


def _spread(rows: Sequence[Row], group: str, name: str, key: str) -> float:
    """Standard deviation over seeds of the losses, pooled over the variants of the same kind."""
    squares, freedom = 0.0, 0
    for other in CHANGES[group]:
        losses = _losses(rows, group, other, key)
        if other != OURS and len(losses) > 1 and _is_trained(group, other) == _is_trained(group, name):
            squares += float(np.var(losses)) * len(losses)
            freedom += len(losses) - 1
    return float(np.sqrt(squares / freedom)) if freedom else 0.0


def _is_trained(group: str, name: str) -> bool:
    return group == "motion" and MOTION_VARIANTS[name].trained_as is None


def _values(rows: Sequence[Row], group: str, name: str, key: str) -> dict[int, float]:
    """Seed -> value."""
    found = {row.seed: row.figures.get(key) for row in rows if row.group == group and row.variant == name}
    return {seed: item.value for seed, item in found.items() if item is not None and item.value is not None}


def _digits(value: float) -> int:
    """After the point: three that count for small figures, fewer for large ones."""
    size = abs(value)
    return 0 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.1 or size == 0 else 4
