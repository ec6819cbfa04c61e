"""LSE-C and LSE-D: SyncNet's confidence and distance (Prajwal et al. 2020, section 4), as published numbers have them.

The procedure is that of the public evaluation (syncnet_python, with Wav2Lip's scripts): 25 Hz video, 16 kHz sound, the
face crop of its pipeline, windows of five frames each frame, 13 MFCC at 100 Hz, lags of up to 15 frames. At each lag
the distance of lips and speech is averaged over all windows; where a lag runs out of sound, the published program
compares with a vector of zeros, and so does this one. LSE-D is the least of the 31 means, LSE-C their median less it.

Two things differ from the published program. Faces are boxed by FaceMesh's landmarks, not by the S3FD detector: the
box is the extent of the 468 skin points, from hairline to chin and from cheek to cheek, which is how WIDER FACE, that
S3FD learned from, defines a face's box (Yang et al. 2016: "tightly contain the forehead, chin, and cheek"). And frames
are cropped as they are, where the published pipeline compresses them twice (MPEG-4 and JPEG) on the way. Numbers are
therefore near published ones, not equal to them; rows of one report are comparable.

Symbols: F frames at 25 Hz, H x W pixels RGB, boxes x0, y0, x1, y1 px, windows W = F - 5 (the program leaves out the
last one that would fit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geneface.errors import MissingExtraError
from geneface.evaluation.networks.syncnet import CROP_PX, WINDOW_COLUMNS, WINDOW_FRAMES, SyncNet
from geneface.evaluation.schema import MetricDefinition
from geneface.geometry.landmarks import MESH_SURFACE_SIZE
from geneface.signal.timing import whole_frames
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, ByteArray, FloatArray, Waveform

MAX_LAG_FRAMES = 15
MIN_FRAMES = 36
"""Of shorter clips most pairs of some lag would be with zeros; they have no score."""
TOO_SHORT = f"no clip has the {MIN_FRAMES} frames that SyncNet's lags need"

_CROP_SCALE = 0.4
_GREY = 110
_MEDIAN_FRAMES = 13
_COLUMNS_PER_FRAME = 100 // VIDEO_RATE_HZ
_BATCH = 16
_EPSILON = 1e-6
"""Added to each coordinate of a difference by the published program's distance."""


@dataclass(frozen=True)
class LseScore:
    """Score of one clip, or a mean over clips; nan where there is none."""

    confidence: float
    """LSE-C: median of the mean distances less the least; higher is better."""
    distance: float
    """LSE-D: the least mean distance; lower is better."""
    offset_frames: float
    """The lag of the least distance; positive: the lips are late."""


_NO_SCORE = LseScore(float("nan"), float("nan"), float("nan"))


class SyncNetScorer:
    """Clips to LSE."""

    def __init__(self, network: SyncNet) -> None:
        self._network = network

    @classmethod
    def load(cls, path: Path) -> SyncNetScorer:
        """Read the weights of `geneface convert-weights syncnet`.

        Raises:
            InputError: the file is missing, not safetensors, or of another network.
            MissingExtraError: torch or python_speech_features is not installed.
        """
        _speech_features()
        return cls(SyncNet.load(path))

    def score(self, frames: Sequence[ByteArray], mesh_px: NDArray[np.floating[Any]], sound: Waveform) -> LseScore:
        """Score one clip.

        Args:
            frames: F images [H, W, 3] at 25 Hz.
            mesh_px: [F, 478, 3] FaceMesh landmarks in pixels; a frame without a face repeats its neighbour.
            sound: of the same time: sample 0 belongs to frame 0, `start_seconds` is ignored.

        Returns:
            the score, nan for clips of fewer than `MIN_FRAMES` frames that have sound.
        """
        length = min(len(frames), whole_frames(len(sound.samples)))
        if length < MIN_FRAMES:
            return _NO_SCORE
        crops = crop_faces(frames[:length], face_boxes(mesh_px[:length]))
        windows = length - WINDOW_FRAMES
        return score_embeddings(self._lips(crops, windows), self._speech(mfcc(sound.samples), windows))

    def _lips(self, crops: ByteArray, windows: int) -> FloatArray:
        """[W, 1024]."""
        import torch

        bgr = torch.from_numpy(np.ascontiguousarray(crops[..., ::-1].transpose(3, 0, 1, 2)))
        # [3, W, height, width, 5] -> [W, 3, 5, height, width]
        views = bgr.unfold(1, WINDOW_FRAMES, 1).permute(1, 0, 4, 2, 3)[:windows]
        return np.concatenate([self._network.lips(batch.float()).numpy() for batch in views.split(_BATCH)])

    def _speech(self, features: FloatArray, windows: int) -> FloatArray:
        """[W, 1024]."""
        import torch

        views = torch.from_numpy(features).unfold(0, WINDOW_COLUMNS, _COLUMNS_PER_FRAME)[:windows]
        return np.concatenate([self._network.speech(batch).numpy() for batch in views.split(4 * _BATCH)])


def mean_score(scores: Sequence[LseScore]) -> LseScore:
    """Mean LSE over clips, as papers give it, and the median offset; clips without a score don't count."""
    known = [score for score in scores if np.isfinite(score.distance)]
    if not known:
        return _NO_SCORE
    return LseScore(
        float(np.mean([score.confidence for score in known])),
        float(np.mean([score.distance for score in known])),
        float(np.median([score.offset_frames for score in known])),
    )


