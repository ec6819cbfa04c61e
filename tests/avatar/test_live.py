"""A live face: any pieces, its look-ahead, interruptions."""

import itertools
import pickle
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geneface.analysis.steady_sound import steadiness
from geneface.avatar.avatar import Avatar
from geneface.avatar.folder import find_avatar
from geneface.avatar.live import EASE_FRAMES, LivePerformance
from geneface.avatar.performance import Performance
from geneface.avatar.smoothing import LiveSmoother
from geneface.errors import InputError
from geneface.geometry.landmarks import BROWS, LIPS, LOWER_FACE, lip_opening
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.motion.live import LiveMotion
from geneface.types import HeadPose, MotionTrack, Waveform

from .avatar_fixtures import make_avatar


@pytest.fixture(scope="module")
def avatar() -> Avatar:
    return Avatar.load("grid-s1")


@pytest.fixture(scope="module")
def alike(tmp_path_factory) -> Avatar:
    """The same, hearing recorded speech with the models of live speech."""
    folder = tmp_path_factory.mktemp("alike") / "avatar"
    return Avatar.load(shutil.copytree(find_avatar("grid-s1"), folder, ignore=shutil.ignore_patterns("recorded")))


@pytest.fixture(scope="module")
def sound():
    return read_audio(asset_path("speech", "demo.flac")).samples[:100_333]


def joined(tracks: list[MotionTrack]) -> MotionTrack:
    points = np.concatenate([track.points for track in tracks])
    rotation = np.concatenate([track.pose.rotation for track in tracks])
    translation = np.concatenate([track.pose.translation for track in tracks])
    return MotionTrack(points, HeadPose(rotation, translation))


