"""More voices for a corpus: files, times, resumption, sounds without speech, and the sampler that draws them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from geneface.corpus import voices
from geneface.corpus.corpus import Corpus
from geneface.corpus.dataset import CLIP_STRIDE, SequenceSampler, load_corpus_data
from geneface.corpus.layouts import find_sources
from geneface.corpus.non_speech import KINDS, far_voice, non_speech_sound
from geneface.corpus.resynthesis import AlignmentError, Resynthesis
from geneface.corpus.voices import VOICES_NAME, Voice, VoicesRecord, add_voices, at_times, load_voices, read_voices
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening
from geneface.types import SPEECH_RATE_HZ

from .corpus_fixtures import make_clips, make_corpus

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    clips, out = tmp_path_factory.mktemp("videos") / "ann", tmp_path_factory.mktemp("corpus")
    make_corpus(clips, out)
    return clips, out


def test_each_training_clip_gets_its_files_and_no_held_out_one_does(corpus, monkeypatch):
    clips, out = corpus
    record = add_voices(out, [clips], augmentations=2, held_vowels=0, non_speech=5, workers=1)
    training = [entry.name for entry in Corpus.load(out).clips(heldout=False)]
    expected = {f"{name}__{kind}" for name in training for kind in ("0", "1")}
    quiet = {f"{training[index]}__quiet" for index in (0, 2, 4, 6, 8)}
    expected |= quiet
    assert set(record.files) == expected == {path.stem for path in (out / "voices").iterdir()}
    assert read_voices(out) == record
    loaded = load_voices(out)
    assert set(loaded) == set(training) and [len(entry) for entry in loaded.values()] == [3, 2, 3, 2, 3, 2, 3, 2, 3]
    for first, second, *others in loaded.values():
        for voice in (first, second, *others):
            assert len(voice.features) == 2 * len(voice.times)
            assert voice.times.min() >= 0 and voice.times.max() <= 49
        assert (np.diff(first.times) > 0).sum() > 30
        # Closed lips all along, or from the end of the clip's own speech on.
        for voice in others:
            assert np.ptp(voice.times[-50:]) == 0
            assert np.array_equal(voice.times[:-50], np.arange(len(voice.times) - 50))

    def unused(*_arguments, **_others):
        raise AssertionError("what exists is made again")

    monkeypatch.setattr(voices, "augment", unused)
    monkeypatch.setattr(voices, "non_speech_sound", unused)
    assert add_voices(out, [clips], augmentations=2, held_vowels=0, non_speech=5, workers=1) == record
    with pytest.raises(InputError, match="other voices already"):
        add_voices(out, [clips], augmentations=1, held_vowels=0, non_speech=5, workers=1)


def test_a_record_with_the_old_names_is_read(tmp_path):
    old = {"format": 1, "disguises": 3, "holds": 250, "quiet": 822, "files": ["ann__0"]}
    (tmp_path / VOICES_NAME).write_text(json.dumps(old))
    record = read_voices(tmp_path)
    assert (record.augmentations, record.held_vowels, record.non_speech) == (3, 250, 822)
    assert VoicesRecord.model_validate(record.model_dump(mode="json")) == record


def spoken_vowel() -> np.ndarray:
    """2 s, silent but for a voice of 125 Hz from 0.8 to 1.2 s."""
    time = np.arange(2 * SPEECH_RATE_HZ) / SPEECH_RATE_HZ
    sound = sum(np.sin(2 * np.pi * 125 * order * time) / order for order in range(1, 20))
    return np.where((time > 0.8) & (time < 1.2), 0.1 * sound, 0.0).astype(np.float32)


@pytest.fixture
def bare(corpus, tmp_path) -> tuple[Path, Path]:
    """The corpus without voices."""
    clips, out = corpus
    copy = tmp_path / "bare"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns("voices", "voices.json"))
    return clips, copy


def test_a_vowel_is_held_with_its_motion(tmp_path):
    """Clips that are silent but for a vowel in the middle."""
    clips, out = tmp_path / "ann", tmp_path / "corpus"
    make_corpus(clips, out, spoken_vowel())
    record = add_voices(out, [clips], augmentations=0, held_vowels=3, non_speech=0, workers=1)
    assert len(record.files) == 3 and all(name.endswith("__hold") for name in record.files)
    for (voice,) in load_voices(out).values():
        assert voice.kind == "held-vowel" and len(voice.times) > 45
        assert (voice.times >= 0).all() and (voice.times <= 49).all() and (np.diff(voice.times) >= 0).all()
        # Many frames show nearly the same moment.
        assert max(np.sum(np.abs(voice.times - time) < 1) for time in voice.times) >= 5


def test_an_interrupted_run_is_not_gone_on_with_by_other_settings(bare, monkeypatch):
    clips, out = bare

    def stopped(*_arguments, **_others):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(voices, "run_stage", stopped)
        with pytest.raises(KeyboardInterrupt):
            add_voices(out, [clips], augmentations=1, non_speech=0, workers=1, seed=7)
    with pytest.raises(InputError, match="unfinished"):
        load_voices(out)
    with pytest.raises(InputError, match="other voices already"):
        add_voices(out, [clips], augmentations=1, non_speech=0, workers=1, seed=8)
    assert add_voices(out, [clips], augmentations=1, held_vowels=250, non_speech=0, workers=1, seed=7).files


def test_sentences_are_spoken_again(bare, monkeypatch):
    clips, out = bare
    said: list[str] = []

    def again(words, samples, features, speaker, encoder, rng):
        speaker(words[0][2])
        if words[0][2] == "lost":
            raise AlignmentError("no likeness")
        return Resynthesis(samples[:25_600], features[:80], np.linspace(0, 49, 40, dtype=np.float32), 0.1)

    monkeypatch.setattr(voices, "synthesiser", lambda folder, name: lambda text: said.append(f"{name}: {text}"))
    monkeypatch.setattr(voices, "resynthesise", again)
    words = {path.stem: [(0.1, 0.5, "bin")] for path in clips.iterdir()}
    training = [entry.name.partition("__")[2] for entry in Corpus.load(out).clips(heldout=False)]
    words[training[2]] = [(0.1, 0.5, "lost")]
    record = add_voices(
        out,
        [clips],
        augmentations=0,
        held_vowels=0,
        non_speech=0,
        words=words,
        voice_folder=out,
        speakers=["one", "two"],
        sentences=4,
        workers=1,
    )
    assert said == ["one: ready", "two: ready", "one: bin", "two: lost", "one: bin", "two: bin"]
    assert record.misaligned == 1 and len(record.files) == 3
    assert {name.rpartition("__")[2] for name in record.files} == {"one", "two"}
    loaded = [voice for heard in load_voices(out).values() for voice in heard]
    assert all(voice.kind == "resynthesis" and len(voice.times) == 40 for voice in loaded)


def test_words_that_could_be_of_two_clips_are_refused(bare, tmp_path):
    make_clips(tmp_path / "bob", ["a"])
    clips, out = bare
    with pytest.raises(InputError, match="the words of a could be of 2 clips"):
        add_voices(out, [clips, tmp_path / "bob"], words={"a": [(0.1, 0.5, "bin")]})
    words = {"ann__a": [(0.1, 0.5, "bin")], "b": [(0.2, 0.5, "lay")]}
    assert voices.words_of(words, "ann__a")[0][2] == "bin" and voices.words_of(words, "bob__a") == ()
    assert voices.words_of(words, "bob__b")[0][2] == "lay"


def test_non_speech_sounds_go_with_a_frame_of_closed_lips(corpus):
    _, out = corpus
    opened = Corpus.load(out)
    for entry in opened.clips(heldout=False):
        quiet = load_voices(out)[entry.name][2:]
        if not quiet:
            continue
        frame = int(quiet[0].times[-1])
        opening = lip_opening(opened.landmarks(entry))
        assert opening[frame] < np.percentile(opening, 10) + 1e-6


def test_training_draws_other_voices_with_their_motion(corpus):
    _, out = corpus
    data = load_corpus_data(Corpus.load(out), voices=True)
    assert set(data.voices) == {clip.name for clip in data.training}
    numbers = [np.arange(len(clip.displacement), dtype=np.float32)[:, None] for clip in data.training]
    heard = {
        name: [Voice(np.full((80, data.feature_width), 7.0, np.float16), np.linspace(0, 49, 40, dtype=np.float32))]
        for name in data.voices
    }
    never = SequenceSampler(data.training, numbers, 60, heard, 0.0).draw(8, seed=0)
    always = SequenceSampler(data.training, numbers, 60, heard, 1.0).draw(8, seed=0)
    sometimes = SequenceSampler(data.training, numbers, 60, heard, 0.5).draw(200, seed=0)
    assert not (never[0] == 7.0).all(axis=(1, 2)).any()
    assert (always[0] == 7.0).all()
    steps = np.diff(always[1][..., 0], axis=1)
    assert np.allclose(steps[steps > 0], 49 / 39, atol=1e-4)
    assert np.abs(always[2] % CLIP_STRIDE - always[1][..., 0]).max() <= 0.51
    assert 0.35 < (sometimes[0] == 7.0).all(axis=(1, 2)).mean() < 0.65


def test_sentences_are_spread_over_the_clips_and_voices_take_turns(corpus):
    clips, _ = corpus
    sources = find_sources(clips)
    words = {source.name: [(0.1, 0.5, "bin")] if index < 8 else () for index, source in enumerate(sources)}
    tasks = voices._tasks(sources, words, VoicesRecord(speakers=("one", "two"), sentences=4))
    assert [task.speaker for task in tasks] == ["one", None, "two", None, "one", None, None, "two", None, None]
    assert not any(task.speaker for task in voices._tasks(sources, words, VoicesRecord(sentences=4)))


def test_bad_requests_name_what_is_missing(corpus, tmp_path):
    clips, out = corpus
    with pytest.raises(InputError, match="words"):
        add_voices(out, [clips], speakers=["af_heart"])
    make_clips(tmp_path / "bob", ["x"])
    with pytest.raises(InputError, match="none of the folders"):
        add_voices(out, [tmp_path / "bob"])


def test_motion_between_frames_is_linear():
    motion = np.array([[0.0], [2.0], [6.0]], np.float32)
    assert at_times(motion, np.array([0.0, 0.5, 1.25, 2.0, 2.7], np.float32))[:, 0].tolist() == [
        0.0,
        1.0,
        3.0,
        6.0,
        6.0,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_sounds_without_speech(kind):
    sound = non_speech_sound(2.0, np.random.default_rng(3), kind)
    assert sound.shape == (2 * SPEECH_RATE_HZ,) and np.isfinite(sound).all() and np.abs(sound).max() <= 1
    assert np.array_equal(sound, non_speech_sound(2.0, np.random.default_rng(3), kind))
    assert (sound.std() > 0) == (kind != "silence")
    with pytest.raises(ValueError, match="no such kind"):
        non_speech_sound(1.0, np.random.default_rng(0), "speech")


def _envelope(sound: np.ndarray) -> np.ndarray:
    """Amplitude a hundredth of a second."""
    return np.sqrt(np.mean(np.square(sound.reshape(-1, SPEECH_RATE_HZ // 100)), axis=1))


def test_laughter_comes_in_calls_and_coughs_begin_at_once():
    rates, rises = [], {"laughter": [], "cough": []}
    for seed in range(12):
        for kind, found in rises.items():
            envelope = _envelope(non_speech_sound(8.0, np.random.default_rng(seed), kind))
            found.append(np.diff(envelope).max() / envelope.max())
        laugh = _envelope(non_speech_sound(8.0, np.random.default_rng(seed), "laughter"))
        power = np.abs(np.fft.rfft(laugh - laugh.mean())) ** 2
        hertz = np.fft.rfftfreq(len(laugh), 0.01)
        rates.append(hertz[(hertz > 2) & (hertz < 12)][np.argmax(power[(hertz > 2) & (hertz < 12)])])
    assert 3.5 < np.median(rates) < 7.0
    assert np.median(rises["cough"]) > 1.5 * np.median(rises["laughter"])


def test_a_voice_far_away_is_far_below_the_speech():
    speech = np.random.default_rng(0).standard_normal(2 * SPEECH_RATE_HZ).astype(np.float32) * 0.1
    for seed in range(4):
        far = far_voice(speech, np.random.default_rng(seed))
        below = 20 * np.log10(far.std() / speech.std())
        assert far.shape == speech.shape and -50.5 < below < -27.5
