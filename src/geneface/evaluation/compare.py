"""Compares two videos of the same size: pictures, lips tracked in both, sync, stability.

No portrait is needed. Head and torso come from the tracker's segmentation of the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from geneface.analysis.segmentation import split_head
from geneface.analysis.tracker import PersonSegmenter, open_segmenter
from geneface.errors import InputError
from geneface.evaluation.metrics.lips import face_width
from geneface.evaluation.metrics.picture import ReferenceFrame
from geneface.evaluation.metrics.registry import used_definitions
from geneface.evaluation.metrics.ssim import SSIM_RADIUS
from geneface.evaluation.protocol.chunks import CHUNK_FRAMES
from geneface.evaluation.protocol.controls import CONTROL_NAMES, DELAY_FRAMES, ENCODED, TRUTH
from geneface.evaluation.protocol.tables import Person, VideoTables
from geneface.evaluation.protocol.videos import Chunk, Track, VideoScores, track_video
from geneface.evaluation.report.gallery import Gallery, error_maps, lag_plot, psnr_plot
from geneface.evaluation.report.page import ReportMedia
from geneface.evaluation.report.plots import LipCurve
from geneface.evaluation.report.write import (
    machine_facts,
    report_folder,
    software_versions,
    write_report,
)
from geneface.evaluation.schema import EvaluationReport
from geneface.evaluation.tools import MetricWeights, open_tools, weights_facts
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.geometry.pose import solve_head_poses
from geneface.io.audio import read_audio
from geneface.io.media import probe
from geneface.io.video import read_frames
from geneface.portrait.tracks import mouth_boxes
from geneface.signal.sound import cut_frames
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import (
    VIDEO_RATE_HZ,
    ByteArray,
    Camera,
    FloatArray,
    ProgressFn,
    Waveform,
    no_progress,
)

MAX_FRAMES = 30 * VIDEO_RATE_HZ
MIN_SIDE_PX = 2 * SSIM_RADIUS + 1
_CHUNK_PIXELS = CHUNK_FRAMES * 512 * 512
_MIN_CHUNK_FRAMES = 25
_ALPHA = 0.5
_MAX_CURVE_FRAMES = 30 * VIDEO_RATE_HZ


def compare_videos(
    reference: Path,
    other: Path,
    out_dir: Path | None = None,
    *,
    max_frames: int = MAX_FRAMES,
    weights: MetricWeights | None = None,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """Measure how far `other` is from `reference`, over the frames that both have (25 a second).

    Args:
        max_frames: of longer videos the beginning is compared.
        out_dir: where metrics.json, report.html and contact_sheet.png go; None writes nothing.
        weights: third-party weights for LPIPS, FID and LSE; without them these are n/a.

    Returns:
        The content of metrics.json (`EvaluationReport`).

    Raises:
        InputError: one can't be read, their sizes differ, or weights are damaged.
    """
    total, pixels = _extent(reference, other)
    total = min(total, max_frames)
    scores = VideoScores(open_tools(weights), (other.name,))
    with ExitStack() as stack:
        films = Path(stack.enter_context(TemporaryDirectory()))
        if out_dir is not None:
            stack.enter_context(report_folder(out_dir))
        pairs = _Pairs(reference, other, max_frames)
        names = ("REFERENCE", "OTHER")
        gallery = Gallery(films, out_dir or films, film_rows=[other.name], sheet_rows=[other.name], names=names)
        source = _Chunks(pairs, reference, other, pixels)
        for chunk in source:
            if out_dir is not None:
                gallery.add(chunk)
            scores.add(chunk)
            progress("comparing", scores.frames, total)
        report, media = _report(scores, pairs, gallery, reference, other, weights)
        if out_dir is not None:
            write_report(report, out_dir, media)
    return report.model_dump()


class _Pairs:
    """Iterates over the frames of both videos side by side and counts each; stops with the shorter."""

    def __init__(self, reference: Path, other: Path, max_frames: int) -> None:
        self._paths, self._max_frames = (reference, other), max_frames
        self.counts = [0, 0]

    @property
    def is_cut(self) -> bool:
        """Whether the videos may go on after what was compared."""
        return min(self.counts) >= self._max_frames

    def __iter__(self) -> Iterator[tuple[ByteArray, ByteArray]]:
        for a, b in zip_longest(read_frames(self._paths[0]), read_frames(self._paths[1])):
            self.counts[0] += a is not None
            self.counts[1] += b is not None
            if a is not None and b is not None:
                yield a.image, b.image
            if self.is_cut:
                return


class _Chunks:
    """The two videos, some frames at a time, with what the tracker sees in the reference."""

    def __init__(self, pairs: _Pairs, reference: Path, other: Path, pixels: int) -> None:
        """`pixels`: of a frame; large ones come in shorter chunks, which bounds memory."""
        self._pairs, self._name = pairs, other.name
        self._size = int(np.clip(_CHUNK_PIXELS // pixels, _MIN_CHUNK_FRAMES, CHUNK_FRAMES))
        self._sounds = [_sound(path) for path in (reference, other)]

    def __iter__(self) -> Iterator[Chunk]:
        start, before, still = 0, [], None
        for pairs in _batches(self._pairs, self._size):
            images = [pair[0] for pair in pairs]
            still = images[0] if still is None else still
            sounds = [_heard_from(sound, start, len(images)) for sound in self._sounds]
            references, track = self._references(images)
            yield Chunk(
                name=f"{start / VIDEO_RATE_HZ:.1f} s",
                references=references,
                evaluated={self._name: [pair[1] for pair in pairs]},
                before=before,
                still=still,
                sound=sounds[0],
                other_sound={} if sounds[1] is None else {self._name: sounds[1]},
                truth_track=track,
            )
            start, before = start + len(images), images[-DELAY_FRAMES:]

    def _references(self, images: Sequence[ByteArray]) -> tuple[list[ReferenceFrame], Track]:
        track = track_video(images)
        with open_segmenter() as segmenter:
            frames = [
                _reference(image, mesh, segmenter) if found else ReferenceFrame(image)
                for image, mesh, found in zip(images, track.mesh_px, track.found, strict=True)
            ]
        return frames, track


def _batches(pairs: _Pairs, size: int) -> Iterator[list[tuple[ByteArray, ByteArray]]]:
    """`size` pairs at a time; the rest joins the last batch if it is less than half of one."""
    batch: list[tuple[ByteArray, ByteArray]] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == size + size // 2:
            yield batch[:size]
            batch = batch[size:]
    if batch:
        yield batch


def _reference(image: ByteArray, mesh_px: FloatArray, segmenter: PersonSegmenter) -> ReferenceFrame:
    """Head, torso and mouth of one picture."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), np.uint8)
    square[:height, :width] = image
    head, torso = split_head(segmenter.matte(square), mesh_px)
    box = mouth_boxes(mesh_px[None], side)[0]
    return ReferenceFrame(image, head[:height, :width] > _ALPHA, torso[:height, :width] > _ALPHA, box)