def perform(live: LivePerformance, sound, size: int) -> MotionTrack:
    tracks = [live.push(sound[start : start + size]) for start in range(0, len(sound), size)]
    return joined([*tracks, live.finish()])


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [20, 75, 200])
def test_chunks_give_the_motion_of_the_whole_file(avatar, sound, milliseconds):
    performance = Performance(seed=3, temperature=0.5, mouth_gain=1.2)
    whole = perform(avatar.live(performance), sound, len(sound))
    assert len(whole) == -(-len(sound) // 640)
    pieces = perform(avatar.live(performance), sound, 16 * milliseconds)
    assert np.abs(pieces.points - whole.points).max() < 1e-4
    assert np.abs(pieces.pose.rotation - whole.pose.rotation).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_the_person_moves_as_in_the_whole(avatar, sound, temperature):
    model, person = avatar._model, avatar._person_motion
    assert model.goes_on and len(person.nets) > 1
    features = avatar._encoder.encode(sound)
    whole = model.predict(features, temperature=temperature, seed=5, person=person)
    live, made = LiveMotion(model, person, temperature, 5), []
    for start, size in zip(range(0, len(features.values), 14), itertools.cycle([2, 4, 8, 0]), strict=False):
        made += [
            live.push(features.values[start : start + size]),
            live.push(features.values[start + size : start + 14]),
        ]
    made.append(live.finish())
    assert np.abs(np.concatenate(made) - whole).max() < 1e-6


@pytest.mark.slow
def test_another_utterance_is_said_another_way_and_a_second_run_is_the_same(avatar, sound):
    performance = Performance(seed=3, temperature=1.0, blink=False)
    runs = []
    for _ in range(2):
        live = avatar.live(performance)
        runs.append([perform(live, sound, 16_000).points[20:, BROWS] for _ in range(2)])
    first, second = runs[0]
    assert np.abs(first - second).max() > 1e-4
    assert np.array_equal(runs[0][0], runs[1][0]) and np.array_equal(runs[0][1], runs[1][1])


@pytest.mark.slow
def test_performances_of_one_avatar_and_of_its_copies_do_not_hear_each_other(avatar, sound):
    parts = [sound[:30_000], sound[40_000:70_000]]
    copy = pickle.loads(pickle.dumps(avatar))
    performance = Performance(seed=3, temperature=0.5)
    alone = [perform(avatar.live(performance), part, 640).points for part in parts]
    with ThreadPoolExecutor(4) as pool:
        others = [(face, part) for face in (avatar, copy) for part in parts]
        together = list(pool.map(lambda pair: perform(pair[0].live(performance), pair[1], 640).points, others))
    assert all(map(np.array_equal, together, 2 * alone))


@pytest.mark.slow
def test_memory_stays_flat(avatar, sound):
    """Over 16 s, several windows of the encoder: what a performance may take back has its place from the beginning."""
    live = avatar.live()
    live.push(sound[:32_000])
    tracemalloc.start()
    kept = []
    for _ in range(4):
        for start in range(32_000, 96_000, 640):
            live.push(sound[start : start + 640])
        kept.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert max(kept[1:]) - kept[0] < 200_000


@pytest.mark.slow
def test_live_lips_are_nearly_those_of_the_recording(avatar, alike, sound):
    recorded, better = (
        lip_opening(heard.motion(read_audio(asset_path("speech", "demo.flac"))).points) for heard in (alike, avatar)
    )
    live = lip_opening(perform(avatar.live(), sound, 1600).points)
    count = len(live) - 10
    assert np.corrcoef(live[10:count], recorded[10:count])[0, 1] > 0.9
    # Models of their own hear more of a recording; they say the same of it.
    assert np.corrcoef(live[10:count], better[10:count])[0, 1] > 0.8


@pytest.mark.slow
def test_a_held_vowel_keeps_the_lips_open_recorded_and_live_alike(avatar, alike, sound):
    """A sentence, cut in the middle of a vowel that is held for three seconds."""
    moment, period = 23_222, 118
    vowel = np.tile(sound[moment : moment + period], 400)
    held = np.concatenate([sound[:moment], vowel, np.zeros(16_000, np.float32)])
    performance = Performance(blink=False, body="drawn")
    steady = slice(42, 104)
    assert steadiness(held)[steady].min() > 0.9
    recorded = alike.motion(Waveform(held), performance)
    live = perform(avatar.live(performance), held, 1600)
    for track in (recorded, live):
        opening = lip_opening(track.points[steady])
        assert opening.min() > 0.015 and np.ptp(opening) < 1e-3
    both = (lip_opening(track.points[steady]).mean() for track in (recorded, live))
    assert next(both) == pytest.approx(next(both), abs=3e-3)
    # So does the model of recordings, which opens them by its own measure.
    opening = lip_opening(avatar.motion(Waveform(held), performance).points)
    assert np.ptp(opening[steady]) < 1e-3 and opening[steady].min() > 4 * opening[-1]


@pytest.mark.slow
def test_frames_come_after_the_stated_look_ahead(avatar, sound):
    live = avatar.live()
    assert live.look_ahead_seconds <= 0.2
    made = 0
    for start in range(0, 64_000, 320):
        made += len(live.push(sound[start : start + 320]))
        waiting = (start + 320) / 16_000 - made / 25
        assert made == 0 or waiting >= live.look_ahead_seconds - 1e-6
        # A frame of 40 ms and a block of the level of 20 ms may be under way.
        assert waiting < live.look_ahead_seconds + 0.07


@pytest.mark.slow
def test_an_interruption_closes_the_mouth_in_time_without_a_jump(avatar, sound):
    live = avatar.live()
    before = joined([live.push(sound[:40_000]), live.push(sound[40_000:60_000])])
    stop = live.interrupt()
    after = live.push(sound[60_000:90_000])
    assert len(stop) == EASE_FRAMES <= 5
    rest = avatar.files.person.rest
    assert np.abs(stop.points[-1][LOWER_FACE] - rest[LOWER_FACE])[np.isin(LOWER_FACE, LIPS)].max() < 1e-5
    whole = joined([before, stop, after])
    opening = lip_opening(whole.points)
    seams = np.abs(np.diff(opening))[len(before) - 1 : len(before) + EASE_FRAMES + 1]
    assert seams.max() <= np.abs(np.diff(opening)).max() + 1e-9 and seams.max() < 0.5 * np.ptp(opening)
    # The head, which follows the speech, comes to another pace as smoothly as it does elsewhere.
    other = perform(avatar.live(), sound, len(sound))
    assert np.allclose(before.pose.rotation, other.pose.rotation[: len(before)], atol=1e-5)
    turns = np.abs(np.diff(whole.pose.rotation, n=2, axis=0)).max(axis=1)
    assert turns[len(before) - 2 : len(before) + EASE_FRAMES].max() <= 1.5 * turns[: len(before) - 2].max()


@pytest.mark.slow
def test_the_next_utterance_begins_where_the_mouth_is(avatar, sound):
    live = avatar.live()
    first = perform(live, sound[:50_000], 3200)
    second = live.push(sound[20_000:60_000])
    step = np.abs(second.points[0] - first.points[-1])[LOWER_FACE]
    usual = np.abs(np.diff(first.points[:, LOWER_FACE], axis=0)).max()
    assert step.max() <= usual


@pytest.mark.parametrize("bad", [np.array([0.1, np.nan], np.float32), np.zeros((4, 2), np.float32)])
def test_bad_sound_is_refused(avatar, bad):
    with pytest.raises(InputError, match="live sound"):
        avatar.live().push(bad)


def test_an_encoder_that_needs_the_whole_recording_is_refused(tmp_path):
    avatar = Avatar.load(make_avatar(tmp_path / "tiny", tmp_path / "work"))
    with pytest.raises(InputError, match="whole recording"):
        avatar.live()


def test_the_live_smoother_is_a_causal_filter_of_the_chosen_landmarks_alone():
    points = np.random.default_rng(0).standard_normal((40, len(LIPS) + 500, 3)).astype(np.float32)[:, :200]
    columns = np.arange(10, 30)
    whole = LiveSmoother(1.5, columns).push(points)
    smoother = LiveSmoother(1.5, columns)
    pieces = np.concatenate([smoother.push(points[a:b]) for a, b in [(0, 1), (1, 9), (9, 9), (9, 40)]])
    assert np.array_equal(pieces, whole)
    others = np.setdiff1d(np.arange(200), columns)
    assert np.array_equal(whole[:, others], points[:, others])
    taps = np.exp(-0.5 * (np.arange(6) / 1.5) ** 2)
    expected = sum(tap * points[30 - back, columns] for back, tap in enumerate(taps / taps.sum()))
    assert np.allclose(whole[30, columns], expected, atol=1e-5)
