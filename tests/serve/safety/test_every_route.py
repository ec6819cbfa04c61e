"""Every route of the server is behind the door, whoever adds it, and every route says what it answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route, WebSocketRoute

from geneface.serve.app import create_app
from geneface.serve.safety.guard import is_public

from ..serving import Served, serving
from .probe import TOKEN, small_settings

_PUBLIC = {"/", "/health", "/docs", "/docs.css", "/openapi.json", "/favicon.ico", "/robots.txt"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The application itself, with a token."""
    settings = small_settings(tmp_path_factory.mktemp("home"), token=TOKEN)
    with serving(create_app(settings), settings) as server:
        yield server


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path) of every route, those that OpenAPI leaves out too; WebSockets as WEBSOCKET."""
    described = [(method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations]
    found = dict.fromkeys(described)
    for route in _flat(app.routes):
        if isinstance(route, WebSocketRoute):
            found["WEBSOCKET", route.path] = None
        elif isinstance(route, Route):
            found.update({(method, route.path): None for method in route.methods or ()})
    return [(method, re.sub(r"{[^}]*}", "x", path)) for method, path in found]


def _flat(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        inner = getattr(getattr(route, "original_router", None), "routes", None) or getattr(route, "routes", None)
        yield from _flat(inner) if inner else [route]


def _ask(served: Served, method: str, path: str, **headers: str) -> int:
    if method == "WEBSOCKET":
        method = "GET"
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            **headers,
        }
    return httpx2.request(method, served.url + path, headers=headers).status_code


def test_the_walk_sees_the_routes(whole: Served) -> None:
    routes = routes_of(whole.app)
    assert {("GET", "/health"), ("GET", "/metrics"), ("GET", "/docs"), ("POST", "/v1/session")} <= set(routes)


def test_every_route_is_behind_the_door(whole: Served) -> None:
    shown = {"Authorization": f"Bearer {TOKEN}"}
    for method, path in routes_of(whole.app):
        place = f"{method} {path}"
        assert _ask(whole, method, path, Host="evil.example", **shown) == 403, place
        assert _ask(whole, method, path, **{"Sec-Fetch-Site": "cross-site"}, **shown) == 403, place
        if method not in ("GET", "HEAD"):
            assert _ask(whole, method, path, Origin="http://evil.example", **shown) == 403, place
        is_open = method in ("GET", "HEAD") and (path in _PUBLIC or path.startswith("/page/"))
        assert is_public(path, method) is is_open, place
        status = _ask(whole, method, path)
        assert (status == 401) is not is_open, (place, status)
        assert _ask(whole, method, path, Authorization="Bearer wrong-wrong-wrong") == status, place


def test_the_api_describes_itself(whole: Served) -> None:
    schema = httpx2.get(f"{whole.url}/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    tags, names = {tag["name"] for tag in schema["tags"]}, set[str]()
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation["summary"] and operation["summary"][0].isupper(), place
            assert set(operation["tags"]) <= tags, (place, operation["tags"])
            assert operation["operationId"] not in names, place
            names.add(operation["operationId"])
            assert set(re.findall(r"{(\w+)", path)) == {
                one["name"] for one in operation.get("parameters", []) if one["in"] == "path"
            }, place
            assert any(status.startswith("2") or status == "101" for status in operation["responses"]), place
            error = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert error == {"$ref": "#/components/schemas/Error"}, place
    text = httpx2.get(f"{whole.url}/openapi.json").text
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', text)):
        assert name in schema["components"]["schemas"], name
    assert "HTTPValidationError" not in text


def test_the_manual_names_every_route_and_no_other(whole: Served) -> None:
    text = (Path(__file__).parents[3] / "docs" / "serve.md").read_text(encoding="utf-8")
    routes = {(method, _nameless(path)) for method, path in _described(whole.app)}
    for method, path in re.findall(r"(?:`|, )(GET|POST|PUT|PATCH|DELETE|HEAD) (/[\w/{}.]*)", text):
        if path.startswith(("/v1/", "/health", "/metrics")) and not path.endswith("/stream"):
            assert (method, _nameless(path)) in routes, (method, path)
    words = {re.sub(r"/{\w+}", "", path).rpartition("/")[2]: path for _, path in _described(whole.app)}
    assert not [path for word, path in words.items() if word not in text]


def _described(app: FastAPI) -> list[tuple[str, str]]:
    return [(method.upper(), path) for path, operations in app.openapi()["paths"].items() for method in operations]


def _nameless(path: str) -> str:
    return re.sub(r"{\w+}", "{}", path)


def test_the_docs_name_every_route(whole: Served, tmp_path: Path) -> None:
    page = httpx2.get(f"{whole.url}/docs").text
    schema = httpx2.get(f"{whole.url}/openapi.json").json()
    for path, operations in schema["paths"].items():
        for method in operations:
            assert f"<b>{method.upper()}</b> <code>{path}</code>" in page
    # The security policy of pages lets none of these in.
    assert not re.search(r"<script|<style|\son\w+=|\sstyle=|https?://(?!127\.0\.0\.1)", page)
