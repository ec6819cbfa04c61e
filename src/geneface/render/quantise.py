"""Storing parameters compactly: integers with one scale (and offset) a row. Arrays [..., N], a row is the last axis."""

from __future__ import annotations

import numpy as np

from geneface.types import FloatArray


def to_uint16(values: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Map every row's own range onto 0..65535. [..., N] -> codes [..., N] uint16, (offset, step) [..., 2]."""
    low, high = values.min(-1), values.max(-1)
    step = np.maximum(high - low, 1e-12) / 65535
    codes = np.round((values - low[..., None]) / step[..., None]).clip(0, 65535).astype(np.uint16)
    return codes, np.stack([low, step], -1).astype(np.float32)


def from_uint16(codes: np.ndarray, ranges: FloatArray) -> FloatArray:
    """Invert `to_uint16` to within half a step."""
    return codes.astype(np.float32) * ranges[..., 1:] + ranges[..., :1]


def to_int8(values: FloatArray, percentile: float = 99.9) -> tuple[np.ndarray, FloatArray]:
    """Symmetric integers. [..., N] -> codes [..., N] int8, step [...].

    Args:
        values: bases of offsets; few are large.
        percentile: magnitudes above it are clipped, so that one outlier does not coarsen a whole row.
    """
    step = np.maximum(np.percentile(np.abs(values), percentile, axis=-1), 1e-12) / 127
    codes = np.round(values / step[..., None]).clip(-127, 127).astype(np.int8)
    return codes, step.astype(np.float32)


def from_int8(codes: np.ndarray, step: FloatArray) -> FloatArray:
    """Invert `to_int8` to within half a step (clipped values excepted)."""
    return codes.astype(np.float32) * step[..., None]
