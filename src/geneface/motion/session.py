"""ONNX graphs on the CPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from geneface.errors import InputError


def load_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX graph on one CPU thread: the graphs are small, and other threads draw meanwhile."""
    if not path.is_file():
        raise InputError(f"the file {path} is missing", "the model folder is incomplete; train or install it again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # As for the speech encoder: runs are as fast without, and memory is given back.
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises several private classes
        raise InputError(f"the file {path} is not a readable ONNX graph", "train or install the model again") from error
