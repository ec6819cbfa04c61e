"""The WebSocket, spoken to by the `websockets` library over a real connection."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from geneface.errors import InputError
from geneface.serve.live import sender, socket
from geneface.serve.live.packets import Kind, Packet
from geneface.serve.live.sessions import LiveSession
from geneface.serve.live.streams import UnitStream
from tests.flash import FlashSession

from .served import Doubles, Served, make_app, serve

Message = dict[str, Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    doubles = Doubles(room=3)
    with serve(make_app(tmp_path_factory.mktemp("home"), doubles, most_requests_a_minute=10_000), doubles) as found:
        yield found


@pytest.fixture
def client(served: Served) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=served.address, timeout=30) as found:
        yield found
        for live in found.get("/v1/live").json()["data"]:
            found.delete(f"/v1/live/{live['id']}")


@pytest.fixture
def live(client: httpx2.Client) -> Message:
    answer = client.post("/v1/live", json={"seed": 5, "background": "#102030", "size": 128})
    assert answer.status_code == 201
    return answer.json()


def listen(served: Served, live: Message, query: str = "audio=pcm") -> ClientConnection:
    return connect(f"ws://127.0.0.1:{served.port}{live['stream']}?{query}", open_timeout=5)


def receive(client: ClientConnection, seconds: float = 5.0) -> Message | Packet:
    content = client.recv(timeout=seconds)
    return json.loads(content) if isinstance(content, str) else Packet.from_bytes(content)


def until(client: ClientConnection, is_wanted: Callable[[Any], bool], most: int = 400) -> list[Any]:
    """What comes, up to the first that is wanted."""
    found: list[Any] = []
    for _ in range(most):
        found.append(receive(client))
        if is_wanted(found[-1]):
            return found
    raise AssertionError("it never came")


def of_type(name: str) -> Callable[[Any], bool]:
    return lambda message: isinstance(message, dict) and message["type"] == name


def of_kind(kind: Kind, count: int = 1) -> Callable[[Any], bool]:
    left = [count]

    def is_wanted(message: Any) -> bool:
        left[0] -= isinstance(message, Packet) and message.kind == kind
        return left[0] <= 0

    return is_wanted


def test_a_session_is_opened_as_it_was_asked_for(served: Served, live: Message, client: httpx2.Client) -> None:
    asked = served.doubles.asked[-1]
    assert (asked["background"], asked["size"], asked["performance"].seed) == ("#102030", 128, 5)
    told = client.get(f"/v1/live/{live['id']}").json()
    assert (told["width"], told["height"], told["model"], told["has_listener"]) == (128, 128, "grid-s1", False)
    assert 0 < told["expires_in"] <= 60


def test_without_a_body_it_is_the_bundled_face(client: httpx2.Client) -> None:
    answer = client.post("/v1/live")
    assert answer.status_code == 201 and answer.json()["model"] == "grid-s1"


def test_items_come_in_order_each_with_its_sound_before_its_picture(served: Served, live: Message) -> None:
    with listen(served, live) as client:
        ready = receive(client)
        assert isinstance(ready, dict) and ready["type"] == "ready"
        assert (ready["width"], ready["height"], ready["video"], ready["audio"]) == (128, 128, "avc1.42C01F", "pcm")
        packets = [one for one in until(client, of_kind(Kind.PICTURE, 12)) if isinstance(one, Packet)]
    sounds = [packet.index for packet in packets if packet.kind == Kind.SOUND]
    assert sounds == list(range(sounds[0], sounds[0] + len(sounds)))
    assert [packet.kind for packet in packets] == [Kind.SOUND, Kind.PICTURE] * 12
    assert packets[1].is_key and not packets[3].is_key


def test_a_fragment_follows_the_head_for_each_item(served: Served, live: Message) -> None:
    with listen(served, live, "codec=mse&audio=aac") as client:
        found = until(client, of_kind(Kind.FRAGMENT, 3))
    assert [one.kind for one in found if isinstance(one, Packet)] == [Kind.INIT] + [Kind.FRAGMENT] * 3
    assert found[0]["video"] == 'video/mp4; codecs="avc1.42C01F, mp4a.40.2"'


def test_speech_begins_and_ends_when_its_samples_have_been_sent(served: Served, live: Message) -> None:
    with listen(served, live) as client:
        until(client, of_kind(Kind.PICTURE))
        client.send(json.dumps({"type": "say", "text": "Hello.", "ref": 7}))
        found = until(client, of_type("speech.end"))
    (accepted,) = filter(of_type("accepted"), found)
    (start,) = filter(of_type("speech.start"), found)
    assert accepted["ref"] == 7 and accepted["utterance"] == start["utterance"] == found[-1]["utterance"]
    for event in (start, found[-1]):
        before = [one for one in found[: found.index(event)] if isinstance(one, Packet)]
        assert any(one.index == event["index"] and one.kind == Kind.SOUND for one in before)
    loud = [one for one in found if isinstance(one, Packet) and one.kind == Kind.SOUND and max(one.payload) > 30]
    assert start["index"] in {one.index for one in loud}


def test_an_interruption_is_answered_at_once_and_a_key_frame_begins_the_new_generation(
    served: Served, live: Message
) -> None:
    with listen(served, live) as client:
        until(client, of_kind(Kind.PICTURE, 2))
        client.send(json.dumps({"type": "say", "text": "A long story."}))
        until(client, of_type("speech.start"))
        client.send(json.dumps({"type": "interrupt"}))
        told = until(client, of_type("generation"))[-1]
        found = until(client, lambda one: isinstance(one, Packet) and one.generation == told["generation"], 20)
        found += until(client, of_kind(Kind.PICTURE), 10)
    new = [one for one in found if isinstance(one, Packet) and one.generation == told["generation"]]
    assert next(one for one in new if one.kind == Kind.PICTURE).is_key
    assert not np.frombuffer(new[0].payload, "<i2").any() or new[0].index % 25 == 0


def test_the_microphone_reaches_the_face(served: Served, live: Message) -> None:
    piece = (np.sin(np.arange(320)) * 9000).astype("<i2")
    with listen(served, live) as client:
        client.send(json.dumps({"type": "microphone", "rate": 16_000, "ref": 1}))
        until(client, of_type("accepted"))
        client.send(Packet(Kind.MICROPHONE, piece.tobytes()).to_bytes())
        client.send(json.dumps({"type": "ping", "ref": 2}))
        until(client, of_type("accepted"))
    ((samples, rate),) = served.doubles.sessions[-1].heard
    assert rate == 16_000
    assert samples == pytest.approx(piece / 32_768)


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{", '{"type": "fly"}', '{"type": ["say"]}', '{"type": "say"}', '{"type": "say", "text": 3}',
        '{"type": "microphone", "rate": 7}', '{"type": "background", "background": "/etc/passwd"}', b"", bytes(30),
        Packet(Kind.MICROPHONE, bytes(8)).to_bytes(), Packet(Kind.PICTURE, bytes(8)).to_bytes(), "[" * 70_000, "[" * 60_000,
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused_and_the_stream_goes_on(
    served: Served, live: Message, content: str | bytes
) -> None:
    with listen(served, live) as client:
        client.send(content)
        refused = until(client, of_type("refused"))[-1]
        assert refused["message"] and refused["remedy"]
        until(client, of_kind(Kind.PICTURE))


def test_the_next_listener_takes_over(served: Served, live: Message) -> None:
    with listen(served, live) as first, listen(served, live) as second:
        until(second, of_kind(Kind.PICTURE))
        with pytest.raises(ConnectionClosed) as ended:
            until(first, lambda one: False, 200)
        assert ended.value.rcvd is not None and ended.value.rcvd.code == socket.CLOSE_CODES["taken_over"]
        until(second, of_kind(Kind.PICTURE, 5))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("live_0/stream", "not_found"),
        ("{id}/stream?codec=vp8", "bad_request"),
        ("{id}/stream?audio=mp3", "bad_request"),
    ],
)
def test_a_stream_that_is_not_to_be_had_says_why(served: Served, live: Message, path: str, code: str) -> None:
    with connect(f"ws://127.0.0.1:{served.port}/v1/live/{path.format(id=live['id'])}") as client:
        error = receive(client)
        assert isinstance(error, dict) and error["type"] == "error" and error["code"] == code
        with pytest.raises(ConnectionClosed) as ended:
            receive(client)
    assert ended.value.rcvd is not None and ended.value.rcvd.code == socket.CLOSE_CODES[code]


def test_who_does_not_get_the_items_gets_no_pictures_until_they_do(served: Served, live: Message) -> None:
    with listen(served, live) as client:
        first = until(client, of_kind(Kind.PICTURE))[-1].index
        client.send(json.dumps({"type": "have", "index": first}))
        found = [one for one in until(client, of_kind(Kind.SOUND, 40)) if isinstance(one, Packet)]
        late = [one for one in found if one.index > first + 26]
        assert late and {one.kind for one in late} == {Kind.SOUND}
        client.send(json.dumps({"type": "have", "index": found[-1].index}))
        picture = until(client, of_kind(Kind.PICTURE), 20)[-1]
        assert picture.index > late[0].index


def test_who_takes_nothing_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "STALLED_SECONDS", 0.2)
    closed: list[int] = []

    class Stuck:
        async def send_text(self, text: str) -> None:
            await asyncio.Event().wait()

        send_bytes = receive = send_text  # type: ignore[assignment]

        async def close(self, code: int, reason: str) -> None:
            closed.append(code)

    class Unread(Stuck):
        async def receive(self) -> None:
            await asyncio.Event().wait()

    async def main() -> None:
        from concurrent.futures import ThreadPoolExecutor

        live = LiveSession(FlashSession(), "grid-s1", time.monotonic())  # type: ignore[arg-type]
        with ThreadPoolExecutor(1) as pool:
            listener = socket.SocketListener(Unread(), live, UnitStream(128, 128, "pcm"), pool)  # type: ignore[arg-type]
            await asyncio.wait_for(listener.run(), 5)
            assert not live.has_listener
            await live.close()

    asyncio.run(main())
    assert closed == [socket.CLOSE_CODES["too_slow"]]


def test_say_by_http_takes_text_or_sound(served: Served, live: Message, client: httpx2.Client) -> None:
    path = f"/v1/live/{live['id']}/say"
    answer = client.post(path, json={"text": "Hello."})
    assert answer.status_code == 202 and answer.json()["id"] == "u1"
    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(8000, 0.3), 16_000, format="WAV")
    url = "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode()
    assert client.post(path, json={"audio": url}).json()["id"] == "u2"
    with listen(served, live) as listener:
        found = until(listener, of_type("speech.end"))
        found += until(listener, of_type("speech.end"))
    starts = [one for one in found if of_type("speech.start")(one)]
    assert [one["utterance"] for one in starts] == ["u1", "u2"]
    # Half a second of it.
    assert found[-1]["index"] - starts[1]["index"] + 1 == pytest.approx(12.5, abs=1)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"text": "a", "audio": "data:,"}, {"audio": "http://127.0.0.1/x.wav"}, {"audio": "file:///etc/passwd"},
        {"audio": "data:audio/wav;base64,!!"}, {"audio": "data:audio/wav;base64,AAAA"}, {"text": "x", "more": 1},
        # Read by a pattern that goes back, it takes hours.
        {"audio": "data:" + "a" * 400_000},
    ],
)  # fmt: skip
def test_say_refuses_what_is_neither(live: Message, client: httpx2.Client, body: Message) -> None:
    answer = client.post(f"/v1/live/{live['id']}/say", json=body)
    assert answer.status_code == 422
    assert set(answer.json()["error"]) == {"code", "message", "remedy"}


def test_events_come_as_server_sent_events(served: Served, live: Message, client: httpx2.Client) -> None:
    with client.stream("GET", f"/v1/live/{live['id']}/events") as events, listen(served, live) as listener:
        assert events.headers["content-type"].startswith("text/event-stream")
        until(listener, of_kind(Kind.PICTURE))
        listener.send(json.dumps({"type": "say", "text": "Hello."}))
        until(listener, of_type("speech.end"))
        names = []
        lines = events.iter_lines()
        while names[-1:] != ["speech.end"]:
            line = next(lines)
            if line.startswith("event: "):
                names.append(line.removeprefix("event: "))
            elif line.startswith("data: "):
                assert json.loads(line.removeprefix("data: "))["type"] == names[-1]
    assert [name for name in names if name.startswith("speech")] == ["speech.start", "speech.end"]


def test_a_session_ends_once_and_for_all(served: Served, live: Message, client: httpx2.Client) -> None:
    path = f"/v1/live/{live['id']}"
    with listen(served, live) as listener:
        until(listener, of_kind(Kind.PICTURE))
        assert client.delete(path).status_code == 204
        with pytest.raises(ConnectionClosed) as ended:
            until(listener, lambda one: False, 50)
    assert ended.value.rcvd is not None and ended.value.rcvd.code == socket.CLOSE_CODES["closed"]
    for answer in (client.get(path), client.delete(path), client.post(f"{path}/interrupt")):
        assert answer.status_code == 404
    assert served.doubles.sessions[-1].is_closed


def test_there_is_no_room_for_more_than_the_machine_can_draw(client: httpx2.Client) -> None:
    answers = [client.post("/v1/live", json={}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 503]
    assert answers[-1].headers["retry-after"] == "7"
    assert answers[-1].json()["error"]["code"] == "busy"


@pytest.mark.parametrize(
    "body", [{"model": "../x"}, {"background": "/etc/passwd"}, {"frame": "all"}, {"seed": -1}, {"path": "x"}]
)
def test_what_is_no_session_is_refused(client: httpx2.Client, body: Message) -> None:
    assert client.post("/v1/live", json=body).status_code in (404, 422)


def test_nobody_listens_and_nobody_speaks(tmp_path: Path) -> None:
    """A session ends by itself, and frees its room."""
    doubles = Doubles(room=1)
    app = make_app(tmp_path, doubles, live_idle_seconds=0.5)
    with serve(app, doubles) as served, httpx2.Client(base_url=served.address) as client:
        live = client.post("/v1/live", json={}).json()
        deadline = time.monotonic() + 10
        while client.get(f"/v1/live/{live['id']}").status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert client.post("/v1/live", json={}).status_code == 201


@pytest.mark.slow
def test_two_hundred_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    doubles = Doubles(room=4)
    app = make_app(tmp_path, doubles, most_requests_a_minute=10_000)
    with serve(app, doubles) as served, httpx2.Client(base_url=served.address) as client:
        for _ in range(200):
            live = client.post("/v1/live", json={}).json()
            with listen(served, live) as listener:
                receive(listener)
                client.delete(f"/v1/live/{live['id']}")
        sessions = app.state.context.live
        assert len(sessions) == 0
        assert len(doubles.sessions) == 200 and all(session.is_closed for session in doubles.sessions)


@pytest.mark.parametrize("error", [RuntimeError("no more"), InputError("no encoder", "install one")])
def test_a_face_that_fails_ends_its_session(served: Served, live: Message, error: Exception) -> None:
    def fail() -> None:
        raise error

    with listen(served, live) as listener:
        until(listener, of_kind(Kind.PICTURE))
        served.doubles.sessions[-1].take = fail
        with pytest.raises(ConnectionClosed) as ended:
            until(listener, lambda one: False, 50)
    assert ended.value.rcvd is not None and ended.value.rcvd.code == socket.CLOSE_CODES["failed"]


def test_the_background_is_no_path() -> None:
    from geneface.serve.live.controls import background_of

    for good in ("keep", "#abc", "#aabbcc", "Green"):
        assert background_of(good) == good
    for bad in ("/etc/passwd", "x.png", "#abcd", None, 3, "", "http://x", "keep\0"):
        with pytest.raises(InputError):
            background_of(bad)
