"""The offset of sound and picture where it is known: lips and embeddings that were moved in time by so much."""

from __future__ import annotations

import numpy as np
import pytest

from geneface.analysis.sync_offset import (
    LAGS,
    LEAST_FRAMES,
    UNKNOWN,
    Agreement,
    LipTrack,
    SoundOffset,
    compare,
    fit_near,
    fit_offset,
    fit_spans,
)

WIDTH, REACH = 16, 8


class Speech:
    """What a sound asks for at any moment, in frames: smooth curves and embeddings, on a clock of its own."""

    def __init__(self, seed: int, frames: int = 4000) -> None:
        rng = np.random.default_rng(seed)
        self._time = np.arange(-200, frames, 0.25)
        kernel = np.hanning(17)
        values = rng.normal(size=(4 + WIDTH, len(self._time)))
        self._values = np.stack([np.convolve(row, kernel, "same") for row in values])

    def at(self, times: np.ndarray, noise: float = 0.0, seed: int = 0) -> LipTrack:
        rng = np.random.default_rng(seed)
        rows = np.stack([np.interp(times, self._time, row) for row in self._values])
        rows += noise * self._values.std() * rng.normal(size=rows.shape)
        embedding = rows[4:, : len(times) - REACH]
        return LipTrack(rows[:4].T, embedding / np.linalg.norm(embedding, axis=0))


def agreements(
    late: float, frames: int = 150, seed: int = 1, noise: float = 0.5, drift: float = 0.0, start: int = 0
) -> list[Agreement]:
    """Of f frames of lips from `start` on, and their sound, late by so many frames at frame 0 and ever later."""
    speech = Speech(seed)
    seen = speech.at(np.arange(start, start + frames), noise, seed)
    # The sound's frame j holds what belongs to the lips of frame i where j = i + late + drift * i.
    first = start - 20
    asked = speech.at((np.arange(first, start + frames + 20) - late) / (1 + drift))
    return compare(seen, asked, start - first, np.ones(len(asked.curves), bool), start)


@pytest.mark.parametrize("late", [-9, -2.5, 0, 0.5, 3, 8])
def test_a_few_seconds_tell_their_offset_and_its_sign(late: float):
    found = fit_offset(agreements(late))
    assert found.confident and found.frames == pytest.approx(late, abs=0.25)
    assert found.best_frames == found.frames and found.drift_ppm == 0


def test_a_file_without_sound_beyond_its_pictures_is_enough():
    """Lips and sound of the same frames: at a lag, so many fewer are compared."""
    speech = Speech(3)
    times = np.arange(100.0)
    asked = speech.at(times - 8)
    found = fit_offset(compare(speech.at(times, 0.3), asked, 0, np.ones(100, bool)))
    assert found.confident and found.frames == pytest.approx(8, abs=0.25)


@pytest.mark.parametrize("still", ["curves", "embedding"])
def test_curves_and_embeddings_each_tell_by_themselves(still: str):
    speech, times = Speech(5), np.arange(200.0)
    seen, asked = speech.at(times, 0.3), speech.at(times - 4)
    if still == "curves":
        seen = LipTrack(np.ones_like(seen.curves), seen.embedding)
    else:
        seen = LipTrack(seen.curves, np.ones_like(seen.embedding))
    found = fit_offset(compare(seen, asked, 0, np.ones(200, bool)))
    assert found.confident and found.frames == pytest.approx(4, abs=0.25)


def test_of_equal_lips_more_seconds_are_surer():
    short, long = (fit_offset(agreements(2, frames, noise=2.0)) for frames in (75, 600))
    assert long.agreement > 1.5 * short.agreement


def test_lips_that_do_not_follow_the_sound_give_no_answer():
    for seed in range(12):
        seen = Speech(100 + seed).at(np.arange(400))
        found = fit_offset(compare(seen, Speech(seed).at(np.arange(400)), 0, np.ones(400, bool)))
        assert not found.confident and found.frames == 0 and found.shift(0) == 0


@pytest.mark.slow
def test_chance_reaches_as_much_in_long_recordings_as_in_short_ones():
    best = {}
    for frames in (100, 1500):
        pairs = [(Speech(100 + seed), Speech(seed)) for seed in range(12)]
        times = np.arange(frames)
        found = [fit_offset(compare(a.at(times), b.at(times), 0, np.ones(frames, bool))) for a, b in pairs]
        best[frames] = np.mean([offset.agreement for offset in found])
    assert best[1500] == pytest.approx(best[100], rel=0.4)


def test_still_lips_and_no_windows_give_no_answer():
    speech = Speech(0)
    still = LipTrack(np.ones((200, 4)), np.ones((WIDTH, 200 - REACH)) / 4)
    found = fit_offset(compare(still, speech.at(np.arange(200)), 0, np.ones(200, bool)))
    assert not found.confident and np.isfinite(found.agreement)
    assert fit_offset([]) == UNKNOWN and fit_spans([], may_drift=True) == []


def test_silence_gives_no_answer_however_well_it_fits():
    speech = Speech(4)
    sounding = np.zeros(200, bool)
    sounding[:30] = True
    track = speech.at(np.arange(200))
    assert not fit_offset(compare(track, track, 0, sounding)).confident
    assert fit_offset(compare(track, track, 0, np.ones(200, bool))).confident


