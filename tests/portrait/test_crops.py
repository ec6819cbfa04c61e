"""Which square is cut out, from faces placed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geneface.geometry.camera import project
from geneface.io.face_mesh import mean_face
from geneface.portrait.crops import Framed, Square, choose_square, face_heights, inside, plan_crops
from geneface.portrait.follow import hair_reach
from geneface.types import Camera

NO_HAIR = np.zeros((0, 3), np.float32)
FACE_PX = 120


def faces(centers, height: float = FACE_PX) -> np.ndarray:
    """Meshes [f, 478, 3] of faces of this height around (x, y)."""
    points = project(mean_face(), np.zeros(3), np.array([0, 0, -4.5]), Camera(4.5, 256, 256))
    points = points - (points.min(0) + points.max(0)) / 2
    points *= height / np.linalg.norm(points[152] - points[10])
    placed = points + np.asarray(centers, np.float64).reshape(-1, 1, 2)
    return np.concatenate([placed, np.zeros((*placed.shape[:2], 1))], axis=-1).astype(np.float32)


def framed(centers, height: float = FACE_PX, hair: Any = NO_HAIR, size: tuple[int, int] = (1280, 720)) -> Framed:
    return Framed(faces(centers, height), np.asarray(hair, np.float32), *size)


def still(x: float = 600, y: float = 350, frames: int = 100) -> np.ndarray:
    return np.array([[x, y]] * frames, np.float64)


def test_the_square_holds_hair_ears_and_neck_and_the_head_fills_about_half():
    run = framed(still())
    (scene,), (square,) = plan_crops([run])
    assert scene == 0 and run.face_px == pytest.approx(FACE_PX, rel=1e-4)
    low, high = run.mesh_px[0, :, 1].min(), run.mesh_px[0, :, 1].max()
    assert square.y < low - 0.4 * FACE_PX and square.y + square.side > high + 0.25 * FACE_PX
    assert square.x < run.mesh_px[0, :, 0].min() - 0.2 * FACE_PX
    assert 0.5 < 1.5 * FACE_PX / square.side < 0.65
    # The head's middle lies over the square's.
    assert square.x + square.side / 2 == pytest.approx(600, abs=2)
    assert inside(run.heads, square).all()


@pytest.mark.parametrize("size", [(548, 592), (592, 548), (1280, 720), (405, 720)])
def test_a_face_that_fills_the_picture_is_in_the_square_while_it_moves_a_little(size: tuple[int, int]):
    """Hair has no room there; brows and chin are whole."""
    width, height = size
    face = 0.8 * min(width / 0.78, height, 1.1 * min(size))
    sway = face * np.stack([0.02 * np.sin(np.arange(100) / 5), 0.02 * np.cos(np.arange(100) / 7)], axis=1)
    run = framed(np.array([width / 2, height - 0.56 * face]) + sway, face, size=size)
    square = plan_crops([run])[1][0]
    assert inside(run.heads, square).all()
    assert 0 <= square.x <= width - square.side and 0 <= square.y <= height - square.side
    low, high = run.mesh_px[..., :2].min((0, 1)), run.mesh_px[..., :2].max((0, 1))
    assert (low >= (square.x - 1, square.y - 1)).all() and (
        high <= square.side + np.array([square.x, square.y]) + 1
    ).all()


def test_tall_hair_moves_the_square_up():
    plain, tall = framed(still()), framed(still(), hair=[[0, 0.9, 0]] * 8)
    low = plain.mesh_px[0, :, 1].min()
    square = plan_crops([tall])[1][0]
    assert square.y <= low - 0.9 * FACE_PX < plan_crops([plain])[1][0].y + 0.3 * FACE_PX
    # A hand above the head in one picture of twenty is no hair.
    once = framed(still(), hair=[[0.2, 0.4, 0.2]] * 19 + [[0.5, 1.0, 0.5]])
    always = framed(still(), hair=[[0.2, 0.4, 0.2]] * 20)
    assert plan_crops([once])[1] == plan_crops([always])[1]


def test_a_few_wild_frames_change_the_square_by_nothing():
    centers = still(frames=500) + np.random.default_rng(0).normal(size=(500, 2)) * 5
    usual = plan_crops([framed(centers)])[1][0]
    for wild in ((100, 350), (600, 680), (1200, 100)):
        strange = centers.copy()
        strange[200:205] = wild
        run = framed(strange)
        square = plan_crops([run])[1][0]
        assert abs(square.x - usual.x) <= 2 and abs(square.y - usual.y) <= 2 and square.side == usual.side
        flags = inside(run.heads, square)
        assert not flags[200:205].any() and flags.sum() == 495


def test_a_head_that_sways_gets_a_larger_square_that_holds_all_of_it():
    x = 600 + 120 * np.sin(np.arange(400) / 9)
    run = framed(np.stack([x, np.full(400, 350)], axis=1))
    square = plan_crops([run])[1][0]
    assert square.side > plan_crops([framed(still())])[1][0].side
    assert inside(run.heads, square).all()


def test_of_a_head_that_wanders_the_largest_square_holds_the_most_frames():
    x = np.concatenate([np.full(300, 300.0), np.linspace(300, 1000, 60), np.full(140, 1000.0)])
    run = framed(np.stack([x, np.full(500, 350)], axis=1))
    square = plan_crops([run])[1][0]
    flags = inside(run.heads, square)
    assert flags[:300].all() and not flags[400:].any()
    best = max(
        inside(run.heads, Square(place, square.y, square.side)).sum() for place in range(0, 1280 - square.side, 2)
    )
    assert flags.sum() >= best - 2


def test_runs_of_one_framing_share_a_square_and_others_do_not():
    runs = [framed(still()), framed(still(620)), framed(still(1100)), framed(still(), 1.5 * FACE_PX)]
    runs.append(framed(still(), size=(1920, 1080)))
    scenes, squares = plan_crops(runs)
    assert scenes == [0, 0, 1, 2, 3] and len(squares) == 4
    assert inside(runs[0].heads, squares[0]).all() and inside(runs[1].heads, squares[0]).all()


@pytest.mark.parametrize("size", [(360, 288), (240, 320), (200, 200), (1280, 720)])
def test_the_square_never_leaves_the_picture(size: tuple[int, int]):
    for x, y in ((10, 10), (size[0] - 20, size[1] - 20), (size[0] / 2, size[1] / 2)):
        run = framed(still(x, y), size=size)
        square = choose_square(run.heads, FACE_PX, *size)
        assert square.x >= 0 and square.y >= 0
        assert square.x + square.side <= size[0] and square.y + square.side <= size[1]
        assert square.side <= min(size)


def test_face_height_is_hairline_to_chin():
    np.testing.assert_allclose(face_heights(faces(still(frames=2), 77)), 77, rtol=1e-4)


def test_hair_is_measured_up_to_the_first_gap():
    mesh = faces([[128, 140]], 100)[0]
    low, high = mesh[:468, :2].min(0), mesh[:468, :2].max(0)
    matte = np.zeros((256, 256), np.float32)
    # Head: 50 above the mesh, 10 left of it, 20 right of it; then a poster of a head further right, and one above.
    matte[round(low[1] - 50) : 256, round(low[0] - 10) : round(high[0] + 20)] = 1
    matte[60:200, round(high[0] + 30) :] = 1
    matte[: max(0, round(low[1] - 60)), 100:150] = 1
    np.testing.assert_allclose(hair_reach(matte, mesh), (0.1, 0.5, 0.2), atol=0.02)
    assert hair_reach(matte, mesh - np.array([600, 0, 0], np.float32))[0] == -1
