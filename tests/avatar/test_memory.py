"""Memory is flat: five minutes of speech take what ten seconds take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .avatar_fixtures import make_avatar, speech

pytest.importorskip("resource", reason="peak memory is measured on POSIX systems only")

PROGRAM = """
import resource, sys
from geneface.avatar.avatar import Avatar
frames = Avatar.load(sys.argv[1]).render(sys.argv[2], sys.argv[3])
print(frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_ten_seconds_and_five_minutes_peak_within_a_tenth(tmp_path: Path) -> None:
    folder = make_avatar(tmp_path / "tiny", tmp_path / "work", "whisper-2-streaming", 512)
    peaks = []
    for seconds in (10, 300):
        path = tmp_path / f"{seconds}.flac"
        soundfile.write(path, np.tile(speech(10.0), seconds // 10), 16_000)
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder, path, tmp_path / "out.mp4"],
            capture_output=True,
            text=True,
            check=True,
        )
        frames, peak = (int(word) for word in done.stdout.split())
        assert frames == 25 * seconds
        peaks.append(peak)
    assert peaks[1] <= 1.1 * peaks[0]
