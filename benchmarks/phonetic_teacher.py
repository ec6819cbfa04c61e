"""Would a phonetic teacher help? Lips from phones with times, against lips from speech features, on words left out.

    python benchmarks/phonetic_teacher.py CORPUS --words WORDS.json [--clips 260] [--seeds 0 1 2] [-o table.md]

CORPUS is a folder of `geneface corpus prepare` with clips of the GRID corpus, whose sentences have known words: WORDS
holds their times. Phones are aligned inside each word by Viterbi training on the corpus's own speech features. Then
networks of one size are trained on the reference speaker's clips: on articulatory features of the phones (the teacher),
on one-hot phones, on speech features. Half of each class of words is left out of the training, once each half, and
every frame of the held-out clips is predicted by the networks that never saw its word. "taught" is the network on
speech features, given the teacher's motion where its words are missing. Correlation between first and last word,
mean over clips, opening / width. Symbols: R rows at 50 Hz, F frames, A articulatory features, D feature width.
"""

# ruff: noqa: RUF001  (phonetic letters are meant)
from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geneface.corpus.corpus import Corpus
from geneface.corpus.dataset import ClipData, load_corpus_data
from geneface.geometry.landmarks import lip_opening, lip_width
from geneface.io.words import Words, read_words
from geneface.motion.score import correlation
from geneface.types import FEATURE_RATE_HZ, VIDEO_RATE_HZ, FloatArray

ARTICULATION = (
    "silence", "bilabial", "labiodental", "round", "open", "front", "back", "vowel", "coronal", "sibilant",
    "postalveolar", "dorsal", "glottal", "dental", "nasal", "lateral", "rhotic", "palatal", "labiovelar", "stop",
    "fricative", "voiced",
)  # fmt: skip
_VOWELS = {  # open, front, back, round
    "i": (0, 1, 0, 0), "ɪ": (0.2, 0.8, 0, 0), "e": (0.35, 0.85, 0, 0), "ɛ": (0.65, 0.7, 0, 0), "a": (1, 0.4, 0.2, 0),
    "ɑ": (1, 0, 0.8, 0), "ʌ": (0.7, 0.15, 0.5, 0), "ə": (0.4, 0.3, 0.3, 0.05), "ɔ": (0.6, 0, 1, 0.8),
    "ʊ": (0.2, 0, 0.8, 0.7), "u": (0.05, 0, 1, 1),
}  # fmt: skip
_CONSONANTS = {
    "": "silence", "p": "bilabial stop", "b": "bilabial stop voiced", "m": "bilabial nasal voiced",
    "f": "labiodental fricative", "v": "labiodental fricative voiced", "θ": "dental coronal fricative",
    "ð": "dental coronal fricative voiced", "t": "coronal stop", "d": "coronal stop voiced",
    "n": "coronal nasal voiced", "s": "coronal sibilant fricative", "z": "coronal sibilant fricative voiced",
    "ʧ": "coronal sibilant postalveolar stop fricative round", "h": "glottal fricative", "k": "dorsal stop",
    "ʤ": "coronal sibilant postalveolar stop fricative round voiced", "ɹ": "rhotic round voiced",
    "l": "coronal lateral voiced", "g": "dorsal stop voiced", "j": "palatal front voiced",
    "w": "labiovelar round back voiced",
}  # fmt: skip
PRONUNCIATIONS = {
    "bin": "bɪn", "lay": "leɪ", "place": "pleɪs", "set": "sɛt", "blue": "blu", "green": "gɹin", "red": "ɹɛd",
    "white": "waɪt", "at": "at", "by": "baɪ", "in": "ɪn", "with": "wɪð", "a": "eɪ", "b": "bi", "c": "si", "d": "di",
    "e": "i", "f": "ɛf", "g": "ʤi", "h": "eɪʧ", "i": "aɪ", "j": "ʤeɪ", "k": "keɪ", "l": "ɛl", "m": "ɛm", "n": "ɛn",
    "o": "əʊ", "p": "pi", "q": "kju", "r": "ɑ", "s": "ɛs", "t": "ti", "u": "ju", "v": "vi", "x": "ɛks", "y": "waɪ",
    "z": "zɛd", "one": "wʌn", "two": "tu", "three": "θɹi", "four": "fɔ", "five": "faɪv", "six": "sɪks",
    "seven": "sɛvən", "eight": "eɪt", "nine": "naɪn", "zero": "zɪəɹəʊ", "again": "əgɛn", "now": "naʊ",
    "please": "pliz", "soon": "sun",
}  # fmt: skip
"""Of GRID's words, diphthongs as two vowels."""
WORD_CLASSES = (
    "bin lay place set", "blue green red white", "at by in with", "a b c d e f g h i j k l m n o p q r s t u v x y z",
    "zero one two three four five six seven eight nine", "again now please soon",
)  # fmt: skip
_HALF_OF = {word: index % 2 for group in WORD_CLASSES for index, word in enumerate(group.split())}
_SILENT, _SLACK_ROWS, _ROUNDS, _COMPONENTS = ("sil", "sp"), 3, 6, 48
_LIKELIHOOD_SCALE, _HIDDEN, _EPOCHS, _BATCH = 0.3, 48, 20, 16


