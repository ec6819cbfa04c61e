"""Doubles of a portrait and of an avatar whose scores are known beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from geneface.avatar.performance import Performance
from geneface.geometry.landmarks import BROWS, KEYPOINT_COUNT, KEYPOINTS, LIPS, MESH_SIZE, positions
from geneface.render.renderer import RenderedFrame, Renderer, Window
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import (
    ByteArray,
    Camera,
    FloatArray,
    HeadPose,
    MotionTrack,
    Waveform,
)

SIZE = 64
UPPER, LOWER = positions((82, 13, 312)), positions((87, 14, 317))


@dataclass(frozen=True)
class Segment:
    name: str
    words: tuple[tuple[float, float, str], ...] = ()


def neutral_mesh() -> FloatArray:
    """Random but fixed mesh; the lips are closed and the face is .3 wide."""
    mesh = np.random.default_rng(0).normal(0, 0.1, (MESH_SIZE, 3)).astype(np.float32)
    points = mesh[list(KEYPOINTS)]
    points[LOWER] = points[UPPER]
    mesh[list(KEYPOINTS)] = points
    mesh[234], mesh[454] = (-0.15, 0, 0), (0.15, 0, 0)
    return mesh


@dataclass
class FakePortrait:
    """Segments of talking whose lip opening is the envelope of the sound, exactly.

    A picture shows a textured head that opens a dark mouth; it differs from frame to frame.
    """

    lengths: tuple[int, ...] = (40, 60, 50)
    heldout_segments: tuple[int, ...] = (1, 2)
    camera: Camera = field(default_factory=lambda: Camera(3.0, SIZE, SIZE))

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        self.neutral = neutral_mesh()
        self.segments = [Segment(f"clip{i}") for i in range(len(self.lengths))]
        self.segment = np.repeat(np.arange(len(self.lengths), dtype=np.int32), self.lengths)
        frames = len(self.segment)
        self.heldout = np.isin(self.segment, self.heldout_segments)
        self.opening = 0.04 * np.abs(ndimage.gaussian_filter1d(rng.normal(size=frames), 1.2))
        self.landmarks = track(self.neutral, self.opening)
        self.landmarks[:, BROWS] += rng.normal(0, 1e-3, (frames, len(BROWS), 3)).astype(np.float32)
        wobble = rng.normal(0, 1e-3, (2, frames, 3)).astype(np.float32)
        self.pose = HeadPose(wobble[0], np.array([0, 0, -3], np.float32) + wobble[1])
        self.mouth_box = np.tile(np.array([24, 38, 40, 50]), (frames, 1))
        smooth = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE, 3)), (2, 2, 0))
        self.background = np.full((SIZE, SIZE, 3), 90, np.uint8)
        self.other_scenes: dict[int, ByteArray] = {}
        self._texture = np.clip(128 + 300 * smooth, 30, 225)

    def frame(self, index: int) -> tuple[ByteArray, ByteArray]:
        shift = 3 * np.sin(index)
        image = ndimage.shift(self._texture, (0, shift, 0), order=1, mode="nearest")
        rows = int(1 + 200 * self.opening[index])
        image[44 - rows : 44 + rows, 27:37] = 20
        masks = np.zeros((SIZE, SIZE, 2), np.uint8)
        masks[12:54, 14:50, 0] = 255
        masks[56:, :, 1] = 255
        return image.round().astype(np.uint8), masks

    def audio(self, segment: int) -> Waveform:
        """A sound whose level in each frame is the opening."""
        return Waveform(np.repeat(self.opening[self.segment == segment], SAMPLES_PER_FRAME).astype(np.float32))

    def segment_background(self, segment: int) -> ByteArray:
        return self.other_scenes.get(segment, self.background)


def track(neutral: FloatArray, opening: np.ndarray) -> FloatArray:
    """Named landmarks [F, K, 3] with the given lip opening; the mouth widens with it."""
    points = np.tile(neutral[list(KEYPOINTS)], (len(opening), 1, 1)).astype(np.float32)
    points[:, LOWER, 1] -= opening[:, None]
    right = positions((291,))
    points[:, right, 0] += opening[:, None]
    assert points.shape[1] == KEYPOINT_COUNT
    assert set(LOWER) <= set(LIPS)
    return points


def read_mesh(image: ByteArray) -> FloatArray | None:
    """What a tracker sees in a picture of `FakePortrait`: the mouth's dark rows say how far it is open.

    A black picture has no face.
    """
    if image.mean() < 10:
        return None
    rows = float((image[30:58, 32].mean(-1) < 25).sum()) / 2
    mesh = neutral_mesh()
    mesh[[87, 14, 317], 1] = mesh[[82, 13, 312], 1] - (rows - 1) / 200
    pixels = SIZE * (0.5 + mesh[:, :2] * np.array([1, -1], np.float32))
    return np.column_stack([pixels, -SIZE * mesh[:, 2]]).astype(np.float32)


class FakeTracker:
    """Stands in for the tracker of `analysis.tracker.open_tracker`."""

    def __enter__(self) -> FakeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def track(self, image: ByteArray) -> FloatArray | None:
        return read_mesh(image)


class FakeRenderer:
    """Finds the frame by its lips and returns it with an error of exactly `error` levels in every value."""

    def __init__(self, portrait: FakePortrait, error: int) -> None:
        self._portrait, self._error = portrait, error
        self.calls = 0

    def render(
        self,
        landmarks: FloatArray,
        rotation: FloatArray,
        translation: FloatArray,
        camera: Camera,
        window: Window | None = None,
        torso: FloatArray | None = None,
    ) -> RenderedFrame:
        self.calls += 1
        assert camera == self._portrait.camera
        lips = [*UPPER, *LOWER]
        distance = np.abs(self._portrait.landmarks[:, lips] - landmarks[lips]).sum((1, 2))
        image = self._portrait.frame(int(distance.argmin()))[0].astype(np.float32)
        checker = np.where(np.indices(image.shape).sum(0) % 2 == 0, 1, -1) * self._error
        opacity = np.ones(image.shape[:2], np.float32)
        rgb = ((image + checker) / 255).astype(np.float32)
        part = (slice(None), slice(None)) if window is None else (window.rows, window.columns)
        return RenderedFrame(np.dstack([rgb, opacity])[part], opacity[part], np.zeros_like(rgb)[part])


def drawn_by(renderer: Renderer, motion: MotionTrack, camera: Camera, size: int | None) -> Iterator[RenderedFrame]:
    """The frames of a motion, as `Avatar.drawn` yields them."""
    seen = camera if size is None else Camera(camera.focal, size, size)
    for row in zip(motion.points, motion.pose.rotation, motion.pose.translation, strict=True):
        yield renderer.render(*row, seen)


@dataclass(frozen=True)
class FakeBody:
    """As much of `avatar.body.Body` as evaluation looks at."""

    grain: float = 0.0


@dataclass(frozen=True)
class FakeFiles:
    body: Any = None


@dataclass
class FakeAvatar:
    """Hears the opening in the sound and moves the lips by it: delayed, scaled, trembling as asked."""

    portrait: FakePortrait
    error: int = 5
    delay_frames: int = 0
    gain: float = 1.0
    brow_noise: float = 1e-3
    name: str = "double"
    metrics: dict[str, Any] | None = None
    other_renderer: Renderer | None = None
    generic: FakeAvatar | None = None
    """What it is without its adaptation."""
    files: FakeFiles = FakeFiles()

    def __post_init__(self) -> None:
        self.camera = self.portrait.camera
        self.neutral = self.portrait.neutral
        self.fake_renderer = FakeRenderer(self.portrait, self.error)
        self.heard_seconds: list[float] = []

    def drawn(self, motion: MotionTrack, *, size: int | None = None) -> Iterator[RenderedFrame]:
        return drawn_by(self.renderer, motion, self.camera, size)

    @cached_property
    def renderer(self) -> Renderer:
        return self.other_renderer or self.fake_renderer

    def unadapted(self) -> FakeAvatar | None:
        return self.generic

    def motion(self, audio: Waveform, performance: Performance | None = None) -> MotionTrack:
        self.heard_seconds.append(audio.duration_seconds)
        opening = np.abs(audio.samples[SAMPLES_PER_FRAME // 2 :: SAMPLES_PER_FRAME])
        late = np.concatenate([np.zeros(self.delay_frames), opening])[: len(opening)]
        points = track(self.portrait.neutral, self.gain * late)
        rng = np.random.default_rng(3)
        frames = len(points)
        points[:, BROWS] += self.brow_noise * rng.normal(size=(frames, len(BROWS), 3)).astype(np.float32)
        still = np.tile(np.array([0, 0, -3], np.float32), (frames, 1))
        return MotionTrack(points, HeadPose(np.zeros_like(still), still))
