"""Variants of one person's avatar: the motion it makes of speech, its renderer's colour, and how fast both are.

F frames at 25 Hz, [H, W, 3] pictures. Scored on the frames that the portrait held out.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from ablation_motion import FINISHES, OURS, motion_figures, windowed

from geneface.avatar import recorded
from geneface.avatar.avatar import Avatar
from geneface.errors import MissingExtraError
from geneface.evaluation.metrics.colour import ciede2000, lab
from geneface.evaluation.metrics.lips import face_width
from geneface.evaluation.metrics.pixels import erode, luminance
from geneface.evaluation.metrics.psnr import psnr
from geneface.evaluation.metrics.sharpness import sharpness
from geneface.evaluation.protocol.speech import predict_spans
from geneface.evaluation.schema import Figure, figure
from geneface.evaluation.subjects import evenly_spaced, heldout_spans
from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.io.tensors import TensorFile
from geneface.portrait.portrait import Portrait
from geneface.render.composite import from_uint8
from geneface.render.gaussian import GaussianModel, GaussianRenderer
from geneface.training.gaussian.config import GaussianTrainConfig
from geneface.training.gaussian.train import train_gaussian
from geneface.training.renderer.run import CHECKPOINT_NAME
from geneface.types import ByteArray, FloatArray, MotionTrack, ProgressFn, no_progress

PERSON_VARIANTS: dict[str, str] = {
    OURS: "as shipped, from speech, with the adaptation to the person",
    "no-adaptation": "generic model on the person's neutral face, not adapted",
    "smooth-lips": "exponential smoothing of all landmarks",
    "first-frame-blend": "the same filter with its state never advanced",
    "no-smoothing": "no smoothing of brows, cheeks and jaw",
}
FREE_PRIOR = "free"
RENDERER_VARIANTS: dict[str, str] = {
    OURS: "as shipped: colour fitted per frame, mean of the frames' codes at inference",
    "first-frame-colour": "colour code of the first training frame at inference",
    "brightest-frame-colour": "colour code of the training frame that brightens most",
    "free-first-frame-colour": "as first-frame-colour, trained without our pull of the codes to the mean",
    "free-brightest-frame-colour": "as brightest-frame-colour, trained without our pull of the codes to the mean",
}
RENDERER_FRAMES = 60
SPEED_SECONDS = 20.0
_WARM_UP_FRAMES = 5
_BORDER_PX = 2


# ---- motion


def person_figures(name: str, avatar: Avatar, portrait: Portrait) -> dict[str, Figure]:
    """Lips, articulation and jitter of the avatar's motion on the held-out spans, from their sound."""
    if name == "no-adaptation":
        avatar = avatar.unadapted() or avatar
    spans = heldout_spans(portrait.segment, portrait.heldout)
    tracked = MotionTrack(portrait.landmarks, portrait.pose)
    smoothing = windowed(FINISHES[name]) if name in FINISHES else recorded.smooth_landmark_windows
    with patch.object(recorded, "smooth_landmark_windows", smoothing):
        spoken = predict_spans(avatar, portrait, tracked, spans, no_progress)
    width = float(face_width(portrait.neutral[list(KEYPOINTS)]))
    return motion_figures(
        [span.reference.points for span in spoken],
        [span.predicted.points for span in spoken],
        [width] * len(spoken),
        [span.samples for span in spoken],
    )


# ---- colour


def renderer_figures(
    name: str, portrait: Portrait, config: GaussianTrainConfig, folder: Path, progress: ProgressFn
) -> dict[str, Figure]:
    """Train (or take what was trained in `folder`) and score the head of held-out frames, from tracked landmarks."""
    if name.startswith(FREE_PRIOR):
        config = config.model_copy(update={"affine_prior": 0.0})
    model = train_gaussian(portrait, folder, config, resume=True, progress=progress)
    return head_figures(portrait, model, chosen_code(name, TensorFile(folder / CHECKPOINT_NAME)))


def chosen_code(name: str, checkpoint: TensorFile) -> FloatArray:
    """Gain - 1 and bias of the three colours, [6], that a variant uses for all frames; `ours` has the identity."""
    codes = np.asarray(checkpoint.get("affines.values"))[np.asarray(checkpoint.get("affines.visits")) > 0]
    if name.endswith("first-frame-colour"):
        return codes[0].astype(np.float32)
    if name.endswith("brightest-frame-colour"):
        # The shift of mid-grey.
        return codes[np.argmax((0.5 * codes[:, :3] + codes[:, 3:]).mean(1))].astype(np.float32)
    return np.zeros(6, np.float32)


def head_figures(portrait: Portrait, model: GaussianModel, code: FloatArray) -> dict[str, Figure]:
    """PSNR, luminance shift, colour difference and sharpness over the head mask."""
    renderer = GaussianRenderer(model, from_uint8(portrait.background))
    values: dict[str, list[float]] = {"head_psnr": [], "head_luminance_shift": [], "head_ciede2000": []}
    detail = []
    for index in evenly_spaced(np.flatnonzero(portrait.heldout), RENDERER_FRAMES).tolist():
        truth, masks = portrait.frame(index)
        head = masks[..., 0] > 127
        drawn = _draw(renderer, portrait, index, code)
        values["head_psnr"].append(psnr(truth, drawn, head))
        values["head_luminance_shift"].append(float((luminance(drawn) - luminance(truth))[head].mean()))
        try:
            values["head_ciede2000"].append(float(ciede2000(lab(truth), lab(drawn))[head].mean()))
        except MissingExtraError:
            values["head_ciede2000"].append(float("nan"))
        inner = erode(head, _BORDER_PX)
        detail.append((sharpness(luminance(truth), inner), sharpness(luminance(drawn), inner)))
    measured, evaluated = np.sum(detail, axis=0)
    figures = {key: figure(float(np.mean(column)), "scikit-image is not installed") for key, column in values.items()}
    return figures | {"head_sharpness_ratio": figure(float(evaluated / measured), "the ground truth is flat")}


def _draw(renderer: GaussianRenderer, portrait: Portrait, index: int, code: FloatArray) -> ByteArray:
    pose = portrait.pose.rotation[index], portrait.pose.translation[index]
    frame = renderer.render(portrait.landmarks[index], *pose, portrait.camera)
    image = frame.image.copy()
    image[..., :3] = image[..., :3] * (1 + code[:3]) + code[3:]
    return replace(frame, image=image).to_uint8()


# ---- speed


def speed_figures(avatar: Avatar) -> dict[str, Figure]:
    """Frames a second: motion from sound, pictures from motion, and both as `Avatar.stream` gives them."""
    sentence = read_audio(asset_path("speech", "demo.flac"))
    repeats = max(1, round(SPEED_SECONDS / sentence.duration_seconds))
    sound = replace(sentence, samples=np.tile(sentence.samples, repeats))
    avatar.motion(sentence)
    begin = time.perf_counter()
    motion = avatar.motion(sound)
    motion_rate = len(motion) / (time.perf_counter() - begin)
    for index, _ in enumerate(avatar.draw(motion), start=1):
        if index == _WARM_UP_FRAMES:
            begin = time.perf_counter()
    render_rate = (len(motion) - _WARM_UP_FRAMES) / (time.perf_counter() - begin)
    begin = time.perf_counter()
    frames = sum(1 for _ in avatar.stream(sound))
    stream_rate = frames / (time.perf_counter() - begin)
    rates = {"motion_rate": motion_rate, "render_rate": render_rate, "stream_rate": stream_rate}
    figures = {**rates, "picture_side": float(avatar.camera.width)}
    return {key: Figure(value=value) for key, value in figures.items()}
