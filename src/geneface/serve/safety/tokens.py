"""Who may use a server that others than this machine can reach: who holds its token.

It travels as `Authorization: Bearer TOKEN`. A browser's WebSocket can't send that: it offers the subprotocols
`geneface.v1` and `bearer.TOKEN`. Pictures, videos and downloads of the page can't either: `POST /v1/session` gives the
browser a cookie that allows to read, never to change anything. No token stands in an address, where logs would keep it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

from geneface.errors import InputError
from geneface.serve.safety.addresses import is_this_machine, parse_authority
from geneface.serve.settings import ServeSettings

SUBPROTOCOL = "geneface.v1"
COOKIE = "geneface_read"
_BEARER = "bearer."
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{16,200}")


def new_token() -> str:
    """A random one, of 256 bits."""
    return secrets.token_urlsafe(32)


def needs_token(settings: ServeSettings) -> bool:
    """Whether others than this machine can reach the server: it listens to them, or a proxy brings them."""
    names = [parse_authority(name) for name in settings.allowed_hosts]
    is_local = all(name is not None and is_this_machine(name.name.strip("[]")) for name in names)
    return not (is_this_machine(settings.host) and is_local)


def check_token(token: str) -> None:
    """Refuse a token that could be guessed or can't be sent.

    Raises:
        InputError: too short, or letters that no header may hold.
    """
    if not _TOKEN.fullmatch(token):
        raise InputError(
            "the token is not 16 to 200 letters, digits or . _ ~ -",
            "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )


class TokenCheck:
    """Compares in constant time. Without a token everybody is let in."""

    def __init__(self, token: str | None) -> None:
        self._token = None if token is None else token.encode()

    @property
    def is_on(self) -> bool:
        """Whether a token is needed."""
        return self._token is not None

    @property
    def cookie(self) -> str:
        """What a browser that has shown the token may keep: it tells nothing of the token."""
        return hmac.new(self._token or b"", b"geneface read", hashlib.sha256).hexdigest()

    def admits(self, headers: Mapping[str, str], *, is_reading: bool, subprotocols: list[str]) -> bool:
        """Whether the token came with a request, or, for one that only reads, the cookie."""
        if self._token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        if any(self._is_token(name.removeprefix(_BEARER)) for name in subprotocols if name.startswith(_BEARER)):
            return True
        cookies = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
        return is_reading and any(
            name == COOKIE and hmac.compare_digest(value.encode(), self.cookie.encode()) for name, _, value in cookies
        )

    def _is_token(self, given: str) -> bool:
        return self._token is not None and hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)


def public_subprotocols(offered: list[str]) -> list[str]:
    """What is left of the subprotocols that a client offers for those who answer: no token."""
    return [name for name in offered if not name.startswith(_BEARER)]
