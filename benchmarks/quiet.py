"""How much a live face moves its lips to sounds that are no speech of its own, and that it holds what is held.

    python benchmarks/quiet.py --pair AVATAR PORTRAIT [--pair ...] [--sound NAME FILE ...] [--voice FILE]
        [--seconds 20] [--json FILE]

Each sound goes into `Avatar.live` in pieces of 20 ms, as a microphone's. A figure is the root mean square speed of the
lip landmarks, their centre taken out, over the same of the recorded person in the silences of the portrait (whose
speed has the tracker's noise in it). 1 is as calm as the person; "speech" is the bundled sentence, as a control.
Laughter, coughs, breath, clicks, drums and music are synthetic; --sound adds recorded ones under a name (several of a
name: the liveliest counts, as everywhere). "A voice far away": another voice (--voice, or the bundled one, higher) so
many dB below the speech that was heard just before, in a room. "Laughter after speech": as it comes in a talk.

Held vowels must stay open as long as they sound: the second figure is the opening in the last half second of a vowel
of 3 s, over that in its first half second, the least of several; nan: the lips did not open for it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from lip_curves import chords, held_vowel

from geneface.avatar.avatar import Avatar
from geneface.corpus.augmentation import Augmentation, augment
from geneface.corpus.held_vowels import HeldVowel, hold_vowel, vowel_moments
from geneface.corpus.non_speech import KINDS, non_speech_sound
from geneface.evaluation.metrics.articulation import silent_frames
from geneface.geometry.landmarks import LIPS, lip_opening
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.portrait.portrait import Portrait
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import SPEECH_RATE_HZ, FloatArray, MotionTrack

_PIECE = SPEECH_RATE_HZ // 50
_SETTLE_FRAMES = 25
"""The first second is left out: the level has to be found."""
_CLOSING_FRAMES = 12
"""After speech the lips may take so long to close."""
_HELD_SECONDS = 3.0
_OPENED = 0.15
"""Of the way to the widest opening: less is a mouth that was not opened."""


Sound = tuple[FloatArray, int]
"""Samples, and the frame from which on the lips are watched."""


def sounds(seconds: float, voice: Path | None, recorded: Mapping[str, Sequence[Path]]) -> dict[str, list[Sound]]:
    """Several of each kind: levels and colours are drawn at random."""
    rng = np.random.default_rng(7)
    count = round(seconds * SPEECH_RATE_HZ)
    room = [np.asarray(10 ** (level / 20) * rng.standard_normal(count), np.float32) for level in (-60, -50, -40)]
    made = {kind: [non_speech_sound(seconds, rng, kind) for _ in range(3)] for kind in KINDS if kind != "silence"}
    for name, paths in recorded.items():
        made[name] = [read_audio(path).samples[:count] for path in paths]
    speech = read_audio(asset_path("speech", "demo.flac")).samples[:count]
    made = {"zeros": [np.zeros(count, np.float32)], "room noise": room, **made}
    made["chords"] = [chords(seconds, rng) for _ in range(3)]
    made["band"] = [0.7 * chords(seconds, rng) + non_speech_sound(seconds, rng, "drums") for _ in range(3)]
    result: dict[str, list[Sound]] = {
        name: [(samples, _SETTLE_FRAMES) for samples in each] for name, each in made.items()
    }
    for name in ("laughter", "cough", *recorded):
        result[f"{name} after speech"] = [_after(speech, samples) for samples in made[name]]
    other = speech if voice is None else read_audio(voice).samples[:count]
    change = Augmentation(pitch=1.35 if voice is None else 1.0, formant=1.09, room_seconds=0.7, room_share=0.7)
    far = augment(other, change, rng)
    far = far * np.float32(np.std(speech) / max(float(np.std(far)), 1e-9))
    for below in (20, 30, 40):
        result[f"a voice far away, -{below} dB"] = [_after(speech, np.float32(10 ** (-below / 20)) * far)]
    return result | {"speech": [(speech, _SETTLE_FRAMES)]}


def _after(speech: FloatArray, samples: FloatArray) -> Sound:
    """A sound that comes half a second after someone spoke."""
    pause = np.full(SPEECH_RATE_HZ // 2, 0.0, np.float32)
    before = np.concatenate([speech, pause])
    return np.concatenate([before, samples]).astype(np.float32), len(before) // SAMPLES_PER_FRAME + _CLOSING_FRAMES


def held_openings(avatar: Avatar) -> dict[str, float]:
    """Of vowels that last 3 s, as sung and as spoken: the opening at their end over that at their beginning."""
    rng = np.random.default_rng(3)
    speech = read_audio(asset_path("speech", "demo.flac")).samples
    quiet = np.zeros(SPEECH_RATE_HZ, np.float32)
    sung = {}
    for name in "aeo":
        for pitch in (120.0, 220.0):
            vowel = held_vowel(name, pitch, _HELD_SECONDS, rng)
            sung[f"sung {name}, {pitch:.0f} Hz"] = (
                np.concatenate([speech[: 3 * SPEECH_RATE_HZ], quiet, vowel, quiet]),
                4.0,
            )
    moments = vowel_moments(speech)
    for number, moment in enumerate(rng.choice(moments, 6, replace=False)):
        held = HeldVowel(float(moment), _HELD_SECONDS)
        sung[f"spoken {number + 1}"] = (
            hold_vowel(speech, held)[: round((moment + _HELD_SECONDS + 1) * SPEECH_RATE_HZ)],
            moment,
        )
    result = {}
    for name, (samples, start) in sung.items():
        opening = lip_opening(live_points(avatar, samples))
        frame, half = round(start * 25), 12
        first = float(np.median(opening[frame + 3 : frame + 3 + half]))
        last = float(np.median(opening[frame + round(_HELD_SECONDS * 25) - half :][:half]))
        closed = float(np.percentile(opening, 2))
        is_open = first - closed > _OPENED * (np.percentile(opening, 98) - closed)
        result[name] = (last - closed) / (first - closed) if is_open else float("nan")
    return result


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
    parser.add_argument("--sound", nargs="+", action="append", default=[], metavar=("NAME", "FILE"))
    parser.add_argument("--voice", type=Path, help="who is far away")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    recorded = {name: [Path(path) for path in paths] for name, *paths in options.sound}
    heard = sounds(options.seconds, options.voice, recorded)
    table = {}
    for avatar_name, portrait_name in options.pair:
        avatar = Avatar.load(avatar_name)
        own, seconds = rest_speed(Portrait.load(portrait_name))
        row: dict[str, float] = {"rest_seconds": seconds}
        for kind, examples in heard.items():
            speeds = []
            for samples, first in examples:
                points = live_points(avatar, samples)[first:]
                speeds.append(lip_speed(points, np.ones(len(points) - 1, bool)))
            row[kind] = max(speeds) / own
        row |= {f"kept open, {name}": value for name, value in held_openings(avatar).items()}
        table[avatar_name] = row
        print(avatar_name, {key: round(value, 2) for key, value in row.items()}, flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
