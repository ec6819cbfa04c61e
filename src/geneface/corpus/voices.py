"""More speech for a corpus: its training clips augmented, with held vowels, and resynthesised, each with the motion
that belongs to it; and sounds without speech, with the clip's closed lips.

F' frames at 25 Hz of the new sound, D feature width. Adds to a corpus folder (see `corpus.corpus`):

    voices.json               what is made: its `files` stay empty until all are
    voices/<clip>__<n>.safetensors  features [2F', D] f16; times [F'] f32: the frame of the clip, fractional, that each
                              frame of the new sound shows

Held-out clips get none: what is never trained on must not be trained on in another voice either.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from geneface.analysis.speech import SpeechEncoder, is_shipped, load_encoder
from geneface.config import Config
from geneface.corpus.augmentation import augment, draw_augmentation, frame_times
from geneface.corpus.corpus import Corpus
from geneface.corpus.held_vowels import HeldVowel, draw_held_vowel, held_frames, hold_vowel
from geneface.corpus.layouts import Source, find_sources, split_part
from geneface.corpus.non_speech import non_speech_sound
from geneface.corpus.prepare import run_stage
from geneface.corpus.resynthesis import AlignmentError, resynthesise, synthesiser
from geneface.corpus.steps import clip_samples, worker_encoder
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening
from geneface.io.place import remove_leftovers
from geneface.io.records import read_record, write_json
from geneface.io.tensors import load_tensors, save_tensors
from geneface.io.words import Words
from geneface.io.work import exclusive_folder
from geneface.signal.timing import whole_frames
from geneface.types import VIDEO_RATE_HZ, FloatArray, ProgressFn, no_progress

VOICES_NAME = "voices.json"
VOICES_FORMAT = 1
_HELD_AUGMENTED = 0.5
"""Share of the held vowels that are augmented too."""
_AFTER_SPEECH = 0.5
"""Share of the sounds without speech that follow the clip's own: by it their level is known."""
Encoder = tuple[str, Path | None]
"""Name and weights of a speech encoder."""
Kind = Literal["augmentation", "held-vowel", "non-speech", "resynthesis"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_HELD, _NON_SPEECH = "hold", "quiet"
"""Ends of names in voices/; a number is an augmentation's, and a synthetic voice's name is a resynthesis's."""


class VoicesRecord(Config):
    """`voices.json`; three of its keys had other names before."""

    format: int = VOICES_FORMAT
    augmentations: int = Field(default=0, validation_alias=AliasChoices("augmentations", "disguises"))
    """Augmented recordings of each training clip."""
    held_vowels: int = Field(default=0, validation_alias=AliasChoices("held_vowels", "holds"))
    """Clips with a held vowel, at most, spread over all (`corpus.held_vowels`)."""
    non_speech: int = Field(default=0, validation_alias=AliasChoices("non_speech", "quiet"))
    """Sounds without speech, spread over the clips."""
    speakers: tuple[str, ...] = ()
    """Synthetic voices, which take turns."""
    sentences: int = 0
    """Clips that are resynthesised, at most: those that have words."""
    words: str = ""
    """Digest of the words they say."""
    seed: int = 0
    files: tuple[str, ...] = ()
    """Names in voices/, without suffix."""
    misaligned: int = 0
    """Resynthesised sentences that were thrown away."""


def read_voices(folder: Path) -> VoicesRecord:
    """What `add_voices` made of a corpus; nothing if it was not run.

    Raises:
        InputError: the record is damaged or of another version.
    """
    path = folder / VOICES_NAME
    return read_record(VoicesRecord, path, VOICES_FORMAT) if path.is_file() else VoicesRecord()


@dataclass(frozen=True)
class Voice:
    """A clip in another voice."""

    features: NDArray[np.float16]
    """[2F', D]."""
    times: FloatArray
    """[F'] fractional frames of the clip's sound; of its pictures once the clip's lateness is taken off."""
    kind: Kind = "augmentation"


def load_voices(folder: Path, progress: ProgressFn = no_progress) -> dict[str, list[Voice]]:
    """All voices of a corpus folder, by clip.

    Raises:
        InputError: they are not complete.
    """
    voices: dict[str, list[Voice]] = {}
    record = read_voices(folder)
    files = record.files
    if not files and record.augmentations + record.held_vowels + record.non_speech + record.sentences:
        raise InputError(f"the voices of {folder} are unfinished", f"run corpus voices again, or remove {VOICES_NAME}")
    for index, name in enumerate(files):
        tensors = load_tensors(folder / "voices" / f"{name}.safetensors")
        clip, _, label = name.rpartition("__")
        kind = _kind(label, record.speakers)
        voices.setdefault(clip, []).append(Voice(tensors["features"].astype(np.float16), tensors["times"], kind))
        progress("read voices", index + 1, len(files))
    return voices


def _kind(label: str, speakers: Sequence[str]) -> Kind:
    """What the end of a file's name says."""
    if label in speakers:
        return "resynthesis"
    if label.isdigit():
        return "augmentation"
    return "held-vowel" if label == _HELD else "non-speech"


def add_voices(
    corpus: Path,
    folders: Sequence[Path],
    *,
    augmentations: int = 3,
    held_vowels: int = 250,
    non_speech: int = 250,
    words: Mapping[str, Words] | None = None,
    voice_folder: Path | None = None,
    speakers: Sequence[str] = (),
    sentences: int = 250,
    encoder_path: Path | None = None,
    seed: int = 0,
    workers: int = 2,
    progress: ProgressFn = no_progress,
) -> VoicesRecord:
    """Augment and resynthesise the training clips of a corpus; what exists is not made again.

    Args:
        folders: the clips' videos, as given to `prepare_corpus`.
        augmentations: of each clip.
        held_vowels: clips with a held vowel.
        non_speech: sounds without speech, at most one a clip.
        words: of each clip, by its name in the corpus (speaker__stem) or the stem of its file, for the synthetic
            voices.
        voice_folder, speakers: text-to-speech voices (`voice.kokoro`).
        sentences: clips to resynthesise, spread over all that have words; each takes a few seconds.
        encoder_path: weights of the corpus's speech encoder, where that is not shipped.

    Raises:
        InputError: a video is missing, voices are asked for without words or folder, or lack what they need, or the
            folder has voices of other settings.
    """
    if speakers:
        _try_speakers(speakers, words, voice_folder)
    opened = Corpus.load(corpus)
    if encoder_path is not None or not is_shipped(opened.manifest.encoder):
        load_encoder(opened.manifest.encoder, encoder_path)  # likewise
    sources = find_sources(folders, opened.manifest.layout, opened.manifest.cameras)
    training = _training_sources(opened, sources)
    said = _said(training, sources, words or {})
    spoken = sentences if speakers else 0
    record = VoicesRecord(
        augmentations=augmentations,
        held_vowels=held_vowels,
        non_speech=non_speech,
        speakers=tuple(speakers),
        sentences=spoken,
        words=hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16] if spoken else "",
        seed=seed,
    )
    make = functools.partial(
        _voices_of,
        corpus=corpus,
        encoder=(opened.manifest.encoder, encoder_path),
        record=record,
        voice_folder=voice_folder,
    )
    tasks = _tasks(training, said, record)
    with exclusive_folder(corpus):
        _begin(corpus, record)
        made = run_stage(make, tasks, workers, "voices", progress)
        files = tuple(name for names, _ in made for name in names)
        record = record.model_copy(update={"files": files, "misaligned": sum(failed for _, failed in made)})
        write_json(corpus / VOICES_NAME, record.model_dump(mode="json"))
        remove_leftovers(corpus / "voices")
    return record


