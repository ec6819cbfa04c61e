"""Layout of the contact sheet, found again in its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.evaluation.sheet import SheetEntry, contact_sheet, draw_text, error_map


def entry(colour: tuple[int, int, int], other: tuple[int, int, int], label: str = "7") -> SheetEntry:
    images = [np.full((64, 64, 3), c, np.uint8) for c in (colour, other)]
    return SheetEntry(images[0], images[1], np.array([20, 40, 44, 52]), label)


def test_error_map_is_black_where_equal_and_grows() -> None:
    a = np.full((4, 5, 3), 100, np.uint8)
    b = a.copy()
    for column, difference in enumerate((0, 10, 25, 45, 90)):
        b[:, column] += np.uint8(difference)
    brightness = error_map(a, b)[0].astype(int).sum(-1)
    assert brightness[0] == 0 and (np.diff(brightness) > 0).all()
    assert brightness[-1] == 3 * 255


def test_entries_stand_in_two_columns() -> None:
    entries = [entry((200, 0, 0), (0, 200, 0)), entry((0, 0, 200), (0, 0, 200)), entry((90, 90, 90), (90, 90, 90))]
    sheet = contact_sheet(entries, panel_px=64)
    half = sheet.shape[1] // 2
    rows = sheet.shape[0] // 2
    top_left, top_right = sheet[:rows, :half], sheet[:rows, half:]
    assert (top_left[40, 32] == (200, 0, 0)).all() and (top_left[40, 96] == (0, 200, 0)).all()
    assert (top_right[40, 40] == (0, 0, 200)).all()
    assert (sheet[rows + 40, 32] == 90).all()
    assert len(np.unique(sheet[rows + 10 :, half + 8 :])) == 1, "the empty place is paper"


def test_the_mouth_is_enlarged_below_its_frame() -> None:
    one = entry((50, 50, 50), (50, 50, 50))
    one.reference[40:52, 20:44] = 240
    sheet = contact_sheet([one], panel_px=64)
    frame, mouth = sheet[14:78, :64], sheet[78:, :64]
    assert mouth.shape[0] == 32
    assert (mouth > 200).mean() > 2 * (frame > 200).mean()


def test_mouths_at_the_border_and_sheets_without_mouths() -> None:
    corner = entry((9, 9, 9), (9, 9, 9))
    corner = SheetEntry(corner.reference, corner.other, np.array([50, 56, 70, 70]), "0")
    assert contact_sheet([corner], panel_px=64).shape == (14 + 64 + 32, 3 * 64, 3)
    none = SheetEntry(corner.reference, corner.other, None, "0")
    assert contact_sheet([none], panel_px=64).shape == (14 + 64, 3 * 64, 3)
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


def test_letters_are_three_by_five_dots() -> None:
    dots = draw_text("T7", 1)
    expected = ["###.###.", ".#....#.", ".#...#..", ".#...#..", ".#...#.."]
    assert ["".join("#" if dot else "." for dot in row) for row in dots] == expected
    assert draw_text("t", 2).shape == (10, 8)
    assert not draw_text("é", 1).any()
