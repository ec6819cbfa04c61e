"""The voice that needs nothing else: hibari-tts, English, with its weights inside its package (extra [tts]).

The package would fetch further voices from the network when they are first used. Here none ever is: only its own voice
is offered, and those that somebody put into its folder (`hibari --voice emma` does) with the bytes that it lists.
hibari-tts, its weights and the lists of words: Apache-2.0.
"""

# ruff: noqa: RUF001  (phonetic letters are meant)
from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Generator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geneface.errors import InputError, MissingExtraError
from geneface.io.session import quiet_onnxruntime
from geneface.types import FloatArray
from geneface.voice.sentences import sentences
from geneface.voice.voice import VoiceInfo, check_script, check_speed, readable, spoken

if TYPE_CHECKING:
    from hibari import Hibari

DEFAULT_VOICE = "heart"
_LOG = logging.getLogger(__name__)

_SAID = {
    "geneface": "ʤˈinfˌAs", "hibari": "hɪbˈɑɹi", "json": "ʤˈAsᵊn", "sqlite": "ˌɛskjˌuˌɛlˈIt", "nginx": "ˌɛnʤənˈɛks",
    "kubernetes": "kˌubəɹnˈɛTiz", "postgresql": "pˈOstɡɹɛs kjˌuˈɛl", "qwen": "kwˈɛn", "claude": "klˈɔd",
    "nguyen": "wˈɪn", "siobhan": "ʃəvˈɔn", "c#": "sˈi ʃˈɑɹp", "24/7": "twˈɛnti fˈɔɹ sˈɛvən", "hmm": "hˈʌm",
}  # fmt: skip
"""Words that it mispronounces, as they are said; in its own spelling, misaki's."""
_LONG_NUMBER = re.compile(r"\d[\d,]{15,}")
"""It has no name for such numbers; their digits are read."""
_WORD = re.compile(r"(?<![\w\[/])(?:" + "|".join(re.escape(word) for word in _SAID) + r")(?![\w\]])", re.IGNORECASE)
_GIVEN = re.compile(r"(\[[^\]]+\]\([^)]*\))")
"""A word that a text itself says how to pronounce: [word](/ipa/)."""
_LOADING = threading.Lock()


class HibariVoice:
    """English in a warm voice, some hundred times faster than it is heard on one core.

    Raises:
        InputError: the package is missing, or a voice that is not on this machine.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name or DEFAULT_VOICE
        with _LOADING:
            self._engine = _load(self.name)
        self.rate_hz: int = self._engine.sample_rate
        self.language = _languages()[self.name]
        self._reading = threading.Lock()

    def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
        """See `Voice.speak`. A text may say how a word is pronounced: [word](/ipa/), in misaki's spelling."""
        check_script(readable(text), self.name, self.language)
        return self._pieces(text, check_speed(speed))

    def _pieces(self, text: str, speed: float) -> Generator[FloatArray, None, None]:
        noise = np.random.default_rng(0)
        for sentence in sentences(text):
            for part in self._phonemes(_as_said(sentence)):
                sound = self._engine.from_ids(self._engine.ids(part), speed, noise)
                if len(sound):
                    yield spoken(sound, self.rate_hz, part)

    def _phonemes(self, sentence: str) -> list[str]:
        """Of a sentence, in its spelling. Words that the engine fails at are left out, not the rest."""
        with self._reading:
            # Its tagger and lexicon keep notes while they read.
            try:
                return self._engine.phonemize(sentence)
            except Exception:
                _LOG.warning("hibari-tts can't read a sentence; it is read word by word", exc_info=True)
            read: list[str] = []
            for word in sentence.split():
                with suppress(Exception):
                    read += self._engine.phonemize(word)
            return [" ".join(read)]


def voices() -> list[VoiceInfo]:
    """The voices that are on this machine, the default first.

    Raises:
        MissingExtraError: the package is not installed.
    """
    described = _package()[1]
    found: list[VoiceInfo] = []
    for name, facts in described.items():
        if _file(name) is not None:
            what = f"hibari {version('hibari-tts')}, {facts['gender']}, {facts['accent']}"
            found.append(VoiceInfo(name, _languages()[name], what, name == DEFAULT_VOICE))
    return found


def identity(name: str | None) -> str:
    """What decides the sound of a voice, for the record of what was made with it."""
    _package()
    return f"hibari-tts {version('hibari-tts')} {name or DEFAULT_VOICE}"


def _as_said(text: str) -> str:
    """The text with the words of `_SAID` marked, but for those that the text marks itself, and without long numbers."""
    text = _LONG_NUMBER.sub(lambda number: " ".join(number[0].replace(",", "")), text)
    parts = _GIVEN.split(text)
    marked = [_WORD.sub(lambda word: f"[{word[0]}](/{_SAID[word[0].lower()]}/)", part) for part in parts[::2]]
    parts[::2] = marked
    return "".join(parts)


@functools.cache
def _load(name: str) -> Hibari:
    """One engine a voice and process, with all that it would load at its first sentence."""
    engine, described = _package()
    if name not in described:
        raise InputError(f"there is no voice {name!r}", f"choose one of: {_names()}")
    path = _file(name)
    if path is None:
        raise InputError(
            f"the voice {name} is not on this machine, and none is fetched unasked",
            f"fetch it once with: hibari --voice {name} hello -o hello.wav; or choose one of: {_names()}",
        )
    loaded = engine(voice=name, model=str(path))
    loaded("Ready, gnarfle.")  # one word that no list has: the network for those is loaded, too
    return loaded


def _package() -> tuple[type[Hibari], dict[str, dict[str, str]]]:
    """The engine's class and the package's list of voices."""
    quiet_onnxruntime()
    try:
        from hibari import Hibari
        from hibari.voices import VOICES
    except ImportError as error:
        raise MissingExtraError("hibari-tts", "tts", error) from error
    return Hibari, VOICES


def _names() -> str:
    return ", ".join(voice.name for voice in voices())


def _languages() -> dict[str, str]:
    return {name: facts["language"].lower() for name, facts in _package()[1].items()}


def _file(name: str) -> Path | None:
    """The graph of a voice, if it is on this machine as the package lists it."""
    from hibari.voices import VOICES, sha256_of, voice_path

    try:
        path = Path(voice_path(name, download_missing=False))
        is_right = bool(VOICES[name].get("bundled")) or sha256_of(path) == VOICES[name]["sha256"]
    except OSError:
        return None
    return path if is_right else None
