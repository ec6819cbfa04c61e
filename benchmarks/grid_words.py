"""Words of GRID clips that came without: their names tell what is said, aligned speech of other clips tells when.

    python benchmarks/grid_words.py CORPUS FOLDER... --words WORDS.json [-o more_words.json]

CORPUS is a folder of `geneface corpus prepare`, FOLDERs the videos it was made from; training clips that have words
serve as the dictionary. For each other clip a sentence is put together from their words, and aligned to it by its
speech features (`corpus.resynthesis.align`). Prints how far the times are off on held-out clips that have words, as
if they had none, and writes those of the clips without, by their names in the corpus.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from geneface.corpus.corpus import Corpus
from geneface.corpus.dataset import ClipData, load_corpus_data
from geneface.corpus.layouts import find_sources
from geneface.corpus.resynthesis import AlignmentError, align, speech_span, spoken
from geneface.corpus.steps import clip_samples
from geneface.corpus.voices import words_of
from geneface.io.words import Words, read_words
from geneface.signal.timing import SAMPLES_PER_ROW
from geneface.types import FEATURE_RATE_HZ, FloatArray

SLOTS = 6
"""Words of a sentence: verb, colour, preposition, letter, digit, adverb; a letter of the clip's name for each."""
_TRIALS = 5
"""Sentences put together for a clip: the median of their times counts."""


def code(name: str) -> str:
    """The letters that tell what is said: `s26__s26_bgbsza` -> bgbsza."""
    return name.rpartition("__")[2].rpartition("_")[2]


class Dictionary:
    """Speech of single words, by slot and letter, from clips that have words."""

    def __init__(self, clips: Sequence[ClipData], words: Mapping[str, Words]) -> None:
        self._entries: dict[tuple[int, str], list[tuple[FloatArray, str]]] = {}
        for clip in clips:
            said = spoken(words_of(words, clip.name))
            if len(said) != SLOTS:
                continue
            for slot, (start, end, word) in enumerate(said):
                rows = clip.features[round(start * FEATURE_RATE_HZ) : max(round(end * FEATURE_RATE_HZ), 1)]
                if len(rows):
                    self._entries.setdefault((slot, code(clip.name)[slot]), []).append((rows.astype(np.float32), word))

    def sentence(self, letters: str, rng: np.random.Generator) -> tuple[FloatArray, list[int], list[str]] | None:
        """Features [S, D], the rows at which its words begin and the last one ends, the words; None: one is missing."""
        found = [self._entries.get((slot, letter)) for slot, letter in enumerate(letters)]
        chosen = [entries[rng.integers(len(entries))] for entries in found if entries]
        if len(chosen) != SLOTS:
            return None
        borders = np.cumsum([0, *(len(rows) for rows, _ in chosen)]).tolist()
        return np.concatenate([rows for rows, _ in chosen]), borders, [word for _, word in chosen]


def word_times(
    clip: ClipData, samples: FloatArray, dictionary: Dictionary, rng: np.random.Generator
) -> list[tuple[float, float, str]]:
    """When a clip's words are said, in seconds; nothing where they can't be aligned.

    Args:
        samples: [T] the clip's sound at 16 kHz from its first frame on.
    """
    try:
        first, last = (sample // SAMPLES_PER_ROW for sample in speech_span(samples))
    except AlignmentError:
        return []
    real = clip.features[first:last].astype(np.float32)
    borders, words = [], []
    for _ in range(_TRIALS):
        made = dictionary.sentence(code(clip.name), rng)
        if made is None:
            continue
        try:
            rows = align(real, made[0])
        except AlignmentError:
            continue
        places = np.append(rows, len(real))[made[1]]
        borders.append((places + first) / FEATURE_RATE_HZ)
        words = made[2]
    if not borders:
        return []
    times = np.median(borders, axis=0)
    return [(float(times[i]), float(times[i + 1]), words[i]) for i in range(SLOTS)]


def clip_sounds(corpus: Path, folders: Sequence[Path], clips: Sequence[ClipData]) -> dict[str, FloatArray]:
    """[T] samples of each clip from its first frame on."""
    sources = {source.name: source for source in find_sources(folders)}
    return {clip.name: clip_samples(corpus, sources[clip.name]) for clip in clips}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--words", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path)
    arguments = parser.parse_args()
    data, words = load_corpus_data(Corpus.load(arguments.corpus)), read_words(arguments.words)
    dictionary = Dictionary(data.training, words)
    others = [clip for clip in [*data.training, *data.heldout] if not words_of(words, clip.name)]
    sounds = clip_sounds(arguments.corpus, arguments.folders, [*data.heldout, *others])
    rng = np.random.default_rng(0)
    errors = []
    for clip in data.heldout:
        said = spoken(words_of(words, clip.name))
        if len(said) == SLOTS:
            found = word_times(clip, sounds[clip.name], dictionary, rng)
            errors += [abs(mine[0] - true[0]) for mine, true in zip(found, said, strict=False)]
    if errors:
        middle, most = 1000 * np.percentile(errors, [50, 90])
        print(f"{len(errors)} known words: beginnings off by {middle:.0f} ms in the median, 90 % within {most:.0f} ms")
    if arguments.out:
        more = {clip.name: word_times(clip, sounds[clip.name], dictionary, rng) for clip in others}
        arguments.out.write_text(json.dumps(more, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
