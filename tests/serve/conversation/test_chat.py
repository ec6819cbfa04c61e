"""The chat model's answer as it streams, from servers that are slow, broken or hostile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from itertools import pairwise

import pytest

from geneface.errors import InputError
from geneface.serve.conversation import chat as chat_module
from geneface.serve.conversation.chat import MOST_ANSWER, Chat
from geneface.serve.conversation.history import Answer as Spoken
from geneface.serve.conversation.history import History
from geneface.voice import remote

from ...voice.stand_in import Answer, StandIn
from .partners_fixtures import CHAT, EVENTS, Typist, event, events

MESSAGES = [{"role": "user", "content": "Hello?"}]


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn().running() as stand_in:
        yield stand_in


async def _all(chat: Chat) -> list[str]:
    try:
        return [text async for text in chat.answer(MESSAGES)]
    finally:
        await chat.close()


def answered(address: str, model: str = "m") -> list[str]:
    return asyncio.run(_all(Chat(address, model)))


def test_an_answer_streams_as_openai_has_it(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENEFACE_CHAT_KEY", "secret-2")
    monkeypatch.setenv("OPENAI_API_KEY", "not-for-others")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")
    server.answers[CHAT] = lambda _: Answer(events(["Hel", "lo. ", "你好。"]), EVENTS)
    assert answered(f"{server.url}/v1", "qwen") == ["Hel", "lo. ", "你好。"]
    (asked,) = server.asked
    assert json.loads(asked.body) == {"model": "qwen", "messages": MESSAGES, "stream": True}
    assert asked.headers["authorization"] == "Bearer secret-2"


def test_pieces_come_before_the_rest_is_there(server: StandIn) -> None:
    typist = Typist(server)

    async def talk() -> list[str]:
        answer = Chat(server.url, "m").answer(MESSAGES)
        typist.say("One.")
        heard = [await anext(answer)]
        typist.say("Two.")
        heard.append(await anext(answer))
        typist.end()
        return heard + [text async for text in answer]

    assert asyncio.run(talk()) == ["One.", "Two."]


def test_closing_leaves_the_server(server: StandIn) -> None:
    typist = Typist(server)

    async def talk() -> None:
        answer = Chat(server.url, "m").answer(MESSAGES)
        typist.say("One.")
        await anext(answer)
        await answer.aclose()
        assert await asyncio.to_thread(server.was_left.wait, 10)

    asyncio.run(talk())


def test_the_first_model_that_a_server_lists(server: StandIn) -> None:
    server.answers[CHAT] = lambda _: Answer(events(["Yes."]), EVENTS)
    assert answered(server.url, "default") == ["Yes."]
    server.answers["/v1/models"] = lambda _: Answer([b'{"object": "list", "data": [{"id": "llama"}, {"id": "b"}]}'])
    assert answered(server.url, "default") == ["Yes."]
    assert [json.loads(asked.body)["model"] for asked in server.asked if asked.path == CHAT] == ["default", "llama"]


def test_a_server_that_does_not_stream(server: StandIn) -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "All at once."}}]}
    server.answers[CHAT] = lambda _: Answer([json.dumps(whole).encode()])
    assert answered(server.url) == ["All at once."]


def test_thoughts_are_not_spoken(server: StandIn) -> None:
    text = "\n<think>Hmm. 2 < 3 </thin k> so</think>\n\nThe answer is <b>."
    for size in (1, 4, 100):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        server.answers[CHAT] = lambda _, pieces=pieces: Answer(events(pieces), EVENTS)
        assert "".join(answered(server.url)).strip() == "The answer is <b>."
    server.answers[CHAT] = lambda _: Answer(events(["<", "th", "ought>"]), EVENTS)
    assert "".join(answered(server.url)) == "<thought>"


def test_white_space_before_an_answer_is_not_kept() -> None:
    thoughts = chat_module._Thoughts()
    assert not any(thoughts.push(" " * 1000) for _ in range(100))
    assert len(thoughts._held) == 0
    assert thoughts.push("  Yes.") == "Yes."


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer([b'{"error": {"message": "no key"}}'], status=401), ("answered 401", "no key", "GENEFACE_CHAT_KEY")),
        (Answer([b"gone"], "text/plain", 404), ("answered 404", "check the address")),
        (Answer([b"<html>"], "text/html"), ("can't be read",)),
        (Answer([b"\x00\xff" * 100], "application/octet-stream"), ("can't be read",)),
        (Answer([b"data: {oops\n\n"], EVENTS), ("no JSON",)),
        (Answer([b"data: [1, 2]\n\n"], EVENTS), ("another form",)),
        (Answer([b'data: {"choices": [{"text": "x"}]}\n\n'], EVENTS), ("another form",)),
        (Answer([b'data: {"error": {"message": "out of\\nmemory"}}\n\n'], EVENTS), ("failed (out of memory)",)),
        (Answer([b"data: [DONE]\n\n"], EVENTS), ("said nothing",)),
        (Answer([b"data: " + b"x" * (2 << 20)], EVENTS), ("can't be read",)),
        (Answer([b'{"choices": 3}']), ("another form",)),
        (Answer([b"[" * 100_000]), ("no JSON",)),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_one_sentence(server: StandIn, answer: Answer, words: tuple[str, ...]) -> None:
    server.answers[CHAT] = lambda _: answer
    with pytest.raises(InputError) as told:
        answered(server.url)
    text = str(told.value)
    assert "\n" not in text and len(text) < 500 and server.url in text
    for word in words:
        assert word in text


def test_a_connection_that_breaks_off_ends_the_answer(server: StandIn) -> None:
    server.answers[CHAT] = lambda _: Answer([event("Half a sen"), b'data: {"choices"'], EVENTS)
    assert answered(server.url) == ["Half a sen"]


def test_an_answer_without_end_ends(server: StandIn) -> None:
    def endless() -> Iterator[bytes]:
        while not server.is_over.is_set():
            yield event("word " * 20)

    server.answers[CHAT] = lambda _: Answer(endless(), EVENTS)
    assert len("".join(answered(server.url))) == MOST_ANSWER
    assert server.was_left.wait(10)


def test_servers_that_hang(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def pinging() -> Iterator[bytes]:
        while not server.is_over.wait(0.01):
            yield b": still here\n\n"

    server.answers[CHAT] = lambda _: Answer(pinging(), EVENTS)
    monkeypatch.setattr(chat_module, "_ANSWER_SECONDS", 0.3)
    with pytest.raises(InputError, match="took too long"):
        answered(server.url)

    def trickling() -> Iterator[bytes]:
        while not server.is_over.wait(0.01):
            yield b" "

    server.answers[CHAT] = lambda _: Answer(trickling())
    with pytest.raises(InputError, match="took too long"):
        answered(server.url)

    def silent() -> Iterator[bytes]:
        yield event("Well")
        server.is_over.wait(20)

    server.answers[CHAT] = lambda _: Answer(silent(), EVENTS)
    monkeypatch.setattr(chat_module, "_ANSWER_SECONDS", 20)
    chat = Chat(server.url, "m")
    monkeypatch.setattr(chat, "_remote", remote.Remote("the chat model", server.url + CHAT, "X", read_seconds=0.3))
    with pytest.raises(InputError, match="was silent for"):
        asyncio.run(_all(chat))
    with pytest.raises(InputError, match="can't be reached"):
        answered("http://127.0.0.1:1")


def test_history_is_bounded_and_alternates() -> None:
    history = History("Be brief.")
    history.add("assistant", "Before all.")
    for number in range(100):
        history.add("user", f"Question {number}.")
        history.add("user", "And?")
        history.add("assistant", f"Answer {number}.")
        history.add("assistant", "  ")
    messages = history.messages()
    assert messages[0] == {"role": "system", "content": "Be brief."} and len(messages) <= 41
    assert [message["role"] for message in messages[1:3]] == ["user", "assistant"]
    assert messages[-2:] == [
        {"role": "user", "content": "Question 99. And?"}, {"role": "assistant", "content": "Answer 99."},
    ]  # fmt: skip
    assert all(a["role"] != b["role"] for a, b in pairwise(messages))
    history.add("user", "x" * 50_000)
    assert [message["role"] for message in history.messages()] == ["system", "user"]
    assert History().messages() == []


def test_what_was_heard_of_an_answer() -> None:
    answer = Spoken(1)
    answer.begin("One two three four.", 10.0)  # heard from 10.2 on
    answer.lengthen(1.0)
    answer.lengthen(1.0)
    answer.begin("你好世界", 10.5)  # follows at 12.2
    answer.lengthen(2.0)
    heard = {now: answer.heard(now) for now in (9.0, 10.2, 11.21, 12.2, 13.21, 20.0)}
    assert heard == {
        9.0: "", 10.2: "", 11.21: "One two", 12.2: "One two three four.", 13.21: "One two three four. 你好",
        20.0: answer.text,
    }  # fmt: skip
    assert answer.ends == pytest.approx(14.2)
