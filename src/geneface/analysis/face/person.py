"""The person in a picture against what is behind: MediaPipe's selfie segmentation, general model."""

from __future__ import annotations

import numpy as np

from geneface.analysis.face import networks
from geneface.analysis.face.crops import Region, cut_out
from geneface.imaging.resize import resize_linear
from geneface.types import ByteArray, FloatArray

_NETWORK = "person"
_EDGE = (0.25, 0.75)
"""The network is unsure within some pixels of the edge: the middle of its range is the edge."""


class SelfieSegmenter:
    """Mattes of persons; each picture is judged by itself. See `analysis.tracker.PersonSegmenter`."""

    def __enter__(self) -> SelfieSegmenter:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def matte(self, image: ByteArray) -> FloatArray:
        """Person matte [H, W] in [0, 1] of an RGB picture [H, W, 3]."""
        low, high = _EDGE
        return np.clip((raw_matte(image) - low) / (high - low), 0, 1)


def raw_matte(image: ByteArray) -> FloatArray:
    """What the network says, [H, W] in [0, 1]; the picture is squeezed into its square."""
    height, width = image.shape[:2]
    side = networks.input_side(_NETWORK)
    (matte,) = networks.run(_NETWORK, cut_out(image, Region.whole(image), side))
    return resize_linear(matte, height, width)
