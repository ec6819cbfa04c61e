"""Which names this server answers to, and which pages may talk to it.

A page of another site can make a browser send requests here, and with a name that is made to point at this machine (DNS
rebinding) it would even read the answers. So the Host must be a name of this server, and the Origin, where there is
one, the same server.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_-][a-z0-9._-]{0,252})(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://([^/@?#\s]+)")
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Authority(NamedTuple):
    """A host as it stands in an address."""

    name: str
    """Lower case; IPv6 in brackets."""
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """The parts of `name`, `name:port` or `[::1]:port`; None if it is none of them."""
    match = _AUTHORITY.fullmatch(text.lower())
    return Authority(match[1], None if match[2] is None else int(match[2])) if match else None


def is_this_machine(host: str) -> bool:
    """Whether what listens at `host` (a name or an address, without brackets) can be reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """A host as it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class HostList:
    """The names of one server.

    Args:
        host: what it listens at.
        allowed: further names, of a proxy in front, say; with a port that one alone.
    """

    def __init__(self, host: str, allowed: tuple[str, ...] = ()) -> None:
        self._allowed = {parsed for name in allowed if (parsed := parse_authority(name)) is not None}
        self._own = {*_LOCAL_NAMES, bracketed(host.lower())}
        # A number can't be made to point elsewhere, and only the machine knows all of its own.
        self._takes_numbers = not is_this_machine(host)

    def has(self, host: str, scheme: str, port: int | None) -> bool:
        """Whether a request with this Host, that came to `port`, was meant for this server."""
        asked = parse_authority(host)
        if asked is None:
            return False
        default = _PORTS[scheme]
        if asked in self._allowed or asked._replace(port=None) in self._allowed:
            return True
        if self._takes_numbers and _is_number(asked.name):
            return True
        return asked.name in self._own and (asked.port or default) == (port or default)


def is_same_origin(origin: str, host: str, scheme: str) -> bool:
    """Whether a page of `origin` is a page of the server that was asked for as `host`.

    A proxy may have taken TLS off on the way: an `https` page of the same name counts; never an `http` page for
    `https`.
    """
    match = _ORIGIN.fullmatch(origin.lower())
    theirs, ours = parse_authority(match[2]) if match else None, parse_authority(host)
    if match is None or theirs is None or ours is None:
        return False
    default = _PORTS[match[1]]
    if _PORTS[scheme] == _PORTS["https"] and match[1] != "https":
        return False
    return (theirs.name, theirs.port or default) == (ours.name, ours.port or default)
