"""Sound of a portrait: how far it is from the picture, and the piece that belongs to each stretch of frames.

Frames count at 25 Hz from the first picture of a source, which is time zero of its media clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.background import sample_indices
from geneface.analysis.speech import MelEncoder
from geneface.analysis.sync_offset import SoundOffset, estimate_offset
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, FloatArray, Waveform

FRAME_SAMPLES = SPEECH_RATE_HZ // VIDEO_RATE_HZ
LONG_SOURCE_FRAMES = 15 * VIDEO_RATE_HZ
"""Sources at least this long get an offset of their own; shorter ones are taken as recorded alike and share one."""
_MAX_RUNS, _MAX_RUN_FRAMES = 40, 1500
"""Runs and frames of a run that an estimate uses at most: more change nothing."""


def cut_sound(sound: Waveform, start_frame: int, frames: int) -> FloatArray:
    """Exactly `frames` frames of sound from `start_frame` on; silence where the recording has none."""
    first = start_frame * FRAME_SAMPLES - round(sound.start_seconds * SPEECH_RATE_HZ)
    wanted = np.arange(first, first + frames * FRAME_SAMPLES)
    inside = (wanted >= 0) & (wanted < len(sound.samples))
    piece = np.zeros(len(wanted), np.float32)
    piece[inside] = sound.samples[wanted[inside]]
    return piece


def sound_frames(sound: Waveform) -> tuple[int, int]:
    """Frames [start, stop) that a recording covers, those it covers by more than half included."""
    start = sound.start_seconds * VIDEO_RATE_HZ
    return round(start), round(start + len(sound.samples) / FRAME_SAMPLES)


def measured_opening(mesh_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Lip opening [F] of tracked meshes [F, 478, 3], in heights of the face, from x and y only."""
    points = np.asarray(mesh_px, np.float64)[..., :2]
    height = np.linalg.norm(points[:, 10] - points[:, 168], axis=-1)
    return lip_opening(points[:, list(KEYPOINTS)]) / height


def source_offsets(
    sounds: Sequence[Waveform | None],
    runs: Sequence[tuple[int, int, NDArray[np.floating]]],
) -> list[SoundOffset | None]:
    """The sound's offset for each source, None where it has no run.

    Heard by its spectrogram, which looks as far back as ahead: features that remember more than they foresee tell of a
    frame's lips in later rows too, and make the sound of any recording seem late.

    Args:
        sounds: sound of each source (None: not used).
        runs: (source, first frame, opening [f]) of all stretches of tracked frames.
    """
    lengths: dict[int, int] = {}
    for source, _, opening in runs:
        lengths[source] = lengths.get(source, 0) + len(opening)
    groups: dict[int, list[int]] = {}
    for source, frames in lengths.items():
        groups.setdefault(source if frames >= LONG_SOURCE_FRAMES else -1, []).append(source)
    offsets: list[SoundOffset | None] = [None] * len(sounds)
    for members in groups.values():
        offset = _group_offset([run for run in runs if run[0] in members], sounds)
        for source in members:
            offsets[source] = offset
    return offsets


def _group_offset(
    runs: Sequence[tuple[int, int, NDArray[np.floating]]], sounds: Sequence[Waveform | None]
) -> SoundOffset:
    encoder = MelEncoder()
    features, openings = [], []
    for index in sample_indices(len(runs), _MAX_RUNS):
        source, start, opening = runs[index]
        sound = sounds[source]
        assert sound is not None
        opening = opening[:_MAX_RUN_FRAMES]
        features.append(encoder.encode(cut_sound(sound, start, len(opening)), len(opening)).values)
        openings.append(opening)
    return estimate_offset(features, openings)


def describe_offsets(names: Mapping[int, str], offsets: Sequence[SoundOffset | None]) -> dict[str, object]:
    """The manifest's `sound_offset`: one entry if all sources agree, otherwise one a source."""
    found = {index: offset for index, offset in enumerate(offsets) if offset is not None}
    distinct = set(found.values())
    if len(distinct) == 1:
        return {"unit": "frames the sound is late", **next(iter(distinct)).to_json()}
    return {
        "unit": "frames the sound is late",
        "sources": {names[index]: offset.to_json() for index, offset in found.items()},
    }
