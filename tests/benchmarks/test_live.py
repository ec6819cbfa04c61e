"""The face that says whether it is loud, and the sums of its benchmark."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.realtime.doubles import FRAME, FlatFace

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def face_module() -> ModuleType:
    return load("live_face")


@pytest.fixture(scope="module")
def live() -> ModuleType:
    return load("live")


class Flat(FlatFace):
    """Pictures that are large enough for the square."""

    def pictures(self, motion: Any, **view: Any) -> Any:
        for picture in super().pictures(motion, **view):
            picture.to_yuv420 = lambda: np.full((72, 64), 128, np.uint8)
            yield picture


def squares(face: Any, tracks: list[Any]) -> list[int]:
    return [int(picture.to_yuv420()[0, 0]) for picture in face.pictures(iter(tracks))]


def test_a_frame_is_white_if_its_own_sound_is_loud(face_module: ModuleType) -> None:
    face = face_module.MarkedFace(Flat())
    performance = face.live()
    sound = np.zeros(20 * FRAME, np.float32)
    sound[7 * FRAME : 7 * FRAME + 30] = 0.5
    # In uneven pieces, as a microphone's.
    tracks = [performance.push(piece) for piece in np.array_split(sound, 9)]
    marks = squares(face, tracks)
    assert [index for index, level in enumerate(marks) if level == 235] == [7]
    assert set(marks) == {16, 235}


def test_after_an_interruption_the_sound_before_it_is_forgotten(face_module: ModuleType) -> None:
    face = face_module.MarkedFace(Flat())
    performance = face.live()
    loud = np.full(10 * FRAME, 0.5, np.float32)
    tracks = [performance.push(loud), performance.interrupt(), performance.push(0 * loud)]
    marks = squares(face, tracks)
    assert len(marks) == sum(map(len, tracks))
    assert marks[: len(tracks[0])] == [235] * len(tracks[0])
    assert set(marks[len(tracks[0]) :]) == {16}


def test_causes_are_followed_by_their_effects(live: ModuleType) -> None:
    assert live._after([0.0, 1000.0, 2000.0], [150.0, 1300.0, 9000.0]) == [150.0, 300.0]
    assert live._begun([[1, 0], [2, 1], [3, 1], [4, 0], [5, 1]]) == [2, 5]
    assert live.spread([1.0, 2.0, 3.0]) == {"count": 3, "median": 2.0, "p95": 2.9, "worst": 3.0}
    assert live.spread([]) == {"count": 0}


def test_bursts_begin_where_frames_do(live: ModuleType) -> None:
    sound = live.clicks(3.0, 1.0)
    starts = np.flatnonzero((np.abs(sound) > 0) & (np.roll(np.abs(sound), 480) == 0))
    assert {round(start / 48_000) for start in starts} == {0, 1, 2}
    assert np.abs(sound[1920:48_000]).max() == 0
