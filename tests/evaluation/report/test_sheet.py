"""Layout of the contact sheet, found again in its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.evaluation.report.sheet import (
    ERROR_GAIN,
    MEAN_ERROR_GAIN,
    SheetEntry,
    contact_sheet,
    error_map,
    heat,
    label_bar,
    mean_error_map,
    resize_image,
)


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


def test_a_pasted_picture_stands_beside_the_drawn_one_with_its_error() -> None:
    plain = entry((9, 9, 9), (90, 9, 9))
    pasted = SheetEntry(plain.reference, plain.other, plain.mouth_box, "0", plain.reference)
    sheet = contact_sheet([pasted], panel_px=64, names=("GROUND TRUTH", "DRAWN", "PASTED"))
    assert sheet.shape == (14 + 64 + 32, 4 * 64, 3)
    truth, drawn, own, error = np.split(sheet[14:], 4, axis=1)
    assert np.array_equal(own, truth) and not np.array_equal(drawn, truth)
    assert not error.any(), "the error is that of the pasted picture"


def test_heat_turns_white_where_the_scale_says() -> None:
    """The report's scale runs from black over red and yellow to white at 255 / gain levels."""
    limit = 255 / MEAN_ERROR_GAIN
    colours = mean_error_map(np.array([[0, limit / 3, 2 * limit / 3, limit, 255]]))[0]
    assert colours.tolist() == [[0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255], [255, 255, 255]]
    levels = np.full((2, 3), 12.0)
    assert (
        heat(levels, ERROR_GAIN) == error_map(np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 12, np.uint8))
    ).all()


def test_labels_fit_their_panel() -> None:
    short, long, longer = (label_bar("W" * n, 64) for n in (5, 7, 99))
    assert short.shape == long.shape == longer.shape == (14, 64, 3)
    rows = [int((bar.max(-1) > 100).any(1).sum()) for bar in (short, long, longer)]
    assert rows[0] > rows[1] == rows[2], "large letters where they fit, small ones where not"
    assert (long[:, -2:] == long[0, 0]).all() and (longer[:, -2:] == longer[0, 0]).all(), "cut at the margin"
    assert (label_bar("", 64) == short[0, 0]).all()


def test_images_of_bytes_are_resampled() -> None:
    ramp = np.tile(np.arange(0, 240, 4, dtype=np.uint8)[None, :, None], (30, 1, 3))
    half = resize_image(ramp, 15, 30)
    assert half.shape == (15, 30, 3) and half.dtype == np.uint8
    assert np.abs(half[7, 3:-3, 0] - (8.0 * np.arange(30) + 2)[3:-3]).max() <= 1
    assert (resize_image(ramp, 30, 60) == ramp).all()
