"""Loads the compiled kernels and checks what is handed to them."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

from geneface.errors import InputError

FLOAT_MAX = float(np.finfo(np.float32).max)
"""Largest number that a kernel can be given."""


@cache
def kernels() -> ModuleType:
    """The compiled module, loaded at the first call: the reference works without it.

    The environment's GENEFACE_ISA chooses an instruction set; otherwise it is the best that the machine has.
    """
    try:
        module = importlib.import_module("geneface._native")
    except ImportError as fault:
        raise InputError(f"the compiled kernels cannot be loaded ({fault})", "reinstall with: pip install .") from fault
    wanted = os.environ.get("GENEFACE_ISA")
    if wanted:
        names = module.available_instruction_sets()
        if wanted not in names:
            raise InputError(
                f"this machine has no instruction set GENEFACE_ISA={wanted}", f"use one of {', '.join(names)}"
            )
        module.use_instruction_set(wanted)
    return module


def instruction_set() -> str:
    """Name of the instruction set in use: portable, avx2, avx512 or avx512bf16."""
    return kernels().instruction_set()


def available_instruction_sets() -> tuple[str, ...]:
    """Instruction sets that this machine can run, slowest first."""
    return tuple(kernels().available_instruction_sets())


def use_instruction_set(name: str) -> None:
    """Switch all kernels of this process, for tests and measurements."""
    if name not in available_instruction_sets():
        raise ValueError(f"instruction set {name!r} is not one of {', '.join(available_instruction_sets())}")
    kernels().use_instruction_set(name)


def multiply_peak(rounds: int, *, halves: bool) -> int:
    """Keep all threads busy with multiply-adds that need no memory, for measurements.

    Args:
        rounds: 1 to 2^24; a thousand take some microseconds.
        halves: bfloat16 dot products, where this instruction set's networks use them, instead of float32.

    Returns:
        Operations done: two for each multiply-add.
    """
    if not 1 <= rounds <= 1 << 24:
        raise ValueError(f"rounds must be between 1 and 2^24, not {rounds}")
    return kernels().peak(threads(), rounds, halves)


def threads() -> int:
    """Number of threads that kernels use."""
    return kernels().threads()


def set_threads(count: int) -> None:
    """Use `count` threads, 1 to 256. The default is the number of processors this process may use."""
    if not 1 <= count <= 256:
        raise ValueError(f"threads must be between 1 and 256, not {count}")
    kernels().set_threads(count)


def _fits(have: tuple[int, ...], want: tuple[int | None, ...]) -> bool:
    # A list, not a generator, which is slower: a training step asks nearly a hundred times.
    return list(have) == [length if wanted is None else wanted for length, wanted in zip(have, want, strict=True)]


def check(name: str, array: Any, shape: tuple[int | None, ...], dtype: Any = np.float32) -> None:
    """Refuse an array that is not of this dtype, this shape (None: any length), aligned and C-contiguous."""
    check_columns(name, array, shape, dtype)
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous")


def check_columns(name: str, array: Any, shape: tuple[int | None, ...], dtype: Any = np.float32) -> None:
    """Like `check`, but a run of columns of a larger contiguous array is welcome, too."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a numpy array, not {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype).name}, not {array.dtype.name}")
    if array.ndim != len(shape) or not _fits(array.shape, shape):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape [{wanted}], not {list(array.shape)}")
    if not array.flags.aligned:
        raise ValueError(f"{name} must be aligned in memory")
    if array.flags.c_contiguous:
        return
    item = array.itemsize
    apart = array.shape[-1] > 1 and array.strides[-1] != item
    if array.size and (apart or any(stride % item or stride < 0 for stride in array.strides)):
        raise ValueError(f"the columns of {name} must be neighbours in memory")


def check_kind(name: str, value: Any, kind: type) -> None:
    """Refuse an object of another class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")


def as_floats(name: str, values: Any) -> np.ndarray:
    """Real numbers as a float32 array that kernels can read; a copy only where it has to be."""
    array = np.asarray(values)
    if array.dtype.kind not in "buif":
        raise TypeError(f"{name} must hold real numbers, not {array.dtype.name}")
    return np.require(array, np.float32, ["C_CONTIGUOUS", "ALIGNED"])


def check_size(width: int, height: int) -> None:
    """Refuse an image size that is not 1 to 8192 on each side."""
    for name, size in (("width", width), ("height", height)):
        if not 1 <= size <= 8192:
            raise ValueError(f"{name} must be between 1 and 8192 pixels, not {size}")