def _try_speakers(speakers: Sequence[str], words: Mapping[str, Words] | None, folder: Path | None) -> None:
    """Report what synthetic voices lack before the work, not after it."""
    if words is None or folder is None:
        raise InputError("synthetic voices need the clips' words and a voice folder", "give --words and --voice-folder")
    for speaker in speakers:
        synthesiser(folder, speaker)("ready")


def _begin(corpus: Path, record: VoicesRecord) -> None:
    """Write down what is made, before the work: an interrupted run's files must not pass for those of other settings.

    Raises:
        InputError: the corpus has voices of other settings.
    """
    done = read_voices(corpus)
    if done != VoicesRecord() and done.model_copy(update={"files": (), "misaligned": 0}) != record:
        raise InputError(f"{corpus} has other voices already", f"remove {corpus / 'voices'} and {VOICES_NAME}")
    if not done.files:
        write_json(corpus / VOICES_NAME, record.model_dump(mode="json"))


def _training_sources(corpus: Corpus, sources: Sequence[Source]) -> list[Source]:
    """The videos of the training clips, in their order."""
    by_name = {source.name: source for source in sources}
    parts = [split_part(entry.name) for entry in corpus.clips(heldout=False)]
    missing = [name for name, _ in parts if name not in by_name]
    if missing:
        raise InputError(f"the video of {missing[0]} is in none of the folders", "give those of corpus prepare")
    return [replace(by_name[name], part=part) for name, part in parts]


