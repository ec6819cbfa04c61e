"""Face found: whether the tracker sees a face at all, without which lips, sync and jitter are not measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from geneface.evaluation.schema import MetricDefinition

FOUND_KEY = "face_found_share"
MIN_FOUND_SHARE = 0.5
"""Runs of frames with less are left out of a row's lips, sync and jitter."""
DEFINITIONS = {
    FOUND_KEY: MetricDefinition(
        title="Face found",
        unit="share",
        direction="higher",
        description="Share of the frames in which the tracker found a face; runs with less than half are left out of "
        "the row's lips, sync and jitter.",
    ),
}


def found_share(found: Sequence[NDArray[np.bool_]]) -> float:
    """Share over all clips of the frames [F] in which a face was found; nan of none."""
    return float(np.concatenate(found).mean()) if found else float("nan")
