"""Resynthesis: sentences of a corpus's clips in synthetic voices, aligned in time to the real recording.

So many voices share one measured motion. Symbols: T samples at 16 kHz, F frames at 25 Hz, D feature width; R rows at
50 Hz of the real recording, S rows of the synthetic speech. A row's place is its start: row 2 f is frame f.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.speech import SpeechEncoder
from geneface.io.words import Words
from geneface.signal.sound import LEVEL_DB, cut, resample, speech_gain
from geneface.signal.timing import (
    ROWS_PER_FRAME,
    SAMPLES_PER_FRAME,
    SAMPLES_PER_ROW,
    rows_to_cover,
    whole_frames,
    whole_rows,
)
from geneface.types import SPEECH_RATE_HZ, FloatArray
from geneface.voice.kokoro import KokoroVoice
from geneface.voice.voice import joined

"""(start, end, word) in seconds of the clip's sound."""
Synthesiser = Callable[[str], FloatArray]
"""Text to sound [*] in [-1, 1] at 16 kHz."""

SILENCES = frozenset({"sil", "sp"})
_SPELLINGS = {"a": "eigh", "z": "zed"}
"""Letters that espeak-ng doesn't name as GRID's British speakers do: it reads "a" as the article. It names the rest."""

_BLOCK = SPEECH_RATE_HZ // 100
_SPEECH_DB, _GAP_DB = 25.0, 40.0
"""Speech is louder than the loud blocks less this; between words is a gap where it is quieter than that."""
_SUSTAINED = 5
"""Blocks (10 ms each); clicks of the lips before speech are shorter."""
_WORDS_SLACK = 0.05
"""Seconds by which speech may pass the times of its words; the breath before it is as loud as weak consonants."""
_GAP = 0.1
"""Seconds. Stops close the mouth for less; a longer gap is a pause."""
_MARGIN_ROWS = 10
"""Silence on each side that the alignment may bend: where speech begins and ends is known to a tenth of a second."""
_NOISE_DB = (40.0, 65.0)
"""Faintest and strongest of the room's noise, dB below the speech."""

_STEPS = ((1, 1), (1, 2), (1, 3), (2, 1), (3, 1))
"""Rows of (real, synthetic) that a step of the path takes: slopes from 1/3 to 3."""
_BEND = 0.1
"""Price of each row that a step takes more on one side: keeps the path straight where sounds last."""
_SMOOTH_ROWS, _WORST_ROWS = 7, 9
_WORST_MEAN, _WORST_PART = 0.7, 0.95
"""Cosine distance over the sentence, and over its worst `_WORST_ROWS`. Of 60 sentences (15 clips of GRID, 4 voices,
features "whisper-2-band") 53 pass, the others are of a voice that pauses; of 120 wrong ones none; with 2 of 6 words
wrong 41 of 120. With the features "whisper-2-streaming" all of 240 sentences (12 voices that don't pause) pass."""


class AlignmentError(ValueError):
    """The synthetic speech can't be aligned to the recording; the text says why."""


@dataclass(frozen=True)
class Resynthesis:
    """A clip's sentence in another voice."""

    samples: FloatArray
    """[T], T = 640 F, in [-1, 1]: silence and speech follow one another as in the clip."""
    features: FloatArray
    """[2F, D] of `samples`."""
    frame_times: FloatArray
    """[F] frame of the clip, fractional, that each frame of `samples` shows; it never falls."""
    mismatch: float
    """Mean cosine distance of the speech's features to those of the clip: 0 is the same, 1 is unrelated."""


def synthesiser(voice_folder: Path, voice: str, language: str | None = None) -> Synthesiser:
    """A voice of `voice.kokoro` that reads English, as do voices of other languages; `language` is the accent."""
    language = language or ("en-gb" if voice.startswith("b") else "en-us")
    speaker = KokoroVoice(voice_folder, voice, language)
    return lambda text: resample(joined(speaker.speak(text)), speaker.rate_hz, SPEECH_RATE_HZ)


def spoken(words: Words) -> list[tuple[float, float, str]]:
    """The words without the silences."""
    return [word for word in words if word[2] not in SILENCES]


def sentence(words: Words) -> str:
    """The text to speak. Single letters are letters' names, as GRID has them, not words.

    A comma stands where the speaker paused for longer than a stop lasts.
    """
    text = ""
    for start, end, word in words:
        if word not in SILENCES:
            text += " " + _SPELLINGS.get(word.lower(), word)
        elif word == "sp" and text and end - start >= _GAP:
            text += ","
    return text.strip(" ,")


