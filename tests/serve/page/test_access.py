"""For everybody: keyboard alone, screen readers (axe-core), both languages, both themes, a narrow phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from .conftest import OpenPage
from .stand_in import StandIn, bundled

LONG_NAME = "Maximiliane-Wilhelmina-von-und-zu-Hohenlohe-Schillingsfürst"
SMALL = """all => all.filter((one) => { const box = one.getBoundingClientRect();
    return box.width && Math.min(box.width, box.height) < 24 && !one.matches('.link'); }).map((one) => one.outerHTML)"""
"""Of buttons: those that a finger misses."""
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def making(page: Page, api: StandIn) -> Iterator[str]:
    """Create, up to the training, and what is to be seen on the way."""
    yield "choose"
    page.locator("input[type=file]").set_input_files({"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"abc"})
    expect(page.locator(".findings")).to_be_visible()
    yield "found"
    page.locator("button.main").click()
    expect(page.locator("textarea")).to_be_visible()
    yield "consent"
    api.is_patient = True
    page.locator("textarea").fill("I am the person in this video.")
    page.locator("input[autocomplete=name]").fill("Ada")
    page.locator("button.main").click()
    expect(page.locator(".is-done")).to_be_visible()
    yield "making"


def video(page: Page, api: StandIn) -> Iterator[str]:
    yield "form"
    page.locator("textarea").fill("Good evening.")
    page.locator("button.main").click()
    expect(page.locator(".item")).to_be_visible()
    yield "made"


def report(page: Page, api: StandIn) -> Iterator[str]:
    yield "none"
    page.locator("button.main").click()
    expect(page.locator("iframe")).to_be_visible()
    yield "measured"


def avatars(page: Page, api: StandIn) -> Iterator[str]:
    yield "cards"
    page.locator(".avatar button").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    yield "deleting"


def live(page: Page, api: StandIn) -> Iterator[str]:
    expect(page.locator(".is-live")).to_be_visible()
    yield "idle"
    page.locator("#line").fill("Hello")
    page.keyboard.press("Enter")
    expect(page.locator(".you")).to_be_visible()
    yield "talking"


SCENES: dict[str, Callable[[Page, StandIn], Iterator[str]]] = {
    "live": live, "create": making, "video": video, "report": report, "avatars": avatars,
}  # fmt: skip


@pytest.mark.parametrize(("locale", "scheme"), [("en-GB", "light"), ("zh-CN", "dark")])
def test_no_barriers_in_any_tab_nor_on_a_phone(open_page: OpenPage, film: bytes, locale: str, scheme: str) -> None:
    for tab, scene in SCENES.items():
        api = StandIn(video=film)
        api.server["chat"] = True
        api.avatars["av_9"] = {**bundled(), "id": "av_9", "name": LONG_NAME, "is_own": True}
        page, _ = open_page(f"#{tab}", api=api, locale=locale, color_scheme=scheme, reduced_motion="reduce")
        expect(page.locator("main .tab > *").first).to_be_attached()
        for state in scene(page, api):
            assert page.evaluate("document.documentElement.lang") == {"en-GB": "en", "zh-CN": "zh-Hans"}[locale]
            found = Axe().run(page, options=RULES).response["violations"]
            assert [(fault["id"], node["html"][:120]) for fault in found for node in fault["nodes"]] == [], (
                f"{tab}, {state}"
            )
            page.set_viewport_size({"width": 360, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, f"{tab}, {state}"
            assert page.locator("nav a, button:visible").evaluate_all(SMALL) == [], f"{tab}, {state}"
            page.set_viewport_size({"width": 1280, "height": 800})
        page.context.close()


def focused(page: Page) -> str:
    """Name of what has the focus, which must be seen."""
    return page.evaluate("""() => {
        const one = document.activeElement;
        const style = getComputedStyle(one);
        const around = one.closest(".composer") && getComputedStyle(one.closest(".composer")).borderColor;
        const sibling = one.matches(".segments input") && getComputedStyle(one.nextElementSibling).outlineStyle;
        const seen = one === document.body || one.id === "main" || style.outlineStyle !== "none" || around || sibling !== "none";
        return (seen ? "" : "UNSEEN ") + (one.labels?.[0]?.textContent || one.getAttribute("aria-label") || one.textContent).trim();
    }""")


def test_the_keyboard_alone(open_page: OpenPage) -> None:
    page, api = open_page("#avatars")
    expect(page.locator(".avatar")).to_be_visible()
    press = page.keyboard.press
    press("Tab")
    assert focused(page) == "Skip to the content"
    expect(page.locator(".skip")).to_be_in_viewport()
    names = []
    for _ in range(4):
        press("Tab")
        names.append(focused(page))
    assert names == ["GeneFace", "Live", "Create", "Make a video"]
    press("Enter")
    expect(page.locator("main")).to_be_focused()
    assert page.title() == "Make a video · GeneFace"
    expect(page.locator("nav a[aria-current]")).to_have_text("Make a video")
    press("Tab")
    assert focused(page) == "Text"
    press("Tab")
    assert focused(page) == "Text"
    page.keyboard.type("Good evening.")
    for name in ("Avatar", "Voice", "Background"):
        press("Tab")
        assert focused(page) == name
    press("ArrowDown")
    for name in ("Size", "Format", "Make the video"):
        press("Tab")
        assert focused(page) == name
    press("Enter")
    expect(page.locator(".result video")).to_be_visible()
    expect(page.locator("#polite")).to_have_text("The video is ready")
    assert (
        api.requests and next(b for m, p, b in api.requests if (m, p) == ("POST", "videos"))["background"] == "#ffffff"
    )


def test_the_focus_is_never_lost_in_create(open_page: OpenPage) -> None:
    page, api = open_page("#create")
    for _ in making(page, api):
        pass
    assert focused(page) == "Your avatar is being made"
    page.keyboard.press("Tab")
    assert focused(page) == "Stop"
    page.keyboard.press("Enter")
    assert focused(page) == "Cancel"
    page.keyboard.press("Enter")
    assert focused(page) == "Stop"


def test_nothing_moves_for_those_who_asked_for_it(open_page: OpenPage) -> None:
    for motion, expected in (("no-preference", "beat"), ("reduce", "none")):
        page, _ = open_page("#live", reduced_motion=motion)
        expect(page.locator(".is-live")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.locator(".is-speaking")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.querySelector('.state'), '::before').animationName") == expected


def test_the_language_is_the_browsers_until_another_is_chosen(open_page: OpenPage) -> None:
    page, _ = open_page("#create", locale="zh-TW")
    expect(page.get_by_role("heading", level=1)).to_have_text("做一个你自己的数字人")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A face of your own")
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("A face of your own")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("做一个你自己的数字人")
    page.locator("input[type=file]").set_input_files({"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"abc"})
    expect(page.locator(".finding").first).to_contain_text("可以更好: 看不到人脸")
    expect(page.locator(".finding").last).to_contain_text("人脸宽 214 像素")
    page, _ = open_page("#create", locale="fr-FR")
    expect(page.get_by_role("heading", level=1)).to_have_text("A face of your own")
