"""PyTorch for the twins: asked for, and compiled without its messages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from geneface.bench.timing import Timing, compared, timed
from geneface.errors import MissingExtraError

WARM_UP = 4
"""Calls in which the compiler may still find out what changes from call to call."""


@contextmanager
def torch_extra() -> Iterator[None]:
    """Around imports of the twins: says what to install where PyTorch is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "train") from error


def compiled_step(
    loss: Callable[..., Any],
    stepping: Callable[[Callable[..., Any]], Callable[[], None]],
    ours: Timing,
    repeats: int,
    dynamic: bool | None = False,
) -> dict[str, Any]:
    """Times of a step whose loss is compiled, or why there are none.

    Args:
        loss: what is compiled.
        stepping: makes a whole step of a loss.
        dynamic: torch.compile's; the faster choice, or the one that does not fail.
    """
    import torch

    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of every place where the graph breaks
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compared(ours, timed(stepping(torch.compile(loss, dynamic=dynamic)), repeats, WARM_UP))
    except Exception as error:
        # Compilers fail in many ways, and none of them is this benchmark's fault.
        return {"not_measured": f"torch.compile failed: {str(error).splitlines()[0][:200]}"}
    finally:
        logger.setLevel(level)
