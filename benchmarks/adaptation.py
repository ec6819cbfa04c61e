"""What a person's own seconds give their lips: generic and adapted, before rendering, by how many seconds.

    python benchmarks/adaptation.py [--portrait PORTRAIT ...] [--corpus CORPUS --speaker s1] [--motion MODEL]
        [--seconds 5 10 20 48 300 600] [--seeds 0 1 2] [-o table.md]

The held-out frames of each portrait, or the held-out clips of one speaker of a corpus, are scored; the adaptation is
fitted to so many consecutive seconds of the others. Each seed begins elsewhere and draws other networks; the spread is
over seeds. A corpus needs a model that was not trained on the speaker: train one on a corpus of others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geneface.corpus.corpus import Corpus
from geneface.evaluation.metrics.lips import LipClip, face_width, lip_figures
from geneface.geometry.landmarks import KEYPOINTS
from geneface.motion.runtime import MotionModel
from geneface.portrait.portrait import Portrait
from geneface.training.adaptation.fit import PersonClip, fit_adaptation
from geneface.training.adaptation.person import training_clips
from geneface.types import VIDEO_RATE_HZ, FloatArray

KEYS = ("opening_correlation", "width_correlation", "lip_landmark_distance", "opening_amplitude_ratio")
_SHORTEST = 12
Person = tuple[FloatArray, list[PersonClip], list[PersonClip]]
"""Neutral face [K, 3], training clips, held-out clips."""


def portrait_person(folder: Path, model: MotionModel) -> Person:
    """A portrait's training and held-out frames."""
    portrait = Portrait.load(folder)
    training = training_clips(portrait, model)
    portrait.heldout = ~portrait.heldout
    return portrait.neutral[list(KEYPOINTS)], training, training_clips(portrait, model)


def corpus_person(folder: Path, speaker: str, model: MotionModel) -> Person:
    """The clips of one speaker."""
    corpus = Corpus.load(folder)
    parts: dict[bool, list[PersonClip]] = {False: [], True: []}
    for entry in corpus.manifest.clips:
        if entry.speaker == speaker:
            measured = corpus.displacement(entry)
            generic = model.generic(corpus.features(entry))
            frames = min(len(measured), len(generic))
            parts[entry.heldout].append(PersonClip(generic[:frames], measured[:frames]))
    return corpus.neutral[speaker], parts[False], parts[True]


def consecutive(clips: Sequence[PersonClip], seconds: float, place: float) -> list[PersonClip]:
    """So many seconds from `place` (a share of all) on, beginning again after the last."""
    wanted, total = round(seconds * VIDEO_RATE_HZ), sum(map(len, clips))
    start = round(place * total)
    chosen, offset = [], 0
    for first, last in ((start, min(start + wanted, total)), (0, max(0, start + wanted - total))):
        offset = 0
        for clip in clips:
            part = clip[max(first - offset, 0) : max(min(last - offset, len(clip)), 0)]
            if len(part) >= _SHORTEST:
                chosen.append(part)
            offset += len(clip)
    return chosen


def scores(person: Person, made: Sequence[FloatArray]) -> list[float]:
    """`KEYS` on the held-out clips."""
    neutral, _, held = person
    width = float(face_width(neutral))
    clips = [
        LipClip((neutral + s.measured) / width, (neutral + own) / width) for s, own in zip(held, made, strict=True)
    ]
    figures = lip_figures(clips)
    return [float(figures[key].value or 0.0) for key in KEYS]


def rows(name: str, person: Person, seconds: Sequence[float], seeds: Sequence[int]) -> list[str]:
    """Markdown lines: generic, then by seconds."""
    neutral, training, held = person
    total = sum(map(len, training)) / VIDEO_RATE_HZ
    generic = scores(person, [clip.generic.displacement for clip in held])
    lines = [f"| {name} | generic | " + " | ".join(f"{value:.3g}" for value in generic) + " | |"]
    for limit in [*(value for value in seconds if value < total), total]:
        found, began = [], time.process_time()
        for number, seed in enumerate(seeds):
            chosen = consecutive(training, limit, number / len(seeds)) if limit < total else training
            adaptation, _ = fit_adaptation(chosen, neutral, seed=seed)
            found.append(scores(person, [adaptation.apply(clip.generic) for clip in held]))
        spent = (time.process_time() - began) / len(seeds)
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
        cells = " | ".join(f"{value:.3g} ± {around:.2g}" for value, around in zip(mean, spread, strict=True))
        lines.append(f"| {name} | {limit:.0f} s | {cells} | {spent:.0f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portrait", type=Path, nargs="*", default=[])
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--speaker", default="s1")
    parser.add_argument("--motion", type=Path, help="generic model, by default the one that ships")
    parser.add_argument("--seconds", type=float, nargs="*", default=[5, 10, 20, 48, 120, 300, 600])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    model = MotionModel.load(arguments.motion)
    people = {folder.name: portrait_person(folder, model) for folder in arguments.portrait}
    if arguments.corpus is not None:
        people[arguments.speaker] = corpus_person(arguments.corpus, arguments.speaker, model)
    lines = [
        "| person | adapted to | opening r | width r | LMD, face widths | amplitude | core-seconds |",
        "|---" * 7 + "|",
    ]
    for name, person in people.items():
        lines += rows(name, person, arguments.seconds, arguments.seeds)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
