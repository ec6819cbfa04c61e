"""Scores of videos against ground truth, row by row, chunk by chunk: what `evaluate` and `compare` share.

A *chunk* is a run of consecutive frames at 25 Hz with its sound; a *row* is one video of it (an avatar's, or a
control). All rows of a chunk are measured side by side in threads, so that memory holds one chunk only; landmarks are
tracked in every row, with the same tracker as in the ground truth. F frames, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import fill_missing, open_tracker
from geneface.evaluation.metrics.face_found import MIN_FOUND_SHARE
from geneface.evaluation.metrics.flicker import temporal_difference_error, torso_flicker
from geneface.evaluation.metrics.lse import LseScore
from geneface.evaluation.metrics.picture import ReferenceFrame
from geneface.evaluation.metrics.stability import MIN_BAND_FRAMES
from geneface.evaluation.protocol.controls import (
    CONTROL_NAMES,
    DELAY_FRAMES,
    ENCODED,
    TRUTH,
    degraded,
    encoded,
    late,
    repeats,
)
from geneface.evaluation.protocol.pictures import FrameValues, ImageScores, compare_frame
from geneface.evaluation.schema import Missing
from geneface.evaluation.tools import Tools
from geneface.io.words import Words
from geneface.types import ByteArray, FloatArray, Waveform

_WORKERS = 2
_NOISE_FRAMES = 4
"""Frames a chunk that the tracker's noise is measured on."""


@dataclass(frozen=True)
class Track:
    """A row's face in one chunk."""

    mesh_px: FloatArray
    """[F, 478, 3]; frames without a face repeat the nearest one with."""
    found: NDArray[np.bool_]
    """[F]."""

    @property
    def usable(self) -> bool:
        """Whether the face was found often enough to measure it."""
        return bool(self.found.mean() >= MIN_FOUND_SHARE)


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of ground truth and what the rows show instead."""

    name: str
    references: Sequence[ReferenceFrame]
    evaluated: Mapping[str, Sequence[ByteArray]]
    """Row name -> as many frames."""
    before: Sequence[ByteArray]
    """Frames that precede the chunk, for the late control; may be empty."""
    still: ByteArray
    """The still control."""
    sound: Waveform | None
    """Begins with the first frame."""
    other_sound: Mapping[str, Waveform] = field(default_factory=dict)
    """Rows that come with a sound of their own."""
    words: Words | None = None
    """(start, end, word) in seconds from the first frame, where known."""
    truth_track: Track | None = None
    """The ground truth's face, if it was tracked already."""
    masks: Mapping[str, Sequence[FloatArray]] = field(default_factory=dict)
    """Pasted row -> [H, W] of each frame, how much of each pixel is drawn; rows that are drawn whole have none."""

    @property
    def images(self) -> list[ByteArray]:
        """The ground truth's pictures."""
        return [reference.image for reference in self.references]

    def sound_of(self, row: str) -> Waveform | None:
        """The sound that a row comes with: its own, or else the ground truth's."""
        return self.other_sound.get(row, self.sound)


class RowScores:
    """What is known of one row after some chunks."""

    def __init__(self, tools: Tools) -> None:
        self.images = ImageScores(tools)
        self.tracks: list[Track] = []
        """One a chunk."""
        self.flicker: list[tuple[float, int]] = []
        """RMS of the torso's flicker in each chunk that shows one, and its number of frames."""
        self.temporal_errors: list[tuple[float, int]] = []
        self.lse: list[LseScore] = []


