"""Text to speech with Kokoro-82M in onnxruntime, for `render --text`.

The voice folder is not shipped (90 MB); a user puts together:

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
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geneface.errors import InputError
from geneface.io.records import read_json
from geneface.io.session import open_session
from geneface.signal.sound import resample
from geneface.types import SPEECH_RATE_HZ, FloatArray, Waveform

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

VOICE_RATE_HZ = 24_000
DEFAULT_VOICE = "af_heart"
LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "p": "pt-br"}
"""espeak-ng's language for the first letter of a voice's name. Japanese and Chinese need front ends of their own."""

_SCRIPTS = {"hi": ("DEVANAGARI", "LATIN")}
"""Start of the Unicode names of the letters that a language is written in, where those are not Latin alone."""

_MAX_TEXT = 20_000  # characters: about half an hour
_MAX_TOKENS = 400  # the model takes 510; long passages lose their melody before that
_STYLE_SHAPE = (510, 256)
_ESPEAK_SECONDS = 30.0
_PAUSE_SECONDS = 0.30  # between sentences and after the last
_MARGIN_SECONDS = 0.06  # kept around the sound of a sentence
_QUIET = 10 ** (-50 / 20)  # relative to the sentence's peak

_PUNCTUATION = re.compile(r'((?<!\d)[.,]|[.,](?!\d)|[;:!?¡¿—…"“”()]+)')
_OPENING = "¡¿“("
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"”)]*\s+")

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


def speak(text: str, voice_dir: Path, voice: str = DEFAULT_VOICE, language: str | None = None) -> Waveform:
    """Read `text` aloud, as sound at the rate of everything that is analysed; see `synthesise`."""
    samples = synthesise(text, voice_dir, voice, language)
    return Waveform(resample(samples, VOICE_RATE_HZ, SPEECH_RATE_HZ))


def synthesise(text: str, voice_dir: Path, voice: str = DEFAULT_VOICE, language: str | None = None) -> FloatArray:
    """Read `text` aloud, sentence by sentence.

    Args:
        voice_dir: a folder as described at the head of this file.
        voice: a file of voices/, without its suffix.
        language: of espeak-ng, one of `LANGUAGES`; by default the voice's own.

    Returns:
        [T] at 24 kHz in [-1, 1], ending in a short silence.

    Raises:
        InputError: empty text, an incomplete folder, an unknown voice or language, no espeak-ng.
    """
    text = " ".join(text.split())
    if not any(character.isalnum() for character in text):
        raise InputError("the text to speak has no words", "give some")
    if len(text) > _MAX_TEXT:
        raise InputError(f"the text to speak has {len(text)} characters", f"give at most {_MAX_TEXT} at once")
    model = _Kokoro(Path(voice_dir), voice)
    language = language or LANGUAGES.get(voice[:1], "")
    if language not in LANGUAGES.values():
        raise InputError(f"the voice {voice} speaks no language known here", f"choose {', '.join(LANGUAGES.values())}")
    _check_script(text, voice, language)
    pause = np.zeros(round(_PAUSE_SECONDS * VOICE_RATE_HZ), np.float32)
    pieces: list[FloatArray] = []
    for sentence in _SENTENCE_END.split(text):
        for tokens in _split_tokens(model.tokens(phonemes(sentence, language)), model.breaks):
            pieces += [_trim(model.say(tokens)), pause]
    if not pieces:
        raise InputError(f"the text has no sounds in {language}", "choose the language that it is written in")
    return np.clip(np.concatenate(pieces), -1.0, 1.0)


def _check_script(text: str, voice: str, language: str) -> None:
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


class _Kokoro:
    """The graph, the phoneme table and one voice."""

    def __init__(self, folder: Path, voice: str) -> None:
        remedy = "docs/text.md says what a voice folder holds and where to get it"
        if not folder.is_dir():
            raise InputError(f"the voice folder {folder} does not exist", remedy)
        graphs = sorted(folder.glob("*.onnx"))
        if len(graphs) != 1:
            raise InputError(f"the voice folder {folder} holds {len(graphs)} .onnx files instead of one", remedy)
        voices = {path.stem: path for path in sorted((folder / "voices").glob("*.bin"))}
        if voice not in voices:
            known = ", ".join(voices) or "none"
            raise InputError(f"the voice folder {folder} has no voice {voice!r}", f"choose one of: {known}")
        self._vocab = _read_vocab(folder / "config.json")
        self.breaks = {self._vocab.get(mark) for mark in " ,;:—"} - {None}
        style = np.fromfile(voices[voice], "<f4")
        if style.size != _STYLE_SHAPE[0] * _STYLE_SHAPE[1]:
            raise InputError(f"{voices[voice]} is not a Kokoro voice", remedy)
        self._style = style.reshape(_STYLE_SHAPE)
        state = graphs[0].stat()
        self._session = _load_graph(graphs[0], state.st_mtime_ns, state.st_size)
        names = [node.name for node in self._session.get_inputs()]
        if sorted(names) not in (["speed", "style", "tokens"], ["input_ids", "speed", "style"]):
            raise InputError(f"{graphs[0]} is not Kokoro v1.0 (inputs {', '.join(names)})", remedy)
        self._token_input = "tokens" if "tokens" in names else "input_ids"

    def tokens(self, spelling: str) -> list[int]:
        return [self._vocab[letter] for letter in spelling if letter in self._vocab]

    def say(self, tokens: list[int]) -> FloatArray:
        """[T] samples; the style depends on the length of the passage."""
        feeds = {
            self._token_input: np.array([[0, *tokens, 0]], np.int64),
            "style": self._style[min(len(tokens), len(self._style)) - 1][None],
            "speed": np.ones(1, np.float32),
        }
        return np.asarray(self._session.run(None, feeds)[0], np.float32).ravel()


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


def _trim(samples: FloatArray) -> FloatArray:
    """Cut the quiet off both ends, but for a margin with a fade."""
    loud = np.flatnonzero(np.abs(samples) > _QUIET * max(float(np.abs(samples).max(initial=0.0)), 1e-6))
    if not len(loud):
        return samples[:0]
    margin = round(_MARGIN_SECONDS * VOICE_RATE_HZ)
    kept = samples[max(loud[0] - margin, 0) : loud[-1] + margin].copy()
    fade = np.linspace(0.0, 1.0, min(margin // 2, len(kept) // 2), dtype=np.float32)
    kept[: len(fade)] *= fade
    kept[len(kept) - len(fade) :] *= fade[::-1]
    return kept
