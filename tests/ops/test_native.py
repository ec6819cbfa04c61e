"""Dispatch, threads and checks of the compiled module."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from geneface import ops
from geneface.types import Camera

from .scenes import Scene, make_scene

CAMERA = Camera(2.0, 32, 32)


def everything(scene: Scene) -> list[np.ndarray]:
    """One training step; every array that a kernel wrote."""
    splats = ops.project(*scene.layer, *scene.view)
    output = ops.rasterize(splats, *scene.size, scene.background)
    loss, grad_image = ops.image_loss(output.image, scene.target, scene.weight)
    grad = ops.rasterize_backward(output, grad_image, scene.grad_transmittance)
    gradients = ops.project_backward(scene.base, splats, grad, scene.dynamic, *scene.view)
    base, basis = scene.base.copy(), scene.basis.copy()
    ops.adam(base, gradients.base, np.zeros_like(base), np.zeros_like(base), step=1, lr=0.01)
    ops.adam_basis(
        basis, gradients.dynamic, scene.condition, np.zeros_like(basis), np.zeros_like(basis), step=1, lr=0.01
    )
    scalars = np.array([loss, *gradients.pose])
    return [splats.values, output.image, output.transmittance, grad_image, grad, base, basis, scalars]


@pytest.fixture(scope="module")
def large_scene():
    return make_scene(gaussians=3000, dynamic=1500, width=130, height=97).single()


@pytest.mark.usefixtures("instruction_set", "all_threads")
def test_results_do_not_depend_on_threads(large_scene: Scene):
    ops.set_threads(1)
    alone = everything(large_scene)
    for threads in (2, 3, 7):
        ops.set_threads(threads)
        for _ in range(3):
            for one, many in zip(alone, everything(large_scene), strict=True):
                np.testing.assert_array_equal(one, many)


def at_once(work: Callable[[], object], callers: int = 4) -> list:
    """Results of several threads that do the same."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == callers
    return results


@pytest.mark.usefixtures("instruction_set", "all_threads")
def test_several_callers_at_once(large_scene: Scene):
    ops.set_threads(3)
    alone = everything(large_scene)
    for runs in at_once(lambda: [everything(large_scene) for _ in range(3)]):
        for run in runs:
            for one, many in zip(alone, run, strict=True):
                np.testing.assert_array_equal(one, many)


def test_one_output_serves_several_callers(large_scene: Scene):
    output = ops.rasterize(ops.project(*large_scene.layer, *large_scene.view), *large_scene.size)
    grads = at_once(lambda: ops.rasterize_backward(output, large_scene.grad_image))
    for grad in grads:
        np.testing.assert_array_equal(grad, grads[0])


@pytest.mark.slow
@pytest.mark.usefixtures("instruction_set", "all_threads")
def test_settings_may_change_while_kernels_run(large_scene: Scene):
    def work() -> None:
        for turn, name in enumerate(ops.available_instruction_sets() * 3):
            ops.use_instruction_set(name)
            ops.set_threads(1 + turn % 3)
            everything(large_scene)

    at_once(work)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.usefixtures("instruction_set", "all_threads")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_its_own_pool(large_scene: Scene):
    ops.set_threads(2)
    alone = everything(large_scene)
    child = os.fork()
    if child == 0:  # only the exit status comes back
        same = all(np.array_equal(one, other) for one, other in zip(alone, everything(large_scene), strict=True))
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.slow
def test_the_environment_forces_an_instruction_set():
    script = "from geneface import ops; print(ops.instruction_set())"
    for name in ops.available_instruction_sets():
        environment = {**os.environ, "GENEFACE_ISA": name}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == name
    environment = {**os.environ, "GENEFACE_ISA": "mmx"}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert run.returncode != 0 and "no instruction set GENEFACE_ISA=mmx" in run.stderr


def test_instruction_sets_start_with_portable():
    assert ops.available_instruction_sets()[0] == "portable"
    with pytest.raises(ValueError, match="mmx"):
        ops.use_instruction_set("mmx")


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_impossible_thread_counts_are_refused(threads):
    with pytest.raises(ValueError):
        ops.set_threads(threads)


