"""Controls: the ground truth itself, spoilt in known ways, and how a metric scores it.

    encoded    re-encoded as our MP4: the best that any video we write can score
    late       shown `DELAY_FRAMES` late: what it costs lips to miss their sound
    still      one frame, held: a picture that does not talk
    degraded   at half resolution and `BRIGHTER_LEVELS` brighter: poor detail, shifted colour
    beads      strewn with bright and dark beads: a face that breaks (`speckle.with_beads`)
    noise      the same frame, encoded ten times: what the tracker sees where nothing moves
    shifted    the lower face moved aside and pasted back: a seam that does not fit
    brighter   the lower face brighter: a seam that is an edge
    flickering the lower face brighter and darker in turn: a paste that flickers

A metric is believed where it scores the spoilt ground truth that it is meant to see (`MetricDefinition.must_see`)
clearly worse than the encoded one. F frames, uint8 [H, W, 3].
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.articulation import NO_LAG
from geneface.evaluation.metrics.lips import CONSTANT
from geneface.evaluation.metrics.registry import DEFINITIONS
from geneface.evaluation.schema import Control, Direction, Figure, MetricRow, Verdict
from geneface.io.video import read_frames, write_video
from geneface.render.composite import resize
from geneface.types import ByteArray, FloatArray

DELAY_FRAMES = 2
BRIGHTER_LEVELS = 8
REPEATS = 10
ENCODED = "ground truth, encoded as our MP4"
CONTROL_NAMES: dict[Control, str] = {
    "late": f"ground truth, {DELAY_FRAMES} frames late",
    "still": "still frame",
    "degraded": f"ground truth, half resolution, {BRIGHTER_LEVELS} levels brighter",
}
SHIFT_PX, BRIGHTER_PERCENT, FLICKER_PERCENT = 2, 4, 2
"""Of the paste: pixels at 256 px, parts of its light, and from each frame to the next."""
SEAM_CONTROL_NAMES: dict[Control, str] = {
    "shifted": f"ground truth, its lower face pasted {SHIFT_PX} px aside",
    "brighter": f"ground truth, its lower face {BRIGHTER_PERCENT} % brighter",
    "flickering": f"ground truth, its lower face flickering by {FLICKER_PERCENT} %",
}
NOISE = f"tracker noise: one frame, encoded {REPEATS} times"
BEADS = "ground truth, strewn with beads"
TRUTH = "ground truth"
_LATE_TOLERANCE_FRAMES = 0.6
"""An offset has seen the delay when it reads the delay to within half a frame and the tracker's noise."""
_PREFERENCE = 0.05
"""By more than this share of its value: less is the noise of a measurement."""
_MARGIN = 0.02
MIN_FRAMES = 25
_MOTIONLESS = (CONSTANT, NO_LAG)
_OFFSET_KEYS = ("offset_frames", "fast_offset_frames", "lip_sync_offset_frames")


