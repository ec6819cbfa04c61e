"""The report in a real browser: headless Chromium, driven over the DevTools protocol's pipe.

Chromium reads commands from its file descriptor 3 and writes answers to 4, JSON ended by a zero byte: neither a driver
program nor a package is needed. Each test opens the page from the disk, with the network switched off.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geneface.evaluation.report.film import Film, write_film
from geneface.evaluation.report.page import ReportMedia
from geneface.evaluation.report.plots import LipCurve, Plot, Series
from geneface.evaluation.report.sheet import SheetEntry, contact_sheet, mean_error_map
from geneface.evaluation.report.write import REPORT_FILE, SHEET_FILE, write_report
from geneface.io.image import write_png

from .pages import make_report, moving_pictures, tone

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required",
    "--remote-debugging-pipe",
)
# Puts the two ends given as arguments onto descriptors 3 and 4, then becomes the browser.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
WAIT_SECONDS = 60
FILMS = 2


class Browser:
    """One Chromium with one page."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = _high_pipe()
        self._in, theirs_out = _high_pipe()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out)),
                *(CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._count, self._buffer, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        target = pages[0]["targetId"] if pages else self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come before it are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer)
                return answer["result"]
            self.events.append(answer)

    def open(self, url: str) -> None:
        """Load a page to its end."""
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, script: str) -> Any:
        """Value of an expression in the page; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def close(self) -> None:
        """End the browser and wait for it."""
        self._session = ""
        self.call("Browser.close")
        self._process.wait(WAIT_SECONDS)
        os.close(self._in)
        os.close(self._out)

    def kill(self) -> None:
        """For a browser that no longer answers."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._in, 1 << 16) if ready else b""
            if not chunk:
                raise RuntimeError(f"Chromium is silent (status {self._process.poll()})")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


def _high_pipe() -> tuple[int, int]:
    """A pipe whose descriptors are beyond 3 and 4, which the launcher overwrites."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it."""
    out = tmp_path_factory.mktemp("report")
    truth, other = moving_pictures(25), moving_pictures(25, shift=2)
    films = []
    for i in range(FILMS):
        path = out / f"film{i}.mp4"
        write_film(path, zip(truth, other, strict=True), ("TRUTH", "OTHER"), tone(1.0))
        films.append(Film(f"Clip {i}", path, "a caption"))
    write_png(out / SHEET_FILE, contact_sheet([SheetEntry(truth[0], other[0], np.array([20, 40, 44, 52]), "0")]))
    opening = np.abs(np.sin(np.arange(50) / 4)) * 0.05
    curve = LipCurve("clip", opening, opening / 2, tone(2.0).samples, ((0.2, 0.6, "bin"), (0.6, 1.0, "blue")))
    plot = Plot("Delay", "frames", "correlation", (Series("a", np.arange(9.0), np.arange(9.0) ** 2),))
    error = mean_error_map(np.abs(truth[0].astype(float) - other[0]).mean(-1))
    write_report(make_report(), out, ReportMedia((curve,), (plot,), films, (("a row", error),), out / SHEET_FILE))
    for film in films:
        film.path.unlink()
    (out / SHEET_FILE).unlink()
    return out / REPORT_FILE


