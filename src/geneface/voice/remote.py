"""Other servers with OpenAI's routes: voices, chat models, transcription. Only addresses that the operator named.

Nothing else is asked: no redirect is followed, no proxy of the environment is used, and a key is taken from a variable
of its own, so that one for another service never goes to this address.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from geneface.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Client, Response

CONNECT_SECONDS, READ_SECONDS = 5.0, 30.0
_SHOWN = 200
_ERROR_BYTES = 4096


def http() -> ModuleType:
    """The HTTP client's package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import httpx2
    except ImportError as error:
        raise MissingExtraError("httpx2", "web", error) from error
    return httpx2


@dataclass(frozen=True)
class Remote:
    """One route of one server."""

    what: str
    """Names it in errors: "the chat model"."""
    url: str
    key_variable: str
    """Environment variable that holds the key, if the server wants one."""
    read_seconds: float = READ_SECONDS

    @classmethod
    def of(cls, what: str, address: str, route: str, key_variable: str) -> Remote:
        """A route of the server at an address, which may be its root, its /v1, or the route itself.

        Raises:
            InputError: no address of that kind.
        """
        try:
            parts = urlsplit(address.strip())
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            raise InputError(
                f"{address[:_SHOWN]!r} is no address of a server",
                "give one such as http://127.0.0.1:8880/v1",
            )
        path = parts.path.rstrip("/")
        if not path.endswith(f"/{route}"):
            path = f"{path or '/v1'}/{route}"
        return cls(what, urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")), key_variable)

    @property
    def place(self) -> str:
        """For people: without user, password and query."""
        parts = urlsplit(self.url)
        name = parts.hostname or ""
        host = f"[{name}]" if ":" in name else name
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def client(self) -> Client:
        """For threads. The caller closes it."""
        httpx2 = http()
        return httpx2.Client(timeout=self._timeout(), trust_env=False, headers=self._headers())

    def async_client(self) -> AsyncClient:
        """For a loop. The caller closes it."""
        httpx2 = http()
        return httpx2.AsyncClient(timeout=self._timeout(), trust_env=False, headers=self._headers())

    def failure(self, error: Exception) -> InputError:
        """What went wrong on the way, in one sentence."""
        httpx2 = http()
        name = f"{self.what} at {self.place}"
        if isinstance(error, InputError):
            return error
        if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.UnsupportedProtocol):
            return InputError(f"{name} can't be reached", "start that server, or correct the address")
        if isinstance(error, httpx2.TimeoutException):
            return InputError(f"{name} was silent for {self.read_seconds:.0f} s", "see what that server is doing")
        told = " ".join(str(error).split())[:_SHOWN]
        return InputError(f"{name} gave an answer that can't be read ({told})", "check that it is an OpenAI-like API")

    def refusal(self, response: Response, body: bytes) -> InputError | None:
        """Why an answer, with the start of its body, is not what was asked for; None if it may be."""
        if response.status_code == 200:
            return None
        told = _message(body)
        remedy = "see that server's own log"
        if response.status_code in (401, 403):
            remedy = f"put its key into the environment variable {self.key_variable}"
        elif response.status_code in (301, 302, 307, 308, 404, 405):
            remedy = "check the address: it is the one before the route, such as http://127.0.0.1:8880/v1"
        elif response.status_code == 429:
            remedy = "wait, or ask it less often"
        told = f" ({told})" if told else ""
        return InputError(f"{self.what} at {self.place} answered {response.status_code}{told}", remedy)

    def check(self, response: Response) -> None:
        """Read no more than the start of an error.

        Raises:
            InputError: the server refused.
        """
        if response.status_code != 200:
            body = next(response.iter_bytes(_ERROR_BYTES), b"")
            raise self.refusal(response, body) or AssertionError

    async def check_async(self, response: Response) -> None:
        """The same in a loop."""
        if response.status_code != 200:
            body = await anext(response.aiter_bytes(_ERROR_BYTES), b"")
            raise self.refusal(response, body) or AssertionError

    def _timeout(self) -> object:
        return http().Timeout(self.read_seconds, connect=CONNECT_SECONDS)

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.key_variable, "").strip()
        return {"Authorization": f"Bearer {key}"} if key else {}


def parsed(data: str | bytes) -> Any:
    """JSON of somebody else.

    Raises:
        ValueError: it is none, or nested so deeply that it was made to do harm.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _message(body: bytes) -> str:
    """The sentence in the body of an error, in any of its usual places."""
    text = body.decode("utf-8", "replace")
    try:
        found = parsed(text)
    except ValueError:
        return "" if text.lstrip().startswith("<") else " ".join(text.split())[:_SHOWN]
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    return " ".join(str(found).split())[:_SHOWN]
