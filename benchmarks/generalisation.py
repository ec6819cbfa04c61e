"""How far speech to motion generalises: people left out of training, augmented recordings, synthetic voices.

    python benchmarks/generalisation.py CORPUS FOLDER... [--portrait PORTRAIT ...] [--words WORDS.json ...]
        [--adapt-seconds 5 10] [--voice-folder DIR --speakers af_sarah,bm_daniel] [--only ours,no-voices,...]
        [--seeds 0 1 2] [--steps 300] [--sync MODEL] [--work DIR] [-o table.md]

CORPUS is a folder of `geneface corpus prepare` (and `corpus voices`), FOLDERs the videos it was made from. Each variant
is trained on the clips of the reference speaker alone. It is scored on his held-out clips, on the same clips augmented,
with held vowels and in voices that were not in training, on all clips of the others, and on the portraits. A
portrait's held-out seconds are scored with the generic model, and adapted to its other seconds. Writes a Markdown
table, and all figures as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from grid_words import clip_sounds
from numpy.typing import NDArray

from geneface.analysis.speech import SpeechEncoder, load_encoder
from geneface.avatar.idle import voice_activity
from geneface.corpus.corpus import MANIFEST_NAME, Corpus
from geneface.corpus.dataset import ClipData, CorpusData, load_corpus_data
from geneface.corpus.held_vowels import draw_held_vowel
from geneface.corpus.resynthesis import AlignmentError, resynthesise, spoken, synthesiser
from geneface.corpus.voices import VOICES_NAME, Voice, at_times, augmented, heard, with_held_vowel, words_of
from geneface.evaluation.metrics.lips import LipClip, face_width
from geneface.evaluation.metrics.registry import lip_metrics
from geneface.geometry.landmarks import KEYPOINTS, lip_opening, lip_protrusion
from geneface.io.tensors import TensorFile, save_tensors
from geneface.io.words import Words, read_words
from geneface.motion.basis import MotionBasis, fit_basis
from geneface.motion.person import load_person
from geneface.motion.runtime import MotionModel, PersonMotion
from geneface.motion.score import correlation
from geneface.motion.vae import AudioToMotion
from geneface.portrait.portrait import Portrait
from geneface.training.adaptation.person import adapt_to_person, features_for
from geneface.training.loop import file_digest, train
from geneface.training.motion.sync import load_expert
from geneface.training.motion.train import MOTION_PRESETS, MotionTask, MotionTrainConfig, predict_clip, save_model
from geneface.types import VIDEO_RATE_HZ, FloatArray

VARIANTS: dict[str, dict[str, object]] = {
    "ours": {},
    "regression": {"objective": "regression"},
    "no-voices": {"voices_share": 0.0},
    "no-augmentation": {},
    "no-held-vowel": {},
    "no-non-speech": {},
    "no-resynthesis": {},
    "half-voices": {"voices_share": 0.5},
    "whole-future": {"future_frames": None},
    "little-dropout": {"dropout": 0.1},
    "no-flow": {"flow_steps": 0},
    "no-sync": {"sync_weight": 0.0},
    "undilated": {"dilations": (1, 1, 1, 1)},
    "latent-6hz": {"latent_stride": 4, "future_frames": 4},
}
"""Settings of `MotionTrainConfig` that differ from the preset `fast`; no-KIND: without that kind of voices."""
_SPOKEN_CLIPS = 36


@dataclass(frozen=True)
class TestSets:
    """What the models are scored on besides the corpus's held-out clips."""

    people: dict[str, list[ClipData]]
    recordings: dict[str, list[ClipData]]
    """His held-out clips with other sound."""
    portraits: dict[str, Path]
    words: dict[str, Words]
    sounds: dict[str, FloatArray]
    """Of the others' clips."""


