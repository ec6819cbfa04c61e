"""The steps of a corpus on small videos: parts of long ones, cuts, cameras. The tracker is a stand-in that sees a face
in every frame; the real one is in test_cluster."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.tracker import FaceTrack
from geneface.corpus import steps
from geneface.corpus.corpus import Corpus
from geneface.corpus.prepare import prepare_corpus
from geneface.corpus.steps import TrackStep, open_raw, raw_path, why_drop
from geneface.corpus.voices import add_voices, load_voices
from geneface.errors import InputError
from geneface.io.audio import write_wav
from geneface.io.encode import write_video
from geneface.io.records import write_json
from geneface.io.tensors import load_tensors, save_tensors
from geneface.types import Waveform

from .corpus_fixtures import FRAMES, make_clips, track

SIDE = 64


def seen_everywhere(images: Iterable[np.ndarray]) -> FaceTrack:
    """A face that moves from frame to frame, in place of the tracker's."""
    shades = np.array([image.mean() for image in images])
    mesh = track(0, 0.04)["mesh_px"][np.arange(len(shades)) % FRAMES]
    return FaceTrack(
        mesh + shades[:, None, None].astype(np.float32), np.ones(len(shades), bool), np.ones(len(shades), int)
    )


def video(path: Path, shades: np.ndarray, pattern: np.ndarray, sound: np.ndarray | None = None) -> Path:
    """Frames of slowly changing brightness, with a click at the beginning of each second."""
    samples = np.zeros(len(shades) * 640, np.float32)
    samples[::16_000] = 0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (
        np.clip(pattern[index % len(pattern)] + shade, 0, 255).astype(np.uint8) for index, shade in enumerate(shades)
    )
    write_video(path, frames, Waveform(samples if sound is None else sound))
    return path