@dataclass(frozen=True)
class State:
    """A phone of a sentence, and the rows that it may be in."""

    phone: str
    first: int
    end: int
    word: int


def articulation(phone: str) -> FloatArray:
    """[A] of one IPA letter."""
    vector = np.zeros(len(ARTICULATION), np.float32)
    named = {name: 1.0 for name in _CONSONANTS.get(phone, "vowel voiced").split()}
    named |= dict(zip(("open", "front", "back", "round"), _VOWELS[phone], strict=True)) if phone in _VOWELS else {}
    for name, value in named.items():
        vector[ARTICULATION.index(name)] = value
    return vector


def states_of(words: Words, rows: int) -> list[State]:
    """A sentence's phones in their order; a word's times may be off by `_SLACK_ROWS`."""
    states = []
    for index, (start, end, word) in enumerate(words):
        first = round(start * FEATURE_RATE_HZ) - _SLACK_ROWS
        last = rows if index == len(words) - 1 else round(end * FEATURE_RATE_HZ) + _SLACK_ROWS
        states += [
            State(phone, first, last, index) for phone in ("" if word in _SILENT else PRONUNCIATIONS[word]) or [""]
        ]
    return states


def flat_start(states: list[State], rows: int) -> NDArray[np.intp]:
    """[R] place of each row's state: a word's rows shared out evenly among its phones."""
    path = np.zeros(rows, np.intp)
    for word in {state.word for state in states}:
        places = [place for place, state in enumerate(states) if state.word == word]
        first, end = states[places[0]].first + _SLACK_ROWS, states[places[0]].end - _SLACK_ROWS
        borders = np.linspace(max(first, 0), rows if end > rows - 2 * _SLACK_ROWS else end, len(places) + 1).astype(int)
        for place, start, stop in zip(places, borders[:-1], borders[1:], strict=True):
            path[start:stop] = place
    return path


def best_path(scores: FloatArray, states: list[State]) -> NDArray[np.intp]:
    """[R] place of each row's state on the best monotone path (Viterbi); scores: [R, states]."""
    rows = np.arange(len(scores))[:, None]
    first, end = (np.array([getattr(state, name) for state in states]) for name in ("first", "end"))
    scores = np.where((rows >= first) & (rows < end), scores, -1e6)
    best = np.full(len(states), -1e12)
    best[0] = scores[0, 0]
    moved = np.zeros(scores.shape, bool)
    for row in range(1, len(scores)):
        before = np.concatenate([[-1e12], best[:-1]])
        moved[row] = before > best
        best = np.maximum(before, best) + scores[row]
    path = np.full(len(scores), len(states) - 1, np.intp)
    for row in range(len(scores) - 1, 0, -1):
        path[row - 1] = path[row] - moved[row, path[row]]
    return path


