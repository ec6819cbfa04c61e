"""A session of a real avatar shows the motion that the avatar has offline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.avatar.avatar import Avatar
from geneface.avatar.folder import find_avatar
from geneface.geometry.landmarks import lip_opening
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.realtime import ITEM_SAMPLES
from geneface.types import Waveform

from .doubles import VirtualClock, run, session_of


class Watched:
    """An avatar; keeps the motion that is drawn."""

    def __init__(self, avatar: Avatar) -> None:
        self.avatar = avatar
        self.rows: list[np.ndarray] = []

    def live(self, performance: Any = None) -> Any:
        return self.avatar.live(performance)

    def pictures(self, motion: Any, **options: Any) -> Any:
        def watched() -> Iterator[Any]:
            for track in motion:
                self.rows.append(track.points[0])
                yield track

        return self.avatar.pictures(watched(), **options)


@pytest.mark.slow
def test_lips_are_those_of_the_recording(tmp_path: Path) -> None:
    # Which hears recorded speech with the models of live speech.
    copied = shutil.copytree(find_avatar("grid-s1"), tmp_path / "alike", ignore=shutil.ignore_patterns("recorded"))
    avatar = Avatar.load(copied)
    face, clock = Watched(avatar), VirtualClock()
    speech = read_audio(asset_path("speech", "demo.flac")).samples[: 16_000 * 3]
    session = session_of(face, clock, size=64)
    run(session, clock, 30)
    session.speak(speech, 16_000)
    items = run(session, clock, 100)
    session.close()
    assert items[-1].picture.to_uint8().shape == (64, 64, 3)
    offline = lip_opening(avatar.motion(Waveform(speech)).points)
    first = next(place for place, item in enumerate(items) if item.state == "speech")
    heard = np.concatenate([item.sound for item in items[first : first + 75]])
    assert heard.shape == (75 * ITEM_SAMPLES,)
    # One row was drawn for the first picture, and one for each item.
    live = lip_opening(np.stack(face.rows))[30 + first : 30 + first + 75]
    assert np.corrcoef(live, offline)[0, 1] > 0.9
    # Into speech and out of it the lips never move faster than the same lips do in speech.
    steps = np.abs(np.diff(lip_opening(np.stack(face.rows))))
    assert steps.max() < 1.25 * np.abs(np.diff(offline)).max()
