"""A conversation: spoken while it arrives, interrupted at once, and the model is told only what was heard."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from typing import Any

import numpy as np
import pytest

from geneface.errors import InputError
from geneface.serve.conversation.chat import Chat
from geneface.serve.conversation.conversation import Conversation
from geneface.serve.conversation.listen import Transcriber
from geneface.serve.conversation.partners import Partners
from geneface.serve.settings import ServeSettings
from geneface.types import FloatArray
from geneface.voice.voice import Voice

from ...voice.stand_in import Answer, Asked, StandIn
from .partners_fixtures import CHAT, EVENTS, LISTEN, Face, Talker, Typist, events

RATE = 16_000


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn().running() as stand_in:
        yield stand_in


class Scene:
    """A conversation with its doubles, and a clock that the test turns."""

    def __init__(self, server: StandIn, voice: Voice | None = None) -> None:
        self.face, self.voice, self.now = Face(), voice or Talker(), 100.0
        self.told: list[dict[str, Any]] = []
        self.chat, self.transcriber = Chat(server.url, "m"), Transcriber(server.url)
        self.conversation = Conversation(
            self.face, self.voice, self.chat, self.transcriber, self.told.append, prompt="Short.", clock=lambda: self.now
        )  # fmt: skip

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.told if message["type"] == kind]

    def lines(self) -> list[tuple[str, str]]:
        """What is on the page in the end: a later text of a line replaces the earlier one."""
        lines = {message["id"]: (message["role"], message["text"]) for message in self.of("transcript")}
        return [lines[number] for number in sorted(lines)]

    async def until(self, happened: Callable[[], bool]) -> None:
        for _ in range(1000):
            if happened():
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"it did not happen; told: {self.told}")

    async def spoken(self, words: int) -> None:
        """Until so much has gone to the face."""
        await self.until(lambda: sum(samples for _, samples, _ in self.face.spoken) >= 100 * words)

    async def done(self) -> None:
        await self.until(lambda: any(m["role"] == "assistant" and m["is_final"] for m in self.of("transcript")))


def play(server: StandIn, script: Callable[[Scene], Awaitable[None]], voice: Voice | None = None) -> Scene:
    """Run a script in a loop of its own; nothing may be left of it."""

    async def whole() -> Scene:
        before = asyncio.all_tasks()
        scene = Scene(server, voice)
        try:
            await script(scene)
        finally:
            scene.now += 1000  # all has been heard
            scene.conversation.close()
            await scene.chat.close()
            await scene.transcriber.close()
        await asyncio.sleep(0.05)
        left = [task.get_name() for task in asyncio.all_tasks() - before]
        assert not left, left
        return scene

    return asyncio.run(asyncio.wait_for(whole(), 60))


def asked(server: StandIn) -> list[list[tuple[str, str]]]:
    """The messages of each request to the model, without the prompt."""
    bodies = [json.loads(request.body)["messages"] for request in server.asked if request.path == CHAT]
    assert all(body[0] == {"role": "system", "content": "Short."} for body in bodies)
    return [[(message["role"], message["content"]) for message in body[1:]] for body in bodies]


def test_a_sentence_is_spoken_while_the_next_is_thought_of(server: StandIn) -> None:
    typist = Typist(server)

    async def script(scene: Scene) -> None:
        scene.conversation.text("  Who are\nyou? ")
        typist.say("I am ", "a face. ", "Not")
        await scene.spoken(4)
        assert scene.lines() == [("user", "Who are you?"), ("assistant", "I am a face.")]
        assert not any(is_last for _, _, is_last in scene.face.spoken)
        typist.say(" a person, **but** `nice`.")
        typist.end()
        await scene.done()

    scene = play(server, script)
    assert scene.lines()[1] == ("assistant", "I am a face. Not a person, but nice.")
    assert isinstance(scene.voice, Talker) and scene.voice.said == ["I am a face.", "Not a person, but nice."]
    utterances = {utterance for utterance, _, _ in scene.face.spoken}
    assert len(utterances) == 1 and [last for _, _, last in scene.face.spoken] == [False] * 9 + [True]
    assert scene.face.generation == 0 and not scene.of("warning") and not scene.of("generation")


def test_typing_interrupts_and_the_model_hears_of_what_was_heard(server: StandIn) -> None:
    typist = Typist(server)

    async def script(scene: Scene) -> None:
        scene.conversation.text("Count.")
        typist.say("One two three four five six seven eight nine ten. Eleven twelve. And")
        await scene.spoken(12)
        scene.now += 0.2 + 0.55  # five and a half words
        scene.conversation.text("Stop!")
        assert scene.face.generation == 1 and scene.face.spoken == []
        assert scene.of("generation") == [{"type": "generation", "generation": 1}]
        # The first answer's connection is left, without the rest of it.
        assert await asyncio.to_thread(server.was_left.wait, 10)
        await scene.until(lambda: len(asked(server)) == 2)
        typist.say("Yes.")
        typist.end()
        await scene.until(lambda: any(m["text"] == "Yes." and m["is_final"] for m in scene.of("transcript")))
        scene.now += 10
        scene.conversation.text("Thanks.")
        await scene.until(lambda: len(asked(server)) == 3)
        typist.say("Fine.")
        typist.end()
        await scene.until(lambda: ("assistant", "Fine.") in scene.lines())

    scene = play(server, script)
    first, second, third = asked(server)
    assert first == [("user", "Count.")]
    assert second == [*first, ("assistant", "One two three four five"), ("user", "Stop!")]
    assert third == [*second, ("assistant", "Yes."), ("user", "Thanks.")]
    assert scene.lines()[1] == ("assistant", "One two three four five")
    assert scene.face.generation == 1  # the last question came when all had been heard


def test_an_interruption_before_the_first_word(server: StandIn) -> None:
    typist = Typist(server)

    async def script(scene: Scene) -> None:
        scene.conversation.text("Hello.")
        await scene.until(lambda: bool(server.asked))
        scene.conversation.interrupt()  # by the page's button
        scene.conversation.text("Are you there?")
        await scene.until(lambda: len(asked(server)) == 2)
        typist.say("Yes.")
        typist.end()
        await scene.done()

    play(server, script)
    assert asked(server)[1] == [("user", "Hello. Are you there?")]


def speech(seconds: float) -> FloatArray:
    """Loud enough for an utterance."""
    return (0.2 * np.sin(np.arange(round(seconds * RATE)) / 3)).astype(np.float32)


def quiet(seconds: float) -> FloatArray:
    return np.zeros(round(seconds * RATE), np.float32)


def transcripts(server: StandIn, *texts: str) -> None:
    left = list(texts)
    server.answers[LISTEN] = lambda _: Answer([json.dumps({"text": left.pop(0)}).encode()])


def test_what_is_said_is_understood_and_answered(server: StandIn) -> None:
    transcripts(server, "Who are you?")
    server.answers[CHAT] = lambda _: Answer(events(["A face."]), EVENTS)

    async def script(scene: Scene) -> None:
        for piece in np.array_split(np.concatenate([quiet(0.5), speech(1.0), quiet(1.0)]), 125):
            scene.conversation.hear(piece, RATE)
        await scene.done()

    scene = play(server, script)
    assert scene.lines() == [("user", "Who are you?"), ("assistant", "A face.")]
    assert [message["is_speech"] for message in scene.of("listening")] == [True, False]
    assert scene.face.heard == [] and asked(server) == [[("user", "Who are you?")]]


def test_talking_over_it_interrupts_before_it_is_known_what_was_said(server: StandIn) -> None:
    typist = Typist(server)
    transcripts(server, "Wait.")

    async def script(scene: Scene) -> None:
        scene.conversation.hear(quiet(0.5), RATE)
        scene.conversation.text("Count.")
        typist.say("One two three four five six. Seven")
        await scene.spoken(6)
        scene.now += 0.2 + 0.25
        scene.conversation.hear(speech(0.1), RATE)
        assert scene.face.generation == 0
        scene.conversation.hear(speech(0.2), RATE)
        assert scene.face.generation == 1 and scene.face.spoken == []
        assert await asyncio.to_thread(server.was_left.wait, 10)
        assert not [request for request in server.asked if request.path == LISTEN]
        scene.conversation.hear(np.concatenate([speech(0.3), quiet(1.0)]), RATE)
        await scene.until(lambda: len(asked(server)) == 2)
        typist.say("Yes?")
        typist.end()
        await scene.until(lambda: ("assistant", "Yes?") in scene.lines())

    scene = play(server, script)
    assert asked(server)[1] == [("user", "Count."), ("assistant", "One two"), ("user", "Wait.")]
    assert scene.face.generation == 1


def test_who_goes_on_speaking_is_answered_once(server: StandIn) -> None:
    """A transcript that comes while the next utterance has begun waits for it."""
    left, may_answer = ["I would like", "a coffee."], threading.Event()

    def transcribe(_: Asked) -> Answer:
        may_answer.wait(20)
        return Answer([json.dumps({"text": left.pop(0)}).encode()])

    server.answers[LISTEN] = transcribe
    server.answers[CHAT] = lambda _: Answer(events(["Here."]), EVENTS)

    async def script(scene: Scene) -> None:
        scene.conversation.hear(np.concatenate([quiet(0.5), speech(0.5), quiet(0.8), speech(0.5)]), RATE)
        may_answer.set()
        await scene.until(lambda: len(scene.of("transcript")) == 1)
        await asyncio.sleep(0.1)
        assert not asked(server)
        scene.conversation.hear(quiet(1.0), RATE)
        await scene.done()

    play(server, script)
    assert asked(server) == [[("user", "I would like a coffee.")]]


def test_noise_is_asked_about_nowhere(server: StandIn) -> None:
    transcripts(server, "", "...")

    async def script(scene: Scene) -> None:
        for _ in range(2):
            scene.conversation.hear(np.concatenate([quiet(0.5), speech(0.5), quiet(1.0)]), RATE)
        scene.conversation.hear(np.concatenate([quiet(0.5), speech(0.11), quiet(1.0)]), RATE)
        await scene.until(lambda: len(server.asked) == 2)
        await asyncio.sleep(0.1)

    scene = play(server, script)
    assert not asked(server) and not scene.of("transcript") and not scene.of("warning")


def test_failures_are_told_and_the_conversation_goes_on(server: StandIn) -> None:
    server.answers[CHAT] = lambda _: Answer([b'{"error": {"message": "overloaded"}}'], status=500)
    server.answers[LISTEN] = lambda _: Answer([b"garbage"])

    async def script(scene: Scene) -> None:
        scene.conversation.text("Hello?")
        await scene.until(lambda: len(scene.of("warning")) == 1)
        scene.conversation.hear(np.concatenate([quiet(0.5), speech(0.5), quiet(1.0)]), RATE)
        await scene.until(lambda: len(scene.of("warning")) == 2)
        server.answers[CHAT] = lambda _: Answer(events(["Back."]), EVENTS)
        scene.conversation.text("And now?")
        await scene.spoken(1)

    scene = play(server, script)
    assert "overloaded" in scene.of("warning")[0]["message"] and scene.of("warning")[0]["remedy"]
    assert "no transcript" in scene.of("warning")[1]["message"]
    assert asked(server)[-1] == [("user", "Hello? And now?")]


class Broken(Talker):
    """A voice that fails at its second sentence."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
        if self.said:
            raise self._error
        yield from super().speak(text)


