"""Kokoro-82M in onnxruntime: voices in seven languages, from a folder that is not shipped (90 MB).

A user puts it together:

    config.json   with Kokoro's phoneme table under "vocab" (hexgrad/Kokoro-82M, or in the PyPI package kokoro-onnx)
    *.onnx        one Kokoro v1.0 graph with inputs tokens (or input_ids), style, speed: for instance
                  kokoro-v1.0.int8.onnx of github.com/thewh1teagle/kokoro-onnx, 92 MB
    voices/*.bin  style tables [510, 1, 256] float32, one a voice (npm package kokoro-js 1.2.1, folder voices)

Phonemes come from the program espeak-ng, respelled as misaki, Kokoro's own front end, spells them.
Kokoro, its voices and this table: Apache-2.0. Symbols: T samples at 24 kHz.
"""

# ruff: noqa: RUF001  (phonetic letters are meant)
from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geneface.errors import InputError
from geneface.io.records import read_json
from geneface.io.session import open_session
from geneface.types import FloatArray
from geneface.voice.sentences import sentences
from geneface.voice.voice import VoiceInfo, check_script, check_speed, readable, spoken

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

VOICE_RATE_HZ = 24_000
DEFAULT_VOICE = "af_heart"
LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
"""espeak-ng's language for the first letter of a voice's name. Japanese and Chinese need front ends of their own."""

_REMEDY = "docs/text.md says what a voice folder holds and where to get it"
_MAX_TOKENS = 400  # the model takes 510; long passages lose their melody before that
_STYLE_SHAPE = (510, 256)
_ESPEAK_SECONDS = 30.0

_PUNCTUATION = re.compile(r'((?<!\d)[.,]|[.,](?!\d)|[;:!?¡¿—…"“”()]+)')
_OPENING = "¡¿“("

