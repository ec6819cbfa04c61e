"""A whole evaluation of doubles whose scores are known, and the files it writes."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.evaluation import evaluate as evaluate_module
from geneface.evaluation.evaluate import evaluate_avatar
from geneface.evaluation.likeness import measure_likeness
from geneface.evaluation.schema import DEFINITIONS, EvaluationReport, Figure, MetricRow, MetricTable
from geneface.evaluation.subjects import Span, evenly_spaced, heldout_spans, late_frame
from geneface.io.audio import write_wav
from geneface.io.video import read_png
from geneface.render.renderer import RenderedFrame
from geneface.types import Camera, LandmarkTrack, MotionTrack, Waveform, no_progress

from .doubles import FakeAvatar, FakePortrait


@pytest.fixture(scope="module")
def portrait() -> FakePortrait:
    return FakePortrait()


@pytest.fixture(scope="module")
def evaluated(portrait: FakePortrait, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("report")
    avatar = FakeAvatar(portrait, error=5, delay_frames=2, gain=0.8, brow_noise=2e-3, name="<b>sly</b>")
    return evaluate_avatar(avatar, portrait, out, max_frames=40), out


def row(metrics: dict[str, Any], table: str, name: str) -> dict[str, float | None]:
    found = next(r for r in metrics["tables"][table]["rows"] if name in r["name"])
    return {key: item["value"] for key, item in found["figures"].items()}


def test_likeness_of_a_known_error_has_a_closed_form(evaluated: tuple[dict[str, Any], Path]) -> None:
    scores = row(evaluated[0], "image", "sly")
    expected = 20 * np.log10(255 / 5)
    for key in ("head_psnr", "mouth_psnr", "frame_psnr"):
        assert scores[key] == pytest.approx(expected, abs=0.01), key
    assert scores["luminance_shift"] == pytest.approx(0, abs=0.05)
    assert (scores["sharpness_ratio"] or 0) > 1


def test_a_better_renderer_scores_better(evaluated: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    portrait = FakePortrait()
    good = row(evaluate_avatar(FakeAvatar(portrait, error=2), portrait, tmp_path, max_frames=20), "image", "double")
    bad = row(evaluated[0], "image", "sly")
    for key in ("head_psnr", "mouth_psnr", "frame_psnr", "head_ssim", "frame_ssim"):
        assert (good[key] or 0) > (bad[key] or 0), key


def test_image_controls_are_ordered(evaluated: tuple[dict[str, Any], Path]) -> None:
    """Our MP4 costs little, two frames of delay much, and every figure says so."""
    encoded = row(evaluated[0], "image", "encoded as our MP4")
    late = row(evaluated[0], "image", "frames late")
    for key in ("head_psnr", "mouth_psnr", "frame_psnr", "head_ssim", "frame_ssim"):
        assert (encoded[key] or 0) > (late[key] or 0), key
    assert (encoded["frame_psnr"] or 0) < 100
    assert row(evaluated[0], "image", "still frame")["mouth_psnr"] is not None


def test_speech_to_lips_finds_delay_and_gain(evaluated: tuple[dict[str, Any], Path]) -> None:
    scores = row(evaluated[0], "lips", "sly")
    assert scores["offset_frames"] == 2
    # Two frames of each clip leave the window at its end and silence enters: the ratio is near the gain, not equal.
    assert scores["opening_amplitude_ratio"] == pytest.approx(0.8, abs=0.1)
    assert (scores["opening_correlation"] or 0) < 0.9


def test_a_true_ear_scores_perfectly(tmp_path: Path) -> None:
    portrait = FakePortrait()
    avatar = FakeAvatar(portrait)
    scores = row(evaluate_avatar(avatar, portrait, tmp_path, max_frames=4), "lips", "double")
    assert scores["opening_correlation"] == pytest.approx(1, abs=1e-4)
    assert scores["opening_amplitude_ratio"] == pytest.approx(1, abs=1e-4)
    assert scores["lip_landmark_distance"] == pytest.approx(0, abs=1e-4)
    assert scores["offset_frames"] == 0


def test_lip_controls_are_ordered(evaluated: tuple[dict[str, Any], Path]) -> None:
    late, still = (row(evaluated[0], "lips", name) for name in ("frames late", "still face"))
    assert late["offset_frames"] == 2
    assert late["opening_amplitude_ratio"] == pytest.approx(1, abs=0.1)
    assert still["opening_correlation"] is None and still["opening_amplitude_ratio"] == pytest.approx(0, abs=1e-5)


def test_stability_finds_the_trembling(evaluated: tuple[dict[str, Any], Path]) -> None:
    assert row(evaluated[0], "stability", "sly")["brow_jitter_ratio"] == pytest.approx(2, rel=0.1)
    assert row(evaluated[0], "stability", "sly")["rotation_jitter_ratio"] == pytest.approx(0, abs=1e-6)
    assert row(evaluated[0], "stability", "frames late")["brow_jitter_ratio"] == pytest.approx(1, rel=0.05)
    assert row(evaluated[0], "stability", "still face")["brow_jitter_ratio"] == pytest.approx(0, abs=1e-3)


def test_every_missing_figure_has_a_reason(evaluated: tuple[dict[str, Any], Path]) -> None:
    for table in evaluated[0]["tables"].values():
        for r in table["rows"]:
            for key, item in r["figures"].items():
                assert (item["value"] is None) == bool(item["reason"]), (r["name"], key)


def test_metrics_file_is_valid_and_defines_its_keys(evaluated: tuple[dict[str, Any], Path]) -> None:
    text = (evaluated[1] / "metrics.json").read_text(encoding="utf-8")
    report = EvaluationReport.model_validate_json(text)
    assert report.model_dump() == evaluated[0] == json.loads(text)
    used = {key for table in report.tables.values() for r in table.rows for key in r.figures}
    assert used == set(report.definitions)
    assert all(item.unit and item.description for item in DEFINITIONS.values())
    assert {"python", "numpy", "geneface"} <= set(report.versions)


class Page(HTMLParser):
    """Collects what a page would load and what it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for key, value in attrs if key in ("src", "href", "data")]