def score_embeddings(lips: FloatArray, speech: FloatArray) -> LseScore:
    """LSE of a clip's embeddings, [W, E] each.

    Column k of the distances compares lips[t] with speech[t + k - 15]; outside the clip speech is zero.
    """
    windows = len(lips)
    padded = np.pad(speech, ((MAX_LAG_FRAMES, MAX_LAG_FRAMES), (0, 0)))
    columns = [padded[shift : shift + windows] for shift in range(2 * MAX_LAG_FRAMES + 1)]
    curve = np.array([np.linalg.norm(lips - column + _EPSILON, axis=1).mean(dtype=np.float64) for column in columns])
    best = int(np.argmin(curve))
    return LseScore(float(np.median(curve) - curve[best]), float(curve[best]), float(MAX_LAG_FRAMES - best))


def mfcc(samples: FloatArray) -> FloatArray:
    """Mel cepstra [columns, 13] at 100 Hz of sound [T] at 16 kHz, which is taken as 16-bit integers.

    Windows of 25 ms, 26 filters, the first coefficient replaced by the log energy: the package's defaults.
    """
    integers = np.clip(np.rint(np.asarray(samples, np.float64) * 32768), -32768, 32767)
    return np.asarray(_speech_features().mfcc(integers, SPEECH_RATE_HZ), np.float32)


def face_boxes(mesh_px: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Boxes [F, 4] around the skin points of meshes [F, 478, 2 or 3]; they may reach outside the picture."""
    points = np.asarray(mesh_px, np.float64)[:, :MESH_SURFACE_SIZE, :2]
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


def crop_faces(frames: Sequence[ByteArray], boxes: NDArray[np.float64]) -> ByteArray:
    """Crop around face boxes [F, 4] as the published pipeline does: [F, 224, 224, 3].

    With s half the longer side of a box and c its centre (each smoothed by a median over 13 frames, zeros beyond the
    ends), the crop is x from c - 1.4 s to c + 1.4 s and y from c - s to c + 1.8 s: a square that shows the neck.
    What lies outside the picture is grey.
    """
    half = _median_filter(np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2)
    x = _median_filter((boxes[:, 0] + boxes[:, 2]) / 2)
    y = _median_filter((boxes[:, 1] + boxes[:, 3]) / 2)
    side, below = 1 + _CROP_SCALE, 1 + 2 * _CROP_SCALE
    corners = np.floor(np.stack([x - side * half, y - half, x + side * half, y + below * half], axis=1)).astype(int)
    return np.stack([_bilinear(_cut(frame, *corner)) for frame, corner in zip(frames, corners, strict=True)])


def _cut(frame: ByteArray, x0: int, y0: int, x1: int, y1: int) -> ByteArray:
    """Pixels x0..x1 - 1, y0..y1 - 1, at least one; grey outside the picture."""
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    out = np.full((y1 - y0, x1 - x0, 3), _GREY, np.uint8)
    height, width = frame.shape[:2]
    left, right = np.clip([x0, x1], 0, width)
    top, bottom = np.clip([y0, y1], 0, height)
    out[top - y0 : bottom - y0, left - x0 : right - x0] = frame[top:bottom, left:right]
    return out


def _median_filter(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running median over 13 values; zeros beyond the ends, as in the published pipeline (scipy's medfilt)."""
    reach = _MEDIAN_FRAMES // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, reach), _MEDIAN_FRAMES)
    return np.median(windows, axis=1)


def _bilinear(image: ByteArray) -> ByteArray:
    """Resample [H, W, 3] to [224, 224, 3] from the four nearest pixels, also when shrinking, as OpenCV's default."""
    values = image.astype(np.float32)
    for axis in (0, 1):
        length = values.shape[axis]
        position = np.clip((np.arange(CROP_PX) + 0.5) * (length / CROP_PX) - 0.5, 0, length - 1)
        low = np.minimum(position.astype(int), max(length - 2, 0))
        weight = (position - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        near, far = values.take(low, axis), values.take(np.minimum(low + 1, length - 1), axis)
        values = near + (far - near) * weight
    return np.rint(values).astype(np.uint8)


def _speech_features() -> Any:
    try:
        import python_speech_features
    except ImportError as error:
        raise MissingExtraError("python_speech_features", "metrics") from error
    return python_speech_features


DEFINITIONS = {
    "lse_c": MetricDefinition(
        title="LSE-C",
        unit="1",
        direction="higher",
        description="Lip-sync error, confidence, of SyncNet v2 (Chung and Zisserman 2016; Prajwal et al. 2020): median "
        "minus minimum over lags of the mean distance of mouth and sound. Faces are cropped by FaceMesh instead of "
        "S3FD.",
        must_see=["still"],
        needs="syncnet",
    ),
    "lse_d": MetricDefinition(
        title="LSE-D",
        unit="1",
        direction="lower",
        description="Lip-sync error, distance, of SyncNet v2: the minimum over lags of the mean distance of mouth and "
        "sound.",
        must_see=["still"],
        needs="syncnet",
    ),
}
LSE_KEYS = tuple(DEFINITIONS)
