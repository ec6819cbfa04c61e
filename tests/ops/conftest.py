"""A scene at awkward sizes, and a run of every test for each instruction set."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from geneface import ops
from geneface.ops.native import kernels

from .scenes import Scene, make_scene


@pytest.fixture(scope="session")
def scene() -> Scene:
    return make_scene()


@pytest.fixture(params=ops.available_instruction_sets())
def instruction_set(request: pytest.FixtureRequest) -> Iterator[str]:
    before = ops.instruction_set()
    ops.use_instruction_set(request.param)
    yield request.param
    ops.use_instruction_set(before)


@pytest.fixture
def float_networks(instruction_set: str) -> None:
    """For tests that compare a radiance field with what is computed without rounding."""
    if kernels().half_network():
        pytest.skip(f"{instruction_set} rounds networks to bfloat16; test_half.py compares it with rounded sums")


@pytest.fixture
def all_threads() -> Iterator[None]:
    before = ops.threads()
    yield
    ops.set_threads(before)