def _sound(path: Path) -> Waveform | None:
    info = probe(path)
    return read_audio(path) if info.audio is not None else None


def _heard_from(sound: Waveform | None, start: int, frames: int) -> Waveform | None:
    return None if sound is None else Waveform(cut_frames(sound, start, frames))


def _extent(reference: Path, other: Path) -> tuple[int, int]:
    """Expected number of frames of the shorter video, and pixels of a frame.

    Raises:
        InputError: their sizes differ or are too small, or one has no picture.
    """
    sizes, seconds = [], []
    for path in (reference, other):
        info = probe(path)
        if info.video is None:
            raise InputError(f"{path} has no picture", "give a video")
        sizes.append((info.video.width, info.video.height))
        seconds.append(info.duration_seconds)
    (width, height), (w_other, h_other) = sizes
    if sizes[0] != sizes[1]:
        raise InputError(
            f"the videos differ in size: {reference} has {width}x{height} pixels, {other} has {w_other}x{h_other}",
            "bring them to one size first, for example with: ffmpeg -i VIDEO -vf scale=WIDTH:HEIGHT OUT.mp4",
        )
    if min(width, height) < MIN_SIDE_PX:
        raise InputError(
            f"the videos are too small to compare: {width}x{height} pixels",
            f"give {MIN_SIDE_PX} pixels a side and more",
        )
    return round(min(seconds) * VIDEO_RATE_HZ), width * height


def _person(scores: VideoScores, size: tuple[int, int]) -> Person | None:
    """Neutral face and focal length, fitted to the reference."""
    meshes = [track.mesh_px for track in scores.truth.tracks if track.usable]
    if not meshes:
        return None
    fitted = solve_head_poses(np.concatenate(meshes), *size)
    return Person(fitted.neutral, Camera(fitted.focal, *size))


def _curve(scores: VideoScores, other: Path) -> list[LipCurve]:
    """Lip opening of both in the picture plane, the first half minute, in face widths; nan where no face was found."""
    curves = []
    for name in (TRUTH, other.name):
        tracks = scores.rows[name].tracks
        found = np.concatenate([track.found for track in tracks])[:_MAX_CURVE_FRAMES] if tracks else np.zeros(0, bool)
        if not found.any():
            return []
        points = np.concatenate([track.mesh_px for track in tracks])[: len(found), list(KEYPOINTS), :2]
        opening = np.full(len(found), np.nan)
        opening[found] = np.asarray(lip_opening(points[found])) / float(np.mean(face_width(points[found])))
        curves.append(opening)
    sounds = [chunk.sound.samples for chunk in scores.chunks if chunk.sound is not None]
    samples = np.concatenate(sounds)[: len(curves[0]) * SAMPLES_PER_FRAME] if sounds else None
    return [LipCurve(other.name, curves[0], curves[1], samples)]


def _report(
    scores: VideoScores,
    pairs: _Pairs,
    gallery: Gallery,
    reference: Path,
    other: Path,
    weights: MetricWeights | None,
) -> tuple[EvaluationReport, ReportMedia]:
    info = probe(reference).video
    assert info is not None
    if pairs.is_cut:
        note = f"The first {scores.frames} frames compared."
    else:
        a, b = pairs.counts
        note = f"{scores.frames} frames compared; {reference.name} has {a}, {other.name} {b}."
    if any(chunk.sound is not None and other.name not in chunk.other_sound for chunk in scores.chunks):
        note += f" {other.name} has no sound: its lips are scored, and filmed, with the sound of {reference.name}."
    why = {region: "no face was found" for region in ("head", "mouth")}
    built = VideoTables(scores, _person(scores, (info.width, info.height)), note, why)
    tables = built.tables()
    rows = (other.name, ENCODED, CONTROL_NAMES["late"], CONTROL_NAMES["still"])
    plots = [*psnr_plot(scores, rows), *lag_plot(built.lip_sync, (TRUTH, *rows))]
    report = EvaluationReport(
        subject=other.name,
        reference=reference.name,
        tables=tables,
        definitions=used_definitions(tables),
        versions=software_versions() | weights_facts(weights),
        machine=machine_facts(),
    )
    return report, gallery.media(_curve(scores, other), plots, error_maps(scores, rows))