class VideoScores:
    """All rows of an evaluation."""

    def __init__(self, tools: Tools, evaluated: Sequence[str]) -> None:
        """`evaluated`: names of the rows that are no controls."""
        self.tools, self.evaluated = tools, tuple(evaluated)
        names = (TRUTH, *evaluated, ENCODED, *CONTROL_NAMES.values())
        self.rows = {name: RowScores(tools) for name in names}
        """In the order of the tables."""
        self.chunks: list[Chunk] = []
        """Without their pictures."""
        self.noise: list[tuple[FloatArray, FloatArray]] = []
        """Meshes [REPEATS, 478, 3] of one frame: tracked in the original again and again, and in its encodings."""

    @property
    def truth(self) -> RowScores:
        """The row of the ground truth."""
        return self.rows[TRUTH]

    @property
    def frames(self) -> int:
        """How many frames of ground truth were measured."""
        return self.truth.images.frames

    def add(self, chunk: Chunk) -> None:
        """Measure one chunk in all rows."""
        images = chunk.images
        videos: dict[str, Sequence[ByteArray]] = {
            TRUTH: images,
            **chunk.evaluated,
            ENCODED: encoded(images),
            CONTROL_NAMES["late"]: late(chunk.before, images),
            CONTROL_NAMES["still"]: [chunk.still] * len(images),
            CONTROL_NAMES["degraded"]: [degraded(image) for image in images],
        }
        torso = _steady_torso(chunk.references)
        with ThreadPoolExecutor(_WORKERS) as pool:
            jobs = [pool.submit(self._measure_row, name, chunk, frames, torso) for name, frames in videos.items()]
            jobs.append(pool.submit(self._measure_noise, images))
            moments = pool.map(partial(self._measure_moment, chunk, videos), range(len(images)))
            for moment in moments:
                for name, row in self.rows.items():
                    row.images.add(moment.get(name))
            for job in jobs:
                job.result()
        self.chunks.append(replace(chunk, references=(), evaluated={}, before=(), masks={}))

    def _measure_moment(
        self, chunk: Chunk, videos: Mapping[str, Sequence[ByteArray]], index: int
    ) -> dict[str, FrameValues]:
        """The image metrics of one frame in all rows; a control that can only show the truth itself is left out."""
        shown = {name: frames[index] for name, frames in videos.items()}
        if index < DELAY_FRAMES - len(chunk.before):
            del shown[CONTROL_NAMES["late"]]
        if chunk.still is chunk.references[index].image:
            del shown[CONTROL_NAMES["still"]]
        # A copy: what is computed of the frame goes when the moment is done.
        return compare_frame(replace(chunk.references[index]), shown, self.tools, truth=TRUTH)

    def _measure_row(
        self, name: str, chunk: Chunk, frames: Sequence[ByteArray], torso: NDArray[np.bool_] | None
    ) -> None:
        """What one row shows over time."""
        row = self.rows[name]
        row.temporal_errors.append((temporal_difference_error(chunk.images, frames), len(frames)))
        if torso is not None and len(frames) >= MIN_BAND_FRAMES:
            row.flicker.append((torso_flicker(frames, torso), len(frames)))
        known = chunk.truth_track if name == TRUTH else None
        track = track_video(frames) if known is None else known
        row.tracks.append(track)
        sound = chunk.sound_of(name)
        if not isinstance(self.tools.syncnet, Missing) and sound is not None and track.usable:
            row.lse.append(self.tools.syncnet.score(frames, track.mesh_px, sound))

    def _measure_noise(self, frames: Sequence[ByteArray]) -> None:
        for index in np.linspace(0, len(frames) - 1, _NOISE_FRAMES + 2).astype(int)[1:-1]:
            copies = repeats(frames[index])
            original = track_video([frames[index]] * len(copies))
            others = track_video(copies)
            if original.usable and others.usable:
                self.noise.append((original.mesh_px, others.mesh_px))


def track_video(frames: Sequence[ByteArray]) -> Track:
    """Track the face through consecutive frames."""
    with open_tracker() as tracker:
        meshes = [tracker.track(frame) for frame in frames]
    return Track(fill_missing(meshes), np.array([mesh is not None for mesh in meshes], bool))


def _steady_torso(references: Sequence[ReferenceFrame]) -> NDArray[np.bool_] | None:
    """Pixels that show the torso in every frame of the chunk."""
    masks = [reference.torso for reference in references]
    if not masks or any(mask is None for mask in masks):
        return None
    steady = np.logical_and.reduce([mask for mask in masks if mask is not None])
    return steady if steady.any() else None
