"""Attacks on a real server: each is refused, and afterwards the server serves on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from ..serving import Served, read_all, serving
from .probe import make_app, small_settings


@pytest.fixture(autouse=True)
def serves_on(served: Served) -> Iterator[None]:
    yield
    assert served.is_well()


def _get(path: bytes, served: Served, *headers: bytes, method: bytes = b"GET") -> bytes:
    lines = [method + b" " + path + b" HTTP/1.1", b"Host: " + served.authority.encode(), *headers, b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n"


# ---- paths


_CLIMBS = [
    b"/../../etc/passwd", b"/page/../../../etc/passwd", b"/page/..%2f..%2fetc/passwd", b"/page/%2e%2e/%2e%2e/etc/passwd",
    b"/page/..%5c..%5cetc", b"/page/..\\..\\etc", b"/page/%252e%252e/etc", b"/page//etc/passwd", b"//etc/passwd", b"/page/./x",
    b"/v1/videos/..%2f..%2fjobs.sqlite3/content", b"/v1/avatars/../../x/export", b"/v1/videos/%00/content", b"/v1/videos/a%0d%0ab",
    b"/v1/videos/%c0%ae%c0%ae/content", b"/page/" + b"a" * 5000, b"/page/%e2%80%ae/x",
]  # fmt: skip


@pytest.mark.parametrize("path", _CLIMBS)
def test_paths_that_climb(served: Served, path: bytes) -> None:
    answer = served.exchange(_get(path, served))
    assert b"root:" not in answer
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 404"), answer


@pytest.mark.parametrize("path", [b"http://evil.example/v1/probe", b"*", b"evil.example:80", b"x", b"/\xff"])
def test_targets_that_are_no_paths(served: Served, path: bytes) -> None:
    assert served.status(_get(path, served)) in (400, 403, 404)


# ---- methods and messages


@pytest.mark.parametrize("method", [b"TRACE", b"CONNECT", b"OPTIONS", b"PROPFIND", b"FOO", b"get", b"POST\tX", b"PRI"])
def test_methods_that_no_route_has(served: Served, method: bytes) -> None:
    assert served.status(_get(b"/v1/probe", served, method=method)) in (400, 405)


def test_no_header_changes_the_method(served: Served) -> None:
    overrides = (b"X-HTTP-Method-Override: POST", b"X-HTTP-Method: POST", b"X-Method-Override: POST")
    assert served.status(_get(b"/v1/probe", served, *overrides)) == 405
    assert served.status(_get(b"/v1/probe?_method=POST", served)) == 405
    assert served.status(_get(b"/health", served, method=b"DELETE")) == 405


@pytest.mark.parametrize(
    "headers",
    [
        (b"Host: evil.example",),
        (b"Content-Length: 3", b"Content-Length: 4"),
        (b"Content-Length: -1",),
        (b"Content-Length: 0x10",),
        (b"Content-Length: +3",),
        (b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Origin: http://evil.example", b"Origin: http://127.0.0.1"),
        (b"Authorization: Bearer a", b"Authorization: Bearer b"),
        (b"Broken header",),
        (b"A: b\r\n folded",),
        (b"A\x00: b",),
    ],
)
def test_requests_that_two_servers_would_read_in_two_ways(served: Served, headers: tuple[bytes, ...]) -> None:
    request = _get(b"/v1/probe", served, *headers, method=b"POST") + b"abcGET /v1/much HTTP/1.1\r\n\r\n"
    answer = served.exchange(request)
    # One answer at most, and nothing for what was smuggled behind it.
    assert answer.count(b"HTTP/1.1 ") <= 1 and b"octet-stream" not in answer
    if headers[0] not in (b"Content-Length: 3", b"A: b\r\n folded"):
        assert answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5"), answer


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"GET /health HTTP/1.0\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/0.9\r\n\r\n", 403),
        (b"GET /health\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost:\r\n\r\n", 403),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60), 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
def test_other_protocols(served: Served, request_: bytes, status: int) -> None:
    assert served.status(request_) == status


def test_a_websocket_where_there_is_none_and_the_other_way_round(served: Served) -> None:
    upgrade = (b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
    request = _get(b"/v1/probe", served, *upgrade).replace(b"Connection: close", b"Connection: Upgrade")
    assert served.status(request) in (403, 404)
    assert served.status(_get(b"/v1/echo", served)) == 404
    foreign = request.replace(b"/v1/probe", b"/v1/echo").replace(
        b"\r\n\r\n", b"\r\nOrigin: http://evil.example\r\n\r\n"
    )
    assert served.status(foreign) == 403


def test_who_leaves_in_the_middle_of_a_body_is_no_fault(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("geneface.serve")
    log.addHandler(caplog.handler)
    try:
        for path in (b"/v1/probe", b"/v1/typed"):
            with socket.create_connection(("127.0.0.1", served.port)) as connection:
                connection.sendall(_get(path, served, b"Content-Length: 90000", method=b"POST") + b"{")
        time.sleep(0.3)
    finally:
        log.removeHandler(caplog.handler)
    assert caplog.text == ""


# ---- sizes


def test_headers_without_end(served: Served) -> None:
    many = [b"X-%d: y" % i for i in range(500)]
    assert served.status(_get(b"/health", served, *many)) in (400, 431)
    assert served.status(_get(b"/health", served, b"Cookie: " + b"a" * 60_000)) in (400, 431)
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        sent = 0
        try:
            connection.sendall(b"GET /health HTTP/1.1\r\n")
            while sent < 50e6:
                connection.sendall(b"X-Filler: " + b"a" * 10_000 + b"\r\n")
                sent += 10_000
        except OSError:
            pass
    assert sent < 50e6


@pytest.mark.parametrize("length", [b"100001", b"5000000000", b"9" * 20])
def test_a_body_that_says_it_is_too_large_is_not_read(served: Served, length: bytes) -> None:
    request = _get(b"/v1/probe", served, b"Content-Length: " + length, method=b"POST")
    answer = served.exchange(request)
    assert answer.startswith(b"HTTP/1.1 413") and b"too_large" in answer


@pytest.mark.parametrize(
    "path, most", [(b"/v1/probe", 100_000), (b"/v1/typed", 100_000), (b"/v1/uploads/probe/data", 1_000_000)]
)
def test_a_body_that_does_not_say_is_read_up_to_its_limit(served: Served, path: bytes, most: int) -> None:
    method = b"PUT" if b"uploads" in path else b"POST"
    head = _get(path, served, b"Transfer-Encoding: chunked", b"Content-Type: application/json", method=method)
    chunk = b"2710\r\n" + b"1" * 10_000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head)
        for _ in range(most // 10_000):
            connection.sendall(chunk)
        connection.sendall(chunk)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413") and b"too_large" in answer
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    with connection, pytest.raises(OSError):
        connection.sendall(head)
        for _ in range(20_000):
            connection.sendall(chunk)


# ---- slowness


def test_slow_headers(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        began = time.monotonic()
        try:
            for byte in _get(b"/health", served) * 20:
                connection.sendall(bytes([byte]))
                time.sleep(0.02)
        except OSError:
            pass
        answer = read_all(connection)
        assert time.monotonic() - began < 8
    assert b"200 OK" not in answer


@pytest.mark.parametrize("path", [b"/v1/probe", b"/v1/typed", b"/v1/uploads/probe/data"])
def test_a_slow_body(served: Served, path: bytes) -> None:
    method = b"PUT" if b"uploads" in path else b"POST"
    head = _get(path, served, b"Content-Length: 90000", b"Content-Type: application/json", method=method)
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head)
        try:
            for _ in range(400):
                connection.sendall(b"1")
                time.sleep(0.02)
        except OSError:
            pass
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(head + b"1")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408") and b"too_slow" in answer


def test_who_takes_nothing_of_an_answer_is_let_go(tmp_path: Path) -> None:
    settings = small_settings(tmp_path, stalled_seconds=0.5)
    with serving(make_app(settings), settings) as served:
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            connection.sendall(_get(b"/v1/much", served))
            time.sleep(1.5)
            received = len(read_all(connection))
        assert received < 100e6 and served.is_well()


# ---- numbers


def _open(served: Served) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", served.port), timeout=5)
    except OSError:
        return None


def test_a_thousand_connections_that_say_nothing_keep_nobody_out(served: Served) -> None:
    opened = [connection for _ in range(1000) if (connection := _open(served))]
    try:
        assert len(opened) > 900
        assert served.is_well()
        for connection in opened[::7]:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET /hea")
        assert served.is_well()
    finally:
        for connection in opened:
            connection.close()


def test_a_thousand_that_are_busy_are_refused(served: Served) -> None:
    head = _get(b"/v1/much", served)
    opened, answers = [], []
    for _ in range(1000):
        connection = _open(served)
        if connection is None:
            answers.append(b"")
            continue
        opened.append(connection)
        try:
            connection.sendall(head)
            connection.settimeout(2)
            answers.append(connection.recv(12))
        except OSError:
            answers.append(b"")
    full = answers.count(b"HTTP/1.1 503")
    for connection in opened:
        connection.close()
    # As many as may are served, the rest hears why not.
    assert 40 <= answers.count(b"HTTP/1.1 200") <= 60
    assert full > 900 and full + answers.count(b"") + answers.count(b"HTTP/1.1 200") == 1000


# ---- WebSockets


def _upgraded(served: Served) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
    connection.sendall(
        b"GET /v1/echo HTTP/1.1\r\nHost: "
        + served.authority.encode()
        + b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b" 101 " in connection.recv(4096)
    return connection


def _frame(opcode: int, data: bytes, *, is_last: bool = True) -> bytes:
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + struct.pack(">H", len(data))
    return bytes([0x80 * is_last | opcode]) + length + bytes(4) + data


def _flood(connection: socket.socket, data: bytes, most: int) -> bool:
    """Whether the server ended it before all was sent."""
    connection.settimeout(1)
    try:
        for _ in range(most // len(data) + 1):
            connection.sendall(data)
    except (ConnectionError, BrokenPipeError):
        return True
    except TimeoutError:
        # It reads no more: nothing is kept, either.
        return True
    finally:
        connection.close()
    return False


def test_a_message_that_is_too_large(served: Served) -> None:
    async def send() -> int:
        async with websockets.connect(f"ws://{served.authority}/v1/echo") as client:
            await client.send(bytes(65_536))
            assert await client.recv() == bytes(16)
            with pytest.raises(ConnectionClosed) as caught:
                await client.send(bytes(65_537))
                await client.recv()
            return caught.value.rcvd.code if caught.value.rcvd else 1006

    assert asyncio.run(send()) == 1009


def test_floods_of_websockets(served: Served) -> None:
    assert _flood(_upgraded(served), _frame(2, b"x") * 1000, 30_000_000)
    assert _flood(_upgraded(served), _frame(9, b"ping") * 1000, 30_000_000)
    connection = _upgraded(served)
    connection.sendall(_frame(2, b"", is_last=False))
    assert _flood(connection, _frame(0, b"", is_last=False) * 1000, 30_000_000)


@pytest.mark.parametrize(
    "data", [b"\xff" * 100, _frame(1, b"\xff\xfe"), _frame(3, b"x"), b"\x82\x05hello", _frame(8, b"x"), bytes(200)]
)
def test_websocket_frames_that_are_none(served: Served, data: bytes) -> None:
    with _upgraded(served) as connection:
        connection.sendall(data)
        connection.settimeout(3)
        received = read_all(connection)
        assert received == b"" or received[0] & 15 == 8
