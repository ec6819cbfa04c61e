"""The server's door: every request and every WebSocket passes here first.

Plain ASGI. In this order: the form of the path, the headers' size, the Host, the method, the Origin, the rate, the
token, the body's size. What comes through is read by `BodyMeter`; what goes out carries the headers of `headers`. A
fault of a route is logged by its place alone: messages may hold what somebody said.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import Counter

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from geneface.serve.errors import ApiError, error_response
from geneface.serve.metrics import Metrics
from geneface.serve.safety.addresses import HostList, is_same_origin
from geneface.serve.safety.bodies import BodyMeter, BodyRefusedError, is_file, most_bytes, too_large
from geneface.serve.safety.headers import secured
from geneface.serve.safety.messages import MessageMeter
from geneface.serve.safety.rates import AddressRates
from geneface.serve.safety.tokens import SUBPROTOCOL, TokenCheck, public_subprotocols
from geneface.serve.settings import ServeSettings

LOG = logging.getLogger("geneface.serve")
PUBLIC_PATHS = frozenset({"/", "/health", "/docs", "/docs.css", "/openapi.json", "/favicon.ico", "/robots.txt"})
PUBLIC_FOLDERS = ("/page/",)
"""What is read without a token: the page, which asks for it, and what describes the API."""
_READING = ("GET", "HEAD")
_METHODS = (*_READING, "POST", "PUT", "PATCH", "DELETE")
_MOST_HEADERS, _MOST_HEADER_BYTES, _MOST_PATH_BYTES = 100, 16_384, 4096
_GONE = 499
"""The status that is counted where the client went before there was one."""
_SINGLE = ("host", "origin", "authorization", "content-length", "transfer-encoding", "sec-fetch-site")


def is_public(path: str, method: str) -> bool:
    """Whether the path is read without a token."""
    return method in _READING and (path in PUBLIC_PATHS or path.startswith(PUBLIC_FOLDERS))


def _is_page(path: str) -> bool:
    return path == "/" or path.startswith(PUBLIC_FOLDERS)


class Guard:
    """ASGI middleware that lets through what is meant for this server and allowed to use it."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._hosts = HostList(settings.host, settings.allowed_hosts)
        self._tokens = TokenCheck(settings.token)
        # The page's own files apart: a program that asks too often must not lock its owner out of it.
        self._rates, self._page_rates = (AddressRates(settings.most_requests_a_minute) for _ in range(2))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        answer = _Answer(scope, send)
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is not None:
            self._metrics.count("refused", code=refusal.code)
            await answer.refuse(refusal)
        elif scope["type"] == "http":
            await self._http(scope, receive, answer)
        else:
            await self._websocket(scope, receive, answer)
        if scope["type"] == "http":
            self._metrics.count("requests", method=_known(scope["method"]), status=str(answer.status))
            self._metrics.observe("request_seconds", time.monotonic() - began)
        LOG.info("%s %s %s", scope.get("method", "WEBSOCKET"), _printable(scope["path"]), answer.status)

    async def _http(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers = Headers(scope=scope)
        is_any = is_file(scope["method"], scope["path"], headers.get("content-type", ""))
        meter = BodyMeter(receive, self._most_bytes(scope, headers), self._settings, is_file=is_any)

        async def send(message: Message) -> None:
            # What a route makes of a body that broke off is not its cause.
            if meter.refusal is None or answer.has_begun:
                await answer.send(message)

        try:
            await self._app(scope, meter, send)
        except BodyRefusedError:
            if answer.has_begun:
                raise
        except ClientDisconnect:
            # Nobody's fault, and nobody is there to be told.
            answer.status = answer.status or _GONE
        except asyncio.CancelledError:
            # The server ends, and does not wait for this request any more.
            if not answer.has_begun:
                await answer.refuse(_ending())
            raise
        except Exception as error:
            _log_fault(scope, error)
            if answer.has_begun:
                raise
            await answer.refuse(_fault())
        if meter.refusal is not None and not answer.has_begun:
            self._metrics.count("refused", code=meter.refusal.code)
            await answer.refuse(meter.refusal)

    async def _websocket(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        offered = scope.get("subprotocols", [])
        inner = {**scope, "subprotocols": public_subprotocols(offered)}
        # Nor by its header: whoever prints a scope prints no token.
        inner["headers"] = [pair for pair in scope["headers"] if pair[0] != b"sec-websocket-protocol"]

        async def send(message: Message) -> None:
            if message["type"] == "websocket.accept" and SUBPROTOCOL in offered:
                # A browser gives up where nothing of its offer is taken.
                message = {**message, "subprotocol": message.get("subprotocol") or SUBPROTOCOL}
            await answer.send(message)

        try:
            await self._app(inner, MessageMeter(receive, send, self._settings), send)
        except WebSocketDisconnect:
            pass
        except Exception as error:
            _log_fault(scope, error)
            if answer.has_begun:
                await answer.close(1011)
            else:
                await answer.refuse(_fault())

    def _refusal(self, scope: Scope, headers: Headers) -> ApiError | None:
        """Why a request goes no further, or None."""
        path, scheme = scope["path"], scope["scheme"]
        method = scope.get("method", "GET")
        if not _is_plain(scope):
            return ApiError(400, "bad_path", "the path of this request is not a plain one", "see /docs for the routes")
        if refusal := _bad_headers(headers):
            return refusal
        host = headers.get("host", "")
        if not self._hosts.has(host, scheme, (scope.get("server") or ("", None))[1]):
            return ApiError(
                403,
                "foreign_host",
                "this server does not answer to the name that was asked for",
                "start it with --allow-host NAME if that is right",
            )
        if method not in _METHODS:
            return ApiError(405, "method_not_allowed", "no route of this server takes this method", "see /docs")
        is_reading = scope["type"] == "http" and method in _READING
        if not _is_own_page(headers, host, scheme, is_reading=is_reading, is_public=is_public(path, method)):
            return ApiError(
                403, "foreign_origin", "a page of another site asked for this", "open the page of this server instead"
            )
        rates = self._page_rates if is_reading and _is_page(path) else self._rates
        wait = rates.wait((scope.get("client") or ("", 0))[0])
        if wait:
            return ApiError(429, "too_many_requests", "too many requests came from this address", "wait", wait)
        subprotocols = scope.get("subprotocols", [])
        is_open = scope["type"] == "http" and is_public(path, method)
        if not is_open and not self._tokens.admits(headers, is_reading=is_reading, subprotocols=subprotocols):
            return ApiError(
                401,
                "token_needed",
                "this server needs its token",
                "send it as Authorization: Bearer TOKEN; it was printed when the server started",
            )
        return _bad_length(headers, self._most_bytes(scope, headers))

    def _most_bytes(self, scope: Scope, headers: Headers) -> int:
        method, kind = scope.get("method", "GET"), headers.get("content-type", "")
        return most_bytes(method, scope["path"], kind, self._settings)


class _Answer:
    """What is sent to one client."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._is_http = scope["type"] == "http"
        self.has_begun = False
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass a message on, with the headers that it must carry."""
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            is_data = not is_public(self._scope["path"], self._scope.get("method", ""))
            headers = secured(message.get("headers", []), is_data=is_data, is_kept=self.status == 304)
            message = {**message, "headers": headers}
        elif kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.close" and not self.has_begun:
            self.status = 403
        self.has_begun = True
        await self._send(message)

    async def refuse(self, error: ApiError) -> None:
        """Answer with an error, and read no further."""
        if not self._is_http and "websocket.http.response" not in self._scope.get("extensions", {}):
            await self.close(1008)
            return
        response = error_response(error)
        prefix = "" if self._is_http else "websocket."
        headers = [*response.raw_headers, (b"connection", b"close")]
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.send({"type": f"{prefix}http.response.start", "status": error.status, "headers": headers})
        await self.send({"type": f"{prefix}http.response.body", "body": response.body})

    async def close(self, code: int) -> None:
        """Close a WebSocket."""
        await self.send({"type": "websocket.close", "code": code})


def _is_plain(scope: Scope) -> bool:
    """Whether a path says what it means: nothing that one part of a server may read otherwise than another."""
    raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    path = scope["path"]
    if len(raw) > _MOST_PATH_BYTES or not path.startswith("/") or not path.isprintable():
        return False
    if b"%2f" in raw.lower() or b"%5c" in raw.lower() or "\\" in path or "//" in path or "%" in path:
        return False
    return not {".", ".."} & set(path.split("/"))


def _bad_headers(headers: Headers) -> ApiError | None:
    names = Counter(name for name, _ in headers.raw)
    size = sum(len(name) + len(value) for name, value in headers.raw)
    if len(headers.raw) > _MOST_HEADERS or size > _MOST_HEADER_BYTES:
        return ApiError(431, "headers_too_large", "the headers of this request are too many or too large", "send fewer")
    if any(names[name.encode()] > 1 for name in _SINGLE):
        return ApiError(400, "bad_headers", "a header that may stand once stands twice", "send it once")
    return None


def _bad_length(headers: Headers, most: int) -> ApiError | None:
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return ApiError(400, "bad_headers", "the Content-Length of this request is no number", "send bytes")
    return too_large(most) if len(length) > 18 or int(length) > most else None


def _is_own_page(headers: Headers, host: str, scheme: str, *, is_reading: bool, is_public: bool) -> bool:
    """Whether a request comes from a program, from the page of this server, or only opens that page."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and not is_reading and not is_same_origin(origin, host, scheme):
        return False
    if site in (None, "same-origin", "none"):
        return True
    # A link to the page may stand anywhere; what it loads may not be loaded from elsewhere.
    is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return is_reading and is_public and is_link


def _ending() -> ApiError:
    return ApiError(503, "ending", "the server ends", "ask again when it is there again", retry_after=5)


def _fault() -> ApiError:
    return ApiError(500, "fault", "the server made a mistake", "its log tells where; please report it")


def fault_places(error: BaseException) -> str:
    """Where an exception came from, and its kind: neither its message nor values."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "geneface" in frame.filename or frame is frames[-1]]
    return "".join([*traceback.format_list(own), type(error).__name__])


def _log_fault(scope: Scope, error: BaseException) -> None:
    LOG.error("%s at %s\n%s", type(error).__name__, _printable(scope["path"]), fault_places(error))


def _known(method: str) -> str:
    return method if method in _METHODS else "other"


def _printable(path: str) -> str:
    return ascii(path[:200])[1:-1]
