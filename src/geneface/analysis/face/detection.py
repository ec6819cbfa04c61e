"""Faces found in a whole picture: BlazeFace (Bazarevsky et al. 2019), for near faces and for those further away.

A network proposes a box and six points (eyes, nose, mouth, ears) at every anchor. Proposals above a score that overlap
are averaged. Coordinates are shares of the padded square until they are brought to pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.face import networks
from geneface.analysis.face.crops import Region, cut_out, to_picture
from geneface.types import ByteArray, FloatArray

NEAR, FAR = "detector_short", "detector_full"
"""Made for faces within some 2 m, which are large, and within 5 m."""
_ANCHORS = {NEAR: ((16, 2), (8, 6)), FAR: ((48, 1),)}
"""Grids of anchors: cells a side, and anchors a cell. All anchors are as large as the picture."""
_MIN_SCORES = {NEAR: 0.5, FAR: 0.6}
"""Of proposals; those of MediaPipe's graphs."""
_SAME_FACE = 0.3
"""Boxes that overlap by more (intersection over union) are of one face."""
_FACE_GROWTH = 1.5


@dataclass(frozen=True)
class Detection:
    """A face in a picture."""

    score: float
    """0 to 1."""
    box: FloatArray
    """[4] x0, y0, x1, y1 in pixels."""
    points: FloatArray
    """[6, 2] in pixels: the eyes to the left and to the right of the picture, nose, mouth, ears."""

    def region(self) -> Region:
        """The square around the face, turned so that the eyes are level."""
        x0, y0, x1, y1 = map(float, self.box)
        across, down = (float(value) for value in self.points[1] - self.points[0])
        face = Region((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, math.atan2(down, across))
        return face.squared(_FACE_GROWTH)


def detect(network: str, image: ByteArray, region: Region | None = None) -> list[Detection]:
    """The faces in an RGB picture [H, W, 3], the surest first.

    Args:
        network: `NEAR` or `FAR`.
        region: where to look; by default the picture with black around it that makes it square.
    """
    if region is None:
        region = Region.whole(image).squared()
    side = networks.input_side(network)
    raw, logits = networks.run(network, cut_out(image, region, side))
    scores = 1 / (1 + np.exp(-logits.astype(np.float64).clip(-100, 100)))
    sure = np.flatnonzero(scores >= _MIN_SCORES[network])
    proposals = decode(raw[sure], anchors(network)[sure], side)
    found = merge(proposals, scores[sure])
    return [
        Detection(score, to_picture(values[:2], region).reshape(4), to_picture(values[2:], region))
        for score, values in found
    ]


@cache
def anchors(network: str) -> FloatArray:
    """[N, 2] middles of the anchors."""
    rows = []
    for cells, times in _ANCHORS[network]:
        y, x = np.mgrid[:cells, :cells]
        rows.append(np.repeat((np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells, times, axis=0))
    return np.concatenate(rows).astype(np.float32)


def decode(raw: FloatArray, middles: FloatArray, side: int) -> FloatArray:
    """Proposals [N, 8, 2]: two corners of the box and six points.

    Args:
        raw: [N, 16] middle and size of the box, then the points, all x before y, in pixels from the anchor's middle.
        middles: [N, 2] of the anchors.
        side: of the network's picture.
    """
    values = raw.reshape(-1, 8, 2) / np.float32(side)
    half = values[:, 1] / 2
    middle = values[:, 0] + middles
    corners = np.stack([middle - half, middle + half], axis=1)
    return np.concatenate([corners, values[:, 2:] + middles[:, None]], axis=1)


def merge(proposals: FloatArray, scores: NDArray[np.floating]) -> list[tuple[float, FloatArray]]:
    """Weighted suppression: the surest proposal takes in all that overlap it, averaged by score; then the next.

    Args:
        proposals: [N, 8, 2]; those with sides below zero are left out.
        scores: [N].

    Returns:
        score of the surest and values [8, 2] of each face.
    """
    whole = (proposals[:, 1] >= proposals[:, 0]).all(1)
    rest = np.flatnonzero(whole)
    rest = rest[np.argsort(-scores[rest], kind="stable")]
    faces = []
    while len(rest):
        same = _overlap(proposals[rest, :2], proposals[rest[0], :2]) > _SAME_FACE
        # A box without an area overlaps nothing, itself included.
        same[0] = True
        weights = scores[rest[same], None, None]
        faces.append((float(scores[rest[0]]), (proposals[rest[same]] * weights).sum(0) / weights.sum()))
        rest = rest[~same]
    return faces


def _overlap(boxes: FloatArray, box: FloatArray) -> FloatArray:
    """Intersection over union of boxes [N, 2, 2] with one [2, 2]."""
    shared = (np.minimum(boxes[:, 1], box[1]) - np.maximum(boxes[:, 0], box[0])).clip(0).prod(1)
    union = (boxes[:, 1] - boxes[:, 0]).prod(1) + (box[1] - box[0]).prod() - shared
    return shared / np.maximum(union, np.finfo(np.float32).tiny)


class BlazeFaceDetector:
    """Boxes of all faces, near and far ones, by both networks. See `analysis.tracker.FaceDetector`."""

    def __enter__(self) -> BlazeFaceDetector:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def boxes(self, image: ByteArray) -> FloatArray:
        """[N, 4] boxes (x0, y0, x1, y1) in pixels of the RGB image, the largest first."""
        return _merge_boxes(np.array([found.box for found in self._faces(image)], np.float32).reshape(-1, 4))

    def score(self, image: ByteArray) -> float:
        """How sure it is of the face it is surest of, 0 to 1; 0 if there is none."""
        return max((found.score for found in self._faces(image)), default=0.0)

    def _faces(self, image: ByteArray) -> list[Detection]:
        return [found for network in (NEAR, FAR) for found in detect(network, image)]


def _merge_boxes(boxes: FloatArray) -> FloatArray:
    """Drop boxes that overlap a larger one by half of their own area; the largest first."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for index in np.argsort(-area, kind="stable"):
        low = np.maximum(boxes[kept, :2], boxes[index, :2])
        high = np.minimum(boxes[kept, 2:], boxes[index, 2:])
        overlap = np.prod(np.clip(high - low, 0, None), axis=-1)
        if not (overlap > 0.5 * area[index]).any():
            kept.append(int(index))
    return boxes[kept]