@pytest.mark.parametrize("error", [InputError("the voice has gone", "call it"), ValueError("a fault of its own")])
def test_a_voice_that_fails(server: StandIn, error: Exception) -> None:
    server.answers[CHAT] = lambda _: Answer(events(["One. ", "Two. ", "Three."]), EVENTS)

    async def script(scene: Scene) -> None:
        scene.conversation.text("Count.")
        await scene.done()

    scene = play(server, script, Broken(error))
    assert len(scene.of("warning")) == 1 and scene.lines()[1] == ("assistant", "One.")
    assert scene.face.spoken[-1][2]  # the utterance ends all the same


class Stuck(Talker):
    """A voice that takes long over its first sound: another server's, say."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go, self.is_at_it = threading.Event(), threading.Event()

    def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
        try:
            self.is_at_it.set()
            if not self.said:
                self.said.append(text)
                self.may_go.wait(20)
            yield np.ones(100, np.float32)
        finally:
            self.closed += 1


def test_a_stuck_voice_delays_nobody_and_says_nothing_later(server: StandIn) -> None:
    typist, voice = Typist(server), Stuck()

    async def script(scene: Scene) -> None:
        scene.conversation.text("Hello.")
        typist.say("First. And")
        assert await asyncio.to_thread(voice.is_at_it.wait, 10)
        scene.conversation.text("Again.")
        await scene.until(lambda: len(asked(server)) == 2)
        typist.say("Second. And")
        await scene.spoken(1)
        spoken = list(scene.face.spoken)
        voice.may_go.set()
        await scene.until(lambda: voice.closed == 2)
        await asyncio.sleep(0.05)
        assert scene.face.spoken == spoken and scene.lines()[-1] == ("assistant", "Second.")
        typist.end()

    play(server, script, voice)
    assert asked(server)[1] == [("user", "Hello. Again.")]


def test_the_loop_is_never_held_up(server: StandIn) -> None:
    """A long sentence goes to the face in short pieces."""

    class Long(Talker):
        def speak(self, text: str, speed: float = 1.0) -> Generator[FloatArray, None, None]:
            yield np.ones(10_500, np.float32)

    server.answers[CHAT] = lambda _: Answer(events(["A long sentence."]), EVENTS)

    async def script(scene: Scene) -> None:
        scene.conversation.text("Go.")
        await scene.done()

    scene = play(server, script, Long())
    assert [samples for _, samples, _ in scene.face.spoken] == [1000] * 10 + [500, 0]


def test_with_much_waiting_the_voice_waits(server: StandIn) -> None:
    server.answers[CHAT] = lambda _: Answer(events(["word " * 40 + "end. "] * 20), EVENTS)

    async def script(scene: Scene) -> None:
        scene.conversation.text("Tell.")
        await scene.spoken(200)
        await asyncio.sleep(0.4)
        waiting = sum(samples for _, samples, _ in scene.face.spoken) / Talker.rate_hz
        assert 20 < waiting < 25
        scene.now += 10
        await scene.spoken(300)

    play(server, script)


def test_messages_that_are_refused(server: StandIn) -> None:
    async def script(scene: Scene) -> None:
        for text in ("", " \n", "?!", "x " * 3000):
            with pytest.raises(InputError):
                scene.conversation.text(text)

    assert play(server, script).told == []


def test_partners_as_the_settings_name_them(server: StandIn) -> None:
    def partners(**settings: Any) -> Partners:
        return Partners(ServeSettings.model_validate(settings))

    async def begin() -> None:
        nobody = partners()
        assert not nobody.has_chat and not nobody.has_transcriber
        assert nobody.begin(Face(), Talker(), print) is None
        writing = partners(chat_url=server.url, chat_prompt="Short.")
        assert writing.has_chat and not writing.has_transcriber
        assert writing.begin(Face(), None, print) is None
        face = Face()
        conversation = writing.begin(face, Talker(), print)
        assert conversation is not None and not conversation.understands
        conversation.hear(speech(0.1), RATE)
        assert face.heard == [1600]  # nobody understands it: it moves the face
        conversation.close()
        await writing.close()

    asyncio.run(begin())
    with pytest.raises(InputError, match="no address of a server"):
        partners(chat_url="localhost")
