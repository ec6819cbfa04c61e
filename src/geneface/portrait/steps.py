"""The steps of `prepare_portrait` that write files: each skips what is there already.

Symbols: F frames of all segments, S picture size, K named landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.speech import SpeechEncoder
from geneface.analysis.sync_offset import SoundOffset
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_NAMES, KEYPOINTS
from geneface.geometry.pose import HeadTrack, solve_head_poses, with_poses
from geneface.io.audio import read_audio, write_wav
from geneface.io.image import write_png
from geneface.io.records import read_json, write_json
from geneface.io.tensors import TensorWriter, load_tensors, save_tensors
from geneface.portrait.chunks import chunk_count
from geneface.portrait.clear import clear_frames, face_boxes
from geneface.portrait.clues import ClueTask, gather_clues
from geneface.portrait.crops import Square
from geneface.portrait.follow import FollowTask, follow
from geneface.portrait.mask import FrameRef, PlateTask, load_plate, make_masks, make_plate, mask_tasks, read_rows
from geneface.portrait.measure import JoinTask, MeasureTask, join, measure, source_chunk
from geneface.portrait.offsets import SpanOffset, span_offsets
from geneface.portrait.photometric import REFINED_SMOOTH_FRAMES, luminance, refine_by_scene
from geneface.portrait.plan import Shot
from geneface.portrait.portrait import (
    BACKGROUND_NAME,
    FEATURES_NAME,
    TRACKS_NAME,
    audio_path,
    segment_path,
    source_path,
)
from geneface.portrait.scan import Scanned, SourceScan, expected_frames, scan_or_error
from geneface.portrait.segments import Segment, main_framing
from geneface.portrait.source import SourceSize, source_size
from geneface.portrait.tracks import TrackedSpan, mouth_boxes
from geneface.portrait.workspace import Workspace
from geneface.signal.sound import cut_frames
from geneface.types import Camera, FloatArray, ProgressFn, Waveform
from geneface.workers import run_tasks

Task = TypeVar("Task")
Result = TypeVar("Result")

_LONG_SHOT_CHUNKS = 4
"""Shots with at least this many chunks are shared between the workers."""
_PARTS_PER_WORKER = 2
"""Into how many parts: with more, progress is finer, but each part decodes the video from its start."""


@dataclass(frozen=True)
class Preparation:
    """What all steps share: the workspace, the size of the pictures, the workers, who hears of progress."""

    work: Workspace
    size: int
    workers: int
    progress: ProgressFn

    def run(
        self,
        name: str,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        store: Callable[[int, Result], None] | None = None,
        frames: int | None = None,
    ) -> None:
        """Run tasks in the worker processes and show how far they are; `store` is called as store(index, result).

        Args:
            frames: about how many frames the tasks report by `advance`, 0 where that is not known: progress counts
                them. By default it counts tasks.
        """
        if not tasks:
            return
        done, total = 0, len(tasks) if frames is None else frames
        self.progress(name, 0, total)

        def advanced(units: int) -> None:
            nonlocal done
            # The number of frames is only expected.
            done = min(done + units, total) if total else done + units
            self.progress(name, done, total)

        def finished(index: int, result: Result) -> None:
            if store:
                store(index, result)
            if frames is None:
                advanced(1)

        run_tasks(function, tasks, self.workers, finished, None if frames is None else advanced)
        if frames is not None:
            self.progress(name, total or done, total or done)

    def followed(self, shot: int) -> Path:
        """Folder of the tracked chunks of one shot."""
        return self.work.folder("followed", f"{shot:04d}")

    def measured(self, segment: str) -> Path:
        """Folder of the cut-out chunks of one segment."""
        return self.work.folder("measured", segment)

    def plate(self, framing: int) -> Path:
        """Tensors of the plate of one framing."""
        return self.work.folder("plates") / f"{framing:03d}.safetensors"

    def rows(self, segment: Segment, frames: int | None = None) -> FrameRef:
        """Where the pictures of a segment lie, or the first `frames` of them."""
        count = segment.span.frames if frames is None else frames
        return FrameRef(str(self.measured(segment.name)), 0, count)


def scan(prep: Preparation, videos: Sequence[Path], *, strict: bool) -> list[Scanned | InputError]:
    """Look through all sources and hear them: a JSON file and the sound's samples for each that can be read.

    Raises:
        InputError: one can't be read, with `strict`; otherwise what is wrong with it stands in its place.
    """
    paths = [prep.work.folder("scan") / f"{index:04d}.json" for index in range(len(videos))]
    missing = [index for index, path in enumerate(paths) if not path.exists()]
    errors: dict[int, InputError] = {}

    def store(position: int, found: Scanned | InputError) -> None:
        if isinstance(found, InputError):
            if strict:
                raise found
            errors[missing[position]] = found
            return
        seen, sound = found
        path = paths[missing[position]]
        if sound is not None:
            tensors = {"samples": sound.samples, "start_seconds": np.array([sound.start_seconds])}
            save_tensors(_sound_path(path), tensors)
        # The last of the two: it says that the source is done.
        write_json(path, seen.to_json())

    todo = [videos[index] for index in missing]
    expected = [expected_frames(video) for video in todo]
    prep.run("look through the videos", scan_or_error, todo, store, sum(expected) if all(expected) else 0)
    return [errors.get(index) or _scanned(path) for index, path in enumerate(paths)]


def _sound_path(scan: Path) -> Path:
    return scan.with_suffix(".safetensors")


def _scanned(path: Path) -> Scanned:
    """What `scan` has stored of a source."""
    seen = SourceScan.from_json(read_json(path))
    if seen.sound:
        return seen, None
    if not _sound_path(path).is_file():
        # Looked through by a version that did not keep it.
        return seen, read_audio(seen.path)
    stored = load_tensors(_sound_path(path))
    return seen, Waveform(stored["samples"], float(stored["start_seconds"][0]))


def track_faces(prep: Preparation, scans: Sequence[SourceScan], shots: Sequence[Shot]) -> None:
    """Follow the face through every frame of the shots, in chunks."""
    tasks = []
    for index, shot in enumerate(shots):
        scan, folder = scans[shot.source], str(prep.followed(index))
        for first, last in _parts(prep, shot.frames):
            tasks.append(
                FollowTask(scan.path, scan.turns, shot.start, shot.stop, folder, first, last, shot.region, shot.face_px)
            )
    prep.run("track the face", follow, tasks, frames=sum(task.frames for task in tasks))


def find_clues(prep: Preparation, shots: Sequence[Shot]) -> None:
    """Look for what judges ask: who is seen, whether the camera moves."""
    tasks = [ClueTask(str(prep.followed(index)), shot.frames, shot.region) for index, shot in enumerate(shots)]
    prep.run("look at the pictures", gather_clues, tasks)


def cut_out(
    prep: Preparation,
    scans: Sequence[SourceScan],
    segments: Sequence[Segment],
    squares: Sequence[Square],
    meshes: Sequence[FloatArray],
) -> None:
    """Pictures and person mattes of all frames of the segments, and the whole pictures, in chunks."""
    tasks = []
    for segment, mesh in zip(segments, meshes, strict=True):
        span, scan = segment.span, scans[segment.span.source]
        square, kept = squares[span.framing], kept_size(segment, scans, squares)
        faces = face_boxes(mesh, prep.size)
        for first, last in _parts(prep, span.frames):
            stop, folder = span.start + span.frames, str(prep.measured(segment.name))
            part = scan.path, scan.turns, span.start, stop, folder, first, last
            tasks.append(MeasureTask(*part, square, prep.size, kept, faces))
    prep.run("cut out the head", measure, tasks, frames=sum(task.frames for task in tasks))


def kept_size(segment: Segment, scans: Sequence[SourceScan], squares: Sequence[Square]) -> SourceSize:
    """At which size the whole pictures of a segment are kept."""
    scan = scans[segment.span.source]
    return source_size(scan.width, scan.height, squares[segment.span.framing])


def join_sources(prep: Preparation, segments: Sequence[Segment]) -> None:
    """The whole pictures of each segment in one file."""
    tasks = []
    for segment in segments:
        folder, chunks = prep.measured(segment.name), range(chunk_count(segment.span.frames))
        pieces = tuple(str(source_chunk(folder, chunk)) for chunk in chunks)
        tasks.append(JoinTask(pieces, str(source_path(prep.work.out, segment.name))))
    prep.run("store the source pictures", join, tasks)


def _parts(prep: Preparation, frames: int) -> list[tuple[int, int]]:
    """Chunks [first, last) of so many frames, shared between the workers if they are many."""
    chunks = chunk_count(frames)
    parts = min(chunks, _PARTS_PER_WORKER * prep.workers) if chunks >= _LONG_SHOT_CHUNKS else 1
    return list(pairwise(np.linspace(0, chunks, parts + 1).astype(int).tolist()))


def find_offsets(
    prep: Preparation, sounds: Sequence[Waveform | None], spans: Sequence[TrackedSpan]
) -> list[SpanOffset]:
    """Compare sound and lips of each span, once."""
    path = prep.work.folder() / "offsets.json"
    if not path.exists():
        prep.progress("compare sound and lips", 0, 1)
        found = span_offsets(sounds, [(span.source, span.start, span.mesh_px) for span in spans])
        write_json(path, [vars(offset) for offset in found])
        prep.progress("compare sound and lips", 1, 1)
    offsets = [SoundOffset(**values) for values in read_json(path)]
    return [
        SpanOffset(span.source, span.start, span.start + span.frames, offset)
        for span, offset in zip(spans, offsets, strict=True)
    ]


def crop_meshes(segments: Sequence[Segment], squares: Sequence[Square], size: int) -> list[FloatArray]:
    """[f, 478, 3] the meshes of each segment, in pixels of its pictures."""
    meshes = []
    for segment in segments:
        square = squares[segment.span.framing]
        corner = np.array([square.x, square.y, 0], np.float32)
        meshes.append((segment.span.mesh_px - corner) * np.float32(size / square.side))
    return meshes


def solve_poses(
    prep: Preparation,
    shots: Sequence[Shot],
    segments: Sequence[Segment],
    meshes: Sequence[FloatArray],
    smooth_frames: float,
    smooth_depth_frames: float,
) -> HeadTrack:
    """Head poses and landmarks of all segments: tracks.safetensors. Fast, so it is never skipped.

    The person's shape, focal length and appearance come from training frames only, and no pose is smoothed across the
    border to held-out frames.
    """
    mesh_px = np.concatenate(meshes)
    label = np.repeat(np.arange(len(segments), dtype=np.int32), [segment.span.frames for segment in segments])
    heldout = np.concatenate([segment.heldout_flags for segment in segments])
    part = 2 * label + heldout
    prep.progress("solve the head's pose", 0, 1)
    solve = partial(
        solve_head_poses,
        width=prep.size,
        height=prep.size,
        smooth_frames=smooth_frames,
        smooth_depth_frames=smooth_depth_frames,
    )
    person = solve(mesh_px[~heldout], segments=part[~heldout])
    track = solve(mesh_px, segments=part, neutral=person.neutral, focal=person.focal)
    track = _refined(prep, segments, track, mesh_px, part, ~heldout)
    folders = {number: prep.followed(number) for number in sorted({segment.span.shot for segment in segments})}
    details = [read_rows(prep.rows(segment), "detail", 0, segment.span.frames) for segment in segments]
    save_tensors(
        prep.work.out / TRACKS_NAME,
        {
            "mesh": track.mesh,
            "landmarks": track.mesh[:, list(KEYPOINTS)],
            "rotation": track.pose.rotation,
            "translation": track.pose.translation,
            "segment": label,
            "heldout": heldout,
            "clear": clear_frames(folders, shots, segments, details, track.pose.rotation),
            "neutral": track.neutral,
            "mouth_box": mouth_boxes(mesh_px, prep.size),
        },
        {"landmarks": KEYPOINT_NAMES},
    )
    prep.progress("solve the head's pose", 1, 1)
    return track


def _refined(
    prep: Preparation,
    segments: Sequence[Segment],
    track: HeadTrack,
    mesh_px: FloatArray,
    part: NDArray[np.integer],
    trusted: NDArray[np.bool_],
) -> HeadTrack:
    """The track with poses that agree with the pictures of their scene, see `portrait.photometric`."""
    starts = np.cumsum([0, *(segment.span.frames for segment in segments)])
    scene = np.repeat([segment.span.scene for segment in segments], np.diff(starts))

    def read(frame: int) -> tuple[FloatArray, FloatArray]:
        number = int(np.searchsorted(starts, frame, side="right")) - 1
        row = frame - int(starts[number])
        rows = prep.rows(segments[number])
        picture, matte = (read_rows(rows, name, row, row + 1)[0] for name in ("frames", "matte"))
        return luminance(picture), matte.astype(np.float32) / 255

    camera = Camera(track.focal, prep.size, prep.size)
    progress = partial(prep.progress, "refine the head's pose")
    pose = refine_by_scene(read, track.pose, track.neutral, trusted, scene, camera, progress)
    return with_poses(track, pose, mesh_px, prep.size, prep.size, segments=part, smooth_frames=REFINED_SMOOTH_FRAMES)


def clean_backgrounds(prep: Preparation, segments: Sequence[Segment]) -> dict[int, str]:
    """A clean plate a framing; returns framing -> file name. That of scene 1 with the most frames is background.png.

    Held-out frames do not enter a plate, unless a framing has no others.
    """
    members: dict[int, list[Segment]] = {}
    for segment in segments:
        members.setdefault(segment.span.framing, []).append(segment)
    tasks = []
    for number, framing in members.items():
        training = [segment for segment in framing if segment.training_frames]
        refs = [prep.rows(segment, segment.training_frames) for segment in training]
        tasks.append(PlateTask(tuple(refs or [prep.rows(segment) for segment in framing]), str(prep.plate(number))))
    prep.run("clean the background", make_plate, tasks)
    main = main_framing(segments)
    names = {number: BACKGROUND_NAME if number == main else f"backgrounds/{number:03d}.png" for number in members}
    for number, name in names.items():
        image = np.round(np.clip(load_plate(prep.plate(number)).image, 0, 255)).astype(np.uint8)
        write_png(prep.work.out / name, image)
    return names


def store_pictures(prep: Preparation, segments: Sequence[Segment], meshes: Sequence[FloatArray]) -> None:
    """Masks of all frames, then pictures and masks of each segment in one file."""
    mesh_of = {segment.name: mesh for segment, mesh in zip(segments, meshes, strict=True)}
    unfinished = [segment for segment in segments if not segment_path(prep.work.out, segment.name).exists()]
    tasks = {
        segment.name: mask_tasks(
            prep.rows(segment),
            mesh_of[segment.name],
            str(prep.plate(segment.span.framing)),
            prep.work.folder("masks", segment.name),
        )
        for segment in unfinished
    }
    prep.run("mask head and torso", make_masks, [task for name in tasks for task in tasks[name]])
    prep.progress("store the pictures", 0, len(unfinished))
    for number, segment in enumerate(unfinished):
        with TensorWriter(segment_path(prep.work.out, segment.name)) as writer:
            for task in tasks[segment.name]:
                writer.append("frames", read_rows(task.ref, "frames", task.start, task.stop))
                writer.append("masks", load_tensors(task.out)["masks"])
        prep.progress("store the pictures", number + 1, len(unfinished))


def encode_speech(
    prep: Preparation, segments: Sequence[Segment], sounds: Sequence[Waveform | None], encoder: SpeechEncoder
) -> None:
    """Corrected sound of each segment, and the speech features of it."""
    path = prep.work.out / FEATURES_NAME
    if path.exists():
        return
    features = {}
    prep.progress("speech features", 0, len(segments))
    for number, segment in enumerate(segments):
        sound, span = sounds[segment.span.source], segment.span
        assert sound is not None
        samples = cut_frames(sound, span.start + segment.sound_shift, span.frames, segment.sound_drift_ppm)
        write_wav(audio_path(prep.work.out, segment.name), Waveform(samples))
        features[segment.name] = encoder.encode(samples, span.frames).values.astype(np.float16)
        prep.progress("speech features", number + 1, len(segments))
    save_tensors(path, features, {"encoder": encoder.name})
