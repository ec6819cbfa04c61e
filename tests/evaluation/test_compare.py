"""Two videos compared: sizes, lengths, known differences, and lips found by a double of the tracker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.evaluation import compare as compare_module
from geneface.evaluation import tools
from geneface.evaluation.compare import compare_videos
from geneface.evaluation.metrics.lip_sync import LipSyncScore
from geneface.evaluation.protocol import videos
from geneface.evaluation.report.plots import LipCurve
from geneface.evaluation.schema import EvaluationReport
from geneface.io.video import write_video
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, ByteArray, FloatArray, Waveform

from .doubles import FakePortrait, FakeTracker

FRAMES, SIZE = 40, 64


@pytest.fixture(scope="module")
def pictures() -> list[ByteArray]:
    """A face that opens a dark mouth; see `doubles`."""
    portrait = FakePortrait(lengths=(FRAMES + 8,), heldout_segments=())
    return [portrait.frame(index)[0] for index in range(FRAMES + 8)]


def video(
    path: Path,
    frames: Sequence[ByteArray],
    noise: float = 0,
    shift: float = 0,
    sound: bool = False,
    starts_seconds: float = 0,
) -> Path:
    """Noise and shift spare the mouth, which the double of the tracker reads."""
    rng = np.random.default_rng(1)
    images = []
    for frame in frames:
        image = frame + shift + rng.normal(0, noise, frame.shape) if noise else frame + shift
        image = np.where(frame < 25, frame, image)
        images.append(np.clip(image, 26 if noise else 0, 255).round().astype(np.uint8))
        images[-1][frame < 25] = frame[frame < 25]
    seconds = len(images) / VIDEO_RATE_HZ
    tone = np.sin(np.arange(round(seconds * SPEECH_RATE_HZ)) / 9).astype(np.float32) / 4
    write_video(path, iter(images), Waveform(tone, starts_seconds) if sound else None, crf=4)
    return path


class FakeSegmenter:
    """The whole picture is a person."""

    def __enter__(self) -> FakeSegmenter:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def matte(self, image: ByteArray) -> FloatArray:
        return np.ones(image.shape[:2], np.float32)


def halves(person: FloatArray, mesh_px: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Head above, torso below."""
    head = person.copy()
    head[54:] = 0
    return head, person - head


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "open_tracker", FakeTracker)
    monkeypatch.setattr(compare_module, "open_segmenter", FakeSegmenter)
    monkeypatch.setattr(compare_module, "split_head", halves)


def row(metrics: dict[str, Any], table: str, role: str = "evaluated") -> dict[str, dict[str, Any]]:
    return next(r["figures"] for r in metrics["tables"][table]["rows"] if r["role"] == role)


def test_a_video_equals_itself(tmp_path: Path, tracker: None, pictures: list[ByteArray]) -> None:
    one = video(tmp_path / "a.mp4", pictures[:FRAMES])
    metrics = compare_videos(one, one)
    for region in ("frame", "head", "mouth"):
        assert row(metrics, f"image_{region}")[f"{region}_psnr"]["value"] == 100
        assert row(metrics, f"image_{region}")[f"{region}_ssim"]["value"] == pytest.approx(1, abs=1e-5)
        assert row(metrics, f"image_{region}")[f"{region}_ciede2000"]["value"] == pytest.approx(0, abs=1e-3)
    assert row(metrics, "lips")["opening_correlation"]["value"] == pytest.approx(1)
    assert row(metrics, "lips")["lip_landmark_distance"]["value"] == 0
    assert row(metrics, "stability")["torso_flicker_ratio"]["value"] == pytest.approx(1)
    assert row(metrics, "stability")["temporal_difference_error"]["value"] == 0
    assert "no sound" in row(metrics, "sync")["lip_sync_distance"]["reason"]


def test_a_late_video_is_late_and_a_brighter_one_brighter(
    tmp_path: Path, tracker: None, pictures: list[ByteArray]
) -> None:
    one = video(tmp_path / "a.mp4", pictures[3 : FRAMES + 3])
    other = video(tmp_path / "b.mp4", pictures[:FRAMES], shift=12)
    metrics = compare_videos(one, other)
    assert row(metrics, "lips")["offset_frames"]["value"] == 3
    assert row(metrics, "image_frame")["frame_luminance_shift"]["value"] == pytest.approx(12, abs=1.5)


