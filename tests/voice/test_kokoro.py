# ruff: noqa: RUF001  (phonetic letters are meant)
from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.voice import kokoro
from geneface.voice.kokoro import KokoroVoice, phonemes
from geneface.voice.registry import VoiceChoice, open_voice, voice_names
from geneface.voice.voice import joined

SAMPLES_A_TOKEN = 600


@pytest.fixture
def voice_folder(tmp_path: Path) -> Path:
    """A stand-in with Kokoro's inputs: every token sounds for 25 ms at a height of its own number over 100."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["numbers", "scale"], ["heights"]),
        helper.make_node("Transpose", ["heights"], ["column"], perm=[1, 0]),
        helper.make_node("Mul", ["column", "pulse"], ["grid"]),
        helper.make_node("Reshape", ["grid", "flat"], ["audio"]),
    ]
    constants = {
        "scale": np.array([0.01], np.float32),
        "pulse": np.ones((1, SAMPLES_A_TOKEN), np.float32),
        "flat": np.array([-1]),
    }
    graph = helper.make_graph(
        nodes,
        "stand_in",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "n"]),
            helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
            helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["t"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    folder = tmp_path / "voices-folder"
    (folder / "voices").mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "kokoro.onnx")
    np.zeros((510, 256), "<f4").tofile(folder / "voices" / "af_test.bin")
    np.zeros((510, 256), "<f4").tofile(folder / "voices" / "zf_test.bin")
    (folder / "config.json").write_text(json.dumps({"vocab": {"a": 10, "b": 20, "c": 30, " ": 5, ".": 6, "Z": 400}}))
    return folder


@pytest.fixture
def spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters stand for themselves: no espeak-ng needed."""
    monkeypatch.setattr(kokoro, "_espeak", lambda text, language: text.strip())


def synthesise(text: str, folder: Path, voice: str | None = None) -> np.ndarray:
    return joined(KokoroVoice(folder, voice).speak(text))


def heights(samples: np.ndarray) -> list[float]:
    """The levels that a sound takes."""
    return [round(float(level), 2) for level in np.unique(np.round(samples, 2))]


@pytest.mark.usefixtures("spelled")
def test_sentences_follow_one_another_with_pauses(voice_folder: Path) -> None:
    samples = synthesise("abc  ba.\nCab? cab", voice_folder, "af_test")
    assert samples.dtype == np.float32
    pause = round(0.3 * 24_000)
    assert not samples[-pause:].any()
    sounding = np.flatnonzero(np.abs(samples) > 0.04)
    gaps = np.diff(sounding)
    assert (gaps > pause).sum() == 2  # three sentences
    assert {0.1, 0.2, 0.3} <= set(heights(samples))


@pytest.mark.usefixtures("spelled")
def test_sound_is_clipped(voice_folder: Path) -> None:
    assert synthesise("ZZZ", voice_folder, "af_test").max() == 1.0


@pytest.mark.usefixtures("spelled")
def test_the_registry_knows_the_folder(voice_folder: Path) -> None:
    voice = open_voice("af_test", folder=voice_folder, language="en-gb")
    assert (voice.name, voice.rate_hz, voice.language) == ("af_test", 24_000, "en-gb")
    assert len(list(voice.speak("abc. cab."))) == 2
    assert [info.name for info in voice_names(folder=voice_folder)] == ["af_test"]  # zf_ speaks Chinese
    facts, files = VoiceChoice("af_test", voice_folder).decides()
    assert "af_test" in facts and {file.name for file in files} == {"kokoro.onnx", "config.json", "af_test.bin"}
    with pytest.raises(InputError, match="no voice 'af_heart'"):
        open_voice(folder=voice_folder)
    for speed in (0.4, 2.1):
        with pytest.raises(InputError, match="speed"):
            voice.speak("abc", speed)


@pytest.mark.usefixtures("spelled")
def test_a_long_sentence_is_split_at_spaces(voice_folder: Path) -> None:
    """The graph never sees more than the model's 510 tokens and nothing is lost."""
    sentence = "abc " * 300
    tokens = [10, 20, 30, 5] * 300
    passages = kokoro._split_tokens(tokens, {5, 6})
    assert [token for passage in passages for token in passage] == tokens
    assert all(len(passage) <= 400 and passage[-1] == 5 for passage in passages)
    samples = synthesise(sentence, voice_folder, "af_test")
    assert (np.abs(samples) > 0.04).sum() > 1100 * SAMPLES_A_TOKEN
    unbroken = kokoro._split_tokens([10] * 1000, {5})
    assert [len(passage) for passage in unbroken] == [400, 400, 200]


