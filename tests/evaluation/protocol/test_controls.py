"""The controls spoil what they say, and verdicts follow from them."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from geneface.evaluation.metrics.blinks import BLINK_KEYS
from geneface.evaluation.metrics.lips import CONSTANT
from geneface.evaluation.metrics.registry import DEFINITIONS
from geneface.evaluation.metrics.speckle import DRIVEN_RISE_KEYS
from geneface.evaluation.protocol import controls
from geneface.evaluation.protocol.controls import (
    CONTROL_NAMES,
    ENCODED,
    SEAM_CONTROL_NAMES,
    cost,
    degraded,
    encoded,
    late,
    repeats,
    spoilt_pastes,
    verdicts,
)
from geneface.evaluation.schema import Figure, MetricRow

LATE, STILL, DEGRADED = CONTROL_NAMES["late"], CONTROL_NAMES["still"], CONTROL_NAMES["degraded"]


def pictures(count: int, height: int = 33, width: int = 47) -> list[np.ndarray]:
    large = data.astronaut()
    return [np.ascontiguousarray(large[3 * i : 3 * i + height, 200 : 200 + width]) for i in range(count)]


def test_encoding_keeps_number_size_and_nearly_the_colours() -> None:
    frames = pictures(7)
    decoded = encoded(frames)
    assert [image.shape for image in decoded] == [image.shape for image in frames], "odd sizes included"
    for before, after in zip(frames, decoded, strict=True):
        assert 0 < np.abs(before.astype(int) - after).mean() < 12


def test_late_shows_what_came_before() -> None:
    a, b, c, d, e = pictures(5)

    def same(got: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
        return len(got) == len(wanted) and all(np.array_equal(x, y) for x, y in zip(got, wanted, strict=True))

    assert same(late([a, b], [c, d, e]), [a, b, c])
    assert same(late([b], [c, d, e]), [b, b, c]), "what is not known is held"
    assert same(late([], [a, b, c, d, e]), [a, a, a, b, c])
    assert same(late([a, b], [c]), [a])


def test_pastes_are_spoilt_by_as_much_as_they_say() -> None:
    frames = [image // 2 + 40 for image in pictures(4, 128, 256)]
    mask = np.zeros((128, 256), np.float32)
    mask[20:90, 60:180], mask[:, 100:103] = 1, 0.5
    spoilt = dict(spoilt_pastes(frames, [mask] * len(frames)))
    assert set(spoilt) == set(SEAM_CONTROL_NAMES)
    inside, untouched = (mask == 1), (mask == 0)
    for number, image in enumerate(frames):
        shifted, brighter, flickering = (spoilt[c][number] for c in ("shifted", "brighter", "flickering"))  # type: ignore[index]
        for bad in (shifted, brighter, flickering):
            assert bad.dtype == np.uint8 and np.array_equal(bad[untouched], image[untouched])
        np.testing.assert_array_equal(shifted[20:90, 110:180], image[20:90, 108:178])
        expected = {"brighter": 1.04, "flickering": 0.99 if number % 2 else 1.01}
        for name, light in expected.items():
            np.testing.assert_allclose(spoilt[name][number][inside], image[inside] * light, atol=0.51)  # type: ignore[index]
        half = image[:, 100:103] * 1.02
        np.testing.assert_allclose(brighter[:, 100:103], half, atol=0.51)


def test_degraded_is_blurred_and_brighter() -> None:
    image = data.astronaut()[90:154, 190:270]
    spoilt = degraded(image)
    assert spoilt.shape == image.shape
    inside = (image > 10) & (image < 240)
    assert (spoilt.astype(int) - image)[inside].mean() == pytest.approx(controls.BRIGHTER_LEVELS, abs=1)
    assert np.diff(spoilt.astype(int), axis=1).std() < 0.8 * np.diff(image.astype(int), axis=1).std()


def test_repeats_are_ten_different_encodings_of_one_picture() -> None:
    image = data.astronaut()[100:164, 150:230]
    copies = repeats(image)
    assert len(copies) == controls.REPEATS
    assert len({copy.tobytes() for copy in copies}) == controls.REPEATS
    assert max(np.abs(copy.astype(int) - image).mean() for copy in copies) < 8


@pytest.mark.parametrize(
    "direction, better, worse",
    [
        ("higher", 2.0, 1.0),
        ("lower", -1.0, 3.0),
        ("zero", -1.0, 2.0),
        ("one", 0.9, 0.8),
        ("one", 1.25, 0.7),
        ("one", 3.0, 0.0),
    ],
)
def test_cost_orders_values(direction: str, better: float, worse: float) -> None:
    assert cost(direction, better) < cost(direction, worse)  # type: ignore[arg-type]


def rows(key: str, reason: str = "none", **values: float | None) -> list[MetricRow]:
    names = {"encoded": ENCODED, "late": LATE, "still": STILL, "degraded": DEGRADED}

    def item(value: float | None) -> Figure:
        return Figure(reason=reason) if value is None else Figure(value=value)

    return [MetricRow(name=names[k], role="control", figures={key: item(v)}) for k, v in values.items()]


def test_a_metric_that_sees_all_it_must_is_informative() -> None:
    verdict = verdicts(rows("head_psnr", encoded=42, late=33, still=25, degraded=28), ENCODED, 100)["head_psnr"]
    assert verdict.informative and verdict.blind_to == []
    assert LATE in verdict.reason


def test_a_metric_that_prefers_spoilt_truth_is_not_informative_and_says_why() -> None:
    verdict = verdicts(rows("head_psnr", encoded=42, late=33, still=43, degraded=28), ENCODED, 100)["head_psnr"]
    assert not verdict.informative
    assert verdict.blind_to == [STILL]
    assert "42" in verdict.reason and "43" in verdict.reason


def test_what_a_metric_need_not_see_is_listed_only() -> None:
    verdict = verdicts(rows("frame_niqe", encoded=5, late=5, still=4.9, degraded=7), ENCODED, 100)["frame_niqe"]
    assert verdict.informative
    assert verdict.blind_to == [LATE, STILL]


@pytest.mark.parametrize(
    "late_by, still, reason, informative",
    [
        (0.7, None, CONSTANT, True),  # a face that does not move has no such figure: that is seeing it
        (0.7, None, "no face was found", False),  # not measured is not seen
        (None, 0.1, "no face was found", False),
        (None, 0.1, CONSTANT, False),  # what is late does move
    ],
)
def test_a_missing_figure_is_credit_only_where_nothing_moves(
    late_by: float | None, still: float | None, reason: str, informative: bool
) -> None:
    some = rows("opening_correlation", reason, encoded=0.99, late=late_by, still=still)
    assert verdicts(some, ENCODED, 100)["opening_correlation"].informative is informative


def test_a_trifle_is_not_telling_apart() -> None:
    some = rows("frame_ssim", encoded=0.9876, late=0.9870, still=0.75, degraded=0.9)
    verdict = verdicts(some, ENCODED, 100)["frame_ssim"]
    assert not verdict.informative and verdict.blind_to == [LATE]
    clear = rows("frame_ssim", encoded=0.9876, late=0.97, still=0.75, degraded=0.9)
    assert verdicts(clear, ENCODED, 100)["frame_ssim"].informative


def test_few_frames_make_no_verdict() -> None:
    some = rows("head_psnr", encoded=42, late=33, still=25, degraded=28)
    assert verdicts(some, ENCODED, 24) == {} and verdicts(some, ENCODED, 25)


@pytest.mark.parametrize(
    "late_by, informative", [(2, True), (1.7, True), (1, False), (0, False), (-2, False), (None, False)]
)
def test_an_offset_must_read_the_delay_itself(late_by: float | None, informative: bool) -> None:
    verdict = verdicts(rows("offset_frames", CONSTANT, encoded=0, late=late_by, still=None), ENCODED, 100)[
        "offset_frames"
    ]
    assert verdict.informative is informative


def test_a_metric_that_prefers_the_encoded_truth_to_the_truth_is_not_informative() -> None:
    some = rows("frame_niqe", encoded=5.9, late=7, still=7, degraded=7.2)
    truth = MetricRow(name="ground truth", role="truth", figures={"frame_niqe": Figure(value=7.0)})
    verdict = verdicts([truth, *some], ENCODED, 100)["frame_niqe"]
    assert not verdict.informative and "5.9" in verdict.reason and "7" in verdict.reason
    near = MetricRow(name="ground truth", role="truth", figures={"frame_niqe": Figure(value=6.0)})
    assert verdicts([near, *some], ENCODED, 100)["frame_niqe"].informative


def test_no_verdict_without_the_best_row_or_its_figure() -> None:
    assert verdicts(rows("head_psnr", late=33, still=25), ENCODED, 100) == {}
    assert verdicts(rows("head_psnr", encoded=None, late=33), ENCODED, 100) == {}
    assert verdicts(rows("head_psnr", encoded=40), ENCODED, 100) == {}


def test_only_what_a_still_face_wins_by_definition_need_not_see_any_control() -> None:
    free = {key for key, item in DEFINITIONS.items() if not item.must_see}
    assert free <= {
        "render_rate", "brow_jitter", "rotation_jitter", "translation_jitter",
        "brow_jitter_ratio", "rotation_jitter_ratio", "translation_jitter_ratio", "torso_flicker_ratio",
        "silence_motion_ratio", "false_closure_rate", "face_found_share", "closure_count",
        # Not of these videos: their tables have no control, or planted beads alone.
        "rare_frames", "eyes_psnr", *BLINK_KEYS, *DRIVEN_RISE_KEYS,
    }  # fmt: skip
