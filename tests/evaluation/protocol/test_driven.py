"""Blinks, driven motion and rare frames of an avatar whose faults are planted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from geneface.avatar.performance import Performance
from geneface.evaluation import summary
from geneface.evaluation.metrics.blinks import (
    IDENTICAL_DB,
    blink_pair,
    blink_table,
    closed_frames,
    lower_face,
)
from geneface.evaluation.metrics.speckle import with_beads
from geneface.evaluation.protocol import driven
from geneface.evaluation.protocol.controls import BEADS, TRUTH
from geneface.evaluation.protocol.driven import driven_table, measure_driven
from geneface.evaluation.protocol.rare import closed_eyes, extremes, rare_table
from geneface.evaluation.schema import MetricTable
from geneface.evaluation.summary import summarise_training
from geneface.geometry.camera import project
from geneface.geometry.landmarks import KEYPOINTS, LEFT_EYE, LIPS, OVAL, RIGHT_EYE, eye_openness, lip_opening, positions
from geneface.imaging.shapes import pixels_inside_polygon
from geneface.io.face_mesh import mean_face
from geneface.render.renderer import RenderedFrame, Renderer, Window
from geneface.types import SPEECH_RATE_HZ, ByteArray, Camera, FloatArray, HeadPose, MotionTrack, Waveform

from ..doubles import FakeFiles, drawn_by

SIZE = 128
CAMERA = Camera(4.0, SIZE, SIZE)
UPPER_LIDS, LOWER_LIDS = positions((160, 159, 158, 385, 386, 387)), positions((144, 145, 153, 380, 374, 373))
LOWER_LIPS = positions((87, 14, 317))
FACE = mean_face()[list(KEYPOINTS)]
OPENNESS = float(np.asarray(eye_openness(FACE)).mean())
SOUND = Waveform(np.zeros(75 * SPEECH_RATE_HZ // 25, np.float32))


def faces(opening: np.ndarray, closure: np.ndarray) -> FloatArray:
    """[F, K, 3] with the lips apart and the lids down."""
    points = np.tile(FACE, (len(opening), 1, 1))
    points[:, LOWER_LIPS, 1] -= opening[:, None]
    points[:, UPPER_LIDS] += closure[:, None, None] * (FACE[LOWER_LIDS] - FACE[UPPER_LIDS])
    return points.astype(np.float32)


def poses(frames: int) -> HeadPose:
    time = np.arange(frames)[:, None]
    rotation = 0.08 * np.sin(time / np.array([17.0, 11.0, 23.0]))
    translation = np.array([0, 0, -4.0]) + 0.03 * np.cos(time / np.array([19.0, 13.0, 29.0]))
    return HeadPose(rotation.astype(np.float32), translation.astype(np.float32))


def texture() -> np.ndarray:
    smooth = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(SIZE, SIZE)), 3)
    return np.repeat((120 + 300 * smooth)[..., None], 3, axis=2)


class PlantedRenderer:
    """Draws a textured face; `answer` levels more in the whole face for lids that are down, beads for an open mouth."""

    def __init__(self, answer: float, beads_above: float) -> None:
        self._answer, self._beads_above, self._texture = answer, beads_above, texture()

    def render(
        self,
        landmarks: FloatArray,
        rotation: FloatArray,
        translation: FloatArray,
        camera: Camera,
        window: Window | None = None,
        torso: FloatArray | None = None,
    ) -> RenderedFrame:
        assert window is None
        pixels = project(landmarks, rotation, translation, camera)
        head = pixels_inside_polygon(pixels[OVAL], camera.height, camera.width)
        closed = 1 - float(np.asarray(eye_openness(landmarks)).mean()) / OPENNESS
        image = self._texture.copy()
        image[head] += self._answer * max(closed, 0)
        image = image.clip(0, 255).astype(np.uint8)
        if lip_opening(landmarks) > self._beads_above:
            image = with_beads(image, head, np.random.default_rng(0))
        opacity = head.astype(np.float32)
        rgb = (image / 255).astype(np.float32)
        return RenderedFrame(np.dstack([rgb, opacity]).astype(np.float32), opacity, rgb)


class PlantedAvatar:
    name = "planted"
    camera = CAMERA
    metrics: dict[str, Any] | None = None
    files = FakeFiles()

    def __init__(self, answer: float = 0.0, beads_above: float = np.inf, closing: float = 1.0) -> None:
        self._planted, self._closing = PlantedRenderer(answer, beads_above), closing
        self.neutral = mean_face()

    @cached_property
    def renderer(self) -> Renderer:
        return self._planted

    def drawn(self, motion: MotionTrack, *, size: int | None = None) -> Iterator[RenderedFrame]:
        return drawn_by(self._planted, motion, CAMERA, size)

    def unadapted(self) -> None:
        return None

    def motion(self, audio: Waveform, performance: Performance | None = None) -> MotionTrack:
        performance = performance or Performance()
        frames = len(audio.samples) * 25 // SPEECH_RATE_HZ
        closure = np.zeros(frames)
        if performance.blink and performance.seed % 2:
            closure[30:35] = self._closing * np.array([0.3, 0.9, 1.0, 0.7, 0.4])
        opening = 0.01 + 0.01 * np.sin(np.arange(frames) / 5)
        return MotionTrack(faces(opening, closure), poses(frames))


class PlantedPortrait:
    """Ground truth: what the faultless renderer draws of a mouth that opens to .02."""

    camera, segments, neutral = CAMERA, (), mean_face()

    def __init__(self, frames: int = 200) -> None:
        closure = np.zeros(frames)
        closure[[40, 41, 150, 151, 152]] = [0.9, 0.5, 0.7, 1.0, 0.55]
        self.landmarks = faces(0.01 + 0.01 * np.sin(np.arange(frames) / 7), closure)
        self.pose = poses(frames)
        self.segment = np.zeros(frames, np.int32)
        self.heldout = np.arange(frames) >= 120
        self.background = np.zeros((SIZE, SIZE, 3), np.uint8)
        self.mouth_box = np.tile(np.array([56, 72, 72, 82]), (frames, 1))

    def frame(self, index: int) -> tuple[ByteArray, ByteArray]:
        drawn = PlantedRenderer(0, np.inf).render(
            self.landmarks[index], self.pose.rotation[index], self.pose.translation[index], CAMERA
        )
        masks = np.zeros((SIZE, SIZE, 2), np.uint8)
        masks[..., 0] = 255 * (drawn.head_opacity > 0.5)
        return drawn.to_uint8(), masks

    def audio(self, segment: int) -> Waveform:
        return Waveform(np.zeros(len(self.segment) * SPEECH_RATE_HZ // 25, np.float32))

    def segment_background(self, segment: int) -> ByteArray:
        return self.background


@pytest.fixture(autouse=True)
def sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "demo_sentence", lambda: SOUND)
    monkeypatch.setattr(summary, "_STEP", 8)


def figures(table: MetricTable, name: str) -> dict[str, float | None]:
    row = next(row for row in table.rows if name in row.name)
    return {key: item.value for key, item in row.figures.items()}


def test_the_lower_face_holds_the_lips_and_not_the_eyes() -> None:
    track = MotionTrack(faces(np.zeros(1), np.zeros(1)), poses(1))
    mask = lower_face(track, 0, CAMERA)
    pixels = project(track.points[0], track.pose.rotation[0], track.pose.translation[0], CAMERA)
    columns, rows = np.floor(pixels).astype(int).T
    assert mask[rows[LIPS], columns[LIPS]].all()
    eyes = np.concatenate([LEFT_EYE, RIGHT_EYE])
    assert not mask[rows[eyes], columns[eyes]].any()
    assert rows[eyes].max() + 5 < np.flatnonzero(mask.any(1)).min(), "a margin under the lids"


def test_closed_frames_are_those_near_the_deepest() -> None:
    zeros = np.zeros(6)
    blinking = faces(zeros, np.array([0, 0.3, 0.7, 1.0, 0.5, 0]))
    assert closed_frames(faces(zeros, zeros), blinking).tolist() == [2, 3]
    shallow = faces(zeros, np.array([0, 0.02, 0.05, 0.05, 0.02, 0]))
    assert closed_frames(faces(zeros, zeros), shallow).tolist() == []


@pytest.mark.parametrize("answer", [10.0, 40.0])
def test_a_face_that_answers_to_its_lids_has_a_known_psnr(answer: float) -> None:
    """Closures of .9, 1 and .7 make the whole face brighter by as much of the answer."""
    avatar = PlantedAvatar(answer)
    pair = blink_pair(avatar, SOUND)
    assert len(pair) == 4 * 3, "seeds without a blink are passed over until there are a dozen frames"
    assert (np.asarray(eye_openness(pair.closed.points)) < np.asarray(eye_openness(pair.open.points))).all()
    mean_square = np.mean(np.square(answer * np.array([0.9, 1.0, 0.7])))
    found = figures(blink_table(avatar, SOUND), "planted")
    assert found["blink_lower_face_psnr"] == pytest.approx(10 * np.log10(255**2 / mean_square), abs=0.3)
    assert found["blink_lower_face_psnr_worst"] == pytest.approx(20 * np.log10(255 / answer), abs=0.3)


def test_a_mouth_that_a_blink_leaves_alone_is_identical() -> None:
    found = figures(blink_table(PlantedAvatar(0.0), SOUND), "planted")
    assert found["blink_lower_face_psnr"] == found["blink_lower_face_psnr_worst"] == IDENTICAL_DB


def test_an_avatar_that_does_not_blink_has_a_reason() -> None:
    avatar = PlantedAvatar(40.0, closing=0.0)
    row = blink_table(avatar, SOUND).rows[0]
    assert all(item.reason == "the avatar does not blink" for item in row.figures.values())


@pytest.mark.slow
def test_the_ground_truth_scores_one_and_beads_are_seen() -> None:
    scores = measure_driven(PlantedAvatar(), PlantedPortrait(), SOUND, step=4)
    table = driven_table("planted", scores)
    assert table.rows[0].name == TRUTH and table.rows[-1].name == BEADS
    truth = figures(table, TRUTH)
    for key in ("speckle_ratio", "face_dots_ratio", "head_dots_ratio"):
        assert truth[key] == pytest.approx(1, abs=0.15)
        assert figures(table, "all driven")[key] == pytest.approx(1, abs=0.25), "the same renderer drew the truth"
        assert table.verdicts[key].informative and (figures(table, BEADS)[key] or 0) > 1.3
    assert truth["torso_dots_ratio"] is None, "nothing shows a torso"
    assert len([row for row in table.rows if row.role == "evaluated"]) == 1


@pytest.mark.slow
def test_the_motion_that_breaks_is_found() -> None:
    """Beads come out where the mouth opens wider than the portrait's ever did."""
    avatar = PlantedAvatar(beads_above=float(lip_opening(PlantedPortrait().landmarks).max()) + 0.001)
    scores = measure_driven(avatar, PlantedPortrait(), SOUND, step=5)
    seconds = {motion.name: scores.worst_second(i) for i, motion in enumerate(scores.motions)}
    assert seconds["opening"].excess > 1.5 and seconds["whole face"].excess > 1.5
    assert seconds["width"].excess < 1.2 and seconds["yaw"].excess < 1.2 and seconds["speech"].excess < 1.2
    assert seconds["opening"].start < 10, "the first second is that of the upper end"
    assert scores.worst("face_dots")[0] in ("opening", "whole face", "face and pose")