@pytest.mark.usefixtures("spelled")
def test_punctuation_stays_and_numbers_stay_whole() -> None:
    assert phonemes("Yes, no: 3.5 or 1,000!", "es") == "Yes, no: 3.5 or 1,000!"
    assert phonemes("¿Qué “tal”?", "es") == "¿Qué “tal”?"


@pytest.mark.usefixtures("spelled")
@pytest.mark.parametrize(
    ("language", "ipa", "expected"),
    [
        ("en-us", "t^ʃˈɜːt^ʃ", "ʧˈɜɹʧ"),
        ("en-us", "ɡˌo^ʊ", "ɡˌO"),
        ("en-gb", "ɡˌə^ʊ", "ɡˌQ"),
        ("es", "mˈut^ʃo", "mˈuʧo"),
    ],
)
def test_tied_sounds_get_kokoros_letters(language: str, ipa: str, expected: str) -> None:
    assert phonemes(ipa, language) == expected


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="no espeak-ng on this machine")
def test_real_phonemes_of_english() -> None:
    spelling = phonemes("Hello. I make a joke, -v no option.", "en-us")
    assert spelling.startswith("həlˈO. ")
    assert "mˌAk" in spelling or "mˈAk" in spelling
    assert "ʤˈOk," in spelling


@pytest.mark.parametrize("text", ["", "  \n", "...!"])
def test_empty_text_is_refused(text: str, voice_folder: Path) -> None:
    with pytest.raises(InputError, match="text to speak has no words"):
        synthesise(text, voice_folder, "af_test")


def test_endless_text_is_refused(voice_folder: Path) -> None:
    with pytest.raises(InputError, match="at most 20000"):
        synthesise("word " * 5000, voice_folder, "af_test")


@pytest.mark.usefixtures("spelled")
def test_what_a_voice_folder_lacks_is_named(voice_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing does not exist"):
        synthesise("abc", tmp_path / "missing", "af_test")
    for voice in ("af_none", "../voices/af_test"):
        with pytest.raises(InputError, match="choose one of: af_test, zf_test"):
            synthesise("abc", voice_folder, voice)
    with pytest.raises(InputError, match="speaks no language known"):
        synthesise("abc", voice_folder, "zf_test")
    (voice_folder / "voices" / "af_short.bin").write_bytes(b"12345678")
    with pytest.raises(InputError, match=r"af_short\.bin is not a Kokoro voice"):
        synthesise("abc", voice_folder, "af_short")
    (voice_folder / "kokoro.onnx").write_bytes(b"not a graph")
    with pytest.raises(InputError, match="not a readable ONNX graph"):
        synthesise("abc", voice_folder, "af_test")
    (voice_folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match="no phoneme table"):
        synthesise("abc", voice_folder, "af_test")
    (voice_folder / "kokoro.onnx").unlink()
    with pytest.raises(InputError, match=r"holds 0 \.onnx files"):
        synthesise("abc", voice_folder, "af_test")


def test_missing_or_stuck_espeak_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="espeak-ng is not installed"):
        phonemes("hello", "en-us")

    def stuck(command: list[str], **options: object) -> None:
        raise subprocess.TimeoutExpired(command, 30.0)

    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/espeak-ng")
    monkeypatch.setattr(subprocess, "run", stuck)
    with pytest.raises(InputError, match="did not answer"):
        phonemes("hello", "en-us")


@pytest.mark.usefixtures("spelled")
def test_letters_that_the_voice_cannot_read(voice_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, words in (
        ("你好，世界。", "written in CJK letters, the voice af_test speaks en-us"),
        ("Привет, Anna", "written in Cyrillic letters"),
        ("مرحبا", "written in Arabic letters"),
        ("नमस्ते", "written in Devanagari letters"),
        ("🙂 👍", "has no words"),
    ):
        with pytest.raises(InputError, match=words):
            synthesise(text, voice_folder, "af_test")
    for text in ("ab 你好 cab cab", "caB 2024 🙂", "2024 ab"):
        assert synthesise(text, voice_folder, "af_test").any()
    (voice_folder / "voices" / "hf_test.bin").write_bytes((voice_folder / "voices" / "af_test.bin").read_bytes())
    monkeypatch.setattr(kokoro, "_espeak", lambda text, language: "ab")
    for text in ("नमस्ते", "ab"):
        assert synthesise(text, voice_folder, "hf_test").any()
