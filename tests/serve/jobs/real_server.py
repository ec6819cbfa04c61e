"""`geneface serve` as a process that can be killed, and what lives beside it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx2

from ...apps.conftest import environment


class RealServer:
    """One home, and a process that serves it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.log = home.with_name(f"{home.name}.log")
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "geneface", "serve", "--home", self.home, "--port", self.port]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdout=log,
                stderr=log,
                env=environment(),
                # A test run in the background of a shell inherits an ignored SIGINT, and so would the server.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        end = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end
            try:
                if self.http.get("/health").status_code in (200, 503):
                    return
            except httpx2.TransportError:
                time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """As by Ctrl-C; returns how long that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        return time.monotonic() - began

    def get(self, path: str) -> Any:
        # A loop of questions is what the limit of requests is against.
        time.sleep(0.1)
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def processes(self) -> list[int]:
        """Workers of this home, and what they have started, by their folder for temporary files."""
        mark = f"TMPDIR={self.home}/".encode()
        found = []
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    if mark in (path / "environ").read_bytes() and (path / "cmdline").read_bytes():
                        found.append(int(path.name))
                except OSError:
                    continue
        return found

    def kill_worker(self) -> bool:
        """kill -9 of one of them; False if there was none."""
        heads = [pid for pid in self.processes() if os.getpgid(pid) == pid]
        for pid in heads[:1]:
            os.kill(pid, signal.SIGKILL)
        return bool(heads)
