"""The table of pasted pictures, of rows whose faults are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from geneface.evaluation.metrics.picture import ReferenceFrame
from geneface.evaluation.metrics.seam import SEAM_KEYS
from geneface.evaluation.protocol.controls import ENCODED, SEAM_CONTROL_NAMES
from geneface.evaluation.protocol.seams import PICTURE_KEYS, SeamScores
from geneface.evaluation.protocol.videos import Chunk
from geneface.evaluation.schema import Figure, MetricRow, MetricTable
from geneface.types import ByteArray

FRAMES, SIZE = 30, 128
DRAWN, GOOD, EDGE, FLICKER = "me, from speech", "me, pasted", "me, pasted with an edge", "me, pasted and flickering"


def recording() -> list[ByteArray]:
    """A picture that sways a little, with a camera's noise."""
    rng = np.random.default_rng(0)
    picture = 0.8 * data.astronaut()[40 : 40 + SIZE, 150 : 150 + SIZE].astype(np.float32)
    frames = [ndimage.shift(picture, (0, np.sin(t / 4), 0), order=1, mode="nearest") for t in range(FRAMES)]
    return [np.clip(frame + rng.normal(0, 2, frame.shape), 0, 255).astype(np.uint8) for frame in frames]


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    distance = np.hypot(*(np.indices((SIZE, SIZE)) - np.array([70, 64])[:, None, None]))
    return np.clip(0.5 + (36 - distance) / 8, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def table(mask: np.ndarray) -> MetricTable:
    truth = recording()
    rng = np.random.default_rng(2)

    def pasted(image: ByteArray, drawn: np.ndarray) -> ByteArray:
        return np.round(np.clip(image + mask[..., None] * (drawn - image), 0, 255)).astype(np.uint8)

    def soft(image: ByteArray) -> np.ndarray:
        return ndimage.gaussian_filter(image.astype(np.float32), (1, 1, 0)) + rng.normal(0, 2, image.shape)

    drawn = [soft(image) for image in truth]
    rows = {
        DRAWN: [np.clip(image, 0, 255).astype(np.uint8) for image in drawn],
        GOOD: [pasted(image, d) for image, d in zip(truth, drawn, strict=True)],
        EDGE: [pasted(image, 1.05 * d) for image, d in zip(truth, drawn, strict=True)],
        FLICKER: [pasted(image, (1 + 0.02 * (t % 2)) * drawn[t]) for t, image in enumerate(truth)],
    }
    pasted_rows = (GOOD, EDGE, FLICKER)
    scores = SeamScores((DRAWN,), pasted_rows, GOOD)
    for part in (slice(0, 12), slice(12, FRAMES)):
        scores.add(
            Chunk(
                name="clip",
                references=[ReferenceFrame(image) for image in truth[part]],
                evaluated={name: frames[part] for name, frames in rows.items()},
                before=(),
                still=truth[0],
                sound=None,
                masks={name: [mask] * len(truth[part]) for name in pasted_rows},
            )
        )
    known = [
        MetricRow(name=name, role="evaluated", figures={key: Figure(value=30.0) for key in PICTURE_KEYS})
        for name in (*rows, ENCODED)
    ]
    return scores.table({"image_frame": MetricTable(title="", note="", rows=known)}, "30 frames.")


def figures(table: MetricTable, name: str) -> dict[str, float]:
    row = next(row for row in table.rows if row.name == name)
    return {key: np.nan if item.value is None else item.value for key, item in row.figures.items()}


def test_rows_and_columns(table: MetricTable) -> None:
    names = [row.name for row in table.rows]
    assert names == [DRAWN, GOOD, EDGE, FLICKER, ENCODED, *SEAM_CONTROL_NAMES.values()]
    assert [row.role for row in table.rows] == ["evaluated"] * 4 + ["control"] * 4
    for row in table.rows:
        assert tuple(row.figures) == (*PICTURE_KEYS, *SEAM_KEYS)
    assert table.note.startswith("30 frames. Pasted rows are recorded held-out frames in which only the lower face is")


def test_what_is_drawn_whole_has_regions_but_no_seam(table: MetricTable) -> None:
    drawn, pasted = figures(table, DRAWN), figures(table, GOOD)
    assert drawn["lower_face_psnr"] == pytest.approx(pasted["lower_face_psnr"], abs=0.5)
    assert pasted["seam_psnr"] > drawn["seam_psnr"] + 3
    reasons = {key: item.reason for key, item in table.rows[0].figures.items() if item.value is None}
    assert reasons == dict.fromkeys(SEAM_KEYS[2:], "drawn whole: there is no seam")


def test_an_edge_is_told_from_a_good_paste(table: MetricTable) -> None:
    good, edge = figures(table, GOOD), figures(table, EDGE)
    assert edge["seam_step"] > 3 * good["seam_step"]
    assert edge["seam_error_ratio"] > 1.3 > good["seam_error_ratio"]
    assert edge["seam_flicker_ratio"] == pytest.approx(good["seam_flicker_ratio"], rel=0.1)


def test_flicker_is_told_from_a_good_paste(table: MetricTable) -> None:
    good, flickering = figures(table, GOOD), figures(table, FLICKER)
    assert flickering["seam_flicker_ratio"] > 1.1 > good["seam_flicker_ratio"]


def test_every_planted_fault_is_seen(table: MetricTable) -> None:
    for key in SEAM_KEYS:
        assert table.verdicts[key].informative, table.verdicts[key].reason


def test_nothing_pasted_has_a_reason() -> None:
    truth = recording()[:4]
    scores = SeamScores((), (GOOD,), GOOD)
    empty = [np.zeros((SIZE, SIZE), np.float32)] * 4
    references = [ReferenceFrame(image) for image in truth]
    scores.add(Chunk("clip", references, {GOOD: truth}, (), truth[0], None, masks={GOOD: empty}))
    row = scores.table({}, "4 frames.").rows[0]
    assert all(item.value is None and item.reason for item in row.figures.values())