def noise(seed: int) -> np.ndarray:
    """[1, SIDE, SIDE, 3] of large patches."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.uniform(40, 160, (8, 8, 3)), np.ones((SIDE // 8, SIDE // 8, 1)))[None]


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(steps, "PART_FRAMES", 60)
    monkeypatch.setattr(steps, "track_frames", seen_everywhere)


def track_video(path: Path, out: Path) -> str:
    return TrackStep("ann__long", (path,), out).run()


@pytest.mark.slow
def test_a_long_video_is_tracked_in_parts_that_join(tmp_path, small_parts, monkeypatch):
    longest = 0

    def watched(images: Iterable[np.ndarray]) -> FaceTrack:
        nonlocal longest
        found = seen_everywhere(images)
        longest = max(longest, len(found))
        return found

    monkeypatch.setattr(steps, "track_frames", watched)
    path = video(tmp_path / "long.mp4", np.linspace(0, 60, 200), noise(1))
    assert track_video(path, tmp_path / "parts") == ""
    # Memory is flat: never more than a part's frames are kept.
    assert longest == 60
    # 60, 60, 60 and a rest of 20, which is too short.
    files = sorted(file.stem for file in (tmp_path / "parts" / "raw").iterdir())
    assert files == ["ann__long", "ann__long~2", "ann__long~3"]
    monkeypatch.setattr(steps, "PART_FRAMES", 1000)
    assert track_video(path, tmp_path / "whole") == ""
    whole = open_raw(raw_path(tmp_path / "whole", "ann__long"))
    assert (whole.parts, len(whole.found)) == (1, 200)
    parts = [open_raw(raw_path(tmp_path / "parts", name)) for name in files]
    assert parts[0].parts == 3 and [why_drop(part) for part in parts] == ["", "", ""]
    assert [part.first_frame_seconds for part in parts] == pytest.approx([0, 2.4, 4.8])
    # The shade, which is part of the stand-in's mesh, says which frame each row is of.
    first = [part.mesh_px()[0, 0, 0] - track(0, 0.04)["mesh_px"][0, 0, 0] for part in parts]
    assert np.diff(first) == pytest.approx([18.1, 18.1], abs=1)


@pytest.mark.slow
def test_a_video_with_a_cut_is_dropped_with_the_time(tmp_path, small_parts):
    both = np.concatenate([np.repeat(noise(1), 130, 0), np.repeat(noise(2), 70, 0)])
    path = video(tmp_path / "cut.mp4", np.zeros(200), both)
    assert track_video(path, tmp_path / "out") == ""
    raw = open_raw(raw_path(tmp_path / "out", "ann__long"))
    assert why_drop(raw) == "a cut at 5.20 s" and raw.parts == 1
    assert [file.name for file in (tmp_path / "out" / "raw").iterdir()] == ["ann__long.safetensors"]


@pytest.mark.slow
def test_parts_become_clips_with_their_own_sound(tmp_path, small_parts):
    """Each part's click stands where it is in the video; voices are made of each part's own sound."""
    click = np.zeros(180 * 640, np.float32)
    for frame in (20, 60 + 30, 120 + 40):
        click[frame * 640 : frame * 640 + 800] = np.random.default_rng(frame).uniform(-0.5, 0.5, 800)
    videos = tmp_path / "videos"
    video(videos / "ann" / "long.mp4", np.linspace(0, 60, 180), noise(1), click)
    for index in range(9):
        # Nothing can be read of them, but they are counted.
        (videos / "ann" / f"c{index}.mp4").touch()
    out = tmp_path / "out"
    manifest = prepare_corpus(videos, out, encoder="mel", workers=1)
    long = [clip for clip in manifest.clips if "long" in clip.name]
    assert [(clip.name, clip.frames) for clip in long] == [(f"ann__long{end}", 60) for end in ("", "~2", "~3")]
    # Ten recordings: the last is held out, and all of its parts with it.
    assert [clip.name for clip in manifest.clips if clip.heldout] == [clip.name for clip in long]
    opened = Corpus.load(out)
    for clip, frame in zip(long, (20, 30, 40), strict=True):
        assert abs(int(opened.features(clip).values.mean(1).argmax()) - 2 * frame) <= 2
    held = manifest.model_copy(
        update={"clips": tuple(clip.model_copy(update={"heldout": not clip.heldout}) for clip in manifest.clips)}
    )
    write_json(out / "manifest.json", held.model_dump(mode="json"))
    record = add_voices(out, [videos], augmentations=1, held_vowels=0, non_speech=0, workers=1)
    assert set(load_voices(out)) == {clip.name for clip in long} and len(record.files) == 3


@pytest.mark.slow
def test_further_cameras_of_a_speaker_are_speakers_of_their_own(tmp_path):
    """Two sizes do not end the run: each has a focal length, a neutral face and a name of its own."""
    make_clips(tmp_path / "videos" / "ann", list("abc"))
    out = tmp_path / "out"
    for index, letter in enumerate("abc"):
        tensors = track(index, 0.04)
        if letter == "c":
            # The same face, twice as large in a picture of twice the size.
            tensors = {**tensors, "mesh_px": 2 * tensors["mesh_px"], "size": 2 * tensors["size"]}
        save_tensors(raw_path(out, f"ann__{letter}"), tensors)
    write_json(out / "settings.json", {"encoder": "mel", "sources": [f"ann__{letter}" for letter in "abc"]})
    manifest = prepare_corpus(tmp_path / "videos", out, encoder="mel", resume=True, workers=1)
    assert {clip.name: clip.speaker for clip in manifest.clips} == {
        "ann__a": "ann",
        "ann__b": "ann",
        "ann__c": "ann@720x576",
    }
    assert not manifest.dropped and manifest.speakers.keys() == {"ann", "ann@720x576"}
    corpus = Corpus.load(out)
    assert np.allclose(corpus.neutral["ann"], corpus.neutral["ann@720x576"], atol=0.01)
    assert not (out / "speakers").exists()


@pytest.mark.slow
def test_the_sound_beside_a_silent_video_is_taken(tmp_path, small_parts, make_media):
    """As MEAD's lies: a video without sound, and a file with it."""
    place = tmp_path / "M003"
    (place / "video" / "front" / "angry" / "level_1").mkdir(parents=True)
    frames = [np.full((SIDE, SIDE, 3), 128, np.uint8)] * FRAMES
    make_media("M003/video/front/angry/level_1/001.mp4", images=frames)
    (place / "audio" / "angry" / "level_1").mkdir(parents=True)
    samples = np.zeros(FRAMES * 640, np.float32)
    samples[30 * 640 : 30 * 640 + 800] = np.random.default_rng(0).uniform(-0.5, 0.5, 800)
    write_wav(place / "audio" / "angry" / "level_1" / "001.wav", Waveform(samples))
    out = tmp_path / "out"
    manifest = prepare_corpus(place, out, encoder="mel", workers=1)
    assert [clip.name for clip in manifest.clips] == ["M003__angry-level_1-001"]
    features = load_tensors(out / "clips" / "M003__angry-level_1-001.safetensors")["features"]
    assert abs(int(features.mean(1).argmax()) - 60) <= 2


@pytest.mark.slow
def test_what_was_tracked_outlives_a_late_failure(tmp_path, small_parts, monkeypatch):
    make_clips(tmp_path / "videos" / "ann", ["a"])
    out = tmp_path / "out"

    def full(*_: object) -> None:
        raise InputError("the disk is full", "free some space")

    with monkeypatch.context() as patch:
        patch.setattr(steps, "worker_encoder", full)
        with pytest.raises(InputError, match="the disk is full"):
            prepare_corpus(tmp_path / "videos", out, encoder="mel", workers=1)
    tracked = raw_path(out, "ann__a").stat().st_mtime_ns
    manifest = prepare_corpus(tmp_path / "videos", out, encoder="mel", workers=1, resume=True)
    assert [clip.name for clip in manifest.clips] == ["ann__a"]
    assert raw_path(out, "ann__a").stat().st_mtime_ns == tracked
