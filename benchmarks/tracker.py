"""Our tracker and MediaPipe on the same frames: meshes, what is found and lost, detections, mattes, and time.

    python benchmarks/tracker.py VIDEO [VIDEO ...] [--frames 500]

One line for each video:

distance   between the 478 points of both meshes in the picture, px: mean and worst over points and frames
own        that of MediaPipe from a second MediaPipe, which saw one value of the first frame one level off. Each mesh
           says where the next is looked for, so the least difference grows to this within some frames: no tracker
           but the same program can come closer
step       the distance where both look at the same place, the one that MediaPipe's last mesh gives
found      frames in which both, and only one of them, found a face
matte      mean difference of the person's matte, in levels of 255, every tenth frame
boxes      largest difference of a corner of a face's box, px, every tenth frame; `-` where their number differs
ms         milliseconds a frame of both, from picture to array, taken in turn on the same machine: mean processor time
           of all threads, least and median time that passed

Needs the development extras.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from geneface.analysis import tracker
from geneface.analysis.face import detection, mesh, person
from geneface.analysis.face.crops import Region
from geneface.types import ByteArray, FloatArray

CHECK_FRAMES = 10


class Reference:
    """MediaPipe's face mesh, as geneface ran it before it had a tracker of its own."""

    def __init__(self, solutions: Any) -> None:
        self._mesh = solutions.face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=True)

    def track(self, image: ByteArray) -> FloatArray | None:
        side = max(image.shape[:2])
        square = np.zeros((side, side, 3), np.uint8)
        square[: image.shape[0], : image.shape[1]] = image
        faces = self._mesh.process(square).multi_face_landmarks
        return side * np.array([(p.x, p.y, p.z) for p in faces[0].landmark], np.float32) if faces else None


class Comparison:
    """What is gathered over the frames of one video."""

    def __init__(self, solutions: Any) -> None:
        self._reference, self._twin = Reference(solutions), Reference(solutions)
        self._detectors = [solutions.face_detection.FaceDetection(model_selection=model) for model in (0, 1)]
        self._segmenter = solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
        self._tracker = tracker.open_tracker()
        # The networks are loaded at the first face.
        mesh.measure(np.zeros((64, 64, 3), np.uint8), Region(32, 32, 64, 64))
        for warmed_up in (self._reference, self._twin, self._tracker):
            warmed_up.track(np.zeros((64, 64, 3), np.uint8))
        self._last: FloatArray | None = None
        self.distances: dict[str, list[FloatArray]] = {"distance": [], "own": [], "step": []}
        self.found: list[tuple[bool, bool]] = []
        self.mattes: list[float] = []
        self.boxes: list[float] = []
        self.times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}

    def add(self, index: int, image: ByteArray) -> None:
        theirs = self._timed("theirs", self._reference.track, image)
        ours = self._timed("ours", self._tracker.track, image)
        self.found.append((ours is not None, theirs is not None))
        self._add_distance("distance", ours, theirs)
        touched = image.copy()
        touched[tuple(np.array(image.shape) // 2)] ^= index == 0
        self._add_distance("own", self._twin.track(touched), theirs)
        if self._last is not None:
            self._add_distance("step", mesh.measure(image, mesh.around(self._last)), theirs)
        self._last = theirs
        if index % CHECK_FRAMES == 0:
            mask = self._segmenter.process(image).segmentation_mask
            self.mattes.append(255 * float(np.abs(person.raw_matte(image) - mask).mean()))
            self.boxes += [self._box_difference(model, image) for model in range(2)]

    def _timed(self, name: str, track: Callable[[ByteArray], FloatArray | None], image: ByteArray) -> FloatArray | None:
        worked, started = time.process_time(), time.perf_counter()
        found = track(image)
        self.times[name].append((1e3 * (time.process_time() - worked), 1e3 * (time.perf_counter() - started)))
        return found

    def _add_distance(self, name: str, one: FloatArray | None, other: FloatArray | None) -> None:
        if one is not None and other is not None:
            self.distances[name].append(np.linalg.norm((one - other)[:, :2], axis=1))

    def _box_difference(self, model: int, image: ByteArray) -> float:
        ours = [found.box for found in detection.detect((detection.NEAR, detection.FAR)[model], image)]
        scale = np.tile(image.shape[1::-1], 2)
        theirs = []
        for found in self._detectors[model].process(image).detections or ():
            box = found.location_data.relative_bounding_box
            theirs.append(scale * [box.xmin, box.ymin, box.xmin + box.width, box.ymin + box.height])
        if len(ours) != len(theirs):
            return np.nan
        return float(np.abs(np.array(ours) - theirs).max(initial=0))

    def line(self) -> str:
        """The figures in words."""
        parts = []
        for name, values in self.distances.items():
            parts.append(f"{name} {np.mean(values):.4f} / {np.max(values):.3f} px" if values else f"{name} -")
        both = sum(a and b for a, b in self.found)
        alone = sum(a != b for a, b in self.found)
        parts += [f"found {both} of {len(self.found)}, by one alone {alone}", f"matte {np.mean(self.mattes):.3f}"]
        parts.append("boxes -" if np.isnan(self.boxes).any() else f"boxes {max(self.boxes):.3f} px")
        for name, times in self.times.items():
            worked, passed = np.array(times).T
            parts.append(f"{name} {worked.mean():.2f} ms, passed {passed.min():.2f} / {np.median(passed):.2f}")
        return "; ".join(parts)


def frames(path: Path, count: int) -> Iterator[ByteArray]:
    with av.open(path) as container:
        for frame in itertools.islice(container.decode(video=0), count):
            yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Our tracker and MediaPipe.")
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=500, help="of each video, at most")
    arguments = parser.parse_args()
    os.environ.setdefault("GLOG_minloglevel", "3")
    import mediapipe

    for video in arguments.videos:
        comparison = Comparison(mediapipe.solutions)  # type: ignore[attr-defined]
        for index, image in enumerate(frames(video, arguments.frames)):
            comparison.add(index, image)
        print(f"{video.name}: {comparison.line()}", flush=True)


if __name__ == "__main__":
    main()
