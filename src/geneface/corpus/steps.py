"""The three steps of a corpus, each a piece of work on files of its own: so it can be done on any machine.

track     a video -> raw mesh pixels, in parts of at most `PART_FRAMES`
solve     raw tracks of one camera -> the speaker's neutral face and the camera's focal length
finish    a part's raw track and sound -> canonical landmarks and speech features

A step writes its files atomically, and is done when they are there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geneface.analysis.speech import SpeechEncoder, load_encoder
from geneface.analysis.tracker import track_frames
from geneface.corpus.layouts import Source, part_suffix
from geneface.corpus.offsets import agreement_tensors
from geneface.errors import InputError, MissingExtraError
from geneface.geometry.landmarks import KEYPOINTS
from geneface.geometry.pose import solve_head_poses
from geneface.imaging.cuts import find_cuts, picture_change, thumbnail
from geneface.io.audio import read_audio
from geneface.io.media import probe
from geneface.io.tensors import TensorFile, load_tensors, save_tensors
from geneface.io.video import VideoFrame, read_frames
from geneface.signal.sound import cut_frames
from geneface.types import VIDEO_RATE_HZ, ByteArray, FloatArray

MIN_FRAMES = 50
"""Frames that a clip must have. What is left of a long one behind its last whole part is not used if it has fewer."""
PART_FRAMES = 1500
"""A longer video is tracked in parts, which are clips of their own: memory stays flat."""
MIN_FOUND = 0.95
"""Share of frames with a face that a clip must have."""
_POSE_FRAMES = 3000
"""Frames that a neutral face and a focal length are solved from."""


@dataclass(frozen=True)
class Step:
    """One piece of work: `run` reads `inputs`, writes below `out`, and nothing else."""

    name: str
    """Of what is made."""
    inputs: tuple[Path, ...]
    out: Path
    """The corpus folder."""

    @property
    def product(self) -> Path:
        """The file that is there when the step is done."""
        raise NotImplementedError

    def run(self) -> str:
        """Do it, unless it is done; returns why the clip can't be used, or nothing."""
        raise NotImplementedError

    def packed(self) -> Step:
        """The same step with as little to read as possible, for another machine."""
        return self


def run_step(step: Step) -> str:
    """Run it, in a worker process."""
    return step.run()


# ---- raw tracks


@dataclass(frozen=True)
class RawTrack:
    """What the step "track" left of one part, without its mesh."""

    path: Path
    found: np.ndarray
    """[F] bool."""
    face_count: np.ndarray
    """[F] int."""
    width: int
    """Pixels of the picture."""
    height: int
    first_frame_seconds: float
    parts: int
    """Of the whole video; known to its first part."""
    cut_seconds: float | None
    """Where the video is cut, if it is; known to its first part."""
    is_sound_beside: bool
    """The sound is in the file beside the video."""

    def mesh_px(self) -> FloatArray:
        """[F, 478, 3]."""
        return TensorFile(self.path).get("mesh_px")

    def some_meshes(self, count: int) -> FloatArray:
        """At most `count` meshes [n, 478, 3] of frames with a face, spread evenly."""
        seen = np.flatnonzero(self.found)
        chosen = np.linspace(0, len(seen) - 1, min(count, len(seen))).astype(int)
        return TensorFile(self.path).mapped("mesh_px")[seen[chosen]]


def raw_path(out: Path, name: str) -> Path:
    """The file of a part."""
    return out / "raw" / f"{name}.safetensors"


def clip_path(out: Path, name: str) -> Path:
    """What is finished of a clip."""
    return out / "clips" / f"{name}.safetensors"


def open_raw(path: Path) -> RawTrack:
    """Read all but the mesh."""
    file = TensorFile(path)
    said = file.metadata
    width, height = (int(side) for side in file.get("size"))
    return RawTrack(
        path,
        found=file.get("found").astype(bool),
        face_count=file.get("face_count").astype(int),
        width=width,
        height=height,
        first_frame_seconds=float(file.get("first_frame_seconds")[0]),
        parts=int(said.get("parts", 1)),
        cut_seconds=float(said["cut_seconds"]) if "cut_seconds" in said else None,
        is_sound_beside=said.get("sound") == "beside",
    )


