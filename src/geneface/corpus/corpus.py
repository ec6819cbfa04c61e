"""A corpus folder: many clips of many speakers as aligned landmarks and speech features.

F frames at 25 Hz, K named landmarks, D feature width. On disk:

    manifest.json           format, encoder, speakers, clips (name, speaker, frames, heldout), dropped
    speakers.safetensors    <speaker>: neutral face [478, 3], head frame
    clips/<name>.safetensors  landmarks [F, K, 3] f32 head frame; features [2F, D] f16; found [F] u8; agreement.*: what
                              the clip's offset is found by (`corpus.offsets`)
    raw/<name>.safetensors    mesh_px [F, 478, 3] f32, found [F] u8: the tracker's own, so that a better pose
                              solver needs no second tracking

`layouts.heldout_names` says which clips are held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from geneface.config import Config
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.records import read_record
from geneface.io.tensors import load_tensors
from geneface.types import FloatArray, SpeechFeatures

MANIFEST_NAME = "manifest.json"
CORPUS_FORMAT = 1
HELDOUT_PERIOD = 10
LayoutName = Literal["auto", "lrs3", "mead", "crema-d", "hdtf", "grid", "generic"]
LAYOUTS: tuple[LayoutName, ...] = get_args(LayoutName)
"""How the videos of a corpus may lie on the disk (`corpus.layouts`)."""
CAMERAS = ("front",)
"""Which of several cameras that filmed a speaker at once are taken."""


class ClipEntry(Config):
    """One usable clip."""

    name: str
    """<speaker>__<clip>, also the file's stem."""
    speaker: str
    source: str
    """File name of the video."""
    frames: int
    heldout: bool
    late_frames: float = 0.0
    """By how much its sound is late, negative: early (`corpus.offsets`); 0 where that is not sure."""


class DroppedEntry(Config):
    """One clip that was not used, and why."""

    name: str
    reason: str


class CorpusManifest(Config):
    """`manifest.json`."""

    format: int = CORPUS_FORMAT
    encoder: str
    feature_width: int
    keypoints: tuple[int, ...] = KEYPOINTS
    layout: LayoutName = "auto"
    """As it was given; `corpus.layouts` finds the same videos again with it."""
    cameras: tuple[str, ...] = CAMERAS
    speakers: dict[str, float]
    """Focal length of each speaker's camera, image widths. Further cameras of a speaker are speakers of their own."""
    clips: tuple[ClipEntry, ...]
    dropped: tuple[DroppedEntry, ...]


def is_heldout(index: int) -> bool:
    """Whether the clip at this place of a speaker's sorted names is never trained on."""
    return index % HELDOUT_PERIOD == HELDOUT_PERIOD - 1


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus, read clip by clip."""

    folder: Path
    manifest: CorpusManifest
    neutral: dict[str, FloatArray]
    """Per speaker, the named landmarks of the face at rest [K, 3]."""

    @classmethod
    def load(cls, folder: Path) -> Corpus:
        """Open a folder of `corpus prepare`.

        Raises:
            InputError: it is missing, unfinished or of another version.
        """
        folder = Path(folder)
        if not (folder / MANIFEST_NAME).is_file():
            raise InputError(f"{folder} has no manifest.json", "finish it with: geneface corpus prepare --resume")
        manifest = read_record(CorpusManifest, folder / MANIFEST_NAME, CORPUS_FORMAT, "prepare the corpus again")
        if manifest.keypoints != KEYPOINTS:
            raise InputError(f"the corpus {folder} has other landmarks", "prepare it again with this version")
        neutral = load_tensors(folder / "speakers.safetensors")
        return cls(folder, manifest, {name: mesh[list(KEYPOINTS)] for name, mesh in neutral.items()})

    def clips(self, *, heldout: bool) -> list[ClipEntry]:
        """The held-out clips, or the training clips."""
        return [clip for clip in self.manifest.clips if clip.heldout == heldout]

    def landmarks(self, clip: ClipEntry) -> FloatArray:
        """[F, K, 3] in the canonical head frame."""
        return self._tensors(clip)["landmarks"]

    def displacement(self, clip: ClipEntry) -> FloatArray:
        """[F, K, 3] from the speaker's neutral."""
        return self.landmarks(clip) - self.neutral[clip.speaker]

    def features(self, clip: ClipEntry) -> SpeechFeatures:
        """[2F, D] of a clip, in step with its pictures, in float32."""
        return SpeechFeatures(moved(self._tensors(clip)["features"], clip.late_frames), self.manifest.encoder)

    def _tensors(self, clip: ClipEntry) -> dict[str, np.ndarray]:
        path = self.folder / "clips" / f"{clip.name}.safetensors"
        if not path.is_file():
            raise InputError(f"{path} is missing", "prepare the corpus again with --resume")
        return load_tensors(path)


def moved(features: NDArray[np.floating], late: float) -> FloatArray:
    """Rows [2F, D] of a sound that is late by so many frames -> those of the pictures; ends are repeated."""
    if not late:
        return features.astype(np.float32)
    last = len(features) - 1
    at = np.clip(np.arange(len(features)) + 2 * late, 0, last)
    first = np.minimum(at.astype(int), max(last - 1, 0))
    share: FloatArray = (at - first).astype(np.float32)[:, None]
    after = np.minimum(first + 1, last)
    return ((1 - share) * features[first] + share * features[after]).astype(np.float32)
