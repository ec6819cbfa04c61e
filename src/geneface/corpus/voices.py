"""More to hear for a corpus: its training clips disguised, and spoken again, each with the motion that belongs to it;
and sounds that are no speech, with the clip's closed lips.

F' frames at 25 Hz of the new sound, D feature width. Adds to a corpus folder (see `corpus.corpus`):

    voices.json               what was made
    voices/<clip>__<n>.safetensors  features [2F', D] f16; times [F'] f32: the frame of the clip, fractional, that each
                              frame of the new sound shows

Held-out clips get none: what is never trained on must not be heard in disguise either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from geneface.config import Config
from geneface.corpus.corpus import Corpus
from geneface.corpus.disguise import disguise, draw_disguise, frame_times
from geneface.corpus.prepare import Source, each, find_sources, frame_samples, read_track, worker_encoder
from geneface.corpus.quiet import quiet_sound
from geneface.corpus.respeak import AlignmentError, Words, respeak, synthesiser
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening
from geneface.io.audio import read_audio
from geneface.io.lock import exclusive_folder, remove_leftovers
from geneface.io.store import load_tensors, read_json, save_tensors, write_json
from geneface.types import VIDEO_RATE_HZ, FloatArray, ProgressFn, no_progress

VOICES_NAME = "voices.json"
_BABBLE_CLIPS = 3


class VoicesRecord(Config):
    """`voices.json`."""

    disguises: int = 0
    """Disguised recordings of each training clip."""
    quiet: int = 0
    """Sounds without speech, spread over the clips."""
    speakers: tuple[str, ...] = ()
    """Synthetic voices, which take turns."""
    sentences: int = 0
    """Clips that they speak again, at most: those that have words."""
    seed: int = 0
    files: tuple[str, ...] = ()
    """Names in voices/, without suffix."""
    misaligned: int = 0
    """Respoken sentences that were thrown away."""


def read_voices(folder: Path) -> VoicesRecord:
    """What `add_voices` made of a corpus; nothing if it was not run.

    Raises:
        InputError: the record is damaged.
    """
    path = folder / VOICES_NAME
    if not path.is_file():
        return VoicesRecord()
    try:
        return VoicesRecord.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path} is not a record of voices", "run geneface corpus voices again") from error


@dataclass(frozen=True)
class Voice:
    """A clip in another voice."""

    features: NDArray[np.float16]
    """[2F', D]."""
    times: FloatArray
    """[F'] fractional frames of the clip."""


def load_voices(folder: Path, progress: ProgressFn = no_progress) -> dict[str, list[Voice]]:
    """All voices of a corpus folder, by clip."""
    voices: dict[str, list[Voice]] = {}
    files = read_voices(folder).files
    for index, name in enumerate(files):
        tensors = load_tensors(folder / "voices" / f"{name}.safetensors")
        clip = name.rpartition("__")[0]
        voices.setdefault(clip, []).append(Voice(tensors["features"].astype(np.float16), tensors["times"]))
        progress("read voices", index + 1, len(files))
    return voices


def add_voices(
    corpus: Path,
    folders: Sequence[Path],
    *,
    disguises: int = 3,
    quiet: int = 250,
    words: Mapping[str, Words] | None = None,
    voice_dir: Path | None = None,
    speakers: Sequence[str] = (),
    sentences: int = 250,
    seed: int = 0,
    workers: int = 2,
    progress: ProgressFn = no_progress,
) -> VoicesRecord:
    """Disguise the training clips of a corpus, and speak their sentences again; what exists is not made again.

    Args:
        folders: the clips' videos, as given to `prepare_corpus`.
        disguises: of each clip.
        quiet: sounds that are no speech, at most one a clip.
        words: of each clip, by the stem of its file, for the synthetic voices.
        voice_dir, speakers: text-to-speech voices (`analysis.tts`).
        sentences: clips to speak again, spread over all that have words; each takes a few seconds.

    Raises:
        InputError: a video is missing, or voices are asked for without words or folder.
    """
    if speakers and (words is None or voice_dir is None):
        raise InputError("synthetic voices need the clips' words and a voice folder", "give --words and --voice-dir")
    opened = Corpus.load(corpus)
    entries = opened.clips(heldout=False)
    sources = {source.name: source for source in find_sources(folders)}
    missing = [entry.name for entry in entries if entry.name not in sources]
    if missing:
        raise InputError(f"the video of {missing[0]} is in none of the folders", "give those of corpus prepare")
    make = functools.partial(
        _voices_of,
        corpus=corpus,
        encoder=opened.manifest.encoder,
        disguises=disguises,
        voice_dir=voice_dir,
        seed=seed,
    )
    with exclusive_folder(corpus):
        spoken = sentences if speakers else 0
        record = VoicesRecord(disguises=disguises, quiet=quiet, speakers=tuple(speakers), sentences=spoken, seed=seed)
        done = read_voices(corpus)
        if done.files and done != record.model_copy(update={"files": done.files, "misaligned": done.misaligned}):
            raise InputError(f"{corpus} has other voices already", f"remove {corpus / 'voices'} and {VOICES_NAME}")
        jobs = _jobs([sources[entry.name] for entry in entries], words or {}, speakers, spoken, quiet)
        made = each(make, jobs, workers, "voices", progress)
        files = tuple(name for names, _ in made for name in names)
        record = record.model_copy(update={"files": files, "misaligned": sum(failed for _, failed in made)})
        write_json(corpus / VOICES_NAME, record.model_dump(mode="json"))
        remove_leftovers(corpus / "voices")
    return record


def read_words(path: Path) -> dict[str, Words]:
    """Words of clips from JSON: {clip: [[start_s, end_s, word], ...]}.

    Raises:
        InputError: the file is missing or of another form.
    """
    try:
        return {
            str(clip): [(float(start), float(end), str(word)) for start, end, word in words]
            for clip, words in read_json(path).items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not hold words", "give {clip: [[start_s, end_s, word], ...]}") from error


@dataclass(frozen=True)
class _Job:
    """What one clip needs."""

    index: int
    source: Source
    speaker: str | None
    """The voice that speaks it again, if any."""
    words: Words
    has_quiet: bool
    """Whether it gets a sound without speech."""


def _jobs(
    sources: list[Source], words: Mapping[str, Words], speakers: Sequence[str], sentences: int, quiet: int
) -> list[_Job]:
    spoken = [index for index, source in enumerate(sources) if source.path.stem in words] if speakers else []
    chosen = np.linspace(0, len(spoken) - 1, min(sentences, len(spoken))).astype(int) if spoken else []
    voices = {spoken[place]: speakers[turn % len(speakers)] for turn, place in enumerate(chosen)}
    silent = set(np.linspace(0, len(sources) - 1, min(quiet, len(sources))).astype(int).tolist())
    return [
        _Job(index, source, voices.get(index), words.get(source.path.stem, ()), index in silent)
        for index, source in enumerate(sources)
    ]


def _voices_of(
    job: _Job,
    corpus: Path,
    encoder: str,
    disguises: int,
    voice_dir: Path | None,
    seed: int,
) -> tuple[list[str], int]:
    """Write one clip's files; returns their names, and how many sentences could not be aligned."""
    index, source = job.index, job.source
    raw = read_track(corpus, source)
    frames = len(raw.track)
    samples = frame_samples(read_audio(source.path), raw.first_frame_seconds, frames)
    speech = worker_encoder(encoder)

    def disguised(number: int) -> Voice:
        rng = np.random.default_rng([seed, index, number])
        change = draw_disguise(rng)
        times = frame_times(frames, change.speed)
        sound = disguise(samples, change, rng, _babble(source, rng, change.noise == "babble"))
        return Voice(speech.encode(sound, len(times)).values.astype(np.float16), times)

    def wordless() -> Voice:
        sound = quiet_sound(frames / VIDEO_RATE_HZ, np.random.default_rng([seed, index, 1]))
        times = np.full(frames, _closed_frame(corpus, source), np.float32)
        return Voice(speech.encode(sound, frames).values.astype(np.float16), times)

    def respoken(voice: str, folder: Path) -> Voice:
        rng = np.random.default_rng([seed, index, disguises])
        real = speech.encode(samples, frames).values
        again = respeak(job.words, samples, real, synthesiser(folder, voice), speech, rng)
        return Voice(again.features.astype(np.float16), again.frame_times)

    made: dict[str, Callable[[], Voice]] = {
        str(number): functools.partial(disguised, number) for number in range(disguises)
    }
    if job.has_quiet:
        made["quiet"] = wordless
    if job.speaker is not None and voice_dir is not None:
        made[job.speaker] = functools.partial(respoken, job.speaker, voice_dir)
    names, misaligned = [], 0
    for kind, make in made.items():
        name = f"{source.name}__{kind}"
        path = corpus / "voices" / f"{name}.safetensors"
        try:
            if not path.is_file():
                save_tensors(path, vars(make()))
        except AlignmentError:
            misaligned += 1
        else:
            names.append(name)
    return names, misaligned


def _closed_frame(corpus: Path, source: Source) -> int:
    """A frame in which the clip's lips are closed."""
    opening = lip_opening(load_tensors(corpus / "clips" / f"{source.name}.safetensors")["landmarks"])
    return int(np.argsort(opening)[len(opening) // 20])


def _babble(source: Source, rng: np.random.Generator, is_heard: bool) -> list[FloatArray]:
    """Other clips of the same folder, to speak in the background; drawn but not read where they are not heard."""
    others = sorted(path for path in source.path.parent.iterdir() if path.suffix == source.path.suffix)
    chosen = rng.integers(len(others), size=_BABBLE_CLIPS)
    return [read_audio(others[place]).samples for place in chosen] if is_heard else []


def at_times(motion: FloatArray, times: FloatArray) -> FloatArray:
    """Motion [F, ...] at fractional frames [F'], linear between them -> [F', ...]."""
    low = np.clip(np.floor(times).astype(int), 0, len(motion) - 1)
    high = np.minimum(low + 1, len(motion) - 1)
    share = (times - low).astype(np.float32).reshape(-1, *[1] * (motion.ndim - 1))
    return (1 - share) * motion[low] + share * motion[high]
