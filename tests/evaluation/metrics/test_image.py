"""Image metrics against independent implementations and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from geneface.evaluation.metrics.colour import ciede2000, lab
from geneface.evaluation.metrics.pixels import clip_box, erode, luminance
from geneface.evaluation.metrics.psnr import CEILING_DB, psnr
from geneface.evaluation.metrics.sharpness import sharpness
from geneface.evaluation.metrics.ssim import ssim_map


def picture(seed: int = 0, height: int = 47, width: int = 61) -> np.ndarray:
    """A smooth random colour picture."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width, 3)), (3, 3, 0))
    return np.clip(128 + 400 * smooth, 0, 255).astype(np.uint8)


def noisy(image: np.ndarray, sigma: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).round().astype(np.uint8)


def test_psnr_equals_scikit_image_and_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.image import peak_signal_noise_ratio as torch_psnr

    a, b = picture(), noisy(picture(), 9)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), rel=1e-3)
    tensors = [torch.from_numpy(x.astype(np.float32)) for x in (b, a)]
    assert psnr(a, b) == pytest.approx(float(torch_psnr(*tensors, data_range=255.0)), rel=1e-3)


def test_psnr_of_a_constant_difference_has_a_closed_form() -> None:
    a = np.full((20, 30, 3), 100, np.uint8)
    assert psnr(a, a + np.uint8(10)) == pytest.approx(20 * np.log10(25.5), rel=1e-6)
    assert psnr(a, a) == CEILING_DB


def test_psnr_sees_only_the_mask() -> None:
    a = picture()
    b, mask = a.copy(), np.zeros(a.shape[:2], bool)
    mask[5:20, 5:20] = True
    b[~mask] = 255 - b[~mask]
    b[mask] = np.where(b[mask] < 128, b[mask] + 5, b[mask] - 5)
    assert psnr(a, b, mask) == pytest.approx(20 * np.log10(51), rel=1e-6)
    assert np.isnan(psnr(a, b, np.zeros_like(mask)))


@pytest.mark.parametrize("sigma", [1.0, 8.0, 40.0])
def test_ssim_equals_scikit_image(sigma: float) -> None:
    a = luminance(picture())
    b = luminance(noisy(picture(), sigma))
    full = np.asarray(
        structural_similarity(
            a, b, data_range=255, full=True, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )[1]
    )
    ours = ssim_map(a, b)
    np.testing.assert_allclose(ours, full[5:-5, 5:-5], rtol=1e-3, atol=1e-4)
    assert ours.mean() == pytest.approx(full[5:-5, 5:-5].mean(), rel=1e-3)


def test_ssim_equals_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    from torchmetrics.functional.image import structural_similarity_index_measure as torch_ssim

    a, b = luminance(picture(2)), luminance(noisy(picture(2), 12))
    tensors = [torch.from_numpy(x)[None, None].double() for x in (b, a)]
    options = {"data_range": 255.0, "gaussian_kernel": True, "sigma": 1.5, "kernel_size": 11}
    _, full = torch_ssim(*tensors, return_full_image=True, **options)
    # Its own mean includes a border of reflected pixels, which Wang's definition does not have.
    assert ssim_map(a, b).mean() == pytest.approx(float(full[..., 5:-5, 5:-5].mean()), rel=1e-3)


def test_ssim_refuses_pictures_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="11 x 11"):
        ssim_map(np.zeros((10, 40), np.float32), np.zeros((10, 40), np.float32))


def test_erosion_equals_scipy() -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(40, 33)), 4) > 0
    np.testing.assert_array_equal(erode(mask, 2), ndimage.binary_erosion(mask, np.ones((5, 5))))


def test_sharpness_is_the_variance_of_scipys_laplacian() -> None:
    values = luminance(picture(4))
    mask = np.zeros(values.shape, bool)
    mask[8:30, 10:50] = True
    expected = ndimage.laplace(values.astype(np.float64))[mask].var()
    assert sharpness(values, mask) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((2, 3, 10, 12), (slice(3, 12), slice(2, 10))),
        ((-5, -5, 4, 4), (slice(0, 4), slice(0, 4))),
        ((25, 0, 40, 9), (slice(0, 9), slice(25, 30))),
        ((30, 0, 40, 9), None),
        ((5, 5, 5, 9), None),
    ],
)
def test_boxes_are_cut_at_the_border(box: tuple[int, ...], expected: object) -> None:
    assert clip_box(np.array(box), width=30, height=20) == expected


def test_ciede2000_of_published_pairs() -> None:
    """Sharma, Wu and Dalal 2005, table 1: pairs 1, 7, 17, 25 and 34."""
    pairs = [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    first, second, expected = (np.array(column)[:, None] for column in zip(*pairs, strict=True))
    assert ciede2000(first, second).ravel() == pytest.approx(expected.ravel(), abs=1e-4)


def test_lab_of_known_colours() -> None:
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    assert lab(colours)[0] == pytest.approx(np.array([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]]), abs=0.02)
