"""Clips of many speakers -> corpus folder (see `corpus.corpus`), in resumable steps.

track     every clip, in worker processes: video -> raw mesh pixels
pose      per speaker one neutral face and focal length, from frames of all training clips
clips     every clip, in worker processes: canonical landmarks, and speech features of the sound

Each clip's result is written atomically; what exists is not computed again.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from geneface.analysis.speech import DEFAULT_ENCODER, SpeechEncoder, load_encoder
from geneface.analysis.tracker import FaceTrack, track_frames
from geneface.corpus.corpus import MANIFEST_NAME, ClipEntry, CorpusManifest, DroppedEntry, is_heldout
from geneface.errors import InputError, MissingExtraError
from geneface.geometry.landmarks import KEYPOINTS
from geneface.geometry.pose import solve_head_poses
from geneface.io.audio import read_audio
from geneface.io.clips import VIDEO_SUFFIXES, find_clips
from geneface.io.place import remove_leftovers
from geneface.io.records import write_json
from geneface.io.tensors import TensorFile, load_tensors, save_tensors
from geneface.io.video import read_frames
from geneface.io.work import claim_folder, clear_folder, exclusive_folder
from geneface.signal.sound import cut_frames
from geneface.types import (
    VIDEO_RATE_HZ,
    FloatArray,
    ProgressFn,
    no_progress,
)
from geneface.workers import run_tasks

WORKERS = 2
MIN_FRAMES = 50
MIN_FOUND = 0.95
"""Share of frames with a face that a clip must have."""
_POSE_FRAMES = 3000
"""Frames that a speaker's neutral face and focal length are solved from."""
_SPEAKER_PREFIX = re.compile(r"^(s\d+)_")


@dataclass(frozen=True)
class Source:
    """One video file of the corpus."""

    path: Path
    speaker: str

    @property
    def name(self) -> str:
        """Name of the clip in the corpus: speaker__stem."""
        return f"{self.speaker}__{self.path.stem}"


def find_sources(folders: Path | Sequence[Path]) -> list[Source]:
    """Videos below the folders, sorted by speaker and name.

    The speaker is the file name's prefix (`s26_bgbsza.mp4` -> s26), else the name of the folder it is in.
    """
    chosen = [Path(folders)] if isinstance(folders, str | Path) else [Path(folder) for folder in folders]
    sources = []
    for folder in chosen:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder", "give a folder of video clips")
        for path in find_clips(folder, is_deep=True).taken:
            prefix = _SPEAKER_PREFIX.match(path.name)
            sources.append(Source(path, prefix[1] if prefix else path.parent.name))
    if not sources:
        raise InputError(
            f"no video in {', '.join(map(str, chosen))}", f"give clips ({', '.join(sorted(VIDEO_SUFFIXES))})"
        )
    sources.sort(key=lambda source: source.name)
    names = [source.name for source in sources]
    for first, second in itertools.pairwise(names):
        if first == second:
            raise InputError(f"two clips are named {first}", "give each speaker a folder or a prefix (s01_clip.mp4)")
    return sources


def prepare_corpus(
    folders: Path | Sequence[Path],
    out: Path,
    *,
    encoder: str = DEFAULT_ENCODER,
    encoder_path: Path | None = None,
    resume: bool = False,
    workers: int = WORKERS,
    progress: ProgressFn = no_progress,
) -> CorpusManifest:
    """Track all clips below `folders`, bring them to the canonical head frame, and encode their speech.

    Args:
        folders: a folder, or several, of clips; see `find_sources` for the speakers' names.
        out: the corpus folder; must be new or empty unless `resume`.
        encoder, encoder_path: as for `analysis.speech.load_encoder`.
        resume: continue a folder that was interrupted.
        workers: processes.
        progress: stages "track" and "clips".
    """
    sources = find_sources(folders)
    out = Path(out)
    # A wrong name or missing weights should be reported before the clips are tracked, not after.
    name = load_encoder(encoder, encoder_path).name
    settings = {"encoder": name, "sources": [source.name for source in sources]}
    with exclusive_folder(out):
        claim_folder(
            out,
            "settings.json",
            settings,
            resume,
            begun=InputError(f"{out} holds a corpus already", "add --resume to continue it, or choose another folder"),
            other=InputError(f"{out} was begun with other clips or another encoder", "choose another folder"),
            present=(path for path in out.iterdir() if not path.name.startswith(".")),
        )
        try:
            manifest = _prepare(sources, out, name, encoder_path, workers, progress)
        except InputError:
            if not resume:
                clear_folder(out)
            raise
        remove_leftovers(out)
    return manifest


