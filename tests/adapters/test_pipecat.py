"""The service in a real pipeline of Pipecat, by Pipecat's own test runner."""

# Type checkers see these packages only where they are installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from typing import Any, cast

import numpy as np
import pytest
from pipecat.frames.frames import (
    EndFrame,
    InterruptionFrame,
    OutputImageRawFrame,
    TextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.tests.utils import SleepFrame, run_test
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from geneface.adapters.pipecat import FaceService
from geneface.realtime import ITEM_SAMPLES, Session

from ..flash import SIZE, FlashSession

RATE = 24_000


def speech(level: float, seconds: float, channels: int = 1) -> list[TTSAudioRawFrame]:
    """Pieces of 20 ms of one level."""
    piece = np.full(RATE // 50 * channels, round(level * 32_768), np.int16).tobytes()
    return [TTSAudioRawFrame(piece, RATE, channels) for _ in range(round(seconds * 50))]


def through(session: FlashSession, *frames: Any) -> list[Any]:
    """What comes out of a pipeline of the service alone."""
    service = FaceService(cast(Session, session))
    down, _ = asyncio.run(run_test(service, frames_to_send=frames))
    return list(down)


def level(frame: Any) -> float:
    if isinstance(frame, OutputImageRawFrame):
        return float(np.frombuffer(frame.image, np.uint8).mean()) / 255
    return float(np.abs(np.frombuffer(frame.audio, np.int16)).max()) / 32_768


@pytest.mark.parametrize("channels", [1, 2])
def test_pictures_and_sound_match_and_the_end_waits_for_both(channels: int) -> None:
    found = through(FlashSession(), *speech(0.5, 0.4, channels), TTSStoppedFrame())
    sounds = [place for place, frame in enumerate(found) if isinstance(frame, TTSAudioRawFrame)]
    stops = [place for place, frame in enumerate(found) if isinstance(frame, TTSStoppedFrame)]
    assert len(sounds) == 10, "0.4 s are 10 frames"
    for place in sounds:
        picture, sound = found[place - 1], found[place]
        assert isinstance(picture, OutputImageRawFrame) and (picture.size, picture.format) == ((SIZE, SIZE), "RGB")
        assert (sound.sample_rate, sound.num_channels, len(sound.audio)) == (48_000, 1, 2 * ITEM_SAMPLES)
        assert level(picture) == pytest.approx(level(sound), abs=0.01)
        assert level(sound) == pytest.approx(0.5, abs=0.01)
    assert len(stops) == 1 and stops[0] > sounds[-1]


def test_an_end_without_a_stop_still_says_all() -> None:
    found = through(FlashSession(), *speech(0.5, 0.2))
    assert sum(isinstance(frame, TTSAudioRawFrame) for frame in found) == 5


def test_an_interruption_silences_at_once_and_the_next_answer_is_heard() -> None:
    session = FlashSession()
    found = through(
        session,
        *speech(0.25, 5),
        SleepFrame(0.4),
        InterruptionFrame(),
        SleepFrame(0.2),
        *speech(0.75, 0.2),
        TTSStoppedFrame(),
    )
    before = next(place for place, frame in enumerate(found) if isinstance(frame, InterruptionFrame))
    heard = [level(frame) for frame in found[:before] if isinstance(frame, TTSAudioRawFrame)]
    after = [level(frame) for frame in found[before:] if isinstance(frame, TTSAudioRawFrame)]
    assert session.generation == 1 and 3 <= len(heard) < 30
    assert np.allclose(heard, 0.25, atol=0.01)
    assert len(after) == 5 and np.allclose(after, 0.75, atol=0.01)


def test_other_frames_pass() -> None:
    found = through(FlashSession(), TextFrame("unheard"), TTSStoppedFrame())
    assert [type(frame) for frame in found] == [TextFrame, TTSStoppedFrame]


def test_a_real_output_transport_is_fed_from_when_it_is_ready() -> None:
    class Output(BaseOutputTransport):
        """A transport that keeps what it is to send."""

        def __init__(self) -> None:
            super().__init__(
                TransportParams(
                    audio_out_enabled=True,
                    video_out_enabled=True,
                    video_out_is_live=True,
                    video_out_width=SIZE,
                    video_out_height=SIZE,
                    video_out_framerate=25,
                )
            )
            self.pictures: list[float] = []
            self.sounds: list[float] = []

        async def start(self, frame: Any) -> None:
            await super().start(frame)
            await self.set_transport_ready(frame)

        async def write_audio_frame(self, frame: Any) -> bool:
            self.sounds.append(level(frame))
            return True

        async def write_video_frame(self, frame: Any) -> bool:
            self.pictures.append(level(frame))
            return True

    output = Output()
    pipeline: FrameProcessor = Pipeline([FaceService(cast(Session, FlashSession())), output])
    frames = [SleepFrame(0.4), *speech(0.5, 0.4), TTSStoppedFrame(), SleepFrame(0.8)]
    down, _ = asyncio.run(run_test(pipeline, frames_to_send=frames))
    assert not any(isinstance(frame, EndFrame) for frame in down)
    bright = [value for value in output.pictures if 0.45 < value < 0.55]
    loud = [value for value in output.sounds if 0.4 < value < 0.6]
    assert len(output.pictures) > 20 and len(bright) >= 8, output.pictures
    assert 9 <= len(loud) <= 11 and len(output.sounds) < 15, output.sounds
