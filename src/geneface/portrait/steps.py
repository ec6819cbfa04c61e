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
from geneface.io.store import TensorWriter, load_tensors, read_json, save_tensors, write_json
from geneface.portrait.chunks import chunk_count
from geneface.portrait.clues import ClueTask, gather_clues
from geneface.portrait.crops import Square
from geneface.portrait.follow import FollowTask, follow
from geneface.portrait.mask import FrameRef, PlateTask, load_plate, make_masks, make_plate, mask_tasks, read_rows
from geneface.portrait.measure import MeasureTask, measure
from geneface.portrait.offsets import RunOffset, run_offsets
from geneface.portrait.photometric import REFINED_SMOOTH_FRAMES, luminance, refine_poses
from geneface.portrait.plan import Shot
from geneface.portrait.portrait import BACKGROUND_NAME, FEATURES_NAME, TRACKS_NAME, audio_path, segment_path
from geneface.portrait.scan import Scanned, SourceScan, scan_or_error
from geneface.portrait.segments import Segment
from geneface.portrait.tracks import Run, mouth_boxes
from geneface.portrait.workspace import Workspace
from geneface.signal.sound import cut_frames
from geneface.types import Camera, FloatArray, ProgressFn, Waveform
from geneface.workers import run_tasks

Task = TypeVar("Task")
Result = TypeVar("Result")

_LONG_SHOT_CHUNKS = 4
"""Shots with at least this many chunks are shared between the workers."""
_PARTS_PER_WORKER = 2
"""Into how many parts: more show progress finer, but each part decodes the video from its start."""


@dataclass(frozen=True)
class Job:
    """What all steps need."""

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
    ) -> None:
        """Run tasks in the worker processes and show how far they are; `store` is called as store(index, result)."""
        done = 0

        def finished(index: int, result: Result) -> None:
            nonlocal done
            if store:
                store(index, result)
            done += 1
            self.progress(name, done, len(tasks))

        run_tasks(function, tasks, self.workers, finished)

    def followed(self, shot: int) -> Path:
        """Folder of the tracked chunks of one shot."""
        return self.work.folder("followed", f"{shot:04d}")

    def measured(self, segment: str) -> Path:
        """Folder of the cut-out chunks of one segment."""
        return self.work.folder("measured", segment)

    def plate(self, scene: int) -> Path:
        """Tensors of the plate of one scene."""
        return self.work.folder("plates") / f"{scene:03d}.safetensors"

    def rows(self, segment: Segment, frames: int | None = None) -> FrameRef:
        """Where the pictures of a segment lie, or the first `frames` of them."""
        count = segment.run.frames if frames is None else frames
        return FrameRef(str(self.measured(segment.name)), 0, count)


def scan(job: Job, videos: Sequence[Path], *, strict: bool) -> list[Scanned | InputError]:
    """Look through all sources and hear them: a JSON file and the sound's samples for each that can be read.

    Raises:
        InputError: one can't be read, with `strict`; otherwise what is wrong with it stands in its place.
    """
    paths = [job.work.folder("scan") / f"{index:04d}.json" for index in range(len(videos))]
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

    job.run("look through the videos", scan_or_error, [videos[index] for index in missing], store)
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


def track_faces(job: Job, scans: Sequence[SourceScan], shots: Sequence[Shot]) -> None:
    """Follow the face through every frame of the shots, in chunks."""
    tasks = []
    for index, shot in enumerate(shots):
        scan, folder = scans[shot.source], str(job.followed(index))
        for first, last in _parts(job, shot.frames):
            tasks.append(
                FollowTask(scan.path, scan.turns, shot.start, shot.stop, folder, first, last, shot.region, shot.face_px)
            )
    job.run("track the face", follow, tasks)


def find_clues(job: Job, shots: Sequence[Shot]) -> None:
    """Look for what judges ask: who is seen, whether the camera moves."""
    tasks = [ClueTask(str(job.followed(index)), shot.frames, shot.region) for index, shot in enumerate(shots)]
    job.run("look at the pictures", gather_clues, tasks)