# Tied sounds that Kokoro writes as one letter; longest first, applied in order.
_LETTERS = (
    ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^z", "ʣ"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("o^ʊ", "O"),
    ("ə^ʊ", "Q"), ("t^s", "ʦ"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"),
)  # fmt: skip
_ENGLISH = (
    ("ʔˌn\u0329", "tᵊn"), ("ʔn", "tᵊn"), ("ʔ", "t"), ("ə^l", "ᵊl"), ("ʲo", "jo"), ("ʲə", "jə"), ("ʲ", ""), ("e", "A"),
    ("ɚ", "əɹ"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɐ", "ə"), ("ɬ", "l"), ("\u0303", ""),
)  # fmt: skip
_AMERICAN = (("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""))
_BRITISH = (("e^ə", "ɛː"), ("iə", "ɪə"))


def phonemes(text: str, language: str) -> str:
    """IPA of a sentence in Kokoro's spelling, punctuation kept: it carries the melody."""
    result = ""
    for index, piece in enumerate(_PUNCTUATION.split(text)):
        if index % 2:
            result = result + piece if piece[-1] in _OPENING else result.rstrip() + piece + " "
        elif piece.strip():
            result += _espeak(piece, language) + " "
    changes = _LETTERS
    if language.startswith("en"):
        changes += _ENGLISH + (_AMERICAN if language == "en-us" else _BRITISH)
    for old, new in changes:
        result = result.replace(old, new)
    return result.replace("^", "").strip()


def _espeak(text: str, language: str) -> str:
    program = shutil.which("espeak-ng")
    if program is None:
        raise InputError("the program espeak-ng is not installed", "install it (Debian: apt install espeak-ng)")
    command = [program, "-q", "--ipa", "--tie=^", "-v", language, "--stdin"]
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, encoding="utf-8", timeout=_ESPEAK_SECONDS, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise InputError(f"espeak-ng did not answer ({error})", "check the installation of espeak-ng") from error
    if done.returncode:
        raise InputError(f"espeak-ng failed: {done.stderr.strip()[:200]}", "check that it knows the language")
    # Marks such as (en) announce a word of another language.
    return re.sub(r"\([a-z-]+\)", "", " ".join(done.stdout.split()))


@functools.lru_cache(maxsize=1)
def _load_graph(path: Path, changed_ns: int, size: int) -> InferenceSession:
    """Kept as long as the file is the same: to load it takes longer than to say a sentence."""
    return open_session(path, threads=0, remedy="download it again")


class KokoroVoice:
    """One voice of a folder as the head of this file describes it.

    Args:
        folder: with the graph, the phoneme table and voices/.
        name: a file of voices/, without its suffix; af_heart by default.
        language: of espeak-ng, one of `LANGUAGES`; by default the voice's own.

    Raises:
        InputError: an incomplete folder, an unknown voice or language.
    """

    rate_hz = VOICE_RATE_HZ

    def __init__(self, folder: Path, name: str | None = None, language: str | None = None) -> None:
        self.name = name or DEFAULT_VOICE
        graph, styles = _files(folder)
        if self.name not in styles:
            known = ", ".join(styles) or "none"
            raise InputError(f"the voice folder {folder} has no voice {self.name!r}", f"choose one of: {known}")
        self.language = language or LANGUAGES.get(self.name[:1], "")
        if self.language not in LANGUAGES.values():
            known = ", ".join(LANGUAGES.values())
            raise InputError(f"the voice {self.name} speaks no language known here", f"choose {known}")
        self._vocab = _read_vocab(folder / "config.json")
        self._breaks = {self._vocab.get(mark) for mark in " ,;:—"} - {None}
        style = np.fromfile(styles[self.name], "<f4")
        if style.size != _STYLE_SHAPE[0] * _STYLE_SHAPE[1]:
            raise InputError(f"{styles[self.name]} is not a Kokoro voice", _REMEDY)
        self._style = style.reshape(_STYLE_SHAPE)
        state = graph.stat()
        self._session = _load_graph(graph, state.st_mtime_ns, state.st_size)
        names = [node.name for node in self._session.get_inputs()]
        if sorted(names) not in (["speed", "style", "tokens"], ["input_ids", "speed", "style"]):
            raise InputError(f"{graph} is not Kokoro v1.0 (inputs {', '.join(names)})", _REMEDY)
        self._token_input = "tokens" if "tokens" in names else "input_ids"

    def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
        """See `Voice.speak`; needs the program espeak-ng."""
        check_script(readable(text), self.name, self.language)
        return self._pieces(text, check_speed(speed))

    def _pieces(self, text: str, speed: float) -> Generator[FloatArray, None, None]:
        for sentence in sentences(text):
            for tokens in _split_tokens(self._tokens(phonemes(sentence, self.language)), self._breaks):
                yield spoken(self._say(tokens, speed), VOICE_RATE_HZ, sentence)

    def _tokens(self, spelling: str) -> list[int]:
        return [self._vocab[letter] for letter in spelling if letter in self._vocab]

    def _say(self, tokens: list[int], speed: float) -> FloatArray:
        """[T] samples; the style depends on the length of the passage."""
        feeds = {
            self._token_input: np.array([[0, *tokens, 0]], np.int64),
            "style": self._style[min(len(tokens), len(self._style)) - 1][None],
            "speed": np.full(1, speed, np.float32),
        }
        return np.asarray(self._session.run(None, feeds)[0], np.float32).ravel()


def voices(folder: Path) -> list[VoiceInfo]:
    """The voices of a folder whose languages are known here.

    Raises:
        InputError: an incomplete folder.
    """
    return [
        VoiceInfo(name, LANGUAGES[name[0]], "Kokoro-82M", name == DEFAULT_VOICE)
        for name in _files(folder)[1]
        if name[0] in LANGUAGES
    ]


def files(folder: Path, name: str | None) -> list[Path]:
    """What of a folder decides a voice's sound."""
    graph, styles = _files(folder)
    return [graph, folder / "config.json", *(path for key, path in styles.items() if key == (name or DEFAULT_VOICE))]


def _files(folder: Path) -> tuple[Path, dict[str, Path]]:
    """The graph, and the style table of each voice."""
    if not folder.is_dir():
        raise InputError(f"the voice folder {folder} does not exist", _REMEDY)
    graphs = sorted(folder.glob("*.onnx"))
    if len(graphs) != 1:
        raise InputError(f"the voice folder {folder} holds {len(graphs)} .onnx files instead of one", _REMEDY)
    return graphs[0], {path.stem: path for path in sorted((folder / "voices").glob("*.bin"))}


def _read_vocab(path: Path) -> dict[str, int]:
    content = read_json(path)
    vocab = content.get("vocab") if isinstance(content, dict) else None
    if not isinstance(vocab, dict) or not vocab:
        raise InputError(f"{path} has no phoneme table under 'vocab'", "take Kokoro-82M's own config.json")
    return {str(letter): int(number) for letter, number in vocab.items()}


def _split_tokens(tokens: list[int], breaks: set[int | None]) -> list[list[int]]:
    """Passages of at most `_MAX_TOKENS`, cut after the last break that fits."""
    passages = []
    while len(tokens) > _MAX_TOKENS:
        cut = next((at for at in range(_MAX_TOKENS, 0, -1) if tokens[at - 1] in breaks), _MAX_TOKENS)
        passages.append(tokens[:cut])
        tokens = tokens[cut:]
    return [*passages, tokens] if tokens else passages
