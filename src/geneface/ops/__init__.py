"""The kernels: Gaussians to pixels and back, losses, optimiser. Pure functions of numpy arrays.

Every function here runs compiled code, uses all threads of `set_threads`, and returns the same bits whatever their
number. `ops.reference` holds the same functions in plain numpy. Arrays are float32 and C-contiguous unless said
otherwise; a wrong type raises TypeError, a wrong shape or value ValueError. Layouts and symbols: `ops.types`.
"""

from __future__ import annotations

from geneface.ops.field import Field, FieldGradients, field_forward, field_network
from geneface.ops.image import cut_out, image_loss, sharpen, to_uint8, to_yuv420
from geneface.ops.native import (
    available_instruction_sets,
    instruction_set,
    multiply_peak,
    set_threads,
    threads,
    use_instruction_set,
)
from geneface.ops.nerf import (
    MAX_LOG_DENSITY,
    PATCH_RAYS,
    BatchGradients,
    FieldFrame,
    FieldLoss,
    FieldScene,
    RayBatch,
    coarse_occupancy,
    render_field,
    train_field,
)
from geneface.ops.optimizer import adam, adam_basis, adam_table
from geneface.ops.splatting import (
    project,
    project_backward,
    rasterize,
    rasterize_backward,
)
from geneface.ops.types import BASE_ROWS, DYNAMIC_ROWS, ProjectionGradients, RasterOutput, Splats

__all__ = [
    "BASE_ROWS",
    "DYNAMIC_ROWS",
    "MAX_LOG_DENSITY",
    "PATCH_RAYS",
    "BatchGradients",
    "Field",
    "FieldFrame",
    "FieldGradients",
    "FieldLoss",
    "FieldScene",
    "ProjectionGradients",
    "RasterOutput",
    "RayBatch",
    "Splats",
    "adam",
    "adam_basis",
    "adam_table",
    "available_instruction_sets",
    "coarse_occupancy",
    "cut_out",
    "field_forward",
    "field_network",
    "image_loss",
    "instruction_set",
    "multiply_peak",
    "project",
    "project_backward",
    "rasterize",
    "rasterize_backward",
    "render_field",
    "set_threads",
    "sharpen",
    "threads",
    "to_uint8",
    "to_yuv420",
    "train_field",
    "use_instruction_set",
]