def cut_out(job: Job, scans: Sequence[SourceScan], segments: Sequence[Segment], squares: Sequence[Square]) -> None:
    """Pictures and person mattes of all frames of the segments, in chunks."""
    tasks = []
    for segment in segments:
        run, scan = segment.run, scans[segment.run.source]
        for first, last in _parts(job, run.frames):
            stop, folder = run.start + run.frames, str(job.measured(segment.name))
            square = squares[run.scene]
            tasks.append(MeasureTask(scan.path, scan.turns, run.start, stop, folder, first, last, square, job.size))
    job.run("cut out the head", measure, tasks)


def _parts(job: Job, frames: int) -> list[tuple[int, int]]:
    """Chunks [first, last) of so many frames, shared between the workers if they are many."""
    chunks = chunk_count(frames)
    parts = min(chunks, _PARTS_PER_WORKER * job.workers) if chunks >= _LONG_SHOT_CHUNKS else 1
    return list(pairwise(np.linspace(0, chunks, parts + 1).astype(int).tolist()))


def find_offsets(job: Job, sounds: Sequence[Waveform | None], runs: Sequence[Run]) -> list[RunOffset]:
    """Compare sound and lips of each run, once."""
    path = job.work.folder() / "offsets.json"
    if not path.exists():
        job.progress("compare sound and lips", 0, 1)
        found = run_offsets(sounds, [(run.source, run.start, run.mesh_px) for run in runs])
        write_json(path, [vars(offset) for offset in found])
        job.progress("compare sound and lips", 1, 1)
    offsets = [SoundOffset(**values) for values in read_json(path)]
    return [
        RunOffset(run.source, run.start, run.start + run.frames, offset)
        for run, offset in zip(runs, offsets, strict=True)
    ]


def crop_meshes(segments: Sequence[Segment], squares: Sequence[Square], size: int) -> list[FloatArray]:
    """[f, 478, 3] the meshes of each segment, in pixels of its pictures."""
    meshes = []
    for segment in segments:
        square = squares[segment.run.scene]
        corner = np.array([square.x, square.y, 0], np.float32)
        meshes.append((segment.run.mesh_px - corner) * np.float32(size / square.side))
    return meshes


