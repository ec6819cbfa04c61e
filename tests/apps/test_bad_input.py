"""Bad videos at the command line: refused in one sentence with nothing half-written, or handled where they can be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from geneface.io.records import read_json
from geneface.io.work import exclusive_folder

from .conftest import Run
from .talking_face import SIZE, opening_curve, talking_frames, talking_sound

FRAMES = 110


@pytest.fixture(scope="module")
def face() -> list[np.ndarray]:
    """4.4 s of a talking face."""
    return talking_frames(opening_curve(FRAMES))


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return talking_sound(opening_curve(FRAMES))


def _refused_by_both(run: Run, video: Path, *words: str) -> None:
    """`prepare` refuses it and leaves nothing; `check` says the same."""
    before = sorted(video.parent.iterdir())
    run("prepare", video, "-o", video.parent / "portrait", "--size", 64).refused(video.name, *words)
    assert sorted(video.parent.iterdir()) == before
    outcome = run("check", video, "--json")
    outcome.refused(video.name)
    assert any(finding["severity"] == "error" for finding in json.loads(outcome.out))


@pytest.mark.slow
def test_no_face(run: Run, make_media, voice: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    wall = rng.integers(90, 110, (SIZE, SIZE, 3), dtype=np.uint8)
    _refused_by_both(run, make_media("wall.mp4", images=[wall] * FRAMES, samples=voice), "face")


@pytest.mark.slow
def test_two_faces(run: Run, make_media, face: list[np.ndarray], voice: np.ndarray) -> None:
    pairs = [np.concatenate([image, image[:, ::-1]], axis=1) for image in face]
    _refused_by_both(run, make_media("pair.mp4", images=pairs, samples=voice), "faces")


@pytest.mark.slow
def test_no_sound(run: Run, make_media, face: list[np.ndarray]) -> None:
    _refused_by_both(run, make_media("silent-film.mp4", images=face), "sound")


@pytest.mark.slow
def test_two_seconds(run: Run, make_media, face: list[np.ndarray], voice: np.ndarray) -> None:
    video = make_media("short.mp4", images=face[:60], samples=voice[: 60 * 640])
    _refused_by_both(run, video, "2.4 s")


@pytest.mark.slow
def test_truncated_file(run: Run, make_media, face: list[np.ndarray], voice: np.ndarray) -> None:
    video = make_media("cut-off.mp4", images=face, samples=voice, options={"movflags": "faststart"})
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    _refused_by_both(run, video)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Dear diary,\n" * 100,
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:4,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    ],
    ids=["empty", "text", "playlist", "concat"],
)
def test_what_is_not_a_video(run: Run, tmp_path: Path, content: bytes) -> None:
    video = tmp_path / "holiday.mp4"
    video.write_bytes(content)
    _refused_by_both(run, video)


@pytest.mark.slow
def test_a_bomb_of_pixels(run: Run, make_media) -> None:
    white = np.full((8192, 8192, 3), 255, np.uint8)
    video = make_media("bomb.mp4", images=[white], samples=np.zeros(640, np.float32), options={"preset": "ultrafast"})
    assert video.stat().st_size < 1e6
    _refused_by_both(run, video, "pixels")


@pytest.mark.slow
def test_refused_in_a_process_of_its_own(run_process: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    run_process("prepare", tmp_path / "notes.mp4", "-o", tmp_path / "portrait").refused("notes.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.mp4"]


def test_a_missing_video_is_named(run: Run, tmp_path: Path) -> None:
    for words in (("prepare", "gone.mp4", "-o", tmp_path / "portrait"), ("check", "gone.mp4")):
        run(*words).refused("gone.mp4")
    (tmp_path / "empty").mkdir()
    run("prepare", tmp_path / "empty", "-o", tmp_path / "portrait").refused("holds no videos")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_video_given_twice_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    run("prepare", tmp_path / "a.mp4", tmp_path / "b.mp4", "-o", tmp_path / "portrait").refused("twice")


def test_two_runs_at_once_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("not a video")
    with exclusive_folder(tmp_path / "portrait"):
        # The second lock is another opening of the folder, as that of another process would be.
        run("prepare", tmp_path / "a.mp4", "-o", tmp_path / "portrait").refused("another run")


def test_refused_options(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    run("prepare", tmp_path / "a.mp4", "-o", tmp_path / "portrait", "--size", 300).refused("--size", "300")


@pytest.mark.slow
def test_an_output_folder_in_use(
    run: Run, make_media, face: list[np.ndarray], voice: np.ndarray, tmp_path: Path
) -> None:
    video = make_media("talk.mp4", images=face, samples=voice)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    run("prepare", video, "-o", tmp_path / "mine", "--size", 64).refused("mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    run("prepare", video, "-o", tmp_path / "mine" / "thesis.txt" / "portrait", "--size", 64).refused("thesis.txt")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


@pytest.mark.slow
def test_a_cut_and_a_variable_rate_are_handled(run: Run, make_media, face: list[np.ndarray], tmp_path: Path) -> None:
    """Two takes, 30 and about 20 pictures a second: two segments, and every picture on the 25 Hz grid."""
    closer = np.arange(SIZE) * 11 // 16 + SIZE // 7
    other = [(0.8 * image[closer][:, closer]).astype(np.uint8) for image in face]
    times = np.cumsum([0.0, *[1 / 30] * 109, *[1 / 20, 1 / 22] * 55])[:220].tolist()
    sound = talking_sound(np.tile(opening_curve(FRAMES), 2))[: int(16_000 * times[-1])]
    video = make_media("takes.mp4", images=face + other, times=times, samples=sound)
    outcome = run("prepare", video, "-o", tmp_path / "portrait", "--size", 64, "--json")
    assert outcome.code == 0, outcome.err
    manifest = read_json(tmp_path / "portrait" / "manifest.json")
    assert len(manifest["segments"]) == 2
    starts = [segment["start_seconds"] for segment in manifest["segments"]]
    assert starts[1] == pytest.approx(110 / 30, abs=0.1)
    assert sum(segment["frames"] for segment in manifest["segments"]) == pytest.approx(25 * times[-1], abs=8)
