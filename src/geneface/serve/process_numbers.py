"""Processor, memory and descriptors of this process, under the names that Prometheus' own clients give them."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

if sys.platform != "win32":
    import resource

_STARTED = time.time()


def process_numbers() -> list[tuple[str, str, str, float]]:
    """(name, type, explanation, value) of each."""
    numbers = [
        ("process_cpu_seconds_total", "counter", "Processor time of the server.", time.process_time()),
        ("process_resident_memory_bytes", "gauge", "Memory of the server.", _resident()),
        ("process_start_time_seconds", "gauge", "When the server started, seconds since 1970.", _STARTED),
    ]
    if Path("/proc/self/fd").is_dir():
        count = float(len(os.listdir("/proc/self/fd")))
        numbers.append(("process_open_fds", "gauge", "Open files and connections of the server.", count))
    return numbers


def _resident() -> float:
    """Bytes; where the system doesn't tell the present use, the largest so far."""
    if sys.platform == "win32":
        return 0.0
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return float(pages * resource.getpagesize())
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak if sys.platform == "darwin" else peak * 1024)
