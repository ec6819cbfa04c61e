"""Corners, tracked points and agreed motions: against OpenCV, and against pictures whose motion is known."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.imaging.filters import gaussian_blur
from geneface.imaging.tracking import agreed_similarity, corner_strength, pick_corners, pyramid, track_points
from geneface.imaging.warp import warp_affine

HEIGHT, WIDTH = 120, 161


def pattern(seed: int = 0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Soft spots of all kinds, levels 0-255."""
    rng = np.random.default_rng(seed)
    rough = gaussian_blur(rng.normal(size=(height, width)), 2.5)
    return np.clip(128 + 60 * rough / rough.std(), 0, 255).round().astype(np.float32)


def similarity(turn: float, zoom: float, shift: tuple[float, float]) -> np.ndarray:
    """A turn and a zoom about the middle, and a shift."""
    factor = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    return np.column_stack([factor, middle - factor @ middle + shift])


def inside(points: np.ndarray, margin: float = 14) -> np.ndarray:
    """[P] which points are so far from the edge."""
    return (np.minimum(points, [WIDTH, HEIGHT] - points) > margin).all(1)


def corners(gray: np.ndarray, count: int = 80) -> np.ndarray:
    return pick_corners(corner_strength(gray / 255), np.ones(gray.shape, bool), count, 0.02, 6)


MOVES = [
    similarity(0, 1, (0, 0)),
    similarity(0, 1, (0.4, -0.3)),
    similarity(0, 1, (9, -6)),
    similarity(0.04, 1.05, (3, 2)),
]


@pytest.mark.parametrize("move", MOVES)
def test_points_are_followed_to_where_they_went(move):
    first = pattern()
    second = warp_affine(first, move, HEIGHT, WIDTH)
    points = corners(first)
    moved, found = track_points(pyramid(first), pyramid(second), points)
    truth = points @ move[:, :2].T + move[:, 2]
    inner = inside(points) & inside(truth)
    assert inner.sum() > 30 and found[inner].mean() > 0.95
    error = np.linalg.norm(moved - truth, axis=1)[inner & found]
    # A window only shifts: what turns and grows is found less exactly.
    assert np.median(error) < (0.2 if move is MOVES[3] else 0.02) and error.max() < 0.5


def test_nothing_is_followed_on_a_bare_wall_or_out_of_the_picture():
    bare = np.full((HEIGHT, WIDTH), 120, np.float32)
    points = np.array([(30.5, 40.5), (80.0, 60.0)])
    assert not track_points(pyramid(bare), pyramid(bare), points)[1].any()
    away = np.array([(-60.0, 40.0), (80.0, 400.0)])
    assert not track_points(pyramid(pattern()), pyramid(pattern()), away)[1].any()
    assert track_points(pyramid(bare), pyramid(bare), np.zeros((0, 2)))[0].shape == (0, 2)


def test_small_pictures_have_few_levels():
    assert [level.gray.shape for level in pyramid(pattern())] == [(150, 191), (90, 111), (60, 71)]
    assert len(pyramid(np.zeros((1, 1), np.float32))) == 1


def test_corners_are_apart_allowed_and_the_strongest():
    gray = pattern()
    strength = corner_strength(gray / 255)
    allowed = np.zeros(gray.shape, bool)
    allowed[20:90, 30:140] = True
    points = pick_corners(strength, allowed, 500, 0.05, 8)
    row, column = np.floor(points[:, ::-1]).astype(int).T
    assert allowed[row, column].all()
    values = strength[row, column]
    assert (np.diff(values) <= 0).all() and values[-1] > 0.05 * values[0] == 0.05 * strength[allowed].max()
    apart = np.linalg.norm(points[:, None] - points, axis=-1) + 100 * np.eye(len(points))
    assert apart.min() >= 8
    assert len(pick_corners(strength, allowed, 7, 0.05, 8)) == 7
    assert pick_corners(strength, np.zeros_like(allowed), 7, 0.05, 8).shape == (0, 2)


def test_the_motion_of_most_is_found_among_others():
    rng = np.random.default_rng(5)
    start = rng.uniform(0, 150, (100, 2))
    move = similarity(-0.1, 0.9, (4, 7))
    stop = start @ move[:, :2].T + move[:, 2] + rng.normal(scale=0.1, size=start.shape)
    stop[:35] = start[:35] + rng.uniform(5, 20, (35, 2))
    found, agrees = agreed_similarity(start, stop, 0.75)
    assert agrees[35:].all() and agrees[:35].sum() <= 2
    np.testing.assert_allclose(found[:, :2], move[:, :2], atol=2e-3)
    np.testing.assert_allclose(found @ [75, 75, 1], move @ [75, 75, 1], atol=0.1)
    # The same again: nothing is left to chance.
    np.testing.assert_array_equal(agreed_similarity(start, stop, 0.75)[0], found)


def test_few_points_and_one_place():
    found, agrees = agreed_similarity(np.zeros((3, 2)), np.full((3, 2), 2.0), 0.5)
    np.testing.assert_allclose(found, [[1, 0, 2], [0, 1, 2]])
    assert agrees.all()
    with pytest.raises(ValueError, match="two points"):
        agreed_similarity(np.zeros((1, 2)), np.zeros((1, 2)), 0.5)


def test_strength_and_corners_are_opencvs():
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    gray = pattern()
    strength = corner_strength(gray / 255)
    np.testing.assert_allclose(strength, cv2.cornerMinEigenVal(gray / 255, 5), atol=1e-6 * strength.max() + 1e-7)
    expected = cv2.goodFeaturesToTrack(gray.astype(np.uint8), 60, 0.02, 6, blockSize=5)[:, 0] + 0.5
    np.testing.assert_allclose(corners(gray, 60), expected)


@pytest.mark.parametrize("move", MOVES)
def test_tracks_are_opencvs(move):
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    first = pattern(2)
    second = warp_affine(first, move, HEIGHT, WIDTH).round()
    points = corners(first)
    bytes_ = [image.astype(np.uint8) for image in (first, second)]
    start = (points - 0.5).astype(np.float32)[:, None]
    expected, status, _ = cv2.calcOpticalFlowPyrLK(*bytes_, start, None, winSize=(15, 15), maxLevel=3)
    moved, found = track_points(pyramid(first), pyramid(second), points)
    # At the edge, what moved out of sight, both guess.
    inner = inside(points) & inside(points @ move[:, :2].T + move[:, 2])
    assert inner.sum() > 30
    np.testing.assert_array_equal(found[inner], status[inner, 0] > 0)
    error = np.linalg.norm(moved - expected[:, 0] - 0.5, axis=1)[inner & found]
    # OpenCV computes in whole numbers, on pyramids of bytes.
    assert np.median(error) < 0.01 and np.quantile(error, 0.9) < 0.05


def test_agreed_motions_are_opencvs():
    cv2 = pytest.importorskip("cv2", reason="no OpenCV here")
    rng = np.random.default_rng(6)
    start = rng.uniform(0, 150, (100, 2))
    stop = start @ MOVES[3][:, :2].T + MOVES[3][:, 2] + rng.normal(scale=0.05, size=start.shape)
    stop[:30] += rng.uniform(5, 20, (30, 2))
    expected, inliers = cv2.estimateAffinePartial2D(start, stop, ransacReprojThreshold=0.75)
    found, agrees = agreed_similarity(start, stop, 0.75)
    np.testing.assert_array_equal(agrees, inliers[:, 0] > 0)
    np.testing.assert_allclose(found, expected, atol=1e-3)
