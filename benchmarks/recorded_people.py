"""People whose lips are known: portraits, and speakers of a corpus, with all that a benchmark of their lips needs.

F frames at 25 Hz, K named landmarks. Tracking a person again, after our MP4 writer, says how well anything that is
shown in a video can score at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.speech import SpeechEncoder
from geneface.analysis.tracker import track_frames
from geneface.avatar.idle import voice_activity
from geneface.corpus.corpus import ClipEntry, Corpus
from geneface.corpus.dataset import reference_speaker
from geneface.corpus.layouts import Source, find_sources
from geneface.corpus.resynthesis import spoken
from geneface.corpus.steps import clip_samples, open_raw, raw_path
from geneface.corpus.voices import words_of
from geneface.evaluation.protocol.controls import encoded
from geneface.geometry.landmarks import KEYPOINTS
from geneface.geometry.pose import solve_head_poses
from geneface.io.tensors import load_tensors
from geneface.io.video import read_frames
from geneface.io.words import Words
from geneface.portrait.portrait import Portrait
from geneface.types import VIDEO_RATE_HZ, FloatArray, SpeechFeatures


@dataclass(frozen=True)
class Recording:
    """Consecutive frames of a person."""

    name: str
    measured: FloatArray
    """[F, K, 3] displacement from the person's neutral."""
    heldout: NDArray[np.bool_]
    """[F] what is never adapted to."""
    features: SpeechFeatures
    samples: FloatArray | None
    """[T] at 16 kHz from the first frame on."""
    words: Words | None
    tracked_again: Callable[[], FloatArray] | None
    """[F, K, 3] landmarks of the frames after our MP4 writer; None where there are no pictures."""

    def heard_by(self, encoder: str, open_encoder: Callable[[str], SpeechEncoder]) -> SpeechFeatures:
        """Its speech as a motion model of that encoder hears it."""
        if self.features.encoder == encoder:
            return self.features
        if self.samples is None:
            raise SystemExit(f"{self.name} has no sound to be heard by {encoder}: give the corpus's --folders")
        return open_encoder(encoder).encode(self.samples, len(self.measured))

    @property
    def speech(self) -> NDArray[np.bool_]:
        """[F] from the first word to the last, or what sounds (pauses under a third of a second included)."""
        inside = np.zeros(len(self.measured), bool)
        said = spoken(self.words) if self.words else []
        if said:
            inside[int(said[0][0] * VIDEO_RATE_HZ) : int(np.ceil(said[-1][1] * VIDEO_RATE_HZ))] = True
        elif self.samples is not None:
            known = voice_activity(self.samples)[: len(inside)]
            inside[: len(known)] = known
        else:
            inside[:] = True
        return inside


@dataclass(frozen=True)
class Person:
    """One person's recordings."""

    name: str
    neutral: FloatArray
    """[K, 3] the face at rest."""
    recordings: Sequence[Recording]
    is_known: bool = False
    """Whether the models were trained on them: only what is held out may be scored."""


def portrait_person(folder: Path) -> Person:
    """A portrait; each segment is a recording."""
    portrait = Portrait.load(folder)
    neutral = portrait.neutral[list(KEYPOINTS)]
    recordings = []
    for number, segment in enumerate(portrait.segments):
        frames = portrait.frames_of(number)
        rows = slice(frames.start, frames.stop)
        recordings.append(
            Recording(
                str(segment.name),
                portrait.landmarks[rows] - neutral,
                portrait.heldout[rows],
                portrait.features(number),
                portrait.audio(number).samples,
                segment.words or None,
                lambda frames=frames: _portrait_again(portrait, frames),
            )
        )
    return Person(folder.name, neutral, recordings)


def _portrait_again(portrait: Portrait, frames: range) -> FloatArray:
    pictures = encoded([portrait.frame(index)[0] for index in frames])
    mesh = track_frames(pictures, face_check_frames=0).mesh_px
    solved = solve_head_poses(mesh, portrait.size, portrait.size, neutral=portrait.neutral, focal=portrait.camera.focal)
    return np.asarray(solved.mesh[:, list(KEYPOINTS)], np.float32)


def corpus_people(folder: Path, folders: Sequence[Path], words: Mapping[str, Words]) -> list[Person]:
    """The speakers of a corpus; the one with most clips counts as known to the models.

    Args:
        folders: the videos it was made from; without them there is no sound and nothing to track again.
        words: by the clip's name in the corpus or its file's stem.
    """
    corpus = Corpus.load(folder)
    sources = {source.name: source for source in find_sources(folders)} if folders else {}
    reference = reference_speaker([entry.speaker for entry in corpus.manifest.clips])
    people = []
    for speaker in sorted(corpus.manifest.speakers):
        entries = [entry for entry in corpus.manifest.clips if entry.speaker == speaker]
        recordings = [_corpus_recording(corpus, entry, sources.get(entry.name), words) for entry in entries]
        people.append(Person(speaker, corpus.neutral[speaker], recordings, speaker == reference))
    return people


def _corpus_recording(corpus: Corpus, entry: ClipEntry, source: Source | None, words: Mapping[str, Words]) -> Recording:
    measured = corpus.displacement(entry)
    return Recording(
        entry.name,
        measured,
        np.full(len(measured), entry.heldout),
        corpus.features(entry),
        None if source is None else clip_samples(corpus.folder, source),
        tuple(
            (start - entry.late_frames / VIDEO_RATE_HZ, end - entry.late_frames / VIDEO_RATE_HZ, word)
            for start, end, word in words_of(words, entry.name)
        )
        or None,
        None if source is None else lambda: _clip_again(corpus, source),
    )


def _clip_again(corpus: Corpus, source: Source) -> FloatArray:
    raw = open_raw(raw_path(corpus.folder, source.name))
    pictures = encoded([frame.image for frame in read_frames(source.path, VIDEO_RATE_HZ)])
    mesh = track_frames(pictures, face_check_frames=0).mesh_px
    neutral = load_tensors(corpus.folder / "speakers.safetensors")[source.speaker]
    focal = corpus.manifest.speakers[source.speaker]
    solved = solve_head_poses(mesh, raw.width, raw.height, neutral=neutral, focal=focal)
    return np.asarray(solved.mesh[:, list(KEYPOINTS)], np.float32)


def chosen(people: Sequence[Person], names: Sequence[str]) -> list[Person]:
    """Those of these names, in that order; all of them without any."""
    by_name = {person.name: person for person in people}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise SystemExit(f"there is no speaker {unknown[0]}: there are {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else list(people)
