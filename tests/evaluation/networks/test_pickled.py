"""Arrays of pickles, against Python's own reader; and what must not be read."""

from __future__ import annotations

import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.evaluation.networks.pickled import NotArraysError, read_pickled_arrays

RNG = np.random.default_rng(3)
ARRAYS = {
    "net": {
        "kernel": RNG.normal(size=(3, 2, 4)).astype(np.float32),
        "turned": np.asfortranarray(RNG.normal(size=(5, 300))),
        "half": RNG.normal(size=70).astype(np.float16),
    },
    "none": np.zeros((0, 3), np.float32),
    "number": np.array(2.5),
}


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_come_out_as_they_went_in(module: str) -> None:
    program = pickle.dumps(ARRAYS, protocol=3)
    for name in (b"numpy._core.multiarray", b"numpy.core.multiarray"):
        program = program.replace(b"c" + name + b"\n", b"c" + module.encode() + b"\n")
    found = read_pickled_arrays(program)
    assert list(found) == ["net/kernel", "net/turned", "net/half", "none", "number"]
    for name, values in found.items():
        expected: Any = ARRAYS
        for part in name.split("/"):
            expected = expected[part]
        assert values.dtype == expected.dtype
        np.testing.assert_array_equal(values, expected)


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_is_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    program = pickle.dumps({**ARRAYS, "x": Payload(marker)}, protocol=protocol)
    with pytest.raises(NotArraysError):
        read_pickled_arrays(program)
    assert not marker.exists()
    pickle.loads(program)
    assert marker.exists(), "the payload would have worked"


@pytest.mark.parametrize(
    "content",
    [
        3,
        "text",
        [np.ones(3)],
        {"x": 1.5},
        {"x": np.array([object()])},
        {"x": np.arange(3)},
        {"x": np.ones(3, ">f4")},
        {"x": np.ones(3, "c8")},
        {"x": np.array(["text"])},
        {"x": np.zeros(2, [("a", "f4")])},
        {3: np.ones(3)},
        {"x": np.dtype("f4")},
        {"x": np.ndarray},
        {"x": None},
        {"x": {"x": {"x": {"x": {"x": {"x": {"x": {"x": {"x": np.ones(1)}}}}}}}}},
    ],
)
def test_anything_else_is_refused(content: Any) -> None:
    with pytest.raises(NotArraysError):
        read_pickled_arrays(pickle.dumps(content, protocol=3))


def test_a_dictionary_inside_itself_is_refused() -> None:
    content: dict[str, Any] = {}
    content["x"] = content
    with pytest.raises(NotArraysError):
        read_pickled_arrays(pickle.dumps(content, protocol=3))


def test_a_damaged_file_is_refused_or_holds_the_arrays_it_says() -> None:
    """Every byte before the numbers changed in some way, and every cut: never anything but arrays or the one error."""
    program = pickle.dumps({"net": {"a": np.ones(2, np.float32), "b": np.zeros((1, 2), np.float32)}}, protocol=3)
    rng = np.random.default_rng(0)
    spoilt = [program[:cut] for cut in range(len(program))]
    for place in range(len(program)):
        for value in rng.integers(0, 256, 12).tolist():
            spoilt.append(program[:place] + bytes([value]) + program[place + 1 :])
    refused = 0
    for content in spoilt:
        try:
            found = read_pickled_arrays(content)
        except NotArraysError:
            refused += 1
        else:
            assert all(isinstance(values, np.ndarray) and values.dtype.kind == "f" for values in found.values())
    assert refused > len(spoilt) / 2


def test_sizes_that_the_numbers_do_not_have_are_refused() -> None:
    program = pickle.dumps({"a": np.ones((3, 5), np.float32)}, protocol=3)
    # The shape's two small numbers, as instructions.
    assert program.count(b"K\x03K\x05\x86") == 1
    for sides in (b"K\x03K\x06\x86", b"K\xffK\xff\x86", b"J\xff\xff\xff\xffJ\xf1\xff\xff\xff\x86"):
        changed = program.replace(b"K\x03K\x05\x86", sides)
        pickletools.dis(changed, out=open("/dev/null", "w"))  # noqa: SIM115 - a program that can be taken apart
        with pytest.raises(NotArraysError):
            read_pickled_arrays(changed)
