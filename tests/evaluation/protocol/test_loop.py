"""The seam of an avatar on its own video, with pictures and mouths that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geneface.avatar.body import Body
from geneface.avatar.performance import Performance
from geneface.evaluation.metrics.seam import SEAM_KEYS
from geneface.evaluation.protocol.loop import LOOP_FRAMES, _pictures, loop_table
from geneface.render import planes
from geneface.render.renderer import RenderedFrame, Window
from geneface.types import Camera, HeadPose, MotionTrack, Waveform, no_progress

from ...avatar.avatar_fixtures import face_points
from ...avatar.body_fixtures import HEIGHT, body_track, write_body
from ..doubles import FakeAvatar, FakeFiles, FakePortrait


class Flat:
    """A face of one grey."""

    def render(
        self,
        landmarks: np.ndarray,
        rotation: np.ndarray,
        translation: np.ndarray,
        camera: Camera,
        window: Window | None = None,
        torso: np.ndarray | None = None,
    ) -> RenderedFrame:
        assert window is not None, "only what is needed is drawn"
        rgb = np.full((window.height, window.width, 3), 0.5, np.float32)
        opacity = np.ones(rgb.shape[:2], np.float32)
        return RenderedFrame(np.dstack([rgb, opacity]), opacity, np.zeros_like(rgb))


class OnItsVideo(FakeAvatar):
    """Speaks with still lips, on frames of its loop, back and forth."""

    asked: Performance | None = None

    def motion(self, audio: Waveform, performance: Performance | None = None) -> MotionTrack:
        self.asked = performance
        frames = np.abs((np.arange(30) % 58) - 29).astype(np.int32)
        points = np.repeat(face_points()[None], len(frames), axis=0).astype(np.float32)
        rows = np.zeros((len(frames), 3), np.float32)
        return MotionTrack(points, HeadPose(rows, rows), frames)


@pytest.fixture
def avatar(tmp_path: Path) -> OnItsVideo:
    # Neither softened nor grainy: what is recorded stays as it is.
    write_body(tmp_path, body_track(blur=np.zeros(40, np.float32), grain=0.0))
    return OnItsVideo(FakePortrait(), other_renderer=Flat(), files=FakeFiles(Body.load(tmp_path)))


def test_pictures_are_the_loop_s_with_another_lower_face(avatar: OnItsVideo) -> None:
    motion = avatar.motion(Waveform(np.zeros(1, np.float32)))[:4]
    assert motion.body is not None
    body = avatar.files.body
    for index, (recorded, pasted, mask) in zip(motion.body, _pictures(avatar, body, motion), strict=True):
        assert recorded.shape == pasted.shape == (*mask.shape, 3)
        assert 0.9 < mask.max() <= 1
        # Nearly the whole height of the video is in the square.
        shown = planes.picture(body.planes(index))
        assert recorded.mean() == pytest.approx(shown[:, 16:64].mean(), abs=1) and len(recorded) > HEIGHT
        assert np.array_equal(pasted[mask == 0], recorded[mask == 0])
        assert not np.array_equal(pasted[mask > 0.9], recorded[mask > 0.9])


def test_the_table_holds_the_seam_alone(avatar: OnItsVideo) -> None:
    table = loop_table(avatar, Waveform(np.zeros(16000, np.float32)), no_progress)
    assert table is not None and avatar.asked == Performance(body="source")
    own = table.rows[0]
    assert own.name == "double, pasted, from speech" and own.role == "evaluated"
    assert all(tuple(row.figures) == SEAM_KEYS[2:] for row in table.rows) and len(table.rows) == 5
    assert own.figures["seam_step"].value is not None
    assert "30 frames" in table.note and LOOP_FRAMES > 30


def test_an_avatar_without_a_video_has_no_such_table() -> None:
    assert loop_table(FakeAvatar(FakePortrait()), Waveform(np.zeros(9, np.float32)), no_progress) is None
