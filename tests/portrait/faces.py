"""Videos with a real face for tests: the astronaut picture that ships with scikit-image, moved and zoomed."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.types import SPEECH_RATE_HZ

cv2 = pytest.importorskip("cv2", reason="needs the [prepare] extra")
pytest.importorskip("mediapipe", reason="needs the [prepare] extra")
data = pytest.importorskip("skimage.data", reason="needs scikit-image")


def astronaut() -> np.ndarray:
    """Head and shoulders, uint8 [300, 300, 3]."""
    return np.ascontiguousarray(data.astronaut()[:300, 70:370])


def moving_face(frames: int, zoom: float = 1.0, size: int = 240) -> list[np.ndarray]:
    """The face swaying and nodding a little, uint8 [size, size, 3] each."""
    picture = astronaut()
    images = []
    for index in range(frames):
        angle, scale = 3 * np.sin(index / 9), zoom * size / 300 * (1 + 0.02 * np.sin(index / 14))
        move = cv2.getRotationMatrix2D((150, 150), angle, scale)
        move[:, 2] += np.array([size / 2, size / 2]) - 150 + [4 * np.sin(index / 7), 3 * np.cos(index / 11)]
        images.append(cv2.warpAffine(picture, move, (size, size), borderMode=cv2.BORDER_REPLICATE))
    return images


def murmur(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise that swells four times a second, float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    return (
        (0.2 * rng.normal(size=len(time)) * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time))).clip(-1, 1).astype(np.float32)
    )
