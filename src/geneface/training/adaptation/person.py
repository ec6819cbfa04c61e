"""Adapt the generic motion model to the person of a portrait. No torch.

Only the portrait's training frames are looked at; everything is chosen by validation inside them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geneface.analysis.speech import SpeechEncoder
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINTS
from geneface.motion.person import AdaptationRecord, save_person
from geneface.motion.runtime import MotionModel
from geneface.portrait.portrait import Portrait
from geneface.signal.spans import true_spans
from geneface.training.adaptation.fit import PersonClip, fit_adaptation
from geneface.types import VIDEO_RATE_HZ, ProgressFn, SpeechFeatures, no_progress

_SHORTEST_CLIP = 12


def adapt_to_person(
    portrait: Portrait,
    model: MotionModel,
    encoder: SpeechEncoder | None,
    out: Path,
    *,
    progress: ProgressFn = no_progress,
) -> AdaptationRecord:
    """Fit the adaptation to a portrait and write its folder (`motion.person`) to `out`.

    Args:
        model: the generic one.
        encoder: the model's, for a portrait that was prepared with another.
    """
    clips = training_clips(portrait, model, encoder)
    if not clips:
        raise InputError("the portrait has no frames to adapt to", "prepare a longer video")
    adaptation, metrics = fit_adaptation(clips, portrait.neutral[list(KEYPOINTS)], progress=progress)
    seconds = sum(map(len, clips)) / VIDEO_RATE_HZ
    record = AdaptationRecord(encoder=model.config.encoder, seconds=seconds, metrics=metrics)
    save_person(adaptation, record, Path(out))
    return record


def training_clips(portrait: Portrait, model: MotionModel, encoder: SpeechEncoder | None = None) -> list[PersonClip]:
    """The portrait's training frames as consecutive clips with the generic model's prediction for each.

    Args:
        encoder: hears the portrait's sound where its features are not the model's.
    """
    neutral = portrait.neutral[list(KEYPOINTS)]
    clips = []
    for segment in np.unique(portrait.segment):
        frames = np.flatnonzero(portrait.segment == segment)
        generic = model.generic(features_for(portrait, int(segment), encoder))[: len(frames)]
        whole = PersonClip(generic, portrait.landmarks[frames] - neutral)
        for start, stop in true_spans(~portrait.heldout[frames]):
            if stop - start >= _SHORTEST_CLIP:
                clips.append(whole[start:stop])
    return clips


def features_for(portrait: Portrait, segment: int, encoder: SpeechEncoder | None) -> SpeechFeatures:
    """Of one segment, by this encoder: those that the portrait holds, or what its sound gives."""
    if encoder is None or encoder.name == portrait.manifest.encoder:
        return portrait.features(segment)
    return encoder.encode(portrait.audio(segment).samples, len(portrait.frames_of(segment)))
