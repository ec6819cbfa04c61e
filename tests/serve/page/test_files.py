"""What the page is made of, and how it is served: by HTTP alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from geneface.serve.app import create_app
from geneface.serve.settings import ServeSettings

FOLDER = Path(str(files("geneface.serve") / "page"))
TEXTS = {
    path.relative_to(FOLDER).as_posix(): path.read_text(encoding="utf-8")
    for path in FOLDER.rglob("*")
    if path.is_file()
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    app = create_app(ServeSettings(home=tmp_path_factory.mktemp("home"), most_requests_a_minute=100_000))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def test_every_file_is_served_as_what_it_is(client: TestClient) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
    assert len(TEXTS) > 20
    for name, text in TEXTS.items():
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200 and answer.text == text, name
        assert answer.headers["content-type"].startswith(types[Path(name).suffix]), name
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/").text == TEXTS["index.html"]


def test_a_file_that_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/page/app.js")
    again = client.get("/page/app.js", headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert client.get("/page/app.js", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/page/style.css").headers["etag"] != first.headers["etag"]
    head = client.head("/page/app.js")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(first.content)


@pytest.mark.parametrize(
    "path",
    ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "....//app.py", "/etc/passwd", "%2fetc%2fpasswd", "tabs/../../app.py",
     "tabs%5c..%5clive.js", "", "tabs", "tabs/", "app.js%00.css", "nothing.js", "APP.JS"],
)  # fmt: skip
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    answer = client.get(f"/page/{path}")
    assert answer.status_code in (400, 404)
    assert "error" in answer.json()


def test_the_policy_allows_nothing_inline_and_nobody_else(client: TestClient) -> None:
    policy = dict(part.split(" ", 1) for part in client.get("/").headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["media-src"].split() == ["'self'", "blob:"] and policy["img-src"].split() == [
        "'self'",
        "blob:",
        "data:",
    ]
    assert "unsafe" not in str(policy) and "http" not in str(policy)


def test_the_files_need_nothing_from_elsewhere() -> None:
    for name, text in TEXTS.items():
        hosts = set(re.findall(r"https?://([\w.-]+)", text)) - {"www.w3.org"}
        # What the page tells people, and no address that it opens.
        assert hosts <= {"localhost"}, name
        assert not re.search(r"\sstyle=|\son\w+=\"|<style|<script(?![^>]*\bsrc=)", text) or name.endswith(".js"), name
        assert "innerHTML" not in text and "eval(" not in text and "document.write" not in text, name


def test_every_import_leads_to_a_file() -> None:
    found = 0
    for name, text in TEXTS.items():
        if name.endswith(".js"):
            for target in re.findall(r"(?:from |import\()\"(\.[^\"]+)\"", text):
                found += 1
                assert (FOLDER / name).parent.joinpath(target).resolve().is_file(), f"{name}: {target}"
    assert found > 50


def test_the_browser_is_told_at_once_of_all_modules() -> None:
    preloaded = re.findall(r'modulepreload" href="page/([^"]+)"', TEXTS["index.html"])
    needed, waiting = set[str](), ["app.js"]
    while waiting:
        name = waiting.pop()
        for target in re.findall(r'from "(\.[^"]+)"', TEXTS[name]):
            path = (FOLDER / name).parent.joinpath(target).resolve().relative_to(FOLDER.resolve()).as_posix()
            if path not in needed:
                needed.add(path)
                waiting.append(path)
    assert sorted(preloaded) == sorted(needed)


def test_the_server_says_what_it_offers(client: TestClient, tmp_path: Path) -> None:
    told = client.get("/v1/server").json()
    assert told["chat"] is False and told["listen"] is False
    assert told["limits"] == {"upload_bytes": 2 * 1024**3, "speech_seconds": 600.0, "text": 20_000}
    assert told["voice"] in [voice["id"] for voice in told["voices"]]
    settings = ServeSettings(
        home=tmp_path, chat_url="http://127.0.0.1:9/v1", voice_folder=tmp_path / "none", most_text=7
    )
    with TestClient(create_app(settings), base_url="http://127.0.0.1:8000") as other:
        told = other.get("/v1/server").json()
    # A voice that can't be had is none: the page still works with sound.
    assert (told["chat"], told["voices"], told["voice"], told["limits"]["text"]) == (True, [], None, 7)
