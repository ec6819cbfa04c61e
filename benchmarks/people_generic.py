"""Lips from speech for people the models don't know: generic and adapted, before rendering, beside ceilings.

    python benchmarks/people_generic.py [--motion MODEL ...] [--portrait PORTRAIT ...]
        [--corpus CORPUS --folders FOLDER ... --words WORDS.json ... --speakers s1 s26]
        [--seeds 3] [--folds 4] [--adapt-seconds 60] [--no-adapted] [--again 500] [--work DIR]
        [--with EARLIER.json ...] [-o table.md]

Trains no motion model. The models given are seeds of one recipe: without any, the one that ships. A person's
recordings are predicted by each; the adaptation (seeded as well) is fitted to what is not held out, or, with --folds,
to the rest of each of so many parts in turn. Of a corpus's main speaker, whom the models know, only held-out clips
are scored.

Rows of each person, and their mean over people:

generic                     all frames (the main speaker: his held-out clips)
generic, held out; adapted  the frames that adaptation never sees
other speech                ceiling of chance: the generic model's lips for another clip, or another half of the clip
still, 2 frames late        the ground truth, spoilt
tracked again               the ground truth after our MP4 writer, tracked once more: the best any video can score

Columns are those of `lip_scores`: a person without words has no contacts of f and v, and his closures are those that
the truth shows between open lips. Writes a Markdown table, and all figures, with their spread over seeds, as JSON.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from adaptation import consecutive
from lip_scores import ScoredClip, lip_scores, person_levels
from numpy.typing import NDArray
from recorded_people import Person, Recording, chosen, corpus_people, portrait_person

from geneface.analysis.speech import SpeechEncoder, load_encoder
from geneface.evaluation.metrics.articulation import OpeningLevels
from geneface.evaluation.metrics.lips import face_width
from geneface.evaluation.protocol.controls import DELAY_FRAMES
from geneface.io.tensors import load_tensors, save_tensors
from geneface.io.words import read_words
from geneface.motion.runtime import MotionModel
from geneface.signal.spans import true_spans
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.training.adaptation.fit import PersonClip, fit_adaptation
from geneface.types import FloatArray

COLUMNS: tuple[tuple[str, str], ...] = (
    ("opening_r", "opening r"),
    ("opening_r_best", "at best lag"),
    ("best_lag", "lag"),
    ("opening_r_in_speech", "in speech"),
    ("width_r", "width r"),
    ("protrusion_r", "protrusion r"),
    ("jaw_r", "jaw r"),
    ("amplitude", "amplitude"),
    ("lmd", "LMD"),
    ("worst_second_lmd", "worst second"),
    ("closures", "closures"),
    ("closures_met", "met"),
    ("closures_timed", "in time"),
    ("closures_false", "false frames"),
    ("false_events", "false closures"),
    ("contacts", "f, v"),
    ("contacts_met", "met"),
)
"""Keys of `lip_scores` and headings of the table; the other figures stand in the JSON."""
GENERIC, GENERIC_HELD, ADAPTED = "generic", "generic, held out", "adapted"
OTHER, STILL, LATE, AGAIN = "other speech", "still", f"{DELAY_FRAMES} frames late", "tracked again"
_GUARD_FRAMES = 8
"""Frames on both sides of a part that are not adapted to: lips are smooth, and would tell it."""
_SHORTEST = 12
Scores = dict[str, float]
Part = tuple[Recording, slice]
"""Frames of a recording."""


@dataclass(frozen=True)
class Bench:
    """A person's scale: everything is compared in face widths."""

    person: Person
    levels: OpeningLevels | None
    width: float

    @classmethod
    def of(cls, person: Person) -> Bench:
        width = float(face_width(person.neutral))
        truths = [(person.neutral + one.measured) / width for one in person.recordings]
        return cls(person, person_levels(truths), width)

    def clip(self, part: Part, displacement: FloatArray) -> ScoredClip:
        """Some frames of a recording, with another motion [f, K, 3] of these frames."""
        recording, frames = part
        start, stop, _ = frames.indices(len(recording.measured))
        words = None
        if recording.words is not None:
            words = [(begin - start / 25, end - start / 25, word) for begin, end, word in recording.words]
        sound = recording.samples
        return ScoredClip(
            recording.name,
            (self.person.neutral + recording.measured[start:stop]) / self.width,
            (self.person.neutral + displacement) / self.width,
            recording.speech[start:stop],
            words,
            None if sound is None else sound[start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME],
            start,
        )

    def scores(self, parts: Sequence[Part], made: Sequence[FloatArray]) -> Scores:
        """Of as many motions as parts."""
        return lip_scores([self.clip(*pair) for pair in zip(parts, made, strict=True)], self.levels)


