"""Speed: frames a second of the renderer alone, which `evaluation.drawing` times while it draws."""

from __future__ import annotations

from geneface.evaluation.schema import MetricDefinition

DEFINITIONS = {
    "render_rate": MetricDefinition(
        title="Rendering",
        unit="frames/s",
        direction="higher",
        description="Frames a second through the renderer alone, the first frames left out; no motion, no encoding. "
        "The machine's load while measuring stands under `machine`.",
    ),
}