@pytest.fixture(scope="module")
def browser(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser without a network that has opened the report."""
    browser = Browser(tmp_path_factory.mktemp("profile"))
    try:
        browser.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        browser.open(report.as_uri())
        yield browser
        browser.close()
    finally:
        browser.kill()


def test_videos_play(browser: Browser) -> None:
    """Decoded, with a picture and sound, and time goes on after play()."""
    states = browser.evaluate(
        """Promise.all([...document.querySelectorAll('video')].map(async video => {
          const until = (done, milliseconds) => new Promise(resolve => {
            const start = performance.now();
            const look = () => done() || performance.now() - start > milliseconds ? resolve() : setTimeout(look, 20);
            look();
          });
          video.preload = 'auto'; video.muted = true;
          await until(() => video.readyState >= 2 || video.error, 20000);
          const ready = video.readyState, before = video.currentTime;
          await video.play();
          await until(() => video.currentTime > before + .2 || video.error, 20000);
          video.pause();
          return {ready, gone: video.currentTime - before, error: video.error && video.error.message,
            width: video.videoWidth, height: video.videoHeight, box: video.getBoundingClientRect().width,
            seconds: video.duration, sound: video.webkitAudioDecodedByteCount};
        }))"""
    )
    assert len(states) == FILMS
    for state in states:
        assert state["error"] is None and state["ready"] >= 2, state
        assert state["gone"] > 0.2 and state["box"] > 0 and state["sound"] > 0, state
        assert (state["width"], state["height"]) == (128, 78), state
        assert state["seconds"] == pytest.approx(1, abs=0.1), state


def test_nothing_is_asked_for_but_the_page(browser: Browser, report: Path) -> None:
    asked = [e["params"]["request"]["url"] for e in browser.events if e.get("method") == "Network.requestWillBeSent"]
    outside = [url for url in asked if not url.startswith("data:")]
    assert outside == [report.as_uri()]
    assert any(url.startswith("data:image/png") for url in asked), "the record holds what the page loads"
    assert [e for e in browser.events if e.get("method") == "Network.loadingFailed"] == []
    assert browser.evaluate("performance.getEntriesByType('resource').filter(e => !/^data:/.test(e.name)).length") == 0


def test_the_console_is_empty(browser: Browser) -> None:
    browser.evaluate("0")
    kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event.get("method") in kinds] == []


def test_pictures_are_decoded(browser: Browser) -> None:
    widths = browser.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 2 and min(widths) > 0


def test_plots_are_drawn(browser: Browser) -> None:
    boxes = browser.evaluate(
        """[...document.querySelectorAll('svg')].map(svg => [...svg.querySelectorAll('path, polygon, text')]
          .map(part => part.getBoundingClientRect()).reduce((sum, box) => sum + (box.width > 0), 0) > 0
          && svg.getBoundingClientRect().height)"""
    )
    assert len(boxes) == 2 and all(height > 100 for height in boxes)
    strokes = browser.evaluate("[...document.querySelectorAll('svg path')].map(path => getComputedStyle(path).stroke)")
    assert strokes and "none" not in strokes, "every line has a colour"


def test_links_lead_somewhere(browser: Browser) -> None:
    links = browser.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    lost = browser.evaluate(
        "[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
        ".filter(to => !to.startsWith('#') || !document.getElementById(to.slice(1)))"
    )
    assert len(links) > 10 and lost == []
    twice = "[...document.querySelectorAll('[id]')].map(e => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
    assert browser.evaluate(twice) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(browser: Browser, scheme: str) -> None:
    """Contrast of text to paper is 4.5 and more (WCAG 2.1, 1.4.3) under both colour schemes."""
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    colours = browser.evaluate(
        """(() => {
          const paper = e => { const c = getComputedStyle(e).backgroundColor;
            return c !== 'rgba(0, 0, 0, 0)' || !e.parentElement ? c : paper(e.parentElement); };
          return [...document.querySelectorAll('h1, p, th, td, li, small, a, dt, dd, text, figcaption, summary')]
            .map(e => [getComputedStyle(e)[e.tagName === 'text' ? 'fill' : 'color'], paper(e)]);
        })()"""
    )
    assert len(colours) > 100
    pairs = {(ink, paper) for ink, paper in colours}
    assert min(_contrast(ink, paper) for ink, paper in pairs) >= 4.5, pairs
    assert (_luminance(browser.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.5) == (
        scheme == "light"
    )


def _luminance(colour: str) -> float:
    """Relative luminance of 'rgb(r, g, b)' (WCAG 2.1)."""
    channels = np.array([float(v) for v in colour[colour.index("(") + 1 : -1].split(",")[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _contrast(a: str, b: str) -> float:
    dark, light = sorted((_luminance(a), _luminance(b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_screen(browser: Browser, width: int) -> None:
    """Wide tables and plots scroll inside their own boxes, which the keyboard reaches."""
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    page = "document.documentElement"
    assert browser.evaluate(f"[{page}.clientWidth, {page}.scrollWidth, document.body.scrollWidth]")[1:] <= [
        width,
        width,
    ]
    scrolled = browser.evaluate(
        "[...document.querySelectorAll('.scroll')].map(e => [e.scrollWidth, e.clientWidth, e.tabIndex])"
    )
    assert all(index == 0 for _, _, index in scrolled)
    assert width > 400 or sum(inner > outer for inner, outer, _ in scrolled) >= 2


@pytest.mark.slow
def test_the_driver_sees_faults(browser: Browser, report: Path, tmp_path: Path) -> None:
    """What the checks above look for is there when a page is bad: a lost file, a message, a wide element."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<img src='lost.png'><div style='width:3000px'>.</div><script>console.error('no')</script>", encoding="utf-8"
    )
    browser.events.clear()
    browser.open(bad.as_uri())
    methods = {event.get("method") for event in browser.events}
    assert {"Network.loadingFailed", "Log.entryAdded", "Runtime.consoleAPICalled"} <= methods
    assert browser.evaluate("document.documentElement.scrollWidth") >= 3000
    assert browser.evaluate("document.images[0].naturalWidth") == 0
    browser.events.clear()
    browser.open(report.as_uri())
