import numpy as np

from geneface.training.gaussian.neighbours import diffuse, nearest_neighbours


def test_neighbours_are_the_nearest_others():
    points = np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32)
    found = nearest_neighbours(points, 5)
    distance = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    expected = np.sort(distance, axis=1)[:, :5]
    np.testing.assert_allclose(np.sort(np.take_along_axis(distance, found, 1), axis=1), expected, rtol=1e-3)


def test_few_points_have_few_neighbours():
    points = np.eye(3, dtype=np.float32)
    assert {tuple(sorted(row)) for row in nearest_neighbours(points, 6).tolist()} == {(1, 2), (0, 2), (0, 1)}
    assert nearest_neighbours(points[:1]).shape == (1, 0)
    assert nearest_neighbours(points[:0]).shape == (0, 0)


def test_diffusion_is_a_step_towards_the_neighbours_mean():
    rng = np.random.default_rng(1)
    basis = rng.normal(size=(3, 7, 40)).astype(np.float32)
    neighbours = nearest_neighbours(rng.normal(size=(40, 3)).astype(np.float32), 4)
    share = np.linspace(0, 1, 7).astype(np.float32)
    expected = basis.astype(np.float64).copy()
    for c in range(3):
        for row in range(7):
            for n in range(40):
                mean = basis[c, row, neighbours[n]].astype(np.float64).mean()
                expected[c, row, n] += share[row] * (mean - basis[c, row, n])
    diffuse(basis, neighbours, share, np.zeros_like(basis))
    np.testing.assert_allclose(basis, expected, atol=1e-5)


def test_what_all_share_stays_and_what_one_has_fades():
    points = np.random.default_rng(2).normal(size=(60, 3)).astype(np.float32)
    neighbours = nearest_neighbours(points)
    basis = np.ones((1, 7, 60), np.float32)
    basis[0, 0, 7] = 11
    for _ in range(30):
        diffuse(basis, neighbours, np.full(7, 0.3, np.float32), np.zeros_like(basis))
    np.testing.assert_allclose(basis[0, 1], 1, atol=1e-5)
    assert basis[0, 0].max() < 3


def test_one_gaussian_is_left_alone():
    basis = np.ones((2, 7, 1), np.float32)
    diffuse(basis, nearest_neighbours(np.zeros((1, 3), np.float32)), np.ones(7, np.float32), np.zeros_like(basis))
    assert (basis == 1).all()


def test_the_motion_of_the_mesh_is_not_shared():
    rng = np.random.default_rng(3)
    bound = rng.normal(size=(2, 7, 30)).astype(np.float32)
    basis = bound + 0.5
    neighbours = nearest_neighbours(rng.normal(size=(30, 3)).astype(np.float32))
    diffuse(basis, neighbours, np.ones(7, np.float32), bound)
    np.testing.assert_allclose(basis, bound + 0.5, atol=1e-5)
