"""The table of lips for anyone: what counts as closed, in time and false, who is scored on what, and the table itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from geneface.geometry.landmarks import KEYPOINT_COUNT, LOWER_INNER, MOUTH_CORNERS
from geneface.types import SpeechFeatures

from .test_ablations import load

lip_scores, people, generic = load("lip_scores"), load("recorded_people"), load("people_generic")
RNG = np.random.default_rng(0)
FACE = np.random.default_rng(1).uniform(-0.5, 0.5, (KEYPOINT_COUNT, 3)).astype(np.float32)


def face(opening: np.ndarray, width: np.ndarray | None = None) -> np.ndarray:
    """[F, K, 3] a face that opens the lips so far."""
    points = np.repeat(FACE[None], len(opening), axis=0)
    points[:, LOWER_INNER] = points[:, lip_scores.positions((82, 13, 312))]
    points[:, LOWER_INNER, 1] -= opening[:, None]
    if width is not None:
        points[:, MOUTH_CORNERS[0]] = 0
        points[:, MOUTH_CORNERS[1]] = np.stack([width, 0 * width, 0 * width], axis=1)
    return points


def speaking(closed: list[int], frames: int = 100) -> np.ndarray:
    """An opening that is 0 for three frames around each of some moments and about .1 else."""
    opening = 0.1 + 0.01 * np.sin(np.arange(frames))
    for moment in closed:
        opening[moment - 1 : moment + 2] = 0.0
        opening[[moment - 2, moment + 2]] = 0.05
    return opening


def scored(truth: np.ndarray, predicted: np.ndarray, words: list[tuple[float, float, str]] | None = None) -> dict:
    clip = lip_scores.ScoredClip("a", face(truth), face(predicted), np.ones(len(truth), bool), words)
    return lip_scores.lip_scores([clip], lip_scores.person_levels([clip.truth]))


def test_closures_are_met_in_time_or_late_or_false():
    truth = speaking([20, 40, 60, 80])
    same = scored(truth, truth)
    assert same["closures"] == 4 and same["closures_met"] == same["closures_timed"] == 1
    assert same["closures_false"] == same["false_events"] == 0 and same["lmd"] == pytest.approx(0)
    late = scored(truth, np.roll(truth, 2))
    assert (
        late["closures_timed"] == 0 and late["best_lag"] == 2 and late["opening_r_best"] == pytest.approx(1, abs=0.01)
    )
    assert scored(truth, np.roll(truth, 1))["closures_timed"] == 1
    # Two of four are met, and of the four that were made two are where the truth is open.
    half = scored(truth, speaking([20, 30, 60, 70]))
    assert half["closures_met"] == half["closures_timed"] == half["false_events"] == 0.5
    assert 0 < half["closures_false"] < 0.1


def test_lips_that_do_not_close_enough_are_told_from_lips_at_the_wrong_time():
    truth = speaking([20, 40, 60, 80])
    shallow = scored(truth, 0.05 + 0.5 * truth)
    assert shallow["closures_met"] == 0 and shallow["closures_met_own_level"] == 1
    assert shallow["amplitude"] == pytest.approx(0.5, abs=0.01) and shallow["too_open"] > 0


def test_contacts_of_f_and_v_are_narrow_openings():
    truth = speaking([20, 60])
    words = [(0.8, 1.2, "four"), (1.4, 1.6, "two"), (2.0, 2.4, "f")]
    assert [lip_scores.contact_frame(*word) for word in words] == [20, None, 60]
    assert lip_scores.contact_frame(1.0, 1.3, "Phone") == 25
    assert scored(truth, truth, words)["contacts_met"] == 1
    open_lips = scored(truth, speaking([20]), words)
    assert open_lips["contacts"] == 2 and open_lips["contacts_met"] == 0.5 and open_lips["contact_gap"] > 0.04


def test_the_worst_second_is_found():
    truth = speaking([20])
    predicted = truth.copy()
    predicted[50:75] += 0.2
    clip = lip_scores.ScoredClip("a", face(truth), face(predicted), np.ones(100, bool), first_frame=1000)
    error, begins = lip_scores.worst_second(clip)
    assert begins == 1050 and error > 4 * lip_scores.lip_scores([clip], None)["lmd"] / 1.1


def recording(name: str, frames: int = 100, held: slice = slice(80, None)) -> Any:
    heldout = np.zeros(frames, bool)
    heldout[held] = True
    features = SpeechFeatures(np.zeros((2 * frames, 4), np.float32), "mel")
    return people.Recording(name, np.zeros((frames, KEYPOINT_COUNT, 3)), heldout, features, None, None, None)


def test_who_is_known_is_scored_on_held_out_frames_alone():
    ann = people.Person("ann", FACE, [recording("a"), recording("b", 50, slice(0))], is_known=True)
    assert [(one.name, frames) for one, frames in generic.scored_parts(ann)] == [("a", slice(80, 100))]
    bob = people.Person("bob", FACE, ann.recordings)
    assert [one.name for one, _ in generic.scored_parts(bob)] == ["a", "b"]
    (own,) = generic.folds(ann, 4)
    assert own["a"].sum() == 20
    parts = list(generic.folds(bob, 4))
    assert len(parts) == 4
    for name in "ab":
        assert (np.sum([part[name] for part in parts], axis=0) == 1).all()


def test_means_over_people_and_spread_over_seeds():
    first = {"opening_r": 0.8, "opening_r_best": 0.8, "closures": 3.0}
    second = {"opening_r": 0.6, "opening_r_best": 0.6, "closures": 5.0}
    results = {"ann": {"generic": [first, first]}, "bob": {"generic": [second, {**second, "opening_r": 0.4}]}}
    mean = generic.summary(results)["generic"]
    assert [round(one["opening_r"], 3) for one in mean] == [0.7, 0.6] and mean[0]["closures"] == 8
    lines = generic.table(results).splitlines()
    assert lines[2].startswith("| ann, generic | 0.80 ± 0.00 |") and lines[3].startswith(
        "| bob, generic | 0.50 ± 0.10 |"
    )
    assert lines[4].startswith("| **mean of 2, generic** | 0.65 ± 0.05 |")
    assert lines[5].startswith("| worst: bob, generic |")
