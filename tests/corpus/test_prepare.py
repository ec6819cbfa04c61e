"""Corpus preparation from made-up tracks: names, split, geometry, alignment with the sound, resumption."""

from pathlib import Path

import numpy as np
import pytest

from geneface.corpus.corpus import Corpus, is_heldout
from geneface.corpus.dataset import CLIP_STRIDE, SequenceSampler, load_corpus_data
from geneface.corpus.layouts import Source, find_sources, heldout_names
from geneface.corpus.prepare import prepare_corpus
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINTS, lip_opening
from geneface.io.records import write_json
from geneface.io.tensors import load_tensors, save_tensors

from .corpus_fixtures import FRAMES, make_clips, track


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Clips of two speakers, and a corpus whose tracking is done: clip c of the anonymous speaker has lost the face."""
    videos, out = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("corpus")
    make_clips(videos / "ann", [f"{letter}" for letter in "abcdefghijk"])
    make_clips(videos / "others", ["s02_x"])
    sources = find_sources(videos)
    for index, source in enumerate(sources):
        tensors = track(index, 0.04 if source.speaker == "ann" else 0.08)
        if source.name == "ann__c":
            tensors["found"][:30] = 0
        save_tensors(out / "raw" / f"{source.name}.safetensors", tensors)
    write_json(out / "settings.json", {"encoder": "mel", "sources": [source.name for source in sources]})
    return videos, out


def test_speakers_come_from_prefix_or_folder(tracked):
    names = [source.name for source in find_sources(tracked[0])]
    assert names == [*(f"ann__{letter}" for letter in "abcdefghijk"), "s02__s02_x"]
    assert find_sources([tracked[0] / "ann", tracked[0] / "others"]) == find_sources(tracked[0])


def test_every_tenth_clip_of_each_speaker_is_held_out():
    sources = [Source(Path(f"{i:02d}.mp4"), speaker) for speaker in ("a", "b") for i in range(21)]
    assert heldout_names(sources) == {"a__09", "a__19", "b__09", "b__19"}
    assert [i for i in range(30) if is_heldout(i)] == [9, 19, 29]


@pytest.mark.slow
def test_prepared_corpus(tracked):
    videos, out = tracked
    seen: list[tuple[str, int, int]] = []
    manifest = prepare_corpus(
        videos, out, encoder="mel", resume=True, workers=1, progress=lambda *step: seen.append(step)
    )
    assert [entry.name for entry in manifest.dropped] == ["ann__c"]
    assert "30 of 50" in manifest.dropped[0].reason
    # The tenth in the order of all names, whatever is dropped before it.
    assert [clip.name for clip in manifest.clips if clip.heldout] == ["ann__j"]
    assert seen[-1] == ("clips", 11, 11)
    corpus = Corpus.load(out)
    truth = 0.04 * (1 - np.cos(np.arange(FRAMES) * 2 * np.pi / 12.5)) / 2
    clip = next(clip for clip in corpus.manifest.clips if clip.name == "ann__a")
    opening = lip_opening(corpus.landmarks(clip))
    assert corpus.landmarks(clip).shape == (FRAMES, len(KEYPOINTS), 3)
    assert np.corrcoef(opening, truth)[0, 1] > 0.98
    assert opening.std() == pytest.approx(truth.std(), rel=0.15)
    features = corpus.features(clip).values
    assert features.shape == (2 * FRAMES, 80)
    # The click's energy stands where the click is: frame 25, row 50.
    assert abs(int(features.mean(1).argmax()) - 50) <= 2


@pytest.mark.slow
def test_an_interrupted_corpus_is_completed_and_nothing_is_done_twice(tracked):
    videos, out = tracked
    prepare_corpus(videos, out, encoder="mel", resume=True, workers=1)
    lost = out / "clips" / "ann__b.safetensors"
    before = lost.read_bytes()
    lost.unlink()
    (out / "manifest.json").unlink()
    times = {path: path.stat().st_mtime_ns for path in (out / "clips").iterdir()}
    with pytest.raises(InputError, match="resume"):
        Corpus.load(out)
    prepare_corpus(videos, out, encoder="mel", resume=True, workers=1)
    assert lost.read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert len(Corpus.load(out).manifest.clips) == 11


@pytest.mark.slow
def test_corpus_data_brings_speakers_to_one_amplitude(tracked):
    videos, out = tracked
    prepare_corpus(videos, out, encoder="mel", resume=True, workers=1)
    data = load_corpus_data(Corpus.load(out))
    assert data.reference == "ann"
    assert data.gains["ann"] == pytest.approx(1) and data.gains["s02"] == pytest.approx(2, rel=0.15)
    spread = {clip.speaker: lip_opening(clip.neutral + clip.displacement).std() for clip in data.training}
    assert spread["s02"] == pytest.approx(spread["ann"], rel=0.15)
    corpus = Corpus.load(out)
    entry = next(entry for entry in corpus.manifest.clips if entry.speaker == "s02")
    clip = next(clip for clip in data.training if clip.speaker == "s02")
    assert np.allclose(clip.landmarks, corpus.landmarks(entry), atol=1e-6)


@pytest.mark.slow
def test_sampler_keeps_speech_and_motion_together(tracked):
    videos, out = tracked
    prepare_corpus(videos, out, encoder="mel", resume=True, workers=1)
    data = load_corpus_data(Corpus.load(out))
    # Motion that is the features' own first column can only stay equal to it if both are cut alike.
    motion = [clip.features[::2, :3].astype(np.float32) for clip in data.training]
    sampler = SequenceSampler(data.training, motion, crop_frames=80)
    features, cut, places = sampler.draw(6, seed=1)
    assert features.shape == (6, 160, 80) and cut.shape == (6, 80, 3)
    assert np.array_equal(features[:, ::2, :3], cut)
    clips, frames = np.divmod(places, CLIP_STRIDE)
    assert all(len(set(data.training[i].speaker for i in row)) == 1 for row in clips)
    found = np.array([[motion[c][f] for c, f in zip(*row, strict=True)] for row in zip(clips, frames, strict=True)])
    assert np.array_equal(found, cut)
    assert np.array_equal(sampler.draw(6, seed=1)[0], features)
    assert not np.array_equal(sampler.draw(6, seed=2)[0], features)


@pytest.mark.parametrize("resume", [False, True])
def test_a_started_corpus_is_not_mixed_with_another(tracked, resume):
    videos, out = tracked
    with pytest.raises(InputError, match="another" if resume else "already"):
        prepare_corpus(videos / "ann", out, encoder="mel", resume=resume, workers=1)


def test_no_clips_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no video"):
        find_sources(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        find_sources(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"manifest\.json"):
        Corpus.load(tmp_path)


@pytest.mark.slow
def test_clips_without_a_face_are_refused_and_nothing_is_left(tmp_path):
    make_clips(tmp_path / "videos", ["x"])
    with pytest.raises(InputError, match="face"):
        prepare_corpus(tmp_path / "videos", tmp_path / "out", encoder="mel", workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


@pytest.mark.slow
def test_a_damaged_clip_is_dropped_and_a_wrong_encoder_is_told_first(tmp_path, tracked):
    _, done = tracked
    videos, out = tmp_path / "ann", tmp_path / "out"
    make_clips(videos, list("abcd"))
    (videos / "d.mp4").write_text("not a video")
    with pytest.raises(InputError, match="no speech encoder"):
        prepare_corpus(videos, out, encoder="nope", workers=1)
    assert not out.exists()
    for letter in "abc":
        save_tensors(
            out / "raw" / f"ann__{letter}.safetensors", load_tensors(done / "raw" / f"ann__{letter}.safetensors")
        )
    write_json(out / "settings.json", {"encoder": "mel", "sources": [f"ann__{letter}" for letter in "abcd"]})
    manifest = prepare_corpus(videos, out, encoder="mel", resume=True, workers=1)
    assert [clip.name for clip in manifest.clips] == ["ann__a", "ann__b"]
    reasons = {entry.name: entry.reason for entry in manifest.dropped}
    assert "text file" in reasons["ann__d"]


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    make_clips(tmp_path / "videos", ["x"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(InputError, match="not empty"):
            prepare_corpus(tmp_path / "videos", tmp_path / "mine", encoder="mel", resume=resume, workers=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
