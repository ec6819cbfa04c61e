"""The generator under LiveKit's own runner, queue and synchroniser; of the room there is only what they touch."""

# Type checkers see these packages only where they are installed.
# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import livekit.agents
import numpy as np
import pytest
import soundfile
from livekit import rtc

from geneface.adapters.livekit import FaceGenerator, one_layer, start_face
from geneface.avatar.avatar import Avatar
from geneface.io.assets import asset_path
from geneface.realtime import ITEM_SAMPLES, Scheduler, Session

from ..flash import SIZE, FlashSession

avatar = livekit.agents.voice.avatar
RATE = 24_000


def speech(level: float, seconds: float) -> list[rtc.AudioFrame]:
    """Pieces of 10 ms of one level."""
    piece = np.full(RATE // 100, round(level * 32_768), np.int16)
    return [rtc.AudioFrame(piece.tobytes(), RATE, 1, len(piece)) for _ in range(round(seconds * 100))]


def face_of(session: FlashSession) -> FaceGenerator:
    return FaceGenerator(cast(Session, session))


async def until(holds: Callable[[], Any], what: str, seconds: float = 10) -> None:
    for _ in range(round(seconds / 0.02)):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(what)


def brightness(frame: rtc.VideoFrame) -> float:
    return float(np.frombuffer(frame.data, np.uint8).mean()) / 255


def loudness(frame: rtc.AudioFrame) -> float:
    return float(np.abs(np.frombuffer(frame.data, np.int16)).max()) / 32_768


def test_pictures_and_sound_match_and_a_segment_ends_after_its_last_sound() -> None:
    async def run() -> list[Any]:
        session = FlashSession()
        face, found = face_of(session), []
        for frame in speech(0.5, 0.3):
            await face.push_audio(frame)
        await face.push_audio(avatar.AudioSegmentEnd())
        async for frame in face:
            found.append(frame)
            if len(found) == 30:
                break
        return found

    found = asyncio.run(run())
    ends = [place for place, frame in enumerate(found) if isinstance(frame, avatar.AudioSegmentEnd)]
    sounds = [place for place, frame in enumerate(found) if isinstance(frame, rtc.AudioFrame)]
    assert len(ends) == 1 and ends[0] > sounds[-1]
    assert len(sounds) == 8, "0.3 s are 8 frames"
    for place in sounds:
        picture, sound = found[place - 1], found[place]
        assert (picture.width, picture.height, picture.type) == (SIZE, SIZE, rtc.VideoBufferType.RGB24)
        assert (sound.sample_rate, sound.num_channels, sound.samples_per_channel) == (48_000, 1, ITEM_SAMPLES)
        assert brightness(picture) == pytest.approx(loudness(sound), abs=0.01)
    assert all(isinstance(frame, rtc.VideoFrame) for frame in found[ends[0] + 1 :]), "at rest nothing is heard"


def test_an_interrupted_segment_has_no_end_and_the_next_one_has() -> None:
    async def run() -> tuple[int, list[float]]:
        session = FlashSession()
        face = face_of(session)
        for frame in speech(0.25, 5):
            await face.push_audio(frame)
        ends, levels, later = 0, [], 0
        async for frame in face:
            if isinstance(frame, rtc.AudioFrame):
                levels.append(loudness(frame))
                if len(levels) == 5:
                    face.clear_buffer()
                    for piece in speech(0.75, 0.2):
                        await face.push_audio(piece)
                    await face.push_audio(avatar.AudioSegmentEnd())
            elif isinstance(frame, avatar.AudioSegmentEnd):
                ends += 1
            elif len(levels) >= 10:
                later += 1
                if later == 5:
                    break
        return ends, levels

    ends, levels = asyncio.run(run())
    assert ends == 1
    assert np.allclose(levels[:5], 0.25, atol=0.01) and np.allclose(levels[5:], 0.75, atol=0.01)


class Room:
    """Connected, and keeps what is published."""

    def __init__(self) -> None:
        self.published: list[tuple[Any, rtc.TrackPublishOptions]] = []
        self.local_participant = self
        self.identity = "agent"

    def isconnected(self) -> bool:
        return True

    def on(self, *_: Any) -> None: ...

    def off(self, *_: Any) -> None: ...

    async def publish_track(self, track: Any, options: rtc.TrackPublishOptions) -> Any:
        self.published.append((track, options))
        return self

    async def wait_for_subscription(self) -> None: ...


class Agent:
    """Of an `AgentSession`, the place for its sound."""

    def __init__(self) -> None:
        self.output = self
        self.audio: Any = None

    def replace_audio_tail(self, sink: Any) -> None:
        self.audio = sink


@contextlib.asynccontextmanager
async def running(session: FlashSession) -> AsyncIterator[tuple[Any, Room, list[Any], list[Any]]]:
    """A started face: where speech goes, the room, what came out of the runner, and what it told the agent."""
    room, agent = Room(), Agent()
    runner = await start_face(agent, cast(rtc.Room, room), cast(Session, session))
    shown, told = [], []
    push = runner.av_sync.push

    async def watched(frame: Any, timestamp: float | None = None) -> None:
        shown.append(frame)
        await push(frame, timestamp)

    runner.av_sync.push = watched  # type: ignore[method-assign]
    agent.audio.on("playback_started", lambda event: told.append(event))
    agent.audio.on("playback_finished", lambda event: told.append(event))
    try:
        yield agent.audio, room, shown, told
    finally:
        await runner.aclose()


def test_the_runner_publishes_shows_and_tells_when_speech_has_been_played() -> None:
    async def run() -> None:
        async with running(FlashSession()) as (output, room, shown, told):
            await until(lambda: len(shown) > 3, "no picture at rest")
            assert all(isinstance(frame, rtc.VideoFrame) for frame in shown)
            for frame in speech(0.5, 0.4):
                await output.capture_frame(frame)
            output.flush()
            await asyncio.wait_for(output.wait_for_playout(), 10)
            sounds = [frame for frame in shown if isinstance(frame, rtc.AudioFrame)]
            assert len(sounds) == 10
            assert len(told) == 2 and told[1].interrupted is False
            assert told[1].playback_position == pytest.approx(0.4, abs=0.001)
            assert {track.kind for track, _ in room.published} == {rtc.TrackKind.KIND_AUDIO, rtc.TrackKind.KIND_VIDEO}
            (options,) = [o for track, o in room.published if track.kind == rtc.TrackKind.KIND_VIDEO]
            assert options.video_codec == rtc.VideoCodec.H264 and not options.simulcast
            assert options.video_encoding.max_bitrate == 2_000_000

    asyncio.run(run())


def test_the_agent_interrupts() -> None:
    async def run() -> None:
        session = FlashSession()
        async with running(session) as (output, _, shown, _told):
            for frame in speech(0.5, 4):
                await output.capture_frame(frame)
            output.flush()
            await until(lambda: sum(isinstance(frame, rtc.AudioFrame) for frame in shown) > 5, "it does not speak")
            output.clear_buffer()
            played = await asyncio.wait_for(output.wait_for_playout(), 10)
            assert played.interrupted and 0.1 < played.playback_position < 1
            heard = sum(isinstance(frame, rtc.AudioFrame) for frame in shown)
            await asyncio.sleep(0.3)
            assert session.generation == 1
            assert sum(isinstance(frame, rtc.AudioFrame) for frame in shown) <= heard + 1
            assert isinstance(shown[-1], rtc.VideoFrame)

    asyncio.run(run())


def test_what_the_room_has_is_as_it_was() -> None:
    room = Room()
    assert one_layer(cast(rtc.Room, room)).local_participant.identity == "agent"


def test_what_a_real_agent_says_comes_out_of_the_face() -> None:
    async def run() -> None:
        session, room = FlashSession(), Room()
        agent = livekit.agents.AgentSession()
        runner = await start_face(agent, cast(rtc.Room, room), cast(Session, session))
        shown: list[Any] = []
        push = runner.av_sync.push

        async def watched(frame: Any, timestamp: float | None = None) -> None:
            shown.append(frame)
            await push(frame, timestamp)

        runner.av_sync.push = watched  # type: ignore[method-assign]
        await agent.start(livekit.agents.Agent(instructions="none"))

        async def sound() -> AsyncIterator[rtc.AudioFrame]:
            for frame in speech(0.5, 0.4):
                yield frame

        said = agent.say("Hello.", audio=sound(), add_to_chat_ctx=False)
        await asyncio.wait_for(said.wait_for_playout(), 15)
        heard = [frame for frame in shown if isinstance(frame, rtc.AudioFrame)]
        assert len(heard) == 10 and max(map(loudness, heard)) == pytest.approx(0.5, abs=0.01)
        said = agent.say("A long story.", audio=_endless(), add_to_chat_ctx=False)
        await until(lambda: sum(isinstance(frame, rtc.AudioFrame) for frame in shown) > 14, "it does not go on")
        await asyncio.wait_for(agent.interrupt(force=True), 10)
        assert session.generation > 0 and said.interrupted
        await runner.aclose()
        await agent.aclose()

    asyncio.run(run())


async def _endless() -> AsyncIterator[rtc.AudioFrame]:
    while True:
        for frame in speech(0.25, 1):
            yield frame
        await asyncio.sleep(0.5)


def test_the_bundled_face_says_a_real_sentence() -> None:
    """Its sound is the sentence's, and its mouth moves more than at rest."""
    sentence, rate = soundfile.read(asset_path("speech", "demo.flac"), dtype="int16", frames=32_000)

    async def run(face: FaceGenerator) -> tuple[list[np.ndarray], list[np.ndarray]]:
        await face.push_audio(rtc.AudioFrame(sentence.tobytes(), rate, 1, len(sentence)))
        await face.push_audio(avatar.AudioSegmentEnd())
        pictures, sounds = [], []
        async for frame in face:
            if isinstance(frame, rtc.VideoFrame):
                pictures.append(np.frombuffer(frame.data, np.uint8).reshape(frame.height, frame.width, 3).astype(int))
            elif isinstance(frame, rtc.AudioFrame):
                sounds.append(np.frombuffer(frame.data, np.int16))
            else:
                return pictures, sounds
        raise AssertionError("no end")

    scheduler = Scheduler()
    try:
        pictures, sounds = asyncio.run(
            run(FaceGenerator(scheduler.open(Avatar.load(asset_path("avatars", "grid-s1")))))
        )
    finally:
        scheduler.close()
    heard, asked = np.concatenate(sounds).astype(float), len(sentence) * 2
    assert 0 <= len(heard) - asked < 2 * ITEM_SAMPLES
    # 48 kHz against 24 kHz.
    assert np.corrcoef(heard[:asked:2], sentence)[0, 1] > 0.99
    mouth = [picture[160:220, 96:160] for picture in pictures]
    assert np.std(mouth, axis=0).mean() > 1