def array(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def raster_output() -> ops.RasterOutput:
    return ops.rasterize(ops.Splats(array(11, 3), array(4, 3, dtype=np.int32)), 32, 32)


POSE = np.eye(3, dtype=np.float32), array(3)
LAYER = array(14, 5), array(2, 7, 3), array(2)
WRONG_CALLS = {
    "rows": (ValueError, lambda: ops.project(array(13, 5), *LAYER[1:], *POSE, CAMERA)),
    "double": (TypeError, lambda: ops.project(array(14, 5, dtype=np.float64), *LAYER[1:], *POSE, CAMERA)),
    "list": (TypeError, lambda: ops.project([[0.0] * 5] * 14, *LAYER[1:], *POSE, CAMERA)),  # type: ignore[arg-type]
    "strided": (ValueError, lambda: ops.project(array(14, 10)[:, ::2], *LAYER[1:], *POSE, CAMERA)),
    "too dynamic": (ValueError, lambda: ops.project(LAYER[0], array(2, 7, 6), LAYER[2], *POSE, CAMERA)),
    "condition": (ValueError, lambda: ops.project(*LAYER[:2], array(3), *POSE, CAMERA)),
    "pose": (ValueError, lambda: ops.project(*LAYER, array(3), array(3), CAMERA)),
    "no width": (ValueError, lambda: ops.project(*LAYER, *POSE, Camera(2.0, 0, 32))),
    "too high": (ValueError, lambda: ops.project(*LAYER, *POSE, Camera(2.0, 32, 100_000))),
    "focal": (ValueError, lambda: ops.project(*LAYER, *POSE, Camera(float("nan"), 32, 32))),
    "label": (ValueError, lambda: ops.project(*LAYER, *POSE, CAMERA, label=array(4))),
    "out": (ValueError, lambda: ops.project(*LAYER, *POSE, CAMERA, out=ops.Splats.empty(4))),
    "out dtype": (TypeError, lambda: ops.project(*LAYER, *POSE, CAMERA, out=ops.Splats.empty(5, np.float64))),
    "bounds": (ValueError, lambda: ops.rasterize(ops.Splats(array(11, 3), array(4, 2, dtype=np.int32)), 8, 8)),
    "background": (ValueError, lambda: ops.rasterize(ops.Splats.empty(0), 8, 8, array(8, 7, 3))),
    "image gradient": (ValueError, lambda: ops.rasterize_backward(raster_output(), array(32, 32, 3))),
    "grad_transmittance": (
        ValueError,
        lambda: ops.rasterize_backward(raster_output(), array(32, 32, 4), array(31, 32)),
    ),
    "state": (
        TypeError,
        lambda: ops.rasterize_backward(ops.RasterOutput(array(4, 4, 4), array(4, 4), None), array(4, 4, 4)),
    ),
    "other image": (
        ValueError,
        lambda: ops.rasterize_backward(
            ops.RasterOutput(array(4, 4, 4), array(4, 4), raster_output().state), array(4, 4, 4)
        ),
    ),
    "dynamic_count": (
        ValueError,
        lambda: ops.project_backward(LAYER[0], ops.Splats.empty(5), array(9, 5), 6, *POSE, CAMERA),
    ),
    "grad_splats": (
        ValueError,
        lambda: ops.project_backward(LAYER[0], ops.Splats.empty(5), array(9, 4), 3, *POSE, CAMERA),
    ),
    "adam": (ValueError, lambda: ops.adam(array(3, 4), array(3, 4), array(3, 4), array(3, 5), step=1, lr=0.1)),
    "adam_basis": (
        ValueError,
        lambda: ops.adam_basis(LAYER[1], array(7, 3), array(1), array(2, 7, 3), array(2, 7, 3), step=1, lr=0.1),
    ),
    "target": (ValueError, lambda: ops.image_loss(array(32, 32, 3), array(32, 31, 3))),
    "weight": (ValueError, lambda: ops.image_loss(array(32, 32, 3), array(32, 32, 3), array(32, 31))),
    "too wide": (ValueError, lambda: ops.image_loss(array(1, 8193, 3), array(1, 8193, 3), dssim=0.0)),
    "grey": (ValueError, lambda: ops.image_loss(array(32, 32), array(32, 32))),
    "negative weight": (ValueError, lambda: ops.image_loss(array(32, 32, 3), array(32, 32, 3), l1=-1.0)),
    "bytes": (TypeError, lambda: ops.to_uint8(array(4, 4, 3, dtype=np.uint8))),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_wrong_calls_are_refused(name):
    error, call = WRONG_CALLS[name]
    with pytest.raises(error):
        call()
