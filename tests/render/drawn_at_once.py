"""Many threads and many sizes with one renderer: each picture must be the one that it is alone."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from geneface.render.renderer import Renderer
from geneface.types import Camera

from .synthetic import PaintedPortrait

THREADS = 4


def assert_pictures_are_those_drawn_alone(
    renderer: Renderer, alone: Renderer, portrait: PaintedPortrait, rounds: int
) -> None:
    """Draw frames at three sizes in turn, and from threads that begin together; `alone` is another one, used alone."""
    cameras = [Camera(portrait.camera.focal, size, size) for size in (64, 48, 96)]
    jobs = [(frame, camera) for frame in range(THREADS) for camera in cameras]

    def draw(by: Renderer, frame: int, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        pose = portrait.pose
        drawn = by.render(portrait.landmarks[frame], pose.rotation[frame], pose.translation[frame], camera)
        return drawn.image, drawn.opacity

    expected = [draw(alone, *job) for job in jobs]
    for job, pictures in zip(jobs, expected, strict=True):
        for picture, right in zip(draw(renderer, *job), pictures, strict=True):
            np.testing.assert_array_equal(picture, right)

    together = threading.Barrier(THREADS)

    def wrong_in(thread: int) -> int:
        together.wait()
        wrong = 0
        for turn in range(rounds * len(cameras)):
            number = thread * len(cameras) + turn % len(cameras)
            pictures = zip(draw(renderer, *jobs[number]), expected[number], strict=True)
            wrong += not all(np.array_equal(picture, right) for picture, right in pictures)
        return wrong

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(wrong_in, range(THREADS))) == [0] * THREADS
    finally:
        sys.setswitchinterval(usual)
