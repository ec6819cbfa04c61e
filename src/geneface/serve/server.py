"""One server from its start to its end: what can be refused is refused before anything is started."""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from geneface.errors import InputError
from geneface.serve.context import Context
from geneface.serve.jobs.service import JobService
from geneface.serve.safety.addresses import bracketed, parse_authority
from geneface.serve.safety.guard import fault_places
from geneface.serve.safety.protocols import WebSocketConnection, http_protocol
from geneface.serve.safety.tokens import check_token, needs_token, new_token
from geneface.serve.settings import ServeSettings

_GRACE_SECONDS = 0.5
"""So long requests may take to end when the server is asked to."""
_LAST_SECONDS = 1.7
"""Then the process ends, whatever a thread still does. Jobs are kept on the disk at every moment."""
_BACKLOG = 512
_STUN = re.compile(r"stun:[\w.-]+(:\d{1,5})?")
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


def completed(settings: ServeSettings) -> ServeSettings:
    """The settings with all checked that can be checked without starting anything, and a token where one is needed.

    Raises:
        InputError: an address that is none, a token that is too weak, a certificate that can't be used.
    """
    for option, url in (
        ("--voice-url", settings.voice_url),
        ("--chat", settings.chat_url),
        ("--listen", settings.listen_url),
    ):
        if url is not None:
            _check_url(option, url)
    for name in settings.allowed_hosts:
        if parse_authority(name) is None:
            raise InputError(f"{name!r} is not the name of a host", "give one as in --allow-host face.example.org")
    if settings.certificate is not None:
        _check_certificate(settings.certificate, settings.key)
    elif settings.key is not None:
        raise InputError("there is a key and no certificate", "give --certificate, too")
    for server in settings.stun:
        if not _STUN.fullmatch(server):
            raise InputError(f"{server!r} is no STUN server", "give one as in --stun stun:stun.example.org:3478")
    if settings.token is not None:
        check_token(settings.token)
    is_short = settings.token is None and needs_token(settings)
    return settings.model_copy(update={"token": new_token()}) if is_short else settings


def address(settings: ServeSettings, port: int, *, with_token: bool) -> str:
    """What a browser on this machine opens. A token stands behind the `#`: browsers never send that part."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    end = f"/#token={settings.token}" if with_token else ""
    scheme = "http" if settings.certificate is None else "https"
    return f"{scheme}://{bracketed(host)}:{port}{end}"


def serve(
    app: FastAPI,
    settings: ServeSettings,
    announce: Callable[[int], None],
    give_up: Callable[[int], None],
    *,
    is_logging: bool = False,
) -> int | None:
    """Serve until a signal comes.

    Args:
        app: of `create_app(settings)`.
        settings: as `completed` gave them.
        announce: called with the port when the server answers.
        give_up: called in another thread, with the signal, where the end takes too long: it ends the process.
        is_logging: a line on standard error for each request, without what was said in it.

    Returns:
        The signal that ended it.

    Raises:
        InputError: the port or the home is taken or can't be used.
    """
    prepare_logs(is_logging)
    # What is written down here is nobody else's to read.
    os.umask(0o077)
    context: Context = app.state.context
    with _listening(settings.host, settings.port) as listener, _home(context.jobs):
        port = int(listener.getsockname()[1])
        server = _Server(uvicorn_config(app, settings), lambda: announce(port), give_up)
        context.metrics.watch("connections", lambda: len(server.server_state.connections))
        server.run([listener])
        return server.signal


def uvicorn_config(app: FastAPI, settings: ServeSettings) -> uvicorn.Config:
    """How uvicorn serves an application of `create_app`, with the limits that it alone can keep."""
    return uvicorn.Config(
        app,
        http=http_protocol(settings),
        ws=WebSocketConnection,
        ws_max_size=settings.most_message_bytes,
        # A small message could stand for a very large one.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=settings.proxy is not None,
        forwarded_allow_ips=settings.proxy,
        # Meant to be whole seconds; what it is given to takes parts of one.
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        timeout_graceful_shutdown=_GRACE_SECONDS,  # pyright: ignore[reportArgumentType]
        backlog=_BACKLOG,
    )


class _Server(uvicorn.Server):
    """uvicorn's, with the signals of our commands."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None], give_up: Callable[[int], None]) -> None:
        super().__init__(config)
        self._announce, self._give_up = announce, give_up
        self.signal: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server, but for those that were ignored before, and are told by `signal`."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        taken = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in taken:
            signal.signal(number, self._end)
        try:
            yield
        finally:
            for number in taken:
                signal.signal(number, before[number])

    def _end(self, number: int, _: object) -> None:
        if self.signal is None:
            self.signal = number
            last = threading.Timer(_LAST_SECONDS, self._give_up, (number,))
            last.daemon = True
            last.start()
        else:
            self.force_exit = True
        self.should_exit = True


def _check_url(option: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good:
        raise InputError(f"{url!r} is not an address", f"give one as in {option} http://127.0.0.1:11434/v1")


def _check_certificate(certificate: Path, key: Path | None) -> None:
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise InputError(f"there is no file {path}", "give --certificate and --key PEM files")
    try:
        # Without a terminal to ask at: a key with a password would make it wait.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise InputError(
            f"{certificate} and its key can't be used ({getattr(error, 'reason', None) or error})",
            "give a certificate and its key, without a password, as PEM files",
        ) from None


@contextmanager
def _home(jobs: JobService) -> Iterator[None]:
    """The data folder, for this server alone."""
    jobs.claim()
    try:
        yield
    finally:
        jobs.stop()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise InputError(f"{host!r} is no address of this machine", "give --host 127.0.0.1, or 0.0.0.0") from None
    with socket.socket(family, kind, protocol) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(place)
            listener.listen(_BACKLOG)
        except OSError as error:
            raise _refused(error, host, port) from None
        listener.setblocking(False)
        yield listener


def _refused(error: OSError, host: str, port: int) -> InputError:
    if error.errno == errno.EADDRINUSE:
        return InputError(
            f"the port {port} is taken by another program (or another geneface)", "give another one with --port"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return InputError(f"the port {port} may not be used", "give one from 1024 on with --port")
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return InputError(f"{host!r} is no address of this machine", "give --host 127.0.0.1, or 0.0.0.0")
    return InputError(
        f"nothing can be served at {host}, port {port} ({error.strerror})", "give another --host or --port"
    )


class _PlacesOnly(logging.Formatter):
    """Of an exception only its kind and where it was, of others' messages only where: they may hold what was said."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of one record."""
        # What another handler has made of the exception is not ours.
        changes: dict[str, Any] = {"exc_text": None}
        if record.name.split(".")[0] != "geneface":
            changes |= {"msg": f"{record.name} told something at {record.filename}:{record.lineno}", "args": ()}
        return super().format(logging.makeLogRecord({**record.__dict__, **changes}))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The lines of one exception."""
        return fault_places(ei[1])


def prepare_logs(is_logging: bool) -> None:
    """What is told on standard error: faults of any part, and with `is_logging` each request."""
    logging.getLogger("geneface.serve").setLevel(logging.INFO if is_logging else logging.WARNING)
    root = logging.getLogger()
    if not any(isinstance(handler.formatter, _PlacesOnly) for handler in root.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(_PlacesOnly("%(asctime)s %(levelname)s %(message)s"))
        root.addHandler(handler)
