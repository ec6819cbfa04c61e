"""A whole evaluation of doubles whose scores are known, and the files it writes."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.evaluation import carried
from geneface.evaluation.evaluate import evaluate_avatar
from geneface.evaluation.metrics.registry import DEFINITIONS
from geneface.evaluation.protocol import videos
from geneface.evaluation.protocol.adaptation import ADAPTATION_KEYS, ADAPTED, GENERIC
from geneface.evaluation.protocol.controls import CONTROL_NAMES
from geneface.evaluation.protocol.speech import motion_table, predict_spans
from geneface.evaluation.schema import EvaluationReport, Figure, MetricRow, MetricTable, metrics_schema
from geneface.evaluation.subjects import Span, evenly_spaced, heldout_spans
from geneface.evaluation.tools import open_tools
from geneface.io.audio import read_audio, write_wav
from geneface.io.image import read_png
from geneface.types import MotionTrack, Waveform, no_progress

from .doubles import FakeAvatar, FakeBody, FakeFiles, FakePortrait, FakeTracker

pytestmark = pytest.mark.slow

SPEECH, TRACKED = "sly</b>, from speech", "from tracked landmarks"
REGIONS = ("frame", "head", "mouth")


@pytest.fixture(scope="module", autouse=True)
def tracker() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(videos, "open_tracker", FakeTracker)
        yield


@pytest.fixture(scope="module")
def portrait() -> FakePortrait:
    return FakePortrait()


@pytest.fixture(scope="module")
def evaluated(portrait: FakePortrait, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("report")
    generic = FakeAvatar(portrait, delay_frames=3, gain=0.5)
    avatar = FakeAvatar(
        portrait, error=5, delay_frames=2, gain=0.8, brow_noise=2e-3, name="<b>sly</b>", generic=generic
    )
    return evaluate_avatar(avatar, portrait, out), out


def row(metrics: dict[str, Any], table: str, name: str) -> dict[str, float | None]:
    found = next(r for r in metrics["tables"][table]["rows"] if name in r["name"])
    return {key: item["value"] for key, item in found["figures"].items()}


def test_likeness_of_a_known_error_has_a_closed_form(evaluated: tuple[dict[str, Any], Path]) -> None:
    expected = 20 * np.log10(255 / 5)
    for region in REGIONS:
        scores = row(evaluated[0], f"image_{region}", TRACKED)
        assert scores[f"{region}_psnr"] == pytest.approx(expected, abs=0.01), region
        assert scores[f"{region}_luminance_shift"] == pytest.approx(0, abs=0.05)
        assert (scores[f"{region}_sharpness_ratio"] or 0) > 1


def test_a_late_avatar_draws_the_wrong_lips(evaluated: tuple[dict[str, Any], Path]) -> None:
    speech, tracked = (row(evaluated[0], "image_mouth", name) for name in (SPEECH, TRACKED))
    assert (speech["mouth_psnr"] or 0) < (tracked["mouth_psnr"] or 0) - 1
    lips = row(evaluated[0], "lips", SPEECH)
    assert lips["offset_frames"] == 2
    assert (lips["opening_correlation"] or 0) < 0.9
    assert row(evaluated[0], "lips", TRACKED)["opening_correlation"] == pytest.approx(1, abs=0.01)
    assert row(evaluated[0], "lips", TRACKED)["offset_frames"] == 0


def test_image_controls_are_ordered(evaluated: tuple[dict[str, Any], Path]) -> None:
    """Our MP4 costs little, two frames of delay much, and every figure says so."""
    for region in REGIONS:
        encoded, late = (row(evaluated[0], f"image_{region}", name) for name in ("encoded as our MP4", "frames late"))
        for metric in ("psnr", "ssim"):
            key = f"{region}_{metric}"
            assert (encoded[key] or 0) > (late[key] or 0), key
            verdict = evaluated[0]["tables"][f"image_{region}"]["verdicts"][key]
            # The double's coloured noise suffers more from chroma at half resolution than from blur.
            assert not {CONTROL_NAMES["late"], CONTROL_NAMES["still"]} & set(verdict["blind_to"]), verdict
    assert (row(evaluated[0], "image_frame", "encoded as our MP4")["frame_psnr"] or 0) < 100
    assert row(evaluated[0], "image_mouth", "still frame")["mouth_psnr"] is not None


def test_motion_from_speech_finds_delay_and_gain(evaluated: tuple[dict[str, Any], Path]) -> None:
    scores = row(evaluated[0], "motion", "sly")
    assert scores["offset_frames"] == 2
    # Two frames of each clip leave the window at its end and silence enters: the ratio is near the gain, not equal.
    assert scores["opening_amplitude_ratio"] == pytest.approx(0.8, abs=0.1)
    assert (scores["opening_correlation"] or 0) < 0.9
    assert (scores["brow_jitter_ratio"] or 0) == pytest.approx(2, rel=0.15)
    assert scores["rotation_jitter_ratio"] == pytest.approx(0, abs=1e-6)


def test_both_bodies_are_reported_and_told_apart(portrait: FakePortrait, tmp_path: Path) -> None:
    avatar = FakeAvatar(portrait, error=5, delay_frames=1, files=FakeFiles(FakeBody()))
    metrics = evaluate_avatar(avatar, portrait, tmp_path, max_frames=60, driven=False)
    jsonschema.validate(metrics, metrics_schema())
    bodies = ("double, from speech", "double, from tracked landmarks")
    bodies += ("double, pasted, from speech", "double, pasted, from tracked landmarks")
    for table in ("pasted", "image_frame", "image_head", "image_mouth", "lips", "sync", "stability"):
        rows = metrics["tables"][table]["rows"]
        assert [r["name"] for r in rows if r["role"] == "evaluated"] == list(bodies), table
    pasted, drawn = (row(metrics, "pasted", name) for name in bodies[3::-2])
    assert {key: pasted[key] for key in ("frame_psnr", "head_psnr", "mouth_psnr")} == {
        f"{region}_psnr": row(metrics, f"image_{region}", bodies[3])[f"{region}_psnr"] for region in REGIONS
    }
    assert row(metrics, "image_mouth", bodies[3])["mouth_sharpness_ratio"] == pasted["mouth_sharpness_ratio"]
    # The drawing is wrong by 5 levels, up and down in turn: no light, so no edge.
    level = 20 * np.log10(255 / 5)
    assert pasted["lower_face_psnr"] == pytest.approx(level, abs=0.5)
    assert (pasted["seam_psnr"] or 0) > level + 1 and (pasted["frame_psnr"] or 0) > level + 3
    assert (pasted["seam_step"] or 0) < 1
    assert drawn["seam_step"] is None and drawn["lower_face_psnr"] == pytest.approx(level, abs=0.1)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.index("Pasted into the recording</h2>") < page.index("Picture, whole frame</h2>")
    assert "most pixels are real" in page and "double, pasted, from speech" in page
    width = read_png(tmp_path / "contact_sheet.png").shape[1]
    assert width >= 2 * 4 * 256, "truth, drawn, pasted, error; twice"


def test_what_adaptation_gained_stands_beside_the_generic_model(evaluated: tuple[dict[str, Any], Path]) -> None:
    generic, adapted = (row(evaluated[0], "adaptation", name) for name in (GENERIC, ADAPTED))
    motion = row(evaluated[0], "motion", "sly")
    assert tuple(adapted) == ADAPTATION_KEYS and adapted == {key: motion[key] for key in ADAPTATION_KEYS}
    assert (generic["offset_frames"], adapted["offset_frames"]) == (3, 2)
    assert (generic["opening_amplitude_ratio"] or 0) < 0.6 < 0.7 < (adapted["opening_amplitude_ratio"] or 0)
    text = (evaluated[1] / "report.html").read_text(encoding="utf-8")
    assert "Lips from speech before rendering, on held-out seconds</h2>" in text
    for name in (GENERIC, ADAPTED):
        assert f'<tr class="evaluated"><th scope="row">{name}</th>' in text


def test_a_true_ear_scores_perfectly(tmp_path: Path) -> None:
    portrait = FakePortrait()
    avatar = FakeAvatar(portrait)
    scores = row(evaluate_avatar(avatar, portrait, tmp_path, max_frames=4, driven=False), "motion", "double")
    assert scores["opening_correlation"] == pytest.approx(1, abs=1e-4)
    assert scores["opening_amplitude_ratio"] == pytest.approx(1, abs=1e-4)
    assert scores["lip_landmark_distance"] == pytest.approx(0, abs=1e-4)
    assert scores["offset_frames"] == 0


@pytest.mark.parametrize(("repeats", "is_little"), [(1, True), (2, False)])
def test_figures_of_little_speech_are_said_to_say_little(repeats: int, is_little: bool) -> None:
    portrait = FakePortrait()
    avatar = FakeAvatar(portrait)
    tracked = MotionTrack(portrait.landmarks, portrait.pose)
    span = heldout_spans(portrait.segment, portrait.heldout)[0]
    spoken = predict_spans(avatar, portrait, tracked, [span] * repeats, no_progress)
    assert (repeats * (span.stop - span.start) < 75) is is_little
    table = motion_table("double", spoken, portrait.neutral, open_tools())
    assert ("little about the lips" in table.note) is is_little


def test_motion_controls_are_ordered(evaluated: tuple[dict[str, Any], Path]) -> None:
    late, still = (row(evaluated[0], "motion", name) for name in ("frames late", "still frame"))
    assert late["offset_frames"] == 2
    assert late["opening_amplitude_ratio"] == pytest.approx(1, abs=0.1)
    assert late["brow_jitter_ratio"] == pytest.approx(1, rel=0.1)
    assert (
        still["opening_correlation"] == 0
        and still["offset_frames"] is None
        and still["opening_amplitude_ratio"] == pytest.approx(0, abs=1e-5)
    )
    assert still["brow_jitter_ratio"] == pytest.approx(0, abs=1e-3)
    verdicts = evaluated[0]["tables"]["motion"]["verdicts"]
    for key in ("opening_correlation", "lip_landmark_distance", "offset_frames", "opening_amplitude_ratio"):
        assert verdicts[key]["informative"], (key, verdicts[key])


def test_the_tracker_that_reads_the_same_in_every_encoding_has_little_noise(
    evaluated: tuple[dict[str, Any], Path],
) -> None:
    noise = row(evaluated[0], "lips", "tracker noise")
    late = row(evaluated[0], "lips", "frames late")
    assert (noise["lip_landmark_distance_px"] or 0) < (late["lip_landmark_distance_px"] or 0)
    assert noise["opening_correlation"] is None


def test_weights_that_are_not_given_leave_a_reason(evaluated: tuple[dict[str, Any], Path]) -> None:
    tables = evaluated[0]["tables"]
    for table, key, option in (
        ("image_frame", "frame_lpips", "--lpips"),
        ("image_head", "head_fid", "--inception"),
        ("sync", "lse_c", "--syncnet"),
        ("sync", "lse_d", "--syncnet"),
    ):
        for r in tables[table]["rows"]:
            item = r["figures"][key]
            assert item["value"] is None and option in item["reason"], (key, r["name"])


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


def test_metrics_file_validates_against_the_published_schema(evaluated: tuple[dict[str, Any], Path]) -> None:
    published = json.loads((Path(__file__).parents[2] / "docs" / "metrics.schema.json").read_text(encoding="utf-8"))
    assert published == metrics_schema(), "write it again: see docs/metrics.md"
    content = json.loads((evaluated[1] / "metrics.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, published)
    content["tables"]["image_frame"]["rows"][0]["figures"]["frame_psnr"] = {"value": "high"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, published)


class Page(HTMLParser):
    """Collects what a page would load and what it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for key, value in attrs if key in ("src", "href", "data")]


