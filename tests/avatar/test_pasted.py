"""Lips on frames of the person's own video: what is real keeps its pixels, whoever asks for the pictures and how."""

from __future__ import annotations

import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from geneface.avatar.avatar import Avatar
from geneface.avatar.body_path import body_frames
from geneface.avatar.performance import Performance
from geneface.avatar.view import Frame, Size
from geneface.errors import InputError
from geneface.geometry.landmarks import LOWER_FACE
from geneface.io.image import write_png
from geneface.io.tensors import load_tensors
from geneface.types import MotionTrack, Waveform

from .avatar_fixtures import make_avatar, speech
from .body_fixtures import HEIGHT, WIDTH, write_body

SOUND = Waveform(speech(2.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("pasted")
    write_body(work / "body")
    return make_avatar(work / "tiny", work / "work", "whisper-2-streaming", 512, body=work / "body")


@pytest.fixture(scope="module")
def filmed(folder: Path) -> Avatar:
    return Avatar.load(folder)


def test_motion_is_of_the_recorded_frames(filmed: Avatar) -> None:
    performance = Performance(seed=5)
    motion, drawn = filmed.motion(SOUND, performance), filmed.motion(SOUND, Performance(seed=5, body="drawn"))
    body = filmed.files.body
    assert body is not None and motion.body is not None and drawn.body is None
    np.testing.assert_array_equal(motion.body, body_frames(body.track, 5, 0, len(motion)))
    np.testing.assert_array_equal(motion.pose.rotation, body.track.pose.rotation[motion.body])
    others = np.setdiff1d(np.arange(motion.points.shape[1]), LOWER_FACE)
    np.testing.assert_array_equal(motion.points[:, others], body.track.landmarks[motion.body][:, others])
    np.testing.assert_array_equal(motion.points[:, LOWER_FACE], drawn.points[:, LOWER_FACE])


def test_the_video_is_what_lips_are_put_on_by_default(filmed: Avatar) -> None:
    assert filmed.has_body
    np.testing.assert_array_equal(
        filmed.motion(SOUND).pose.rotation, filmed.motion(SOUND, Performance(body="source")).pose.rotation
    )


@pytest.mark.parametrize(
    ("size", "frame"),
    [
        (None, None),
        pytest.param(64, "crop", marks=pytest.mark.slow),
        ("source", None),
        pytest.param(96, "source", marks=pytest.mark.slow),
    ],
)
def test_streams_draws_and_live_pieces_are_one(filmed: Avatar, size: Size | None, frame: Frame | None) -> None:
    streamed = np.stack(list(filmed.stream(SOUND, Performance(seed=2), size=size, frame=frame)))
    motion = filmed.motion(SOUND, Performance(seed=2))
    pieces = (motion[start : start + 7] for start in range(0, len(motion), 7))
    np.testing.assert_array_equal(np.stack(list(filmed.draw(pieces, size=size, frame=frame))), streamed)
    expected = {None: (64, 64), 64: (64, 64), "source": (HEIGHT, WIDTH), 96: (96, 160)}[size]
    assert streamed.shape == (50, *expected, 3)


def test_live_speech_is_put_on_the_same_frames(filmed: Avatar) -> None:
    live = filmed.live(Performance(seed=2))
    samples = SOUND.samples
    tracks = [live.push(samples[start : start + 1777]) for start in range(0, len(samples), 1777)]
    track = MotionTrack.concatenate([*tracks, live.finish()])
    body = filmed.files.body
    assert body is not None and track.body is not None
    np.testing.assert_array_equal(track.body, body_frames(body.track, 2, 0, len(track)))
    assert len(list(filmed.draw(track))) == len(track)


def test_away_from_the_mouth_every_bit_is_the_recorded_one(filmed: Avatar, tmp_path: Path) -> None:
    body = filmed.files.body
    assert body is not None
    motion = filmed.motion(SOUND)[:8]
    assert motion.body is not None
    for picture, index in zip(_pictures(filmed, motion, "source", "source"), motion.body, strict=True):
        changed = picture.to_yuv420() != body.planes(int(index))
        # The face is somewhere in the crop; the corners of the picture are not.
        assert not changed[:HEIGHT, :8].any() and not changed[:6].any()
        assert changed.any()


def _pictures(avatar: Avatar, motion: MotionTrack, size: Size, frame: Frame):
    from geneface.avatar.pictures import Pictures

    return Pictures(avatar.files, avatar._renderer_over, size=size, frame=frame).of([motion])


def test_another_background_is_behind_the_person_only(filmed: Avatar) -> None:
    motion = filmed.motion(SOUND)[:3]
    kept = np.stack(list(filmed.draw(motion, size="source"))).astype(int)
    green = np.stack(list(filmed.draw(motion, size="source", background="#00ff00"))).astype(int)
    body = filmed.files.body
    assert body is not None and motion.body is not None
    for row, index in enumerate(motion.body):
        matte = body.matte(int(index))
        outside = matte == 0
        outside[:, 15:70] = False
        assert outside.any() and (np.abs(green[row][outside] - (0, 255, 0)) < 6).all()
        inside = matte == 255
        assert np.abs(green[row][inside] - kept[row][inside]).mean() < 6


@pytest.mark.parametrize("name", ["out.mp4", "out.webm", "out"])
def test_every_format(filmed: Avatar, tmp_path: Path, name: str) -> None:
    kinds = {"out.mp4": "mp4", "out.webm": "webm-alpha", "out": "png"}
    assert filmed.render(SOUND, tmp_path / name, format=kinds[name], size="source") == 50  # type: ignore[arg-type]
    if name == "out":
        assert len(list((tmp_path / name).iterdir())) == 50
        return
    with av.open(str(tmp_path / name)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (WIDTH, HEIGHT)
        assert sum(1 for _ in container.decode(stream)) == 50


def test_the_motion_file_names_the_frames(filmed: Avatar, tmp_path: Path) -> None:
    filmed.render(SOUND, tmp_path / "m.safetensors", format="landmarks")
    frames = filmed.motion(SOUND).body
    assert frames is not None
    np.testing.assert_array_equal(load_tensors(tmp_path / "m.safetensors")["body"], frames)


def test_a_pickled_avatar_shows_the_same(filmed: Avatar) -> None:
    again = pickle.loads(pickle.dumps(filmed))
    motion = filmed.motion(SOUND)[:4]
    np.testing.assert_array_equal(list(again.draw(motion)), list(filmed.draw(motion)))


def test_what_needs_a_video_is_refused_without_one(avatar: Avatar, filmed: Avatar) -> None:
    with pytest.raises(InputError, match="carries no video"):
        avatar.stream(SOUND, size="source")
    with pytest.raises(InputError, match="carries no video"):
        avatar.stream(SOUND, Performance(body="source"))
    with pytest.raises(InputError, match="drawn body"):
        filmed.stream(SOUND, Performance(body="drawn"), frame="source")
    with pytest.raises(InputError, match="drawn whole"):
        list(filmed.draw(filmed.motion(SOUND, Performance(body="drawn")), frame="source"))


def test_wrong_words_are_refused_at_once(filmed: Avatar) -> None:
    with pytest.raises(InputError, match="no frame 'whole'"):
        filmed.stream(SOUND, frame="whole")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the size is 'large'"):
        filmed.stream(SOUND, size="large")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no body 'mine'"):
        Performance(body="mine")  # type: ignore[arg-type]
    words = np.array(["crop", "source"])
    with pytest.raises(InputError, match="no frame"):
        filmed.stream(SOUND, frame=words)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no body"):
        Performance(body=words)  # type: ignore[arg-type]


def test_frames_of_another_video_are_refused(filmed: Avatar) -> None:
    motion = filmed.motion(SOUND)[:3]
    for frames in ([0, 1, 40], [7, 8, 9]):
        other = MotionTrack(motion.points, motion.pose, np.array(frames, np.int32))
        with pytest.raises(InputError, match="of another video"):
            list(filmed.draw(other))
    with pytest.raises(InputError, match="no array of frame numbers"):
        list(filmed.draw(MotionTrack(motion.points, motion.pose, np.array([0, 1], np.int32))))


def test_an_avatar_without_a_video_draws_the_motion_of_one_that_has_one(avatar: Avatar, filmed: Avatar) -> None:
    motion = filmed.motion(SOUND)[:3]
    np.testing.assert_array_equal(list(avatar.draw(motion)), list(avatar.draw(MotionTrack(motion.points, motion.pose))))


def test_drawn_is_drawn_whatever_the_motion_names(filmed: Avatar) -> None:
    motion = filmed.motion(SOUND)[:3]
    plain = MotionTrack(motion.points, motion.pose)
    for with_body, without in zip(filmed.drawn(motion), filmed.drawn(plain), strict=True):
        np.testing.assert_array_equal(with_body.image, without.image)


def test_a_picture_behind_the_whole_recording_is_not_stretched(filmed: Avatar, tmp_path: Path) -> None:
    y, x = np.mgrid[:100, :200]
    ramp = np.stack([x, y, 0 * x], axis=-1).astype(np.uint8)
    write_png(tmp_path / "ramp.png", ramp)
    motion = filmed.motion(SOUND)[:1]
    (picture,) = filmed.draw(motion, size="source", background=tmp_path / "ramp.png")
    # 80 x 48 pixels show 167 x 100 of the picture's: red and green rise equally.
    across = float(picture[2, -2, 0]) - float(picture[2, 1, 0])
    down = float(picture[-2, 1, 1]) - float(picture[1, 1, 1])
    assert abs(across / (WIDTH - 3) - down / (HEIGHT - 3)) < 0.15 * down / (HEIGHT - 3)


def test_frame_numbers_of_64_bits(filmed: Avatar) -> None:
    motion = filmed.motion(SOUND)[:2]
    assert motion.body is not None
    for kind in (np.int64, np.uint64):
        wide = motion.body.astype(kind)
        assert len(list(filmed.draw(MotionTrack(motion.points, motion.pose, wide)))) == 2  # pyright: ignore
        with pytest.raises(InputError, match="of another video"):
            list(filmed.draw(MotionTrack(motion.points, motion.pose, wide + kind(2**32))))  # pyright: ignore


def test_opacity_that_was_not_asked_for(filmed: Avatar) -> None:
    (picture,) = filmed.pictures(filmed.motion(SOUND)[:1])
    with pytest.raises(InputError, match="no opacity"):
        picture.to_rgba()


def test_transparent_videos_of_one_seed_are_one_file(filmed: Avatar, tmp_path: Path) -> None:
    for name in ("a.webm", "b.webm"):
        filmed.render(Waveform(SOUND.samples[:8000]), tmp_path / name, format="webm-alpha")
    assert (tmp_path / "a.webm").read_bytes() == (tmp_path / "b.webm").read_bytes()