def test_report_is_one_file_with_tables_curves_and_frames(evaluated: tuple[dict[str, Any], Path]) -> None:
    text = (evaluated[1] / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert len(page.loads) == 1 and page.loads[0].startswith("data:image/png;base64,")
    sheet = base64.b64decode(page.loads[0].split(",", 1)[1])
    assert sheet == (evaluated[1] / "contact_sheet.png").read_bytes()
    assert page.tags.count("table") >= 4 and page.tags.count("svg") == 2 and page.tags.count("polyline") == 4
    assert "<b>sly</b>" not in text and "&lt;b&gt;sly" in text
    assert not re.search(r"\bnan\b|\binf\b", text)
    assert read_png(evaluated[1] / "contact_sheet.png").shape[1] > 2 * 3 * 256


def test_nothing_but_the_held_out_part_is_heard(portrait: FakePortrait, tmp_path: Path) -> None:
    avatar = FakeAvatar(portrait)
    evaluate_avatar(avatar, portrait, tmp_path, max_frames=4)
    assert avatar.heard_seconds == pytest.approx([60 / 25, 50 / 25])
    assert avatar.fake_renderer.calls == 4


def test_a_held_out_end_is_predicted_with_the_sound_before_it(tmp_path: Path) -> None:
    portrait = FakePortrait(lengths=(200,), heldout_segments=())
    portrait.heldout[160:] = True
    avatar = FakeAvatar(portrait)
    metrics = evaluate_avatar(avatar, portrait, tmp_path, max_frames=4)
    assert avatar.heard_seconds == pytest.approx([90 / 25])
    assert row(metrics, "lips", "double")["opening_correlation"] == pytest.approx(1, abs=1e-4)


def test_a_portrait_without_held_out_frames_gives_reasons(tmp_path: Path) -> None:
    portrait = FakePortrait(heldout_segments=())
    metrics = evaluate_avatar(FakeAvatar(portrait), portrait, tmp_path)
    for table in ("image", "lips", "stability", "speed"):
        assert all(value is None for value in row(metrics, table, "double").values()), table
    assert not (tmp_path / "contact_sheet.png").exists()


def test_another_portrait_is_refused(portrait: FakePortrait, tmp_path: Path) -> None:
    avatar = FakeAvatar(portrait)
    avatar.camera = Camera(4.0, 64, 64)
    with pytest.raises(InputError, match="another portrait"):
        evaluate_avatar(avatar, portrait, tmp_path)


def test_a_file_in_the_place_of_the_folder_is_named(portrait: FakePortrait, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    avatar = FakeAvatar(portrait)
    with pytest.raises(InputError, match="taken"):
        evaluate_avatar(avatar, portrait, tmp_path / "taken")
    assert avatar.fake_renderer.calls == 0


def test_without_a_portrait_what_it_carries_is_measured(
    portrait: FakePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = tmp_path / "demo.wav"
    write_wav(sound, Waveform(np.random.default_rng(0).uniform(0, 0.04, 32000).astype(np.float32)))
    monkeypatch.setattr(evaluate_module, "asset_path", lambda *parts: sound)
    stored = evaluate_avatar(FakeAvatar(portrait), portrait, tmp_path / "with", max_frames=4)
    metrics = evaluate_avatar(FakeAvatar(portrait, metrics=stored), None, tmp_path / "out")
    assert metrics["as_trained"] == stored
    assert all(value is None for value in row(metrics, "image", "double").values())
    assert (row(metrics, "stability", "double")["brow_jitter"] or 0) > 0
    assert (row(metrics, "speed", "double")["render_rate"] or 0) > 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    now, trained = text.split("As trained")
    psnr = f"{row(stored, 'image', 'double')['head_psnr']:.2f}"
    assert psnr in trained and psnr not in now and "--portrait" in now
    again = evaluate_avatar(FakeAvatar(portrait, metrics=metrics), None, tmp_path / "out")
    assert again["as_trained"] == stored, "stored figures are not nested deeper with every evaluation"


def test_stored_figures_of_another_version_are_kept_but_not_drawn(
    portrait: FakePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(tmp_path / "demo.wav", Waveform(np.full(3200, 0.02, np.float32)))
    monkeypatch.setattr(evaluate_module, "asset_path", lambda *parts: tmp_path / "demo.wav")
    stored = {"psnr": "<script>"}
    metrics = evaluate_avatar(FakeAvatar(portrait, metrics=stored), None, tmp_path / "out")
    assert metrics["as_trained"] == stored
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "another version" in text and "<script>" not in text


class HalfTransparent:
    """Half of the avatar's grey plate shines through a black figure."""

    def render(
        self, landmarks: np.ndarray, rotation: np.ndarray, translation: np.ndarray, camera: Camera
    ) -> RenderedFrame:
        plate = np.full((camera.height, camera.width, 3), 90 / 255, np.float32)
        opacity = np.full(plate.shape[:2], 0.5, np.float32)
        return RenderedFrame(np.dstack([plate / 2, opacity]), opacity, plate)


def test_a_segment_of_another_scene_is_drawn_over_its_own_plate() -> None:
    portrait = FakePortrait()
    portrait.other_scenes[2] = np.full((64, 64, 3), 200, np.uint8)
    avatar = FakeAvatar(portrait, other_renderer=HalfTransparent())
    tracked = MotionTrack(LandmarkTrack(portrait.landmarks), portrait.pose)
    entries = measure_likeness(avatar, portrait, tracked, max_frames=4, sheet_frames=4, progress=no_progress).entries
    scenes = [int(portrait.segment[int(entry.label)]) for entry in entries]
    assert set(scenes) == {1, 2}
    for entry, scene in zip(entries, scenes, strict=True):
        assert np.ptp(entry.other) == 0
        assert entry.other[0, 0, 0] == pytest.approx({1: 45, 2: 100}[scene], abs=1)


def test_spans_end_at_segments_and_at_the_training_part() -> None:
    segment = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    heldout = np.array([0, 1, 1, 1, 1, 0, 1, 0], bool)
    assert heldout_spans(segment, heldout) == [Span(0, 1, 3, 0, 3), Span(1, 3, 5, 3, 5), Span(2, 6, 7, 5, 8)]


def test_frames_are_spread_evenly() -> None:
    chosen = evenly_spaced(np.arange(100, 200), 10)
    assert len(chosen) == 10 and set(np.diff(chosen)) == {10}
    assert chosen[0] - 100 == pytest.approx(199 - chosen[-1], abs=1)
    assert evenly_spaced(np.arange(3), 10).tolist() == [0, 1, 2]


def test_a_late_frame_stays_in_its_span() -> None:
    span = Span(0, 10, 14, 0, 20)
    assert [late_frame(i, span, 2) for i in range(10, 14)] == [12, 13, 10, 11]


def test_a_figure_is_a_number_or_a_reason() -> None:
    wrongs: list[dict[str, Any]] = [{}, {"value": 1.0, "reason": "both"}, {"value": float("nan")}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="figure"):
            Figure(**wrong)
    with pytest.raises(ValueError, match="without a definition"):
        MetricTable(
            title="t", note="", rows=[MetricRow(name="a", role="control", figures={"made_up": Figure(value=1.0)})]
        )