@pytest.mark.slow
def test_without_a_portrait_it_is_compared_with_its_own_speech() -> None:
    avatar = PlantedAvatar(beads_above=0.0215)
    table = driven_table("planted", measure_driven(avatar, None, SOUND, step=5))
    assert all(row.role != "truth" for row in table.rows) and table.verdicts == {}
    assert (figures(table, "planted, opening")["face_dots_rise_worst_second"] or 0) > 1.5
    assert figures(table, "planted, yaw")["face_dots_rise"] == pytest.approx(1, abs=0.2)


@pytest.mark.slow
def test_a_training_says_in_words_what_breaks() -> None:
    portrait = PlantedPortrait()
    healthy = summarise_training(PlantedAvatar(), portrait)
    assert healthy.warnings == () and "99.0 dB" in healthy.lines[0]
    assert set(healthy.report.tables) == {"blink", "driven", "adaptation"}
    broken = summarise_training(PlantedAvatar(40.0, beads_above=0.0215), portrait)
    assert len(broken.warnings) == 2
    assert healthy.verdict.startswith("no breaking up seen; ")
    assert broken.verdict.startswith("the face breaks up beyond what was recorded and blinks move the mouth; ")
    assert "blinks move the mouth" in broken.warnings[0] and "--blink off" in broken.warnings[0]
    assert "breaks" in broken.warnings[1] and "'opening'" in broken.warnings[1]
    assert healthy.report.machine == {}, "equal trainings, equal files"