def test_report_is_one_file_with_tables_curves_films_and_frames(evaluated: tuple[dict[str, Any], Path]) -> None:
    text = (evaluated[1] / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.loads and all(load.startswith(("data:", "#")) for load in page.loads)
    sheet = next(load for load in page.loads if load.startswith("data:image/png;base64,"))
    sheets = {base64.b64decode(load.split(",", 1)[1]) for load in page.loads if load.startswith("data:image/png")}
    assert sheet and (evaluated[1] / "contact_sheet.png").read_bytes() in sheets
    assert page.tags.count("table") >= 8 and page.tags.count("svg") >= 3 and page.tags.count("video") == 2
    assert "<b>sly</b>" not in text and "&lt;b&gt;sly" in text
    assert not re.search(r"\bnan\b|\binf\b", re.sub(r"base64,[^\"]*", "", text))
    assert read_png(evaluated[1] / "contact_sheet.png").shape[1] > 2 * 3 * 256
    jpegs = [base64.b64decode(load.split(",", 1)[1]) for load in page.loads if load.startswith("data:image/jpeg")]
    sheets = ["driven_extremes.jpg", "worst_seconds.jpg"]
    assert jpegs == [(evaluated[1] / name).read_bytes() for name in sheets]
    files = sorted(["contact_sheet.png", "metrics.json", "report.html", *sheets])
    assert sorted(path.name for path in evaluated[1].iterdir()) == files


def test_nothing_but_the_held_out_part_is_heard(portrait: FakePortrait, tmp_path: Path) -> None:
    avatar = FakeAvatar(portrait)
    evaluate_avatar(avatar, portrait, tmp_path, max_frames=4, driven=False)
    assert avatar.heard_seconds == pytest.approx([60 / 25, 50 / 25])
    drawn_apart = 6 + 60
    assert avatar.fake_renderer.calls == 2 * 4 + drawn_apart, (
        "four frames twice; extreme and other frames for their own table"
    )


def test_a_held_out_end_is_predicted_with_the_sound_before_it(tmp_path: Path) -> None:
    portrait = FakePortrait(lengths=(200,), heldout_segments=())
    portrait.heldout[160:] = True
    avatar = FakeAvatar(portrait)
    metrics = evaluate_avatar(avatar, portrait, tmp_path, max_frames=4, driven=False)
    assert avatar.heard_seconds == pytest.approx([90 / 25])
    assert row(metrics, "motion", "double")["opening_correlation"] == pytest.approx(1, abs=1e-4)


def test_a_portrait_without_held_out_frames_gives_reasons(tmp_path: Path) -> None:
    portrait = FakePortrait(heldout_segments=())
    metrics = evaluate_avatar(FakeAvatar(portrait), portrait, tmp_path, driven=False)
    assert all(value is None for value in row(metrics, "motion", "double").values())
    assert row(metrics, "speed", "double")["render_rate"] is None
    assert all(value is None for value in row(metrics, "lips", "double").values())
    assert all(value is None for value in row(metrics, "image_head", "double").values())
    assert not (tmp_path / "contact_sheet.png").exists()


def test_another_portrait_is_refused(portrait: FakePortrait, tmp_path: Path) -> None:
    avatar = FakeAvatar(portrait)
    avatar.neutral = portrait.neutral + np.array([0, 0.004, 0], np.float32)
    evaluate_avatar(avatar, FakePortrait(heldout_segments=()), tmp_path / "same", driven=False)
    avatar.neutral = portrait.neutral + np.array([0, 0.006, 0], np.float32)
    with pytest.raises(InputError, match="another person"):
        evaluate_avatar(avatar, portrait, tmp_path / "other", driven=False)
    assert not (tmp_path / "other").exists()


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
    monkeypatch.setattr(carried, "demo_sentence", lambda: read_audio(sound))
    stored = evaluate_avatar(FakeAvatar(portrait), portrait, tmp_path / "with", max_frames=4, driven=False)
    metrics = evaluate_avatar(FakeAvatar(portrait, metrics=stored), None, tmp_path / "out", driven=False)
    assert metrics["as_trained"] == stored
    assert all(value is None for value in row(metrics, "image_frame", "double").values()), "64 px are too small"
    assert (row(metrics, "motion", "double")["brow_jitter"] or 0) > 0
    assert "data:video/mp4" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert (row(metrics, "speed", "double")["render_rate"] or 0) > 0
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    now, trained = text.split(">As trained</h2>")
    psnr = f"{row(stored, 'image_head', 'double')['head_psnr']:.2f}"
    assert psnr in trained and psnr not in now and "--portrait" in now
    again = evaluate_avatar(FakeAvatar(portrait, metrics=metrics), None, tmp_path / "out", driven=False)
    assert again["as_trained"] == stored, "stored figures are not nested deeper with every evaluation"


def test_stored_figures_of_another_version_are_kept_but_not_drawn(
    portrait: FakePortrait, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wav(tmp_path / "demo.wav", Waveform(np.full(3200, 0.02, np.float32)))
    monkeypatch.setattr(carried, "demo_sentence", lambda: read_audio(tmp_path / "demo.wav"))
    stored = {"psnr": "<script>"}
    metrics = evaluate_avatar(FakeAvatar(portrait, metrics=stored), None, tmp_path / "out", driven=False)
    assert metrics["as_trained"] == stored
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "another version" in text and "<script>" not in text


def test_spans_end_at_segments_and_at_the_training_part() -> None:
    segment = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    heldout = np.array([0, 1, 1, 1, 1, 0, 1, 0], bool)
    assert heldout_spans(segment, heldout) == [Span(0, 1, 3, 0, 3), Span(1, 3, 5, 3, 5), Span(2, 6, 7, 5, 8)]


def test_frames_are_spread_evenly() -> None:
    chosen = evenly_spaced(np.arange(100, 200), 10)
    assert len(chosen) == 10 and set(np.diff(chosen)) == {10}
    assert chosen[0] - 100 == pytest.approx(199 - chosen[-1], abs=1)
    assert evenly_spaced(np.arange(3), 10).tolist() == [0, 1, 2]


def test_a_figure_is_a_number_or_a_reason() -> None:
    wrongs: list[dict[str, Any]] = [{}, {"value": 1.0, "reason": "both"}, {"value": float("nan")}]
    for wrong in wrongs:
        with pytest.raises(ValueError, match="figure"):
            Figure(**wrong)
    table = MetricTable(
        title="t", note="", rows=[MetricRow(name="a", role="control", figures={"made_up": Figure(value=1.0)})]
    )
    with pytest.raises(ValueError, match="without a definition"):
        EvaluationReport(subject="s", reference=None, tables={"t": table}, definitions={}, versions={}, machine={})
