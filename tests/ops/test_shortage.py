"""Too little memory, too few threads: an exception or a slower result, never the end of the process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space"),
    pytest.mark.skipif("GENEFACE_SANITIZE" in os.environ, reason="sanitizers end the process when memory is short"),
]
LIMIT = """
import os, resource
import numpy as np
from geneface import ops
def leave(megabytes):
    used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, resource.RLIM_INFINITY))
image = np.full((2048, 2048, 3), 0.5, np.float32)
ops.set_threads(1)
expected = ops.to_uint8(image)
"""


def run(program: str) -> str:
    result = subprocess.run([sys.executable, "-c", LIMIT + program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_loss_without_room_for_its_gradient_is_an_error():
    program = """
leave(30)  # the gradient takes 50 MB
try:
    ops.image_loss(image, image)
except MemoryError:
    print("refused")
leave(1000)
print(ops.image_loss(image, image)[0] < 1e-6)
"""
    assert run(program).split() == ["refused", "True"]


@pytest.mark.slow
def test_threads_that_the_machine_refuses_are_done_without():
    program = """
small = image[:256, :256].copy()
ops.set_threads(256)
leave(200)  # a thread's stack takes 8 MB of address space
ops.to_uint8(small)
leave(1000)
assert (ops.to_uint8(image) == expected).all()
print(1 < len(os.listdir("/proc/self/task")) < 200)
"""
    assert run(program).split() == ["True"]
