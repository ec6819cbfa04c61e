"""How fast a live face is, how well sound and picture stay together, and how many faces a machine serves.

    python benchmarks/live.py --out FOLDER [--avatar FOLDER] [--only PART ...] [--minutes 2] [--repeats 20]

microphone    ms from a sample of the microphone to the frame that shows it, decoded in Chromium
text          ms from `say` in the page to the first sound that is heard, and to the first frame that shows it
interruption  ms from the click to silence, and to the first frame of the mouth's way to rest
offset        ms that a frame is shown after its sound is heard; with `--minutes 30` the long run. Gaps of both
sessions      faces at 25 frames/s at once, with headless listeners on the same cores
idle          processor and memory of a server that nobody uses; memory over 200 sessions

Every part starts a server of its own (`live_face.py`): the avatar's models and pictures, with a square in the corner
that is white where the sound was loud. Chromium plays into a sound card that isn't there, whose latency it makes up
(about 40 ms, in all figures that end with hearing); its screen is not there either: a frame counts as shown when it is
drawn. The microphone is a file. Its times are those at which samples leave Chromium's echo canceller.
Server, browser and this program share the machine. FOLDER gets live.json.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import soundfile

from geneface.bench.timing import load_average, machine
from geneface.serve.live.packets import Kind, Packet

RATE = 48_000
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
SENTENCE = "Yes, that is what I was going to say about it, and there is more to come in a moment."
MOST_SESSIONS = 10
Figures = dict[str, Any]


# ---- server and browser


@contextlib.contextmanager
def server(avatar: Path | None = None, *, plain: bool = False) -> Iterator[tuple[str, int]]:
    """Address and process of a server of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="geneface-live-") as home:
        command = [sys.executable, str(Path(__file__).with_name("live_face.py")), "--port", str(port), "--home", home]
        command += [] if avatar is None else ["--avatar", str(avatar)]
        process = subprocess.Popen(command + (["--plain"] if plain else []), stdout=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{port}"
        try:
            wait(lambda: _answers(address), 60)
            yield address, process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


@contextlib.contextmanager
def page(address: str, microphone: Path | None = None) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    heard = [] if microphone is None else [f"--use-file-for-fake-audio-capture={microphone}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS + heard)
        found = browser.new_context(permissions=["microphone"]).new_page()
        found.on("pageerror", lambda error: print("page:", error, file=sys.stderr))
        found.goto(f"{address}/page/bench/index.html")
        wait(lambda: found.evaluate("Boolean(window.isReady)"), 20)
        try:
            yield found
        finally:
            browser.close()


def begin(found: Any, arguments: argparse.Namespace, **session: Any) -> None:
    """A session in the page, after it has settled."""
    options = {"audio": arguments.audio}
    found.evaluate("([options, session]) => open_(options, session)", [options, _asked(arguments) | session])
    wait(lambda: found.evaluate("shown.length > 100"), 60)


def _asked(arguments: argparse.Namespace) -> Figures:
    return {"model": arguments.avatar.resolve().name if arguments.avatar else "grid-s1"}


def _answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/v1/live", timeout=1).status_code == 200
    except httpx2.HTTPError:
        return False


def wait(is_so: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError("it did not come")
        time.sleep(0.05)


def spread(values: list[float]) -> Figures:
    """Median, 95th percentile and worst, rounded."""
    if not values:
        return {"count": 0}
    named = zip(("median", "p95", "worst"), np.percentile(values, (50, 95, 100)), strict=True)
    return {"count": len(values), **{name: round(float(value), 1) for name, value in named}}


# ---- sounds


def clicks(seconds: float, every: float, length: float = 0.04) -> np.ndarray:
    """Bursts of a voice-like tone. `every` is in whole items: a burst begins where a frame does."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    time_ = np.arange(round(length * RATE)) / RATE
    burst = 0.3 * np.sum([np.sin(2 * np.pi * 180 * k * time_) / k for k in range(1, 9)], axis=0)
    for start in range(0, len(sound) - len(burst), round(every * RATE)):
        sound[start : start + len(burst)] = burst
    return sound


def as_url(sound: np.ndarray) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, RATE, format="FLAC")
    return "data:audio/flac;base64," + base64.b64encode(buffer.getvalue()).decode()


# ---- parts


def measure_microphone(arguments: argparse.Namespace) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "microphone.wav"
        # No whole number of frames: every place in a frame is measured.
        soundfile.write(path, clicks(60, 1.53), RATE, subtype="PCM_16")
        with server(arguments.avatar) as (address, _), page(address, path) as found:
            begin(found, arguments)
            found.evaluate("record()")
            wait(lambda: found.evaluate("spoken.length") > arguments.repeats, 3 * arguments.repeats + 20)
            spoken, shown = found.evaluate("spoken"), found.evaluate("shown")
    return {"to_frame_ms": spread(_after(spoken[1:-1], _begun(shown))), "count": len(spoken) - 2}


def _begun(shown: list[list[float]]) -> list[float]:
    """Times at which the square turned white."""
    return [now[0] for before, now in pairwise(shown) if now[1] and not before[1]]


def _after(causes: list[float], effects: list[float], most: float = 1200.0) -> list[float]:
    found = [min((effect - cause for effect in effects if effect > cause), default=most) for cause in causes]
    return [value for value in found if value < most]


def measure_text(arguments: argparse.Namespace) -> Figures:
    sounds, frames = [], []
    with server(arguments.avatar) as (address, _), page(address) as found:
        begin(found, arguments)
        for number in range(arguments.repeats):
            found.evaluate("heard.length = 0, shown.length = 0")
            asked = found.evaluate(f"(() => {{ const t = performance.now(); player.say('{SENTENCE}'); return t; }})()")
            wait(lambda: found.evaluate("heard.length > 0"), 10)
            time.sleep(0.3)
            sounds += _after([asked], [moment for what, moment in found.evaluate("heard") if what == "begin"])
            frames += _after([asked], _begun(found.evaluate("shown")))
            found.evaluate("player.interrupt()")
            time.sleep(1.0 + 0.037 * (number % 10))
    return {"to_sound_ms": spread(sounds), "to_frame_ms": spread(frames)}


def measure_interruption(arguments: argparse.Namespace) -> Figures:
    silences, frames = [], []
    tone = 0.2 * np.sin(np.arange(RATE * 20) * 2 * np.pi * 440 / RATE)
    with server(arguments.avatar) as (address, _), page(address) as found:
        begin(found, arguments)
        session = found.evaluate("session")
        for number in range(arguments.repeats):
            found.evaluate("heard.length = 0, shown.length = 0")
            httpx2.post(f"{address}/v1/live/{session['id']}/say", json={"audio": as_url(tone)}, timeout=20)
            wait(lambda: found.evaluate("heard.length > 0"), 20)
            time.sleep(1.0 + 0.037 * (number % 10))
            asked, generation = found.evaluate("[performance.now(), (player.interrupt(), player.generation)]")
            time.sleep(0.8)
            silences.append(max(found.evaluate("lastLoud") - asked, 0.0))
            rest = [now for now, _, of, _ in found.evaluate("shown") if of >= generation]
            frames += _after([asked], rest)
    return {"to_silence_ms": spread(silences), "to_frame_ms": spread(frames)}


def measure_offset(arguments: argparse.Namespace) -> Figures:
    offsets: list[float] = []
    minute = as_url(clicks(60, 1.0))
    tone = as_url(0.2 * np.sin(np.arange(RATE * 15) * 2 * np.pi * 440 / RATE))
    with server(arguments.avatar) as (address, _), page(address) as found:
        begin(found, arguments)
        session = found.evaluate("session")

        def say(url: str) -> None:
            httpx2.post(f"{address}/v1/live/{session['id']}/say", json={"audio": url}, timeout=20)

        gaps = np.zeros(3)
        for _ in range(max(round(arguments.minutes), 1)):
            found.evaluate("heard.length = shown.length = worstGap = worstLate = worstStall = 0")
            say(minute)
            time.sleep(60.5)
            # Before anything else: to hand over its lists stops the page for a fifth of a second.
            gaps = np.maximum(gaps, found.evaluate("[worstGap, worstLate, worstStall]"))
            seen = _begun(found.evaluate("shown"))
            heard = [moment for what, moment in found.evaluate("heard") if what == "begin"]
            offsets += [min((moment - sound for moment in seen), key=abs) for sound in heard if seen]
        # A flash whose picture came too late was not shown at all; the next one is a second away.
        missed = sum(abs(offset) > 500 for offset in offsets)
        offsets = [offset for offset in offsets if abs(offset) <= 500]
        found.evaluate("hole = 0")
        say(tone)
        time.sleep(16)
        sound_gap = found.evaluate("1000 * hole")
        stats = found.evaluate("player.stats")
    return {
        "offset_ms": spread([abs(offset) for offset in offsets]),
        "flashes_not_shown": missed,
        "mean_offset_ms": round(float(np.mean(offsets)), 1),
        "worst_picture_gap_ms": round(gaps[0], 1),
        "worst_sound_gap_ms": round(sound_gap, 1),
        "worst_lateness_of_server_ms": round(gaps[1], 1),
        "worst_stall_of_page_ms": round(gaps[2], 1),
        "buffer_ms": stats["buffer_ms"],
        "underruns": stats["underruns"],
        "lateness_ms": stats["server"]["late_ms"],
        "session": stats["server"]["session"],
    }


async def _listener(address: str, live: Figures, seconds: float, sound: str) -> Figures:
    from websockets.asyncio.client import connect

    url = f"{address.replace('http', 'ws')}{live['stream']}?audio={sound}"
    pictures, sounds, size = [], [], 0
    async with connect(url, max_size=None, compression=None) as client:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            content = await asyncio.wait_for(client.recv(), 5)
            if isinstance(content, bytes):
                packet = Packet.from_bytes(content)
                (pictures if packet.kind == Kind.PICTURE else sounds).append(time.monotonic())
                size += len(content)
    settled = [moment for moment in pictures if moment > deadline - seconds + 2]
    gaps = np.diff(settled)
    return {
        "pictures_per_second": round((len(settled) - 1) / (settled[-1] - settled[0]), 2),
        "worst_gap_ms": round(1000 * float(gaps.max()), 1),
        "kbit_per_second": round(8 * size / seconds / 1000),
    }


def measure_sessions(arguments: argparse.Namespace) -> Figures:
    rows = []
    with server(arguments.avatar, plain=True) as (address, pid), httpx2.Client(base_url=address, timeout=60) as client:
        lives: list[Figures] = []
        refused = None
        for _ in range(MOST_SESSIONS):
            answer = client.post("/v1/live", json=_asked(arguments))
            if answer.status_code != 201:
                refused = {"after": len(lives), "status": answer.status_code, **answer.json()["error"]}
                break
            lives.append(answer.json())
            for live in lives:
                text = {"text": " ".join([SENTENCE] * 6)}
                client.post(f"/v1/live/{live['id']}/say", json=text)
            before = _cpu_seconds(pid)

            async def all_of(lives: list[Figures] = lives) -> list[Figures]:
                return await asyncio.gather(*(_listener(address, live, 10, arguments.audio) for live in lives))

            found = asyncio.run(all_of())
            rows.append({
                "sessions": len(lives),
                "least_pictures_per_second": min(one["pictures_per_second"] for one in found),
                "worst_gap_ms": max(one["worst_gap_ms"] for one in found),
                "kbit_per_second": round(float(np.mean([one["kbit_per_second"] for one in found]))),
                "server_cores": round((_cpu_seconds(pid) - before) / 10, 2),
            })  # fmt: skip
            for live in lives:
                client.post(f"/v1/live/{live['id']}/interrupt")
            print(rows[-1], file=sys.stderr, flush=True)
        size = [lives[0]["width"], lives[0]["height"]] if lives else None
    return {"size": size, "rows": rows, "refused": refused}


def measure_idle(arguments: argparse.Namespace) -> Figures:
    with server(arguments.avatar, plain=True) as (address, pid), httpx2.Client(base_url=address, timeout=60) as client:
        figures: Figures = {"fresh_mb": _memory_mb(pid)}
        time.sleep(2)
        before = _cpu_seconds(pid)
        time.sleep(10)
        figures["idle_percent"] = round(10 * (_cpu_seconds(pid) - before), 2)
        memory = []
        for number in range(200):
            live = client.post("/v1/live", json=_asked(arguments)).json()
            _glance(address, live)
            client.delete(f"/v1/live/{live['id']}")
            if number % 20 == 19:
                time.sleep(3)
                memory.append(_memory_mb(pid))
        figures["memory_mb_every_20_sessions"] = memory
        time.sleep(2)
        before = _cpu_seconds(pid)
        time.sleep(10)
        figures["idle_percent_after"] = round(10 * (_cpu_seconds(pid) - before), 2)
        figures["threads_after"] = len(os.listdir(f"/proc/{pid}/task"))
    return figures


def _glance(address: str, live: Figures) -> None:
    """Listen until the first picture has come."""
    from websockets.sync.client import connect

    with connect(f"{address.replace('http', 'ws')}{live['stream']}?audio=pcm", max_size=None) as client:
        while True:
            content = client.recv(timeout=10)
            if isinstance(content, bytes) and Packet.from_bytes(content).kind == Kind.PICTURE:
                return


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_mb(pid: int) -> float:
    return round(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


PARTS = {
    "microphone": measure_microphone,
    "text": measure_text,
    "interruption": measure_interruption,
    "offset": measure_offset,
    "sessions": measure_sessions,
    "idle": measure_idle,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--avatar", type=Path)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--audio", choices=("pcm", "opus"), default="pcm")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    place = arguments.out / "live.json"
    result: Figures = json.loads(place.read_text()) if place.is_file() else {}
    for part in arguments.only:
        figures = PARTS[part](arguments)
        figures |= {"avatar": _asked(arguments)["model"], "audio": arguments.audio, "load_average": load_average()}
        result |= {"machine": machine(3), part: figures}
        place.write_text(json.dumps(result, indent=1))
        print(part)
        for name, value in figures.items():
            print(f"  {name:28} {value}", flush=True)


if __name__ == "__main__":
    main()
