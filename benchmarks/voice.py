"""Time from a text to the first samples of the default voice, and how much faster than heard it speaks on.

    python benchmarks/voice.py [--runs 40]

Each sentence is spoken in full after the first piece, as a live session does; the voice is loaded before.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from geneface.voice.registry import open_voice
from geneface.voice.voice import Voice

SENTENCES = (
    "Good morning.",
    "Hello, I am your assistant, how can I help you today?",
    "Of course. The train to Rome leaves at 9.40 from platform two, and it takes about three hours.",
    "The quick brown fox jumps over the lazy dog while the sun is setting slowly behind the hills, and nobody seems to "
    "notice that the evening has begun.",
)


def main() -> None:
    """Print a row a sentence, and all of them together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    runs = parser.parse_args().runs
    started = time.perf_counter()
    voice = open_voice()
    print(f"loaded in {time.perf_counter() - started:.2f} s")
    print("| text to first samples | characters | median | p95 | times faster than heard |")
    print("|---|---|---|---|---|")
    every: list[float] = []
    for sentence in SENTENCES:
        first, speed = zip(*(timed(voice, sentence) for _ in range(runs)), strict=True)
        every += first
        print(row(sentence[:20], str(len(sentence)), first, f"{np.median(speed):.0f}"))
    print(row("all", "", every, ""))


def timed(voice: Voice, text: str) -> tuple[float, float]:
    """Milliseconds to the first samples; seconds of sound a second of work."""
    started = time.perf_counter()
    pieces = voice.speak(text)
    samples = len(next(pieces))
    first = time.perf_counter() - started
    samples += sum(map(len, pieces))
    return 1000 * first, samples / voice.rate_hz / (time.perf_counter() - started)


def row(name: str, length: str, milliseconds: list[float] | tuple[float, ...], speed: str) -> str:
    """Of the table."""
    median, late = np.percentile(milliseconds, [50, 95])
    return f"| {name} | {length} | {median:.0f} ms | {late:.0f} ms | {speed} |"


if __name__ == "__main__":
    main()