def test_more_noise_scores_worse(tmp_path: Path, tracker: None, pictures: list[ByteArray]) -> None:
    some = pictures[:12]
    one = video(tmp_path / "a.mp4", some)
    runs = [compare_videos(one, video(tmp_path / f"{n}.mp4", some, noise=n)) for n in (4, 16, 40)]
    for region, key in (("frame", "frame_psnr"), ("frame", "frame_ssim"), ("mouth", "mouth_psnr")):
        values = [row(metrics, f"image_{region}")[key]["value"] for metrics in runs]
        assert values == sorted(values, reverse=True), key


def test_files_are_written_and_valid(tmp_path: Path, tracker: None, pictures: list[ByteArray]) -> None:
    one = video(tmp_path / "a.mp4", pictures[:FRAMES], sound=True)
    other = video(tmp_path / "b.mp4", pictures[: FRAMES - 8], noise=5, sound=True)
    metrics = compare_videos(one, other, tmp_path / "out")
    text = (tmp_path / "out" / "metrics.json").read_text(encoding="utf-8")
    assert EvaluationReport.model_validate_json(text).model_dump() == metrics
    assert "32 frames compared" in metrics["tables"]["image_frame"]["note"]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page and "data:video/mp4;base64," in page and "<svg" in page
    assert (tmp_path / "out" / "contact_sheet.png").exists()


