import numpy as np
import pytest

from geneface.render.composite import over, resize, straight_alpha


def test_straight_alpha_undoes_over():
    rng = np.random.default_rng(0)
    foreground, plate = rng.random((2, 7, 9, 3), dtype=np.float32)
    opacity = rng.uniform(0.2, 1, (7, 9)).astype(np.float32)
    rgba = straight_alpha(over(foreground, opacity, plate), opacity, plate)
    assert rgba.dtype == np.uint8
    np.testing.assert_allclose(rgba[..., :3] / 255, foreground, atol=0.6 / 255)
    np.testing.assert_allclose(rgba[..., 3] / 255, opacity, atol=0.6 / 255)


def test_nothing_is_black_and_transparent():
    plate = np.full((2, 3, 3), 0.7, np.float32)
    assert (straight_alpha(plate, np.zeros((2, 3), np.float32), plate) == 0).all()


@pytest.mark.parametrize("shape", [(5, 8), (10, 13), (40, 16)])
def test_resize_keeps_constants_and_ramps(shape):
    rows, columns = np.mgrid[:10, :13]
    image = np.stack([0.2 + 0.05 * (rows + 0.5) / 10, 0.5 + 0 * rows, 0.3 + 0.4 * (columns + 0.5) / 13], -1).astype(
        np.float32
    )
    small = resize(image, *shape)
    assert small.shape == (*shape, 3) and small.dtype == np.float32
    np.testing.assert_allclose(small[..., 1], 0.5, atol=1e-6)
    # Away from the edges, where the filter is cut off, a ramp stays the same function of relative position.
    expected = 0.3 + 0.4 * (np.arange(shape[1]) + 0.5) / shape[1]
    inner = slice(shape[1] // 4, -(shape[1] // 4))
    np.testing.assert_allclose(small[shape[0] // 2, inner, 2], expected[inner], atol=2e-3)


def test_shrinking_averages_instead_of_skipping_pixels():
    stripes = np.zeros((16, 16, 3), np.float32)
    stripes[:, ::2] = 1
    np.testing.assert_allclose(resize(stripes, 4, 4)[1:-1, 1:-1], 0.5, atol=0.02)
