"""A live face for LiveKit Agents: what the agent says comes out of a face, as the video of the room.

Needs `pip install livekit-agents` (tested with 1.8.9), in an environment of its own: it wants another protobuf than
this project's development tools. In an agent's entry point:

    from geneface.adapters.livekit import start_face
    from geneface.avatar.avatar import Avatar
    from geneface.realtime import Scheduler

    SCHEDULER = Scheduler()                      # one for the process
    AVATAR = Avatar.load("folder/of/an/avatar")

    async def entrypoint(ctx: JobContext) -> None:
        await ctx.connect()
        agent = AgentSession(stt=..., llm=..., tts=...)
        face = SCHEDULER.open(AVATAR)
        runner = await start_face(agent, ctx.room, face)
        await agent.start(agent=Agent(instructions="..."), room=ctx.room)

The face starts before the agent, which then leaves sound to it. `start_face` is four lines: where you need other
classes of LiveKit (an avatar in another process, with `DataStreamAudioOutput`), write them with `FaceGenerator`.
"""

# Type checkers see LiveKit only where it is installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import livekit.rtc as rtc
import numpy as np
from livekit.agents.voice.avatar import (
    AudioSegmentEnd,
    AvatarOptions,
    AvatarRunner,
    QueueAudioOutput,
    VideoGenerator,
)

from geneface.realtime import FRAME_SECONDS, ITEM_SAMPLES, SOUND_RATE_HZ, Item, Session
from geneface.types import VIDEO_RATE_HZ, FloatArray, to_int16

VIDEO_BIT_RATE = 2_000_000
SPEECH_RATE_HZ = 24_000
"""What the agent is asked for; most voices have it."""
_NOTHING = np.zeros(0, np.float32)
_LATE_SECONDS = 2 * FRAME_SECONDS
"""Idle pictures that are later than this are left out: LiveKit's queue would keep the delay for ever."""


class FaceGenerator(VideoGenerator):
    """Speech in, pictures and the sound that belongs to them out. At rest the face is seen and nothing is heard."""

    def __init__(self, session: Session) -> None:
        """`session`: an open one, which nobody else takes items from."""
        self._session = session
        self._utterance: str | None = None
        self._spoken: set[str] = set()
        """Utterances that have begun to come in and have not gone out."""

    @property
    def options(self) -> AvatarOptions:
        """What `AvatarRunner` must know."""
        return AvatarOptions(
            video_width=self._session.width,
            video_height=self._session.height,
            video_fps=VIDEO_RATE_HZ,
            audio_sample_rate=SOUND_RATE_HZ,
            audio_channels=1,
        )

    async def push_audio(self, frame: rtc.AudioFrame | AudioSegmentEnd) -> None:
        """A piece of speech at any rate, or the end of what is said at once."""
        if not isinstance(frame, AudioSegmentEnd):
            rate_hz, samples = frame.sample_rate, _samples(frame)
            self._utterance = self._session.speak(samples, rate_hz, self._utterance, is_last=False)
            self._spoken.add(self._utterance)
        elif self._utterance is not None:
            self._session.speak(_NOTHING, SOUND_RATE_HZ, self._utterance, is_last=True)
            self._utterance = None

    def clear_buffer(self) -> None:
        """Be silent at once; what was pushed is forgotten, and no end of it is told."""
        self._session.interrupt()
        self._utterance = None
        self._spoken.clear()

    async def __aiter__(self) -> AsyncIterator[rtc.VideoFrame | rtc.AudioFrame | AudioSegmentEnd]:
        """Pictures as they are due, each before its sound; an `AudioSegmentEnd` after the last sound of a segment."""
        async for item in self._session.items():
            is_spoken = item.state == "speech"
            if is_spoken or self._session.next_due > time.monotonic() - _LATE_SECONDS:
                yield _video_frame(item)
            # While the picture went out, somebody may have interrupted.
            if is_spoken and item.generation == self._session.generation:
                yield _audio_frame(item)
            for event in item.events:
                if event.name == "speech.end" and event.utterance in self._spoken:
                    self._spoken.discard(event.utterance)
                    yield AudioSegmentEnd()


async def start_face(agent: Any, room: rtc.Room, session: Session) -> AvatarRunner:
    """Let `session` speak for an `AgentSession` in `room`. Close the runner, then the session, at the end."""
    speech, face = QueueAudioOutput(sample_rate=SPEECH_RATE_HZ, wait_playback_start=True), FaceGenerator(session)
    runner = AvatarRunner(one_layer(room), audio_recv=speech, video_gen=face, options=face.options)
    await runner.start()
    agent.output.replace_audio_tail(speech)
    return runner


def one_layer(room: rtc.Room) -> Any:
    """The room, in which video is published as one layer of H.264 at 2 Mbit/s.

    `AvatarRunner` publishes with LiveKit's defaults, for cameras: several layers of VP8, of which the smallest comes
    first, and few bits for a picture that is a face and nothing else.
    """
    return _Room(room)


class _Room:
    """Everything as the room itself has it, but how video is published."""

    def __init__(self, room: Any) -> None:
        self._room = room

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._room, name)
        return _Participant(found) if name == "local_participant" else found


class _Participant:
    def __init__(self, participant: Any) -> None:
        self._participant = participant

    def __getattr__(self, name: str) -> Any:
        return getattr(self._participant, name)

    async def publish_track(self, track: Any, options: rtc.TrackPublishOptions | None = None) -> Any:
        """As the participant's own."""
        chosen: Any = options or rtc.TrackPublishOptions()
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            chosen.simulcast = False
            chosen.video_codec = rtc.VideoCodec.H264
            chosen.video_encoding.max_bitrate = VIDEO_BIT_RATE
            chosen.video_encoding.max_framerate = VIDEO_RATE_HZ
        return await self._participant.publish_track(track, chosen)


def _samples(frame: rtc.AudioFrame) -> FloatArray:
    samples = np.frombuffer(frame.data, np.int16).reshape(-1, frame.num_channels)
    return samples.astype(np.float32).mean(1) / 32_768


def _video_frame(item: Item) -> rtc.VideoFrame:
    picture = item.picture.to_uint8()
    height, width = picture.shape[:2]
    return rtc.VideoFrame(width, height, rtc.VideoBufferType.RGB24, picture.tobytes())


def _audio_frame(item: Item) -> rtc.AudioFrame:
    samples = to_int16(item.sound)
    return rtc.AudioFrame(samples.tobytes(), SOUND_RATE_HZ, 1, ITEM_SAMPLES)
