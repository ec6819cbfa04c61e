"""Letters, frames and dots, found again in the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.drawing import draw_dots, draw_frame, draw_text, text_width
from geneface.imaging.font import glyph

LETTERS = [chr(code) for code in range(33, 127)]


def blank(height: int = 40, width: int = 60) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def written(text: str, height: int = 18) -> np.ndarray:
    image = blank(40, max(1, text_width(text, height)) + 10)
    draw_text(image, text, (4, 28), (255, 255, 255), height)
    return image[..., 0]


def test_every_letter_has_its_own_shape_and_stays_in_its_place():
    shapes = {}
    for letter in LETTERS:
        image = written(letter)
        assert image.max() > 200, letter
        rows, columns = np.nonzero(image)
        assert rows.min() >= 28 - 18 - 3 and rows.max() <= 28 + 6 + 2
        assert columns.min() >= 2 and columns.max() < 4 + text_width(letter, 18)
        shapes[letter] = image.tobytes() + bytes([image.shape[1]])
    assert len(set(shapes.values())) == len(LETTERS)


def test_capitals_have_the_height_asked_for():
    for height in (7, 11, 13, 20, 36):
        image = blank(60, 80)
        draw_text(image, "H", (10, 50), (255, 255, 255), height)
        rows = np.flatnonzero((image[..., 0] > 127).any(1))
        assert abs(len(rows) - height) <= 1 and abs(rows[-1] + 1 - 50) <= 1


def test_text_is_as_wide_as_it_says():
    assert text_width("", 13) == 0
    assert text_width("a b", 13) == text_width("a", 13) + text_width(" ", 13) + text_width("b", 13)
    joined, alone = written("HI"), written("I")
    offset = text_width("H", 18)
    np.testing.assert_array_equal(joined[:, 4 + offset :], alone[:, 4:])
    assert not written("   ").any()


def test_unknown_letters_are_question_marks():
    np.testing.assert_array_equal(written("ß"), written("?"))
    assert glyph("?")[0].shape[1:] == (2, 2)


@pytest.mark.parametrize("place", [(-20, 10), (55, 20), (5, -3), (5, 60), (500, 500)])
def test_what_lies_outside_is_cut_off(place):
    image, wide = blank(), blank(200, 300)
    draw_text(image, "Wg", place, (9, 200, 90), 14)
    draw_text(wide, "Wg", (place[0] + 100, place[1] + 80), (9, 200, 90), 14)
    np.testing.assert_array_equal(image, wide[80:120, 100:160])
    draw_dots(image := blank(), np.array([place], np.float64), (1, 2, 3), 4.0)
    draw_dots(wide := blank(200, 300), np.array([place], np.float64) + np.array([100.0, 80.0]), (1, 2, 3), 4.0)
    np.testing.assert_array_equal(image, wide[80:120, 100:160])


def test_a_frame_runs_along_its_corners():
    image = blank()
    draw_frame(image, (10.2, 5, 30, 24.6), (255, 0, 0), 2)
    expected = np.zeros((40, 60), bool)
    expected[5:25, 10:30] = True
    expected[7:23, 12:28] = False
    np.testing.assert_array_equal(image[..., 0] > 0, expected)
    edge = blank()
    draw_frame(edge, (-50, -9, 1000, 900), (0, 7, 0), 1)
    assert (edge[0] == (0, 7, 0)).all() and (edge[:, -1] == (0, 7, 0)).all() and not edge[1:-1, 1:-1].any()
    draw_frame(edge, (70, 5, 90, 20), (1, 1, 1))


def test_dots_are_discs_of_their_area():
    image = blank()
    draw_dots(image, np.array([(20.3, 15.6)]), (255, 255, 255), 6.0)
    share = image[..., 0] / 255
    assert share.sum() == pytest.approx(np.pi * 36, rel=0.02)
    y, x = np.mgrid[:40, :60] + 0.5
    assert (share * x).sum() / share.sum() == pytest.approx(20.3, abs=0.05)
    assert (share * y).sum() / share.sum() == pytest.approx(15.6, abs=0.05)