def only_reference(data: CorpusData) -> tuple[CorpusData, dict[str, list[ClipData]]]:
    """The corpus without all speakers but one, and their clips; nothing is known of these, their amplitude neither."""
    speaker = data.reference
    others: dict[str, list[ClipData]] = {}
    for clip in [*data.training, *data.heldout]:
        if clip.speaker != speaker:
            unknown = replace(clip, displacement=clip.displacement * np.float32(clip.gain), gain=1.0)
            others.setdefault(clip.speaker, []).append(unknown)
    kept = [[clip for clip in clips if clip.speaker == speaker] for clips in (data.training, data.heldout)]
    names = {clip.name for clip in kept[0]}
    voices = {name: heard for name, heard in data.voices.items() if name in names}
    return replace(data, training=kept[0], heldout=kept[1], voices=voices), others


def other_recordings(arguments: argparse.Namespace, clips: list[ClipData], work: Path) -> dict[str, list[ClipData]]:
    """Held-out clips augmented, with a held vowel, and resynthesised (kept in `work`)."""
    corpus = Corpus.load(arguments.corpus)
    encoder = load_encoder(corpus.manifest.encoder)
    sounds = clip_sounds(arguments.corpus, arguments.folders, clips)
    words = all_words(arguments)
    speakers = [name for name in (arguments.speakers or "").split(",") if name]
    result: dict[str, list[ClipData]] = {"augmented": [], "held vowels": [], "resynthesised": []}
    chosen = set(np.linspace(0, len(clips) - 1, min(_SPOKEN_CLIPS, len(clips))).astype(int)) if speakers else set()
    for index, clip in enumerate(clips):
        samples, rng = sounds[clip.name], np.random.default_rng([99, index])
        result["augmented"].append(_shown(clip, heard(encoder, *augmented(samples, rng))))
        held = draw_held_vowel(samples, rng)
        if held is not None:
            result["held vowels"].append(_shown(clip, heard(encoder, *with_held_vowel(samples, held))))
        said = words_of(words, clip.name)
        if index not in chosen or not said:
            continue
        name = speakers[index % len(speakers)]
        path = work / encoder.name / f"{clip.name}__{name}.safetensors"
        if not path.is_file():
            voice = synthesiser(arguments.voice_folder, name)
            try:
                again = resynthesise(said, samples, clip.features.astype(np.float32), voice, encoder, rng)
            except AlignmentError as error:
                print(f"{clip.name}, {name}: {error}", file=sys.stderr)
                continue
            save_tensors(path, {"features": again.features, "times": again.frame_times})
        tensors = TensorFile(path)
        result["resynthesised"].append(_shown(clip, Voice(tensors.get("features"), tensors.get("times"))))
    return result


def all_words(arguments: argparse.Namespace) -> dict[str, Words]:
    """Of all files, by the clip's name in the corpus or its file's stem, in step with the clips' pictures."""
    heard = {clip: words for path in arguments.words for clip, words in read_words(path).items() if words}
    late = {entry.name: entry.late_frames / VIDEO_RATE_HZ for entry in Corpus.load(arguments.corpus).manifest.clips}
    return heard | {
        name: tuple((start - by, end - by, word) for start, end, word in words_of(heard, name))
        for name, by in late.items()
    }


def _shown(clip: ClipData, voice: Voice) -> ClipData:
    """The clip with another sound, and the motion that belongs to it."""
    return replace(clip, features=voice.features, displacement=at_times(clip.displacement, voice.times))


def train_model(
    data: CorpusData,
    basis: MotionBasis,
    config: MotionTrainConfig,
    arguments: argparse.Namespace,
    seed: int,
    work: Path,
) -> AudioToMotion:
    """Train, or go on where the folder says; a folder of other settings or another corpus is refused."""
    sync: Path | None = arguments.sync
    torch.manual_seed(seed)
    expert = load_expert(sync, data.encoder) if sync is not None else None
    task = MotionTask(data, basis, expert, config)
    inputs = [arguments.corpus / MANIFEST_NAME, arguments.corpus / VOICES_NAME]
    inputs += [sync / "sync.safetensors"] if sync is not None else []
    digests = {path.name: file_digest(path) for path in inputs if path.is_file()}
    settings = config.model_dump(mode="json") | digests
    train(task, config.steps, work, settings=settings, seed=seed, resume=True)
    model = task.modules["average"]
    assert isinstance(model, AudioToMotion)
    return model


