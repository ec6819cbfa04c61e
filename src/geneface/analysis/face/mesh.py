"""A face followed from picture to picture: the attention mesh (Grishchenko et al. 2020).

The mesh of one picture says where to look in the next; whole pictures are searched only at the start and after the face
was lost. Nothing is smoothed over time.
"""

from __future__ import annotations

import math

import numpy as np

from geneface.analysis.face import networks
from geneface.analysis.face.crops import Region, cut_out, to_picture
from geneface.analysis.face.detection import NEAR, detect
from geneface.types import ByteArray, FloatArray

_NETWORK = "mesh"
_MIN_PRESENCE = 0.5
_LEFT_CORNER, _RIGHT_CORNER = 33, 263
"""Outer corners of the eyes in the picture."""
_FACE_GROWTH = 1.5


class AttentionMeshTracker:
    """Follows one face. See `analysis.tracker.FaceTracker`."""

    def __init__(self) -> None:
        self._region: Region | None = None
        """Where the face is expected, in shares of the picture's longer side."""

    def __enter__(self) -> AttentionMeshTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def track(self, image: ByteArray) -> FloatArray | None:
        """The face's mesh [478, 3] in pixels of the RGB image [H, W, 3], or None."""
        longer = max(image.shape[:2])
        region = _find(image) if self._region is None else self._region.scaled(longer)
        self._region = None
        if region is None:
            return None
        mesh = measure(image, region)
        if mesh is not None:
            self._region = around(mesh).scaled(1 / longer)
        return mesh


def _find(image: ByteArray) -> Region | None:
    """The square around the face that is surest."""
    longer = max(image.shape[:2])
    # MediaPipe looks at the square that `track` measures in: the picture in its upper left corner.
    square = Region(longer / 2, longer / 2, longer, longer)
    faces = detect(NEAR, image, square)
    return faces[0].region() if faces else None


def measure(image: ByteArray, region: Region) -> FloatArray | None:
    """The mesh [478, 3] of the face in a region of an RGB image [H, W, 3], unless there is none.

    MediaPipe measures turned faces right in square pictures only: the image lies in the corner of a black square.
    """
    side = networks.input_side(_NETWORK)
    mesh, presence = networks.run(_NETWORK, cut_out(image, region, side, canvas=max(image.shape[:2])))
    if 1 / (1 + math.exp(-float(presence[0]))) <= _MIN_PRESENCE:
        return None
    return to_picture(mesh / np.float32(side), region)


def around(mesh: FloatArray) -> Region:
    """The square around a mesh [478, 3], turned so that the eyes are level: where the face is looked for next."""
    (x0, y0), (x1, y1) = mesh[:, :2].min(0).tolist(), mesh[:, :2].max(0).tolist()
    across, down = (mesh[_RIGHT_CORNER, :2] - mesh[_LEFT_CORNER, :2]).tolist()
    face = Region((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, math.atan2(down, across))
    return face.squared(_FACE_GROWTH)