@pytest.mark.slow
def test_rare_frames_have_rows_of_their_own() -> None:
    portrait = PlantedPortrait()
    table = rare_table(PlantedAvatar(20.0), portrait)
    closed, extreme, others = (figures(table, name) for name in ("closed eyes", "extreme", "all other"))
    assert closed["rare_frames"] == 2 and extreme["rare_frames"] == 4
    assert others["rare_frames"] == 60, "of 74, evenly spread"
    levels = 20 * np.array([0.7, 1.0])
    expected = np.mean(20 * np.log10(255 / levels))
    for key in ("head_psnr", "mouth_psnr", "eyes_psnr"):
        assert closed[key] == pytest.approx(expected, abs=0.7)
        assert (others[key] or 0) > 95


@pytest.mark.slow
def test_a_portrait_without_blinks_says_so() -> None:
    portrait = PlantedPortrait()
    portrait.landmarks = faces(0.01 + 0.01 * np.sin(np.arange(200) / 7), np.zeros(200))
    row = rare_table(PlantedAvatar(), portrait).rows[0]
    assert row.figures["rare_frames"].value == 0 and row.figures["eyes_psnr"].reason == "0 such frames"


def test_closed_eyes_count_from_the_usual_opening() -> None:
    closure = np.array([0, 0, 0, 0.4, 0.9, 1.0, 0, 0])
    landmarks = faces(np.zeros(8), closure)
    assert np.flatnonzero(closed_eyes(landmarks, np.arange(8) < 3)).tolist() == [4, 5]


def test_extremes_are_far_from_the_median_face_or_pose() -> None:
    rng = np.random.default_rng(0)
    landmarks = faces(np.zeros(100), np.zeros(100)) + rng.normal(0, 1e-4, (100, len(KEYPOINTS), 3)).astype(np.float32)
    pose = HeadPose(*(rng.normal(0, 1e-2, (2, 100, 3)).astype(np.float32)))
    landmarks[30, LIPS, 1] -= 0.1
    pose.rotation[60, 1] += 0.5
    pose.rotation[10, 1] += 0.9
    heldout = np.arange(100) >= 20
    chosen = np.flatnonzero(extremes(landmarks, pose, heldout))
    assert {30, 60} <= set(chosen.tolist()) and len(chosen) == 4 and chosen.min() >= 20
    assert not extremes(landmarks, pose, np.zeros(100, bool)).any()


def test_the_demo_sentence_is_there() -> None:
    assert driven.demo_sentence().duration_seconds > 5
