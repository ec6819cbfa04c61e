"""The command `serve`: what it refuses, what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import websockets
from websockets import Origin
from websockets.exceptions import ConnectionClosed

from .conftest import Run, command, environment

_SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] if sys.platform != "win32" else []


def _default_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def started(home: Path, *options: object) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, once it answers, and what it printed."""
    process = subprocess.Popen(
        command("serve", "--port", 0, "--home", home, *options),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_default_signals if _SIGNALS else None,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("Ctrl-C"):
                break
        else:
            raise AssertionError(process.communicate(timeout=10)[1])
        yield process, lines
    finally:
        process.kill()
        process.communicate(timeout=10)


def test_what_is_refused_before_anything_starts(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run("serve", "--home", home, "--port", port).refused(str(port), "taken", "--port")
    for option in ("--chat", "--listen", "--voice-url"):
        for url in (
            "ftp://example.org",
            "example.org",
            "http://",
            "http://[",
            "http://x:99999999",
            "file:///etc/passwd",
        ):
            run("serve", "--home", home, option, url).refused(url, "is not an address", option)
    run("serve", "--home", home, "--host", "nowhere.invalid").refused("nowhere.invalid", "--host")
    run("serve", "--home", home, "--host", "192.0.2.1", "--port", 0).refused("192.0.2.1", "--host")
    run("serve", "--home", home, "--token", "short").refused("the token")
    run("serve", "--home", home, "--allow-host", "http://x/").refused("http://x/", "--allow-host")
    run("serve", "--home", home, "--stun", "http://x/").refused("http://x/", "--stun")
    run("serve", "--home", home, tmp_path / "nobody").refused("nobody")
    run("serve", "--home", home, "--voice", "nobody").refused("nobody")
    run("serve", "--home", home, "--key", tmp_path / "k.pem").refused("--certificate")
    run("serve", "--home", home, "--certificate", tmp_path / "c.pem").refused("c.pem", "--certificate")
    (tmp_path / "d.pem").write_text("no certificate")
    run("serve", "--home", home, "--certificate", tmp_path / "d.pem").refused("d.pem", "PEM")
    run("serve", "--home", home, "--port", 70_000).refused("--port", "65535")
    assert not home.exists()


def test_a_home_that_cannot_be_used(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for home in (tmp_path / "file", tmp_path / "file" / "inside", Path("/proc/geneface")):
        run("serve", "--port", 0, "--home", home).refused(str(home))
    assert (tmp_path / "file").read_text() == "x"


def test_without_the_extra(tmp_path: Path) -> None:
    program = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"fastapi", "starlette", "uvicorn", "websockets", "multipart", "python_multipart", "httpx2", "hibari"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
from geneface.__main__ import main
main()
"""
    for arguments, status in ((["serve", "--home", str(tmp_path / "h")], 2), (["serve", "--help"], 0), (["--help"], 0)):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment(), timeout=60
        )
        assert done.returncode == status, done.stderr
        if status:
            assert done.stderr.count("\n") == 1 and "pip install '.[web]'" in done.stderr
        else:
            assert "serve" in done.stdout and not done.stderr
    assert "Example: geneface serve" in " ".join(
        subprocess.run(command("serve", "--help"), capture_output=True, text=True, env=environment()).stdout.split()
    )


async def _listen(url: str) -> None:
    with pytest.raises(ConnectionClosed):
        async with websockets.connect(url) as client:
            while True:
                await client.recv()


@pytest.mark.slow
@pytest.mark.skipif(not _SIGNALS, reason="signals of POSIX systems")
@pytest.mark.parametrize("number", _SIGNALS)
def test_it_starts_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    home = tmp_path / "home"
    with started(home) as (process, lines):
        url = lines[0]
        assert lines[1].startswith("avatars: grid-s1") and lines[2].startswith("voice: ")
        assert httpx2.get(f"{url}/health", timeout=10).json()["status"] == "ready"
        assert home.stat().st_mode & 0o777 == 0o700
        # Those who are connected don't hold it up: one that says nothing, one in the middle of a body, a live face.
        port = int(url.rpartition(":")[2])
        silent, busy = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
        busy.sendall(f"POST /v1/live HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 99\r\n\r\n{{".encode())
        session = httpx2.post(f"{url}/v1/live", json={}, timeout=30).json()
        stream = f"{url.replace('http', 'ws')}/v1/live/{session['id']}/stream"

        async def end() -> float:
            watching = asyncio.create_task(_listen(stream))
            await asyncio.sleep(0.5)
            process.send_signal(number)
            began = time.monotonic()
            while process.poll() is None:
                await asyncio.sleep(0.01)
            took = time.monotonic() - began
            await watching
            return took

        took = asyncio.run(end())
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (128 + number, "")
        assert err == "geneface: stopped; jobs are kept, and go on when the server starts again\n"
        # It is promised: 2 s, also on a busy machine.
        assert took < 4
        silent.close()
        busy.close()


@pytest.mark.slow
def test_a_home_has_one_server(tmp_path: Path, run: Run) -> None:
    with started(tmp_path / "home"):
        run("serve", "--home", tmp_path / "home", "--port", 0).refused("another server", "--home")
    with started(tmp_path / "home") as (_, lines):
        assert httpx2.get(f"{lines[0]}/health", timeout=10).status_code == 200


@pytest.mark.slow
def test_others_need_the_token_that_was_printed(tmp_path: Path) -> None:
    with started(tmp_path / "home", "--host", "0.0.0.0", "--log") as (process, lines):
        url, _, token = lines[0].partition("/#token=")
        assert url.startswith("http://127.0.0.1:") and len(token) > 40
        assert sum(token in line for line in lines) == 1
        assert httpx2.get(f"{url}/metrics").status_code == 401
        numbers = httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {token}"})
        assert numbers.status_code == 200 and "\ngeneface_connections 1\n" in numbers.text
        assert httpx2.get(f"{url}/metrics?token={token}").status_code == 401
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
        assert "GET /metrics 401" in err and "GET /metrics 200" in err and token not in err


@pytest.mark.slow
def test_a_token_of_the_environment_is_not_shown_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENEFACE_TOKEN", "one-of-the-environment")
    with started(tmp_path / "home") as (_, lines):
        assert "one-of-the-environment" not in "".join(lines)
        assert httpx2.get(f"{lines[0]}/metrics").status_code == 401
        assert os.environ["GENEFACE_TOKEN"] == "one-of-the-environment"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_https_without_a_proxy(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=geneface -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    trust = ssl.create_default_context(cafile=str(certificate))
    with started(tmp_path / "home", "--certificate", certificate, "--key", key) as (_, lines):
        url = lines[0]
        assert url.startswith("https://127.0.0.1:")
        with httpx2.Client(base_url=url, verify=trust) as client:
            assert client.get("/health").status_code == 200
            assert client.post("/v1/session", headers={"Origin": url}).status_code == 204
            assert client.post("/v1/session", headers={"Origin": url.replace("https", "http")}).status_code == 403
            session = client.post("/v1/live", json={}, timeout=30).json()

        async def connect() -> None:
            address = f"{url.replace('https', 'wss')}/v1/live/{session['id']}/stream"
            async with websockets.connect(address, ssl=trust, origin=Origin(url)) as client:
                assert await client.recv()

        asyncio.run(connect())
        # Those who never finish the handshake keep nobody out.
        port = int(url.rpartition(":")[2])
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        assert httpx2.get(f"{url}/health", verify=trust, timeout=20).status_code == 200
        for connection in silent:
            connection.close()
