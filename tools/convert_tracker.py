"""Turn MediaPipe's face networks into the ONNX files of `src/geneface/assets/tracker`.

    python tools/convert_tracker.py [--package DIR] [--output DIR]

`--package` is the folder `mediapipe` of the wheel `mediapipe==0.10.21`, which is found by itself where it is installed;
its networks are Apache-2.0. The same wheel gives the same bytes. Needs the development extras (onnx, flatbuffers).

Activations are kept channels first. Weights stay float16 in the files and are widened when a session is made. Each
graph takes a picture, uint8 RGB [1, 3, S, S], and brings it into the network's range itself:

- `detector_short` (S = 128), `detector_full` (192): boxes [N, 16] and scores [N], raw (see analysis/detection.py);
- `mesh` (192): mesh [478, 3] in pixels of the crop, lips, eyes and irises refined, and presence [1], raw;
- `person` (256): matte [256, 256] in [0, 1].
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import tflite
from mediapipe_operators import CUSTOM
from tflite_to_onnx import Converter, GraphWriter

ASSETS = Path(__file__).resolve().parents[1] / "src/geneface/assets/tracker"
VERSION = "0.10.21"
_SURFACE, _IRIS = 468, 5
_LID_POINTS = 16
"""The first points of an eye's list are its lids; the depth of its iris is their mean."""


@dataclass(frozen=True)
class Network:
    """A network of the wheel and the range in which it takes pictures."""

    file: str
    low: float


NETWORKS = {
    "detector_short": Network("modules/face_detection/face_detection_short_range.tflite", -1),
    "detector_full": Network("modules/face_detection/face_detection_full_range_sparse.tflite", -1),
    "mesh": Network("modules/face_landmark/face_landmark_with_attention.tflite", 0),
    "person": Network("modules/selfie_segmentation/selfie_segmentation.tflite", 0),
}


def convert(name: str, package: Path) -> bytes:
    """The ONNX file of a network of `NETWORKS`, made from the folder of the wheel."""
    network = NETWORKS[name]
    source, writer = tflite.read_model(package / network.file), GraphWriter()
    side = source.shapes[source.inputs[0]][1]
    converter = Converter(source, writer, CUSTOM)
    converter.names[source.inputs[0]] = _picture(writer, network.low)
    converter.write()
    if name == "mesh":
        outputs = _mesh(converter)
    elif name == "person":
        outputs = {"matte": (side, side)}
        writer.reshape(converter.names[source.outputs[0]], "matte", side, side)
    else:
        boxes, scores = source.outputs
        count, values = source.shapes[boxes][1:]
        outputs = {"boxes": (count, values), "scores": (count,)}
        writer.reshape(converter.names[boxes], "boxes", count, values)
        writer.reshape(converter.names[scores], "scores", count)
    return writer.model(name, side, outputs).SerializeToString(deterministic=True)


def _picture(writer: GraphWriter, low: float) -> str:
    """The picture as floats in [low, 1]."""
    values = writer.node("Cast", "image", to=onnx.TensorProto.FLOAT)
    values = writer.node("Mul", values, writer.floats((1 - low) / 255))
    if low:
        values = writer.node("Add", values, writer.floats(low))
    return values


def _mesh(converter: Converter) -> dict[str, tuple[int, ...]]:
    """One mesh of the network's seven outputs, as MediaPipe's LandmarksRefinementCalculator puts it together.

    Lips, eyes and irises take the places of the surface's points. Depth is the surface's; that of an iris is the mean
    of its eye's lids.
    """
    source, writer = converter.source, converter.writer
    surface, *parts, presence = (converter.names[number] for number in source.outputs)
    subsets = [op.map()["subset_idxs"] for op in source.operators if op.name == "Landmarks2TransformMatrix"]
    irises = [list(range(_SURFACE + _IRIS * eye, _SURFACE + _IRIS * (eye + 1))) for eye in range(2)]
    surface = writer.reshape(surface, "", _SURFACE, 3)
    rows = [writer.node("Gather", surface, writer.integers(0, 1), axis=1)]
    taken = np.arange(_SURFACE + 2 * _IRIS)
    start = _SURFACE
    for part, places in zip(parts, [*subsets, *irises], strict=True):
        rows.append(writer.reshape(part, "", len(places), 2))
        taken[places] = np.arange(start, start + len(places))
        start += len(places)
    plane = writer.node("Gather", writer.node("Concat", *rows, axis=0), writer.integers(*taken), axis=0)

    depth = writer.node("Gather", surface, writer.integers(2), axis=1)
    depths = [depth]
    for eye, iris in zip(subsets[1:], irises, strict=True):
        lids = writer.node("Gather", depth, writer.integers(*eye[:_LID_POINTS]), axis=0)
        mean = writer.node("ReduceMean", lids, axes=[0])
        depths.append(writer.node("Expand", mean, writer.integers(len(iris), 1)))
    writer.node("Concat", plane, writer.node("Concat", *depths, axis=0), name="mesh", axis=1)
    writer.reshape(presence, "presence", 1)
    return {"mesh": (len(taken), 3), "presence": (1,)}


def installed_package() -> Path | None:
    """The folder of MediaPipe where it is installed."""
    spec = importlib.util.find_spec("mediapipe")
    return Path(spec.origin).parent if spec and spec.origin else None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Turn MediaPipe's face networks into ONNX files.")
    parser.add_argument("--package", type=Path, default=installed_package(), help=f"folder of mediapipe {VERSION}")
    parser.add_argument("--output", type=Path, default=ASSETS)
    arguments = parser.parse_args()
    if arguments.package is None:
        parser.error(f"mediapipe is not installed; unpack the wheel mediapipe=={VERSION} and give its folder")
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        path = arguments.output / f"{name}.onnx"
        path.write_bytes(convert(name, arguments.package))
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
