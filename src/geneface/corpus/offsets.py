"""Each clip's own offset of sound and picture, taken back before a model learns from it.

Recorders start sound and pictures of a clip anew. GRID's 892 clips of speaker 1 are .4 frames apart (deviation), which
blurs the lips that a model learns, and which it is then measured with. How late a clip's sound is, its lips tell, as in
`portrait.offsets`: by what the motion model and the lip-sync classifier that ship ask of anybody's. F frames at 25 Hz,
w windows of a few seconds, L lags.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.lip_sync import LipSyncTowers
from geneface.analysis.sync_offset import Agreement, LipTrack, compare, fit_near, fit_offset
from geneface.corpus.steps import Step, open_raw, read_samples, worker_encoder
from geneface.errors import InputError
from geneface.io.tensors import load_tensors, save_tensors
from geneface.motion.runtime import MotionModel
from geneface.types import FloatArray


@dataclass(frozen=True)
class ListenStep(Step):
    """How well a clip's lips agree with their sound at each lag. Inputs: the file with the sound, raw track, clip."""

    neutral: FloatArray
    """[K, 3]."""

    @property
    def product(self) -> Path:
        """Kept until the corpus is whole."""
        return agreements_path(self.out, self.name)

    def run(self) -> str:
        """Compare."""
        if not self.product.is_file():
            sound, track, clip = self.inputs
            points = load_tensors(clip)["landmarks"]
            windows = _Listener.one().agreements(read_samples(sound, open_raw(track)), points, self.neutral)
            save_tensors(self.product, _tensors(windows))
        return ""


class _Listener:
    """The networks that say what a sound asks of lips."""

    def __init__(self) -> None:
        self._model, self._towers = MotionModel.load(), LipSyncTowers.load()

    @staticmethod
    @functools.cache
    def one() -> _Listener:
        """One per worker process."""
        return _Listener()

    def agreements(self, samples: FloatArray, points: FloatArray, neutral: FloatArray) -> list[Agreement]:
        """Of landmarks [F, K, 3] with [640 F] samples."""
        if len(points) <= self._towers.config.window or not samples.any():
            return []
        moved, embedded = (
            worker_encoder(of.config.encoder).encode(samples, len(points)) for of in (self._model, self._towers)
        )
        asked = LipTrack.of(neutral + self._model.predict(moved), self._towers.embed_speech(embedded))
        gain = self._towers.gain_of([points])
        seen = LipTrack.of(points, self._towers.embed_lips(points, neutral, gain))
        return compare(seen, asked, 0, np.ones(len(points), bool))


def agreements_path(out: Path, name: str) -> Path:
    """What was heard of a clip."""
    return out / "offsets" / f"{name}.safetensors"


def find_offsets(out: Path, speakers: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Frames by which the sound of each clip is late, by name; clips of speakers who are not sure are left out.

    Args:
        speakers: names of each one's clips that were listened to.
    """
    late: dict[str, float] = {}
    for names in speakers.values():
        windows = {name: _agreements(load_tensors(agreements_path(out, name))) for name in names}
        common = fit_offset([window for of_clip in windows.values() for window in of_clip])
        if common.confident:
            late |= {
                # A clip that says nothing by itself was recorded like the others.
                name: (fit_near(of_clip, common) if of_clip else common).frames
                for name, of_clip in windows.items()
            }
    return late


def _tensors(windows: Sequence[Agreement]) -> dict[str, NDArray]:
    return {
        "middle": np.array([window.middle for window in windows], np.float64),
        "values": np.array([window.values for window in windows], np.float64),
        "frames": np.array([window.frames for window in windows], np.float64),
        "speech_frames": np.array([window.speech_frames for window in windows], np.int64),
    }


def _agreements(tensors: Mapping[str, NDArray]) -> list[Agreement]:
    try:
        rows = zip(*(tensors[name] for name in ("middle", "values", "frames", "speech_frames")), strict=True)
        return [Agreement(float(middle), values, frames, int(speech)) for middle, values, frames, speech in rows]
    except (KeyError, ValueError) as error:
        raise InputError(
            "what was heard of a clip is damaged", "remove the folder offsets, and add --resume"
        ) from error