def clip_figures(
    model: AudioToMotion,
    basis: MotionBasis,
    clips: Sequence[ClipData],
    words: dict[str, Words],
    sounds: dict[str, FloatArray],
) -> dict[str, float]:
    """Opening and width correlations, within speech too (as the words or the sounds tell), amplitude, articulation."""
    predicted = [predict_clip(model, basis, clip) for clip in clips]
    scored = []
    within = []
    for clip, points in zip(clips, predicted, strict=True):
        width = float(face_width(clip.neutral))
        said = words_of(words, clip.name)
        sound = sounds.get(clip.name)
        scored.append(LipClip(clip.landmarks / width, points / width, sound, said))
        inside = _speech(said, sound)
        if inside is not None:
            within.append(correlation(lip_opening(points[inside]), lip_opening(clip.landmarks[inside])))
    figures = lip_metrics(scored)
    protruded = [(lip_protrusion(clip.reference), lip_protrusion(clip.other)) for clip in scored]
    values = {name: figure.value for name, figure in figures.items() if isinstance(figure.value, float | int)}
    values["protrusion_correlation"] = float(np.mean([correlation(*curves) for curves in protruded]))
    if within:
        values["opening_correlation_in_speech"] = float(np.mean(within))
    return {name: float(value) for name, value in values.items()}


def _speech(words: Words | None, sound: FloatArray | None) -> slice | None:
    """Frames from the first word to the last."""
    if words:
        said = spoken(words)
        return slice(int(said[0][0] * VIDEO_RATE_HZ), int(np.ceil(said[-1][1] * VIDEO_RATE_HZ))) if said else None
    active = np.flatnonzero(voice_activity(sound)) if sound is not None else []
    return slice(int(active[0]), int(active[-1]) + 1) if len(active) else None


def portrait_figures(
    folder: Path, motion: Path, work: Path, seconds: Sequence[float] = ()
) -> dict[str, dict[str, float]]:
    """Held-out frames of a portrait by the generic model, and adapted to all its training frames or to `seconds`."""
    portrait, model = Portrait.load(folder), MotionModel.load(motion)
    encoder = load_encoder(model.config.encoder)
    held = portrait.heldout.copy()
    people: dict[str, PersonMotion | None] = {"generic": None}
    training_seconds = (~held).sum() / VIDEO_RATE_HZ
    for limit in (*(value for value in seconds if value < training_seconds), training_seconds):
        # What lies beyond the limit is neither adapted to nor tested on.
        portrait.heldout = held | (np.cumsum(~held) > limit * VIDEO_RATE_HZ)
        adapt_to_person(portrait, MotionModel.load(motion), encoder, work / f"{limit:g}")
        label = "adapted" if limit == training_seconds else f"adapted on {limit:g} s"
        people[label] = load_person(work / f"{limit:g}")
    result = {name: tested(portrait, held, model, encoder, person) for name, person in people.items()}
    return result | {"generic, all frames": tested(portrait, np.ones_like(held), model, encoder, None)}


def tested(
    portrait: Portrait,
    chosen: NDArray[np.bool_],
    model: MotionModel,
    encoder: SpeechEncoder,
    person: PersonMotion | None,
) -> dict[str, float]:
    """Figures of the chosen frames [F]."""
    neutral = portrait.neutral[list(KEYPOINTS)]
    width = float(face_width(neutral))
    pairs: list[tuple[FloatArray, FloatArray]] = []
    for segment in range(len(portrait.segments)):
        frames = np.array(portrait.frames_of(segment))
        predicted = (
            neutral + model.predict(features_for(portrait, segment, encoder), person=person)[: len(frames)]
        ) / width
        inside = chosen[frames]
        if inside.any():
            pairs.append((portrait.landmarks[frames][inside] / width, predicted[inside]))
    return {
        key: float(f.value)
        for key, f in lip_metrics([LipClip(truth, other) for truth, other in pairs]).items()
        if f.value is not None
    }