def parts_of(out: Path, source: Source) -> list[tuple[Source, RawTrack]]:
    """The parts in which a video was tracked; each source says where its sound is."""
    first = open_raw(raw_path(out, source.name))
    source = replace(source, sound=source.sound if first.is_sound_beside else source.path)
    others = [replace(source, part=part) for part in range(2, first.parts + 1)]
    return [(source, first), *((part, open_raw(raw_path(out, part.name))) for part in others)]


def why_drop(raw: RawTrack) -> str:
    """Why a part can't be used, or nothing."""
    if raw.cut_seconds is not None:
        return f"a cut at {raw.cut_seconds:.2f} s"
    if len(raw.found) < MIN_FRAMES:
        return f"{len(raw.found)} frames, fewer than {MIN_FRAMES}"
    if raw.found.mean() < MIN_FOUND:
        return f"no face in {int((~raw.found).sum())} of {len(raw.found)} frames"
    if np.median(raw.face_count) > 1:
        return f"{int(np.median(raw.face_count))} faces"
    return ""


def clip_samples(out: Path, source: Source) -> FloatArray:
    """[640 F] samples at 16 kHz of a clip that was tracked, from its first frame to its last."""
    is_beside = open_raw(raw_path(out, replace(source, part=1).name)).is_sound_beside
    sound = source.sound if is_beside and source.sound is not None else source.path
    return read_samples(sound, open_raw(raw_path(out, source.name)))


def read_samples(sound: Path, raw: RawTrack) -> FloatArray:
    """[640 F] samples at 16 kHz of a track, from its first frame to its last."""
    return cut_frames(read_audio(sound), raw.first_frame_seconds * VIDEO_RATE_HZ, len(raw.found))


# ---- the steps


@dataclass(frozen=True)
class TrackStep(Step):
    """Inputs: the video, and the file with its sound if one lies beside it."""

    @property
    def product(self) -> Path:
        """The first part, which is written last."""
        return raw_path(self.out, self.name)

    def run(self) -> str:
        """Track the parts. One damaged clip must not cost the others."""
        if self.product.is_file():
            return ""
        video, *beside = self.inputs
        try:
            is_beside = bool(beside) and probe(video).audio is None
            read_audio(beside[0] if is_beside else video)
            self._track(video, {"sound": "beside"} if is_beside else {})
        except MissingExtraError:
            raise
        except InputError as error:
            return f"{error.cause} {error.where}".rstrip()
        return ""

    def _track(self, video: Path, said: dict[str, str]) -> None:
        pictures = _Pictures(video)
        first = pictures.track_part()
        written: list[Path] = []
        while pictures.are_left:
            tensors = pictures.track_part()
            if len(tensors["found"]) >= MIN_FRAMES:
                written.append(raw_path(self.out, f"{self.name}{part_suffix(len(written) + 2)}"))
                save_tensors(written[-1], tensors)
        if pictures.cuts:
            # Behind a cut there may be somebody else.
            for path in written:
                path.unlink()
            said = {**said, "cut_seconds": f"{pictures.cuts[0] / VIDEO_RATE_HZ:.2f}"}
        elif written:
            said = {**said, "parts": str(len(written) + 1)}
        save_tensors(self.product, first, said)


