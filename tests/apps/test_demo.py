"""geneface demo: the bundled avatar speaks the bundled sentence, and ffprobe has nothing to say against the file."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from geneface.apps.commands_render import BUNDLED_AVATAR
from geneface.avatar.folder import find_avatar
from geneface.types import VIDEO_RATE_HZ

from .conftest import Run


@pytest.mark.slow
def test_demo(run_process: Run, tmp_path: Path) -> None:
    out = tmp_path / "demo.mp4"
    outcome = run_process("demo", "-o", out)
    assert outcome.code == 0, outcome.err
    assert str(out) in outcome.out and "frames/s" in outcome.out
    data = out.read_bytes()
    assert _boxes(data).index(b"moov") < _boxes(data).index(b"mdat")
    if shutil.which("ffprobe") is None:
        pytest.skip("no ffprobe on this machine")
    probe = ["ffprobe", "-v", "warning", "-print_format", "json", "-show_streams", str(out)]
    done = subprocess.run(probe, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    video, audio = sorted(json.loads(done.stdout)["streams"], key=lambda stream: stream["codec_type"], reverse=True)
    assert (video["codec_name"], video["profile"], video["pix_fmt"]) == ("h264", "High", "yuv420p")
    assert {video["color_space"], video["color_transfer"], video["color_primaries"]} == {"bt709"}
    assert audio["codec_name"] == "aac"
    assert float(video["duration"]) == pytest.approx(float(audio["duration"]), abs=1 / VIDEO_RATE_HZ)
    assert 8 <= float(video["duration"]) <= 13


def test_the_bundled_avatar_is_small_and_has_a_card() -> None:
    folder = find_avatar(BUNDLED_AVATAR)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 12e6
    card = (folder / "README.md").read_text()
    assert "CC BY 4.0" in card and "GRID" in card and "consent" in card


def _boxes(data: bytes) -> list[bytes]:
    """Names of the top-level boxes of an MP4."""
    names, position = [], 0
    while position + 8 <= len(data):
        size, name = struct.unpack(">I4s", data[position : position + 8])
        if size == 1:
            size = struct.unpack(">Q", data[position + 8 : position + 16])[0]
        names.append(name)
        position += size or len(data)
    return names