def test_a_peak_at_the_end_of_the_range_may_lie_beyond_it():
    assert not fit_offset(agreements(15.4)).confident


@pytest.mark.parametrize("ppm", [1000, -2000])
def test_a_drift_is_found_and_told_at_the_first_picture(ppm: float):
    found = fit_offset(agreements(2, 1500, drift=1e-6 * ppm, start=200), may_drift=True)
    assert found.confident and found.drift_ppm == pytest.approx(ppm, abs=200)
    for frame in (200, 1700):
        assert found.shift(frame) == pytest.approx(2 + 1e-6 * ppm * frame, abs=0.3)


def test_no_drift_is_made_up():
    for seed in range(6):
        assert fit_offset(agreements(0.5 * seed, 1500, seed, noise=2.0), may_drift=True).drift_ppm == 0
    # One that is too small to be heard neither.
    assert fit_offset(agreements(0, 1500, drift=2e-4), may_drift=True).drift_ppm == 0


def test_a_stretch_with_another_offset_keeps_it_and_does_not_shift_the_others():
    runs = [agreements(1, 200, start=0), agreements(1, 200, start=300), agreements(6, 150, start=700)]
    found = fit_spans(runs, may_drift=True)
    assert [offset.frames for offset in found] == pytest.approx([1, 1, 6], abs=0.25)
    assert found[0] == found[1] and found[0].confident and found[2].confident
    # As if the third had never been there.
    assert found[0] == fit_spans(runs[:2], may_drift=True)[0]


@pytest.mark.parametrize("jump", [2, 5, 10])
def test_two_halves_that_differ_have_two_offsets_and_no_drift(jump: int):
    found = fit_spans([agreements(-3, 300), agreements(jump - 3, 300, start=300)], may_drift=True)
    assert [offset.frames for offset in found] == pytest.approx([-3, jump - 3], abs=0.25)
    assert [offset.drift_ppm for offset in found] == [0, 0]


def test_shots_of_a_drifting_file_share_the_drift():
    shots = [agreements(1, 120, drift=1e-3, start=start) for start in range(0, 3000, 150)]
    (found,) = set(fit_spans(shots, may_drift=True))
    assert found.drift_ppm == pytest.approx(1000, abs=100) and found.frames == pytest.approx(1, abs=0.25)


def test_a_stretch_that_can_not_tell_follows_the_others():
    weak = agreements(3, 30, noise=4.0, start=900)
    assert not fit_offset(weak).confident
    found = fit_spans([agreements(3, 300), weak], may_drift=True)
    assert found[0] == found[1] and found[1].confident


def test_clips_of_three_seconds_share_an_offset_unless_they_are_far_apart():
    near = fit_spans([agreements(late, 75, seed) for seed, late in enumerate([0, 0, 2.2])], may_drift=False)
    assert len(set(near)) == 1
    far = fit_spans([agreements(late, 75, seed) for seed, late in enumerate([0, 0, 7])], may_drift=False)
    assert [offset.frames for offset in far] == pytest.approx([0, 0, 7], abs=0.25)
    longer = fit_spans([agreements(late, 125, seed) for seed, late in enumerate([0, 0, 2.2])], may_drift=False)
    assert [offset.frames for offset in longer] == pytest.approx([0, 0, 2.2], abs=0.25)


def test_short_clips_are_pooled():
    clips = [agreements(-4, 40, seed, noise=1.5) for seed in range(10)]
    assert not all(fit_offset(clip).confident for clip in clips)
    (found,) = set(fit_spans(clips, may_drift=False))
    assert found.confident and found.frames == pytest.approx(-4, abs=0.25)


@pytest.mark.parametrize("late", [-1.2, -0.5, 0.0, 0.8])
def test_a_clip_of_three_seconds_is_a_fraction_of_a_frame_off_the_others(late: float):
    common = fit_offset([window for seed in range(4) for window in agreements(3, 75, seed)])
    assert common.confident
    own = fit_near(agreements(3 + late, 75, seed=9), common)
    assert own.frames == pytest.approx(3 + late, abs=0.3) and own.best_frames == own.frames
    assert own.confidence == common.confidence


def test_a_clip_that_can_not_tell_stays_with_the_others():
    common = fit_offset(agreements(3, 300))
    of_noise = [fit_near(agreements(-6, 25, seed, noise=8.0), common).frames for seed in range(8)]
    assert np.abs(np.array(of_noise) - common.frames).max() <= 1
    # Lips that tell clearly of a place far away are not followed there either.
    far = fit_near(agreements(9, 75), common)
    assert abs(far.frames - common.frames) <= 3


def test_what_is_too_small_to_matter_is_told_but_not_moved():
    small = SoundOffset(LEAST_FRAMES - 0.1, 0.0, 1.0, 0.2, 20.0, 15.0)
    assert small.shift(0) == 0 and small.to_json()["frames"] == small.frames
    drifting = SoundOffset(0.1, 500.0, 1.0, 0.1, 20.0, 15.0)
    assert drifting.shift(2000) == pytest.approx(1.1) and drifting.shift_ppm == 500
    unsure = SoundOffset(0.0, 0.0, 0.4, 6.0, 3.0, 1.0)
    assert unsure.shift(0) == 0 and not unsure.confident


def test_lags_are_frames():
    assert LAGS[0] == -15 and LAGS[-1] == 15 and (np.diff(LAGS) == 1).all()
