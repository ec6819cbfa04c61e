"""What comes through the door of a real server, and what does not."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path

import httpx2
import pytest
import websockets
from websockets.exceptions import InvalidStatus

from geneface.serve.app import create_app
from geneface.serve.safety.bodies import most_bytes
from geneface.serve.safety.headers import secured
from geneface.serve.server import prepare_logs
from geneface.serve.settings import ServeSettings

from ..serving import Served, serving
from .probe import TOKEN, make_app, small_settings


def code_of(response: httpx2.Response) -> str:
    error = response.json()["error"]
    assert set(error) == {"code", "message", "remedy"}
    return error["code"]


def test_programs_and_the_own_page_come_in(served: Served) -> None:
    own = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
    for headers in ({}, own):
        assert httpx2.post(f"{served.url}/v1/probe", content=b"abc", headers=headers).json() == {"bytes": 3}
        assert httpx2.get(f"{served.url}/health", headers=headers).json()["status"] == "ready"
    assert httpx2.get(f"http://localhost:{served.port}/health").status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost", "localhost:1", "127.0.0.1.nip.io:{port}", "x@127.0.0.1:{port}", ""]
)
def test_foreign_names_are_not_answered_to(served: Served, host: str) -> None:
    response = httpx2.get(f"{served.url}/health", headers={"Host": host.format(port=served.port)})
    assert response.status_code == 403 and code_of(response) == "foreign_host"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://localhost:{port}", "https://127.0.0.1:1", "null", ""]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_foreign_pages_change_nothing(served: Served, origin: str, method: str) -> None:
    headers = {"Origin": origin.format(port=served.port)}
    response = httpx2.request(method, f"{served.url}/v1/probe", headers=headers)
    assert response.status_code == 403 and code_of(response) == "foreign_origin"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_foreign_pages_read_nothing(served: Served, site: str) -> None:
    for path in ("/metrics", "/openapi.json", "/page/app.js"):
        response = httpx2.get(f"{served.url}{path}", headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
        assert response.status_code == 403
    link = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert httpx2.get(f"{served.url}/docs", headers=link).status_code == 200
    assert httpx2.get(f"{served.url}/metrics", headers=link).status_code == 403
    assert httpx2.get(f"{served.url}/docs", headers={**link, "Sec-Fetch-Dest": "iframe"}).status_code == 403


def test_no_answer_lets_a_foreign_page_in(served: Served) -> None:
    foreign = {"Origin": "http://evil.example"}
    asked = {**foreign, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answers = [
        httpx2.get(f"{served.url}/v1/lax", headers=foreign),
        httpx2.options(f"{served.url}/v1/probe", headers=asked),
        httpx2.post(f"{served.url}/v1/probe", headers=foreign),
    ]
    assert [answer.status_code for answer in answers] == [200, 405, 403]
    for answer in answers:
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_every_answer_carries_the_headers(served: Served) -> None:
    for path, status in (("/health", 200), ("/nothing", 404), ("/v1/fail", 500), ("/docs", 200), ("/v1/%2e%2e/x", 400)):
        answer = httpx2.get(f"{served.url}{path}")
        assert answer.status_code == status
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
        assert "microphone=(self)" in headers["permissions-policy"]
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy and "http" not in policy
        assert "server" not in headers


def test_an_answer_that_nothing_changed_leaves_the_policy_as_it_was() -> None:
    """Browsers put the headers of a 304 in the place of those that they kept: a page would lose its scripts."""
    names = [name for name, _ in secured([(b"etag", b"1")], is_data=False, is_kept=True)]
    assert b"content-security-policy" not in names and b"x-content-type-options" in names


def test_the_token(guarded: Served) -> None:
    url, bearer = f"{guarded.url}/v1/probe", {"Authorization": f"Bearer {TOKEN}"}
    assert httpx2.post(url, headers=bearer).status_code == 200
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Cookie": f"token={TOKEN}"},
    ):
        response = httpx2.post(url, headers=headers)
        assert response.status_code == 401 and code_of(response) == "token_needed"
        assert response.headers["www-authenticate"] == "Bearer"
    assert httpx2.post(f"{url}?token={TOKEN}").status_code == 401
    assert httpx2.get(f"{guarded.url}/metrics").status_code == 401
    for path in ("/health", "/docs", "/openapi.json"):
        assert httpx2.get(f"{guarded.url}{path}").status_code == 200


def test_what_a_browser_keeps_reads_only(guarded: Served) -> None:
    with httpx2.Client(base_url=guarded.url) as browser:
        assert browser.post("/v1/session").status_code == 401
        begun = browser.post("/v1/session", headers={"Authorization": f"Bearer {TOKEN}"})
        cookie = begun.headers["set-cookie"].lower()
        assert begun.status_code == 204 and "httponly" in cookie and "samesite=strict" in cookie and TOKEN not in cookie
        assert browser.get("/metrics").status_code == 200
        assert browser.post("/v1/probe").status_code == 401


async def _echo(url: str, **options: object) -> tuple[str | None, bytes]:
    async with websockets.connect(url, **options) as socket:  # type: ignore[arg-type]
        await socket.send(b"hello")
        return socket.subprotocol, bytes(await socket.recv())  # type: ignore[arg-type]


def _refused(url: str, **options: object) -> int:
    with pytest.raises(InvalidStatus) as caught:
        asyncio.run(_echo(url, **options))
    return caught.value.response.status_code


def test_websockets(served: Served, guarded: Served) -> None:
    url = f"ws://{served.authority}/v1/echo"
    assert asyncio.run(_echo(url)) == (None, b"hello")
    assert asyncio.run(_echo(url, origin=served.url, subprotocols=["geneface.v1"])) == ("geneface.v1", b"hello")
    for origin in ("http://evil.example", "null", f"http://localhost:{served.port}"):
        assert _refused(url, origin=origin) == 403
    assert _refused(url, additional_headers={"Sec-Fetch-Site": "cross-site"}) == 403
    url = f"ws://{guarded.authority}/v1/echo"
    for options in ({}, {"subprotocols": ["geneface.v1", "bearer.wrong"]}, {"origin": guarded.url}):
        assert _refused(url, **options) == 401
    assert _refused(f"{url}?token={TOKEN}") == 401
    shown = ["geneface.v1", f"bearer.{TOKEN}"]
    assert asyncio.run(_echo(url, subprotocols=shown)) == ("geneface.v1", b"hello")
    assert asyncio.run(_echo(url, additional_headers={"Authorization": f"Bearer {TOKEN}"})) == (None, b"hello")


def test_who_asks_too_often_waits(tmp_path: Path) -> None:
    settings = small_settings(tmp_path, most_requests_a_minute=30)
    with serving(make_app(settings), settings) as served, httpx2.Client(base_url=served.url) as client:
        # Refused for another reason, a request uses nothing up: else a foreign page could keep the own one out.
        for _ in range(50):
            client.post("/v1/probe", headers={"Origin": "http://evil.example"})
        statuses = [client.get("/v1/nothing") for _ in range(40)]
        assert [answer.status_code for answer in statuses].count(404) in (30, 31)
        assert statuses[-1].status_code == 429 and code_of(statuses[-1]) == "too_many_requests"
        assert int(statuses[-1].headers["retry-after"]) >= 1
        for path in ("/", "/page/app.js"):
            assert client.get(path).status_code != 429, "the page is not locked by a program that asks"
        assert client.post("/page/app.js").status_code == 429
        assert [client.get("/").status_code for _ in range(40)][-1] == 429


def test_a_fault_is_told_by_its_place_alone(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("geneface.serve")
    log.addHandler(caplog.handler)
    log.setLevel(logging.INFO)
    try:
        answer = httpx2.get(
            f"{served.url}/v1/fail?text=another+secret", headers={"Authorization": "Bearer third-secret"}
        )
        httpx2.post(f"{served.url}/v1/typed", json="a fourth secret")
        # The line is written after the answer.
        while "POST" not in caplog.text:
            time.sleep(0.01)
    finally:
        log.removeHandler(caplog.handler)
        log.setLevel(logging.NOTSET)
    assert answer.status_code == 500 and code_of(answer) == "fault"
    assert "RuntimeError at /v1/fail" in caplog.text and "in fail" in caplog.text
    assert "POST /v1/typed 422" in caplog.text
    assert "secret" not in caplog.text and "secret" not in answer.text


def test_numbers(served: Served) -> None:
    httpx2.post(f"{served.url}/v1/probe", headers={"Origin": "http://evil.example"})
    answer = httpx2.get(f"{served.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    values: dict[str, float] = {}
    kinds: dict[str, str] = {}
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("#"):
            key, value = line.rsplit(" ", 1)
            assert key not in values
            values[key] = float(value)
    for key in values:
        name = key.split("{")[0]
        base = next((name.removesuffix(end) for end in ("_bucket", "_sum", "_count") if name.endswith(end)), name)
        assert kinds.get(name) or kinds.get(base) == "histogram", key
    assert values['geneface_refused_total{code="foreign_origin"}'] >= 1
    assert values['geneface_requests_total{method="POST",status="403"}'] >= 1
    assert values["process_resident_memory_bytes"] > 10e6 and values["process_cpu_seconds_total"] > 0
    rows = [value for key, value in values.items() if key.startswith("geneface_request_seconds_bucket")]
    assert rows == sorted(rows) and rows[-1] == values["geneface_request_seconds_count"] > 0


@pytest.mark.parametrize("proxy, is_believed", [(None, False), ("192.0.2.1", False), ("127.0.0.1", True)])
def test_only_a_named_proxy_says_for_whom_it_asks(tmp_path: Path, proxy: str | None, is_believed: bool) -> None:
    settings = small_settings(tmp_path, most_requests_a_minute=5, proxy=proxy)
    with serving(make_app(settings), settings) as served, httpx2.Client(base_url=served.url) as client:
        answers = [client.get("/health", headers={"X-Forwarded-For": f"198.51.100.{i}"}) for i in range(8)]
    assert (answers[-1].status_code == 200) is is_believed


@pytest.mark.parametrize("name", ["geneface.serve.live.sessions", "geneface.jobs", "geneface.voice.hibari", "asyncio"])
def test_what_other_parts_log_keeps_secrets_too(capsys: pytest.CaptureFixture[str], name: str) -> None:
    root, own = logging.getLogger(), logging.getLogger("geneface.serve")
    before = list(root.handlers), own.level
    root.handlers.clear()
    try:
        prepare_logs(False)
        prepare_logs(False)
        try:
            raise ValueError("a secret")
        except ValueError as error:
            # As asyncio tells of a task that nobody waited for.
            words = "live_1 failed" if name != "asyncio" else f"Task exception was never retrieved\nfuture: {error!r}"
            logging.getLogger(name).exception(words)
        logging.getLogger("geneface.serve").info("a request")
    finally:
        root.handlers[:] = before[0]
        own.setLevel(before[1])
    told = capsys.readouterr().err
    assert ("live_1 failed" if name != "asyncio" else "asyncio told something") in told
    assert told.count("ValueError\n") == 1 and "test_guard.py" in told and "a request" not in told
    assert told.count("a secret") == told.count('raise ValueError("a secret")') == 1


@pytest.mark.parametrize(
    "method, path, kind, is_large",
    [
        ("PATCH", "/v1/uploads/up_1", "application/octet-stream", True),
        ("PUT", "/v1/uploads/up_1", "", True),
        ("POST", "/v1/avatars/import", "multipart/form-data; boundary=x", True),
        ("POST", "/v1/avatars", "multipart/form-data; boundary=x", True),
        # What is held in memory is small.
        ("POST", "/v1/uploads", "application/json", False),
        ("POST", "/v1/avatars", "application/json", False),
        ("POST", "/v1/avatars", "", False),
        ("POST", "/v1/videos", "multipart/form-data; boundary=x", False),
        ("POST", "/v1/uploads/up_1", "", False),
        ("PUT", "/v1/uploadsx", "", False),
    ],
)
def test_what_may_be_large(method: str, path: str, kind: str, is_large: bool, tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    most = settings.most_upload_bytes if is_large else settings.most_body_bytes
    assert most_bytes(method, path, kind, settings) == most


@pytest.mark.parametrize(
    "path, most",
    [
        ("/v1/videos", 32 << 20),
        ("/v1/videos/sync", 32 << 20),
        ("/v1/live/live_1/say", 32 << 20),
        ("/v1/live", 1 << 18),
        ("/v1/live/live_1/rtc", 1 << 18),
        ("/v1/audio/speech", 1 << 18),
        ("/v1/avatars", 1 << 18),
        ("/v1/uploads", 1 << 18),
        ("/v1/videosx", 1 << 18),
    ],
)
def test_what_holds_no_sound_is_small(path: str, most: int) -> None:
    assert most_bytes("POST", path, "application/json", ServeSettings()) == most
    # The longest text fits, however it is written.
    assert len(json.dumps({"input": "\U0001f600" * 20_000})) < 1 << 18


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/live/live_1/say", "/v1/live"])
@pytest.mark.parametrize(
    "body", [b"[" + b"[],[]," * 20_000 + b"[]]", b"[" * 50_000, b'{"a":[' + b"1," * 40_000 + b"1]}"]
)
def test_long_and_deep_json_is_not_read(tmp_path: Path, path: str, body: bytes) -> None:
    settings = ServeSettings(home=tmp_path)
    with serving(create_app(settings), settings) as served, httpx2.Client(base_url=served.url) as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "too_large"


def test_bytes_of_files_are_any(tmp_path: Path) -> None:
    settings = ServeSettings(home=tmp_path)
    with serving(create_app(settings), settings) as served, httpx2.Client(base_url=served.url) as client:
        answer = client.post("/v1/videos", data={"model": "none"}, files={"audio": b"[," * 50_000})
        assert answer.status_code != 413
        # And a sound in base64 is one element.
        sound = {"audio_url": "data:audio/wav;base64," + "A" * 1_000_000}
        assert client.post("/v1/videos", json={"model": "none", "audio_reference": sound}).status_code != 413
