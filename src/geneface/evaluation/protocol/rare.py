"""Held-out frames that an average hides: closed eyes, and faces and poses far from the usual ones. F frames at 25 Hz.

The avatar draws them from the landmarks that were measured in them, so that the renderer alone is measured.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.drawing import RenderClock
from geneface.evaluation.metrics.blinks import CLOSED_SHARE
from geneface.evaluation.metrics.pixels import Mask, clip_box
from geneface.evaluation.metrics.psnr import RARE_KEYS, psnr
from geneface.evaluation.protocol.chunks import scene_plates
from geneface.evaluation.schema import Figure, MetricRow, MetricTable, figure, missing
from geneface.evaluation.subjects import EvaluatedAvatar, ReferencePortrait, evenly_spaced
from geneface.geometry.camera import project
from geneface.geometry.landmarks import LEFT_EYE, RIGHT_EYE, eye_openness
from geneface.types import FloatArray, HeadPose, MotionTrack

EXTREME_SHARE = 0.05
MAX_RARE_FRAMES = 60
"""Of each kind, evenly spread."""
_NONE = "0 such frames"
_SHALLOWEST = 0.3
"""A portrait in which the lids never fall by this part of their opening shows no closed eyes."""
_ALPHA = 127


def rare_table(avatar: EvaluatedAvatar, portrait: ReferencePortrait) -> MetricTable:
    """PSNR of head, mouth and eyes in rare held-out frames, and in all others."""
    heldout = np.asarray(portrait.heldout)
    closed = heldout & closed_eyes(portrait.landmarks, ~heldout)
    extreme = extremes(portrait.landmarks, portrait.pose, heldout)
    kinds = {
        "closed eyes": closed,
        "extreme faces and poses": extreme,
        "all other frames": heldout & ~closed & ~extreme,
    }
    rows = [
        MetricRow(name=f"{avatar.name}, {kind}", role="evaluated", figures=_figures(avatar, portrait, chosen))
        for kind, chosen in kinds.items()
    ]
    note = (
        f"Held-out frames drawn from tracked landmarks, at most {MAX_RARE_FRAMES} of a kind. Eyes are closed where the "
        f"lids have fallen at least {100 * CLOSED_SHARE:.0f} % as far as in the portrait's deepest blink; extreme are "
        f"the {100 * EXTREME_SHARE:.0f} % of the held-out frames whose face and pose are furthest from the median."
    )
    return MetricTable(title="Picture, rare frames", note=note, rows=rows)


def closed_eyes(landmarks: FloatArray, usual: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[F] frames with closed eyes. landmarks [F, K, 3]; `usual` [F]: frames that tell how open the eyes usually are."""
    openness = np.asarray(eye_openness(landmarks)).mean(-1)
    level = float(np.median(openness[usual if usual.any() else slice(None)]))
    fallen = 1 - openness / max(level, 1e-6)
    deepest = float(fallen.max(initial=0.0))
    return (fallen >= CLOSED_SHARE * deepest) & (deepest >= _SHALLOWEST)


def extremes(landmarks: FloatArray, pose: HeadPose, heldout: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[F] the held-out frames furthest from the median face and pose, each distance in units of its own median."""
    chosen = np.zeros(len(heldout), bool)
    if not heldout.any():
        return chosen
    face = np.linalg.norm(landmarks - np.median(landmarks, axis=0), axis=-1).mean(-1)
    values = np.concatenate([pose.rotation, pose.translation], axis=1)
    away = np.abs(values - np.median(values, axis=0))
    # Angles and lengths have no common unit: each component counts in its own typical deviation.
    head = (away / np.maximum(np.median(away, axis=0), 1e-6)).mean(-1)
    distance = np.hypot(*(part / max(float(np.median(part)), 1e-9) for part in (face, head)))
    order = np.flatnonzero(heldout)[np.argsort(-distance[heldout], kind="stable")]
    chosen[order[: max(1, round(EXTREME_SHARE * len(order)))]] = True
    return chosen


def _figures(avatar: EvaluatedAvatar, portrait: ReferencePortrait, chosen: NDArray[np.bool_]) -> dict[str, Figure]:
    frames = evenly_spaced(np.flatnonzero(chosen), MAX_RARE_FRAMES).tolist()
    if not frames:
        return {**missing(RARE_KEYS, _NONE), "rare_frames": Figure(value=0.0)}
    clock, plates = RenderClock(avatar, portrait.camera.width), scene_plates(portrait)
    tracked = MotionTrack(portrait.landmarks, portrait.pose)
    values: dict[str, list[float]] = {key: [] for key in RARE_KEYS[1:]}
    for index in frames:
        picture, masks = portrait.frame(index)
        drawn = next(clock.draw(tracked[index : index + 1], plates(int(portrait.segment[index]))))
        regions = _regions(portrait, index, masks[..., 0] > _ALPHA)
        for key, mask in regions.items():
            values[key].append(psnr(np.array(picture), drawn, mask))
    figures = {"rare_frames": Figure(value=float(len(frames)))}
    for key, all_of in values.items():
        known = [value for value in all_of if np.isfinite(value)]
        figures[key] = figure(float(np.mean(known)) if known else float("nan"), "the region is outside of every frame")
    return figures


def _regions(portrait: ReferencePortrait, index: int, head: Mask) -> Mapping[str, Mask]:
    """Key -> pixels: the head, a box around the mouth, a box around the eyes."""
    camera, pose = portrait.camera, portrait.pose
    eyes = np.concatenate([LEFT_EYE, RIGHT_EYE])
    pixels = project(portrait.landmarks[index][eyes], pose.rotation[index], pose.translation[index], camera)
    margin = np.ptp(pixels[: len(LEFT_EYE), 0]) / 2
    around = np.concatenate([np.floor(pixels.min(0) - margin), np.ceil(pixels.max(0) + margin)]).astype(int)
    masks = {"head_psnr": head}
    for key, box in (("mouth_psnr", portrait.mouth_box[index]), ("eyes_psnr", around)):
        inside = clip_box(box, camera.width, camera.height)
        masks[key] = np.zeros((camera.height, camera.width), bool)
        if inside is not None:
            masks[key][inside] = True
    return masks
