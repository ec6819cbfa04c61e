"""Torch networks to compact ONNX graphs. Weights are stored in half precision and computed in single precision."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from geneface.errors import MissingExtraError
from geneface.io.atomic import atomic_path
from geneface.motion.runtime import NEXT
from geneface.motion.vae import AudioToMotion, MotionGraph, PieceGraph

_OPSET = 17
_SMALLEST_HALVED = 1024
"""Elements; smaller tensors (biases, statistics) stay in single precision."""


def export_onnx(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    path: Path,
) -> None:
    """Write the module's forward pass as ONNX, atomically.

    Args:
        inputs: example inputs by name, in the order of the arguments.
        outputs: names of the outputs, in their order.
        dynamic_axes: by input or output name, the axes of any length.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    module.eval()
    with atomic_path(path) as temporary:
        with torch.no_grad(), warnings.catch_warnings():
            # The tracer warns of the shape arithmetic that the dynamic axes stand for.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                tuple(inputs.values()),
                str(temporary),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in dynamic_axes.items()},
                opset_version=_OPSET,
                dynamo=False,
            )
        graph = onnx.load(str(temporary))
        _halve(graph)
        onnx.checker.check_model(graph)
        onnx.save(graph, str(temporary))


def export_motion(model: AudioToMotion, path: Path) -> None:
    """Write `motion.onnx`: speech in pieces where the model's layers allow it, or as a whole."""
    sizes, stride = model.config, model.config.latent_stride
    inputs = {
        "features": torch.zeros(1, 4 * stride, sizes.feature_width),
        "noise": torch.zeros(1, sizes.latent_channels, 2),
    }
    axes = {"features": {1: "rows"}, "noise": {2: "steps"}, **{name: {2: "frames"} for name in MotionGraph.OUTPUTS}}
    if not model.goes_on:
        export_onnx(MotionGraph(model), inputs, MotionGraph.OUTPUTS, axes, path)
        return
    graph = PieceGraph(model)
    before, after, memory = graph.start()
    kept = {"before": before, **{f"memory.{number}": part for number, part in enumerate(memory)}}
    inputs |= {"before": before, "after": after, **{name: part for name, part in kept.items() if name != "before"}}
    axes |= {"before": {2: "frames_before"}, "after": {2: "frames_after"}}
    export_onnx(graph, inputs, [*MotionGraph.OUTPUTS, *(NEXT + name for name in kept)], axes, path)


def _halve(model) -> None:
    """Store large weights as float16 followed by a cast, which the runtime folds away when it loads the graph."""
    from onnx import TensorProto, helper, numpy_helper

    casts: list = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < _SMALLEST_HALVED:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype("float16"), f"{name}.half"))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
    nodes: Sequence = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
