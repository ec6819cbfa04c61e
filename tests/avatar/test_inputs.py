"""What a program hands over: scaled by its type, or refused in one sentence before anything is drawn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.avatar.avatar import Avatar
from geneface.avatar.performance import Performance
from geneface.errors import InputError
from geneface.types import Waveform

from .avatar_fixtures import speech

SPEECH = (np.round(np.clip(2 * speech(2.0)[12_000:28_000], -1, 0.99) * 128) / 128).astype(np.float32)
"""Multiples of 1/128, which every type holds exactly."""


def scaled_up(dtype: str) -> np.ndarray:
    """The same sound as integers: from the least to the largest number of the type."""
    limits = np.iinfo(dtype)
    span = float(limits.max) - float(limits.min) + 1
    return (SPEECH.astype(np.float64) * span / 2 + (limits.min + span / 2)).astype(dtype)


EQUALS = {
    **{name: scaled_up(name) for name in ("int8", "int16", "int32", "uint8", "uint16", "uint32", ">i2", "<i2")},
    "float64": SPEECH.astype(np.float64),
    "float16": SPEECH.astype(np.float16),
    "big-endian": SPEECH.astype(">f4"),
    "list": SPEECH.tolist(),
    "tuple": tuple(SPEECH.tolist()),
    "column": SPEECH[:, None],
    "row": SPEECH[None],
    "every second sample": np.repeat(SPEECH, 2)[::2],
    "one of two channels": np.stack([SPEECH, 0 * SPEECH], axis=1)[:, 0],
    "backwards": SPEECH[::-1].copy()[::-1],
    "memoryview": memoryview(SPEECH),
}


@pytest.mark.parametrize("samples", EQUALS.values(), ids=EQUALS)
def test_the_same_sound_in_other_types(samples: Any) -> None:
    given = Waveform(samples).samples
    np.testing.assert_array_equal(given, SPEECH)
    assert given.dtype == np.float32 and given.flags.c_contiguous and given.dtype.isnative


def test_sound_that_is_right_already_is_not_copied() -> None:
    fixed = SPEECH.copy()
    fixed.flags.writeable = False
    assert Waveform(fixed).samples is fixed


@pytest.mark.parametrize("kind", ["int16", "uint8", "float64", "list", "column", "every second sample"])
def test_motion_and_live_motion_of_other_types(hearing: Avatar, kind: str) -> None:
    expected = hearing.motion(Waveform(SPEECH)).points
    np.testing.assert_array_equal(hearing.motion(Waveform(EQUALS[kind])).points, expected)
    live, other = hearing.live(), hearing.live()
    np.testing.assert_array_equal(
        live.push(EQUALS[kind]).points,  # type: ignore[arg-type]
        other.push(SPEECH).points,
    )


def test_read_only_sound_is_heard(hearing: Avatar) -> None:
    fixed = SPEECH.copy()
    fixed.flags.writeable = False
    assert len(hearing.motion(Waveform(fixed))) == 25
    live = hearing.live()
    assert len(live.push(fixed)) + len(live.finish()) == 25


REFUSED = {
    "stereo": (np.zeros((800, 2), np.float32), "one channel"),
    "stereo rows": (np.zeros((2, 800), np.int16), "one channel"),
    "a cube": (np.zeros((2, 2, 2)), "one channel"),
    "one number": (np.float32(0.5), "single number"),
    "none": (None, "NoneType"),
    "text": ("speech.wav", "text"),
    "bytes": (b"\0\0", "bytes"),
    "objects": (np.array([0.1, None]), "object"),
    "ragged": ([[0.1], [0.2, 0.3]], "no array of numbers"),
    "whole numbers of Python": ([0, 1000, -500], "full scale is unknown"),
    "uint64": (np.zeros(4, np.uint64), "full scale is unknown"),
    "bool": (np.zeros(4, bool), "bool"),
    "complex": (np.zeros(4, complex), "complex128"),
    "a dictionary": ({"samples": 1}, "dict"),
    "NaN": (np.array([0.1, np.nan]), "NaN"),
    "infinite": (np.array([0.1, -np.inf]), "infinite"),
    "beyond float32": (np.array([0.1, 1e300]), "infinite"),
    "integers as floats": (np.array([100.0, -3000.0]), r"far beyond -1\.\.1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("samples, message", REFUSED.values(), ids=REFUSED)
def test_what_is_no_sound_is_refused(hearing: Avatar, samples: Any, message: str) -> None:
    for use in (lambda: hearing.stream(Waveform(samples)), lambda: hearing.motion(Waveform(samples))):
        with pytest.raises(InputError, match=message):
            use()
    live, untouched = hearing.live(), hearing.live()
    with pytest.raises(InputError, match=message):
        live.push(samples)
    np.testing.assert_array_equal(live.push(SPEECH).points, untouched.push(SPEECH).points)


def test_a_piece_without_samples_is_heard_as_nothing_but_a_speech_is_refused(hearing: Avatar) -> None:
    for empty in ([], np.zeros(0, np.int16), np.zeros((0, 1))):
        assert len(hearing.live().push(empty)) == 0
        with pytest.raises(InputError, match="empty"):
            hearing.stream(Waveform(empty))  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [None, "0", float("nan")])
def test_a_start_that_is_no_time_is_refused(start: Any) -> None:
    with pytest.raises(InputError, match="starts at"):
        Waveform(SPEECH, start)


@pytest.mark.parametrize("audio", [None, SPEECH, [0.1], b"speech.wav", 3], ids=lambda audio: type(audio).__name__)
def test_speech_that_is_neither_sound_nor_path(hearing: Avatar, tmp_path: Path, audio: Any) -> None:
    for use in (
        lambda: hearing.stream(audio),
        lambda: hearing.motion(audio),
        lambda: hearing.render(audio, tmp_path / "a.mp4"),
    ):
        with pytest.raises(InputError, match=f"the speech is of the type {type(audio).__name__}"):
            use()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [64, np.int64(64), np.uint8(64)])
def test_any_kind_of_whole_number_is_a_size(hearing: Avatar, size: Any) -> None:
    assert next(hearing.stream(Waveform(SPEECH), size=size)).shape == (64, 64, 3)


@pytest.mark.parametrize("size", [256.0, "256", True, float("nan"), [], np.zeros(2), 10**30, -64, 127])
def test_other_sizes_are_refused_at_once(hearing: Avatar, tmp_path: Path, size: Any) -> None:
    with pytest.raises(InputError, match="the size is"):
        hearing.stream(Waveform(SPEECH), size=size)
    with pytest.raises(InputError, match="the size is"):
        hearing.render(Waveform(SPEECH), tmp_path / "a.mp4", size=size)
    assert list(tmp_path.iterdir()) == []


GOOD = {
    "seed": np.int32(3),
    "temperature": np.float32(0.5),
    "mouth_gain": 1,
    "blink": np.bool_(False),
    "style": np.float64(0.5),
}


@pytest.mark.parametrize(("given", "style"), [("00001", "00001"), ("12", "12"), ("0", 0.0), ("1", 1.0), ("0.5", 0.5)])
def test_a_style_of_digits_is_a_clip_unless_it_is_calm_or_lively(given: str, style: float | str) -> None:
    assert Performance(style=given).style == style


def test_numbers_of_numpy_are_as_good_as_pythons() -> None:
    plain = Performance(seed=3, temperature=0.5, mouth_gain=1.0, blink=False)
    assert Performance(**GOOD) == plain
    assert [type(value) for value in vars(Performance(**GOOD)).values()] == [float, int, float, bool, str, float]


@pytest.mark.parametrize(
    "name, value",
    [
        *[("seed", value) for value in (1.5, 2.0, "1", None, True, 2**63, np.float64(1))],
        *[(name, value) for name in ("temperature", "mouth_gain") for value in (None, "1", True, np.nan, np.inf, 1j)],
        *[("blink", value) for value in ("off", None, 0, 1.0)],
        *[("style", value) for value in (None, "", "1.5", "nan", -0.1, 2, True, np.nan)],
    ],
)
def test_other_values_of_a_performance_are_refused(name: str, value: Any) -> None:
    message = re.escape(f"{name.replace('_', '-')} is ")
    with pytest.raises(InputError, match=message):
        Performance(**{name: value})


def test_what_is_no_performance_is_refused(hearing: Avatar) -> None:
    wrong: Any = {"seed": 1}
    for use in (hearing.live, lambda given: hearing.stream(Waveform(SPEECH), given)):
        with pytest.raises(InputError, match="the performance is of the type dict"):
            use(wrong)


@pytest.mark.slow
def test_paths_are_text_or_paths(hearing: Avatar, tmp_path: Path, make_wav) -> None:
    path = make_wav("speech.wav", SPEECH)
    expected = next(hearing.stream(path))
    np.testing.assert_array_equal(next(hearing.stream(str(path))), expected)
    hearing.render(str(path), str(tmp_path / "frames"), format="png")
    np.testing.assert_array_equal(next(Avatar.load(str(hearing.files.folder)).stream(path)), expected)
    picture = tmp_path / "frames" / sorted(path.name for path in (tmp_path / "frames").iterdir())[0]
    one, other = (next(hearing.stream(path, background=given)) for given in (picture, str(picture)))
    np.testing.assert_array_equal(one, other)
    no_path: Any = None
    for message, use in {
        "the output is of the type NoneType": lambda: hearing.render(path, no_path),
        "the background is of the type NoneType": lambda: hearing.stream(path, background=no_path),
        "the avatar is of the type NoneType": lambda: Avatar.load(no_path),
    }.items():
        with pytest.raises(InputError, match=message):
            use()
