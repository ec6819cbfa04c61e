"""A live face for Pipecat: stands behind the text-to-speech service, and turns its sound into a face that says it.

Needs `pip install pipecat-ai` (tested with 1.14.0). In a bot:

    from geneface.adapters.pipecat import FaceService
    from geneface.avatar.avatar import Avatar
    from geneface.realtime import Scheduler

    face = Scheduler().open(Avatar.load("folder/of/an/avatar"))
    params = TransportParams(
        audio_in_enabled=True,
        audio_out_enabled=True,
        video_out_enabled=True,
        video_out_is_live=True,       # pictures come paced: show each as it comes
        video_out_width=face.width,
        video_out_height=face.height,
        video_out_framerate=25,
    )
    pipeline = Pipeline([transport.input(), stt, user_context, llm, tts, FaceService(face), transport.output(), ...])

The sound that goes on is the face's own, in step with its pictures; that of the text-to-speech service ends here.
"""

# Type checkers see Pipecat only where it is installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputImageRawFrame,
    OutputTransportReadyFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.ai_service import AIService
from pipecat.services.settings import ServiceSettings

from geneface.realtime import SOUND_RATE_HZ, Item, Session
from geneface.types import to_int16

_NOTHING = np.zeros(0, np.float32)


class FaceService(AIService):
    """Speech in; pictures, and while it speaks the sound that belongs to them, out.

    It shows nothing until the output transport is ready, or the first speech comes. `TTSStoppedFrame` and `EndFrame`
    go on when what came before them has been said.
    """

    def __init__(self, session: Session, **settings: Any) -> None:
        """`session`: an open one, which nobody else takes items from; it is not closed here."""
        super().__init__(settings=ServiceSettings(model=None), **settings)
        self._session = session
        self._utterance: str | None = None
        self._stops: dict[str, TTSStoppedFrame | None] = {}
        """By utterance that has begun to come in and has not gone out: the frame that ends it, when it has come."""
        self._is_silent = asyncio.Event()
        self._is_silent.set()
        self._showing: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """See `FrameProcessor`."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self._speak(frame)
        elif isinstance(frame, TTSStoppedFrame) and self._utterance is not None:
            self._stops[self._utterance] = frame
            self._session.speak(_NOTHING, SOUND_RATE_HZ, self._utterance, is_last=True)
            self._utterance = None
        else:
            if isinstance(frame, InterruptionFrame):
                self._interrupt()
            elif isinstance(frame, OutputTransportReadyFrame):
                self._show()
            await self.push_frame(frame, direction)

    async def stop(self, frame: EndFrame) -> None:
        """Say what is left, then end."""
        await super().stop(frame)
        if self._utterance is not None:
            self._session.speak(_NOTHING, SOUND_RATE_HZ, self._utterance, is_last=True)
        if not self._session.is_closed:
            await self._is_silent.wait()
        await self._end()

    async def cancel(self, frame: CancelFrame) -> None:
        """End at once."""
        await super().cancel(frame)
        await self._end()

    async def cleanup(self) -> None:
        """See `FrameProcessor`."""
        await super().cleanup()
        await self._end()

    def _speak(self, frame: TTSAudioRawFrame) -> None:
        samples = np.frombuffer(frame.audio, np.int16).reshape(-1, frame.num_channels).astype(np.float32).mean(1)
        self._utterance = self._session.speak(samples / 32_768, frame.sample_rate, self._utterance, is_last=False)
        self._stops.setdefault(self._utterance, None)
        self._is_silent.clear()
        self._show()

    def _interrupt(self) -> None:
        self._session.interrupt()
        self._utterance = None
        self._stops.clear()
        self._is_silent.set()

    def _show(self) -> None:
        if self._showing is None:
            self._showing = self.create_task(self._push_items())

    async def _push_items(self) -> None:
        try:
            async for item in self._session.items():
                await self._push_item(item)
        finally:
            self._is_silent.set()

    async def _push_item(self, item: Item) -> None:
        generation = self._session.generation
        picture = item.picture.to_uint8()
        await self.push_frame(OutputImageRawFrame(picture.tobytes(), (picture.shape[1], picture.shape[0]), "RGB"))
        if item.state == "speech" and generation == self._session.generation:
            samples = to_int16(item.sound)
            await self.push_frame(TTSAudioRawFrame(samples.tobytes(), SOUND_RATE_HZ, 1))
        for event in item.events:
            if event.name == "speech.end" and event.utterance in self._stops:
                stop = self._stops.pop(event.utterance)
                if stop is not None:
                    await self.push_frame(stop)
        if not self._stops:
            self._is_silent.set()

    async def _end(self) -> None:
        if self._showing is not None:
            showing, self._showing = self._showing, None
            await self.cancel_task(showing)
