"""The loop is calm, turns well at its ends, and never shows what was held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geneface.training.body.choice import choose_frames

from .body_portraits import CROP, MadePortrait, sway


def chosen(portrait: Any, frames: int) -> np.ndarray:
    return choose_frames(portrait, frames)


def test_the_calm_part_is_taken() -> None:
    """Ten seconds of a lively head, then ten of a calm one, then ten in which the mouth is busy."""
    rng = np.random.default_rng(0)
    shift = np.concatenate([sway(250, 8, 20), sway(250, 1, 50), sway(250, 1, 50)])
    opening = np.concatenate([np.full(500, 0.01), 0.03 + 0.03 * rng.random(250)])
    window = chosen(MadePortrait([shift], [opening.astype(np.float32)]), 200)
    assert 160 <= len(window) <= 200 and (np.diff(window) == 1).all()
    assert window[0] >= 245 and window[-1] < 505


def test_ends_are_where_the_head_is_at_rest() -> None:
    window = chosen(MadePortrait([sway(400, 4, 50)]), 200)
    speed = np.abs(np.diff(sway(400, 4, 50)))
    assert speed[window[0]] < np.median(speed) / 2 and speed[window[-1]] < np.median(speed) / 2


def test_what_is_held_out_or_covered_is_never_shown() -> None:
    portrait = MadePortrait([sway(300)])
    portrait.heldout[240:] = True
    portrait.clear[100:110] = False
    window = chosen(portrait, 1000)
    assert 100 <= len(window) <= 230 and window.max() < 240 and not ((window >= 100) & (window < 110)).any()


def test_nothing_to_choose_from() -> None:
    portrait = MadePortrait([sway(60)])
    portrait.heldout[20:] = True
    assert len(chosen(portrait, 100)) == 0
    portrait.heldout[:] = True
    assert len(chosen(portrait, 100)) == 0


def test_clips_that_do_not_meet_stay_apart() -> None:
    """Heads at different places: a jump would show, so the loop is one clip, though shorter than wanted."""
    portrait = MadePortrait([sway(60, phase=0.1 * n) + 14 * n - 14 for n in range(3)])
    window = chosen(portrait, 150)
    assert len(np.unique(portrait.segment[window])) == 1 and 40 <= len(window) <= 60


def test_clips_that_meet_are_joined() -> None:
    portrait = MadePortrait([sway(75, phase=0.25 * n) for n in range(4)])
    window = chosen(portrait, 230)
    assert len(window) == 225 and len(np.unique(portrait.segment[window])) == 3


@pytest.mark.parametrize("size, crop", [((100, 60), CROP), ((120, 72), (20.0, 4.0, 64.0))])
def test_one_loop_is_of_one_size_and_crop(size: tuple[int, int], crop: tuple[float, float, float]) -> None:
    portrait = MadePortrait([sway(75, phase=0.25 * n) for n in range(4)])
    portrait.source_of = lambda segment: (*size, crop) if segment == 1 else (120, 72, CROP)
    assert 1 not in portrait.segment[chosen(portrait, 300)]


def test_the_same_every_time() -> None:
    portrait = MadePortrait([sway(300, 3, 37)])
    assert np.array_equal(chosen(portrait, 100), chosen(portrait, 100))
