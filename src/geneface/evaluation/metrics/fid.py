"""Frechet Inception distance (Heusel et al. 2017) with the resampling of "clean-fid" (Parmar et al. 2022).

Parmar et al. show that how images are brought to Inception's size moves FID more than many a new method does, and
define: bicubic (a = -1/2), widened so that it does not alias, on unrounded values, clipped to 0..255; the network is
then given (x - 128) / 128, as torch-fidelity gives it, too (pytorch-fid gives x / 127.5 - 1). That is done here.

Symbols: N images, D = 2048 features of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.metrics.picture import Picture, PictureMetric, ReferenceFrame
from geneface.evaluation.networks.inception import FEATURES, IMAGE_PX, Inception
from geneface.evaluation.schema import MetricDefinition
from geneface.render.composite import from_uint8, resize
from geneface.types import ByteArray, FloatArray

_BATCH = 8


def clean_resize(image: ByteArray) -> FloatArray:
    """Resample [H, W, 3] to [299, 299, 3] float32 in 0..255, not rounded (Parmar et al. 2022, section 3)."""
    return resize(from_uint8(image), IMAGE_PX, IMAGE_PX) * np.float32(255)


class InceptionFeatures:
    """Images to the features of FID."""

    def __init__(self, network: Inception) -> None:
        self._network = network

    @classmethod
    def load(cls, path: Path) -> InceptionFeatures:
        """Read the weights of `geneface convert-weights inception`.

        Raises:
            InputError: the file is missing, not safetensors, or of another network.
            MissingExtraError: torch is not installed.
        """
        return cls(Inception.load(path))

    def features(self, images: Sequence[ByteArray]) -> NDArray[np.float64]:
        """[N, 2048] of N images, uint8 [H, W, 3] RGB of any sizes."""
        import torch

        rows = [np.zeros((0, FEATURES))]
        for start in range(0, len(images), _BATCH):
            batch = np.stack([clean_resize(image) for image in images[start : start + _BATCH]])
            inputs = torch.from_numpy(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
            rows.append(self._network.pool3((inputs - 128) / 128).double().numpy())
        return np.concatenate(rows)


class FeatureStatistics:
    """Number, mean and covariance of feature rows that come in parts.

    The scatter (sum of squares around the mean) is kept as a factor A with A^T A = scatter: the centred rows
    themselves while there are few, their triangular factor later. The distance then never takes the root of a
    covariance, which 300 rows of 2048 features leave singular.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: NDArray[np.float64] = np.zeros(0)
        self.factor: NDArray[np.float64] = np.zeros((0, 0))
        """A, [at most 2 D, D]."""

    def add(self, rows: NDArray[np.floating]) -> None:
        """Add feature rows [n, D]."""
        if not len(rows):
            return
        part = FeatureStatistics()
        rows = np.asarray(rows, np.float64)
        part.count, part.mean = len(rows), rows.mean(axis=0)
        part.factor = rows - part.mean
        self.merge(part)

    def merge(self, other: FeatureStatistics) -> None:
        """Add the rows of another (Chan et al. 1983, eq. 2.1)."""
        if not other.count:
            return
        if not self.count:
            self.count, self.mean, self.factor = other.count, other.mean, _compressed(other.factor)
            return
        total = self.count + other.count
        shift = other.mean - self.mean
        between = np.sqrt(self.count * other.count / total) * shift
        self.factor = _compressed(np.concatenate([self.factor, other.factor, between[None]]))
        self.mean = self.mean + shift * (other.count / total)
        self.count = total

    @property
    def covariance(self) -> NDArray[np.float64]:
        """[D, D], divided by count - 1; nan for fewer than two rows."""
        if self.count < 2:
            return np.full((len(self.mean), len(self.mean)), np.nan)
        return self.factor.T @ self.factor / (self.count - 1)


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), Heusel et al. 2017, eq. 6; nan below two rows on a side.

    The last trace is the sum of the singular values of C_a^(1/2) C_b^(1/2), and these are those of A_a A_b^T (up to
    the counts), since A^T A and the root of the scatter differ by an orthogonal matrix alone.
    """
    if min(a.count, b.count) < 2:
        return float("nan")
    scale_a, scale_b = a.count - 1, b.count - 1
    cross = np.linalg.svd(a.factor @ b.factor.T, compute_uv=False).sum() / np.sqrt(scale_a * scale_b)
    traces = np.square(a.factor).sum() / scale_a + np.square(b.factor).sum() / scale_b
    return float(max(np.square(a.mean - b.mean).sum() + traces - 2 * cross, 0.0))


def _compressed(factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """A factor of the same scatter that has at most 2 D rows."""
    return factor if len(factor) <= 2 * factor.shape[1] else np.asarray(np.linalg.qr(factor, mode="r"))


def _measure(reference: ReferenceFrame, picture: Picture, instrument: InceptionFeatures) -> dict[str, FloatArray]:
    """Region -> features [2048] of its box."""
    regions = list(reference.boxes)
    rows = instrument.features([picture.image[reference.boxes[region]] for region in regions])
    return {region: row.astype(np.float32) for region, row in zip(regions, rows, strict=True)}


def _distance(own: Sequence[FloatArray], truth: Sequence[FloatArray]) -> float:
    sides = []
    for rows in (truth, own):
        statistics = FeatureStatistics()
        statistics.add(np.stack(rows) if rows else np.zeros((0, FEATURES)))
        sides.append(statistics)
    return frechet_distance(*sides)


FID = PictureMetric(
    "fid",
    MetricDefinition(
        title="FID",
        unit="1",
        direction="lower",
        description="Heusel et al. 2017 on Inception-v3 pool3 features of the region's box, resized as in Parmar et "
        "al. 2022; biased upwards for few frames, so comparable at equal numbers of frames only.",
        must_see=["still", "degraded"],
        needs="inception",
    ),
    _measure,
    total=_distance,
    absent="FID needs two frames and more",
    alone=True,
)
