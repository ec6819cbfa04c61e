"""How much a live face moves its lips to sounds that are no speech, against how much the person does at rest.

    python benchmarks/quiet.py --pair AVATAR PORTRAIT [--pair ...] [--seconds 20] [--json FILE]

Each sound goes into `Avatar.live` in pieces of 20 ms, as a microphone's. A figure is the root mean square speed of the
lip landmarks, their centre taken out, over the same of the recorded person in the silences of the portrait (whose
speed has the tracker's noise in it). 1 is as calm as the person; "speech" is the bundled sentence, as a control.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from lip_curves import chords

from geneface.avatar.avatar import Avatar
from geneface.corpus.non_speech import KINDS, non_speech_sound
from geneface.evaluation.metrics.articulation import silent_frames
from geneface.geometry.landmarks import LIPS
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.portrait.portrait import Portrait
from geneface.types import SPEECH_RATE_HZ, FloatArray, MotionTrack

_PIECE = SPEECH_RATE_HZ // 50
_SETTLE_FRAMES = 25
"""The first second is left out: the level has to be found."""


def sounds(seconds: float) -> dict[str, list[FloatArray]]:
    """Several of each kind: levels and colours are drawn at random."""
    rng = np.random.default_rng(7)
    count = round(seconds * SPEECH_RATE_HZ)
    room = [np.asarray(10 ** (level / 20) * rng.standard_normal(count), np.float32) for level in (-60, -50, -40)]
    made = {kind: [non_speech_sound(seconds, rng, kind) for _ in range(3)] for kind in KINDS if kind != "silence"}
    speech = read_audio(asset_path("speech", "demo.flac")).samples[:count]
    return {
        "zeros": [np.zeros(count, np.float32)],
        "room noise": room,
        **made,
        "music (chords)": [chords(seconds, rng) for _ in range(3)],
        "speech": [speech],
    }


def lip_speed(points: FloatArray, steps: np.ndarray) -> float:
    """Root mean square of the steps [F - 1] of the lips that are taken, head units a frame."""
    lips = np.asarray(points[:, LIPS], np.float64)
    moved = np.diff(lips - lips.mean(1, keepdims=True), axis=0)[steps]
    return float(np.sqrt(np.mean(np.square(moved).sum(-1)))) if len(moved) else float("nan")


def rest_speed(portrait: Portrait) -> tuple[float, float]:
    """The person's own, in silence, and the seconds of it that there are."""
    squares, count = 0.0, 0
    for number in range(len(portrait.segments)):
        rows = portrait.frames_of(number)
        points = portrait.landmarks[rows.start : rows.stop]
        silent = silent_frames(len(points), None, portrait.audio(number).samples)
        steps = silent[1:] & silent[:-1]
        if steps.any():
            squares += lip_speed(points, steps) ** 2 * steps.sum()
            count += int(steps.sum())
    return (float(np.sqrt(squares / count)) if count else float("nan")), count / 25


def live_points(avatar: Avatar, samples: FloatArray) -> FloatArray:
    live = avatar.live()
    tracks = [live.push(samples[start : start + _PIECE]) for start in range(0, len(samples), _PIECE)]
    return MotionTrack.concatenate([track for track in tracks if len(track)]).points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, action="append", metavar=("AVATAR", "PORTRAIT"), required=True)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    table = {}
    for avatar_name, portrait_name in options.pair:
        avatar = Avatar.load(avatar_name)
        own, seconds = rest_speed(Portrait.load(portrait_name))
        row = {"rest_seconds": seconds}
        for kind, examples in sounds(options.seconds).items():
            speeds = []
            for samples in examples:
                points = live_points(avatar, samples)[_SETTLE_FRAMES:]
                speeds.append(lip_speed(points, np.ones(len(points) - 1, bool)))
            row[kind] = max(speeds) / own
        table[avatar_name] = row
        print(avatar_name, {key: round(value, 2) for key, value in row.items()})
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
