"""Speech -> 3D landmarks -> 3D Gaussians -> video of one person's talking face, on a CPU."""

from __future__ import annotations

import os

__version__ = "0.1.0"

# Before anything can import onnxruntime, which would write to HOME and call its makers: see `io.session`.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
