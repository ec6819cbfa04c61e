"""Adapt the generic motion model to the person of a portrait. No torch.

Only the portrait's training frames are looked at; everything is chosen by validation inside them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINTS
from geneface.motion.person import AdaptationRecord, save_person
from geneface.motion.runtime import MotionModel
from geneface.portrait.portrait import Portrait
from geneface.signal.spans import true_spans
from geneface.training.adaptation.fit import PersonClip, fit_adaptation
from geneface.types import VIDEO_RATE_HZ, ProgressFn, no_progress

_SHORTEST_CLIP = 12


def adapt_to_person(
    portrait: Portrait, model: MotionModel, out: Path, *, progress: ProgressFn = no_progress
) -> AdaptationRecord:
    """Fit the adaptation to a portrait and write its folder (`motion.person`) to `out`.

    Args:
        model: the generic one.
    """
    clips = training_clips(portrait, model)
    if not clips:
        raise InputError("the portrait has no frames to adapt to", "prepare a longer video")
    adaptation, metrics = fit_adaptation(clips, portrait.neutral[list(KEYPOINTS)], progress=progress)
    seconds = sum(map(len, clips)) / VIDEO_RATE_HZ
    record = AdaptationRecord(encoder=model.config.encoder, seconds=seconds, metrics=metrics)
    save_person(adaptation, record, Path(out))
    return record


def training_clips(portrait: Portrait, model: MotionModel) -> list[PersonClip]:
    """The portrait's training frames as consecutive clips with the generic model's prediction for each."""
    neutral = portrait.neutral[list(KEYPOINTS)]
    clips = []
    for segment in np.unique(portrait.segment):
        frames = np.flatnonzero(portrait.segment == segment)
        generic = model.generic(portrait.features(int(segment)))[: len(frames)]
        whole = PersonClip(generic, portrait.landmarks[frames] - neutral)
        for start, stop in true_spans(~portrait.heldout[frames]):
            if stop - start >= _SHORTEST_CLIP:
                clips.append(whole[start:stop])
    return clips
