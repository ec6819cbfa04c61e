"""Speech -> 3D landmarks -> 3D Gaussians -> video of one person's talking face, on a CPU."""

from __future__ import annotations

__version__ = "0.1.0"
