"""Two videos compared: sizes, lengths, known differences, and lips found by a double of the tracker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from geneface.errors import InputError, MissingExtraError
from geneface.evaluation import compare as compare_module
from geneface.evaluation.compare import compare_videos
from geneface.evaluation.schema import LIP_KEYS, EvaluationReport
from geneface.geometry.landmarks import MESH_SIZE
from geneface.io.video import write_video

FRAMES, SIZE = 40, 64


def texture() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(128 + 300 * ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE, 3)), (2, 2, 0)), 40, 215)


def openings(frames: int = FRAMES) -> np.ndarray:
    return 0.5 + 0.5 * np.sin(np.arange(frames) / 2.3) * np.cos(np.arange(frames) / 7)


def video(path: Path, opening: np.ndarray, noise: float = 0, shift: float = 0, size: int = SIZE) -> Path:
    """A grey bar in the lower half whose brightness is the opening: what the double of the tracker reads."""
    rng = np.random.default_rng(1)
    frames = []
    for value in opening:
        image = texture() + shift + rng.normal(0, noise, (SIZE, SIZE, 3)) if noise else texture() + shift
        image[48:60, 8:56] = 40 + 170 * value
        frames.append(np.clip(image, 0, 255).round().astype(np.uint8)[:size, :size])
    write_video(path, iter(frames), None)
    return path


class FakeTracker:
    """Reads the opening of the lips from the bar's brightness; a black picture has no face."""

    def __enter__(self) -> FakeTracker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def track(self, image: np.ndarray) -> np.ndarray | None:
        if image.mean() < 20:
            return None
        mesh = 8 * np.random.default_rng(0).normal(size=(MESH_SIZE, 3)).astype(np.float32) + 32
        mesh[234, :2], mesh[454, :2] = (12, 30), (52, 30)
        opening = (image[50:58, 16:48].mean() - 40) / 170
        for upper, lower in ((82, 87), (13, 14), (312, 317)):
            mesh[lower] = mesh[upper]
            mesh[lower, 1] += 6 * opening
        return mesh


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "FaceTracker", FakeTracker)


def figures(metrics: dict[str, Any], table: str) -> dict[str, dict[str, Any]]:
    return metrics["tables"][table]["rows"][0]["figures"]


def missing_tracker() -> None:
    raise MissingExtraError("mediapipe", "prepare")


def test_a_video_equals_itself(tmp_path: Path, tracker: None) -> None:
    one = video(tmp_path / "a.mp4", openings())
    metrics = compare_videos(one, one)
    assert figures(metrics, "image")["frame_psnr"]["value"] == 100
    assert figures(metrics, "image")["frame_ssim"]["value"] == pytest.approx(1, abs=1e-5)
    assert figures(metrics, "lips")["opening_correlation"]["value"] == pytest.approx(1)
    assert figures(metrics, "lips")["lip_landmark_distance"]["value"] == 0
    assert "masks" in figures(metrics, "image")["head_psnr"]["reason"]


def test_a_late_video_is_late_and_a_brighter_one_brighter(tmp_path: Path, tracker: None) -> None:
    curve = openings(FRAMES + 3)
    one = video(tmp_path / "a.mp4", curve[3:])
    other = video(tmp_path / "b.mp4", curve[:-3], shift=12)
    metrics = compare_videos(one, other)
    assert figures(metrics, "lips")["offset_frames"]["value"] == 3
    # Three quarters of the picture are 12 levels brighter; the bar is as bright as before on average.
    assert figures(metrics, "image")["luminance_shift"]["value"] == pytest.approx(12 * (1 - 12 * 48 / 64**2), abs=2)


def test_more_noise_scores_worse(tmp_path: Path, tracker: None) -> None:
    one = video(tmp_path / "a.mp4", openings())
    scores = [
        figures(compare_videos(one, video(tmp_path / f"{n}.mp4", openings(), noise=n)), "image") for n in (4, 16, 40)
    ]
    for key in ("frame_psnr", "frame_ssim", "mouth_psnr"):
        values = [score[key]["value"] for score in scores]
        assert values == sorted(values, reverse=True), key


def test_files_are_written_and_valid(tmp_path: Path, tracker: None) -> None:
    one = video(tmp_path / "a.mp4", openings())
    other = video(tmp_path / "b.mp4", openings(FRAMES - 8), noise=5)
    metrics = compare_videos(one, other, tmp_path / "out")
    text = (tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")
    assert EvaluationReport.model_validate_json(text).model_dump() == metrics
    assert "32 frames compared" in metrics["tables"]["image"]["note"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page and page.count("<polyline") == 2
    assert (tmp_path / "out" / "contact_sheet.png").exists()


def test_without_the_tracker_lips_have_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_module, "FaceTracker", missing_tracker)
    one = video(tmp_path / "a.mp4", openings(8))
    metrics = compare_videos(one, one)
    for key in LIP_KEYS:
        assert "mediapipe" in figures(metrics, "lips")[key]["reason"]
    assert "mediapipe" in figures(metrics, "image")["mouth_psnr"]["reason"]
    assert figures(metrics, "image")["frame_psnr"]["value"] == 100


def test_videos_without_a_face_have_no_lips(tmp_path: Path, tracker: None) -> None:
    black = tmp_path / "black.mp4"
    write_video(black, iter([np.zeros((SIZE, SIZE, 3), np.uint8)] * 10), None)
    metrics = compare_videos(black, black)
    assert "0 of 10 frames" in figures(metrics, "lips")["opening_correlation"]["reason"]
    assert figures(metrics, "image")["mouth_psnr"]["reason"] == "no face was found"


def test_sizes_must_agree(tmp_path: Path, tracker: None) -> None:
    one = video(tmp_path / "a.mp4", openings(5))
    small = video(tmp_path / "b.mp4", openings(5), size=48)
    with pytest.raises(InputError, match=r"64x64.*48x48"):
        compare_videos(one, small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text("no video")], ids=["missing", "text"])
def test_bad_files_are_named(tmp_path: Path, tracker: None, make: Callable[[Path], object]) -> None:
    one = video(tmp_path / "a.mp4", openings(5))
    make(tmp_path / "bad.mp4")
    with pytest.raises(InputError, match=r"bad\.mp4"):
        compare_videos(one, tmp_path / "bad.mp4")
