"""Adapt the generic motion model to one person: closed form always, the residual network where torch is installed.

Only the portrait's training frames are looked at; everything is chosen by validation inside them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geneface.analysis.speech import DEFAULT_ENCODER, load_encoder
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.audio import read_audio
from geneface.io.store import asset_path
from geneface.motion.alignment import Stretch, closed_form_alignment
from geneface.motion.person import PostNetRecord, save_person
from geneface.motion.runtime import MotionModel
from geneface.portrait.portrait import Portrait
from geneface.types import ProgressFn, SpeechFeatures, no_progress

_SHORTEST_STRETCH = 12


def adapt_to_person(
    portrait: Portrait,
    motion_folder: Path | None,
    out: Path,
    preset: str = "fast",
    *,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> dict[str, float]:
    """Fit the post-net to a portrait and write its folder (`motion.person`) to `out`.

    Args:
        motion_folder: generic model, None for the one that ships.
        preset: of `training.postnet`; without torch and onnx only the closed form is fitted.

    Returns:
        figures of the validation: `generic`, `affine`, `aligned`, and `network` if one was trained.
    """
    out = Path(out)
    model = MotionModel.load(motion_folder)
    neutral = portrait.neutral[list(KEYPOINTS)]
    stretches = training_stretches(portrait, model)
    if not stretches:
        raise InputError("the portrait has no frames to adapt to", "prepare a longer video")
    progress("align motion", 0, 1)
    alignment, figures = closed_form_alignment(stretches, neutral)
    progress("align motion", 1, 1)
    network_frames = 0
    if all(importlib.util.find_spec(package) for package in ("torch", "onnx")):
        from geneface.training.postnet import train_postnet

        network_frames, score = train_postnet(
            stretches,
            neutral,
            alignment,
            model,
            asset_path("motion") if motion_folder is None else Path(motion_folder),
            out,
            preset,
            unlabelled=_bundled_speech(model.config.encoder),
            resume=resume,
            progress=progress,
        )
        figures["network"] = score
    record = PostNetRecord(
        encoder=model.config.encoder,
        network=network_frames > 0,
        network_past_frames=network_frames,
        metrics=figures,
    )
    save_person(alignment, record, out)
    return figures


def training_stretches(portrait: Portrait, model: MotionModel) -> list[Stretch]:
    """The portrait's training frames as consecutive stretches with the generic model's prediction for each."""
    neutral = portrait.neutral[list(KEYPOINTS)]
    stretches = []
    for segment in np.unique(portrait.segment):
        frames = np.flatnonzero(portrait.segment == segment)
        features = portrait.features(int(segment))
        generic = model.predict(features)[: len(frames)]
        measured = portrait.landmarks[frames] - neutral
        whole = Stretch(generic, measured, np.asarray(features.values[: 2 * len(frames)], np.float32))
        for start, stop in runs(~portrait.heldout[frames]):
            if stop - start >= _SHORTEST_STRETCH:
                stretches.append(whole[start:stop])
    return stretches


def runs(chosen: np.ndarray) -> list[tuple[int, int]]:
    """[start, stop) of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(int)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _bundled_speech(encoder: str) -> Sequence[SpeechFeatures]:
    """Speech of somebody else for the semi-supervised losses: the bundled sentence."""
    if encoder != DEFAULT_ENCODER:
        return []
    return [load_encoder(encoder).encode(read_audio(asset_path("speech", "demo.flac")).samples)]
