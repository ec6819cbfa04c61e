"""LSE: lags in closed form, crops by hand and against torch, the cut into windows against plain slices."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from scipy.signal import medfilt
from torch.nn import functional

from geneface.errors import MissingExtraError
from geneface.evaluation.metrics.lse import (
    MIN_FRAMES,
    LseScore,
    SyncNetScorer,
    crop_faces,
    face_boxes,
    mean_score,
    mfcc,
    score_embeddings,
)
from geneface.evaluation.networks.syncnet import SyncNet
from geneface.types import Waveform


@pytest.mark.parametrize("late", [-15, -4, 0, 3, 15])
def test_a_known_shift_is_found_with_its_closed_form(late: int) -> None:
    """Every window has a direction of its own: pairs are at distance 0, sqrt(2), or 1 (beyond the sound)."""
    windows = 60
    directions = np.eye(windows + 30, dtype=np.float32)
    speech, lips = directions[15 : 15 + windows], directions[15 - late : 15 - late + windows]
    score = score_embeddings(lips, speech)
    lags = np.arange(-15, 16)
    curve = (np.abs(lags) + (windows - np.abs(lags)) * np.sqrt(2)) / windows
    curve[lags == late] = abs(late) / windows
    assert score.offset_frames == late
    assert score.distance == pytest.approx(curve.min(), abs=2e-5)
    assert score.confidence == pytest.approx(np.median(curve) - curve.min(), abs=2e-5)


def test_distances_are_those_of_the_plain_loop() -> None:
    rng = np.random.default_rng(0)
    lips, speech = rng.normal(size=(2, 40, 1024)).astype(np.float32)
    curve = []
    for shift in range(-15, 16):
        distances = []
        for t in range(40):
            other = speech[t + shift] if 0 <= t + shift < 40 else np.zeros(1024)
            distances.append(np.sqrt(np.sum((lips[t] - other + 1e-6) ** 2)))
        curve.append(np.mean(distances))
    score = score_embeddings(lips, speech)
    assert score.distance == pytest.approx(min(curve), rel=1e-5)
    assert score.confidence == pytest.approx(np.median(curve) - min(curve), rel=1e-3)
    assert score.offset_frames == 15 - int(np.argmin(curve))


def test_mean_over_clips_leaves_out_those_without_a_score() -> None:
    nan = float("nan")
    scores = [LseScore(2, 8, 1), LseScore(nan, nan, nan), LseScore(4, 7, -1), LseScore(6, 9, 1)]
    assert mean_score(scores) == LseScore(4, 8, 1)
    assert np.isnan(mean_score(scores[1:2]).distance) and np.isnan(mean_score([]).confidence)


def test_box_is_the_extent_of_the_skin() -> None:
    mesh = np.random.default_rng(1).uniform(100, 200, (2, 478, 3))
    mesh[:, 10, :2], mesh[:, 152, :2], mesh[:, 234, :2] = (150, 40), (151, 260), (90, 150)
    mesh[:, 470] = 500
    assert np.allclose(face_boxes(mesh)[:, :2], [90, 40])
    assert np.allclose(face_boxes(mesh)[:, 3], 260)
    assert (face_boxes(mesh)[:, 2] <= 200).all()


def still(box: tuple[float, float, float, float], frames: int) -> np.ndarray:
    return np.tile(np.array(box, np.float64), (frames, 1))


def test_crop_by_hand() -> None:
    """Box 160 high around (200, 180): s = 80, so x from 88 to 312 and y from 100 to 324: 224 pixels, not resampled."""
    frames = np.random.default_rng(2).integers(0, 256, (13, 400, 420, 3), dtype=np.uint8)
    crops = crop_faces(list(frames), still((140, 100, 260, 260), 13))
    assert np.array_equal(crops, frames[:, 100:324, 88:312])


def test_what_lies_outside_the_picture_is_grey() -> None:
    frames = np.random.default_rng(3).integers(0, 256, (7, 150, 120, 3), dtype=np.uint8)
    crops = crop_faces(list(frames), still((-20, -30, 100, 130), 7))
    # s = 80 around (40, 50): x from -72 to 152, y from -30 to 194.
    assert np.array_equal(crops[:, 30:180, 72:192], frames)
    outside = np.ones((224, 224), bool)
    outside[30:180, 72:192] = False
    assert (crops[:, outside] == 110).all()


def test_a_face_beyond_the_edge_leaves_a_grey_crop() -> None:
    frames = np.zeros((7, 50, 60, 3), np.uint8)
    for box in ((500, 500, 600, 600), (-600, -600, -500, -500), (20, 20, 20, 20)):
        crops = crop_faces(list(frames), still(box, 7))
        assert crops.shape == (7, 224, 224, 3)
        assert set(np.unique(crops)) <= ({0} if box[0] == 20 else {110})


@pytest.mark.parametrize("half", [31.0, 137.0])
def test_resampling_is_torchs_bilinear(half: float) -> None:
    frame = np.random.default_rng(4).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    crop = crop_faces([frame] * 7, still((350 - half, 300 - half, 350 + half, 300 + half), 7))[3]
    x0, x1 = int(350 - 1.4 * half), int(350 + 1.4 * half)
    y0, y1 = int(300 - half), int(300 + 1.8 * half)
    piece = torch.from_numpy(frame[y0:y1, x0:x1].transpose(2, 0, 1)[None].astype(np.float64))
    expected = functional.interpolate(piece, (224, 224), mode="bilinear", align_corners=False, antialias=False)
    assert np.abs(crop - expected[0].numpy().transpose(1, 2, 0)).max() <= 0.501


def test_boxes_are_smoothed_as_scipys_median_filter_does() -> None:
    """A picture of coordinates shows where each crop was taken."""
    rng = np.random.default_rng(5)
    centre = 500 + np.cumsum(rng.normal(0, 6, 30))
    boxes = np.stack([centre - 80, centre - 90, centre + 80, centre + 70], axis=1)
    ramp = np.zeros((1000, 1000, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(1000) % 256, np.arange(1000)[:, None] % 256
    crops = crop_faces([ramp] * 30, boxes)
    left, top = np.floor(medfilt(centre, 13) - 1.4 * 80), np.floor(medfilt(centre - 10, 13) - 80)
    assert np.array_equal(crops[:, 0, 0, 0], left % 256)
    assert np.array_equal(crops[:, 0, 0, 1], top % 256)


def test_mfcc_are_of_16_bit_sound_in_four_columns_a_frame() -> None:
    sound = np.random.default_rng(6).normal(0, 0.1, 50 * 640).astype(np.float32)
    sound[10 * 640 :] *= 0.001
    features = mfcc(sound)
    assert features.shape == (4 * 50 - 1, 13)
    integers = np.rint(sound * 32768.0)
    emphasised = np.append(integers[0], integers[1:] - 0.97 * integers[:-1])
    for column in (0, 17, 120):
        spectrum = np.fft.rfft(emphasised[160 * column : 160 * column + 400], 512)
        energy = np.log(np.sum(np.abs(spectrum) ** 2) / 512)
        assert features[column, 0] == pytest.approx(energy, abs=1e-4)
    # The sound falls silent with frame 10: from column 40 on.
    assert features[:38, 0].min() > features[40:, 0].max() + 5
    assert np.isfinite(mfcc(np.zeros(16_000, np.float32))).all()
    assert np.array_equal(mfcc(np.full(1600, 3.0, np.float32)), mfcc(np.full(1600, 32767 / 32768, np.float32)))


class Recorder:
    """Stands for the network: embeddings are the windows' own marks, and the windows are kept."""

    def __init__(self) -> None:
        self.seen: dict[str, list[torch.Tensor]] = {"lips": [], "speech": []}

    def lips(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen["lips"].append(windows.clone())
        return windows[:, :, 0, 0, 0]

    def speech(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen["speech"].append(windows.clone())
        return windows[:, :3, 0]


@pytest.mark.slow
@pytest.mark.parametrize("frame_count, extra_samples", [(MIN_FRAMES, 0), (60, 700), (70, -9 * 640 - 5)])
def test_windows_of_pictures_and_sound_are_of_the_same_time(frame_count: int, extra_samples: int) -> None:
    recorder, rng = Recorder(), np.random.default_rng(7)
    frames = np.zeros((frame_count, 300, 300, 3), np.uint8)
    frames[:] = rng.integers(0, 256, (frame_count, 1, 1, 3))
    mesh = np.zeros((frame_count, 478, 3))
    mesh[:, ::2, :2], mesh[:, 1::2, :2] = 130, 170
    sound = rng.normal(0, 0.1, frame_count * 640 + extra_samples).astype(np.float32)
    score = SyncNetScorer(cast(SyncNet, recorder)).score(list(frames), mesh, Waveform(sound))
    heard = min(frame_count, len(sound) // 640)
    pictures, columns = torch.cat(recorder.seen["lips"]), torch.cat(recorder.seen["speech"])
    assert pictures.shape == (heard - 5, 3, 5, 224, 224) and columns.shape == (heard - 5, 13, 20)
    features = mfcc(sound)
    for t in (0, 1, heard - 6):
        colours = frames[t : t + 5, 0, 0, ::-1].T.astype(np.float32)
        assert np.array_equal(pictures[t, :, :, 50, 60].numpy(), colours)
        assert np.array_equal(columns[t].numpy(), features[4 * t : 4 * t + 20].T)
    assert np.isfinite([score.distance, score.confidence, score.offset_frames]).all()


def test_short_clips_have_no_score() -> None:
    scorer = SyncNetScorer(cast(SyncNet, Recorder()))
    frames, mesh = np.zeros((50, 8, 8, 3), np.uint8), np.zeros((50, 478, 3))
    for count, samples in ((MIN_FRAMES - 1, 50 * 640), (50, MIN_FRAMES * 640 - 1), (0, 0)):
        score = scorer.score(list(frames[:count]), mesh[:count], Waveform(np.zeros(samples, np.float32)))
        assert np.isnan([score.distance, score.confidence, score.offset_frames]).all()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "python_speech_features", None)
    with pytest.raises(MissingExtraError, match="python_speech_features"):
        SyncNetScorer.load(tmp_path / "syncnet.safetensors")
