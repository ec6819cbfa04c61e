"""ONNX graphs on the CPU. The one place that imports onnxruntime: nothing of a face leaves the machine.

Official builds of onnxruntime report to their makers: since 1.29 on Linux and macOS, always on Windows. On Linux the
import alone writes a device id and a database below HOME, and some ten seconds later a host is looked up. The call that
turns events off comes too late for both; the environment variable that `geneface/__init__.py` sets before anything can
import onnxruntime keeps all of it from being made, in this process and in those that it starts.
`disable_telemetry_events` is what Windows listens to.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from geneface.errors import InputError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_ERRORS_ONLY = 3


def quiet_onnxruntime() -> ModuleType:
    """The package, with its reports to its makers turned off: for others' packages that open graphs themselves."""
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def open_session(
    graph: Path | bytes, *, threads: int = 1, remedy: str = "train or install the model again"
) -> InferenceSession:
    """A session for a graph, given as a file or as its bytes.

    Args:
        threads: 1 for the small graphs that run next to threads that draw (and the bits then don't depend on the
            machine's cores); 0 for one on each core.
        remedy: for a graph that cannot be read.

    Raises:
        InputError: no such file, or not an ONNX graph.
    """
    if isinstance(graph, Path) and not graph.is_file():
        raise InputError(f"the file {graph} is missing", "the model folder is incomplete; train or install it again")
    onnxruntime = quiet_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # The arena keeps what the largest run took, some 20 MB; without it the runs of small graphs are as fast.
    options.enable_cpu_mem_arena = threads != 1
    source = str(graph) if isinstance(graph, Path) else graph
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises several private classes
        name = f"the file {graph}" if isinstance(graph, Path) else "the graph"
        raise InputError(f"{name} is not a readable ONNX graph", remedy) from error
