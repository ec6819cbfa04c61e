"""Which voice: the one that comes with the program, those of a folder, or one of another server.

Another engine is a file beside this one with a class of the shape of `Voice`, and a case in `VoiceChoice`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

from geneface.errors import InputError
from geneface.voice import hibari, kokoro, openai_speech
from geneface.voice.voice import Voice, VoiceInfo

_LOADED = 4
"""Voices that stay in memory."""


@dataclass(frozen=True)
class VoiceChoice:
    """What was asked for; nothing is loaded before `open`.

    Without folder and address it is hibari-tts (extra [tts]).
    """

    name: str | None = None
    """By default the engine's own default voice."""
    folder: Path | None = None
    """Of Kokoro: docs/text.md says what is in it."""
    url: str | None = None
    """Of a server with OpenAI's route /v1/audio/speech."""
    language: str | None = None
    """For Kokoro, where it is another than the voice's own."""
    model: str | None = None
    """For a server that has several."""

    def __post_init__(self) -> None:
        if self.folder is not None and self.url is not None:
            raise InputError("a voice was given by its folder and by an address", "give one of them")
        if self.language is not None and self.folder is None:
            raise InputError("only voices of a folder can speak another language", "leave the language out")
        if self.model is not None and self.url is None:
            raise InputError("only a voice at an address has a model", "leave the model out")

    def open(self) -> Voice:
        """The voice, ready to speak.

        Raises:
            InputError: no such voice, or one that can't be loaded.
        """
        if self.url is not None:
            return openai_speech.OpenAISpeech(self.url, self.name, self.model)
        if self.folder is not None:
            return kokoro.KokoroVoice(Path(self.folder), self.name, self.language)
        return hibari.HibariVoice(self.name)

    def all(self) -> list[VoiceInfo]:
        """The voices that may be named instead, the default first. No server is asked: of its voices it is this one."""
        if self.url is not None:
            own = self.name or openai_speech.DEFAULT_VOICE
            return [VoiceInfo(own, "", "another server's", True)]
        found = hibari.voices() if self.folder is None else kokoro.voices(Path(self.folder))
        default = self.name or next((voice.name for voice in found if voice.is_default), None)
        marked = [replace(voice, is_default=voice.name == default) for voice in found]
        return sorted(marked, key=lambda voice: not voice.is_default)

    def decides(self) -> tuple[str, list[Path]]:
        """What the sound depends on besides the text: facts, and files. What is made of others is to be made again."""
        if self.url is not None:
            return f"{self.url} {self.model} {self.name}", []
        if self.folder is not None:
            return f"kokoro {self.name} {self.language}", kokoro.files(Path(self.folder), self.name)
        return hibari.identity(self.name), []


def open_voice(
    name: str | None = None,
    *,
    folder: Path | str | None = None,
    url: str | None = None,
    language: str | None = None,
    model: str | None = None,
) -> Voice:
    """A voice that speaks text. Without folder and address it is hibari-tts (extra [tts]): English, no network.

    Args:
        name: of the voice; by default the engine's own default.
        folder: a Kokoro model and its voices, as docs/text.md describes them.
        url: a server with OpenAI's route /v1/audio/speech.
        language: for Kokoro, where it is another than the voice's own.
        model: for a server that has several.

    Raises:
        InputError: no such voice, or one that can't be loaded.
    """
    return VoiceChoice(name, None if folder is None else Path(folder), url, language, model).open()


def voice_names(*, folder: Path | str | None = None, url: str | None = None) -> list[VoiceInfo]:
    """The voices that `open_voice` takes with the same arguments, the default first."""
    return VoiceChoice(None, None if folder is None else Path(folder), url).all()


class Voices:
    """The voices of one choice, each loaded at its first use. Any thread may call."""

    def __init__(self, choice: VoiceChoice) -> None:
        self._choice = choice
        self._loaded: OrderedDict[str | None, Voice] = OrderedDict()
        self._turn = threading.Lock()

    def all(self) -> list[VoiceInfo]:
        """Those that can be asked for, the default first.

        Raises:
            InputError: the engine is missing, or its folder incomplete.
        """
        return self._choice.all()

    def get(self, name: str | None = None) -> Voice:
        """One of them, by default the default.

        Raises:
            InputError: no such voice, or one that can't be loaded.
        """
        name = name or self._choice.name
        with self._turn:
            if name not in self._loaded:
                self._loaded[name] = replace(self._choice, name=name).open()
            self._loaded.move_to_end(name)
            while len(self._loaded) > _LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[name]
