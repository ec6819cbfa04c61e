"""A corpus in memory, and random training sequences from it. F frames, K named landmarks, D feature width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from geneface.corpus.corpus import Corpus
from geneface.corpus.voices import Voice, at_times, load_voices
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening
from geneface.types import FloatArray, ProgressFn, no_progress


@dataclass(frozen=True)
class ClipData:
    """One clip."""

    name: str
    speaker: str
    features: NDArray[np.float16]
    """[2F, D]."""
    displacement: FloatArray
    """[F, K, 3] from the speaker's neutral, divided by the speaker's gain."""
    neutral: FloatArray
    """[K, 3]."""
    gain: float
    """How much wider the speaker opens the lips than the reference speaker."""

    @property
    def landmarks(self) -> FloatArray:
        """[F, K, 3] as measured."""
        return self.neutral + self.gain * self.displacement


@dataclass(frozen=True)
class CorpusData:
    """All clips of a corpus."""

    encoder: str
    feature_width: int
    training: list[ClipData]
    heldout: list[ClipData]
    gains: dict[str, float]
    voices: dict[str, list[Voice]] = field(default_factory=dict)
    """Of training clips by name: the same motion with other speech."""

    @property
    def reference(self) -> str:
        """The speaker with most training clips; amplitude 1."""
        return reference_speaker([clip.speaker for clip in self.training])


def reference_speaker(speakers: list[str]) -> str:
    """The most frequent name, the first in the alphabet among equals."""
    return max(sorted(set(speakers)), key=speakers.count)


def load_corpus_data(corpus: Corpus, progress: ProgressFn = no_progress, *, voices: bool = False) -> CorpusData:
    """Read every clip (features stay in half precision: 45 minutes take 0.3 GB).

    Args:
        voices: also what `corpus.voices` added, which takes as much again for every recording of a clip.

    Raises:
        InputError: there is no training or no held-out clip.
    """
    parts: dict[bool, list[ClipData]] = {False: [], True: []}
    entries = corpus.clips(heldout=False)
    if not entries or not corpus.clips(heldout=True):
        raise InputError(
            f"the corpus {corpus.folder} has no clip to train on or none to test on",
            "give ten clips of somebody, or clips of ten speakers",
        )
    spread: dict[str, list[float]] = {}
    loaded = []
    for index, entry in enumerate(corpus.manifest.clips):
        features = corpus.features(entry).values.astype(np.float16)
        displacement = corpus.displacement(entry)
        if not entry.heldout:
            spread.setdefault(entry.speaker, []).append(
                float(lip_opening(displacement + corpus.neutral[entry.speaker]).std())
            )
        loaded.append((entry, features, displacement))
        progress("read corpus", index + 1, len(corpus.manifest.clips))
    reference = reference_speaker([entry.speaker for entry in entries])
    gains = {speaker: float(np.mean(values) / np.mean(spread[reference])) for speaker, values in spread.items()}
    for entry, features, displacement in loaded:
        gain = gains.get(entry.speaker, 1.0)
        neutral = corpus.neutral[entry.speaker]
        clip = ClipData(entry.name, entry.speaker, features, displacement / np.float32(gain), neutral, gain)
        parts[entry.heldout].append(clip)
    manifest = corpus.manifest
    others = load_voices(corpus.folder, progress) if voices else {}
    late = {entry.name: entry.late_frames for entry in entries}
    # Voices are in step with the clip's sound.
    others = {
        name: [replace(voice, times=voice.times - np.float32(late[name])) for voice in of_clip]
        for name, of_clip in others.items()
    }
    return CorpusData(manifest.encoder, manifest.feature_width, parts[False], parts[True], gains, others)


CLIP_STRIDE = 1 << 20
"""Distance of clips in the numbering of frames that `SequenceSampler` gives: longer than any clip."""


class SequenceSampler:
    """Draws training sequences: clips of one speaker strung together, then cropped.

    Short clips are joined so that the networks see speech on both sides of a frame, as they will in long recordings,
    and not mostly the silence of zero padding. Speakers are drawn by the square root of their share: the few clips
    of rare speakers count for more, without being repeated without end.
    """

    def __init__(
        self,
        clips: list[ClipData],
        motion: list[FloatArray],
        crop_frames: int,
        voices: Mapping[str, Sequence[Voice]] | None = None,
        voices_share: float = 0.0,
    ) -> None:
        """Take the corpus.

        Args:
            motion: [F, *] of each clip, cropped along with its features.
            voices: by clip's name, its motion with other speech.
            voices_share: of the sequences, that are made of them.
        """
        self._clips, self._motion, self._crop = clips, motion, crop_frames
        self._voices, self._voices_share = voices or {}, voices_share
        self._by_speaker: dict[str, list[int]] = {}
        for index, clip in enumerate(clips):
            self._by_speaker.setdefault(clip.speaker, []).append(index)
        weights = np.sqrt([len(members) for members in self._by_speaker.values()])
        self._shares = weights / weights.sum()

    def draw(self, count: int, seed: int) -> tuple[FloatArray, FloatArray, NDArray[np.intp]]:
        """Draw `count` sequences.

        Returns:
            features [count, 2 crop, D]; motion [count, crop, *]; places [count, crop]: frame f of clip c is
            c * CLIP_STRIDE + f, so that a moment that was drawn twice can be recognised.
        """
        rng = np.random.default_rng(seed)
        speakers = list(self._by_speaker.values())
        drawn = [self._sequence(speakers[rng.choice(len(speakers), p=self._shares)], rng) for _ in range(count)]
        features, motion, places = (np.stack(parts) for parts in zip(*drawn, strict=True))
        return features.astype(np.float32), motion.astype(np.float32), places

    def _sequence(self, members: list[int], rng: np.random.Generator) -> tuple[NDArray, NDArray, NDArray]:
        # No draw where there is nothing to choose: a corpus without voices gives the sequences it always gave.
        is_other = bool(self._voices) and rng.random() < self._voices_share
        features: list[NDArray] = []
        motion: list[NDArray] = []
        places: list[NDArray] = []
        frames = 0
        first = 0
        while frames < self._crop + first:
            index = members[rng.integers(len(members))]
            rows, coefficients = self._clips[index].features, self._motion[index]
            moments = np.arange(len(coefficients))
            others = self._voices.get(self._clips[index].name, ()) if is_other else ()
            if others:
                voice = others[rng.integers(len(others))]
                rows, coefficients = voice.features, at_times(coefficients, voice.times)
                moments = np.rint(voice.times).astype(int)
            if not features:
                first = int(rng.integers(len(coefficients)))
            features.append(rows)
            motion.append(coefficients)
            places.append(index * CLIP_STRIDE + moments)
            frames += len(coefficients)
        last = first + self._crop
        joined = np.concatenate(features)[2 * first : 2 * last]
        return joined, np.concatenate(motion)[first:last], np.concatenate(places)[first:last]
