"""What judges need of a shot's small pictures, gathered once: flat faces, and where the camera points. In workers.

v counts the pictures that `follow` keeps, one each `VIEW_FRAMES` frames; T texels a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.tracker import open_segmenter
from geneface.io.tensors import TensorFile, save_tensors
from geneface.portrait.camera_motion import CameraPath, camera_path
from geneface.portrait.follow import VIEW_FRAMES, load_followed, load_views
from geneface.portrait.sittings import colours
from geneface.portrait.unwrap import unwrap
from geneface.types import ByteArray


@dataclass(frozen=True)
class ClueTask:
    """One shot that was followed."""

    folder: str
    """Where its chunks are, and the clues go."""
    frames: int
    region: tuple[int, int, int, int]


@dataclass(frozen=True)
class Clues:
    """What `gather_clues` found."""

    faces: ByteArray
    """[v, T, T, 3]"""
    found: NDArray[np.bool_]
    """[v] whether there was a face to lay flat."""
    camera: CameraPath
    colours: NDArray[np.float64]
    """[2, 3] of face and clothes, see `sittings.colours`."""


def gather_clues(task: ClueTask) -> None:
    """Write a shot's clues, unless they are there."""
    path = _path(task.folder)
    if path.exists():
        return
    views = load_views(Path(task.folder), task.frames)
    followed = load_followed(Path(task.folder), task.frames)
    x0, y0, x1, _ = task.region
    scale = views.shape[2] / (x1 - x0)
    meshes = (followed.mesh_px[::VIEW_FRAMES] - np.array([x0, y0, 0], np.float32)) * np.float32(scale)
    found = followed.found[::VIEW_FRAMES]
    with open_segmenter() as segmenter:
        mattes = np.stack([np.round(segmenter.matte(view) * 255).astype(np.uint8) for view in views])
    camera = camera_path(views, mattes)
    save_tensors(
        path,
        {
            "faces": unwrap(views, meshes),
            "colours": colours(views[found], meshes[found]),
            "found": found,
            "place": camera.place,
            "known": camera.known,
        },
    )


def load_clues(folder: Path) -> Clues:
    """What `gather_clues` left in a shot's folder."""
    file = TensorFile(_path(folder))
    camera = CameraPath(file.get("place"), file.get("known").astype(bool))
    return Clues(file.get("faces"), file.get("found").astype(bool), camera, file.get("colours"))


def _path(folder: Path | str) -> Path:
    return Path(folder) / "clues.safetensors"
