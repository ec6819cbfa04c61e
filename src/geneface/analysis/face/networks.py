"""The networks' sessions: one of each in a process, however many trackers there are. One thread each."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from geneface.io.assets import asset_path
from geneface.io.session import open_session
from geneface.types import ByteArray, FloatArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@cache
def _session(name: str) -> InferenceSession:
    return open_session(asset_path("tracker", f"{name}.onnx"), remedy="reinstall geneface")


@cache
def input_side(name: str) -> int:
    """The side of the square picture that a network takes, in pixels."""
    return _session(name).get_inputs()[0].shape[-1]


def run(name: str, planes: ByteArray) -> list[FloatArray]:
    """What a network makes of a picture [3, S, S]: boxes and scores, mesh and presence, or a matte.

    Raises:
        InputError: the file of the network is missing or damaged.
    """
    return [np.asarray(values) for values in _session(name).run(None, {"image": planes[None]})]
