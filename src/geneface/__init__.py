"""Speech -> 3D landmarks -> 3D Gaussians -> video of one person's talking face, on a CPU.

    import geneface

    avatar = geneface.Avatar.load("grid-s1")
    avatar.render("speech.wav", "talking.mp4")

docs/api.md describes the names below. Each is imported when it is first used, so that `import geneface` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geneface.api import TrainedAvatar, evaluate, prepare, train
    from geneface.avatar.avatar import Avatar
    from geneface.avatar.live import LivePerformance
    from geneface.avatar.performance import Performance
    from geneface.errors import InputError
    from geneface.types import HeadPose, MotionTrack, Waveform
    from geneface.voice.registry import open_voice
    from geneface.voice.voice import Voice, save_speech

__version__ = "0.1.0"

# Before anything can import onnxruntime, which would write to HOME and call its makers: see `io.session`.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__ = [
    "Avatar",
    "HeadPose",
    "InputError",
    "LivePerformance",
    "MotionTrack",
    "Performance",
    "TrainedAvatar",
    "Voice",
    "Waveform",
    "__version__",
    "evaluate",
    "open_voice",
    "prepare",
    "save_speech",
    "train",
]
_HOMES = {
    "Avatar": "avatar.avatar",
    "HeadPose": "types",
    "InputError": "errors",
    "LivePerformance": "avatar.live",
    "MotionTrack": "types",
    "Performance": "avatar.performance",
    "TrainedAvatar": "api",
    "Voice": "voice.voice",
    "Waveform": "types",
    "evaluate": "api",
    "open_voice": "voice.registry",
    "prepare": "api",
    "save_speech": "voice.voice",
    "train": "api",
}
"""Public name -> its module in this package."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
