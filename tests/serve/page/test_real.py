"""The page before the whole server: nothing is stood in for."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .conftest import OpenPage, until

LOOK = """() => { const canvas = document.querySelector(".stage canvas");
    const small = document.createElement("canvas"); small.width = small.height = 32;
    const paint = small.getContext("2d"); paint.drawImage(canvas, 0, 0, 32, 32);
    return Array.from(paint.getImageData(0, 0, 32, 32).data); }"""
"""The live picture, small."""


def test_a_living_face_speaks_and_is_interrupted(open_page: OpenPage) -> None:
    page, _ = open_page(is_real=True)
    state = page.locator(".state")
    expect(state).to_contain_text("Live", timeout=30_000)
    expect(state).to_contain_text("fps", timeout=10_000)
    seen = set()
    for _ in range(8):
        seen.add(tuple(page.evaluate(LOOK)))
        page.wait_for_timeout(120)
    assert len(seen) > 2, "it does not live"
    means = [sum(picture) / len(picture) for picture in seen]
    assert all(60 < mean < 230 for mean in means)
    page.keyboard.type("Good evening, everybody. This sentence is so long that there is time to interrupt it.")
    page.keyboard.press("Enter")
    expect(state).to_contain_text("Speaking", timeout=10_000)
    page.get_by_role("button", name="Stop speaking").click()
    expect(state).to_contain_text("Live")
    page.keyboard.type("你好")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("speaks en")
    page.get_by_role("link", name="Avatars").click()
    expect(page.locator(".avatar")).to_contain_text("CC BY 4.0")
    page.get_by_role("link", name="Report: grid-s1").click()
    expect(page.locator(".verdict").filter(has_text="Likeness of the head")).to_contain_text("34.6 dB")


@pytest.mark.slow
def test_a_video_is_made_played_and_deleted(open_page: OpenPage) -> None:
    page, _ = open_page("#video", is_real=True)
    page.get_by_label("Text").last.fill("Good evening.")
    page.get_by_label("Background", exact=True).select_option("white")
    page.get_by_role("button", name="Make the video").click()
    expect(page.locator(".result video")).to_be_visible(timeout=60_000)
    until(page, "document.querySelector('.result video').readyState >= 2")
    assert 0.5 < page.evaluate("document.querySelector('.result video').duration") < 4
    assert page.evaluate("document.querySelector('.result video').videoWidth") == 256
    with page.expect_download() as download:
        page.locator(".result").get_by_role("link", name="Download").click()
    assert download.value.path().stat().st_size > 10_000
    page.get_by_role("button", name="Delete: Good evening.").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".item")).to_have_count(0)
