# ruff: noqa: RUF001  (phonetic letters are meant)
"""The default voice. What it says is heard by nobody here: tests look at spelling, times, levels and bits."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hibari import voices as listed

from geneface.errors import InputError, MissingExtraError
from geneface.voice import hibari
from geneface.voice.hibari import HibariVoice
from geneface.voice.registry import VoiceChoice, Voices, open_voice, voice_names
from geneface.voice.sentences import sentences
from geneface.voice.voice import joined, save_speech

TEXT = "Good morning. I have read the letter, all of it! Shall we begin?"


def test_it_speaks_sentence_by_sentence() -> None:
    voice = open_voice()
    assert (voice.name, voice.rate_hz, voice.language) == ("heart", 24_000, "en-us")
    pieces = list(voice.speak(TEXT))
    assert len(pieces) == 3
    for piece in pieces:
        assert piece.dtype == np.float32 and 0.1 < np.abs(piece).max() <= 1.0
        loud = np.flatnonzero(np.abs(piece) > 0.01 * np.abs(piece).max())
        assert loud[0] < 0.08 * voice.rate_hz  # it begins at once
        assert not piece[-round(0.25 * voice.rate_hz) :].any()  # and ends in a pause


def test_the_same_text_has_the_same_bits_in_any_thread() -> None:
    voice = open_voice()
    expected = joined(voice.speak(TEXT))
    heard: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: heard.append(joined(open_voice().speak(TEXT)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 4
    for sound in heard:
        np.testing.assert_array_equal(sound, expected)


def test_speed_changes_the_length() -> None:
    voice = open_voice()
    lengths = [len(joined(voice.speak("This is one long and quiet sentence.", speed))) for speed in (0.7, 1.0, 1.5)]
    assert all(slow > 1.2 * fast for slow, fast in pairwise(lengths))
    for speed in (0.1, 3.0, float("nan")):
        with pytest.raises(InputError, match="speed"):
            voice.speak("Hello.", speed)


def test_a_closed_iterator_makes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    voice = open_voice()
    made: list[str] = []
    monkeypatch.setattr(hibari, "_as_said", lambda sentence: made.append(sentence) or sentence)
    pieces = voice.speak(TEXT)
    next(pieces)
    pieces.close()
    assert list(pieces) == [] and made == ["Good morning."]


def test_no_socket_is_ever_opened(tmp_path: Path) -> None:
    """An audit hook sees every socket of the process, whatever module asks for it."""
    program = """
import os, sys
def hook(event, args):
    if event.startswith(("socket.", "urllib.")):
        print("SOCKET", event, args)
        os._exit(1)
sys.addaudithook(hook)
from geneface.errors import InputError
from geneface.voice.hibari import HibariVoice
from geneface.voice.registry import open_voice, voice_names
from geneface.voice.voice import joined
assert len(joined(open_voice().speak("Good morning. Zxqwv blorft, isn't it?")))
assert [voice.name for voice in voice_names()] == ["heart"]
for name in ("emma", "fenrir", "fable", "kore", "nobody"):
    try:
        open_voice(name)
    except InputError as error:
        print(error)
    else:
        raise SystemExit(f"{name} was opened")