def heldout_parts(person: Person) -> list[Part]:
    """What the recordings say is held out."""
    return [(one, slice(*span)) for one in person.recordings for span in true_spans(one.heldout)]


def scored_parts(person: Person) -> list[Part]:
    """All frames, or of a person whom the models know what is held out."""
    return heldout_parts(person) if person.is_known else [(one, slice(None)) for one in person.recordings]


def folds(person: Person, count: int) -> Iterator[dict[str, NDArray[np.bool_]]]:
    """By recording, the frames [F] that are held out in turn: consecutive parts of all frames; 0: as it says itself."""
    if count < 2 or person.is_known:
        yield {one.name: one.heldout for one in person.recordings}
        return
    total = sum(len(one.measured) for one in person.recordings)
    borders = np.linspace(0, total, count + 1).astype(int)
    for first, last in itertools.pairwise(borders.tolist()):
        masks, offset = {}, 0
        for one in person.recordings:
            place = np.arange(offset, offset + len(one.measured))
            masks[one.name], offset = (place >= first) & (place < last), offset + len(place)
        yield masks


def adapted(
    bench: Bench, models: Callable[[Recording], PersonClip], count: int, seconds: float, seed: int
) -> tuple[Scores, Scores]:
    """Generic and adapted on the frames that the adaptation was not fitted to, all folds scored together."""
    parts: list[Part] = []
    generic: list[FloatArray] = []
    made: list[FloatArray] = []
    for masks in folds(bench.person, count):
        training: list[PersonClip] = []
        held: list[Part] = []
        for one in bench.person.recordings:
            mask, clip = masks[one.name], models(one)
            near = np.convolve(mask, np.ones(2 * _GUARD_FRAMES + 1), "same") > 0
            training += [clip[slice(*span)] for span in true_spans(~near) if span[1] - span[0] >= _SHORTEST]
            held += [(one, slice(*span)) for span in true_spans(mask)]
        if not training or not held:
            continue
        if sum(map(len, training)) > seconds * 25:
            training = consecutive(training, seconds, seed / 3)
        adaptation, _ = fit_adaptation(training, bench.person.neutral, seed=seed)
        for recording, frames in held:
            start, stop, _ = frames.indices(len(recording.measured))
            speech = models(recording).generic
            generic.append(speech.displacement[start:stop])
            made.append(adaptation.apply(speech, start, stop))
        parts += held
    return bench.scores(parts, generic), bench.scores(parts, made)


