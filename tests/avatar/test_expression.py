"""Head, brows and style: what follows speech, what is the person's own, and what must stay as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geneface.avatar import stress
from geneface.avatar.avatar import Avatar
from geneface.avatar.finish import Finish
from geneface.avatar.folder import AvatarFiles
from geneface.avatar.performance import Performance
from geneface.avatar.person import PersonStatistics, Spoken, measure_person
from geneface.avatar.style import StyleStatistics, measure_styles, style_of
from geneface.errors import InputError
from geneface.geometry.landmarks import BROWS, JAW, LIPS, lip_opening
from geneface.types import FloatArray, HeadPose, MotionTrack, Waveform

from .avatar_fixtures import face_points, person

FRAMES = 750


def phrases(frames: int = FRAMES, seed: int = 1) -> FloatArray:
    """Loudness of phrases of syllables between pauses."""
    rng = np.random.default_rng(seed)
    loud = np.zeros(frames, np.float32)
    start = 10
    while start < frames:
        length = int(rng.integers(25, 80))
        syllables = 0.5 + 0.5 * np.sin(np.arange(length) * 2 * np.pi / 6)
        loud[start : start + length] = (0.4 + 0.6 * syllables)[: frames - start]
        start += length + int(rng.integers(8, 20))
    return loud


def sound_of(loud: FloatArray, seed: int = 0) -> FloatArray:
    """Noise that is loud where `loud` is."""
    level = np.repeat(np.where(loud > 0, 0.2 * loud, 1e-4), 640)
    return (level * np.random.default_rng(seed).standard_normal(len(level))).astype(np.float32)


def somebody(nods: float = -0.1, seed: int = 3) -> PersonStatistics:
    """Measured on a person whose head follows their stress, whose brows sway, and whose clips grow livelier."""
    rng = np.random.default_rng(seed)
    loud = np.concatenate([phrases(FRAMES, number) for number in range(4)])
    segment = np.repeat(np.arange(4), FRAMES)
    word = np.concatenate([stress.stress_of_recording(loud[segment == number]) for number in range(4)])
    frames, time = len(loud), np.arange(len(loud)) / 25
    amount = np.repeat([0.7, 0.9, 1.1, 1.25], FRAMES)
    track = np.stack([face_points(0.002 + 0.03 * a * value) for a, value in zip(amount, loud, strict=True)])
    track[:, BROWS, 1] += (0.004 * amount * np.sin(2 * np.pi * 0.4 * time))[:, None]
    rotation = np.stack([nods * word[:, 0], 0.02 * amount * np.sin(time), 0 * time], axis=1)
    translation = np.stack([0 * time, 0 * time, -4 + 0 * time], axis=1)
    pose = HeadPose(
        (rotation + 1e-3 * rng.standard_normal(rotation.shape)).astype(np.float32), translation.astype(np.float32)
    )
    spoken = Spoken(loud < stress.PAUSE, loud, ("a", "b", "c", "d"))
    return measure_person(track.astype(np.float32), pose, segment, np.ones(frames, bool), spoken, person().neutral)


@pytest.fixture(scope="module")
def known() -> PersonStatistics:
    return somebody()


def performed(
    who: PersonStatistics, loud: FloatArray, performance: Performance | None = None, points: FloatArray | None = None
) -> MotionTrack:
    finish = Finish(who, performance or Performance())
    if points is None:
        points = np.repeat(who.rest[None], len(loud), axis=0)
    return finish.finished(finish.amplified(points), heard=stress.heard_windows(loud, len(loud)))


def test_loudness_is_that_of_speech_at_any_level_and_of_silence_none() -> None:
    loud = phrases(300)
    sound = sound_of(loud)
    heard = stress.loudness_of(sound)
    assert np.corrcoef(heard, loud)[0, 1] > 0.9
    assert heard[loud == 0].max() < stress.PAUSE < np.median(heard[loud > 0])
    np.testing.assert_allclose(stress.loudness_of(0.05 * sound), heard, atol=1e-3)
    assert stress.loudness_of(np.zeros(6400, np.float32)).max() == 0


def test_nothing_but_what_live_speech_has_heard_is_looked_at() -> None:
    loud = phrases(200)
    other = loud.copy()
    other[100 + stress.LOOK_FRAMES :] = 1
    first, second = (stress.stress_of_recording(values) for values in (loud, other))
    np.testing.assert_array_equal(first[:100], second[:100])
    assert np.abs(first - second)[100] @ np.ones(2) > 0


def test_the_head_nods_as_the_person_does_and_one_who_does_not_is_not_made_to(known: PersonStatistics) -> None:
    assert known.nod is not None and known.nod[0] < -0.05
    # What is added with speech is not in what is replayed.
    assert known.path.rotation[:, 0].std() < 0.35 * (0.1 * stress.stress_of_recording(phrases())[:, 0]).std() + 0.01
    loud = phrases(seed=77)
    pitch = performed(known, loud).pose.rotation[:, 0]
    assert np.corrcoef(pitch, stress.stress_of_recording(loud)[:, 0])[0, 1] < -0.8
    still = somebody(nods=0.0)
    assert still.nod is None


def test_head_and_brows_move_faster_where_speech_is_loud_and_never_jump(known: PersonStatistics) -> None:
    loud = np.repeat(np.array([0, 1, 0, 1], np.float32), 250)
    quiet = replace(known, nod=None)
    track = performed(quiet, loud, Performance(blink=False))
    turns = np.abs(np.diff(track.pose.rotation, axis=0)).sum(1).reshape(-1, 1)[:, 0]
    brows = np.abs(np.diff(track.points[:, BROWS, 1].mean(1)))
    steady = np.r_[60:240, 310:490, 560:740, 810:990]
    is_loud = loud[steady] > 0
    for speeds in (turns, brows):
        assert speeds[steady][is_loud].mean() > 1.5 * speeds[steady][~is_loud].mean()
    recorded = np.diff(quiet.path.rotation, axis=0)
    assert np.abs(np.diff(track.pose.rotation, axis=0)).max() <= 1.1 * stress.STRESS_PACE * np.abs(recorded).max()


def test_pieces_of_any_lengths_give_the_same_frames(known: PersonStatistics) -> None:
    loud = phrases()
    heard = stress.heard_windows(loud, len(loud))
    points = np.repeat(known.rest[None], len(loud), axis=0)
    for style in ("lively", 0.2, "b"):
        performance = Performance(seed=4, style=style)
        whole = performed(known, loud, performance)
        finish, rng, made = Finish(known, performance, kept=200), np.random.default_rng(1), 0
        pieces = []
        while made < len(loud):
            stop = min(made + int(rng.integers(0, 90)), len(loud))
            pieces.append(finish.finished(points[made:stop], heard=heard[made:stop]))
            # Something else that nobody saw.
            finish.finished(points[:50])
            finish.step_back(50)
            made = stop
        np.testing.assert_array_equal(np.concatenate([piece.points for piece in pieces]), whole.points)
        np.testing.assert_array_equal(np.concatenate([p.pose.rotation for p in pieces]), whole.pose.rotation)


def test_styles_grow_from_calm_to_lively_and_closed_lips_stay_closed(known: PersonStatistics) -> None:
    loud = phrases()
    points = np.stack([face_points(0.03 * value) for value in loud]).astype(np.float32)
    spread: list[list[float]] = []
    blinks = []
    for style in ("calm", 0.25, "neutral", 0.75, "lively"):
        performance = Performance(style=style, blink=False)
        finish = Finish(known, performance)
        opening = lip_opening(finish.amplified(points))
        track = performed(known, loud, performance)
        turns = np.linalg.norm(np.diff(track.pose.rotation, axis=0), axis=1).mean()
        spread.append([float(opening.max()), float(track.points[:, BROWS, 1].std()), float(turns)])
        blinks.append(style_of(known.styles, performance.style).blinks)
        closed = lip_opening(points) < lip_opening(known.rest) + 1e-3
        assert closed.any()
        np.testing.assert_allclose(opening[closed], lip_opening(points)[closed], atol=1.5e-4)
        # In time: what opens furthest, when, is the same.
        assert np.corrcoef(opening, lip_opening(points))[0, 1] > 0.995
    assert (np.diff(spread, axis=0) > 0).all()
    assert (np.diff(blinks) >= 0).all()
    np.testing.assert_array_equal(performed(known, loud).points, performed(known, loud, Performance(style=0.5)).points)


def test_a_clip_is_an_example_and_an_unknown_one_is_refused_in_a_sentence(known: PersonStatistics) -> None:
    still, lively = style_of(known.styles, "a"), style_of(known.styles, "d")
    assert still.mouth < 0.9 < 1.05 < lively.mouth
    assert still.head < lively.head and still.brows < 1 < lively.brows and still.blinks == 1
    with pytest.raises(
        InputError, match=r"no style or clip .angry.: give .* or a clip of the person \(a, b, c, \.\.\.\)"
    ):
        Finish(known, Performance(style="angry"))
    with pytest.raises(InputError, match="names no clips"):
        style_of(None, "a")


def test_an_avatar_of_before_has_styles_too(avatar: Avatar) -> None:
    assert avatar.files.person.styles is None and avatar.files.person.brows is None
    calm, lively = (avatar.motion(Waveform(sound_of(phrases(100))), Performance(style=s)) for s in ("calm", "lively"))
    assert lip_opening(lively.points).max() > 1.05 * lip_opening(calm.points).max()
    # Refused before the first frame is asked for.
    with pytest.raises(InputError, match="nobody"):
        avatar.stream(Waveform(sound_of(phrases(50))), Performance(style="nobody"))


def test_they_are_stored_and_what_can_not_be_is_refused(known: PersonStatistics) -> None:
    tensors = known.tensors()
    again = PersonStatistics.from_tensors(tensors, "x")
    for name, value in again.tensors().items():
        np.testing.assert_array_equal(value, tensors[name])
    assert again.styles is not None and again.styles.clips == again.styles.names == ("a", "b", "c", "d")
    broken = {
        "style.clip": np.full_like(tensors["style.clip"], 9),
        "style.values": -tensors["style.values"],
        "style.names": np.zeros((2, 2), np.uint8),
        "style.names ": np.frombuffer(b"a\na\nc\nd", np.uint8),
        "path.brows": np.zeros((len(known.path), 3, 3), np.float32),
        "nod": np.full(6, np.nan, np.float32),
    }
    for name, value in broken.items():
        with pytest.raises(InputError, match=name.split(".")[0]):
            PersonStatistics.from_tensors(tensors | {name.strip(): value}, "x")
    with pytest.raises(InputError, match="style"):
        PersonStatistics.from_tensors({k: v for k, v in tensors.items() if k != "style.clip"}, "x")


def test_a_piece_counts_by_what_is_said_in_it() -> None:
    track = np.stack([face_points(0.0)] * 300).astype(np.float32)
    pose = HeadPose(np.zeros((300, 3), np.float32), np.zeros((300, 3), np.float32))
    blinking = np.zeros(300, bool)
    blinking[[10, 90, 160]] = True
    silent = np.arange(300) >= 150
    measured = measure_styles(track, pose, blinking, silent, [slice(0, 300)], ["one\nname"])
    assert isinstance(measured, StyleStatistics)
    assert measured.names == ("one name",) and len(measured.values) == 2
    # Three in 12 s are 15 a minute; the pieces' own 20 weigh 3 s against 20 s of these.
    np.testing.assert_allclose(measured.values[:, 3], (60 + 20 * 15) / 23, rtol=1e-5)
    assert measure_styles(track, pose, blinking, np.ones(300, bool), [slice(0, 300)], ["x"]) is None


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_temperature_varies_all_but_the_lips(avatar: Avatar, temperature: float) -> None:
    sound = Waveform(sound_of(phrases(150)))
    plain = avatar.motion(sound, Performance(blink=False))
    one, other = (avatar.motion(sound, Performance(temperature, seed, blink=False)) for seed in (0, 1))
    np.testing.assert_array_equal(one.points[:, LIPS], plain.points[:, LIPS])
    np.testing.assert_array_equal(other.points[:, JAW], plain.points[:, JAW])
    assert np.abs(one.points[:, BROWS] - plain.points[:, BROWS]).max() > 1e-4
    assert np.abs(one.points[:, BROWS] - other.points[:, BROWS]).max() > 1e-4


def test_the_avatar_that_ships_names_its_clips_and_moves_its_brows() -> None:
    shipped = Avatar.load("grid-s1")
    assert len(shipped.clips) > 100
    loud = phrases(200)
    calm, neutral, lively = (
        performed(shipped.files.person, loud, Performance(style=style, blink=False)).points[:, BROWS, 1].mean(1).std()
        for style in ("calm", "neutral", "lively")
    )
    assert 0 < calm < neutral < lively


def test_files_hold_what_is_measured(avatar: Avatar, known: PersonStatistics) -> None:
    files: AvatarFiles = replace(avatar.files, person=known)
    moving = Avatar(files, avatar._encoder, avatar._model, None)
    loud = phrases(250)
    track = moving.motion(Waveform(sound_of(loud)), Performance(blink=False))
    assert np.corrcoef(track.pose.rotation[:, 0], stress.stress_of_recording(loud)[:, 0])[0, 1] < -0.7
    brows = track.points[:, BROWS, 1].mean(1)
    assert 0.3 < brows.std() / 0.004 < 1.2
