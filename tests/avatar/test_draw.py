"""Pictures of a motion that was not made of speech just now."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from geneface.avatar.avatar import Avatar
from geneface.avatar.performance import Performance
from geneface.errors import InputError
from geneface.render.registry import create_renderer
from geneface.types import Camera, HeadPose, MotionTrack, Waveform

from .avatar_fixtures import speech

SOUND = Waveform(speech(2.0))


def test_a_drawn_motion_is_the_stream(avatar: Avatar) -> None:
    performance = Performance(seed=4)
    motion = avatar.motion(SOUND, performance)
    streamed = list(avatar.stream(SOUND, performance, size=96, background="#102030"))
    assert len(streamed) == 50
    np.testing.assert_array_equal(list(avatar.draw(motion, size=96, background="#102030")), streamed)
    pieces = (motion[start : start + 7] for start in range(0, len(motion), 7))
    np.testing.assert_array_equal(list(avatar.draw(pieces, size=96, background="#102030")), streamed)


def test_each_frame_is_the_renderers_own(avatar: Avatar) -> None:
    motion = avatar.motion(SOUND)[20:23]
    drawn = list(avatar.drawn(motion, size=128))
    camera = Camera(avatar.camera.focal, 128, 128)
    for index, frame in enumerate(drawn):
        pose = motion.pose.rotation[index], motion.pose.translation[index]
        expected = avatar.renderer.render(motion.points[index], *pose, camera)
        np.testing.assert_array_equal(frame.image, expected.image)
        np.testing.assert_array_equal(frame.opacity, expected.opacity)


def test_pieces_are_asked_for_as_they_are_needed_and_leave_no_thread(avatar: Avatar) -> None:
    motion, asked = avatar.motion(SOUND), []

    def pieces():
        for start in range(0, 50, 5):
            asked.append(start)
            yield motion[start : start + 5]

    before = threading.active_count()
    frames = avatar.draw(pieces())
    assert asked == []
    for _ in range(6):
        next(frames)
    assert asked == [0, 5] and threading.active_count() == before
    frames.close()


def test_pieces_share_one_renderer(avatar: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    other, made = Avatar(avatar.files, avatar._encoder, avatar._model, None), []

    def counted(*arguments):
        made.append(arguments)
        return create_renderer(*arguments)

    monkeypatch.setattr("geneface.avatar.avatar.create_renderer", counted)
    motion = avatar.motion(SOUND)[:3]
    for start in range(3):
        assert len(list(other.draw(motion[start : start + 1]))) == 1
    assert len(made) == 1


def test_a_motion_without_frames_has_no_pictures(avatar: Avatar) -> None:
    assert list(avatar.draw(avatar.motion(SOUND)[:0])) == []
    assert list(avatar.draw([])) == []


def test_numbers_of_other_types_are_taken(avatar: Avatar) -> None:
    motion = avatar.motion(SOUND)[:2]
    double = MotionTrack(
        motion.points.astype(np.float64),  # type: ignore[arg-type]
        HeadPose(motion.pose.rotation.astype(np.float64), motion.pose.translation.astype(np.float64)),  # type: ignore[arg-type]
    )
    np.testing.assert_array_equal(list(avatar.draw(double)), list(avatar.draw(motion)))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (
            lambda track: replace(track, points=track.points[:, :-1]),
            r"'points' of the motion has the shape \[3, 189, 3\]",
        ),
        (lambda track: replace(track, pose=track.pose[:2]), r"'rotation' of the motion has the shape \[2, 3\]"),
        (lambda track: replace(track, points=np.full_like(track.points, np.nan)), "NaN"),
        (lambda track: [track.points], "of the type ndarray"),
    ],
)
def test_a_motion_that_cannot_be_drawn_is_refused(avatar: Avatar, spoil, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(avatar.draw(spoil(avatar.motion(SOUND)[:3])))


def test_size_and_background_are_refused_at_once(avatar: Avatar) -> None:
    motion = avatar.motion(SOUND)[:1]
    with pytest.raises(InputError, match="size"):
        avatar.draw(motion, size=65)
    with pytest.raises(InputError, match="background"):
        avatar.draw(motion, background="nowhere.png")


@pytest.mark.parametrize(
    ("torso", "message"),
    [
        (np.zeros((4, 3)), "no array"),
        (np.zeros((3, 5, 2)), "shape"),
        (np.full((4, 5, 2), np.nan), "NaN"),
        ("x", "no array"),
    ],
)
def test_a_torso_of_wrong_values_is_refused(avatar: Avatar, torso: object, message: str) -> None:
    motion = avatar.motion(SOUND)[:4]
    pose = HeadPose(motion.pose.rotation, motion.pose.translation, torso)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        next(avatar.drawn(replace(motion, pose=pose)))
