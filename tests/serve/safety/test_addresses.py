from __future__ import annotations

import pytest

from geneface.serve.safety.addresses import HostList, is_same_origin, is_this_machine

LOCAL = HostList("127.0.0.1")


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:8000"])
def test_this_machine(host: str) -> None:
    assert LOCAL.has(host, "http", 8000)
    assert not LOCAL.has(host.replace("8000", "8001"), "http", 8000)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example:8000", "localhost.evil.example:8000", "localhost", "127.0.0.1.nip.io:8000", "127.0.0.1:8000@evil.example",
     "evil.example@127.0.0.1:8000", "127.0.0.1:8000/", "127.1:8000", "2130706433:8000", "0.0.0.0:8000", "[::ffff:127.0.0.1]:8000",
     "localhost.:8000", " localhost:8000", "localhost:8000,evil.example", "localhost:080000", "localhost:-1", "[::1", "192.168.1.5:8000"],
)  # fmt: skip
def test_what_is_not(host: str) -> None:
    assert not LOCAL.has(host, "http", 8000)


def test_the_usual_port_need_not_be_named() -> None:
    assert LOCAL.has("localhost", "http", 80) and LOCAL.has("localhost", "https", 443)
    assert not LOCAL.has("localhost", "https", 80)


def test_names_that_were_allowed() -> None:
    hosts = HostList("127.0.0.1", ("face.example.org", "localhost:9000"))
    for host in ("face.example.org", "face.example.org:444", "localhost:9000", "localhost:8000"):
        assert hosts.has(host, "http", 8000)
    for host in ("x.face.example.org", "face.example.org.evil", "localhost:9001"):
        assert not hosts.has(host, "http", 8000)


def test_a_server_for_all_takes_numbers_which_no_name_server_can_turn() -> None:
    hosts = HostList("0.0.0.0")
    assert hosts.has("192.168.1.5:8000", "http", 8000) and hosts.has("[fd00::1]:9000", "http", 8000)
    assert not hosts.has("evil.example:8000", "http", 8000)


@pytest.mark.parametrize(
    "origin, host, scheme, is_same",
    [
        ("http://localhost:8000", "localhost:8000", "http", True),
        ("http://localhost:8000", "localhost:8000", "ws", True),
        ("http://LOCALHOST:8000", "localhost:8000", "http", True),
        ("http://localhost", "localhost:80", "http", True),
        ("https://face.example.org", "face.example.org", "http", True),
        ("https://face.example.org", "face.example.org:443", "https", True),
        ("http://face.example.org", "face.example.org", "https", False),
        ("http://localhost:8000", "127.0.0.1:8000", "http", False),
        ("http://localhost:3000", "localhost:8000", "http", False),
        ("http://localhost:8000.evil.example", "localhost:8000", "http", False),
        ("http://evil.example", "localhost:8000", "http", False),
        ("http://evil@localhost:8000", "localhost:8000", "http", False),
        ("http://localhost:8000/", "localhost:8000", "http", False),
        ("file://", "localhost:8000", "http", False),
        ("null", "localhost:8000", "http", False),
        ("", "localhost:8000", "http", False),
        ("chrome-extension://abc", "localhost:8000", "http", False),
    ],
)
def test_origins(origin: str, host: str, scheme: str, is_same: bool) -> None:
    assert is_same_origin(origin, host, scheme) is is_same


def test_who_can_reach_a_host() -> None:
    assert all(map(is_this_machine, ("localhost", "127.0.0.1", "127.8.9.1", "::1")))
    assert not any(map(is_this_machine, ("0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", "")))
