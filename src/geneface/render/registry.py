"""Renderers by name, as an avatar's config.json gives it: `gaussian`, the default, and `nerf`, GeneFace's own kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from geneface.errors import InputError
from geneface.render.gaussian import GaussianModel, GaussianRenderer
from geneface.render.nerf import NerfModel, NerfRenderer
from geneface.render.renderer import Renderer
from geneface.types import FloatArray

DEFAULT_RENDERER = "gaussian"


def _gaussian(tensors: Mapping[str, Any], config: Mapping[str, Any], plate: FloatArray) -> Renderer:
    return GaussianRenderer(GaussianModel.from_tensors(tensors, config), plate)


def _nerf(tensors: Mapping[str, Any], config: Mapping[str, Any], plate: FloatArray) -> Renderer:
    return NerfRenderer(NerfModel.from_tensors(tensors, config), plate)


RENDERERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], FloatArray], Renderer]] = {
    "gaussian": _gaussian,
    "nerf": _nerf,
}
"""name -> function of (tensors, config, plate float32 [H, W, 3])."""


def check_renderer(name: str) -> None:
    """Raise InputError if there is no renderer of that name."""
    if name not in RENDERERS:
        raise InputError(f"there is no renderer {name!r}", f"choose one of: {', '.join(sorted(RENDERERS))}")


def create_renderer(name: str, tensors: Mapping[str, Any], config: Mapping[str, Any], plate: FloatArray) -> Renderer:
    """Build the renderer of an avatar.

    Args:
        name: key of `RENDERERS`.
        tensors, config: what the model's `tensors()` and `config()` returned.
        plate: [H, W, 3] float32 in [0, 1], of any size.

    Raises:
        InputError: unknown name, or tensors that do not fit the configuration.
    """
    check_renderer(name)
    return RENDERERS[name](tensors, config, plate)