def align(features: list[FloatArray], states: list[list[State]]) -> list[list[str]]:
    """The phone of every row of every clip: Viterbi training of one diagonal Gaussian a phone."""
    mean, directions = principal(features, _COMPONENTS)
    reduced = [(values - mean) @ directions for values in features]
    scale = np.concatenate(reduced).std(0)
    reduced = [values / scale for values in reduced]
    paths = [flat_start(one, len(values)) for one, values in zip(states, reduced, strict=True)]
    for _ in range(_ROUNDS):
        labels = np.array([one[place].phone for one, path in zip(states, paths, strict=True) for place in path])
        values = np.concatenate(reduced)
        spread = {phone: 0.8 * values[labels == phone].var(0) + 0.08 for phone in set(labels)}
        centres = {phone: values[labels == phone].mean(0) for phone in set(labels)}
        for index, (one, rows) in enumerate(zip(states, reduced, strict=True)):
            variance = np.stack([spread.get(state.phone, np.ones(_COMPONENTS)) for state in one])
            centre = np.stack([centres.get(state.phone, np.full(_COMPONENTS, 9.0)) for state in one])
            distance = np.square(rows[:, None] - centre) / variance + np.log(variance)
            paths[index] = best_path(-0.5 * _LIKELIHOOD_SCALE * distance.sum(-1), one)
    return [[one[place].phone for place in path] for one, path in zip(states, paths, strict=True)]


def principal(features: list[FloatArray], count: int) -> tuple[FloatArray, FloatArray]:
    """Mean [D] and directions [D, count] of most variance."""
    values = np.concatenate(features)
    mean = values.mean(0)
    _, directions = np.linalg.eigh(np.cov((values - mean).T))
    return mean, directions[:, ::-1][:, :count]


