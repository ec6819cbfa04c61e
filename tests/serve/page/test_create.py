"""The tab Create: from a video to the first sentence, with broken connections and reloads on the way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from .conftest import OpenPage
from .stand_in import FINDINGS, StandIn

PIECE = 1024**2
"""The first."""


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some pieces; nobody looks into it here."""
    path = tmp_path_factory.mktemp("video") / "Ada at home.mp4"
    path.write_bytes(bytes(range(256)) * (8 * PIECE // 256) + b"the end")
    return path


def choose(page: Page, video: Path) -> None:
    page.locator("input[type=file]").set_input_files(video)


def test_from_a_video_to_the_first_sentence(open_page: OpenPage, video: Path) -> None:
    page, api = open_page("#create")
    expect(page.get_by_role("heading", level=1)).to_have_text("A face of your own")
    expect(page.get_by_text("up to 2 GB")).to_be_visible()
    choose(page, video)
    expect(page.get_by_role("heading", name="1:09 of 1:15 can be used")).to_be_focused()
    assert api.uploads["up_1"]["received"] == video.read_bytes()
    # What is used is drawn: all but the seconds of findings that say they are not.
    bar = page.get_by_role("img", name="1:09 of 1:15 are used")
    drawn = bar.locator(".used").evaluate_all(
        "all => all.map((one) => [+one.getAttribute('x'), +one.getAttribute('width')])"
    )
    spans = [(start * 75 / 1000, (start + width) * 75 / 1000) for start, width in drawn]
    assert spans == [pytest.approx((4.2, 31.5)), pytest.approx((33.0, 75.0))]
    findings = page.locator(".finding")
    assert findings.count() == len(FINDINGS)
    expect(findings.nth(1)).to_contain_text("Could be better: A hand is before the mouth")
    expect(findings.nth(1)).to_contain_text("Keep hands down")
    findings.nth(1).hover()
    expect(bar.locator(".chosen")).to_have_attribute("visibility", "visible")
    assert float(bar.locator(".chosen").get_attribute("x") or 0) == pytest.approx(420)

    page.get_by_role("button", name="Go on with this video").click()
    agree = page.get_by_role("button", name="Agree and begin")
    # Nothing is begun without a typed statement and a name.
    agree.click()
    assert not [path for method, path, _ in api.requests if (method, path) == ("POST", "avatars")]
    page.get_by_label("Statement of consent").fill("I am the person in this video and agree.")
    page.get_by_label("Name of the person").fill("Ada Lee")
    page.get_by_label("Licence of the avatar").select_option("CC BY 4.0")
    expect(page.get_by_label("Name of the avatar")).to_have_value("Ada at home")
    page.get_by_label("Picture").select_option("512")
    api.is_patient = True
    agree.click()
    asked = next(body for method, path, body in api.requests if (method, path) == ("POST", "avatars"))
    assert asked == {"upload": "up_1", "name": "Ada at home", "licence": "CC BY 4.0", "preset": "fast", "size": 512,
                     "consent": "I am the person in this video and agree. — Ada Lee"}  # fmt: skip
    steps = page.locator(".step")
    expect(steps.nth(0)).to_have_class(re.compile("is-done"))
    expect(steps.nth(1)).to_have_attribute("aria-current", "step")
    expect(steps.nth(1)).to_contain_text("about 80 s left")
    expect(page.get_by_role("img", name="A first look")).to_be_visible()

    # The work goes on without the page, and the page comes back to it.
    page.reload()
    expect(page.get_by_role("heading", name="Your avatar is being made")).to_be_visible()
    api.is_patient = False
    expect(page.get_by_role("heading", name="Ada at home is ready")).to_be_visible(timeout=8000)
    page.get_by_label("A first sentence").fill("Hello, it is me.")
    page.get_by_role("button", name="Say it").click()
    expect(page.get_by_label("The video is ready").first).to_be_visible()
    assert [job["prompt"] for job in api.videos] == ["Hello, it is me."]
    page.get_by_role("link", name="Meet it live").click()
    expect(page.get_by_label("Avatar", exact=True)).to_have_value("av_1")


def test_a_broken_connection_is_waited_out(open_page: OpenPage, video: Path) -> None:
    api = StandIn()
    api.dropped = ["PATCH uploads/up_1"]
    page, _ = open_page("#create", api=api)
    choose(page, video)
    expect(page.get_by_text("It goes on by itself")).to_be_visible()
    expect(page.get_by_role("heading", name="can be used")).to_be_visible()
    assert api.uploads["up_1"]["received"] == video.read_bytes()
    open_page.said[:] = [text for text in open_page.said if "ERR_CONNECTION_RESET" not in text]  # type: ignore[attr-defined]


def test_after_a_reload_an_upload_goes_on_where_it_was(open_page: OpenPage, video: Path) -> None:
    api = StandIn()
    page, _ = open_page("#create", api=api)
    # The first piece comes; with the second, the tab is gone.
    page.evaluate("""() => { const real = window.fetch; let pieces = 0;
        window.fetch = (url, options) => options?.method === "PATCH" && ++pieces > 1 ? new Promise(() => {}) : real(url, options); }""")
    choose(page, video)
    expect(page.get_by_text("1.0 MB / 8.4 MB")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Ada at home.mp4 is uploaded to 12%.")).to_be_visible()
    assert len(api.uploads["up_1"]["received"]) == PIECE
    choose(page, video)
    expect(page.get_by_role("heading", name="can be used")).to_be_visible()
    assert list(api.uploads) == ["up_1"] and api.uploads["up_1"]["received"] == video.read_bytes()


def test_an_unfinished_upload_can_be_forgotten(open_page: OpenPage, video: Path) -> None:
    page, api = open_page("#create")
    page.evaluate("""() => { const real = window.fetch;
        window.fetch = (url, options) => options?.method === "PATCH"
            ? new Promise((_, no) => options.signal.addEventListener("abort", () => no(new DOMException("", "AbortError")))) : real(url, options); }""")
    choose(page, video)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Forget it").click()
    expect(page.get_by_text("is uploaded to")).to_have_count(0)
    assert api.uploads == {}


def test_what_the_server_refuses_is_told(open_page: OpenPage, video: Path) -> None:
    api = StandIn()
    words = {"code": "disk_full", "message": "the server has no room left", "remedy": "delete old videos"}
    api.failures.append(("PATCH", "uploads/", 507, words))
    page, _ = open_page("#create", api=api)
    choose(page, video)
    expect(page.get_by_role("alert")).to_contain_text("The server has no room left")
    expect(page.get_by_role("alert")).to_contain_text("Delete old videos")
    open_page.said[:] = [text for text in open_page.said if "507" not in text]  # type: ignore[attr-defined]


def test_a_video_that_is_too_large_is_not_sent(open_page: OpenPage, video: Path) -> None:
    api = StandIn()
    api.server["limits"]["upload_bytes"] = 4 * PIECE
    page, _ = open_page("#create", api=api)
    choose(page, video)
    expect(page.get_by_role("alert")).to_contain_text("The video has 8.4 MB; this server takes 4 MB.")
    assert api.uploads == {}


def test_an_unusable_video_goes_no_further(open_page: OpenPage, video: Path) -> None:
    api = StandIn()
    cause = "only 1.2 s are usable, at least 3 s are needed"
    api.findings = [{"severity": "error", "start": None, "end": None, "cause": cause, "remedy": "give more video"}]
    page, _ = open_page("#create", api=api)
    choose(page, video)
    expect(page.get_by_role("heading", name="This video can't be used as it is")).to_be_visible()
    expect(page.locator(".finding")).to_contain_text("Only 1.2 s are usable")
    expect(page.get_by_role("button", name="Go on")).to_have_count(0)
    page.get_by_role("button", name="Take another video").click()
    expect(page.get_by_role("button", name="Choose a video")).to_be_visible()
    assert api.uploads == {}


def test_a_file_can_be_dropped(open_page: OpenPage) -> None:
    page, api = open_page("#create")
    expect(page.locator(".drop")).to_be_visible()
    moved = page.evaluate_handle(
        "() => { const moved = new DataTransfer(); moved.items.add(new File(['abc'], 'a.mp4', {type: 'video/mp4'})); return moved; }"
    )
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": moved})
    expect(page.get_by_role("heading", name="can be used")).to_be_visible()
    assert api.uploads["up_1"]["received"] == b"abc"


def test_making_can_be_stopped(open_page: OpenPage, video: Path) -> None:
    api = StandIn()
    api.is_patient = True
    page, _ = open_page("#create", api=api)
    page.evaluate("localStorage.setItem('geneface.create', JSON.stringify({avatar: 'av_1'}))")
    api._json = lambda: {"name": "Ada", "consent": "yes", "licence": "none"}  # type: ignore[method-assign]
    api._make()
    page.reload()
    page.get_by_role("button", name="Stop").click()
    question = page.get_by_role("dialog", name="Stop making this avatar?")
    question.get_by_role("button", name="Cancel").click()
    assert "av_1" in api.avatars
    page.get_by_role("button", name="Stop").click()
    api.failures.append(("DELETE", "avatars/av_1", 500, {"message": "the disk is gone", "remedy": "mount it again"}))
    question.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("alert")).to_contain_text("The disk is gone")
    assert "av_1" in api.avatars, "and nobody believes that it is deleted"
    page.get_by_role("button", name="Stop").click()
    question.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Choose a video")).to_be_visible()
    assert "av_1" not in api.avatars
    open_page.said[:] = [text for text in open_page.said if "500" not in text]  # type: ignore[attr-defined]


def test_a_failed_attempt_to_go_on_is_told(open_page: OpenPage) -> None:
    api = StandIn()
    api.is_patient = True
    page, _ = open_page("#create", api=api)
    page.evaluate("localStorage.setItem('geneface.create', JSON.stringify({avatar: 'av_1'}))")
    api._json = lambda: {"name": "Ada", "consent": "yes", "licence": "none"}  # type: ignore[method-assign]
    api._make()
    page.reload()
    # The first picture has been asked for: the failure is for the question after it.
    expect(page.locator("img.preview")).to_be_visible()
    api.failures += [
        ("GET", "avatars/av_1", 500, {"message": "it stands still", "remedy": "push it"}),
        ("POST", "avatars/av_1/retry", 429, {"message": "the queue is full", "remedy": "wait"}),
    ]
    expect(page.get_by_role("alert")).to_contain_text("It stands still")
    page.get_by_role("button", name="again").click()
    expect(page.get_by_role("alert")).to_contain_text("The queue is full")
    expect(page.get_by_role("button", name="again")).to_be_visible()
    open_page.said[:] = [text for text in open_page.said if "500" not in text and "429" not in text]  # type: ignore[attr-defined]


def test_a_file_that_is_no_video_is_not_tried_again(open_page: OpenPage, video: Path) -> None:
    api = StandIn()
    words = {"code": "bad_input", "message": "the file is no video", "remedy": "give an MP4"}
    api.failures.append(("POST", "avatars/check", 422, words))
    page, _ = open_page("#create", api=api)
    choose(page, video)
    expect(page.get_by_role("alert")).to_contain_text("The file is no video")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    page.get_by_role("button", name="Take another video").click()
    expect(page.get_by_role("button", name="Choose a video")).to_be_visible()
    open_page.said[:] = [text for text in open_page.said if "422" not in text]  # type: ignore[attr-defined]
