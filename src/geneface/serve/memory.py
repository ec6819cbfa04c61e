"""Memory that an idle server holds for nobody."""

from __future__ import annotations

import ctypes
import sys


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc).

    Many threads allocate and free pictures of many sizes, which leaves holes: after some hundred sessions glibc keeps
    200 MB that nothing uses. It takes some 10 ms, in which nobody else can allocate: call it when nobody is drawn.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
