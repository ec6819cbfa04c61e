"""The files of a loop show the frames that were chosen, and an interruption changes no byte of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from geneface.avatar.body import BODY_FILES, Body
from geneface.avatar.body_path import body_frames
from geneface.training.body.build import build_body, is_whole
from geneface.training.body.choice import choose_frames

from .body_portraits import CROP, HEIGHT, WIDTH, MadePortrait, sway

SECONDS = 5.0


def portrait() -> Any:
    made = MadePortrait([sway(150), sway(40) + 20])
    made.heldout[130:150] = True
    return made


def quiet(stage: str, done: int, total: int) -> None:
    assert stage == "body loop" and 0 <= done <= total


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "body"
    assert "of the person's own video" in build_body(portrait(), folder, SECONDS, quiet)
    return folder


def rgb(planes: np.ndarray) -> np.ndarray:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(planes), format="yuv420p")
    return frame.reformat(format="rgb24", src_colorspace="ITU709", src_color_range="MPEG").to_ndarray().astype(int)


def test_the_files_show_the_chosen_frames_and_belong_together(folder: Path) -> None:
    body, made = Body.load(folder), portrait()
    chosen = choose_frames(made, round(25 * SECONDS))
    assert len(body) == len(chosen) and (body.width, body.height) == (WIDTH, HEIGHT)
    assert np.allclose(body.crop, CROP)
    for number in (0, len(chosen) // 2, len(chosen) - 1):
        picture, matte = made.picture(int(chosen[number]))
        assert np.abs(rgb(body.planes(number)).mean(-1) - picture.mean(-1)).mean() < 6
        square = np.s_[int(CROP[1]) : int(CROP[1] + CROP[2]), int(CROP[0]) + 6 : int(CROP[0] + CROP[2]) - 6]
        assert np.abs(body.matte(number) / 255.0 - matte)[square].mean() < 0.01
        assert np.array_equal(body.track.landmarks[number], made.landmarks[chosen[number]])
        assert np.array_equal(body.track.pose.translation[number], made.pose.translation[chosen[number]])


def test_the_path_turns_where_the_head_rests(folder: Path) -> None:
    """It sways by 3 pixels in 50 frames: the fastest step is .38 pixels, those at rest are a tenth of that."""
    track = Body.load(folder).track
    path = body_frames(track, 0, 0, 2000)
    x = track.pose.translation[path, 0] * 64
    turned = np.flatnonzero(path[2:] == path[:-2]) + 1
    assert len(turned) > 5
    assert np.abs(x[turned] - x[turned - 1]).max() < 0.2


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.slow
@pytest.mark.parametrize("stop", [5, 120, 170, 249])
def test_what_was_interrupted_goes_on_to_the_same_bytes(folder: Path, tmp_path: Path, stop: int) -> None:
    def kill(stage: str, done: int, total: int) -> None:
        if done * 250 >= stop * total:
            raise KilledError

    again = tmp_path / "body"
    with pytest.raises(KilledError):
        build_body(portrait(), again, SECONDS, kill)
    assert not is_whole(again)
    build_body(portrait(), again, SECONDS, quiet)
    for name in BODY_FILES:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name


def test_what_is_done_is_not_done_again(folder: Path) -> None:
    made = portrait()
    build_body(made, folder, SECONDS, quiet)
    assert made.read == 0


def test_none(tmp_path: Path) -> None:
    made = portrait()
    assert build_body(made, tmp_path / "x", 0, quiet) == "none: not wanted"
    made.heldout[:] = True
    assert "no second" in build_body(made, tmp_path / "x", SECONDS, quiet)
    made.source = lambda _: None
    assert "prepare it again" in build_body(made, tmp_path / "x", SECONDS, quiet)
    assert not (tmp_path / "x").exists()
