"""What stands behind the person: colours, pictures, and what is neither."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.avatar.background import KEEP, background_plate
from geneface.errors import InputError
from geneface.io.image import write_png

PLATE = np.random.default_rng(0).random((8, 8, 3), np.float32)


def test_colours() -> None:
    assert background_plate(KEEP, PLATE) is PLATE
    assert (background_plate("white", PLATE) == 1).all()
    assert np.allclose(background_plate("#0f8", PLATE)[0, 0], [0, 1, 136 / 255])


def test_a_picture_is_cut_square(tmp_path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 70, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    assert np.array_equal(background_plate(str(tmp_path / "a.png"), PLATE), (image[:, 15:55] / np.float32(255)))


@pytest.mark.slow
def test_a_photograph_is_made_smaller(tmp_path) -> None:
    image = np.zeros((4100, 4200, 3), np.uint8)
    image[::2] = 200
    write_png(tmp_path / "a.png", image)
    plate = background_plate(str(tmp_path / "a.png"), PLATE)
    assert plate.shape == (2050, 2050, 3) and plate.dtype == np.float32 and np.allclose(plate, 100 / 255)


@pytest.mark.parametrize("text", ["", "#12", "none.png", "a\0b", "x" * 5000])
def test_neither_colour_nor_picture(text) -> None:
    with pytest.raises(InputError, match="neither a colour nor an image file"):
        background_plate(text, PLATE)


def test_a_picture_is_cut_to_the_shape_that_is_asked_for(tmp_path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 70, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image)
    wide, tall = (background_plate(str(tmp_path / "a.png"), PLATE, aspect) for aspect in (3.5, 0.5))
    assert np.array_equal(wide, image[10:30] / np.float32(255))
    assert np.array_equal(tall, image[:, 25:45] / np.float32(255))