def solve_poses(
    job: Job,
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
    label = np.repeat(np.arange(len(segments), dtype=np.int32), [segment.run.frames for segment in segments])
    heldout = np.concatenate([segment.heldout_flags for segment in segments])
    stretch = 2 * label + heldout
    job.progress("solve the head's pose", 0, 1)
    solve = partial(
        solve_head_poses,
        width=job.size,
        height=job.size,
        smooth_frames=smooth_frames,
        smooth_depth_frames=smooth_depth_frames,
    )
    person = solve(mesh_px[~heldout], segments=stretch[~heldout])
    track = solve(mesh_px, segments=stretch, neutral=person.neutral, focal=person.focal)
    track = _refined(job, segments, track, mesh_px, stretch, ~heldout)
    save_tensors(
        job.work.out / TRACKS_NAME,
        {
            "mesh": track.mesh,
            "landmarks": track.mesh[:, list(KEYPOINTS)],
            "rotation": track.pose.rotation,
            "translation": track.pose.translation,
            "segment": label,
            "heldout": heldout,
            "neutral": track.neutral,
            "mouth_box": mouth_boxes(mesh_px, job.size),
        },
        {"landmarks": KEYPOINT_NAMES},
    )
    job.progress("solve the head's pose", 1, 1)
    return track


def _refined(
    job: Job,
    segments: Sequence[Segment],
    track: HeadTrack,
    mesh_px: FloatArray,
    stretch: NDArray[np.integer],
    trusted: NDArray[np.bool_],
) -> HeadTrack:
    """The track with poses that agree with the pictures, see `portrait.photometric`."""
    starts = np.cumsum([0, *(segment.run.frames for segment in segments)])

    def read(frame: int) -> tuple[FloatArray, FloatArray]:
        number = int(np.searchsorted(starts, frame, side="right")) - 1
        row = frame - int(starts[number])
        rows = job.rows(segments[number])
        picture, matte = (read_rows(rows, name, row, row + 1)[0] for name in ("frames", "matte"))
        return luminance(picture), matte.astype(np.float32) / 255

    camera = Camera(track.focal, job.size, job.size)
    progress = partial(job.progress, "refine the head's pose")
    pose = refine_poses(read, track.pose, track.neutral, trusted, camera, progress)
    return with_poses(track, pose, mesh_px, job.size, job.size, segments=stretch, smooth_frames=REFINED_SMOOTH_FRAMES)


def clean_backgrounds(job: Job, segments: Sequence[Segment]) -> dict[int, str]:
    """A clean plate a scene; returns scene -> file name. That of the scene with the most frames is background.png.

    Held-out frames do not enter a plate, unless a scene has no others.
    """
    members: dict[int, list[Segment]] = {}
    for segment in segments:
        members.setdefault(segment.run.scene, []).append(segment)
    tasks = []
    for number, scene in members.items():
        training = [segment for segment in scene if segment.training_frames]
        refs = [job.rows(segment, segment.training_frames) for segment in training]
        tasks.append(PlateTask(tuple(refs or [job.rows(segment) for segment in scene]), str(job.plate(number))))
    job.run("clean the background", make_plate, tasks)
    main = max(members, key=lambda number: (sum(s.run.frames for s in members[number]), -number))
    names = {number: BACKGROUND_NAME if number == main else f"backgrounds/{number:03d}.png" for number in members}
    for number, name in names.items():
        image = np.round(np.clip(load_plate(job.plate(number)).image, 0, 255)).astype(np.uint8)
        write_png(job.work.out / name, image)
    return names


def store_pictures(job: Job, segments: Sequence[Segment], meshes: Sequence[FloatArray]) -> None:
    """Masks of all frames, then pictures and masks of each segment in one file."""
    mesh_of = {segment.name: mesh for segment, mesh in zip(segments, meshes, strict=True)}
    unfinished = [segment for segment in segments if not segment_path(job.work.out, segment.name).exists()]
    tasks = {
        segment.name: mask_tasks(
            job.rows(segment),
            mesh_of[segment.name],
            str(job.plate(segment.run.scene)),
            job.work.folder("masks", segment.name),
        )
        for segment in unfinished
    }
    job.run("mask head and torso", make_masks, [task for name in tasks for task in tasks[name]])
    for number, segment in enumerate(unfinished):
        with TensorWriter(segment_path(job.work.out, segment.name)) as writer:
            for task in tasks[segment.name]:
                writer.append("frames", read_rows(task.ref, "frames", task.start, task.stop))
                writer.append("masks", load_tensors(task.out)["masks"])
        job.progress("store the pictures", number + 1, len(unfinished))


def encode_speech(
    job: Job, segments: Sequence[Segment], sounds: Sequence[Waveform | None], encoder: SpeechEncoder
) -> None:
    """Corrected sound of each segment, and the speech features of it."""
    path = job.work.out / FEATURES_NAME
    if path.exists():
        return
    features = {}
    for number, segment in enumerate(segments):
        sound, run = sounds[segment.run.source], segment.run
        assert sound is not None
        samples = cut_frames(sound, run.start + segment.sound_shift, run.frames, segment.sound_drift_ppm)
        write_wav(audio_path(job.work.out, segment.name), Waveform(samples))
        features[segment.name] = encoder.encode(samples, run.frames).values.astype(np.float16)
        job.progress("speech features", number + 1, len(segments))
    save_tensors(path, features, {"encoder": encoder.name})