def test_long_videos_are_compared_piece_by_piece_without_losing_a_frame(
    tmp_path: Path, tracker: None, pictures: list[ByteArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = video(tmp_path / "a.mp4", pictures[:FRAMES])
    other = video(tmp_path / "b.mp4", pictures[1 : FRAMES + 1])
    whole = compare_videos(one, other)
    monkeypatch.setattr(compare_module, "CHUNK_FRAMES", 10)
    pieces = compare_videos(one, other)
    for table, key in (("image_frame", "frame_psnr"), ("image_mouth", "mouth_ssim"), ("lips", "lip_landmark_distance")):
        assert row(pieces, table)[key]["value"] == pytest.approx(row(whole, table)[key]["value"], rel=1e-3), key
    late = [next(r for r in m["tables"]["image_frame"]["rows"] if "late" in r["name"]) for m in (whole, pieces)]
    assert late[0]["figures"]["frame_psnr"]["value"] == pytest.approx(late[1]["figures"]["frame_psnr"]["value"])


def test_videos_without_a_face_have_no_lips(tmp_path: Path, tracker: None) -> None:
    black = tmp_path / "black.mp4"
    write_video(black, iter([np.zeros((SIZE, SIZE, 3), np.uint8)] * 10), None)
    metrics = compare_videos(black, black)
    assert "no face" in row(metrics, "lips")["opening_correlation"]["reason"]
    assert row(metrics, "image_mouth")["mouth_psnr"]["reason"] == "no face was found"


class Listener:
    """Stands in for the lip-sync classifier: remembers what it was given to hear."""

    def __init__(self) -> None:
        self.heard: list[FloatArray] = []

    def gain_of(self, clips: Sequence[FloatArray]) -> float:
        return 1.0

    def encode(self, samples: FloatArray, frames: int) -> FloatArray:
        self.heard.append(samples)
        return samples

    def score(self, clips: Sequence[object], neutral: FloatArray, *, gain: float) -> LipSyncScore:
        return LipSyncScore(1.0, 1.0, 0.5, 0.0, np.ones(31), 1, len(clips))


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    one = Listener()
    monkeypatch.setattr(tools, "LipSyncClassifier", type("Loader", (), {"load": staticmethod(lambda: one)}))
    return one


def test_sound_keeps_its_place_beside_the_pictures(
    tmp_path: Path, tracker: None, pictures: list[ByteArray], listener: Listener
) -> None:
    """A sound that starts .4 s after the pictures is silent until then; each video is scored on its own."""
    one = video(tmp_path / "a.mp4", pictures[:FRAMES], sound=True)
    other = video(tmp_path / "b.mp4", pictures[:FRAMES], sound=True, starts_seconds=0.4)
    metrics = compare_videos(one, other)
    samples = FRAMES * SPEECH_RATE_HZ // VIDEO_RATE_HZ
    assert {len(heard) for heard in listener.heard} == {samples}
    loud = [float(np.abs(heard[: round(0.35 * SPEECH_RATE_HZ)]).max()) for heard in listener.heard]
    # The rows in order: truth, other, then the controls, which sound as the reference does.
    assert [level > 0.1 for level in loud] == [True, False, True, True, True, True]
    assert float(np.abs(listener.heard[1][round(0.45 * SPEECH_RATE_HZ) :]).max()) > 0.1
    assert row(metrics, "sync")["lip_sync_distance"]["value"] == 1


def test_a_silent_video_is_scored_on_the_references_sound_and_the_report_says_so(
    tmp_path: Path, tracker: None, pictures: list[ByteArray], listener: Listener
) -> None:
    one = video(tmp_path / "a.mp4", pictures[:FRAMES], sound=True)
    other = video(tmp_path / "b.mp4", pictures[:FRAMES])
    assert "b.mp4 has no sound" in compare_videos(one, other)["tables"]["sync"]["note"]
    assert "no sound" not in compare_videos(one, one)["tables"]["sync"]["note"]


def test_frames_without_a_face_leave_gaps_where_they_are(
    tmp_path: Path, tracker: None, pictures: list[ByteArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A title card of 10 frames: the curves begin after it, and the share of found faces says how much was seen."""
    drawn: list[LipCurve] = []
    keep = compare_module._curve
    monkeypatch.setattr(compare_module, "_curve", lambda *args: drawn.extend(keep(*args)) or drawn)
    monkeypatch.setattr(compare_module, "CHUNK_FRAMES", 10)
    monkeypatch.setattr(compare_module, "_MIN_CHUNK_FRAMES", 10)
    card = [np.zeros((SIZE, SIZE, 3), np.uint8)] * 10
    one = tmp_path / "a.mp4"
    write_video(one, iter([*card, *pictures[:30]]), Waveform(np.zeros(25600, np.float32)), crf=4)
    metrics = compare_videos(one, one)
    assert row(metrics, "lips")["face_found_share"]["value"] == pytest.approx(30 / 40)
    assert row(metrics, "lips")["opening_correlation"]["value"] == pytest.approx(1)
    assert np.isnan(drawn[0].other).tolist() == [True] * 10 + [False] * 30
    assert drawn[0].samples is not None and len(drawn[0].samples) == 40 * 640
    assert "no sound" not in (row(metrics, "sync")["lip_sync_distance"]["reason"] or "")


def test_only_the_beginning_of_a_long_video_is_compared(
    tmp_path: Path, tracker: None, pictures: list[ByteArray]
) -> None:
    one = video(tmp_path / "a.mp4", pictures[:FRAMES])
    note = compare_videos(one, one, max_frames=12)["tables"]["image_frame"]["note"]
    assert note == "The first 12 frames compared."


def test_tiny_videos_are_refused(tmp_path: Path, tracker: None, pictures: list[ByteArray]) -> None:
    tiny = tmp_path / "tiny.mp4"
    write_video(tiny, iter([np.ascontiguousarray(p[:8, :8]) for p in pictures[:3]]), None)
    with pytest.raises(InputError, match="too small"):
        compare_videos(tiny, tiny)


def test_sizes_must_agree(tmp_path: Path, tracker: None, pictures: list[ByteArray]) -> None:
    one = video(tmp_path / "a.mp4", pictures[:5])
    small = video(tmp_path / "b.mp4", [np.ascontiguousarray(p[:48, :48]) for p in pictures[:5]])
    with pytest.raises(InputError, match=r"64x64.*48x48"):
        compare_videos(one, small, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.write_text("no video")], ids=["missing", "text"])
def test_bad_files_are_named(
    tmp_path: Path, tracker: None, pictures: list[ByteArray], make: Callable[[Path], object]
) -> None:
    one = video(tmp_path / "a.mp4", pictures[:5])
    make(tmp_path / "bad.mp4")
    with pytest.raises(InputError, match=r"bad\.mp4"):
        compare_videos(one, tmp_path / "bad.mp4")
