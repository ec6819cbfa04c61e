"""Word times: what a words.json may say, where the words lie beside the pictures, and how they reach a portrait."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from geneface.errors import InputError
from geneface.io.records import read_json, write_json
from geneface.portrait.manifest import MANIFEST_NAME, PortraitManifest, SegmentInfo
from geneface.portrait.words import find_words, segment_words, with_words
from geneface.signal.sound import cut_frames
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, Waveform


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def info(name: str = "one", source: str = "one.mp4", start: float = 0.0, frames: int = 50, shift: int = 0):
    return SegmentInfo(name, source, start, frames, None, shift, (0, 0, 64))


def manifest(*segments: SegmentInfo) -> PortraitManifest:
    return PortraitManifest(64, 4.5, "mel", segments, (), {})


def click(seconds: float, length: float = 6.0) -> np.ndarray:
    """Silence with one loud moment, 16 kHz."""
    samples = np.zeros(round(length * SPEECH_RATE_HZ), np.float32)
    first = round(seconds * SPEECH_RATE_HZ)
    samples[first : first + 160] = 0.9
    return samples


def test_words_lie_beside_the_video_or_in_a_named_file(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    write(here / "words.json", {"one": [[0, 1, "a"]]})
    other = write(tmp_path / "other.json", {"two": [[0, 1, "b"]]})
    videos = [here / "one.mp4", here / "two.mp4", there / "one.mp4"]
    assert find_words(videos) == {videos[0]: ((0.0, 1.0, "a"),)}
    assert find_words(videos, other) == {videos[1]: ((0.0, 1.0, "b"),)}
    with pytest.raises(InputError, match="none of the videos"):
        find_words([there / "three.mp4"], other)
    with pytest.raises(InputError, match="missing"):
        find_words(videos, tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("start_frame", "shift", "sound_start", "ppm"),
    [(0, 0, 0.0, 0), (10, 6, 0.0, 0), (10, -4, 0.5, 0), (3, 2, -0.1, 0), (5, 2.5, 0.0, 0), (5, -1.5, 0.0, 4000)],
)
def test_a_word_lies_where_its_sound_does(start_frame: int, shift: float, sound_start: float, ppm: float) -> None:
    """Against the sound that `prepare` cuts out for the segment: the click is where the word says."""
    spoken = 2.3
    sound = Waveform(click(spoken), sound_start)
    piece = cut_frames(sound, start_frame + shift, 75, ppm)
    heard = float(np.flatnonzero(piece > 0.5)[0]) / SPEECH_RATE_HZ
    begin = (start_frame + shift) / VIDEO_RATE_HZ - sound_start
    ((start, end, word),) = segment_words(((spoken, spoken + 0.2, "by"),), begin, 75, ppm)
    assert (start, end, word) == (pytest.approx(heard, abs=1e-3), pytest.approx(heard + 0.2, abs=2e-3), "by")


def test_words_are_clipped_to_the_segment() -> None:
    words = ((0.0, 0.5, "before"), (0.8, 1.2, "across"), (1.5, 1.6, "in"), (1.9, 9.0, "over"), (4.0, 5.0, "after"))
    assert segment_words(words, 1.0, 25) == ((0.0, 0.2, "across"), (0.5, 0.6, "in"), (0.9, 1.0, "over"))


def test_each_segment_gets_the_words_of_its_own_source(make_media) -> None:
    """Two runs of one clip, the second with a sound that is 5 frames late; another clip has none."""
    video = make_media("my clip.wav", samples=click(1.0), audio_codec="pcm_s16le")
    other = video.with_name("other.wav")
    before = manifest(
        info("my_clip_00", "my clip.wav"),
        info("my_clip_01", "my clip.wav", start=2.4, shift=5),
        replace(info("other", "other.wav"), words=((0.0, 1.0, "kept"),)),
    )
    after = with_words(before, [video, other], {video: ((1.0, 1.5, "place"), (3.0, 3.5, "soon"))})
    assert [segment.words for segment in after.segments] == [
        ((1.0, 1.5, "place"),),
        ((pytest.approx(0.4), pytest.approx(0.9), "soon"),),
        ((0.0, 1.0, "kept"),),
    ]


def test_clips_of_the_same_name_are_told_apart(make_media) -> None:
    video = make_media("a.wav", samples=click(1.0), audio_codec="pcm_s16le")
    twin = video.parent / "twin" / "a.wav"
    after = with_words(
        manifest(info("a-000", "a.wav"), info("a-001", "a.wav")), [twin, video], {video: ((0.0, 1.0, "now"),)}
    )
    assert [len(segment.words) for segment in after.segments] == [0, 1]


def test_the_manifest_keeps_words_and_reads_older_ones(tmp_path: Path) -> None:
    written = manifest(replace(info(), words=((0.0, 0.25, "bin"), (0.25, 0.5, "sp"))), info("two"))
    written.write(tmp_path)
    assert PortraitManifest.read(tmp_path) == written
    values = read_json(tmp_path / MANIFEST_NAME)
    for segment in values["segments"]:
        del segment["words"]
    write_json(tmp_path / MANIFEST_NAME, values)
    assert [segment.words for segment in PortraitManifest.read(tmp_path).segments] == [(), ()]


@pytest.mark.parametrize("words", [[[0, 1]], [[1, 0, "a"]], [["x", 1, "a"]], 3, [[-1, 1, "a"]]])
def test_damaged_words_in_a_manifest_are_refused(tmp_path: Path, words: Any) -> None:
    manifest(info()).write(tmp_path)
    values = read_json(tmp_path / MANIFEST_NAME)
    values["segments"][0]["words"] = words
    write_json(tmp_path / MANIFEST_NAME, values)
    with pytest.raises(InputError, match="damaged"):
        PortraitManifest.read(tmp_path)


@pytest.mark.slow
def test_prepare_stores_words_and_renews_them(make_media, tmp_path: Path) -> None:
    """From a video to the manifest; a finished portrait takes new words without being made again."""
    faces = pytest.importorskip("faces", reason="needs scikit-image")
    from geneface.portrait.prepare import PrepareConfig, prepare_portrait

    config = PrepareConfig(size=64, encoder="mel", workers=1)
    video = make_media("clip.mp4", images=faces.moving_face(105), samples=faces.murmur(4.2), options={"crf": "16"})
    out = tmp_path / "out"
    damaged = write(tmp_path / "bad.json", {"clip": [[2, 1, "b"]]})
    with pytest.raises(InputError, match="ends before"):
        prepare_portrait([video], out, config, words=damaged)
    assert not out.exists()
    write(tmp_path / "words.json", {"clip": [[0.0, 1.0, "sil"], [1.0, 9.0, "place"]]})
    made = prepare_portrait([video], out, config)
    assert made.segments[0].words == ((0.0, 1.0, "sil"), (1.0, 4.2, "place"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    newer = write(tmp_path / "newer.json", {"clip": [[0.5, 1.0, "bin"]]})
    renewed = prepare_portrait([video], out, config, resume=True, words=newer)
    assert renewed.segments[0].words == ((0.5, 1.0, "bin"),)
    changed = [path.name for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [MANIFEST_NAME]
    assert replace(renewed, segments=made.segments) == made
