"""The pictures of the page in docs/images: `python tools/page_pictures.py [OUT]`.

They show the real thing: a server with the bundled avatar, driven in Chromium. The video for the tab Create is the
avatar itself, speaking, with some seconds spoilt. Fonts are those of the machine (FONTCONFIG_FILE names others).
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import uvicorn
from playwright.sync_api import Page, ViewportSize, sync_playwright

from geneface.avatar.avatar import Avatar
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.serve.app import create_app
from geneface.serve.avatars import BUNDLED
from geneface.serve.server import uvicorn_config
from geneface.serve.settings import ServeSettings
from geneface.types import ByteArray, Waveform

CHROMIUM = "/usr/bin/chromium"
OPTIONS = (
    "no-sandbox",
    "disable-gpu",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
)
DESKTOP, PHONE = ViewportSize(width=1180, height=810), ViewportSize(width=390, height=800)
MOST_BYTES = 120_000
PERSON = {"statement": "I am the person in this video, and I agree that an avatar is made of it.", "name": "Ada Lee"}


def live(page: Page, _: Path) -> None:
    """A face that is speaking."""
    page.wait_for_selector(".is-live", timeout=60_000)
    for _second in range(40):
        page.wait_for_timeout(500)
        if " 25" in page.locator(".figures").inner_text():
            break
    page.fill("#line", "Good evening, everybody. I am drawn on two processor cores, as you watch.")
    page.keyboard.press("Enter")
    page.wait_for_selector(".is-speaking", timeout=20_000)


def create(page: Page, video: Path) -> None:
    """What a check found."""
    page.set_input_files("input[type=file]", video)
    page.wait_for_selector(".findings", timeout=300_000)
    # The sheet of pictures is the library's; the time line is the page's.
    page.evaluate("document.querySelector('.preview')?.remove(); document.activeElement.blur(); scrollTo(0, 0)")


def make_video(page: Page, _: Path) -> None:
    """A video that was made."""
    page.fill("textarea", "Welcome. This is what happened while you were away.")
    page.get_by_label("Background", exact=True).select_option("white")
    page.click("button.main")
    page.wait_for_selector(".result video", timeout=120_000)
    page.wait_for_timeout(1500)
    page.evaluate("document.querySelector('.result video').controls = false")


def wait(page: Page, _: Path) -> None:
    """Nothing to do."""
    page.wait_for_selector(".verdict, .avatar")
    page.wait_for_timeout(500)


SCENES: dict[str, tuple[str, Callable[[Page, Path], None], bool]] = {
    "live": ("#live", live, False),
    "create": ("#create", create, False),
    "video": ("#video", make_video, False),
    "report": ("#report", wait, False),
    "avatars": ("#avatars", wait, False),
    "phone": ("#live", live, True),
}
"""Name -> tab, what is done in it, whether on a phone in the dark."""


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """The address of a server with nothing in it."""
    settings = ServeSettings(home=home)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(create_app(settings), settings))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(20)


def spoilt_video(path: Path) -> None:
    """The bundled avatar speaking for half a minute, with an empty chair at first and a hand before the mouth later."""
    avatar = Avatar.load(asset_path("avatars", BUNDLED))
    sentence = read_audio(asset_path("speech", "demo.flac")).samples
    sound = np.concatenate([np.tile(sentence, 40)])[: 16_000 * 32]
    plate = _picture(asset_path("avatars", BUNDLED) / "background.png")
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25, options={"crf": "16", "preset": "veryfast"})
        speech = container.add_stream("aac", rate=48_000, layout="mono")
        pictures.width, pictures.height, pictures.pix_fmt = 512, 512, "yuv420p"
        for index, frame in enumerate(avatar.stream(Waveform(sound), size=512)):
            shown = np.array(frame)
            if index < 60:
                shown = av.VideoFrame.from_ndarray(plate, "rgb24").reformat(512, 512).to_ndarray(format="rgb24")
            elif 380 <= index < 450:
                shown[290:420, 170:340] = (196, 150, 128)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        container.mux(pictures.encode(None))
        heard = av.AudioFrame.from_ndarray(sound[None], "flt", "mono")
        heard.sample_rate = 16_000
        resampler = av.AudioResampler("fltp", "mono", 48_000)
        for frame in [*resampler.resample(heard), *resampler.resample(None)]:
            container.mux(speech.encode(frame))
        container.mux(speech.encode(None))


def _picture(path: Path) -> ByteArray:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def openness(png: bytes, is_phone: bool) -> float:
    """How wide the mouth of the bundled avatar is open: how dark the picture is there."""
    with av.open(BytesIO(png)) as container:
        grey = next(container.decode(video=0)).to_ndarray(format="gray")
    height, width = grey.shape
    top, bottom, left, right = (0.395, 0.44, 0.42, 0.58) if is_phone else (0.535, 0.585, 0.46, 0.54)
    return -float(grey[int(top * height) : int(bottom * height), int(left * width) : int(right * width)].mean())


def save(png: bytes, path: Path) -> int:
    """Write a screenshot as WebP; returns its bytes."""
    with av.open(BytesIO(png)) as container:
        frame = next(container.decode(video=0))
    encoder = av.CodecContext.create("libwebp", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "bgra"
    encoder.time_base, encoder.options = Fraction(1), {"quality": "88", "preset": "picture"}
    packets = [*encoder.encode(frame.reformat(format="bgra")), *encoder.encode(None)]
    path.write_bytes(b"".join(bytes(packet) for packet in packets))
    return path.stat().st_size


def main() -> int:
    """Make them all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", nargs="*", choices=list(SCENES), default=list(SCENES))
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder) / "home") as address,
        sync_playwright() as playwright,
    ):
        film = Path(folder) / "Ada at home.mp4"
        if "create" in asked.only:
            spoilt_video(film)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{option}" for option in OPTIONS])
        for name in asked.only:
            place, act, is_phone = SCENES[name]
            context = browser.new_context(
                viewport=PHONE if is_phone else DESKTOP, color_scheme="dark" if is_phone else "light", locale="en-GB",
                device_scale_factor=1.5,
            )  # fmt: skip
            page = context.new_page()
            page.goto(address + place)
            act(page, film)
            page.wait_for_timeout(600)
            shots = [page.screenshot() for _ in range(10 if act is live else 1)]
            size = save(max(shots, key=lambda shot: openness(shot, is_phone)), asked.out / f"page-{name}.webp")
            print(f"page-{name}.webp: {size / 1000:.0f} kB")
            if size > MOST_BYTES:
                print(f"page-{name}.webp is larger than {MOST_BYTES / 1000:.0f} kB", file=sys.stderr)
            context.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
