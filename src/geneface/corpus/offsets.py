"""Each clip's own offset of sound and picture, taken back before a model learns from it.

Recorders start sound and pictures of a clip anew. GRID's 892 clips of speaker 1 are .4 frames apart (deviation), which
blurs the lips that a model learns, and which it is then measured with. How late a clip's sound is, its lips tell, as in
`portrait.offsets`: by what the motion model and the lip-sync classifier that ship ask of anybody's. F frames at 25 Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.lip_sync import LipSyncTowers
from geneface.analysis.sync_offset import Agreement, LipTrack, compare, fit_near, fit_offset
from geneface.corpus.dataset import ClipData, CorpusData
from geneface.motion.runtime import MotionModel
from geneface.types import FloatArray, ProgressFn, SpeechFeatures, no_progress

_GAIN_CLIPS = 40
"""As many of a speaker's clips tell how wide the lips are opened."""


def corrected(data: CorpusData, progress: ProgressFn = no_progress) -> CorpusData:
    """The corpus with the speech of every clip moved to its lips, and other voices with it.

    Clips of speakers whose sound as a whole is not sure, and of encoders that the shipped models do not hear, stay.
    """
    late = find_offsets([*data.training, *data.heldout], data.encoder, progress)
    voices = {
        name: [replace(voice, times=np.asarray(voice.times - late.get(name, 0.0), np.float32)) for voice in others]
        for name, others in data.voices.items()
    }
    parts = (
        [replace(clip, features=moved(clip.features, late.get(clip.name, 0.0))) for clip in clips]
        for clips in (data.training, data.heldout)
    )
    training, heldout = parts
    return replace(data, training=training, heldout=heldout, voices=voices)


def find_offsets(clips: Sequence[ClipData], encoder: str, progress: ProgressFn = no_progress) -> dict[str, float]:
    """Frames by which the sound of each clip is late, by name; those that stay are left out."""
    model, towers = MotionModel.load(), LipSyncTowers.load()
    late: dict[str, float] = {}
    if encoder != model.config.encoder:
        return late
    done = 0
    for speaker in sorted({clip.speaker for clip in clips}):
        own = [clip for clip in clips if clip.speaker == speaker]
        gain = towers.gain_of([clip.landmarks for clip in own[:_GAIN_CLIPS]])
        windows = []
        for clip in own:
            windows.append(_agreements(clip, encoder, gain, model, towers))
            done += 1
            progress("offsets of clips", done, len(clips))
        common = fit_offset([window for of_clip in windows for window in of_clip])
        if common.confident:
            late |= {clip.name: fit_near(found, common).frames for clip, found in zip(own, windows, strict=True)}
    return late


def _agreements(
    clip: ClipData, encoder: str, gain: float, model: MotionModel, towers: LipSyncTowers
) -> list[Agreement]:
    points, features = clip.landmarks, SpeechFeatures(clip.features.astype(np.float32), encoder)
    asked = LipTrack.of(clip.neutral + model.predict(features), towers.embed_speech(features))
    seen = LipTrack.of(points, towers.embed_lips(points, clip.neutral, gain))
    return compare(seen, asked, 0, np.ones(len(points), bool))


def moved(features: NDArray[np.float16], late: float) -> NDArray[np.float16]:
    """Rows [2F, D] of a sound that is late by so many frames -> those of the pictures; ends are repeated."""
    last = len(features) - 1
    at = np.clip(np.arange(len(features)) + 2 * late, 0, last)
    first = np.minimum(at.astype(int), max(last - 1, 0))
    share: FloatArray = (at - first).astype(np.float32)[:, None]
    after = np.minimum(first + 1, last)
    return ((1 - share) * features[first] + share * features[after]).astype(np.float16)