def _said(training: Sequence[Source], sources: Sequence[Source], words: Mapping[str, Words]) -> dict[str, Words]:
    """The words of each training clip by its name."""
    stems = Counter(source.path.stem for source in sources)
    said = {source.name: words_of(words, source.name) for source in training}
    for source in training:
        count = stems[source.path.stem]
        if count > 1 and said[source.name] and source.name not in words:
            raise InputError(f"the words of {source.path.stem} could be of {count} clips", f"name them {source.name}")
    return said


def words_of(words: Mapping[str, Words], clip: str) -> Words:
    """A clip's words by its name in a corpus (speaker__stem), or else by the stem of its file; none are no words."""
    return words.get(clip) or words.get(clip.partition("__")[2], ())


@dataclass(frozen=True)
class _ClipTask:
    """What one clip needs."""

    index: int
    source: Source
    speaker: str | None
    """The synthetic voice that says its words, if any."""
    words: Words
    has_held_vowel: bool
    """Whether it gets a recording with a held vowel."""
    has_non_speech: bool
    """Whether it gets a sound without speech."""


def _tasks(sources: list[Source], said: Mapping[str, Words], record: VoicesRecord) -> list[_ClipTask]:
    """`said`: the words of each source by its name."""
    spoken = [index for index, source in enumerate(sources) if said[source.name]] if record.speakers else []
    voices = {
        spoken[place]: record.speakers[turn % len(record.speakers)]
        for turn, place in enumerate(_spread(record.sentences, len(spoken)))
    }
    held, silent = set(_spread(record.held_vowels, len(sources))), set(_spread(record.non_speech, len(sources)))
    return [
        _ClipTask(index, source, voices.get(index), said[source.name], index in held, index in silent)
        for index, source in enumerate(sources)
    ]


def _spread(count: int, places: int) -> list[int]:
    """`count` of the `places`, evenly; all of them if there are fewer."""
    return np.linspace(0, places - 1, min(count, places)).astype(int).tolist() if places else []


