"""`prepare_portrait` from a video file to a folder that loads, on a real face that sways; and what it refuses."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faces import astronaut, moving_face, murmur

from geneface.errors import InputError
from geneface.geometry.camera import project
from geneface.geometry.landmarks import KEYPOINTS
from geneface.io.image import read_image
from geneface.io.video import write_video
from geneface.portrait.check import check_videos
from geneface.portrait.chunks import CHUNK_FRAMES
from geneface.portrait.manifest import PortraitManifest
from geneface.portrait.portrait import Portrait
from geneface.portrait.prepare import PrepareConfig, prepare_portrait
from geneface.portrait.preview import HELDOUT, USED
from geneface.portrait.scan import scan_source
from geneface.types import VIDEO_RATE_HZ, Waveform

pytestmark = pytest.mark.slow

CONFIG = PrepareConfig(size=64, encoder="mel", workers=1)
SHARP = {"crf": "16"}


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "work" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def face_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5.2 s with sound: more than one chunk of work."""
    path = tmp_path_factory.mktemp("face") / "person.mp4"
    write_video(path, iter(moving_face(130)), Waveform(murmur(5.2)), crf=16)
    return path


@pytest.fixture(scope="module")
def prepared(face_video: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The portrait of `face_video`, which tests only read, and the stages of its making."""
    out = tmp_path_factory.mktemp("portrait") / "out"
    stages: list[str] = []
    prepare_portrait([face_video], out, CONFIG, progress=lambda name, done, total: stages.append(name))
    return out, stages


def test_a_portrait_folder_holds_all_that_training_needs(prepared: tuple[Path, list[str]]):
    out, stages = prepared
    portrait = Portrait.load(out)
    frames = len(portrait)
    assert frames == 130
    assert list(dict.fromkeys(stages))[:2] == ["look through the videos", "track the face"]
    assert [segment.name for segment in portrait.segments] == ["person"]
    assert portrait.heldout.tolist() == [False] * 104 + [True] * 26
    image, masks = portrait.frame(60)
    assert image.shape == (64, 64, 3) and masks.shape == (64, 64, 2)
    assert portrait.features(0).values.shape == (2 * frames, 80)
    assert len(portrait.audio(0).samples) == frames * 640
    np.testing.assert_array_equal(portrait.landmarks, portrait.mesh[:, list(KEYPOINTS)])
    bordered = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    for x, y in ((0, 0), (56, 0), (0, 56), (56, 56), (20, 31)):
        part, mask = portrait.bordered_patch(60, slice(y, y + 8), slice(x, x + 8))
        np.testing.assert_array_equal(part, bordered[y : y + 10, x : x + 10])
        np.testing.assert_array_equal(mask, masks[y : y + 8, x : x + 8])
    assert portrait.background.shape == (64, 64, 3)
    assert portrait.manifest.measured["reprojection_px"] < 0.6
    assert not (out / "work" / "measured").exists()


def test_masks_and_landmarks_lie_on_the_person(prepared: tuple[Path, list[str]]):
    portrait = Portrait.load(prepared[0])
    for index in (0, 70, 129):
        image, masks = portrait.frame(index)
        assert (masks.astype(int).sum(-1) <= 255).all()
        pose = portrait.pose.rotation[index], portrait.pose.translation[index]
        pixels = project(portrait.mesh[index], *pose, portrait.camera)
        nose, chin = pixels[4].astype(int), pixels[152]
        assert masks[nose[1], nose[0], 0] > 240
        assert masks[min(63, int(chin[1]) + 5), int(chin[0]), 1] > 200
        assert masks[2, 60].sum() < 20
        # Skin is redder than the grey wall.
        skin = image[nose[1] - 2 : nose[1] + 3, nose[0] - 2 : nose[0] + 3].reshape(-1, 3).mean(0)
        assert skin[0] > skin[2] + 30
        x0, y0, x1, y1 = portrait.mouth_box[index]
        assert x0 < pixels[13, 0] < x1 and y0 < pixels[13, 1] < y1
    sway = np.degrees(portrait.pose.rotation[:, 2])
    expected = 3 * np.sin(np.arange(130) / 9)
    # The picture was turned by this angle, counterclockwise as positive rotations about z are.
    assert np.corrcoef(sway, expected)[0, 1] > 0.99
    assert np.std(sway) == pytest.approx(np.std(expected), rel=0.12)


class KilledError(Exception):
    """Stands for a kill: leaves the folder as it is."""


def interrupt_at(stage: str, least: int = 1):
    def stop(name: str, done: int, total: int) -> None:
        if name == stage and done >= least:
            raise KilledError

    return stop


def test_an_interrupted_run_goes_on_and_ends_the_same(
    prepared: tuple[Path, list[str]], face_video: Path, tmp_path: Path
):
    whole, resumed = prepared[0], tmp_path / "resumed"
    with pytest.raises(KilledError):
        # In the middle of the second chunk: the first one is kept.
        prepare_portrait([face_video], resumed, CONFIG, progress=interrupt_at("track the face", CHUNK_FRAMES + 2))
    with pytest.raises(InputError, match="not empty"):
        prepare_portrait([face_video], resumed, CONFIG)
    with pytest.raises(InputError, match="not a finished portrait"):
        Portrait.load(resumed)
    other = CONFIG.model_copy(update={"smooth_frames": 3.0})
    with pytest.raises(InputError, match="other videos or settings"):
        prepare_portrait([face_video], resumed, other, resume=True)
    for stage in ("mask head and torso", "store the pictures", "speech features"):
        with pytest.raises(KilledError):
            prepare_portrait([face_video], resumed, CONFIG, resume=True, progress=interrupt_at(stage))
    # What a kill leaves in the middle of a write.
    (resumed / "segments" / ".person-x1.tmp.safetensors").write_bytes(b"half")
    prepare_portrait([face_video], resumed, CONFIG, resume=True)
    assert digests(resumed) == digests(whole)
    # A finished portrait is left alone.
    prepare_portrait([face_video], resumed, CONFIG, resume=True, progress=interrupt_at("track the face"))
    assert digests(resumed) == digests(whole)


def test_two_workers_make_the_same_portrait_as_one(make_media, tmp_path: Path):
    clips = [
        make_media(f"clip{index}.mp4", images=moving_face(60), samples=murmur(2.4, index), options=SHARP)
        for index in range(2)
    ]
    prepare_portrait(clips, tmp_path / "one", CONFIG)
    prepare_portrait(clips[::-1], tmp_path / "two", CONFIG.model_copy(update={"workers": 2}))
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    portrait = Portrait.load(tmp_path / "two")
    assert [segment.name for segment in portrait.segments] == ["clip0", "clip1"]
    assert portrait.segment.tolist() == [0] * 60 + [1] * 60
    assert portrait.heldout.reshape(2, 60).sum(1).tolist() == [12, 12]


def test_a_cut_inside_splits_the_video_into_scenes(make_media, tmp_path: Path):
    images = moving_face(70) + moving_face(70, zoom=1.5)
    video = make_media("cut.mp4", images=images, samples=murmur(5.6), options=SHARP)
    manifest = prepare_portrait([video], tmp_path / "out", CONFIG)
    assert [(segment.name, segment.frames) for segment in manifest.segments] == [("cut_00", 70), ("cut_01", 70)]
    assert [segment.heldout_frames for segment in manifest.segments] == [None, (42, 70)]
    assert any("cut at 2.80 s" in note for note in manifest.notes)
    assert (tmp_path / "out" / manifest.segments[1].background).is_file()


def test_a_variable_frame_rate_is_brought_to_25(make_media, tmp_path: Path):
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.choice([0.02, 0.04, 0.06], size=150))
    images = moving_face(150)
    video = make_media("variable.mkv", images=images, times=list(times - times[0]), samples=murmur(6.5), options=SHARP)
    assert scan_source(video)[0].is_variable
    manifest = prepare_portrait([video], tmp_path / "out", CONFIG)
    assert manifest.frames == pytest.approx((times[-1] - times[0]) * VIDEO_RATE_HZ, abs=3)
    assert any("variable frame rate" in note for note in manifest.notes)


def refuse(video: Path | list[Path], out: Path, words: str) -> None:
    with pytest.raises(InputError, match=words):
        prepare_portrait(video if isinstance(video, list) else [video], out, CONFIG)
    assert not out.exists(), "something half-made is left"


def test_two_seconds_are_too_little(make_media, tmp_path: Path):
    refuse(make_media("a.mp4", images=moving_face(60), samples=murmur(3)), tmp_path / "out", "only 2.4 s")


def test_a_video_without_a_face_is_refused(make_media, tmp_path: Path):
    rng = np.random.default_rng(0)
    wall = [rng.integers(90, 110, size=(96, 96, 3)).astype(np.uint8) for _ in range(110)]
    refuse(make_media("a.mp4", images=wall, samples=murmur(4.4)), tmp_path / "out", "no face is seen from 0.00")


def test_two_people_are_refused(make_media, tmp_path: Path):
    pairs = [np.concatenate([image, image[:, ::-1]], axis=1) for image in moving_face(110, size=160)]
    refuse(make_media("a.mp4", images=pairs, samples=murmur(4.4)), tmp_path / "out", "two faces")


def test_a_video_without_sound_or_with_silence_is_refused(make_media, tmp_path: Path):
    images = moving_face(110, size=120)
    refuse(make_media("a.mp4", images=images), tmp_path / "out", "no sound")
    silence = np.zeros(16_000 * 4, np.float32)
    refuse(make_media("b.mp4", images=images, samples=silence), tmp_path / "out", "silent")


def test_files_that_are_no_videos_are_refused(make_media, tmp_path: Path):
    text = tmp_path / "notes.mp4"
    text.write_text("this is text\n" * 100)
    refuse(text, tmp_path / "out", "text file")
    refuse(tmp_path / "absent.mp4", tmp_path / "out", "does not exist")
    refuse(make_media("sound.mp4", samples=murmur(5)), tmp_path / "out", "no pictures")
    refuse([], tmp_path / "out", "no video")


def test_a_folder_in_use_is_not_touched(face_video: Path, tmp_path: Path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty"):
        prepare_portrait([face_video], out, CONFIG)
    assert [path.name for path in out.iterdir()] == ["letter.txt"]


def test_a_damaged_manifest_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no portrait folder"):
        Portrait.load(tmp_path / "absent")
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="another version"):
        PortraitManifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1, "segments": [], "dropped": []}')
    with pytest.raises(InputError, match="damaged"):
        PortraitManifest.read(tmp_path)


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="extra"):
        PrepareConfig(sise=64)  # type: ignore[call-arg]


def test_check_names_what_is_wrong_and_where(make_media):
    half = [np.concatenate([image, image[:, ::-1]], axis=1) for image in moving_face(70, size=160)]
    whole = [np.concatenate([image, np.full_like(image, 150)], axis=1) for image in moving_face(70, size=160)]
    video = make_media("mixed.mp4", images=whole + half, samples=murmur(4.7), rate=30)
    findings = check_videos([video, video.with_name("absent.mp4")])
    texts = {(finding.severity, finding.cause) for finding in findings}
    assert ("warning", "two faces are seen") in texts
    two = next(finding for finding in findings if "two faces" in finding.cause)
    # 70 pictures at 30 a second: the picture with two faces that is nearest to a frame at 25 may be one earlier.
    assert two.where == "from 2.32 to 4.68 s" and two.remedy
    assert any("30.00 frames/s" in cause for _, cause in texts)
    assert any(severity == "error" and "does not exist" in cause for severity, cause in texts)
    assert any(severity == "error" and "only 2.3 s are usable" in cause for severity, cause in texts)


def test_check_of_what_gives_nothing_says_the_cause_alone(tmp_path: Path):
    """More video of the same kind would not help."""
    assert [finding.cause for finding in check_videos([tmp_path / "absent.mp4"])] == [
        f"the file {tmp_path / 'absent.mp4'} does not exist or can't be reached"
    ]


def test_the_test_face_is_whole():
    assert astronaut().shape == (300, 300, 3)


def on_wall(image: np.ndarray, x: int, width: int = 480) -> np.ndarray:
    """The picture at x on a wide wall of its own grey."""
    wall = np.full((image.shape[0], width, 3), np.median(image[:20, :20], axis=(0, 1)).astype(np.uint8))
    wall[:, x : x + image.shape[1]] = image
    return wall


def test_check_and_prepare_use_the_same_seconds_and_draw_them(make_media, tmp_path: Path):
    """Two people for a while, then one who sits elsewhere for a moment, and a false face in one frame."""
    faces = moving_face(170, size=160)
    images = [on_wall(image, 60) for image in faces]
    images[:20] = [on_wall(np.concatenate([image, image[:, ::-1]], axis=1), 60) for image in faces[:20]]
    images[120:140] = [on_wall(image, 300) for image in faces[120:140]]
    giant = np.kron(faces[0], np.ones((3, 3, 1), np.uint8))[:160, :480]
    images[90] = giant
    video = make_media("mixed.mp4", images=images, samples=murmur(6.8), options=SHARP)
    findings = check_videos([video], preview=tmp_path / "look.jpg", workers=1)
    manifest = prepare_portrait([video], tmp_path / "out", CONFIG)
    seconds = manifest.frames / VIDEO_RATE_HZ
    assert any(f"{seconds:.1f} s are usable" in finding.cause for finding in findings)
    told = {(finding.cause, finding.where) for finding in findings if finding.severity == "warning"}
    for span in manifest.dropped:
        assert (span.reason, f"from {span.start:.2f} to {span.stop:.2f} s") in told
    assert seconds + sum(span.stop - span.start for span in manifest.dropped) == pytest.approx(6.8, abs=0.05)
    assert 4.5 < seconds < 6
    # The face is never where it was only for a moment.
    assert all(45 <= segment.crop[0] <= 75 for segment in manifest.segments)
    for sheet in (tmp_path / "look.jpg", tmp_path / "out" / "preview.jpg"):
        picture = read_image(sheet)
        assert picture.shape[1] == 1600 and picture.shape[0] > 500
        # The time line is there: its green and blue bars.
        for color in (USED, HELDOUT):
            near = np.abs(picture.astype(int) - color).max(-1) < 12
            assert near.sum(1).max() > 60


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_that_lies_on_its_side_or_stands_on_its_head_is_turned_and_said_so(
    make_media, tmp_path: Path, turns: int
):
    images = [np.rot90(image, -turns) for image in moving_face(110, size=160)]
    video = make_media("lying.mp4", images=images, samples=murmur(4.4), options=SHARP)
    manifest = prepare_portrait([video], tmp_path / "out", CONFIG)
    portrait = Portrait.load(tmp_path / "out")
    assert any("the pictures are turned" in note for note in manifest.notes)
    pixels = project(portrait.mesh[50], portrait.pose.rotation[50], portrait.pose.translation[50], portrait.camera)
    # Chin below the hairline, and the true face there: red lips between.
    assert pixels[152, 1] > pixels[10, 1] + 10 and abs(pixels[152, 0] - pixels[10, 0]) < 5
    upright = moving_face(51, size=160)[50]
    frame = portrait.frame(50)[0]
    x, y, side = manifest.segments[0].crop
    expected = upright[y : y + side, x : x + side].reshape(-1, 3).mean(0)
    np.testing.assert_allclose(frame.reshape(-1, 3).mean(0), expected, atol=4)


def test_one_bad_file_among_many_is_named_before_any_work(make_media, tmp_path: Path):
    good = make_media("a.mp4", images=moving_face(30, size=96), samples=murmur(1.2))
    for name in ("b.mp4", "c.mp4"):
        (tmp_path / name).write_text("no video\n" * 50)
    stages: list[str] = []
    with pytest.raises(InputError, match=r"b\.mp4.*1 more of the 3 videos"):
        prepare_portrait(
            [good, tmp_path / "b.mp4", tmp_path / "c.mp4"],
            tmp_path / "out",
            CONFIG,
            progress=lambda name, done, total: stages.append(name),
        )
    assert stages == [] and not (tmp_path / "out").exists()
    findings = check_videos([good, tmp_path / "b.mp4", tmp_path / "c.mp4"], workers=1)
    bad = [finding.path for finding in findings if finding.severity == "error" and "text file" in finding.cause]
    assert bad == [str(tmp_path / "b.mp4"), str(tmp_path / "c.mp4")]


def test_a_face_that_leaves_the_picture_is_dropped_and_one_near_its_edge_is_not(make_media, tmp_path: Path):
    near = [image[:, 58:] for image in moving_face(120, size=200)]
    video = make_media("near.mp4", images=near, samples=murmur(4.8), options=SHARP)
    assert not any("leaves" in finding.cause for finding in check_videos([video], workers=1))
    # From frame 60 on it walks out at the left.
    out = [image if i < 60 else np.roll(image, -min(i - 60, 40), axis=1) for i, image in enumerate(near)]
    video = make_media("leaves.mp4", images=out, samples=murmur(4.8), options=SHARP)
    told = [finding for finding in check_videos([video], workers=1) if finding.cause == "the face leaves the picture"]
    assert told and told[-1].where.endswith("4.80 s") and "whole head" in told[0].remedy
