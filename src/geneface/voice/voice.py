"""What a voice is: text in, sound out, a sentence at a time. Another engine is one file with a class of this shape.

Symbols: T samples at a voice's own rate.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from geneface.errors import InputError
from geneface.io.atomic import atomic_path
from geneface.types import FloatArray, ProgressFn, no_progress
from geneface.voice.sentences import ends_sentence

MAX_TEXT = 20_000
"""Characters that are spoken at once: about half an hour."""
SLOWEST, FASTEST = 0.5, 2.0
"""What the models were trained to; beyond it they mumble."""

_PAUSE_SECONDS, _CLAUSE_SECONDS = 0.30, 0.12
"""After a sentence, the last one too, so that the mouth closes; after a part that was cut at a comma."""
_MARGIN_SECONDS = 0.04
"""Kept around the sound of a sentence. The model's own silence, 0.3 s, would be heard as slowness to answer."""
_CHARACTERS_A_SECOND = 15.0
_QUIET = 10 ** (-50 / 20)
"""Relative to the sentence's peak."""
_SCRIPTS = {"hi": ("DEVANAGARI", "LATIN")}
"""Start of the Unicode names of the letters that a language is written in, where those are not Latin alone."""


class Voice(Protocol):
    """Speaks text. Any number of threads may use one voice at once."""

    @property
    def name(self) -> str:
        """As users choose it."""
        ...

    @property
    def rate_hz(self) -> int:
        """Samples per second of what it says."""
        ...

    @property
    def language(self) -> str:
        """Such as "en-us"; empty where it is not known."""
        ...

    def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
        """Sound [T] float32 in [-1, 1], in pieces of a sentence or less, each as soon as it is made.

        Closing the generator ends it. The same text gives the same sound.

        Args:
            speed: 0.5 to 2 times the usual.

        Raises:
            InputError: at once or at the first piece: a text that can't be spoken; later, an engine that fails.
        """
        ...


@dataclass(frozen=True)
class VoiceInfo:
    """A voice that can be chosen."""

    name: str
    language: str
    description: str
    is_default: bool = False


def readable(text: str) -> str:
    """The text, checked.

    Raises:
        InputError: no words, or more than `MAX_TEXT` characters.
    """
    if not any(character.isalnum() for character in text):
        raise InputError("the text to speak has no words", "give some")
    if len(text) > MAX_TEXT:
        raise InputError(f"the text to speak has {len(text)} characters", f"give at most {MAX_TEXT} at once")
    return text


def check_speed(speed: float) -> float:
    """The speed, or InputError."""
    if not SLOWEST <= speed <= FASTEST:
        raise InputError(f"the speed is {speed}", f"give one from {SLOWEST} to {FASTEST}; 1 is usual")
    return speed


def check_script(text: str, voice: str, language: str) -> None:
    """Refuse a text in letters that the voice can't read: it would spell them, or be silent.

    Raises:
        InputError: most letters are of another script.
    """
    scripts = [unicodedata.name(letter, "unknown").split()[0] for letter in text if letter.isalpha()]
    foreign = [script for script in scripts if script not in _SCRIPTS.get(language, ("LATIN",))]
    if 2 * len(foreign) > len(scripts):
        most = max(set(foreign), key=foreign.count)
        shown = most if most == "CJK" else most.capitalize()
        raise InputError(
            f"the text is written in {shown} letters, the voice {voice} speaks {language}",
            "give a text in that language, or choose a voice that speaks the text's",
        )


def spoken(samples: FloatArray, rate_hz: int, text: str) -> FloatArray:
    """The sound [T] of one piece of text without the silence around it, then the pause that belongs after it."""
    seconds = _PAUSE_SECONDS if ends_sentence(text) else _CLAUSE_SECONDS
    pause = np.zeros(round(seconds * rate_hz), np.float32)
    return np.clip(np.concatenate([_trimmed(samples, rate_hz), pause]), -1.0, 1.0)


def _trimmed(samples: FloatArray, rate_hz: int) -> FloatArray:
    """Cut the quiet off both ends, but for a margin with a fade."""
    loud = np.flatnonzero(np.abs(samples) > _QUIET * max(float(np.abs(samples).max(initial=0.0)), 1e-6))
    if not len(loud):
        return samples[:0]
    margin = round(_MARGIN_SECONDS * rate_hz)
    kept = samples[max(loud[0] - margin, 0) : loud[-1] + margin].astype(np.float32)
    fade = np.linspace(0.0, 1.0, min(margin // 2, len(kept) // 2), dtype=np.float32)
    kept[: len(fade)] *= fade
    kept[len(kept) - len(fade) :] *= fade[::-1]
    return kept


def joined(pieces: Iterable[FloatArray]) -> FloatArray:
    """[T] all that a voice says.

    Raises:
        InputError: that is nothing, as of a text in signs that it doesn't read.
    """
    parts = list(pieces)
    if not sum(map(len, parts)):
        raise InputError("the text has no sounds in this voice's language", "give a text in the voice's language")
    return np.concatenate(parts)


def save_speech(
    text: str,
    path: Path | str,
    voice: Voice,
    speed: float = 1.0,
    *,
    most_seconds: float = math.inf,
    progress: ProgressFn = no_progress,
) -> None:
    """Speak a text into a WAV file (16 bit, mono, at the voice's rate), which is there whole or not at all.

    Args:
        most_seconds: of speech.
        progress: told of samples, of about so many.

    Raises:
        InputError: a text that the voice can't speak, or that takes too long, or a place that can't be written to.
    """
    about, count = max(round(len(text) / _CHARACTERS_A_SECOND * voice.rate_hz), 1), 0
    pieces: list[FloatArray] = []
    with closing(voice.speak(text, speed)) as spoken_pieces:
        for piece in spoken_pieces:
            pieces.append(piece)
            count += len(piece)
            if count > most_seconds * voice.rate_hz:
                raise InputError(f"the text takes more than {most_seconds:g} s to speak", "give a shorter text")
            progress("speaking", min(count, about), about)
    with atomic_path(path) as temporary:
        soundfile.write(temporary, joined(pieces), voice.rate_hz, subtype="PCM_16", format="WAV")