"""
    home = {"HIBARI_HOME": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=home, check=False)
    assert done.returncode == 0 and "SOCKET" not in done.stdout, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and all("heart" in line for line in lines)
    assert "emma is not on this machine" in lines[0] and "no voice 'nobody'" in lines[4]
    assert list(tmp_path.iterdir()) == []


def test_the_hook_of_that_test_sees_a_socket() -> None:
    program = "import sys; sys.addaudithook(lambda e, a: e.startswith('socket.') and sys.exit(7)); import socket; "
    done = subprocess.run([sys.executable, "-c", program + "socket.socket()"], check=False)
    assert done.returncode == 7


def test_a_voice_that_somebody_brought_is_taken_if_it_is_the_listed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    hibari._load.cache_clear()
    graph = Path(listed.voice_path("heart")).read_bytes()
    (tmp_path / listed.VOICES["emma"]["file"]).write_bytes(graph)
    with pytest.raises(InputError, match="not on this machine"):
        open_voice("emma")
    monkeypatch.setitem(listed.VOICES, "emma", {**listed.VOICES["emma"], "sha256": listed.VOICES["heart"]["sha256"]})
    assert [voice.name for voice in voice_names()] == ["heart", "emma"]
    assert open_voice("emma").language == "en-gb"
    hibari._load.cache_clear()


def test_words_are_said_as_they_should_be() -> None:
    read = hibari._load("heart").phonemize
    for word, said in hibari._SAID.items():
        for written in (word, word.upper(), word.capitalize()):
            assert said in read(hibari._as_said(f"Say {written}, please."))[0], written
    assert hibari._as_said("jsonify [JSON](/x/) my_json") == "jsonify [JSON](/x/) my_json"
    assert "təmˈɑTO" in read(hibari._as_said("I say [tomato](/təmˈɑTO/)."))[0]


def test_what_the_engine_fails_at_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no number beyond quadrillions; whatever else it stumbles over costs a word, not the text."""
    voice = HibariVoice()
    assert len(joined(voice.speak(f"It has {'9' * 44} parts, or 1,000,000,000,000,000,000,000."))) > 10 * 24_000
    assert hibari._as_said("1,000,000 of 123456789") == "1,000,000 of 123456789"
    right = voice._engine.phonemize

    def phonemize(text: str) -> list[str]:
        if "bad" in text:
            raise IndexError(text)
        return right(text)

    monkeypatch.setattr(voice, "_engine", SimpleNamespace(phonemize=phonemize))
    assert voice._phonemes("One bad apple.") == ["wˈʌn ˈæpᵊl."]
    assert voice._phonemes("Bad badger, bad.") == [right("Bad")[0]]


def test_sentences_that_the_engine_would_divide_differently_are_whole() -> None:
    """It has rules of its own; where they find more sentences than ours, each gets its pause."""
    text = "It costs 3.5 dollars, e.g. in Rome. What? Dr. No said so."
    assert len(sentences(text)) == 3
    assert len(list(open_voice().speak(text))) == 3


def test_what_cannot_be_spoken_is_refused_at_once() -> None:
    voice = open_voice()
    for text, words in (
        ("", "no words"), ("...", "no words"), ("x " * 20_000, "at most 20000"), ("你好，世界", "CJK letters"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            voice.speak(text)
    with pytest.raises(InputError, match="choose one of: heart"):
        open_voice("nobody")


def test_without_the_package_one_sentence_says_which_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hibari", None)
    hibari._load.cache_clear()
    for ask in (open_voice, voice_names, VoiceChoice().decides):
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[tts\]'"):
            ask()


def test_a_store_loads_a_voice_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = Voices(VoiceChoice())
    assert store.get() is store.get() and store.get("heart").name == "heart"
    assert [voice.is_default for voice in store.all()] == [True]
    with pytest.raises(InputError, match="no voice"):
        store.get("../heart")
    path = tmp_path / "speech.wav"
    save_speech(TEXT, path, store.get())
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 24_000
    np.testing.assert_allclose(samples, joined(store.get().speak(TEXT)), atol=2**-15)


def test_a_text_that_takes_too_long_leaves_no_file(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    save_speech(TEXT, tmp_path / "a.wav", open_voice(), most_seconds=20, progress=lambda *facts: told.append(facts[1:]))
    assert len(told) == 3 and all(0 < done <= total for done, total in told)
    with pytest.raises(InputError, match="more than 2 s"):
        save_speech(TEXT, tmp_path / "b.wav", open_voice(), most_seconds=2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_choices_that_contradict_each_other() -> None:
    for given in ({"folder": "x", "url": "http://a"}, {"language": "it"}, {"model": "m"}):
        with pytest.raises(InputError):
            open_voice(**given)
