"""Colour: the difference of colours (CIEDE2000, by scikit-image, [metrics] extra), and the shift of luminance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.errors import MissingExtraError
from geneface.evaluation.metrics.picture import Picture, PictureMetric, ReferenceFrame, region_mean
from geneface.evaluation.schema import MetricDefinition
from geneface.types import ByteArray


def lab(image: ByteArray) -> NDArray[np.floating[Any]]:
    """CIELAB under D65 (2 degrees) of sRGB values, [H, W, 3].

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    return require_colour().rgb2lab(image)


def ciede2000(reference: NDArray[np.floating[Any]], other: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Colour difference (Sharma, Wu and Dalal 2005) of CIELAB images [H, W, 3] -> [H, W].

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    return require_colour().deltaE_ciede2000(reference, other)


def require_colour() -> Any:
    """scikit-image's colour module.

    Raises:
        MissingExtraError: scikit-image is not installed.
    """
    try:
        from skimage import color
    except ImportError as error:
        raise MissingExtraError("scikit-image", "metrics") from error
    return color


def _difference(reference: ReferenceFrame, picture: Picture, instrument: object) -> dict[str, float]:
    own = reference.once("lab", lambda: lab(reference.image))
    difference = ciede2000(own, lab(picture.image))
    return {region: region_mean(difference, mask) for region, mask in reference.masks.items()}


def _shift(reference: ReferenceFrame, picture: Picture, instrument: object) -> dict[str, float]:
    shift = picture.luma - reference.luma
    return {region: region_mean(shift, mask) for region, mask in reference.masks.items()}


CIEDE2000 = PictureMetric(
    "ciede2000",
    MetricDefinition(
        title="Colour difference",
        unit="CIEDE2000",
        direction="lower",
        description="Mean CIEDE2000 of the region's pixels (Sharma et al. 2005), sRGB under D65.",
        must_see=["late", "still", "degraded"],
        needs="colour",
    ),
    _difference,
)
LUMINANCE_SHIFT = PictureMetric(
    "luminance_shift",
    MetricDefinition(
        title="Luminance shift",
        unit="levels of 255",
        direction="zero",
        description="Mean BT.601 luma, evaluated - ground truth: the 'whitening' of a shifted appearance code.",
        must_see=["degraded"],
    ),
    _shift,
)
