"""The tabs Make a video, Report and Avatars."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest
from playwright.sync_api import expect

from geneface.io.assets import asset_path
from geneface.serve.avatars import BUNDLED

from .conftest import OpenPage, until
from .stand_in import StandIn, bundled, unfinished


def render_request(api: StandIn) -> dict[str, Any]:
    return next(body for method, path, body in reversed(api.requests) if (method, path) == ("POST", "videos"))


def test_a_video_from_text(open_page: OpenPage) -> None:
    page, api = open_page("#video")
    make = page.get_by_role("button", name="Make the video")
    expect(make).to_be_disabled()
    page.get_by_label("Text").last.fill("Good evening.")
    page.get_by_label("Background", exact=True).select_option("white")
    page.get_by_label("Size").select_option("512")
    make.click()
    video = page.locator(".result video")
    expect(video).to_be_visible()
    expect(page.locator(".result figcaption")).to_have_text("Synthetic")
    until(page, "document.querySelector('.result video').readyState >= 2")
    # All of it is seen, also where it is no square.
    box = page.locator(".result .face-frame").bounding_box()
    assert box and box["width"] / box["height"] == pytest.approx(1.5, abs=0.02)
    assert render_request(api) == {"model": "grid-s1", "prompt": "Good evening.", "voice": "heart", "format": "mp4",
                                   "size": "512", "background": "#ffffff"}  # fmt: skip
    link = page.locator(".result").get_by_role("link", name="Download")
    assert (link.get_attribute("href") or "").endswith("v1/videos/video_1/content?download=1")
    item = page.get_by_role("list").filter(has_text="Good evening.").get_by_role("listitem")
    expect(item).to_contain_text("grid-s1 · 0:02 · 256x256")
    item.get_by_role("button", name="Delete: Good evening.").click()
    question = page.get_by_role("dialog", name="Delete this video?")
    expect(question.get_by_role("button", name="Cancel")).to_be_focused()
    question.get_by_role("button", name="Delete").click()
    expect(item).to_have_count(0)
    assert api.videos == []


def test_a_video_from_a_file_and_a_picture(open_page: OpenPage) -> None:
    page, api = open_page("#video")
    page.get_by_role("radio", name="Sound file").check()
    page.locator("input[type=file]").first.set_input_files(
        {"name": "speech.wav", "mimeType": "audio/wav", "buffer": b"RIFF" + bytes(60)}
    )
    expect(page.get_by_text("speech.wav")).to_be_visible()
    expect(page.get_by_label("Voice")).to_be_hidden()
    page.get_by_label("Background", exact=True).select_option("picture")
    page.locator("input[type=file]").last.set_input_files(
        {"name": "beach.png", "mimeType": "image/png", "buffer": b"PNG"}
    )
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator(".result video")).to_be_visible()
    # Its name stays in this browser.
    expect(page.locator(".item")).to_contain_text("speech.wav")
    assert "speech.wav" not in str(api.requests)
    assert "prompt" not in render_request(api) and "voice" not in render_request(api)
    assert "beach.png" not in str(api.requests)
    open_page.said[:] = []  # type: ignore[attr-defined]  # The sound is none, which the player says.


def test_a_video_from_a_recording(open_page: OpenPage) -> None:
    page, _ = open_page("#video", permissions=["microphone"])
    page.get_by_role("radio", name="Record").check()
    page.get_by_role("button", name="Record", exact=True).click()
    finish = page.get_by_role("button", name="Finish")
    expect(finish).to_be_focused()
    expect(page.get_by_label("Level")).to_be_visible()
    page.wait_for_timeout(300)
    finish.click()
    expect(page.get_by_label("Your recording")).to_be_visible()
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator(".result video")).to_be_visible()


def test_a_failed_video_says_why(open_page: OpenPage) -> None:
    api = StandIn()
    error = {"code": "bad_input", "message": "the text has no words", "remedy": "give some"}
    api._progressed = lambda _: {"id": "video_1", "status": "failed", "error": error}  # type: ignore[method-assign]
    api = _rebuilt(api)
    page, _ = open_page("#video", api=api)
    page.get_by_label("Text").last.fill("...")
    page.get_by_role("button", name="Make the video").click()
    expect(page.get_by_role("alert")).to_contain_text("The text has no words")
    expect(page.get_by_role("alert")).to_contain_text("Give some")
    expect(page.get_by_role("button", name="Make the video")).to_be_enabled()


def _rebuilt(api: StandIn) -> StandIn:
    api._routes = [(method, pattern, api._progressed if pattern == r"videos/([\w-]+)" and method == "GET" else act)
                   for method, pattern, act in api._routes]  # fmt: skip
    return api


def test_a_report_in_words_and_as_it_was_written(open_page: OpenPage) -> None:
    page, api = open_page("#report")
    expect(page.get_by_role("heading", name="Not measured yet")).to_be_visible()
    page.get_by_role("button", name="Measure it").click()
    figure = page.locator(".verdict").filter(has_text="Lips that close")
    expect(figure).to_contain_text("100 %")
    expect(page.locator(".verdict").filter(has_text="Likeness of the head")).to_contain_text("34.6 dB")
    frame = page.locator("iframe")
    assert frame.get_attribute("sandbox") == ""
    frame.scroll_into_view_if_needed()
    expect(page.frame_locator("iframe").get_by_role("heading", name="Report")).to_be_visible()
    # What was measured is there at the next visit.
    page.reload()
    expect(figure).to_be_visible()
    assert sum(entry[:2] == ("POST", "avatars/grid-s1/report") for entry in api.requests) == 1


def test_what_an_avatar_carries_stands_where_a_report_has_nothing(open_page: OpenPage) -> None:
    api = StandIn()
    carried = json.loads((asset_path("avatars", BUNDLED) / "metrics.json").read_text(encoding="utf-8"))
    speed = {"speed": {"rows": [{"name": "x", "role": "evaluated", "figures": {"render_rate": {"value": 35.2}}}]}}
    api.avatars[BUNDLED] |= {"metrics": carried, "has_report": True}
    api.report = {"status": "completed", "metrics": {"tables": speed}}
    page, _ = open_page("#report", api=api)
    expect(page.locator(".verdict").filter(has_text="Speed")).to_contain_text("35 fps")
    expect(page.locator(".verdict").filter(has_text="Lips that close")).to_contain_text("100 %")


def test_figures_that_say_nothing_are_left_out(open_page: OpenPage) -> None:
    def row(name: str, **values: float) -> dict[str, Any]:
        return {"name": name, "role": "evaluated", "figures": {key: {"value": value} for key, value in values.items()}}

    lips = {"closure_rate": 0.0, "closure_count": 9, "opening_correlation": 0.9, "silence_motion_ratio": 0.5}
    head = [row("a, from speech", head_psnr=25.0, head_sharpness_ratio=1.27), row("a, from tracked landmarks", head_psnr=26),
            row("a, pasted, from speech", head_psnr=38.5, head_sharpness_ratio=0.99)]  # fmt: skip
    tables = {
        "lips": {"rows": [row("a, from speech", **lips)], "verdicts": {"opening_correlation": {"informative": False}}},
        # A second table does not bring back what the first one doubts.
        "motion": {"rows": [row("a", **lips | {"closure_count": 20})]},
        "image_head": {"rows": head, "verdicts": {"head_psnr": {"informative": True}}},
    }
    api = StandIn()
    api.avatars[BUNDLED] |= {"has_body": True, "has_report": True}
    api.report = {"status": "completed", "metrics": {"tables": tables}}
    page, _ = open_page("#report", api=api)
    # The pasted picture is what people see.
    expect(page.locator(".verdict").filter(has_text="Likeness of the head")).to_contain_text("38.5 dB")
    expect(page.locator(".verdict").filter(has_text="Sharpness")).to_contain_text("99 %")
    expect(page.locator(".verdict h2")).to_have_text(["Still in silence", "Likeness of the head", "Sharpness"])


def test_a_report_that_runs_is_followed_wherever_it_was_begun(open_page: OpenPage) -> None:
    api = StandIn()
    api.avatars[BUNDLED]["report_status"] = "in_progress"
    api.report = {"status": "in_progress", "progress": 30, "eta_seconds": 60.0}
    page, _ = open_page("#report", api=api)
    expect(page.get_by_role("heading", name="Measuring")).to_be_visible()
    api._measure(BUNDLED)
    expect(page.locator(".verdict").filter(has_text="Lips that close")).to_be_visible()


def test_avatars_are_listed_exported_and_deleted(open_page: OpenPage) -> None:
    api = StandIn()
    api.avatars["av_9"] = {**bundled(), "id": "av_9", "name": "Ada <b>Lee</b>", "is_own": True, "licence": "CC0 1.0"}
    page, _ = open_page("#avatars", api=api)
    cards = page.locator(".avatar")
    expect(cards).to_have_count(2)
    own = cards.filter(has_text="Ada <b>Lee</b>")
    expect(own).to_contain_text("CC0 1.0")
    expect(cards.first.get_by_role("button", name="Delete")).to_have_count(0)
    cards.first.get_by_text("Consent").click()
    expect(cards.first).to_contain_text("No statement of the speaker himself")
    export = own.get_by_role("link", name="Export: Ada <b>Lee</b>")
    assert (export.get_attribute("href") or "").endswith("/v1/avatars/av_9/export")
    own.get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog", name="Delete Ada <b>Lee</b>?")
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    assert "av_9" in api.avatars
    own.get_by_role("button", name="Delete").click()
    question.get_by_role("button", name="Delete").click()
    expect(cards).to_have_count(1)
    assert "av_9" not in api.avatars


def test_a_failed_avatar_says_why_and_is_tried_again(open_page: OpenPage) -> None:
    api = StandIn()
    error = {"code": "bad_input", "message": "the disk is full", "remedy": "make room on it"}
    failed = {"status": "failed", "error": error}
    api.avatars["av_1"] = unfinished(id="av_1", preview="there", **failed)
    api.avatars["av_3"] = unfinished(id="av_3", name="Bo", consent=None, licence=None, attribution=None, **failed)
    page, _ = open_page("#avatars", api=api)
    made, imported = page.locator(".avatar").filter(has_text="Ada"), page.locator(".avatar").filter(has_text="Bo")
    for card in (made, imported):
        for words in ("Failed", "The disk is full", "Make room on it"):
            expect(card).to_contain_text(words)
        # Neither the person's own video nor an empty place is synthetic, and no fact is a bare 0.
        expect(card.locator(".synthetic")).to_have_count(0)
        expect(card.get_by_role("button", name="Delete")).to_be_visible()
    expect(page.locator(".avatar").first.locator(".synthetic")).to_have_text("Synthetic")
    expect(imported.locator(".facts")).to_have_text("Picture256 px")
    expect(imported.get_by_role("button", name="Retry")).to_have_count(0)
    api.is_patient = True
    made.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", name="Your avatar is being made")).to_be_visible()
    assert page.url.endswith("#create?avatar=av_1")


def test_an_avatar_in_the_making_is_followed_from_any_browser(open_page: OpenPage) -> None:
    api = StandIn()
    api.is_patient = True
    api.avatars["av_1"] = unfinished(id="av_1", name="First", turn=0)
    api.avatars["av_2"] = unfinished(id="av_2", name="Second", queue_position=1)
    page, _ = open_page("#avatars", api=api)
    page.locator(".avatar").filter(has_text="Second").get_by_role("link", name="Watch it being made").click()
    expect(page.get_by_text("Waiting: one job is before it")).to_be_visible()
    expect(page.get_by_text("Second", exact=True)).to_be_visible()
    expect(page.locator(".step")).to_have_count(3)
    assert ("GET", "avatars/av_2", None) in api.requests and ("GET", "avatars/av_1", None) not in api.requests
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Choose a video")).to_be_visible()
    assert "av_2" not in api.avatars
    # Create shows what is in the making, and takes another video all the same.
    page.reload()
    expect(page.locator(".step.is-now")).to_have_count(1)
    assert ("GET", "avatars/av_1", None) in api.requests
    page.get_by_role("button", name="Make another one").click()
    expect(page.get_by_role("button", name="Choose a video")).to_be_visible()
    page.evaluate("location.hash = '#create?avatar=gone'")
    expect(page.get_by_role("alert")).to_contain_text("no avatar in the making at this address")
    open_page.said[:] = [text for text in open_page.said if "404" not in text]  # type: ignore[attr-defined]


def test_lists_follow_what_is_in_the_making(open_page: OpenPage) -> None:
    api = StandIn()
    api.avatars["av_1"] = unfinished(id="av_1")
    page, _ = open_page("#avatars", api=api)
    card = page.locator(".avatar").filter(has_text="Ada")
    expect(card).to_contain_text("Waiting")
    first = page.locator(".avatar").first
    first.get_by_text("Consent").click()
    api.avatars["av_1"] |= {**bundled(), "id": "av_1", "name": "Ada", "is_own": True}
    expect(card.get_by_role("link", name="Live")).to_be_visible()
    expect(first.locator("details[open]")).to_have_count(1)
    # Now nothing is left to wait for.
    asked = len(api.requests)
    page.wait_for_timeout(2500)
    assert len(api.requests) == asked
    video = {"id": "video_9", "model": BUNDLED, "status": "queued", "queue_position": 2, "prompt": "From elsewhere",
             "created_at": 1_795_000_000, "error": None}  # fmt: skip
    api.videos = [video]
    page.get_by_role("link", name="Make a video").click()
    expect(page.locator(".item")).to_contain_text("Waiting: 2 jobs are before it")
    video |= {"status": "completed", "queue_position": None, "size": "256x256"}
    expect(page.locator(".item").get_by_role("button", name="Play: From elsewhere")).to_be_visible()


def test_an_avatar_is_imported(open_page: OpenPage) -> None:
    page, api = open_page("#avatars")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("config.json", "{}")
    page.locator("input[type=file]").set_input_files(
        {"name": "ada.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    )
    expect(page.locator(".avatar").filter(has_text="Ada")).to_be_visible()
    assert api.uploads["up_1"]["received"] == packed.getvalue()


def test_a_server_that_is_gone_is_told(open_page: OpenPage) -> None:
    api = StandIn()
    api.dropped = ["GET avatars"] * 2
    page, _ = open_page("#avatars", api=api)
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    expect(page.get_by_role("alert")).to_contain_text("See whether geneface serve still runs")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".avatar")).to_have_count(1)
    open_page.said[:] = [text for text in open_page.said if "ERR_CONNECTION_RESET" not in text]  # type: ignore[attr-defined]