class _Pictures:
    """The frames of a video, tracked a part at a time."""

    def __init__(self, path: Path) -> None:
        self._frames = read_frames(path, VIDEO_RATE_HZ)
        self._next: VideoFrame | None = next(self._frames, None)
        self._changes: list[float] = []
        self._gaps: set[int] = set()
        self._before: np.ndarray | None = None

    @property
    def are_left(self) -> bool:
        """Whether there is another part."""
        return self._next is not None

    @property
    def cuts(self) -> list[int]:
        """Frames that begin another shot, of those that were read."""
        return sorted(self._gaps.union(find_cuts(self._changes)))

    def track_part(self) -> dict[str, np.ndarray]:
        """The tensors of the next part's file."""
        size: list[int] = []
        times: list[float] = []

        def images() -> Iterator[ByteArray]:
            while self._next is not None and len(times) < PART_FRAMES:
                frame = self._next
                size[:] = frame.image.shape[1], frame.image.shape[0]
                times.append(frame.time_seconds)
                self._compare(frame)
                yield frame.image
                self._next = next(self._frames, None)

        track = track_frames(images())
        return {
            "mesh_px": track.mesh_px,
            "found": track.found.astype(np.uint8),
            "face_count": track.face_count.astype(np.uint8),
            "size": np.array(size, np.int32),
            "first_frame_seconds": np.array(times[:1], np.float64),
        }

    def _compare(self, frame: VideoFrame) -> None:
        small = thumbnail(frame.image)
        if frame.is_cut and self._before is not None:
            self._gaps.add(len(self._changes))
        self._changes.append(0.0 if self._before is None else picture_change(self._before, small))
        self._before = small


@dataclass(frozen=True)
class SolveStep(Step):
    """Inputs: raw tracks of one camera's training clips; `name` is that of the speaker in the corpus."""

    size: tuple[int, int]
    """Width and height of the pictures."""
    meshes: FloatArray | None = None
    """[N, 478, 3] of them, where they were read already."""

    @property
    def product(self) -> Path:
        """The neutral face; the focal length is written on it."""
        return speaker_path(self.out, self.name)

    def packed(self) -> SolveStep:
        """With the meshes in place of the tracks."""
        return replace(self, inputs=(), meshes=self._read())

    def run(self) -> str:
        """Solve."""
        if self.product.is_file():
            return ""
        meshes = self._read() if self.meshes is None else self.meshes
        # Scattered frames are enough for the shape; their own poses are not used, hence no smoothing.
        solved = solve_head_poses(meshes, *self.size, smooth_frames=0.0, smooth_depth_frames=0.0)
        save_tensors(self.product, {"neutral": solved.neutral}, {"focal": repr(float(solved.focal))})
        return ""

    def _read(self) -> FloatArray:
        count = max(1, _POSE_FRAMES // len(self.inputs))
        return np.concatenate([open_raw(path).some_meshes(count) for path in self.inputs])


def speaker_path(out: Path, speaker: str) -> Path:
    """What is solved of one speaker, until all are."""
    return out / "speakers" / f"{speaker}.safetensors"


@dataclass(frozen=True)
class FinishStep(Step):
    """Inputs: the file with the sound, and the raw track."""

    encoder: str
    encoder_path: Path | None
    neutral: FloatArray
    """[478, 3]."""
    focal: float

    @property
    def product(self) -> Path:
        """The clip."""
        return clip_path(self.out, self.name)

    def run(self) -> str:
        """Bring the track to the canonical head frame, encode the speech, and hear whether they go together."""
        if self.product.is_file():
            return ""
        sound, track = self.inputs
        speech = worker_encoder(self.encoder, self.encoder_path)
        raw = open_raw(track)
        solved = solve_head_poses(raw.mesh_px(), raw.width, raw.height, neutral=self.neutral, focal=self.focal)
        samples = read_samples(sound, raw)
        features = speech.encode(samples, len(raw.found))
        named = list(KEYPOINTS)
        landmarks = np.ascontiguousarray(solved.mesh[:, named], np.float32)
        tensors = {
            "landmarks": landmarks,
            "features": features.values.astype(np.float16),
            "found": raw.found.astype(np.uint8),
            **agreement_tensors(samples, landmarks, self.neutral[named], features),
        }
        save_tensors(self.product, tensors)
        return ""


@functools.cache
def worker_encoder(name: str, path: Path | None = None) -> SpeechEncoder:
    """One per worker process."""
    return load_encoder(name, path)


def read_speaker(out: Path, speaker: str) -> tuple[FloatArray, float]:
    """Neutral face [478, 3] and focal length that `SolveStep` found."""
    path = speaker_path(out, speaker)
    return load_tensors(path)["neutral"], float(TensorFile(path).metadata["focal"])
