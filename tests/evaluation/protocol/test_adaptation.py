"""What adaptation gained: doubles of a generic and an adapted avatar whose lips are known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.avatar.avatar import Avatar
from geneface.avatar.folder import store_metrics
from geneface.evaluation import summary
from geneface.evaluation.metrics.registry import DEFINITIONS
from geneface.evaluation.protocol.adaptation import (
    ADAPTATION_KEYS,
    ADAPTED,
    GENERIC,
    NO_ADAPTATION,
    TOO_LITTLE,
    adaptation_table,
    gain_line,
    loss_warning,
)
from geneface.evaluation.schema import MetricTable
from geneface.evaluation.subjects import heldout_spans
from geneface.evaluation.summary import summarise_training
from geneface.geometry.landmarks import LIPS
from geneface.motion.generic import GenericMotion
from geneface.types import SPEECH_RATE_HZ, FloatArray, Waveform

from ...avatar.avatar_fixtures import make_avatar
from ..doubles import FakeAvatar, FakeBody, FakeFiles, FakePortrait

FACE_WIDTH = 0.3


def values(table: MetricTable) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """The figures of the generic model and of the adapted one."""
    assert [(row.name, row.role) for row in table.rows] == [(GENERIC, "evaluated"), (ADAPTED, "evaluated")]
    generic, adapted = ({key: item.value for key, item in row.figures.items()} for row in table.rows)
    return generic, adapted


def reasons(table: MetricTable, name: str) -> set[str | None]:
    return {item.reason for row in table.rows if row.name == name for item in row.figures.values()}


def half_distance(opening: np.ndarray) -> float:
    """Mean distance, in face widths, of lips of which three fall by half the opening and one goes as far aside."""
    count, half = len(LIPS), opening / 2
    still, falling, aside = np.array([0, 0]), np.array([0, -1]), np.array([1, 0])
    moves = np.array([falling] * 3 + [aside] + [still] * (count - 4))
    lengths = np.linalg.norm(moves - moves.mean(0), axis=1).mean()
    return float(lengths * half.mean() / FACE_WIDTH)


def test_a_known_adaptation_has_known_figures() -> None:
    portrait = FakePortrait()
    avatar = FakeAvatar(portrait, generic=FakeAvatar(portrait, gain=0.5))
    generic, adapted = values(adaptation_table(avatar, portrait))
    assert tuple(generic) == ADAPTATION_KEYS and set(ADAPTATION_KEYS) <= set(DEFINITIONS)
    expected = {"opening_correlation": 1, "width_correlation": 1, "opening_amplitude_ratio": 1, "offset_frames": 0}
    assert adapted == pytest.approx(expected | {"lip_landmark_distance": 0}, abs=1e-4)
    spans = [portrait.opening[40:100], portrait.opening[100:]]
    distance = np.mean([half_distance(opening) for opening in spans])
    assert generic == pytest.approx(
        expected | {"opening_amplitude_ratio": 0.5, "lip_landmark_distance": distance}, rel=1e-3, abs=1e-4
    )


def test_each_delay_is_found_in_its_row() -> None:
    portrait = FakePortrait()
    avatar = FakeAvatar(portrait, delay_frames=1, generic=FakeAvatar(portrait, delay_frames=4))
    generic, adapted = values(adaptation_table(avatar, portrait))
    assert (generic["offset_frames"], adapted["offset_frames"]) == (4, 1)
    assert (generic["opening_correlation"] or 0) < (adapted["opening_correlation"] or 0) < 1


def test_motion_that_is_known_is_not_made_again() -> None:
    portrait = FakePortrait()
    generic = FakeAvatar(portrait, gain=0.5)
    avatar = FakeAvatar(portrait, generic=generic)
    spans = heldout_spans(portrait.segment, portrait.heldout)
    made = [FakeAvatar(portrait).motion(portrait.audio(span.segment)) for span in spans]
    table = adaptation_table(avatar, portrait, made)
    assert avatar.heard_seconds == [] and generic.heard_seconds == [60 / 25, 50 / 25]
    assert table == adaptation_table(avatar, portrait)


@pytest.mark.parametrize(("frames", "is_told"), [(74, False), (75, True)])
def test_under_three_seconds_it_cannot_be_told(frames: int, is_told: bool) -> None:
    portrait = FakePortrait(lengths=(40, frames - 30, 30), heldout_segments=(1, 2))
    generic = FakeAvatar(portrait, gain=0.5)
    avatar = FakeAvatar(portrait, generic=generic)
    table = adaptation_table(avatar, portrait)
    line = gain_line(table, portrait)
    if is_told:
        assert reasons(table, GENERIC) == reasons(table, ADAPTED) == {None}
        assert line.startswith("lips from speech on 3.0 held-out seconds, generic -> adapted: ")
    else:
        assert reasons(table, GENERIC) == reasons(table, ADAPTED) == {TOO_LITTLE}
        assert line == "adaptation: 2.9 s are held out, under 3 s it can't be told what it gained"
        assert avatar.heard_seconds == generic.heard_seconds == [], "nothing is predicted for nothing"
    assert loss_warning(table) is None


def test_nothing_held_out_cannot_be_told_either() -> None:
    portrait = FakePortrait(heldout_segments=())
    table = adaptation_table(FakeAvatar(portrait), portrait)
    assert reasons(table, ADAPTED) == {TOO_LITTLE}
    assert gain_line(table, portrait).startswith("adaptation: 0.0 s are held out")


def test_the_line_shows_both() -> None:
    portrait = FakePortrait()
    avatar = FakeAvatar(portrait, generic=FakeAvatar(portrait, gain=0.5))
    table = adaptation_table(avatar, portrait)
    distance = f"{values(table)[0]['lip_landmark_distance']:.4f}".removeprefix("0")
    assert gain_line(table, portrait) == (
        "lips from speech on 4.4 held-out seconds, generic -> adapted: opening r 1.00 -> 1.00, width r 1.00 -> 1.00, "
        f"distance {distance} -> .0000 of the face's width, amplitude .50 -> 1.00"
    )


@pytest.mark.parametrize(("frames", "are_short"), [(20, True), (25, False)])
def test_spans_of_less_than_a_second_are_said_to_say_little(frames: int, are_short: bool) -> None:
    portrait = FakePortrait(lengths=(40, *[frames] * 4), heldout_segments=(1, 2, 3, 4))
    table = adaptation_table(FakeAvatar(portrait, generic=FakeAvatar(portrait)), portrait)
    assert ("Spans of 0.8 s say little" in table.note) is are_short
    assert (
        " held-out seconds (in spans of 0.8 s, which say little), generic" in gain_line(table, portrait)
    ) is are_short


def test_an_avatar_without_adaptation_says_so() -> None:
    portrait = FakePortrait()
    table = adaptation_table(FakeAvatar(portrait, gain=0.5), portrait)
    assert values(table)[0]["opening_amplitude_ratio"] == pytest.approx(0.5, abs=1e-3)
    assert reasons(table, ADAPTED) == {NO_ADAPTATION}
    assert gain_line(table, portrait) == f"adaptation: none, {NO_ADAPTATION}"
    assert loss_warning(table) is None


def with_correlations(table: MetricTable, *correlations: float | None) -> MetricTable:
    """The table with other correlations of the opening."""
    content: dict[str, Any] = table.model_dump()
    for row, value in zip(content["rows"], correlations, strict=True):
        reason = "the lips do not move" if value is None else None
        row["figures"]["opening_correlation"] = {"value": value, "reason": reason}
    return MetricTable.model_validate(content)


def test_a_clear_loss_is_warned_of() -> None:
    portrait = FakePortrait()
    table = adaptation_table(FakeAvatar(portrait, generic=FakeAvatar(portrait)), portrait)
    warning = loss_warning(with_correlations(table, 0.61, 0.55)) or ""
    assert "opening r .61 -> .55" in warning and "longer video" in warning
    for correlations in ((0.6, 0.56), (0.5, 0.9), (None, 0.1), (0.9, None)):
        assert loss_warning(with_correlations(table, *correlations)) is None
    text = gain_line(with_correlations(table, -0.25, None), portrait)
    assert "opening r -.25 -> n/a, width r 1.00 -> 1.00" in text


class Louder:
    """An adaptation that triples the motion."""

    past_frames = future_frames = 0

    def apply(self, generic: GenericMotion, first: int = 0, last: int | None = None) -> FloatArray:
        return 3 * generic.displacement[first:last]


def test_a_real_avatar_leaves_its_adaptation_out(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the [train] extra")
    plain = Avatar.load(make_avatar(tmp_path / "tiny", tmp_path / "work"))
    assert plain.unadapted() is None
    louder: Any = Louder()
    portrait: Any = FakePortrait()
    generic, adapted = values(adaptation_table(Avatar(plain.files, plain._encoder, plain._model, louder), portrait))
    assert generic == values(adaptation_table(plain, portrait))[0]
    assert (adapted["opening_amplitude_ratio"] or 0) > 2 * (generic["opening_amplitude_ratio"] or 0) > 0


# ---- what a training says


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Waveform(np.random.default_rng(0).uniform(0, 0.04, 2 * SPEECH_RATE_HZ).astype(np.float32))
    monkeypatch.setattr(summary, "demo_sentence", lambda: sound)
    monkeypatch.setattr(summary, "_STEP", 60)


@pytest.mark.usefixtures("short")
def test_a_training_says_what_adaptation_gained(tmp_path: Path) -> None:
    portrait = FakePortrait()
    good, bad = FakeAvatar(portrait), FakeAvatar(portrait, delay_frames=4)
    good.generic, bad.generic = bad, good
    gained, lost = summarise_training(good, portrait), summarise_training(bad, portrait)
    assert re.search(r"4\.4 held-out seconds, generic -> adapted: opening r -?\.\d\d -> 1\.00", gained.lines[-1])
    assert re.search(r"opening r 1\.00 -> -?\.\d\d", lost.lines[-1])
    assert not any("adapted to the person" in warning for warning in gained.warnings)
    assert re.search(r"at r 1\.00 \(1 is perfect\), better than before", gained.verdict)
    assert re.search(r"at r -?\.\d\d \(1 is perfect\), worse than before adaptation .*\(1\.00\)", lost.verdict)
    assert [warning for warning in lost.warnings if "adapted to the person" in warning] == [lost.warnings[-1]]
    pytest.importorskip("onnx", reason="needs the [train] extra")
    folder = make_avatar(tmp_path / "tiny", tmp_path / "work")
    store_metrics(folder, gained.report.model_dump())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"| Lips from speech before rendering, on held-out seconds | {GENERIC} | {ADAPTED} |" in card
    assert re.search(r"\| Lip-opening correlation \[1\] \| -?0\.\d+ \| 1 \|", card)
    assert "not measured yet" in card


@pytest.mark.usefixtures("short")
def test_a_training_says_how_the_lower_face_fits_a_recorded_picture(tmp_path: Path) -> None:
    portrait = FakePortrait()
    plain, found = (
        summarise_training(FakeAvatar(portrait, error=5, files=FakeFiles(body)), portrait)
        for body in (None, FakeBody())
    )
    assert "pasted" not in plain.report.tables and found.lines[:-1] == plain.lines
    figures = {key: item.value for key, item in found.report.tables["pasted"].rows[0].figures.items()}
    # Wrong by 5 levels where it is drawn, and lips that were heard aright.
    assert figures["lower_face_psnr"] == pytest.approx(20 * np.log10(255 / 5), abs=0.5)
    assert (figures["frame_psnr"] or 0) > (figures["lower_face_psnr"] or 0) + 3 and (figures["seam_step"] or 9) < 1
    shown = re.search(r"from speech: whole frame (\d+\.\d) dB, head (\d+\.\d), mouth (\d+\.\d); step", found.lines[-1])
    assert shown is not None
    expected = [figures[f"{region}_psnr"] or 0 for region in ("frame", "head", "mouth")]
    assert [float(part) for part in shown.groups()] == pytest.approx(expected, abs=0.051)
    pytest.importorskip("onnx", reason="needs the [train] extra")
    folder = make_avatar(tmp_path / "tiny", tmp_path / "work")
    store_metrics(folder, found.report.model_dump())
    assert "Pasted into the recording" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("short")
def test_a_training_on_little_says_that_it_cannot_be_told(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the [train] extra")
    portrait = FakePortrait(heldout_segments=(2,))
    found = summarise_training(FakeAvatar(portrait, generic=FakeAvatar(portrait, gain=0.5)), portrait)
    assert found.lines[-1] == "adaptation: 2.0 s are held out, under 3 s it can't be told what it gained"
    assert found.verdict.endswith("; too little is held out to judge the lips")
    folder = make_avatar(tmp_path / "tiny", tmp_path / "work")
    store_metrics(folder, found.report.model_dump())
    assert TOO_LITTLE in (folder / "README.md").read_text(encoding="utf-8")
