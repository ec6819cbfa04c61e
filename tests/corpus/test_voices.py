"""More voices for a corpus: files, times, resumption, sounds without speech, and the sampler that draws them."""

from pathlib import Path

import numpy as np
import pytest

from geneface.corpus import voices
from geneface.corpus.corpus import Corpus
from geneface.corpus.dataset import SequenceSampler, load_corpus_data
from geneface.corpus.prepare import find_sources, prepare_corpus
from geneface.corpus.quiet import KINDS, quiet_sound
from geneface.corpus.voices import Voice, add_voices, at_times, load_voices, read_voices, read_words
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening
from geneface.io.store import save_tensors, write_json
from geneface.types import SPEECH_RATE_HZ

from .corpus_fixtures import make_clips, track


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    clips, out = tmp_path_factory.mktemp("videos") / "ann", tmp_path_factory.mktemp("corpus")
    make_clips(clips, list("abcdefghij"))
    sources = find_sources(clips)
    for index, source in enumerate(sources):
        save_tensors(out / "raw" / f"{source.name}.safetensors", track(index, 0.04))
    write_json(out / "settings.json", {"encoder": "mel", "sources": [source.name for source in sources]})
    prepare_corpus(clips, out, encoder="mel", resume=True, workers=1)
    return clips, out


def test_each_training_clip_gets_its_files_and_no_held_out_one_does(corpus, monkeypatch):
    clips, out = corpus
    record = add_voices(out, [clips], disguises=2, quiet=5, workers=1)
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
        # Closed lips all along.
        assert all(np.ptp(voice.times) == 0 for voice in others)

    def unused(*_arguments, **_others):
        raise AssertionError("what exists is made again")

    monkeypatch.setattr(voices, "disguise", unused)
    monkeypatch.setattr(voices, "quiet_sound", unused)
    assert add_voices(out, [clips], disguises=2, quiet=5, workers=1) == record
    with pytest.raises(InputError, match="other voices already"):
        add_voices(out, [clips], disguises=1, quiet=5, workers=1)


def test_quiet_sounds_go_with_a_frame_of_closed_lips(corpus):
    _, out = corpus
    opened = Corpus.load(out)
    for entry in opened.clips(heldout=False):
        quiet = load_voices(out)[entry.name][2:]
        if not quiet:
            continue
        frame = int(quiet[0].times[0])
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
    assert 0.35 < (sometimes[0] == 7.0).all(axis=(1, 2)).mean() < 0.65


def test_sentences_are_spread_over_the_clips_and_voices_take_turns(corpus):
    clips, _ = corpus
    sources = find_sources(clips)
    words = {source.path.stem: [(0.1, 0.5, "bin")] for source in sources[:8]}
    jobs = voices._jobs(sources, words, ("one", "two"), 4, 0)
    assert [job.speaker for job in jobs] == ["one", None, "two", None, "one", None, None, "two", None, None]
    assert not any(job.speaker for job in voices._jobs(sources, words, (), 4, 0))


def test_bad_requests_name_what_is_missing(corpus, tmp_path):
    clips, out = corpus
    with pytest.raises(InputError, match="words"):
        add_voices(out, [clips], speakers=["af_heart"])
    make_clips(tmp_path / "bob", ["x"])
    with pytest.raises(InputError, match="none of the folders"):
        add_voices(out, [tmp_path / "bob"])
    (tmp_path / "words.json").write_text('{"a": [["x", 1, "bin"]]}')
    with pytest.raises(InputError, match="does not hold words"):
        read_words(tmp_path / "words.json")
    (tmp_path / "words.json").write_text('{"a": [[0, 1.5, "bin"]]}')
    assert read_words(tmp_path / "words.json") == {"a": [(0.0, 1.5, "bin")]}


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
    sound = quiet_sound(2.0, np.random.default_rng(3), kind)
    assert sound.shape == (2 * SPEECH_RATE_HZ,) and np.isfinite(sound).all() and np.abs(sound).max() <= 1
    assert np.array_equal(sound, quiet_sound(2.0, np.random.default_rng(3), kind))
    assert (sound.std() > 0) == (kind != "silence")
    with pytest.raises(ValueError, match="no such kind"):
        quiet_sound(1.0, np.random.default_rng(0), "speech")