def controls(bench: Bench, predicted: Mapping[str, FloatArray]) -> dict[str, Scores]:
    """The truth spoilt, and lips that belong to other speech."""
    parts = scored_parts(bench.person)
    truths = [one.measured[frames] for one, frames in parts]
    mean = np.concatenate(truths).mean(0, keepdims=True)
    late = [truth[np.maximum(np.arange(len(truth)) - DELAY_FRAMES, 0)] for truth in truths]
    own = [predicted[one.name][frames] for one, frames in parts]
    if len(own) > 1:
        others = [np.resize(own[(index + 1) % len(own)], part.shape) for index, part in enumerate(own)]
    else:
        others = [np.roll(part, len(part) // 2, axis=0) for part in own]
    made = {OTHER: others, STILL: [np.broadcast_to(mean, truth.shape) for truth in truths], LATE: late}
    return {name: bench.scores(parts, motions) for name, motions in made.items()}


def tracked_again(bench: Bench, frames: int, work: Path) -> Scores:
    """The truth tracked once more, so many frames of it; the tracks are kept in `work`."""
    parts: list[Part] = []
    made: list[FloatArray] = []
    for one, wanted in scored_parts(bench.person):
        if sum(map(len, made)) >= frames or one.tracked_again is None:
            break
        path = work / f"{bench.person.name}-{one.name}.safetensors"
        if not path.is_file():
            work.mkdir(parents=True, exist_ok=True)
            save_tensors(path, {"landmarks": one.tracked_again()})
        displacement = load_tensors(path)["landmarks"] - bench.person.neutral
        parts.append((one, wanted))
        made.append(displacement[: len(one.measured)][wanted])
    return bench.scores(parts, made) if parts else {}


def person_rows(
    person: Person,
    models: Sequence[MotionModel],
    arguments: argparse.Namespace,
    open_encoder: Callable[[str], SpeechEncoder],
) -> dict[str, list[Scores]]:
    """All rows of a person, one entry a seed (controls have one)."""
    bench = Bench.of(person)
    rows: dict[str, list[Scores]] = {GENERIC: [], GENERIC_HELD: [], ADAPTED: []}
    predicted: dict[str, FloatArray] = {}
    for seed in range(max(len(models), arguments.seeds)):
        model = models[seed % len(models)]

        @functools.cache
        def clip_of(name: str, model: MotionModel = model) -> PersonClip:
            one = next(item for item in person.recordings if item.name == name)
            generic = model.generic(one.heard_by(model.config.encoder, open_encoder))
            return PersonClip(generic[: len(one.measured)], one.measured)

        def heard(one: Recording, clip_of: Callable[[str], PersonClip] = clip_of) -> PersonClip:
            return clip_of(one.name)

        parts = scored_parts(person)
        if seed < len(models):
            predicted = {one.name: heard(one).generic.displacement for one, _ in parts}
            rows[GENERIC].append(bench.scores(parts, [predicted[one.name][frames] for one, frames in parts]))
        if not arguments.no_adapted:
            unadapted, own = adapted(bench, heard, arguments.folds, arguments.adapt_seconds, seed)
            rows[ADAPTED].append(own)
            rows[GENERIC_HELD] += [unadapted] if seed < len(models) else []
    rows |= {name: [scores] for name, scores in controls(bench, predicted).items()}
    if arguments.again:
        rows[AGAIN] = [tracked_again(bench, arguments.again, arguments.work)]
    return {name: [scores for scores in seeds if scores] for name, seeds in rows.items() if any(seeds)}


def summary(people: Mapping[str, Mapping[str, Sequence[Scores]]]) -> dict[str, list[Scores]]:
    """Means over people of each row, seed by seed; counts are summed."""
    result: dict[str, list[Scores]] = {}
    for row in dict.fromkeys(row for rows in people.values() for row in rows):
        known = [rows[row] for rows in people.values() if row in rows]
        result[row] = []
        for seed in range(max(map(len, known))):
            each = [seeds[min(seed, len(seeds) - 1)] for seeds in known]
            keys = dict.fromkeys(key for scores in each for key in scores)
            values = {key: [scores[key] for scores in each if key in scores] for key in keys}
            result[row].append(
                {
                    key: float(np.sum(found) if key in ("closures", "contacts") else np.mean(found))
                    for key, found in values.items()
                }
            )
    return result


def cell(seeds: Sequence[Scores], key: str) -> str:
    """Mean over seeds, and their spread where there are several."""
    values = [scores[key] for scores in seeds if key in scores]
    if not values:
        return "-"
    if key in ("closures", "contacts", "best_lag"):
        return f"{np.mean(values):.0f}"
    digits = 4 if "lmd" in key else 2
    text = f"{np.mean(values):.{digits}f}"
    return f"{text} ± {np.std(values):.{digits}f}" if len(values) > 1 else text


def table(people: Mapping[str, Mapping[str, Sequence[Scores]]]) -> str:
    """A block of lines a person: generic, adapted, controls; then the means over people, each with the worst person."""
    lines = ["| | " + " | ".join(title for _, title in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]

    def add(name: str, seeds: Sequence[Scores]) -> None:
        lines.append(f"| {name} | " + " | ".join(cell(seeds, key) for key, _ in COLUMNS) + " |")

    for name, rows in people.items():
        for row, seeds in rows.items():
            add(f"{name}, {row}", seeds)
    for row, mean in summary(people).items() if len(people) > 1 else ():
        known = {name: rows[row] for name, rows in people.items() if row in rows}
        add(f"**mean of {len(known)}, {row}**", mean)
        if row in (GENERIC, GENERIC_HELD, ADAPTED):
            worst = min(known, key=lambda name: np.mean([scores.get("opening_r_best", 1.0) for scores in known[name]]))
            add(f"worst: {worst}, {row}", known[worst])
    return "\n".join(lines) + "\n"


def gathered(arguments: argparse.Namespace) -> list[Person]:
    """Everybody who is asked for."""
    people = [portrait_person(folder) for folder in arguments.portrait]
    if arguments.corpus is not None:
        words = {clip: said for path in arguments.words for clip, said in read_words(path).items() if said}
        people += chosen(corpus_people(arguments.corpus, arguments.folders, words), arguments.speakers)
    seen: dict[str, int] = {}
    for index, person in enumerate(people):
        seen[person.name] = seen.get(person.name, 0) + 1
        if seen[person.name] > 1:
            people[index] = replace(person, name=f"{person.name} ({seen[person.name]})")
    return people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--motion", type=Path, nargs="*", default=[], help="models of several seeds")
    parser.add_argument("--encoder-path", type=Path, help="weights of the models' speech encoder, if it isn't shipped")
    parser.add_argument("--portrait", type=Path, nargs="*", default=[])
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--folders", type=Path, nargs="*", default=[])
    parser.add_argument("--words", type=Path, nargs="*", default=[])
    parser.add_argument("--speakers", nargs="*", default=[], help="of the corpus; by default all")
    parser.add_argument("--seeds", type=int, default=1, help="of the adaptation, where fewer models are given")
    parser.add_argument("--folds", type=int, default=0, help="parts held out in turn, instead of the portrait's own")
    parser.add_argument("--adapt-seconds", type=float, default=60.0, help="at most")
    parser.add_argument("--no-adapted", action="store_true")
    parser.add_argument("--again", type=int, default=0, help="frames to track again, for the ceiling; 0: none")
    parser.add_argument("--work", type=Path, default=Path("work-people-generic"))
    parser.add_argument("--with", type=Path, nargs="*", default=[], dest="earlier", help="people of earlier runs")
    parser.add_argument("-o", "--out", type=Path, default=Path("people_generic.md"))
    arguments = parser.parse_args()
    people = gathered(arguments)
    results: dict[str, dict[str, list[Scores]]] = {}
    for path in arguments.earlier:
        results |= json.loads(path.read_text(encoding="utf-8"))["people"]
    if not people and not results:
        parser.error("nobody to measure: give --portrait or --corpus")
    models = [MotionModel.load(folder) for folder in arguments.motion] or [MotionModel.load()]
    open_encoder = functools.cache(functools.partial(load_encoder, path=arguments.encoder_path))
    for person in people:
        results[person.name] = person_rows(person, models, arguments, open_encoder)
        _write(arguments.out, results)
    _write(arguments.out, results)
    print(table(results))


def _write(out: Path, results: dict[str, dict[str, list[Scores]]]) -> None:
    """Also while others are still at work."""
    text = json.dumps({"people": results, "mean": summary(results)}, indent=1)
    out.with_suffix(".json").write_text(text, encoding="utf-8")
    out.write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
