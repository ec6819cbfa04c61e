"""What receivers of their own see and hear: PyAV's demuxers at the other end, and ffprobe for files."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from geneface.adapters.output import push_to
from geneface.errors import InputError
from geneface.realtime import ITEM_SAMPLES, SOUND_RATE_HZ, Session

from ..flash import FlashSession, Plain

SECONDS = 3.2


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def moments(container: Any) -> tuple[list[float], list[float], int]:
    """Seconds of the flashes and of the clicks, and the number of pictures."""
    flashes, clicks, pictures, quiet_until = [], [], 0, 0.0
    for frame in container.decode():
        if isinstance(frame, av.VideoFrame):
            pictures += 1
            if frame.to_ndarray(format="gray").mean() > 128:
                flashes.append(float(frame.time or 0))
        else:
            samples = frame.to_ndarray()[0]
            loud = np.flatnonzero(np.abs(samples) > 0.2)
            start = float(frame.time or 0)
            if len(loud) and start > quiet_until:
                clicks.append(start + loud[0] / frame.sample_rate)
                quiet_until = start + 0.5
    return flashes, clicks, pictures


def assert_together(flashes: list[float], clicks: list[float]) -> None:
    assert len(flashes) >= 2 and len(clicks) >= 2
    nearest = [min((flash - click for click in clicks), key=abs) for flash in flashes[-2:]]
    # AAC smears a click over a block; a third of a frame.
    assert max(map(abs, nearest)) < 0.013, (flashes, clicks)
    assert np.allclose(np.diff(flashes), 1, atol=0.001)


def pushed(url: str | Path, receive: Callable[[], Any] | None = None) -> Any:
    """Push for some seconds, and what the receiver saw; it begins first."""
    session, found, failed = FlashSession(), [], []

    def listen() -> None:
        try:
            found.append(receive())  # type: ignore[misc]
        except Exception as error:
            failed.append(error)

    listener = threading.Thread(target=listen, daemon=True)
    if receive is not None:
        listener.start()
        time.sleep(0.3)
    threading.Timer(SECONDS, session.close).start()
    count = push_to(cast(Session, session), url)
    assert 0.8 * SECONDS * 25 < count < 1.2 * SECONDS * 25
    if receive is None:
        return count
    listener.join(15)
    assert not failed and found, failed
    return found[0]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv"])
def test_a_file_plays_flash_and_click_together(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    count = pushed(path)
    with av.open(str(path)) as container:
        flashes, clicks, pictures = moments(container)
    assert_together(flashes, clicks)
    assert pictures == count
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,color_space", "-of", "csv=p=0", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert printed.stderr == "" and {line.split(",")[0] for line in printed.stdout.split()} == {"h264", "aac"}
    assert "bt709" in printed.stdout


@pytest.mark.slow
def test_a_listener_by_tcp_sees_it() -> None:
    port = free_port(socket.SOCK_STREAM)

    def receive() -> Any:
        with av.open(f"tcp://127.0.0.1:{port}?listen=1", format="mpegts", timeout=20) as container:
            return moments(container)

    flashes, clicks, _ = pushed(f"tcp://127.0.0.1:{port}", receive)
    assert_together(flashes, clicks)


@pytest.mark.slow
def test_a_listener_by_udp_sees_it() -> None:
    port = free_port(socket.SOCK_DGRAM)

    def receive() -> Any:
        flashes, clicks = [], []
        # A stream by UDP has no end but silence.
        with av.open(f"udp://127.0.0.1:{port}?timeout=1500000", format="mpegts", timeout=20) as container:
            frames: list[Any] = []
            try:
                for frame in container.decode():
                    frames.append(frame)
            except (av.FFmpegError, OSError):
                pass
        replay = type("Replay", (), {"decode": lambda _: iter(frames)})()
        flashes, clicks, _ = moments(replay)
        return flashes, clicks

    assert_together(*pushed(f"udp://127.0.0.1:{port}", receive))


@pytest.mark.slow
def test_a_server_by_rtmp_sees_it(tmp_path: Path) -> None:
    port, path = free_port(socket.SOCK_STREAM), tmp_path / "received.mkv"
    # FFmpeg's own RTMP server, in another process.
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-listen",
        "1",
        "-i",
        f"rtmp://127.0.0.1:{port}/live/key",
        "-c",
        "copy",
        str(path),
    ]
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        time.sleep(1)
        pushed(f"rtmp://127.0.0.1:{port}/live/key")
        server.wait(20)
    finally:
        server.kill()
        server.wait()
    with av.open(str(path)) as container:
        flashes, clicks, _ = moments(container)
    assert_together(flashes, clicks)


def test_what_was_left_out_stays_out(tmp_path: Path) -> None:
    """A gap in the items is one in the stream, as long for sound as for picture."""

    class Gap(FlashSession):
        def frames(self) -> Any:
            for item in (self.take() for _ in range(60)):
                if not 10 <= item.index < 20:
                    yield item

    path = tmp_path / "gap.mkv"
    assert push_to(cast(Session, Gap()), path) == 50
    with av.open(str(path)) as container:
        flashes, clicks, _ = moments(container)
    assert_together(flashes, clicks)
    assert flashes == pytest.approx([0, 1, 2], abs=0.002)


def test_time_begins_with_the_first_item_that_is_sent(tmp_path: Path) -> None:
    session = FlashSession()
    session.take()
    path, stop = tmp_path / "later.mkv", threading.Timer(1.2, session.close)
    stop.start()
    push_to(cast(Session, session), path)
    with av.open(str(path)) as container:
        flashes, _, _ = moments(container)
    assert flashes == pytest.approx([24 / 25], abs=0.002)


def test_it_stops_when_it_is_told(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert push_to(cast(Session, FlashSession()), tmp_path / "none.mkv", stop=stop) == 0


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1/x", "no way to send video to http://127.0.0.1"),
        ("out.avi", "no way to send video to out.avi"),
        ("/dev/video99", "/dev/video99 takes no video"),
        ("rtmp://127.0.0.1:9/live/SECRET", "rtmp://127.0.0.1:9 takes no video"),
        ("/no/such/folder/x.mkv", "takes no video"),
    ],
)
def test_what_cannot_be_sent_to_is_said_without_its_secrets(url: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        push_to(cast(Session, FlashSession()), url)
    assert "SECRET" not in str(refused.value)


def test_the_test_face_is_what_it_says() -> None:
    """Its grey and its planes agree, and its click is in the item of its flash."""
    item = FlashSession().take()
    rgb = av.VideoFrame.from_ndarray(Plain(255).to_yuv420(), format="yuv420p").to_ndarray(format="rgb24")
    assert rgb.min() > 250 and item.picture.to_uint8().min() == 255
    assert len(item.sound) == ITEM_SAMPLES and np.abs(item.sound[: SOUND_RATE_HZ // 1000]).max() > 0.5