class _Clip:
    """One clip's sound, of which other recordings are made."""

    def __init__(self, task: _ClipTask, corpus: Path, encoder: Encoder, seed: int) -> None:
        self._task, self._corpus, self._seed = task, corpus, seed
        self._samples = clip_samples(corpus, task.source)
        self._frames = whole_frames(len(self._samples))
        self._speech = worker_encoder(*encoder)

    def augmented(self, number: int) -> Voice:
        return heard(self._speech, *augmented(self._samples, self._rng("augmentation", number)))

    def held(self) -> Voice | None:
        rng = self._rng("held-vowel")
        held = draw_held_vowel(self._samples, rng)
        if held is None:
            return None
        return heard(
            self._speech, *with_held_vowel(self._samples, held, rng if rng.random() < _HELD_AUGMENTED else None)
        )

    def non_speech(self) -> Voice:
        rng = self._rng("non-speech")
        # Times are those of the clip's sound (`dataset.load_corpus_data` takes its lateness off); this is a picture's.
        entries = Corpus.load(self._corpus).manifest.clips
        late = next(entry.late_frames for entry in entries if entry.name == self._task.source.name)
        shut = _closed_frame(self._corpus, self._task.source) + late
        closed = np.full(self._frames, shut, np.float32)
        sound = non_speech_sound(self._frames / VIDEO_RATE_HZ, rng)
        if rng.random() < _AFTER_SPEECH:
            spoken = np.arange(self._frames, dtype=np.float32)
            sound, closed = np.concatenate([self._samples, sound]), np.concatenate([spoken, closed])
        return heard(self._speech, sound, closed)

    def resynthesised(self, voice: str, folder: Path) -> Voice:
        real = self._speech.encode(self._samples, self._frames).values
        say = synthesiser(folder, voice)
        again = resynthesise(self._task.words, self._samples, real, say, self._speech, self._rng("resynthesis"))
        return Voice(again.features.astype(np.float16), again.frame_times)

    def _rng(self, kind: Kind, number: int = 0) -> np.random.Generator:
        return np.random.default_rng([self._seed, self._task.index, KINDS.index(kind), number])


def heard(encoder: SpeechEncoder, sound: FloatArray, times: FloatArray) -> Voice:
    """A sound [*] whose frames show those of the clip at `times` [F']."""
    return Voice(encoder.encode(sound, len(times)).values.astype(np.float16), times)


def augmented(sound: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """The sound augmented, and which of its frames [F'] each new one shows."""
    change = draw_augmentation(rng)
    return augment(sound, change, rng), frame_times(whole_frames(len(sound)), change.speed)


def with_held_vowel(
    samples: FloatArray, held: HeldVowel, rng: np.random.Generator | None = None
) -> tuple[FloatArray, FloatArray]:
    """The clip with a held vowel, and which of its frames [F'] each new one shows; `rng`: augmented, too."""
    sound = hold_vowel(samples, held)
    times = np.arange(whole_frames(len(sound)), dtype=np.float32)
    if rng is not None:
        sound, times = augmented(sound, rng)
    return sound, np.minimum(held_frames(times, held), np.float32(whole_frames(len(samples)) - 1))


def _voices_of(
    task: _ClipTask, corpus: Path, encoder: Encoder, record: VoicesRecord, voice_folder: Path | None
) -> tuple[list[str], int]:
    """Write one clip's files; returns their names, and how many sentences could not be aligned."""
    clip = _Clip(task, corpus, encoder, record.seed)
    made: dict[str, Callable[[], Voice | None]] = {
        str(number): functools.partial(clip.augmented, number) for number in range(record.augmentations)
    }
    if task.has_held_vowel:
        made[_HELD] = clip.held
    if task.has_non_speech:
        made[_NON_SPEECH] = clip.non_speech
    if task.speaker is not None and voice_folder is not None:
        made[task.speaker] = functools.partial(clip.resynthesised, task.speaker, voice_folder)
    names, misaligned = [], 0
    for kind, make in made.items():
        name = f"{task.source.name}__{kind}"
        path = corpus / "voices" / f"{name}.safetensors"
        try:
            voice = None if path.is_file() else make()
            if voice is not None:
                save_tensors(path, {"features": voice.features, "times": voice.times})
        except AlignmentError:
            misaligned += 1
        if path.is_file():
            names.append(name)
    return names, misaligned


def _closed_frame(corpus: Path, source: Source) -> int:
    """A frame in which the clip's lips are closed."""
    opening = lip_opening(load_tensors(corpus / "clips" / f"{source.name}.safetensors")["landmarks"])
    return int(np.argsort(opening)[len(opening) // 20])


def at_times(motion: FloatArray, times: FloatArray) -> FloatArray:
    """Motion [F, ...] at fractional frames [F'], linear between them -> [F', ...]."""
    low = np.clip(np.floor(times).astype(int), 0, len(motion) - 1)
    high = np.minimum(low + 1, len(motion) - 1)
    share = (times - low).astype(np.float32).reshape(-1, *[1] * (motion.ndim - 1))
    return (1 - share) * motion[low] + share * motion[high]
