"""The page in a real Chromium, before the real application; the API is answered by a stand-in (`stand_in`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from geneface.serve.app import create_app
from geneface.serve.settings import ServeSettings

from ..serving import serving
from .stand_in import StandIn

CHROMIUM = "/usr/bin/chromium"
QUIET = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
         "disable-component-update", "disable-sync", "autoplay-policy=no-user-gesture-required",
         "use-fake-device-for-media-stream", "use-fake-ui-for-media-stream")  # fmt: skip


def until(page: Page, condition: str, seconds: float = 8.0) -> None:
    """Wait for an expression to be true; the page's policy forbids Playwright's own way, which evaluates text there."""
    last = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < last, condition
        page.wait_for_timeout(50)


OpenPage = Callable[..., tuple[Page, StandIn]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = ServeSettings(home=tmp_path_factory.mktemp("home"), most_requests_a_minute=100_000)
    with serving(create_app(settings), settings) as served:
        yield f"{served.url}/"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("there is no Chromium here")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{option}" for option in QUIET])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def film() -> bytes:
    """A second of grey H.264, wider than high."""
    out = BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"  # pyright: ignore[reportAttributeAccessIssue]
        for _ in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 128, np.uint8), "rgb24")
            container.mux(stream.encode(frame))  # pyright: ignore[reportAttributeAccessIssue]
        container.mux(stream.encode(None))  # pyright: ignore[reportAttributeAccessIssue]
    return out.getvalue()


@pytest.fixture
def open_page(address: str, browser: Browser, film: bytes) -> Iterator[OpenPage]:
    """`open_page("#live", locale=...)` -> (page, api). At the end: nothing on the console, nothing asked of others."""
    contexts, said, asked = [], [], []

    def start(
        place: str = "#live", *, api: StandIn | None = None, is_real: bool = False, url: str = address, **options: Any
    ) -> tuple[Page, StandIn]:
        api = api or StandIn(video=film)
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(8000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        if not is_real:
            api.answer(page)
        page.goto(url + place)
        return page, api

    start.said = said  # type: ignore[attr-defined]
    yield start
    for context in contexts:
        context.close()
    assert said == []
    assert {urlsplit(url).hostname for url in asked if not url.startswith(("data:", "blob:"))} <= {"127.0.0.1"}
