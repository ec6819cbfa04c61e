"""SyncNet v2 (Chung and Zisserman 2016), with the tensor names of the published syncnet_v2.model.

Two towers embed 0.2 s each: five face crops, and the 20 columns of MFCC heard with them. Embeddings are 1024 wide and
not normalised; they are near each other where lips and sound belong together.

The published face tower convolves in three dimensions, but only its first kernel spans time, and it spans all five
frames. Here they lie in the channels (3 colours x 5 frames), and every convolution is two-dimensional.

Symbols: W windows; crops are BGR, as the network was trained on, 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geneface.evaluation.networks.weights import load_weights

if TYPE_CHECKING:
    from torch import Tensor

CROP_PX = 224
WINDOW_FRAMES = 5
WINDOW_COLUMNS = 20
"""MFCC columns (100 Hz) a window."""
EMBEDDING = 1024

_HIDDEN = 512
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Pool:
    """Maximum over a square."""

    size: int
    stride: tuple[int, int]
    padding: int = 0


@dataclass(frozen=True)
class Layer:
    """Convolution with bias, batch normalisation, ReLU; then perhaps a pool."""

    index: int
    """Of the convolution in its tower; the batch normalisation is the next."""
    channels: tuple[int, int]
    """In, out."""
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    pool: Pool | None = None


_SPEECH = (
    Layer(0, (1, 64), (3, 3), padding=1),
    Layer(4, (64, 192), (3, 3), padding=1, pool=Pool(3, (1, 2))),
    Layer(8, (192, 384), (3, 3), padding=1),
    Layer(11, (384, 256), (3, 3), padding=1),
    Layer(14, (256, 256), (3, 3), padding=1, pool=Pool(3, (2, 2))),
    Layer(18, (256, _HIDDEN), (5, 4)),
)
_LIPS = (
    Layer(0, (3, 96), (7, 7), stride=2, pool=Pool(3, (2, 2))),
    Layer(4, (96, 256), (5, 5), stride=2, padding=1, pool=Pool(3, (2, 2), 1)),
    Layer(8, (256, 256), (3, 3), padding=1),
    Layer(11, (256, 256), (3, 3), padding=1),
    Layer(14, (256, 256), (3, 3), padding=1, pool=Pool(3, (2, 2))),
    Layer(18, (256, _HIDDEN), (6, 6)),
)


def _tower_layout(convolutions: str, dense: str, layers: tuple[Layer, ...], is_video: bool) -> dict[str, tuple]:
    layout: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        fan_in, fan_out = layer.channels
        time = (WINDOW_FRAMES if layer.index == 0 else 1,) if is_video else ()
        layout[f"{convolutions}.{layer.index}.weight"] = (fan_out, fan_in, *time, *layer.kernel)
        layout[f"{convolutions}.{layer.index}.bias"] = (fan_out,)
        layout |= {f"{convolutions}.{layer.index + 1}.{part}": (fan_out,) for part in _BATCH_NORM}
    for index, width in ((0, _HIDDEN), (3, EMBEDDING)):
        layout |= {f"{dense}.{index}.weight": (width, _HIDDEN), f"{dense}.{index}.bias": (width,)}
    return layout | {f"{dense}.1.{part}": (_HIDDEN,) for part in _BATCH_NORM}


SYNCNET_LAYOUT: dict[str, tuple[int, ...]] = {
    **_tower_layout("netcnnaud", "netfcaud", _SPEECH, is_video=False),
    **_tower_layout("netcnnlip", "netfclip", _LIPS, is_video=True),
}
"""Name -> shape."""


class SyncNet:
    """Both towers."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        # The three- and the two-dimensional convolution sum the same products, if time lies inside the channels.
        self._tensors = {name: tensor.flatten(1, 2) if tensor.ndim == 5 else tensor for name, tensor in tensors.items()}

    @classmethod
    def load(cls, path: Path) -> SyncNet:
        """Read the weights of `geneface convert-weights syncnet`.

        Raises:
            InputError, MissingExtraError: as `weights.load_weights`.
        """
        return cls(load_weights(path, SYNCNET_LAYOUT, "syncnet"))

    def lips(self, windows: Tensor) -> Tensor:
        """Embeddings [W, 1024] of crops [W, 3, 5, 224, 224], BGR 0..255."""
        return self._embed("netcnnlip", "netfclip", _LIPS, windows.flatten(1, 2))

    def speech(self, windows: Tensor) -> Tensor:
        """Embeddings [W, 1024] of MFCC [W, 13, 20]."""
        return self._embed("netcnnaud", "netfcaud", _SPEECH, windows[:, None])

    def _embed(self, convolutions: str, dense: str, layers: tuple[Layer, ...], x: Tensor) -> Tensor:
        import torch
        from torch.nn import functional

        tensors = self._tensors
        with torch.inference_mode():
            for layer in layers:
                name = f"{convolutions}.{layer.index}"
                kernel, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
                x = functional.conv2d(x, kernel, bias, stride=layer.stride, padding=layer.padding)
                x = self._normalised(f"{convolutions}.{layer.index + 1}", x)
                if layer.pool is not None:
                    x = functional.max_pool2d(x, layer.pool.size, layer.pool.stride, layer.pool.padding)
            x = functional.linear(x.flatten(1), tensors[f"{dense}.0.weight"], tensors[f"{dense}.0.bias"])
            x = self._normalised(f"{dense}.1", x)
            return functional.linear(x, tensors[f"{dense}.3.weight"], tensors[f"{dense}.3.bias"])

    def _normalised(self, name: str, x: Tensor) -> Tensor:
        """Batch normalisation with the stored statistics, then ReLU."""
        from torch.nn import functional

        weight, bias, mean, variance = (self._tensors[f"{name}.{part}"] for part in _BATCH_NORM)
        return functional.relu(functional.batch_norm(x, mean, variance, weight, bias), inplace=True)