def encoded(frames: Sequence[ByteArray]) -> list[ByteArray]:
    """Consecutive frames after our own MP4 writer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.mp4"
        write_video(path, iter(frames), None)
        decoded = [frame.image for frame in read_frames(path)]
    # Odd sizes gain a line in the encoder.
    height, width = frames[0].shape[:2]
    return [image[:height, :width] for image in decoded[: len(frames)]]


def late(before: Sequence[ByteArray], frames: Sequence[ByteArray]) -> list[ByteArray]:
    """The frames `DELAY_FRAMES` late; what is not known is held.

    Args:
        before: what was seen just before them, the last one nearest; may be empty.
    """
    known = [*before, *frames]
    first = len(known) - len(frames)
    return [known[max(index - DELAY_FRAMES, 0)] for index in range(first, len(known))]


def degraded(image: ByteArray) -> ByteArray:
    """Half the resolution, enlarged again, and brighter."""
    height, width = image.shape[:2]
    small = resize((image / 255).astype(np.float32), max(1, height // 2), max(1, width // 2))
    large = resize(small, height, width) * 255 + BRIGHTER_LEVELS
    return np.round(np.clip(large, 0, 255)).astype(np.uint8)


def spoilt_pastes(
    images: Sequence[ByteArray], masks: Sequence[FloatArray]
) -> Iterator[tuple[Control, list[ByteArray]]]:
    """Consecutive frames with their own lower face pasted in badly, one way after the other.

    Args:
        masks: [H, W] of each frame, the share of the paste in 0..1.
    """
    aside = max(1, round(SHIFT_PX * images[0].shape[1] / 256))
    columns = np.maximum(np.arange(images[0].shape[1]) - aside, 0)
    brighter, half = 1 + BRIGHTER_PERCENT / 100, FLICKER_PERCENT / 200
    pairs = list(zip(images, masks, strict=True))
    yield "shifted", [_pasted(image, image[:, columns], mask) for image, mask in pairs]
    yield "brighter", [_pasted(image, image * np.float32(brighter), mask) for image, mask in pairs]
    lights = [np.float32(1 + half * (-1) ** index) for index in range(len(pairs))]
    yield (
        "flickering",
        [_pasted(image, image * light, mask) for (image, mask), light in zip(pairs, lights, strict=True)],
    )


def _pasted(image: ByteArray, drawn: NDArray[Any], mask: FloatArray) -> ByteArray:
    """[H, W, 3] `drawn` where the mask is 1."""
    mixed = image + mask[..., None] * (drawn.astype(np.float32) - image)
    return np.round(np.clip(mixed, 0, 255)).astype(np.uint8)


def repeats(image: ByteArray) -> list[ByteArray]:
    """One frame encoded `REPEATS` times, each time alone and at another quantiser around our own.

    A film of one picture would repeat the bits of its first frame: a moving film has other artefacts in every frame.
    """
    return [_encoded_alone(image, crf) for crf in range(18 - REPEATS // 2, 18 - REPEATS // 2 + REPEATS)]


def _encoded_alone(image: ByteArray, crf: int) -> ByteArray:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.mp4"
        write_video(path, iter([image]), None, crf=crf)
        return next(iter(read_frames(path))).image[: image.shape[0], : image.shape[1]]


def cost(direction: Direction, value: float) -> float:
    """How bad a value is: 0 or more for "one" and "zero", any number for the others; smaller is better."""
    if direction == "higher":
        return -value
    if direction == "lower":
        return value
    if direction == "zero":
        return abs(value)
    return abs(float(np.log(value))) if value > 0 else float("inf")


def verdicts(
    rows: Sequence[MetricRow], best: str, frames: int, names: Mapping[Control, str] = CONTROL_NAMES
) -> dict[str, Verdict]:
    """What the controls among the rows say of each key.

    Args:
        best: name of the row that a working metric puts first: the encoded ground truth, or the ground truth itself.
        frames: how many frames the rows were measured on; too few make no verdict.
        names: names of the control rows.
    """
    by_name = {row.name: row.figures for row in rows}
    present: dict[Control, str] = {control: name for control, name in names.items() if name in by_name}
    if best not in by_name or not present or frames < MIN_FRAMES:
        return {}
    keys = dict.fromkeys(key for row in rows for key in row.figures)
    found = {key: _verdict(key, by_name, best, present) for key in keys}
    return {key: verdict for key, verdict in found.items() if verdict is not None}


def _verdict(
    key: str, rows: Mapping[str, Mapping[str, Figure]], best: str, present: Mapping[Control, str]
) -> Verdict | None:
    definition = DEFINITIONS[key]
    base = rows[best].get(key)
    meant: list[Control] = [control for control in definition.must_see if control in present]
    if not meant or base is None or base.value is None:
        return None
    items: dict[Control, Figure | None] = {control: rows[name].get(key) for control, name in present.items()}
    margin = _margin(definition.direction, items, base.value)
    unseen: list[Control] = [
        control for control, item in items.items() if not _is_worse(key, control, item, base.value, margin)
    ]
    blind = [present[control] for control in unseen]
    own = rows.get(TRUTH, {}).get(key)
    if own is not None and own.value is not None and _prefers(definition.direction, base.value, own.value):
        reason = f"it prefers the {best} ({_show(base)}) to the ground truth itself ({_show(own)})"
        return Verdict(informative=False, reason=reason, blind_to=blind)
    failed: list[Control] = [control for control in meant if control in unseen]
    if failed:
        figures = ", ".join(f"{present[control]}: {_show(items[control])}" for control in failed)
        reason = f"it does not score worse than the {best} ({_show(base)}) what it is meant to see: {figures}"
        return Verdict(informative=False, reason=reason, blind_to=blind)
    seen = ", ".join(present[control] for control in meant)
    return Verdict(informative=True, reason=f"scores worse than the {best}: {seen}", blind_to=blind)


def _margin(direction: Direction, items: Mapping[Control, Figure | None], best: float) -> float:
    """A share of the largest distance of any control: a metric that tells a still face by 20 dB has not told a delay
    that it tells by .1 dB."""
    values = [item.value for item in items.values() if item is not None and item.value is not None]
    distances = [abs(cost(direction, value) - cost(direction, best)) for value in values]
    return _MARGIN * max((distance for distance in distances if np.isfinite(distance)), default=0.0)


def _is_worse(key: str, control: Control, item: Figure | None, best: float, margin: float) -> bool:
    if item is None or item.value is None:
        # No figure is credit only where the control does not move and the figure needs motion.
        return control == "still" and item is not None and item.reason in _MOTIONLESS
    if key in _OFFSET_KEYS and control == "late":
        return abs(item.value - best - DELAY_FRAMES) <= _LATE_TOLERANCE_FRAMES
    direction = DEFINITIONS[key].direction
    return cost(direction, item.value) - cost(direction, best) > margin


def _prefers(direction: Direction, encoded_value: float, truth: float) -> bool:
    """Whether a metric that needs no reference finds the encoded truth clearly better than the truth."""
    return cost(direction, encoded_value) < cost(direction, truth) - _PREFERENCE * abs(truth)


def _show(item: Figure | None) -> str:
    return "n/a" if item is None or item.value is None else f"{item.value:.4g}"