def resynthesise(
    words: Words,
    real_samples: FloatArray,
    real_features: FloatArray,
    speaker: Synthesiser,
    encoder: SpeechEncoder,
    rng: np.random.Generator,
) -> Resynthesis:
    """Say a clip's sentence with another voice.

    The clip's silence before and after its speech is there too, as long as in the clip and shown at its own speed.

    Args:
        words: of the clip, silences included.
        real_samples: [*] the clip's sound at 16 kHz from its first frame on.
        real_features: [2F', D] of it, by `encoder`.
        speaker: the other voice, for instance of `synthesiser`.
        rng: for the faint noise of the new recording.

    Raises:
        AlignmentError: no speech in one of the two, or they don't match.
    """
    spoken_words = spoken(words)
    if not spoken_words:
        raise AlignmentError("the clip has no words")
    clip = cut(real_samples, 0, len(real_features) * SAMPLES_PER_ROW)
    inside = (spoken_words[0][0] - _WORDS_SLACK, spoken_words[-1][1] + _WORDS_SLACK)
    real_start, real_end = speech_span(clip, *inside)
    voice = _without_pauses(np.asarray(speaker(sentence(words)), np.float32))
    start, end = speech_span(voice)
    longer = (end - start) - (real_end - real_start)
    frames = whole_frames(len(clip) + longer)
    samples = _with_noise(cut(voice, start - real_start, frames * SAMPLES_PER_FRAME), rng)
    features = encoder.encode(samples, frames).values
    first = max(0, whole_rows(real_start) - _MARGIN_ROWS)
    real_last = min(len(real_features), rows_to_cover(real_end) + _MARGIN_ROWS)
    speech = slice(whole_rows(real_start) - first, rows_to_cover(real_end + longer) - first)
    last = min(len(features), first + speech.stop + _MARGIN_ROWS)
    rows, distances = _aligned(real_features[first:real_last], features[first:last])
    after = np.arange(real_last, real_last + len(features) - last)
    times = np.concatenate([np.arange(first), first + rows, after])[::ROWS_PER_FRAME] / ROWS_PER_FRAME
    times = np.minimum(times, len(real_features) / ROWS_PER_FRAME - 1).astype(np.float32)
    return Resynthesis(samples, features, times, _checked_mismatch(distances[speech]))


def align(real: FloatArray, spoken: FloatArray) -> FloatArray:
    """Find what the real recording says at each row of the synthetic speech.

    Dynamic time warping: Sakoe & Chiba, "Dynamic programming algorithm optimization for spoken word recognition",
    IEEE Trans. ASSP 26, 1978, in its symmetric form with slopes from 1/3 to 3, on the cosine distance of features
    less the mean of their recording.

    Args:
        real, spoken: [R, D] and [S, D]; their ends belong together.

    Returns:
        [S] fractional rows of the real recording, from 0 to R - 1; slopes stay within 1/3 and 3.

    Raises:
        AlignmentError: one is more than three times as long as the other.
    """
    return _aligned(real, spoken)[0]


def warp(cost: NDArray[np.floating]) -> tuple[float, NDArray[np.intp]]:
    """The cheapest path through `cost` [R, S] from corner to corner.

    A step (a, b) counts the cells that it passes once, the first of them twice, and `_BEND` for each row of a - b.

    Returns:
        the sum along the path, and its nodes [N, 2]: rows of (real, synthetic), both increasing by steps of `_STEPS`.
    """
    count, length = cost.shape
    prices = []
    for a, b in _STEPS:
        # What rolls over an edge belongs to steps that would begin beyond it: they cost infinitely much.
        passed = [np.roll(cost, (k * (a > b), k * (b > a)), (0, 1)) for k in range(max(a, b))]
        prices.append(((a, b), sum(passed, passed[-1]) + _BEND * abs(a - b)))
    sums = np.full((count + 3, length + 3), np.inf)
    sums[3, 3] = 2 * cost[0, 0]
    chosen = np.zeros((count, length), np.intp)
    # Each step leaves the row of the matrix, so that a row is made at once.
    for row in range(1, count):
        trials = np.array([sums[row + 3 - a, 3 - b :][:length] + price[row] for (a, b), price in prices])
        chosen[row] = trials.argmin(0)
        sums[row + 3, 3:] = trials.min(0)
    if not np.isfinite(sums[-1, -1]):
        raise AlignmentError(f"{count} rows of the recording can't be aligned to {length} rows of speech")
    path = [(count - 1, length - 1)]
    while path[-1] != (0, 0):
        a, b = _STEPS[chosen[path[-1]]]
        path.append((path[-1][0] - a, path[-1][1] - b))
    return float(sums[-1, -1]), np.array(path[::-1])


