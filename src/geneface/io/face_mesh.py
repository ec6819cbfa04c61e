"""The face mesh as a surface: triangles over MediaPipe's mesh points, and a mean face.

The data are computed, not copied: triangles are the 3-cliques of FaceMesh's edges without the two that enclose
others; the holes of the eyes and the mouth are closed by strips between upper and lower lid or lip; the mean face
is the mean of neutral faces that `pose.solve_head_poses` measured on four people. All triangles turn
counterclockwise as seen from the front.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.io.assets import asset_path
from geneface.io.records import read_json
from geneface.types import FloatArray


@cache
def _data() -> dict[str, Any]:
    return read_json(asset_path("face_mesh.json"))


def mesh_triangles(fill_holes: bool = True) -> NDArray[np.int64]:
    """Triangles of the face as mesh indices (0-467).

    Args:
        fill_holes: close the eyes and the mouth too.

    Returns:
        [898, 3], or [852, 3] with the eyes and the mouth left open; the 852 come first.
    """
    surface = np.array(_data()["surface"], np.int64)
    return np.concatenate([surface, np.array(_data()["holes"], np.int64)]) if fill_holes else surface


def mean_face() -> FloatArray:
    """A mean neutral face [478, 3] in the head frame (head units)."""
    return np.array(_data()["mean_face"], np.float32)