def measure(
    name: str, seed: int, data: CorpusData, sets: TestSets, arguments: argparse.Namespace, work: Path
) -> dict[str, dict[str, float]]:
    """All figures of one variant and seed, by test set."""
    preset = MOTION_PRESETS["fast"].model_dump()
    config = MotionTrainConfig.model_validate({**preset, "steps": arguments.steps, **VARIANTS[name]})
    voices = {clip: [voice for voice in heard if name != f"no-{voice.kind}"] for clip, heard in data.voices.items()}
    data = replace(data, voices=voices)
    basis = fit_basis(np.concatenate([clip.displacement for clip in data.training]), config.motion_width)
    model = train_model(data, basis, config, arguments, seed, work / f"{name}-{seed}")
    tests = {"held out": data.heldout, **sets.people, **sets.recordings}
    # Other recordings say the words at other times.
    rows = {
        test: clip_figures(model, basis, clips, {} if test in sets.recordings else sets.words, sets.sounds)
        for test, clips in tests.items()
        if clips
    }
    with tempfile.TemporaryDirectory() as temporary:
        motion = Path(temporary) / "motion"
        save_model(model, basis, data.encoder, motion)
        for label, folder in sets.portraits.items():
            for kind, figures in portrait_figures(
                folder, motion, Path(temporary) / label, arguments.adapt_seconds
            ).items():
                rows[f"{label}, {kind}"] = figures
    return rows


def table(results: dict[str, dict[int, dict[str, dict[str, float]]]]) -> str:
    """Means over the seeds: opening correlation and its spread, width, amplitude, and within speech where known."""
    tests = list(dict.fromkeys(test for seeds in results.values() for rows in seeds.values() for test in rows))
    lines = [
        "| opening r (width r, amplitude) / within speech | " + " | ".join(results) + " |",
        "|---" * (len(results) + 1) + "|",
    ]
    for test in tests:
        cells = []
        for seeds in results.values():
            rows = [rows[test] for rows in seeds.values() if test in rows]
            if not rows:
                cells.append("-")
                continue
            opening = [row["opening_correlation"] for row in rows]
            width, amplitude = (
                np.mean([row[key] for row in rows]) for key in ("width_correlation", "opening_amplitude_ratio")
            )
            cell = f"{np.mean(opening):.3f} ± {np.std(opening):.3f} ({width:.2f}, {amplitude:.2f})"
            inside = [row["opening_correlation_in_speech"] for row in rows if "opening_correlation_in_speech" in row]
            cells.append(cell + (f" / {np.mean(inside):.3f}" if inside else ""))
        lines.append(f"| {test} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--portrait", type=Path, action="append", default=[])
    parser.add_argument("--adapt-seconds", type=float, nargs="*", default=[], help="adapt to so few of them, too")
    parser.add_argument("--words", type=Path, action="append", default=[], help="more than one: see grid_words.py")
    parser.add_argument("--voice-folder", type=Path)
    parser.add_argument("--speakers")
    parser.add_argument("--only", default="ours")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--sync", type=Path)
    parser.add_argument("--work", type=Path, default=Path("work-generalisation"))
    parser.add_argument("-o", "--out", type=Path, default=Path("generalisation.md"))
    arguments = parser.parse_args()
    data, people = only_reference(load_corpus_data(Corpus.load(arguments.corpus), voices=True))
    recordings = other_recordings(arguments, data.heldout, arguments.work / "resynthesised")
    sets = TestSets(
        people,
        recordings,
        {folder.name: folder for folder in arguments.portrait},
        all_words(arguments),
        clip_sounds(arguments.corpus, arguments.folders, [clip for clips in people.values() for clip in clips]),
    )
    results: dict[str, dict[int, dict[str, dict[str, float]]]] = {}
    for seed in arguments.seeds:
        for name in arguments.only.split(","):
            results.setdefault(name, {})[seed] = measure(name, seed, data, sets, arguments, arguments.work)
            arguments.out.write_text(table(results), encoding="utf-8")
            arguments.out.with_suffix(".json").write_text(json.dumps(results, indent=1), encoding="utf-8")
            print(table(results), flush=True)


if __name__ == "__main__":
    main()
