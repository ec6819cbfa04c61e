"""Random arguments: sizes that lie around the kernels' steps, numbers with traps among them, and ways to spoil both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

TRAPS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, 1e-30, 1e30, 3.4e38, -3.4e38], np.float32)
LENGTHS = (0, 1, 2, 5, 15, 16, 17, 31, 33, 257, 511, 512, 513, 1025, 2049)
"""Around the lanes of a vector and the lengths of tasks."""
SIDES = (1, 2, 10, 11, 15, 16, 17, 33, 50, 130)
"""Pixels: around tiles, and the window of SSIM."""
ODD_NUMBERS: tuple[Any, ...] = (
    *(float("nan"), float("inf"), -float("inf"), -1, 0, -0.0, 1, 2.5, 1e-300, 1e300, 3.5e38),
    *(8193, 2**31 - 1, 2**31, 2**63, -(2**31), 10**400, 1j, True, None, "3", b"3", (), [1, 2], {}, object),
    *(np.float64(0.5), np.int64(7), np.array([5.0]), np.array([3]), np.zeros(3), np.array("x"), np.float32),
)
HUGE_BYTES = 3 * 10**8


class Draw:
    """A source of random arguments."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def integer(self, low: int, high: int) -> int:
        """Both ends may come."""
        return int(self.random.integers(low, high + 1))

    def choice(self, options: Any) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def length(self) -> int:
        return 60_000 if self.chance(0.005) else self.choice(LENGTHS)

    def side(self, low: int = 1) -> int:
        return max(low, 1500 if self.chance(0.005) else self.choice(SIDES))

    def floats(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        """Normal numbers; in every third array some are NaN, infinite, tiny or huge."""
        values = self.random.standard_normal(shape, np.float32) * np.float32(scale)
        if self.chance(0.33):
            places = self.random.random(shape) < self.choice((0.01, 0.2, 1.0))
            values[places] = self.random.choice(TRAPS, int(places.sum()))
        return values

    def spoiled(self, value: Any) -> Any:
        """Something else in the place of an argument; now and then it is still a right one."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type) and self.chance(0.9):
            name = self.choice([field.name for field in dataclasses.fields(value)])
            return dataclasses.replace(value, **{name: self.spoiled(getattr(value, name))})
        if isinstance(value, np.ndarray) and self.chance(0.95):
            return self.choice(ARRAY_SPOILERS)(self, value)
        return self.choice(ODD_NUMBERS)


def other_type(draw: Draw, array: np.ndarray) -> Any:
    with np.errstate(all="ignore"):
        return array.astype(draw.choice(("f2", "f8", "c8", "i4", "u1", "?", ">f4", "O", "S4")))


def other_length(draw: Draw, array: np.ndarray) -> Any:
    if not array.ndim:
        return array.reshape(1)
    shape = list(array.shape)
    shape[draw.integer(0, array.ndim - 1)] = draw.choice((0, 1, 2, 3, 4, 7, 9, 11, 14, 50))
    return np.resize(array, shape) if array.size else np.zeros(shape, array.dtype)


def other_axes(draw: Draw, array: np.ndarray) -> Any:
    ways: tuple[Callable[[], Any], ...] = (
        lambda: array[None],
        lambda: array[..., None],
        lambda: array.ravel(),
        lambda: array.T,
        lambda: array.sum(),
    )
    with np.errstate(all="ignore"):
        return draw.choice(ways)()


def strided(draw: Draw, array: np.ndarray) -> Any:
    """The same shape over other memory: gaps, backwards, one value for all, columns first."""
    if not array.ndim:
        return array
    axis = draw.integer(0, array.ndim - 1)
    ways: tuple[Callable[[], Any], ...] = (
        lambda: np.repeat(array, 2, axis)[(slice(None),) * axis + (slice(None, None, 2),)],
        lambda: np.flip(np.flip(array, axis).copy(), axis),
        lambda: np.broadcast_to(array[(slice(None),) * axis + (slice(0, 1),)], array.shape) if array.size else array,
        lambda: np.lib.stride_tricks.as_strided(array, array.shape, (0,) * array.ndim),
        lambda: np.asfortranarray(array),
        lambda: np.concatenate([array, array], axis)[(slice(None),) * axis + (slice(array.shape[axis] // 2, None),)],
    )
    return draw.choice(ways)()


def misaligned(draw: Draw, array: np.ndarray) -> Any:
    memory = np.zeros(array.nbytes + 8, np.uint8)[draw.integer(1, 3) :][: array.nbytes]
    if array.nbytes:
        memory[:] = np.frombuffer(array.tobytes(), np.uint8)
    return memory.view(array.dtype).reshape(array.shape)


def read_only(draw: Draw, array: np.ndarray) -> Any:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def other_class(draw: Draw, array: np.ndarray) -> Any:
    ways: tuple[Callable[[], Any], ...] = (
        array.tolist,
        lambda: array.data,
        lambda: np.ma.masked_invalid(array),
        lambda: array.view(np.recarray),
        lambda: array.tobytes(),
    )
    return draw.choice(ways)()


def huge(draw: Draw, array: np.ndarray) -> Any:
    """Lengths that overflow counters: no bytes at all, or many."""
    if not array.ndim:
        return array
    shape = list(array.shape)
    axis = draw.integer(0, array.ndim - 1)
    others = int(np.prod(shape[:axis] + shape[axis + 1 :]))
    shape[axis] = draw.choice((2**31 - 1, 2**31, 2**32, 2**40)) if others == 0 else HUGE_BYTES // others // 4
    if others and draw.chance(0.5):
        shape[(axis + 1) % array.ndim], shape[axis] = 0, 2**31 - 1
    return np.zeros(shape, array.dtype)


ARRAY_SPOILERS: tuple[Callable[[Draw, np.ndarray], Any], ...] = (
    *(other_type, other_length, other_axes, strided, strided, misaligned, read_only, other_class, huge),
)
