"""Arrays of a pickle file, read without unpickling.

A pickle is a program for a small stack machine, and Python's reader runs whatever functions the program names. Here the
program is taken apart by `pickletools`, which executes nothing, and the few instructions that a dictionary of numpy
arrays is made of are carried out by this file. Three names may occur, numpy's array, its type and the function that
makes an empty array; they stand for values of this file, and nothing of numpy is called with what the file says but
`frombuffer` with checked sizes. Everything else is refused.
"""

from __future__ import annotations

import math
import pickletools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ARRAY, _TYPE, _EMPTY = "numpy ndarray", "numpy dtype", "numpy empty"
_NAMES = {
    "numpy ndarray": _ARRAY,
    "numpy dtype": _TYPE,
    "numpy.core.multiarray _reconstruct": _EMPTY,
    "numpy._core.multiarray _reconstruct": _EMPTY,
}
"""What a file may name -> what it means here; numpy 2 moved one of them."""
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = ("BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "BININT", "BININT1", "BININT2")
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = ("PROTO", "STOP")
_TYPES = ("f2", "f4", "f8")
_TYPE_STATE = (3, "<", None, None, None, -1, -1, 0)
"""What numpy says of a plain little-endian type."""
_DEEPEST = 8


class NotArraysError(ValueError):
    """The file is damaged, or holds something else than arrays."""


@dataclass(frozen=True)
class _Name:
    """Something of numpy's that the file refers to."""

    meaning: str


@dataclass
class _Type:
    """A type of numbers: its code, once its byte order is known to be ours."""

    code: str
    is_complete: bool = False


@dataclass
class _Array:
    """An array that is being built."""

    values: NDArray[Any] | None = None


@dataclass
class _Machine:
    """The stack machine, as far as arrays in dictionaries need it."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, program: bytes) -> Any:
        """Carry the program out; what is left on the stack is the result."""
        for instruction, argument, _ in pickletools.genops(program):
            self._step(instruction.name, argument)
        if len(self.stack) != 1 or self.marks:
            raise NotArraysError("the pickle ends early")
        return self.stack[0]

    def _step(self, name: str, argument: Any) -> None:
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name == "EMPTY_DICT":
            self.stack.append({})
        elif name == "MARK":
            self.marks.append(len(self.stack))
        elif name in _TUPLES:
            self.stack.append(tuple(self._pop(_TUPLES[name])))
        elif name == "TUPLE":
            self.stack.append(tuple(self._pop_to_mark()))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(_named(argument))
        elif name == "SETITEM":
            self._set_items(self._pop(2))
        elif name == "SETITEMS":
            self._set_items(self._pop_to_mark())
        elif name == "REDUCE":
            self.stack.append(_called(*self._pop(2)))
        elif name == "BUILD":
            _fill(*self._pop(2, keep=1))
        elif name not in _IGNORED:
            raise NotArraysError(f"the pickle uses {name}, which arrays don't need")

    def _pop(self, count: int, keep: int = 0) -> list[Any]:
        """The last values; the first `keep` of them also stay."""
        if len(self.stack) < count:
            raise NotArraysError("the pickle takes more than it has")
        start = len(self.stack) - count
        values = self.stack[start:]
        del self.stack[start + keep :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def _set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise NotArraysError("the pickle fills something that is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str):
                raise NotArraysError("a name in the pickle is no text")
            target[key] = value


def read_pickled_arrays(program: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a pickled dictionary, of dictionaries inside it too: "outer/inner" -> array.

    Args:
        program: a pickle file; little-endian arrays of float16, float32 or float64.

    Raises:
        NotArraysError: it is damaged, or holds anything else.
    """
    try:
        content = _Machine().run(program)
    except NotArraysError:
        raise
    # What pickletools and the lists above make of a damaged file.
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise NotArraysError(f"the pickle is damaged: {error}") from error
    found: dict[str, NDArray[Any]] = {}
    _collect(content, "", found, _DEEPEST)
    return found


def _named(name: str) -> _Name:
    if name not in _NAMES:
        raise NotArraysError(f"the pickle names {name.replace(' ', '.')}, which arrays don't need")
    return _Name(_NAMES[name])


def _called(function: Any, arguments: Any) -> _Array | _Type:
    """An empty array or a type: the only calls that there are."""
    if function == _Name(_EMPTY) and arguments == (_Name(_ARRAY), (0,), b"b"):
        return _Array()
    # Python 2's and numpy's older pickles have whole numbers in place of the two truth values.
    if function == _Name(_TYPE) and isinstance(arguments, tuple) and arguments[1:] in ((False, True),):
        if arguments[0] in _TYPES:
            return _Type(arguments[0])
        raise NotArraysError(f"the pickle holds numbers of type {arguments[0]!r}")
    raise NotArraysError("the pickle calls something else than numpy's array")


def _fill(target: Any, state: Any) -> None:
    """Give a type its byte order, an array its numbers."""
    if isinstance(target, _Type) and state == _TYPE_STATE:
        target.is_complete = True
    elif isinstance(target, _Array) and target.values is None:
        target.values = _numbers(*state)
    else:
        raise NotArraysError("the pickle fills something that is no array")


def _numbers(version: Any, shape: Any, kind: Any, is_fortran: Any, data: Any) -> NDArray[Any]:
    sides_known = isinstance(shape, tuple) and all(isinstance(side, int) and side >= 0 for side in shape)
    if version != 1 or not sides_known or not isinstance(kind, _Type) or not isinstance(data, bytes):
        raise NotArraysError("an array in the pickle is not described as numpy does")
    number = np.dtype(f"<{kind.code}")
    if not kind.is_complete or len(data) != math.prod(shape) * number.itemsize:
        raise NotArraysError("an array in the pickle has more or fewer numbers than its shape says")
    return np.frombuffer(data, number).reshape(shape, order="F" if is_fortran is True else "C")


def _collect(content: Any, name: str, found: dict[str, NDArray[Any]], depth: int) -> None:
    if isinstance(content, _Array) and content.values is not None:
        found[name] = content.values
    elif isinstance(content, dict) and depth:
        for key, value in content.items():
            _collect(value, f"{name}/{key}" if name else key, found, depth - 1)
    else:
        raise NotArraysError("the pickle holds something else than arrays in dictionaries")