def _prepare(
    sources: list[Source], out: Path, encoder: str, encoder_path: Path | None, workers: int, progress: ProgressFn
) -> CorpusManifest:
    """All steps in their order."""
    unreadable = run_stage(functools.partial(_track, out=out), sources, workers, "track", progress)
    reasons = {
        source.name: reason or _why_drop(read_track(out, source))
        for source, reason in zip(sources, unreadable, strict=True)
    }
    usable = [source for source in sources if not reasons[source.name]]
    if not usable:
        raise InputError(
            f"none of the {len(sources)} clips can be used, {sources[0].path}: {reasons[sources[0].name]}",
            "geneface check VIDEO says more about a clip",
        )
    heldout = heldout_names(sources)
    focals = _solve_speakers(usable, heldout, out)
    finish = functools.partial(_finish, out=out, encoder=encoder, encoder_path=encoder_path, focals=focals)
    shapes = run_stage(finish, usable, workers, "clips", progress)
    manifest = CorpusManifest(
        encoder=encoder,
        feature_width=shapes[0][1],
        speakers=focals,
        clips=tuple(
            ClipEntry(
                name=source.name,
                speaker=source.speaker,
                source=source.path.name,
                frames=frames,
                heldout=source.name in heldout,
            )
            for source, (frames, _) in zip(usable, shapes, strict=True)
        ),
        dropped=tuple(DroppedEntry(name=name, reason=reason) for name, reason in sorted(reasons.items()) if reason),
    )
    write_json(out / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return manifest


def heldout_names(sources: Iterable[Source]) -> set[str]:
    """Names of the clips that are never trained on: every tenth of each speaker's sorted clips."""
    by_speaker: dict[str, list[str]] = {}
    for source in sources:
        by_speaker.setdefault(source.speaker, []).append(source.name)
    return {name for names in by_speaker.values() for index, name in enumerate(sorted(names)) if is_heldout(index)}


Task = TypeVar("Task")
Result = TypeVar("Result")


def run_stage(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int, stage: str, progress: ProgressFn
) -> list[Result]:
    """Results of `function` over `tasks` in their order, by worker processes (see `workers.run_tasks`)."""
    done = 0

    def finished(index: int, result: Result) -> None:
        nonlocal done
        done += 1
        progress(stage, done, len(tasks))

    return run_tasks(function, tasks, workers, finished)


def _raw_path(out: Path, source: Source) -> Path:
    return out / "raw" / f"{source.name}.safetensors"


def _track(source: Source, out: Path) -> str:
    """Track one clip; returns why it can't be read, or nothing. One damaged clip must not cost the others."""
    path = _raw_path(out, source)
    if path.is_file():
        return ""
    size: list[int] = []
    times: list[float] = []

    def images() -> Iterable[np.ndarray]:
        for frame in read_frames(source.path, VIDEO_RATE_HZ):
            size[:] = frame.image.shape[1], frame.image.shape[0]
            times.append(frame.time_seconds)
            yield frame.image

    try:
        read_audio(source.path)
        track = track_frames(images())
    except MissingExtraError:
        raise
    except InputError as error:
        return f"{error.cause} {error.where}".rstrip()
    tensors = {
        "mesh_px": track.mesh_px,
        "found": track.found.astype(np.uint8),
        "face_count": track.face_count.astype(np.uint8),
        "size": np.array(size, np.int32),
        "first_frame_seconds": np.array(times[:1], np.float64),
    }
    save_tensors(path, tensors)
    return ""


@dataclass(frozen=True)
class RawTrack:
    """What the step "track" left of one clip."""

    track: FaceTrack
    width: int
    """Pixels of the picture."""
    height: int
    first_frame_seconds: float


def read_track(out: Path, source: Source) -> RawTrack:
    """Read it."""
    tensors = load_tensors(_raw_path(out, source))
    track = FaceTrack(tensors["mesh_px"], tensors["found"].astype(bool), tensors["face_count"].astype(int))
    width, height = (int(side) for side in tensors["size"])
    return RawTrack(track, width, height, float(tensors["first_frame_seconds"][0]))


def clip_samples(out: Path, source: Source) -> FloatArray:
    """[640 F] samples at 16 kHz of a clip that was tracked, from its first frame to its last."""
    raw = read_track(out, source)
    return cut_frames(read_audio(source.path), raw.first_frame_seconds * VIDEO_RATE_HZ, len(raw.track))


def _why_drop(raw: RawTrack) -> str:
    """Why a clip can't be used, or nothing."""
    track = raw.track
    if len(track) < MIN_FRAMES:
        return f"{len(track)} frames, fewer than {MIN_FRAMES}"
    if track.found.mean() < MIN_FOUND:
        return f"no face in {int((~track.found).sum())} of {len(track)} frames"
    if np.median(track.face_count) > 1:
        return f"{int(np.median(track.face_count))} faces"
    return ""


def _solve_speakers(sources: list[Source], heldout: set[str], out: Path) -> dict[str, float]:
    """Neutral face and focal length of each speaker, from training clips; kept in speakers.safetensors."""
    path = out / "speakers.safetensors"
    if path.is_file():
        return {name: float(focal) for name, focal in TensorFile(path).metadata.items()}
    focals: dict[str, float] = {}
    neutral: dict[str, FloatArray] = {}
    for speaker in sorted({source.speaker for source in sources}):
        own = [source for source in sources if source.speaker == speaker]
        training = [source for source in own if source.name not in heldout] or own
        per_clip = max(1, _POSE_FRAMES // len(training))
        meshes: list[FloatArray] = []
        sizes: set[tuple[int, int]] = set()
        for source in training:
            raw = read_track(out, source)
            sizes.add((raw.width, raw.height))
            seen = raw.track.mesh_px[raw.track.found]
            meshes.append(seen[np.linspace(0, len(seen) - 1, min(per_clip, len(seen))).astype(int)])
        if len(sizes) > 1:
            raise InputError(
                f"the clips of {speaker} have several sizes: {sorted(sizes)}", "give one folder per camera"
            )
        width, height = sizes.pop()
        # Scattered frames are enough for the shape; their own poses are not used, hence no smoothing.
        solved = solve_head_poses(np.concatenate(meshes), width, height, smooth_frames=0.0, smooth_depth_frames=0.0)
        focals[speaker], neutral[speaker] = solved.focal, solved.neutral
    save_tensors(path, neutral, {name: repr(float(focal)) for name, focal in focals.items()})
    return focals


@functools.cache
def worker_encoder(name: str, path: Path | None = None) -> SpeechEncoder:
    """One per worker process."""
    return load_encoder(name, path)


def _finish(
    source: Source, out: Path, encoder: str, encoder_path: Path | None, focals: dict[str, float]
) -> tuple[int, int]:
    """Write one clip's file; returns its frames and the feature width."""
    path = out / "clips" / f"{source.name}.safetensors"
    raw = read_track(out, source)
    frames = len(raw.track)
    speech = worker_encoder(encoder, encoder_path)
    if path.is_file():
        return frames, speech.width
    neutral = load_tensors(out / "speakers.safetensors")[source.speaker]
    solved = solve_head_poses(raw.track.mesh_px, raw.width, raw.height, neutral=neutral, focal=focals[source.speaker])
    samples = cut_frames(read_audio(source.path), raw.first_frame_seconds * VIDEO_RATE_HZ, frames)
    features = speech.encode(samples, frames)
    tensors = {
        "landmarks": np.ascontiguousarray(solved.mesh[:, list(KEYPOINTS)], np.float32),
        "features": features.values.astype(np.float16),
        "found": raw.track.found.astype(np.uint8),
    }
    save_tensors(path, tensors)
    return frames, speech.width