def _aligned(real: FloatArray, spoken: FloatArray) -> tuple[FloatArray, NDArray[np.float64]]:
    """Rows [S] of `align`, and the cosine distance [S] of the speech to the recording there."""
    cost = 1.0 - np.einsum("rd,sd->rs", _directions(real), _directions(spoken))
    _, path = warp(cost)
    columns = np.arange(len(spoken))
    # Straight from node to node the slopes are those of the steps, and an average of slopes stays within them.
    rows = np.interp(columns, path[:, 1], path[:, 0])
    if len(rows) > _SMOOTH_ROWS:
        weights = np.hanning(_SMOOTH_ROWS + 2)[1:-1]
        padded = np.pad(rows, _SMOOTH_ROWS // 2, mode="reflect", reflect_type="odd")
        rows = np.convolve(padded, weights / weights.sum(), "valid")
    return rows.astype(np.float32), cost[np.rint(rows).astype(int), columns]


def _directions(features: FloatArray) -> NDArray[np.float64]:
    """Rows [*, D] less their mean, brought to length one."""
    rows = features - features.mean(0, dtype=np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def _checked_mismatch(distances: NDArray[np.float64]) -> float:
    """The mean of [S] distances, if all is well."""
    mean = float(distances.mean())
    worst = float(np.convolve(distances, np.ones(_WORST_ROWS) / _WORST_ROWS, "valid").max())
    if mean > _WORST_MEAN or worst > _WORST_PART:
        raise AlignmentError(f"the speech is unlike the recording: {mean:.2f} in the mean, {worst:.2f} at worst")
    return mean


def _without_pauses(samples: FloatArray) -> FloatArray:
    """Shorten gaps to `_GAP`: some voices pause between words where the clip's speaker goes on."""
    loudness = _loudness_db(samples)
    loud = loudness > np.percentile(loudness, 95) - _GAP_DB
    near = np.convolve(loud, np.ones(1 + round(_GAP * SPEECH_RATE_HZ) // _BLOCK), "same") > 0.5
    return samples[: len(near) * _BLOCK].reshape(-1, _BLOCK)[near].reshape(-1)


def _with_noise(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """[T] in a quiet room: digital silence is nowhere else."""
    amplitude = 10.0 ** ((LEVEL_DB - rng.uniform(*_NOISE_DB)) / 20.0) / speech_gain(samples)
    return np.clip(samples + np.float32(amplitude) * rng.standard_normal(len(samples), np.float32), -1.0, 1.0)


def _loudness_db(samples: FloatArray) -> NDArray[np.float64]:
    """Of each 10 ms, rising with frequency by 6 dB an octave: so a room's hum is quiet."""
    count = len(samples) // _BLOCK
    if not count:
        raise AlignmentError("there is no sound")
    slopes = np.diff(samples[: count * _BLOCK], prepend=samples[:1]).astype(np.float64)
    return 10.0 * np.log10(np.square(slopes).reshape(count, _BLOCK).mean(1) + 1e-12)


def speech_span(samples: FloatArray, first_seconds: float = 0.0, last_seconds: float = np.inf) -> tuple[int, int]:
    """First and last sample of the speech, none outside of the given times."""
    loudness = _loudness_db(samples)
    padded = np.pad(loudness, _SUSTAINED // 2, constant_values=-120.0)
    steady = np.median(np.lib.stride_tricks.sliding_window_view(padded, _SUSTAINED), axis=1)
    seconds = np.arange(len(steady)) * _BLOCK / SPEECH_RATE_HZ
    inside = np.flatnonzero((seconds >= first_seconds) & (seconds < last_seconds))
    loud = inside[steady[inside] > np.percentile(loudness[inside], 95) - _SPEECH_DB] if len(inside) else inside
    if not len(loud):
        raise AlignmentError("no speech was found")
    return int(loud[0]) * _BLOCK, int(loud[-1] + 1) * _BLOCK
