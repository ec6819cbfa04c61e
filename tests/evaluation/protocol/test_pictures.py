"""Image metrics by region, against scikit-image on the same pixels."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import color, data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from geneface.evaluation.metrics.lpips import LpipsResult
from geneface.evaluation.metrics.picture import ReferenceFrame
from geneface.evaluation.protocol.pictures import ImageScores, compare_frame
from geneface.evaluation.schema import Figure, Missing
from geneface.evaluation.tools import Tools

TRUTH = "truth"
WHY = {"head": "no head", "mouth": "no mouth"}


class FakeNiqe:
    """The mean brightness, so that it is known what was looked at."""

    def score(self, image: np.ndarray) -> float:
        return float(image.mean()) if min(image.shape[:2]) >= 20 else float("nan")


class FakeInception:
    def features(self, images: list[np.ndarray]) -> np.ndarray:
        return np.stack([image.reshape(-1, 3).mean(0)[[0, 1]] for image in images]).astype(np.float64)


class FakeLpips:
    def features(self, image: np.ndarray) -> np.ndarray:
        return image.astype(np.float32)

    def compare(self, a: np.ndarray, b: np.ndarray) -> LpipsResult:
        distances = np.abs(a - b).mean(-1)
        return LpipsResult(float(distances.mean()), distances)


def tools(**instruments: object) -> Tools:
    absent = ("niqe", "lpips", "inception", "syncnet", "lip_sync")
    none: dict[str, object] = dict.fromkeys(absent, Missing("not here"))
    return Tools(**{"colour": True, **none, **instruments})  # type: ignore[arg-type]


@pytest.fixture
def frame() -> ReferenceFrame:
    image = np.ascontiguousarray(data.astronaut()[:61, 180:250])
    head = np.zeros(image.shape[:2], bool)
    head[5:40, 10:50] = True
    head[5:9, 10:14] = False
    return ReferenceFrame(image, head, None, np.array([20, 30, 44, 45]))


def noisy(image: np.ndarray, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(4, 12, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def scores_of(frames: list[ReferenceFrame], others: list[np.ndarray], kit: Tools) -> tuple[ImageScores, ImageScores]:
    truth, other = ImageScores(kit), ImageScores(kit)
    for reference, image in zip(frames, others, strict=True):
        images = {TRUTH: reference.image, "other": image}
        values = compare_frame(reference, images, kit, truth=TRUTH)
        truth.add(values[TRUTH])
        other.add(values["other"])
    return truth, other


def test_each_region_is_measured_on_its_own_pixels(frame: ReferenceFrame) -> None:
    other = noisy(frame.image)
    truth, scores = scores_of([frame], [other], tools())
    figures = scores.figures(truth, WHY)
    luma = [image.astype(np.float64) @ [0.299, 0.587, 0.114] for image in (frame.image, other)]
    similarity = structural_similarity(
        *luma, full=True, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )[1]
    colours = color.deltaE_ciede2000(color.rgb2lab(frame.image), color.rgb2lab(other))
    valid = np.zeros_like(frame.masks["frame"])
    valid[5:-5, 5:-5] = True
    for region, mask in frame.masks.items():
        pixels = frame.image[mask], other[mask]
        expected = {
            "psnr": peak_signal_noise_ratio(*pixels, data_range=255),
            "ssim": np.asarray(similarity)[mask & valid].mean(),
            "ciede2000": colours[mask].mean(),
            "luminance_shift": (luma[1] - luma[0])[mask].mean(),
        }
        for metric, value in expected.items():
            assert figures[f"{region}_{metric}"].value == pytest.approx(value, rel=1e-3), (region, metric)
    assert frame.masks["mouth"].sum() == 24 * 15 and frame.masks["head"].sum() == 35 * 40 - 16


def test_means_are_taken_over_frames_not_over_pixels(frame: ReferenceFrame) -> None:
    others = [noisy(frame.image, 1), np.ascontiguousarray(frame.image[::-1])]
    truth, both = scores_of([frame, frame], others, tools())
    alone = [scores_of([frame], [o], tools())[1].figures(truth, WHY)["frame_psnr"].value or 0 for o in others]
    assert both.figures(truth, WHY)["frame_psnr"].value == pytest.approx(np.mean(alone))
    assert both.per_frame("frame_psnr") == pytest.approx(alone)
    error = np.mean([np.abs(frame.image.astype(float) - other).mean(-1) for other in others], axis=0)
    assert both.mean_error == pytest.approx(error, abs=1e-4)


def test_sharpness_is_a_ratio_of_sums(frame: ReferenceFrame) -> None:
    flat = np.full_like(frame.image, 90)
    truth, scores = scores_of([frame, frame], [frame.image, flat], tools())
    assert scores.figures(truth, WHY)["head_sharpness_ratio"].value == pytest.approx(0.5)


def test_instruments_see_the_region_box_and_their_absence_is_a_reason(frame: ReferenceFrame) -> None:
    kit = tools(niqe=FakeNiqe(), lpips=FakeLpips(), inception=FakeInception())
    others = [noisy(frame.image, seed) for seed in range(3)]
    truth, scores = scores_of([frame] * 3, others, kit)
    figures = scores.figures(truth, WHY)
    assert figures["head_niqe"].value == pytest.approx(np.mean([o[5:40, 10:50].mean() for o in others]))
    assert figures["mouth_niqe"].value is None, "a region that is too small for NIQE has a reason, not a number"
    gap = np.mean([np.abs(frame.image.astype(float) - o)[30:45, 20:44].mean() for o in others])
    assert figures["mouth_lpips"].value == pytest.approx(gap, rel=1e-4)
    means = np.stack([o.reshape(-1, 3).mean(0)[:2] for o in others])
    expected = ((means.mean(0) - frame.image.reshape(-1, 3).mean(0)[:2]) ** 2).sum() + np.trace(np.cov(means.T))
    assert figures["frame_fid"].value == pytest.approx(expected, rel=1e-3), "a constant has no covariance"
    own = truth.figures(truth, WHY)
    assert own["frame_niqe"].value == pytest.approx(frame.image.mean())
    assert own["frame_psnr"].value is None and own["frame_fid"].value is None
    blind = scores_of([frame], [others[0]], tools())[1].figures(truth, WHY)
    for key in ("frame_niqe", "head_lpips", "frame_fid"):
        assert blind[key] == Figure(reason="not here")


def test_regions_that_are_not_known_have_a_reason(frame: ReferenceFrame) -> None:
    bare = ReferenceFrame(frame.image, mouth_box=np.array([200, 200, 220, 220]))
    truth, scores = scores_of([bare], [noisy(frame.image)], tools())
    figures = scores.figures(truth, WHY)
    assert figures["head_psnr"].reason == "no head" and figures["mouth_ssim"].reason == "no mouth"
    assert figures["frame_psnr"].value is not None
    empty = ImageScores(tools())
    assert "no frames" in (empty.figures(empty, WHY)["frame_psnr"].reason or "")


def test_a_frame_that_is_left_out_leaves_a_gap_and_no_trace_in_the_mean(frame: ReferenceFrame) -> None:
    kit = tools()
    one = compare_frame(frame, {"other": noisy(frame.image)}, kit, truth=TRUTH)["other"]
    gapped, whole = ImageScores(kit), ImageScores(kit)
    for value in (None, one, None, one):
        gapped.add(value)
    for _ in range(2):
        whole.add(one)
    assert np.isnan(gapped.per_frame("frame_psnr")).tolist() == [True, False, True, False]
    truth = ImageScores(kit)
    assert gapped.figures(truth, WHY) == whole.figures(truth, WHY)
    assert gapped.frames == 2 and gapped.mean_error == pytest.approx(whole.mean_error)


def test_pictures_of_another_size_are_refused(frame: ReferenceFrame) -> None:
    with pytest.raises(ValueError, match="shapes"):
        compare_frame(frame, {"other": frame.image[:-1]}, tools(), truth=TRUTH)
