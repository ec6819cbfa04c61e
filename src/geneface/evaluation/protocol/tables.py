"""From scores of videos to the tables of a report. F frames at 25 Hz, K named landmarks.

Lips are compared in the picture plane, as they were tracked in every row; lip-sync classifier and jitter need the head
frame, so poses are fitted to the tracked meshes with one neutral face and focal length for all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geneface.evaluation.metrics.face_found import FOUND_KEY, found_share
from geneface.evaluation.metrics.lip_sync import LIP_SYNC_KEYS, LipSyncScore, lip_sync_figures
from geneface.evaluation.metrics.lips import LipClip, face_width, lip_landmark_distance
from geneface.evaluation.metrics.lse import LSE_KEYS, TOO_SHORT, mean_score
from geneface.evaluation.metrics.picture import REGIONS
from geneface.evaluation.metrics.registry import LIP_KEYS, image_keys, lip_metrics
from geneface.evaluation.metrics.stability import JITTER_RATIO_KEYS, MIN_BAND_FRAMES, stability_ratio_figures
from geneface.evaluation.protocol.controls import ENCODED, NOISE, TRUTH, verdicts
from geneface.evaluation.protocol.videos import RowScores, Track, VideoScores
from geneface.evaluation.schema import Figure, MetricRow, MetricTable, Missing, Role, figure, missing
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.geometry.pose import solve_head_poses
from geneface.types import Camera, FloatArray, MotionTrack

_KEYPOINTS = list(KEYPOINTS)
_NO_FACE = "no face was found in at least half of the frames of any clip"
_NOT_MOVING = "nothing moves in this control"
_NO_SOUND = "there is no sound"
_NO_TORSO = f"no pixel shows the torso throughout a run of {MIN_BAND_FRAMES} frames and more"
_REGION_TITLES = {"frame": "Picture, whole frame", "head": "Picture, head", "mouth": "Picture, mouth"}


@dataclass(frozen=True)
class Person:
    """What turns tracked pixels into the head frame."""

    neutral: FloatArray
    """[478, 3]."""
    camera: Camera


class VideoTables:
    """Builds each table from the scores; `person` None: no face was found, `why` says why regions may be unknown."""

    def __init__(self, scores: VideoScores, person: Person | None, note: str, why: Mapping[str, str]) -> None:
        self._scores, self._person, self._note, self._why = scores, person, note, dict(why)
        self.motions = {} if person is None else {name: self._motions(row) for name, row in scores.rows.items()}
        """Row -> motion in the head frame of each chunk in which truth and row show a face, else None."""
        self.lip_sync = self._score_lip_sync()
        """Row -> score, of the rows that could be scored."""
        truth = scores.truth.images
        self._images = {name: row.images.figures(truth, self._why) for name, row in scores.rows.items()}

    def tables(self) -> dict[str, MetricTable]:
        """All tables of the videos, by name."""
        out = {f"image_{region}": self._image(region) for region in REGIONS}
        return out | {"lips": self._lips(), "sync": self._sync(), "stability": self._stability()}

    def _table(self, title: str, note: str, figures: Mapping[str, dict[str, Figure]]) -> MetricTable:
        rows = [MetricRow(name=name, role=self._role(name), figures=values) for name, values in figures.items()]
        return MetricTable(
            title=title,
            note=f"{self._note} {note}".strip(),
            rows=rows,
            verdicts=verdicts(rows, ENCODED, self._scores.frames),
        )

    def _role(self, name: str) -> Role:
        return "truth" if name == TRUTH else "evaluated" if name in self._scores.evaluated else "control"

    def _image(self, region: str) -> MetricTable:
        keys = image_keys((region,))
        rows = {name: {key: figures[key] for key in keys} for name, figures in self._images.items()}
        return self._table(_REGION_TITLES[region], "", rows)

    # ---- lips

    def _lips(self) -> MetricTable:
        note = "Landmarks tracked in every video, ground truth included, in the picture plane."
        rows: dict[str, dict[str, Figure]] = {}
        for name, row in self._scores.rows.items():
            if self._person is None:
                rows[name] = missing((FOUND_KEY, *LIP_KEYS), _NO_FACE)
            else:
                rows[name] = {
                    FOUND_KEY: figure(found_share([track.found for track in row.tracks]), "no frames"),
                    **self._lip_figures(row),
                }
        if self._scores.noise:
            rows[NOISE] = self._noise_lips()
        return self._table("Lips, seen in the video", note, rows)

    def _pairs(self, row: RowScores) -> list[tuple[int, Track, Track]]:
        """Chunks in which both show a face: number, truth, row."""
        both = zip(self._scores.truth.tracks, row.tracks, strict=True)
        return [(i, a, b) for i, (a, b) in enumerate(both) if a.usable and b.usable]

    def _lip_figures(self, row: RowScores) -> dict[str, Figure]:
        pairs = self._pairs(row)
        if not pairs:
            return missing(LIP_KEYS, _NO_FACE)
        chunks = self._scores.chunks
        clips = []
        for number, truth, other in pairs:
            sound = chunks[number].sound
            clips.append(
                LipClip(
                    _in_face_widths(truth),
                    _in_face_widths(other),
                    None if sound is None else sound.samples,
                    chunks[number].words,
                )
            )
        pixels = [lip_landmark_distance(_points(a), _points(b)) for _, a, b in pairs]
        figures = lip_metrics(clips)
        figures["lip_landmark_distance_px"] = figure(float(np.mean(pixels)), _NO_FACE)
        return {key: figures[key] for key in LIP_KEYS}

    def _noise_lips(self) -> dict[str, Figure]:
        """The tracker's noise in the units of the table: distances, and how far the opening trembles."""
        figures = missing((FOUND_KEY, *LIP_KEYS), _NOT_MOVING)
        pairs = [(Track(a, np.ones(len(a), bool)), Track(b, np.ones(len(b), bool))) for a, b in self._scores.noise]
        distance = [lip_landmark_distance(_in_face_widths(a), _in_face_widths(b)) for a, b in pairs]
        pixels = [lip_landmark_distance(_points(a), _points(b)) for a, b in pairs]
        trembling = float(np.mean([_opening(b).std() for _, b in pairs]))
        truths = [track for track in self._scores.truth.tracks if track.usable]
        moving = float(np.mean([_opening(track).std() for track in truths])) if truths else 0.0
        figures["lip_landmark_distance"] = figure(float(np.mean(distance)), _NO_FACE)
        figures["lip_landmark_distance_px"] = figure(float(np.mean(pixels)), _NO_FACE)
        ratio = trembling / moving if moving > 0 else float("nan")
        figures["opening_amplitude_ratio"] = figure(ratio, "the ground truth's lips do not move")
        return figures

    # ---- sync

    def _sync(self) -> MetricTable:
        note = "Lips against the sound. The lip-sync classifier is our own, and no training ever used it as a loss."
        rows = {name: self._lse(name, row) | self._lip_sync_figures(name) for name, row in self._scores.rows.items()}
        return self._table("Sync", note, rows)

    def _lse(self, name: str, row: RowScores) -> dict[str, Figure]:
        tool = self._scores.tools.syncnet
        if isinstance(tool, Missing):
            return missing(LSE_KEYS, tool.reason)
        mean = mean_score(row.lse)
        reason = TOO_SHORT if row.lse else self._why_silent(name)
        return {"lse_c": figure(mean.confidence, reason), "lse_d": figure(mean.distance, reason)}

    def _why_silent(self, name: str) -> str:
        """Why lips and sound of a row could not be compared."""
        if self._person is None:
            return _NO_FACE
        heard = any(chunk.sound_of(name) is not None for chunk in self._scores.chunks)
        return _NO_FACE if heard else _NO_SOUND

    def _score_lip_sync(self) -> dict[str, LipSyncScore]:
        classifier = self._scores.tools.lip_sync
        if isinstance(classifier, Missing) or self._person is None:
            return {}
        neutral = self._person.neutral[_KEYPOINTS]
        truths = [motion.points for motion in self.motions[TRUTH] if motion is not None]
        gain = classifier.gain_of(truths)
        scores = {}
        for name, motions in self.motions.items():
            clips = []
            for chunk, motion in zip(self._scores.chunks, motions, strict=True):
                sound = chunk.sound_of(name)
                if motion is not None and sound is not None:
                    features = classifier.encode(sound.samples, len(motion))
                    clips.append((motion.points, features))
            if clips:
                scores[name] = classifier.score(clips, neutral, gain=gain)
        return scores

    def _lip_sync_figures(self, name: str) -> dict[str, Figure]:
        if name in self.lip_sync:
            return lip_sync_figures(self.lip_sync[name])
        classifier = self._scores.tools.lip_sync
        reason = classifier.reason if isinstance(classifier, Missing) else self._why_silent(name)
        return missing(LIP_SYNC_KEYS, reason)

    # ---- stability

    def _motions(self, row: RowScores) -> list[MotionTrack | None]:
        """The row's motion in the head frame, unsmoothed, chunk by chunk."""
        assert self._person is not None
        out: list[MotionTrack | None] = [None] * len(row.tracks)
        usable = {number: track for number, _, track in self._pairs(row)}
        if not usable:
            return out
        for number, motion in zip(usable, self._in_head_frame([t.mesh_px for t in usable.values()]), strict=True):
            out[number] = motion
        return out

    def _in_head_frame(self, meshes: Sequence[FloatArray]) -> list[MotionTrack]:
        assert self._person is not None
        camera = self._person.camera
        track = solve_head_poses(
            np.concatenate(meshes),
            camera.width,
            camera.height,
            segments=np.repeat(np.arange(len(meshes)), [len(mesh) for mesh in meshes]),
            neutral=self._person.neutral,
            focal=camera.focal,
            smooth_frames=0,
            smooth_depth_frames=0,
        )
        ends = np.cumsum([len(mesh) for mesh in meshes]).tolist()
        spans = [slice(stop - len(mesh), stop) for stop, mesh in zip(ends, meshes, strict=True)]
        return [MotionTrack(track.mesh[s][:, _KEYPOINTS], track.pose[s]) for s in spans]

    def _stability(self) -> MetricTable:
        note = "Poses fitted to each frame alone, so that the tracker's own noise is part of every row."
        rows: dict[str, dict[str, Figure]] = {}
        for name, row in self._scores.rows.items():
            rows[name] = self._jitter(name) | self._flicker(row)
        if self._scores.noise and self._person is not None:
            rows[NOISE] = self._noise_jitter()
        return self._table("Stability", note, rows)

    def _jitter(self, name: str) -> dict[str, Figure]:
        if self._person is None:
            return missing(JITTER_RATIO_KEYS, _NO_FACE)
        both = [(a, b) for a, b in zip(self.motions[TRUTH], self.motions[name], strict=True) if a and b]
        if not both:
            return missing(JITTER_RATIO_KEYS, _NO_FACE)
        return stability_ratio_figures([a for a, _ in both], [b for _, b in both])

    def _flicker(self, row: RowScores) -> dict[str, Figure]:
        truth, other = _root_mean(self._scores.truth.flicker), _root_mean(row.flicker)
        reason = _NO_TORSO if not self._scores.truth.flicker else "the ground truth's torso does not flicker"
        return {
            "torso_flicker_ratio": figure(other / truth if truth > 0 else float("nan"), reason),
            "temporal_difference_error": figure(_mean(row.temporal_errors), "fewer than two frames in a row"),
        }

    def _noise_jitter(self) -> dict[str, Figure]:
        """Jitter of a face that does not move at all, over the ground truth's."""
        truths = [motion for motion in self.motions[TRUTH] if motion is not None]
        copies = self._in_head_frame([b for _, b in self._scores.noise])
        rest = missing(("torso_flicker_ratio", "temporal_difference_error"), _NOT_MOVING)
        return stability_ratio_figures(truths, copies) | rest


def _points(track: Track) -> FloatArray:
    """[F, K, 2] pixels."""
    return track.mesh_px[:, _KEYPOINTS, :2]


def _in_face_widths(track: Track) -> FloatArray:
    """[F, K, 2] in widths of the clip's own face, so that its size in the picture plays no part."""
    points = _points(track)
    return points / np.float32(face_width(points).mean())


def _opening(track: Track) -> FloatArray:
    return np.asarray(lip_opening(_in_face_widths(track)))


def _mean(values: Sequence[tuple[float, int]]) -> float:
    """Mean of (value, weight)."""
    known = [(value, weight) for value, weight in values if np.isfinite(value)]
    return float(np.average([v for v, _ in known], weights=[w for _, w in known])) if known else float("nan")


def _root_mean(values: Sequence[tuple[float, int]]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(_mean([(value**2, weight) for value, weight in values])))
