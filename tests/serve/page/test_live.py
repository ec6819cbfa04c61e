"""The tab Live: what the person does reaches the player, and what the player tells is shown."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from geneface.serve.app import create_app
from geneface.serve.settings import ServeSettings

from ..serving import serving
from .conftest import OpenPage, until
from .stand_in import StandIn, bundled


def told(page: Page) -> list[Any]:
    """What the page asked of its player."""
    return page.evaluate("players.at(-1).told")


def emit(page: Page, name: str, detail: dict[str, Any]) -> None:
    page.evaluate("([name, detail]) => players.at(-1).emit(name, detail)", [name, detail])


def test_type_a_line_and_the_face_says_it(open_page: OpenPage) -> None:
    page, api = open_page()
    expect(page.locator(".state")).to_have_text("Live84 ms · 25.0 fps")
    expect(page.get_by_role("img", name="Live face of grid-s1")).to_be_visible()
    expect(page.locator("figcaption")).to_have_text("Synthetic")
    line = page.get_by_label("What it should say")
    expect(line).to_be_focused()
    line.fill("Good morning.")
    line.press("Enter")
    expect(page.locator(".state")).to_contain_text("Speaking")
    expect(line).to_have_value("")
    assert told(page) == [["say", "Good morning."]]
    # With nothing typed the same button interrupts.
    page.get_by_role("button", name="Stop speaking").click()
    expect(page.locator(".state")).to_contain_text("Live")
    assert told(page)[-1] == ["interrupt"]
    # And where nothing was typed nor said, the line that stands there is said.
    page.get_by_role("button", name="Say it").click()
    assert told(page)[-1] == ["say", "Hello! What shall I say?"]
    line.press("Escape")
    assert told(page)[-1] == ["interrupt"]
    assert ("POST", "live", {"model": "grid-s1", "voice": "heart", "background": "keep"}) in api.requests


def test_an_error_of_the_voice_keeps_the_words(open_page: OpenPage) -> None:
    page, _ = open_page()
    line = page.get_by_label("What it should say")
    expect(page.locator(".state")).to_contain_text("Live")
    line.fill("refuse this")
    line.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The voice can't say that")
    expect(page.get_by_role("alert")).to_contain_text("Write words")
    expect(line).to_have_value("refuse this")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_text_that_the_voice_refuses_later_comes_back(open_page: OpenPage) -> None:
    page, _ = open_page()
    line = page.get_by_label("What it should say")
    expect(page.locator(".state")).to_contain_text("Live")
    refusal = {"code": "voice", "message": "the voice speaks en", "remedy": "write en"}
    line.fill("你好")
    line.press("Enter")
    expect(line).to_have_value("")
    emit(page, "warning", refusal)
    expect(page.get_by_role("alert")).to_contain_text("The voice speaks en")
    expect(line).to_have_value("你好")
    # Not into what was typed meanwhile.
    line.press("Enter")
    line.fill("Hello")
    emit(page, "warning", refusal)
    expect(line).to_have_value("Hello")


def test_what_was_typed_is_there_after_another_tab(open_page: OpenPage) -> None:
    page, _ = open_page()
    page.get_by_label("What it should say").fill("Half a")
    page.get_by_role("link", name="Make a video").click()
    page.get_by_label("Text").last.fill("Half another")
    page.get_by_role("link", name="Live").first.click()
    expect(page.get_by_label("What it should say")).to_have_value("Half a")
    page.get_by_role("link", name="Make a video").click()
    expect(page.get_by_label("Text").last).to_have_value("Half another")
    expect(page.get_by_role("button", name="Make the video")).to_be_enabled()


def test_the_face_comes_back_with_the_server(open_page: OpenPage) -> None:
    page, api = open_page()
    state = page.locator(".state")
    expect(state).to_contain_text("Live")
    # Twice nobody answers, then there is a server that does not know the session.
    api.dropped = ["POST live"] * 2
    page.evaluate("""() => { const player = players.at(-1);
        player.emit("state", {state: "closed", reason: "not_found"});
        player.emit("error", {code: "not_found", message: "there is no such live session", remedy: "open one"}); }""")
    expect(state).to_contain_text("Asleep")
    expect(page.get_by_role("alert")).to_contain_text("It comes back by itself")
    expect(state).to_contain_text("Live", timeout=10_000)
    expect(page.get_by_role("alert")).to_have_count(0)
    assert page.evaluate("players.length") == 2
    open_page.said[:] = [text for text in open_page.said if "ERR_CONNECTION_RESET" not in text]  # type: ignore[attr-defined]


def test_an_avatar_that_is_not_there_is_told(open_page: OpenPage) -> None:
    page, _ = open_page("#live?avatar=nobody")
    expect(page.get_by_role("alert")).to_contain_text("There is no avatar nobody that is ready.")
    expect(page.locator(".state")).to_contain_text("Live")
    expect(page.get_by_label("Avatar", exact=True)).to_have_value("grid-s1")


def test_background_and_microphone(open_page: OpenPage) -> None:
    page, _ = open_page()
    expect(page.locator(".state")).to_contain_text("Live")
    page.get_by_label("Background", exact=True).select_option("green")
    page.get_by_label("Background", exact=True).select_option("own")
    page.get_by_label("Own colour").fill("#123456")
    microphone = page.get_by_role("button", name="Speak with my voice")
    microphone.click()
    expect(microphone).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".state")).to_contain_text("Your voice moves the face")
    microphone.click()
    expect(microphone).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".state")).to_contain_text("Live")
    expect(page.get_by_role("note")).to_have_attribute(
        "title", "Delay from the server's clock to this screen, and pictures a second"
    )
    assert told(page) == [["background", "#00b140"], ["background", "#cfd8dc"], ["background", "#123456"],
                          ["microphone", True], ["microphone", False]]  # fmt: skip


def test_another_avatar_is_another_session_and_the_one_before_ends(open_page: OpenPage) -> None:
    api = StandIn()
    api.avatars["av_9"] = {**bundled(), "id": "av_9", "name": "Ada"}
    page, _ = open_page(api=api)
    expect(page.locator(".state")).to_contain_text("Live")
    page.get_by_label("Avatar", exact=True).select_option("av_9")
    expect(page.get_by_role("img", name="Live face of")).to_be_visible()
    until(page, "players.length === 2 && players[0].isClosed")
    assert [body["model"] for method, path, body in api.requests if (method, path) == ("POST", "live")] == [
        "grid-s1",
        "av_9",
    ]
    assert ("DELETE", "live/live_1", None) in api.requests
    page.get_by_role("link", name="Avatars").click()
    until(page, "players[1].isClosed")
    # It is remembered.
    page.get_by_role("link", name="Live").first.click()
    expect(page.get_by_label("Avatar", exact=True)).to_have_value("av_9")


def test_a_server_without_room_says_so_and_is_asked_again(open_page: OpenPage) -> None:
    api = StandIn()
    words = {
        "code": "busy",
        "message": "this machine can't draw another live face in time",
        "remedy": "try again in 5 s",
    }
    api.failures.append(("POST", "live", 503, words))
    page, _ = open_page(api=api)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("This machine can't draw another live face in time")
    expect(alert).to_contain_text("Try again in 5 s")
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator(".state")).to_contain_text("Live")
    expect(alert).to_have_count(0)
    open_page.said[:] = [text for text in open_page.said if "503" not in text]  # type: ignore[attr-defined]


def test_why_a_session_ended(open_page: OpenPage) -> None:
    page, _ = open_page()
    expect(page.locator(".state")).to_contain_text("Live")
    emit(page, "state", {"state": "closed", "reason": "taken_over", "sound": "on"})
    expect(page.get_by_role("alert")).to_contain_text("shown elsewhere")
    page.get_by_role("button", name="Try again").click()
    until(page, "players.length === 2")
    expect(page.locator(".state")).to_contain_text("Live")
    page.evaluate("""() => { const player = players.at(-1);
        player.emit("state", {state: "closed", reason: "failed"});
        player.emit("error", {code: "failed", message: "the avatar is damaged", remedy: "import it again"}); }""")
    expect(page.get_by_role("alert")).to_contain_text("Import it again")
    expect(page.get_by_role("alert")).to_have_count(1)


def test_a_conversation_has_a_transcript(open_page: OpenPage) -> None:
    api = StandIn()
    api.server |= {"chat": True, "listen": True}
    page, _ = open_page(api=api)
    expect(page.locator(".state")).to_contain_text("Live")
    expect(page.get_by_role("button", name="Talk to it")).to_be_visible()
    page.keyboard.type("How are you?")
    page.keyboard.press("Enter")
    assert told(page) == [["chat", "How are you?"]]
    lines = page.get_by_role("log", name="Conversation").get_by_role("listitem")
    expect(lines).to_have_text(["You: How are you?", "Face: I hear you."])
    emit(page, "transcript", {"role": "assistant", "text": "I hear you well.", "id": "b"})
    expect(lines).to_have_text(["You: How are you?", "Face: I hear you well."])
    page.get_by_label("Mode").select_option("say")
    page.get_by_label("What it should say").fill("Repeat this.")
    page.keyboard.press("Enter")
    assert told(page)[-1] == ["say", "Repeat this."]


def test_without_a_voice_the_microphone_remains(open_page: OpenPage) -> None:
    api = StandIn()
    api.server |= {"voices": [], "voice": None}
    page, _ = open_page(api=api)
    expect(page.get_by_label("What it should say")).to_be_disabled()
    expect(page.get_by_role("button", name="Speak with my voice")).to_be_enabled()


def test_the_sound_that_waits_for_a_gesture_is_told(open_page: OpenPage) -> None:
    page, _ = open_page()
    expect(page.locator(".state")).to_contain_text("Live")
    hint = page.get_by_text("for sound")
    expect(hint).to_be_hidden()
    emit(page, "state", {"state": "live", "sound": "waiting"})
    expect(hint).to_be_visible()
    emit(page, "state", {"state": "live", "sound": "on"})
    expect(hint).to_be_hidden()


def test_nothing_moves_while_it_loads(open_page: OpenPage) -> None:
    page, _ = open_page()
    expect(page.locator(".state")).to_contain_text("Live")
    shift = page.evaluate("""() => new Promise((resolve) => {
        let sum = 0;
        new PerformanceObserver((list) => { for (const entry of list.getEntries()) sum += entry.value; })
            .observe({ type: "layout-shift", buffered: true });
        setTimeout(() => resolve(sum), 200);
    })""")
    assert shift < 0.01


def test_a_token_is_asked_for_once_and_kept_for_the_tab(open_page: OpenPage, tmp_path: Any) -> None:
    token = "a-token-for-the-tests-of-the-page"
    settings = ServeSettings(home=tmp_path, host="127.0.0.1", token=token)
    with serving(create_app(settings), settings) as served:
        url = f"{served.url}/"
        api = StandIn()
        # The real door answers for what the page asks first.
        api.passes = {"server", "session"}
        page, _ = open_page(api=api, url=url)
        dialog = page.get_by_role("dialog", name="This server asks for a token")
        dialog.get_by_label("Token").fill("wrong-token-wrong-token")
        dialog.get_by_role("button", name="Continue").click()
        expect(dialog.get_by_role("alert")).to_contain_text("not the token")
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert")).to_contain_text("token")
        page.get_by_role("button", name="Try again").click()
        dialog.get_by_label("Token").fill(token)
        dialog.get_by_label("Token").press("Enter")
        expect(page.locator(".state")).to_contain_text("Live")
        page.reload()
        expect(page.locator(".state")).to_contain_text("Live")
        # The address that was printed brings it along, and does not keep it.
        page.evaluate("sessionStorage.clear()")
        page.goto("about:blank")
        page.goto(f"{url}#token={token}")
        expect(page.locator(".state")).to_contain_text("Live")
        assert token not in page.url
        page.close()
    open_page.said[:] = [text for text in open_page.said if "401" not in text]  # type: ignore[attr-defined]
