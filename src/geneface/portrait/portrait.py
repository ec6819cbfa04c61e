"""A portrait: the training data of one person, as `prepare_portrait` leaves it on disk.

Symbols: F frames of all segments one after the other, S image size in pixels, K named landmarks, D feature width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_COUNT, MESH_SIZE, are_keypoints
from geneface.io.audio import read_audio
from geneface.io.image import read_png
from geneface.io.tensors import TensorFile
from geneface.portrait.manifest import PortraitManifest, SegmentInfo
from geneface.portrait.source import SourcePictures
from geneface.types import ByteArray, Camera, FloatArray, HeadPose, SpeechFeatures, Waveform

TRACKS_NAME, FEATURES_NAME, BACKGROUND_NAME = "tracks.safetensors", "features.safetensors", "background.png"
TORSO_NAME = "torso.safetensors"
"""Where the torso is in every frame, see `portrait.torso`; portraits of before have none."""


def segment_path(folder: Path, name: str) -> Path:
    """Frames and masks of one segment."""
    return folder / "segments" / f"{name}.safetensors"


def source_path(folder: Path, name: str) -> Path:
    """Whole source pictures of one segment."""
    return folder / "source" / f"{name}.mp4"


def audio_path(folder: Path, name: str) -> Path:
    """Corrected sound of one segment."""
    return folder / "audio" / f"{name}.wav"


class Portrait:
    """Tracks in memory; pictures, masks, features and sound read when asked for."""

    def __init__(self, folder: Path, manifest: PortraitManifest, scene: int | None = None) -> None:
        """Open a folder with this manifest; with `scene` only the segments of that scene.

        Raises:
            InputError: a file is damaged, or there is no such scene.
        """
        self.folder = folder
        self.manifest = manifest
        self.size = manifest.size
        self.camera = Camera(manifest.focal, manifest.size, manifest.size)
        tracks = TensorFile(folder / TRACKS_NAME)
        if not are_keypoints(tracks.metadata.get("landmarks")):
            raise InputError(f"{tracks.path} is of another set of landmarks", "prepare the portrait again")
        self.mesh: FloatArray = tracks.get("mesh")
        """[F, 478, 3] canonical head frame."""
        self.landmarks: FloatArray = tracks.get("landmarks")
        """[F, K, 3] canonical head frame."""
        self.torso_points, torso = _torso(folder, manifest.frames)
        """[G, 2] where `pose.torso` counts from, see `portrait.torso`."""
        self.pose = HeadPose(tracks.get("rotation"), tracks.get("translation"), torso)
        self.segment: NDArray[np.int32] = tracks.get("segment")
        """[F] index into `segments`."""
        self.heldout: NDArray[np.bool_] = tracks.get("heldout").astype(bool)
        """[F] True where training must not look."""
        self.clear: NDArray[np.bool_] = _clear(tracks, self.heldout)
        """[F] True where the frame can be shown again: face seen, mouth free, sharp, turned no further than usual."""
        self.neutral: FloatArray = tracks.get("neutral")
        """[478, 3] the face at rest."""
        self.mouth_box: NDArray[np.int32] = tracks.get("mouth_box")
        """[F, 4] x0, y0, x1, y1 pixels around the lips, ends exclusive."""
        self._check()
        if scene is not None:
            self._keep(scene)
        self.scene: NDArray[np.int32] = np.array([one.scene for one in self.segments], np.int32)[self.segment]
        """[F] which scene each frame is of: one light, one set of clothes."""
        self.background: ByteArray = self._plate(self._main_plate())
        """[S, S, 3] the clean plate of most frames."""
        counts = [segment.frames for segment in self.segments]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._files: dict[int, TensorFile] = {}
        self._sounds: dict[int, Waveform] = {}
        self._features = TensorFile(folder / FEATURES_NAME)

    @classmethod
    def load(cls, folder: Path | str) -> Portrait:
        """Open a portrait folder.

        Raises:
            InputError: it is missing, unfinished or damaged.
        """
        folder = Path(folder)
        return cls(folder, PortraitManifest.read(folder))

    def of_scene(self, scene: int | None = None) -> Portrait:
        """The portrait of one scene alone, its frames and segments numbered anew: nothing of the others is in it.

        Args:
            scene: by default the one with the most frames.

        Raises:
            InputError: there is no such scene.
        """
        scene = self.manifest.main_scene if scene is None else scene
        if self.manifest.scenes == (scene,):
            return self
        return Portrait(self.folder, PortraitManifest.read(self.folder), scene)

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        """Its segments, in the order of its frames."""
        return self.manifest.segments

    def __len__(self) -> int:
        return len(self.mesh)

    def frame(self, index: int) -> tuple[ByteArray, ByteArray]:
        """Picture [S, S, 3] RGB and masks [S, S, 2] (head, torso; together at most 255) of frame `index`."""
        segment = int(self.segment[index])
        row = index - int(self._starts[segment])
        file = self._file(segment)
        return file.rows("frames", row, row + 1)[0], file.rows("masks", row, row + 1)[0]

    def bordered_patch(self, index: int, rows: slice, columns: slice) -> tuple[ByteArray, ByteArray]:
        """A part of a frame with one pixel more on each side, [h + 2, w + 2, 3], and of its masks, [h, w, 2].

        At the picture's edge, the border repeats it.
        """
        segment = int(self.segment[index])
        row = index - int(self._starts[segment])
        file = self._file(segment)
        top, left = max(rows.start - 1, 0), max(columns.start - 1, 0)
        pixels = file.mapped("frames")[row, top : rows.stop + 1, left : columns.stop + 1]
        wanted = rows.stop - rows.start + 2, columns.stop - columns.start + 2
        if pixels.shape[:2] != wanted:
            before = top - rows.start + 1, left - columns.start + 1
            missing = [(b, w - n - b) for b, w, n in zip(before, wanted, pixels.shape, strict=False)]
            pixels = np.pad(pixels, (*missing, (0, 0)), mode="edge")
        return pixels, file.mapped("masks")[row, rows, columns]

    def release_pictures(self) -> None:
        """Give back the memory of pictures and masks that have been read; a long training would keep them all."""
        for file in list(self._files.values()):
            file.release()

    def frames_of(self, segment: int) -> range:
        """Frame numbers of one segment."""
        return range(int(self._starts[segment]), int(self._starts[segment + 1]))

    def features(self, segment: int) -> SpeechFeatures:
        """Speech features [2f, D] of one segment of f frames."""
        values = self._features.get(self.segments[segment].name)
        return SpeechFeatures(values.astype(np.float32), self.manifest.encoder)

    def source(self, segment: int) -> SourcePictures | None:
        """The whole pictures of one segment as they were recorded; None in a portrait of before they were kept."""
        info = self.segments[segment]
        if info.source_size is None or info.source_crop is None:
            return None
        return SourcePictures(
            source_path(self.folder, info.name), *info.source_size, frames=info.frames, crop=info.source_crop
        )

    def audio(self, segment: int) -> Waveform:
        """Sound of one segment, in step with its pictures; kept, 4 MB a minute."""
        if segment not in self._sounds:
            self._sounds[segment] = read_audio(audio_path(self.folder, self.segments[segment].name))
        return self._sounds[segment]

    def segment_background(self, segment: int) -> ByteArray:
        """Clean plate [S, S, 3] behind one segment: differs from `background` where there are several framings."""
        name = self.segments[segment].background
        return self.background if name == self._main_plate() else self._plate(name)

    def _keep(self, scene: int) -> None:
        """Forget all frames but those of one scene."""
        of = np.array([segment.scene for segment in self.manifest.segments])
        self.manifest = self.manifest.of_scene(scene)
        kept = of[self.segment] == scene
        for name in ("mesh", "landmarks", "heldout", "clear", "mouth_box"):
            setattr(self, name, getattr(self, name)[kept])
        # Without its torso: that was followed through all scenes as one, whose clothes are others.
        self.pose = HeadPose(self.pose.rotation[kept], self.pose.translation[kept])
        self.segment = np.searchsorted(np.flatnonzero(of == scene), self.segment[kept]).astype(np.int32)

    def _main_plate(self) -> str:
        """The file of the plate that stands behind most frames of the main scene."""
        frames: dict[str, int] = {}
        for segment in self.manifest.of_scene(self.manifest.main_scene).segments:
            frames[segment.background] = frames.get(segment.background, 0) + segment.frames
        return max(frames, key=lambda name: (frames[name], name == BACKGROUND_NAME))

    def _plate(self, name: str) -> ByteArray:
        image = read_png(self.folder / name)
        if image.shape != (self.size, self.size, 3):
            raise InputError(
                f"{self.folder / name} does not fit the manifest: it is not {self.size} pixels square",
                "prepare the portrait again",
            )
        return image

    def _file(self, segment: int) -> TensorFile:
        if segment not in self._files:
            self._files[segment] = TensorFile(segment_path(self.folder, self.segments[segment].name))
        return self._files[segment]

    def _check(self) -> None:
        frames, count = self.manifest.frames, len(self.manifest.segments)
        shapes = {
            "mesh": (self.mesh, (frames, MESH_SIZE, 3)),
            "landmarks": (self.landmarks, (frames, KEYPOINT_COUNT, 3)),
            "rotation": (self.pose.rotation, (frames, 3)),
            "translation": (self.pose.translation, (frames, 3)),
            "segment": (self.segment, (frames,)),
            "heldout": (self.heldout, (frames,)),
            "clear": (self.clear, (frames,)),
            "mouth_box": (self.mouth_box, (frames, 4)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise InputError(
                    f"{self.folder / TRACKS_NAME} does not fit the manifest: {name} is {array.shape}, not {shape}",
                    "prepare the portrait again",
                )
        if frames and not (self.segment.min() >= 0 and self.segment.max() < count):
            raise InputError(
                f"{self.folder / TRACKS_NAME} does not fit the manifest: there are {count} segments",
                "prepare the portrait again",
            )


def _torso(folder: Path, frames: int) -> tuple[FloatArray | None, FloatArray | None]:
    """Lattice [G, 2] of the torso, and its motion [F, G, 2]; None where it was not followed, or nothing seen of it."""
    path = folder / TORSO_NAME
    if not path.is_file():
        return None, None
    file = TensorFile(path)
    points, moved = file.get("points"), file.get("moved")
    if points.shape[1:] != (2,) or moved.shape != (frames, len(points), 2):
        raise InputError(f"{path} does not fit the manifest: there are {frames} frames", "prepare the portrait again")
    return (points, moved) if len(points) else (None, None)


def _clear(tracks: TensorFile, heldout: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which frames are clear; all, in a portrait of before that was told."""
    return tracks.get("clear").astype(bool) if "clear" in tracks.names else np.ones_like(heldout)
