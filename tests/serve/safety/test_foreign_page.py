"""A page of another site in a real browser tries to read and to change things: nothing comes in, nothing comes out."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from ..serving import Served, serving
from .probe import make_app, small_settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium on this machine"),
]
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP evil.example 127.0.0.1",
]  # fmt: skip
_TRY = """
async (url) => {
  const told = {};
  const attempt = async (name, action) => {
    try { told[name] = await action(); } catch (error) { told[name] = "refused"; }
  };
  const wait = (element, make) => new Promise((resolve) => {
    element.onload = () => resolve("loaded"); element.onerror = () => resolve("refused");
    make(element); document.body.append(element); setTimeout(() => resolve("refused"), 2000);
  });
  const ws = url.replace("http", "ws") + "/v1/echo";
  await attempt("read", async () => (await fetch(url + "/metrics")).text());
  await attempt("read public", async () => (await fetch(url + "/health")).text());
  await attempt("read with cookies", async () => (await fetch(url + "/metrics", { credentials: "include" })).text());
  await attempt("json", async () => (await fetch(url + "/v1/typed", { method: "POST", body: "{}",
    headers: { "Content-Type": "application/json" } })).text());
  await attempt("delete", async () => (await fetch(url + "/v1/probe", { method: "DELETE" })).text());
  await attempt("blind post", async () => (await fetch(url + "/v1/probe", { method: "POST", mode: "no-cors",
    body: "x", headers: { "Content-Type": "text/plain" } })).text() || "refused");
  await attempt("beacon", async () => { navigator.sendBeacon(url + "/v1/probe", "x"); return "refused"; });
  await attempt("socket", () => new Promise((resolve) => {
    const socket = new WebSocket(ws); socket.onopen = () => resolve("open"); socket.onerror = () => resolve("refused");
  }));
  await attempt("socket with a subprotocol", () => new Promise((resolve) => {
    const socket = new WebSocket(ws, ["geneface.v1"]);
    socket.onopen = () => resolve("open"); socket.onerror = () => resolve("refused");
  }));
  await attempt("script", () => wait(document.createElement("script"), (e) => { e.src = url + "/openapi.json"; }));
  await attempt("style", () => wait(document.createElement("link"),
    (e) => { e.rel = "stylesheet"; e.href = url + "/docs.css"; }));
  await attempt("picture", () => wait(document.createElement("img"), (e) => { e.src = url + "/page/mark.svg"; }));
  const frame = document.createElement("iframe");
  frame.name = "inside"; frame.src = url + "/docs"; document.body.append(frame);
  const form = document.createElement("form");
  form.method = "POST"; form.action = url + "/v1/probe"; form.target = "inside";
  await new Promise((resolve) => setTimeout(resolve, 500));
  document.body.append(form); form.submit();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return told;
}
"""


class _Foreign(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><body>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def _foreign_site() -> Iterator[int]:
    site = ThreadingHTTPServer(("127.0.0.1", 0), _Foreign)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    try:
        yield site.server_address[1]
    finally:
        site.shutdown()
        site.server_close()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_ARGUMENTS)
        yield browser.new_page()
        browser.close()


@pytest.mark.parametrize(
    "site", ["http://evil.example:{port}/", "http://127.0.0.1:{port}/", "http://localhost:{port}/"]
)
def test_a_foreign_page_gets_nothing_in_and_nothing_out(page: Page, tmp_path: Path, site: str) -> None:
    settings = small_settings(tmp_path)
    app = make_app(settings)
    done: list[str] = []

    @app.middleware("http")
    async def note(request: Any, call_next: Any) -> Any:
        # Inside the door: what gets here has come through it.
        done.append(f"{request.method} {request.url.path}")
        return await call_next(request)

    # Middleware that is added later stands further out; the door has to be the outermost.
    app.user_middleware.append(app.user_middleware.pop(0))
    with serving(app, settings) as served, _foreign_site() as port:
        page.goto(site.format(port=port))
        told = page.evaluate(_TRY, served.url)
        assert set(told.values()) <= {"refused"}, told
        assert all(entry.startswith("GET ") for entry in done), done
        assert served.is_well()


def test_a_name_that_is_turned_to_this_machine_reads_nothing(page: Page, served: Served) -> None:
    for path in ("/health", "/metrics", "/docs", "/"):
        answer = page.goto(f"http://evil.example:{served.port}{path}")
        assert answer is not None and answer.status == 403
    # Even the refusal runs nothing and may load nothing.
    told = page.evaluate("fetch('/v1/probe', { method: 'POST' }).then(() => 'sent', () => 'refused')")
    assert told == "refused"


def test_the_docs_show_under_their_policy(page: Page, served: Served) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    answer = page.goto(f"{served.url}/docs")
    assert answer is not None and answer.status == 200
    assert page.evaluate("getComputedStyle(document.querySelector('summary')).cursor") == "pointer"
    page.locator("summary", has_text="/metrics").click()
    assert page.get_by_text(f"curl {served.url}/metrics").is_visible()
    page.goto(f"{served.url}/openapi.json")
    assert complaints == []
