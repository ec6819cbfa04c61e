"""How to call every public function of `geneface.ops`: right arguments, and what the result must look like.

A new function needs an entry here, named like itself; test_fuzz.py insists. It returns all arguments by name, as the
documentation wants them; every second call then has one of them spoiled (__main__.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from geneface import ops
from geneface.ops.types import GRADIENT_ROWS, SPLAT_ROWS
from geneface.types import Camera

from .draw import Draw

Arguments = dict[str, Any]

DATA = {
    "BASE_ROWS",
    "DYNAMIC_ROWS",
    "MAX_LOG_DENSITY",
    "PATCH_RAYS",
    "BatchGradients",
    "Field",
    "FieldFrame",
    "FieldGradients",
    "FieldLoss",
    "FieldScene",
    "ProjectionGradients",
    "RasterOutput",
    "RayBatch",
    "Splats",
}
"""Public names that compute nothing: arguments, results and constants of the functions."""


@dataclass(frozen=True)
class Fuzzer:
    """`arguments` draws a right call, `check` asserts on its result."""

    function: Callable[..., Any]
    arguments: Callable[[Draw], Arguments]
    check: Callable[[Any, Arguments], None]


FUZZERS: dict[str, Fuzzer] = {}
_Drawer = Callable[[Draw], Arguments]


def fuzzer(check: Callable[[Any, Arguments], None]) -> Callable[[_Drawer], _Drawer]:
    """Register the decorated function as the one that draws arguments for the function of its name in `ops`."""

    def register(arguments: _Drawer) -> _Drawer:
        name = arguments.__name__
        FUZZERS[name] = Fuzzer(getattr(ops, name), arguments, check)
        return arguments

    return register


def is_array(array: Any, shape: tuple[Any, ...], dtype: type = np.float32) -> None:
    assert isinstance(array, np.ndarray) and array.shape == shape and array.dtype == dtype, (array, shape)


def nothing(result: Any, given: Arguments) -> None:
    assert result is None


# ---- 3D Gaussians


def _layer(draw: Draw, count: int, dynamic: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    base, conditions = draw.floats(ops.BASE_ROWS, count, scale=0.3), draw.integer(0, 4)
    base[3:6] -= 3
    return base, draw.floats(conditions, len(ops.DYNAMIC_ROWS), dynamic, scale=0.03), draw.floats(conditions)


def _view(draw: Draw) -> Arguments:
    rotation, _ = np.linalg.qr(draw.random.normal(size=(3, 3)))
    translation = np.array([0, 0, -3]) + draw.floats(3, scale=0.1)
    camera = Camera(draw.choice((0.01, 2.5, 1e30)), draw.side(), draw.side())
    return {"rotation": rotation, "translation": translation, "camera": camera}


def _splats(draw: Draw, count: int, width: int, height: int) -> ops.Splats:
    """What `project` makes, or numbers that nothing could have made."""
    if draw.chance(0.5):
        base, _, _ = _layer(draw, count, 0)
        nothing = np.zeros((0, len(ops.DYNAMIC_ROWS), 0), np.float32), np.zeros(0, np.float32)
        return ops.project(base, *nothing, np.eye(3), np.array([0, 0, -3]), Camera(2.0, width, height))
    values = draw.floats(SPLAT_ROWS, count, scale=draw.choice((0.1, 10, 1e4)))
    reach = draw.choice((20, 200, 2**31 - 1))
    return ops.Splats(values, draw.random.integers(-reach, reach, (4, count)).astype(np.int32))


def _check_splats(result: Any, given: Arguments) -> None:
    count = given["base"].shape[1]
    assert isinstance(result, ops.Splats) and len(result) == count
    is_array(result.values, (SPLAT_ROWS, count))
    is_array(result.bounds, (4, count), np.int32)


@fuzzer(_check_splats)
def project(draw: Draw) -> Arguments:
    count = draw.length()
    base, basis, condition = _layer(draw, count, draw.integer(0, count))
    label = draw.floats(count) if draw.chance(0.5) else draw.random.random()
    before, behind = draw.integer(0, 3), draw.integer(0, 3)
    room = ops.Splats.empty(before + count + behind)[before : before + count]
    out = draw.choice((None, room))
    return {"base": base, "basis": basis, "condition": condition, **_view(draw), "label": label, "out": out}


def _check_raster(result: Any, given: Arguments) -> None:
    assert isinstance(result, ops.RasterOutput)
    is_array(result.image, (given["height"], given["width"], 4))
    is_array(result.transmittance, (given["height"], given["width"]))


@fuzzer(_check_raster)
def rasterize(draw: Draw) -> Arguments:
    width, height = draw.side(), draw.side()
    background = draw.choice((None, (0.1, 0.2, 0.3), draw.floats(3), draw.floats(height, width, 3)))
    splats = _splats(draw, draw.length(), width, height)
    return {"splats": splats, "width": width, "height": height, "background": background}


@fuzzer(lambda result, given: is_array(result, (GRADIENT_ROWS, given["output"].state.count)))
def rasterize_backward(draw: Draw) -> Arguments:
    output = ops.rasterize(**rasterize(draw))
    shape = output.transmittance.shape
    return {
        "output": output,
        "grad_image": draw.floats(*shape, 4),
        "grad_transmittance": draw.choice((None, draw.floats(*shape))),
    }


def _check_projection_gradients(result: Any, given: Arguments) -> None:
    assert isinstance(result, ops.ProjectionGradients)
    is_array(result.base, given["base"].shape)
    is_array(result.dynamic, (len(ops.DYNAMIC_ROWS), given["dynamic_count"]))
    is_array(result.pose, (6,))


@fuzzer(_check_projection_gradients)
def project_backward(draw: Draw) -> Arguments:
    count, view = draw.length(), _view(draw)
    return {
        "base": _layer(draw, count, 0)[0],
        "splats": _splats(draw, count, view["camera"].width, view["camera"].height),
        "grad_splats": draw.floats(GRADIENT_ROWS, count + 5)[:, draw.integer(0, 5) :][:, :count],
        "dynamic_count": draw.integer(0, count),
        **view,
    }


# ---- optimiser


def _constants(draw: Draw, rows: int) -> Arguments:
    return {
        "step": draw.choice((1, 2, 1000, 10**12)),
        "lr": draw.choice((0.01, 0.0, draw.floats(rows))),
        "beta1": draw.choice((0.9, 0.0)),
        "beta2": draw.choice((0.99, 0, 0.999999)),
        "eps": draw.choice((1e-12, 0.0, 1.0)),
    }


@fuzzer(nothing)
def adam(draw: Draw) -> Arguments:
    shape = draw.integer(0, 20), draw.length()
    return {name: draw.floats(*shape) for name in ("param", "grad", "first", "second")} | _constants(draw, shape[0])


@fuzzer(nothing)
def adam_basis(draw: Draw) -> Arguments:
    _, basis, condition = _layer(draw, 0, draw.length())
    count, rows, dynamic = basis.shape
    return {
        "basis": basis,
        "grad_dynamic": draw.floats(rows, dynamic),
        "condition": condition,
        "first": draw.floats(count, rows, dynamic),
        "second": draw.floats(count, rows, dynamic),
        "decay": draw.choice((0.0, 0.1, draw.floats(rows))),
        **_constants(draw, rows),
    }


# ---- images


def _check_loss(result: Any, given: Arguments) -> None:
    loss, grad = result
    assert isinstance(loss, float)
    is_array(grad, given["prediction"].shape)


@fuzzer(_check_loss)
def image_loss(draw: Draw) -> Arguments:
    dssim = draw.choice((0.0, 0.2, 1))
    height, width = draw.side(11 if dssim else 1), draw.side(11 if dssim else 1)
    return {
        "prediction": draw.floats(height, width, draw.choice((3, 4))),
        "target": draw.floats(height, width, 3),
        "weight": draw.choice((None, draw.floats(height, width))),
        "l1": draw.choice((0.0, 0.8)),
        "dssim": dssim,
        "epsilon": draw.choice((0.0, 1e-3)),
    }


@fuzzer(lambda result, given: is_array(result, (*given["image"].shape[:2], 3), np.uint8))
def to_uint8(draw: Draw) -> Arguments:
    return {"image": draw.floats(draw.choice((0, draw.side())), draw.side(), draw.choice((3, 4)))}


def _check_planes(result: Any, given: Arguments) -> None:
    height, width = given["image"].shape[:2]
    is_array(result, (height + height // 2, width), np.uint8)


@fuzzer(_check_planes)
def to_yuv420(draw: Draw) -> Arguments:
    return {"image": draw.floats(2 * draw.integer(1, 40), 2 * draw.integer(1, 40), draw.choice((3, 4)))}


@fuzzer(lambda result, given: is_array(result, given["image"].shape))
def sharpen(draw: Draw) -> Arguments:
    return {
        "image": draw.floats(draw.choice((0, draw.side())), draw.side(), draw.choice((3, 4))),
        "amount": draw.choice((0.0, 0.2, -1.0, 1e30)),
    }


@fuzzer(lambda result, given: is_array(result, (3, given["side"], given["side"]), np.uint8))
def cut_out(draw: Draw) -> Arguments:
    height, width = draw.integer(1, 40), draw.integer(1, 40)
    return {
        "image": np.full((height, width, 3), draw.integer(0, 255), np.uint8),
        "move": draw.floats(2, 3).astype(np.float64) * draw.choice((1, 50, 1e30)),
        "side": draw.integer(1, 70),
        "canvas": draw.choice((None, max(height, width), max(height, width) + 9)),
    }


# ---- settings


def _check_threads(result: Any, given: Arguments) -> None:
    """The pool of this many threads, too, must come to life, even where the machine grants fewer."""
    assert result is None and ops.threads() == given["count"]
    assert (ops.to_uint8(np.ones((200, 200, 3), np.float32)) == 255).all()


@fuzzer(_check_threads)
def set_threads(draw: Draw) -> Arguments:
    return {"count": draw.integer(1, 256) if draw.chance(0.1) else draw.integer(1, 4)}


def _check_count(result: Any, given: Arguments) -> None:
    assert 1 <= result <= 256


@fuzzer(_check_count)
def threads(draw: Draw) -> Arguments:
    return {}


def _check_instruction_set(result: Any, given: Arguments) -> None:
    assert result is None and ops.instruction_set() == given["name"]


@fuzzer(_check_instruction_set)
def use_instruction_set(draw: Draw) -> Arguments:
    return {"name": draw.choice(ops.available_instruction_sets())}


def _check_name(result: Any, given: Arguments) -> None:
    assert result in ops.available_instruction_sets()


@fuzzer(_check_name)
def instruction_set(draw: Draw) -> Arguments:
    return {}


def _check_names(result: Any, given: Arguments) -> None:
    assert isinstance(result, tuple) and result[0] == "portable"


@fuzzer(_check_names)
def available_instruction_sets(draw: Draw) -> Arguments:
    return {}


from . import field_fuzzers as field_fuzzers  # noqa: E402
