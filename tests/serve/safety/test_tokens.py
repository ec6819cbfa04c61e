from __future__ import annotations

import pytest

from geneface.errors import InputError
from geneface.serve.app import create_app
from geneface.serve.safety.tokens import TokenCheck, check_token, needs_token, new_token
from geneface.serve.settings import ServeSettings

TOKEN = new_token()


@pytest.mark.parametrize(
    "settings, is_needed",
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"allowed_hosts": ("localhost:9000",)}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "192.168.1.5"}, True),
        ({"host": "box.example.org"}, True),
        ({"allowed_hosts": ("face.example.org",)}, True),
    ],
)
def test_whoever_can_be_reached_needs_one(settings: dict, is_needed: bool) -> None:
    assert needs_token(ServeSettings(**settings)) is is_needed
    if is_needed:
        with pytest.raises(InputError, match="no token"):
            create_app(ServeSettings(**settings))


@pytest.mark.parametrize(
    "token", ["", "short", "x" * 201, "x" * 15, "with space in the middle", "ünïcödé-ünïcödé", "a,b" * 10]
)
def test_tokens_that_would_be_guessed_or_cannot_be_sent(token: str) -> None:
    with pytest.raises(InputError, match="token"):
        check_token(token)
    check_token(new_token())


def test_new_ones_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "headers, is_reading, subprotocols, is_in",
    [
        ({"authorization": f"Bearer {TOKEN}"}, False, [], True),
        ({"authorization": f"bearer  {TOKEN}"}, False, [], True),
        ({}, False, ["geneface.v1", f"bearer.{TOKEN}"], True),
        ({}, True, [], False),
        ({"authorization": f"Basic {TOKEN}"}, False, [], False),
        ({"authorization": TOKEN}, False, [], False),
        ({"authorization": "Bearer "}, False, [], False),
        ({"authorization": f"Bearer {TOKEN}x"}, False, [], False),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, False, [], False),
        ({"authorization": "Bearer ü"}, False, [], False),
        ({}, False, [f"bearer.{TOKEN[:-1]}"], False),
        ({}, False, [TOKEN], False),
        ({"cookie": f"geneface_read={TOKEN}"}, True, [], False),
        ({"cookie": "geneface_read="}, True, [], False),
    ],
)
def test_who_is_let_in(headers: dict, is_reading: bool, subprotocols: list[str], is_in: bool) -> None:
    assert TokenCheck(TOKEN).admits(headers, is_reading=is_reading, subprotocols=subprotocols) is is_in


def test_the_cookie_reads_and_does_nothing_else() -> None:
    check = TokenCheck(TOKEN)
    headers = {"cookie": f"a=b; geneface_read={check.cookie}"}
    assert check.admits(headers, is_reading=True, subprotocols=[])
    assert not check.admits(headers, is_reading=False, subprotocols=[])
    assert not TokenCheck(new_token()).admits(headers, is_reading=True, subprotocols=[])
    assert TOKEN not in check.cookie
