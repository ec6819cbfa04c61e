"""A stand-in for a portrait: a textured head that sways in wide pictures, with the tracks that belong to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import numpy as np

from geneface.geometry.landmarks import KEYPOINT_COUNT, LIPS, LOWER_INNER, OVAL
from geneface.types import Camera, HeadPose

SIZE, WIDTH, HEIGHT = 64, 120, 72
CROP = (24.0, 4.0, 64.0)


def face() -> np.ndarray:
    """[K, 3] head units: scattered points, the outline around them."""
    rng = np.random.default_rng(5)
    points = rng.uniform(-0.15, 0.15, (KEYPOINT_COUNT, 3)).astype(np.float32)
    points[:, 2] = 0
    turns = 2 * np.pi * np.arange(len(OVAL)) / len(OVAL)
    points[OVAL, 0], points[OVAL, 1] = 0.18 * np.sin(turns), 0.22 * np.cos(turns)
    points[LIPS, 1] = np.clip(points[LIPS, 1], -0.15, -0.1)
    return points


class MadePortrait:
    """What `training.body` asks of a portrait, made of numbers."""

    def __init__(self, shifts: Sequence[np.ndarray], opening: Sequence[np.ndarray] | None = None) -> None:
        """`shifts`: for each segment [f] how far the head is to the right, in pixels; `opening` of the mouth."""
        self.size, self.camera = SIZE, Camera(2.0, SIZE, SIZE)
        self.segments = list(range(len(shifts)))
        self._starts = np.concatenate([[0], np.cumsum([len(shift) for shift in shifts])])
        self.segment = np.repeat(np.arange(len(shifts), dtype=np.int32), [len(shift) for shift in shifts])
        self.shift = np.concatenate(shifts).astype(np.float32)
        frames = len(self.shift)
        self.heldout, self.clear = np.zeros(frames, bool), np.ones(frames, bool)
        self.landmarks = np.repeat(face()[None], frames, axis=0)
        if opening is not None:
            self.landmarks[:, LOWER_INNER, 1] -= np.concatenate(opening)[:, None]
        # A point at depth 2 moves by focal size / 2 pixels a head unit.
        across = self.shift / (2.0 * SIZE / 2)
        translation = np.stack([across, 0 * across, 0 * across - 2], axis=1).astype(np.float32)
        self.pose = HeadPose(np.zeros((frames, 3), np.float32), translation)
        self.source_of: Callable[[int], tuple[int, int, tuple[float, float, float]]] = lambda _: (WIDTH, HEIGHT, CROP)
        rng = np.random.default_rng(1)
        self._behind = rng.integers(90, 110, (HEIGHT, WIDTH, 3)).astype(np.float32)
        self._skin = rng.integers(150, 240, (2 * HEIGHT, 2 * WIDTH)).astype(np.float32)
        self.read = 0
        """Source pictures that were read."""

    def __len__(self) -> int:
        return len(self.shift)

    def picture(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Source picture [H, W, 3] and the head's matte [H, W]."""
        y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
        x0, y0 = CROP[0] + SIZE / 2 + self.shift[index], CROP[1] + SIZE / 2
        matte = np.clip(15 - np.hypot((x - x0) * 1.2, y - y0) + 0.5, 0, 1)
        place = np.clip(x - x0 + WIDTH, 0, 2 * WIDTH - 1).astype(int), y.astype(int)
        skin = self._skin[place[1], place[0]][..., None]
        picture = skin * matte[..., None] + self._behind * (1 - matte[..., None])
        return np.round(picture).astype(np.uint8), matte

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The square of it, and masks."""
        picture, matte = self.picture(index)
        x, y = int(CROP[0]), int(CROP[1])
        head = np.round(255 * matte[y : y + SIZE, x : x + SIZE]).astype(np.uint8)
        return picture[y : y + SIZE, x : x + SIZE], np.stack([head, 0 * head], axis=-1)

    def frames_of(self, segment: int) -> range:
        """Frame numbers of a segment."""
        return range(int(self._starts[segment]), int(self._starts[segment + 1]))

    def source(self, segment: int) -> SimpleNamespace | None:
        """The source pictures of a segment."""

        def pictures(start: int, stop: int) -> Iterator[np.ndarray]:
            for row in range(start, stop):
                self.read += 1
                yield self.picture(int(self._starts[segment]) + row)[0]

        width, height, crop = self.source_of(segment)
        return SimpleNamespace(width=width, height=height, crop=crop, pictures=pictures)

    def release_pictures(self) -> None:
        """Nothing is mapped."""


def sway(frames: int, pixels: float = 3.0, period: float = 50.0, phase: float = 0.0) -> np.ndarray:
    """[f] a shift that is at rest every half period."""
    return pixels * np.cos(2 * np.pi * (np.arange(frames) / period + phase))