def paired(rows: FloatArray) -> FloatArray:
    """[R, D] -> [R / 2, 2D]: both rows of each frame."""
    return rows.reshape(len(rows) // 2, -1).astype(np.float32)


def fitted(inputs: FloatArray, targets: FloatArray, weights: FloatArray, seed: int) -> nn.Module:
    """Train a convolutional network of fixed size that sees .24 s on each side; [N, F, *], weights [N, F]."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Dropout(0.3), nn.Conv1d(inputs.shape[2], _HIDDEN, 1), nn.Conv1d(_HIDDEN, _HIDDEN, 9, padding=4), nn.ReLU(),
        nn.Dropout(0.3), nn.Conv1d(_HIDDEN, _HIDDEN, 5, padding=2), nn.ReLU(), nn.Conv1d(_HIDDEN, targets.shape[2], 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3, weight_decay=0.05)
    steps = _EPOCHS * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    given, wanted = (torch.from_numpy(values).transpose(1, 2) for values in (inputs, targets))
    share = torch.from_numpy(weights)[:, None]
    for _ in range(_EPOCHS):
        for chosen in torch.randperm(len(given)).split(_BATCH):
            error = (torch.square(model(given[chosen]) - wanted[chosen]) * share[chosen]).sum() / share[chosen].sum()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def predicted(model: nn.Module, inputs: FloatArray) -> FloatArray:
    """[N, F, targets]."""
    with torch.inference_mode():
        return model(torch.from_numpy(inputs).transpose(1, 2)).transpose(1, 2).numpy()


def half_of_frames(words: Words, frames: int) -> NDArray[np.intp]:
    """[F] which half of the vocabulary each frame's word belongs to; -1 in silence."""
    result = np.full(frames, -1)
    for start, end, word in words:
        if word not in _SILENT:
            result[round(start * VIDEO_RATE_HZ) : round(end * VIDEO_RATE_HZ)] = _HALF_OF[word]
    return result


def scored(prediction: FloatArray, truth: FloatArray, halves: NDArray[np.intp]) -> str:
    """Mean correlation of opening and width within speech."""
    spoken = [np.flatnonzero(one >= 0) for one in halves]
    spans = [slice(one[0], one[-1] + 1) for one in spoken]
    means = [
        np.mean([correlation(p[s, curve], t[s, curve]) for p, t, s in zip(prediction, truth, spans, strict=True)])
        for curve in (0, 1)
    ]
    return " / ".join(f"{mean:.3f}" for mean in means)


def compare(
    inputs: dict[str, FloatArray], targets: FloatArray, halves: NDArray[np.intp], held: NDArray[np.bool_], seed: int
) -> dict[str, tuple[str, str]]:
    """(on unseen words, with all words seen) by network. inputs: [N, F, *], targets: [N, F, 2], of all N clips."""
    mean, spread = targets[~held].mean((0, 1)), targets[~held].std((0, 1))
    wanted = ((targets - mean) / spread).astype(np.float32)
    unseen = {name: np.zeros_like(wanted[held]) for name in (*inputs, "taught")}
    for half in (0, 1):
        known = (halves[~held] != half).astype(np.float32)
        nets = {name: fitted(values[~held], wanted[~held], known, seed) for name, values in inputs.items()}
        lesson = predicted(nets["teacher"], inputs["teacher"][~held])
        labels = np.where(known[..., None] > 0, wanted[~held], lesson).astype(np.float32)
        nets["taught"] = fitted(inputs["speech"][~held], labels, np.maximum(known, np.float32(0.5)), seed)
        for name, net in nets.items():
            motion = predicted(net, inputs["speech" if name == "taught" else name][held])
            # Silence belongs to neither half: the mean of both.
            share = np.where(halves[held] == half, 1.0, np.where(halves[held] < 0, 0.5, 0.0))
            unseen[name] += share[..., None] * motion
    every = np.ones(halves[~held].shape, np.float32)
    seen = {name: predicted(fitted(v[~held], wanted[~held], every, seed), v[held]) for name, v in inputs.items()}
    for curves in (unseen, seen):
        curves["mean of teacher and speech"] = (curves["teacher"] + curves["speech"]) / 2
    score = {name: scored(values, wanted[held], halves[held]) for name, values in seen.items()}
    return {n: (scored(values, wanted[held], halves[held]), score.get(n, "-")) for n, values in unseen.items()}


def network_inputs(clips: list[ClipData], said: list[Words], held: NDArray[np.bool_]) -> dict[str, FloatArray]:
    """What each network hears of all clips, [N, F, *], normalised by the training clips."""
    features = [clip.features.astype(np.float32) for clip in clips]
    phones = align(features, [states_of(words, len(rows)) for words, rows in zip(said, features, strict=True)])
    letters = sorted(set().union(*phones))
    table, identity = {one: articulation(one) for one in letters}, np.eye(len(letters), dtype=np.float32)
    mean, directions = principal([rows for rows, out in zip(features, held, strict=True) if not out], 64)
    inputs = {
        "teacher": np.stack([paired(np.stack([table[one] for one in clip])) for clip in phones]),
        "one-hot phones": np.stack([paired(identity[[letters.index(one) for one in clip]]) for clip in phones]),
        "speech": np.stack([paired((rows - mean) @ directions) for rows in features]),
    }
    return {n: (v - v[~held].mean((0, 1))) / np.maximum(v[~held].std((0, 1)), 0.05) for n, v in inputs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=260, help="of the reference speaker, to train on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data, all_words = load_corpus_data(Corpus.load(arguments.corpus)), read_words(arguments.words)
    own = [clip for clip in (*data.training, *data.heldout) if clip.speaker == data.reference]
    known = {clip.name: all_words.get(clip.name) or all_words.get(clip.name.split("__")[-1]) for clip in own}
    length = max({len(clip.displacement) for clip in own}, key=[len(clip.displacement) for clip in own].count)
    usable = [clip for clip in own if known[clip.name] and len(clip.displacement) == length]
    heldout = {clip.name for clip in data.heldout}
    training = [clip for clip in usable if clip.name not in heldout]
    step = max(1, len(training) // arguments.clips)
    clips = training[::step][: arguments.clips] + [clip for clip in usable if clip.name in heldout]
    held = np.array([clip.name in heldout for clip in clips])
    said = [words for clip in clips if (words := known[clip.name])]
    inputs = network_inputs(clips, said, held)
    targets = np.stack([np.stack([lip_opening(c.landmarks), lip_width(c.landmarks)], -1) for c in clips])
    halves = np.stack([half_of_frames(words, length) for words in said])
    lines = ["| opening / width | seed | unseen words | all words seen |", "|---|---|---|---|"]
    for seed in arguments.seeds:
        rows = compare(inputs, targets, halves, held, seed)
        lines += [f"| {name} | {seed} | {unseen} | {seen} |" for name, (unseen, seen) in rows.items()]
        print("\n".join(lines), flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
