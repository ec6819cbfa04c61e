"""How often the sound's offset is found where it is known: sounds moved by so much, in pieces of portraits and whole.

    python benchmarks/offsets.py PORTRAIT... [--quick]

What a whole recording gives unmoved is its truth. "Found" is within half a frame of it, "wrong" more than one frame off
and yet confident; "unsure" leaves the sound as it is. Then what must not be moved: lips under another portrait's voice,
and under music; and speech with music over it, which may be moved rightly or not at all.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geneface.analysis.sync_offset import SoundOffset
from geneface.geometry.camera import project, to_camera
from geneface.portrait.lips_asked import LipListener
from geneface.portrait.offsets import SpanFrames, span_offsets
from geneface.portrait.portrait import Portrait
from geneface.signal.sound import cut_frames
from geneface.signal.timing import SAMPLES_PER_FRAME
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, FloatArray, Waveform

_MANY = 24
"""Of portraits with more segments, so many are taken."""
_LISTENER = LipListener()


class Recording(NamedTuple):
    name: str
    meshes: list[np.ndarray]
    sounds: list[FloatArray]
    late: tuple[float, ...] = ()
    """Of each segment, as it is."""


class Piece(NamedTuple):
    segment: int
    start: int
    frames: int


class Outcome(NamedTuple):
    confident: bool
    """Of all runs."""
    is_any: bool
    """Whether of any."""
    error: float


def load(folder: Path) -> Recording:
    """A portrait's meshes in pixels, as a tracker would give them, and the sound of each segment."""
    portrait = Portrait.load(folder)
    step = max(1, len(portrait.segments) // _MANY) if len(portrait.segments) > _MANY else 1
    meshes, sounds = [], []
    for index in range(0, len(portrait.segments), step):
        frames = list(portrait.frames_of(index))
        pose = portrait.pose.rotation[frames], portrait.pose.translation[frames]
        pixels = project(portrait.mesh[frames], *pose, portrait.camera)
        depth = to_camera(portrait.mesh[frames], *pose)[..., 2]
        middle = depth.mean(1, keepdims=True)
        scale = portrait.camera.focal * portrait.size / np.abs(middle)
        meshes.append(np.concatenate([pixels, (scale * (middle - depth))[..., None]], axis=-1).astype(np.float32))
        sounds.append(portrait.audio(index).samples)
    return Recording(folder.name, meshes, sounds)


def whole(recording: Recording) -> list[Piece]:
    return [Piece(index, 0, len(mesh)) for index, mesh in enumerate(recording.meshes)]


def pieces(recording: Recording, seconds: int) -> Iterator[list[Piece]]:
    """Stretches of this length, a second apart; of clips, as many as hold that much speech (half of GRID's)."""
    if len(recording.meshes) > 1:
        count, clips = max(2, seconds // 2), len(recording.meshes)
        for first in range(clips):
            yield [whole(recording)[(first + step) % clips] for step in range(count)]
        return
    frames = min(seconds * VIDEO_RATE_HZ, len(recording.meshes[0]))
    for start in range(0, len(recording.meshes[0]) - frames + 1, VIDEO_RATE_HZ):
        yield [Piece(0, start, frames)]


def moved(recording: Recording, piece: Piece, late: float) -> Waveform:
    """The sound of a piece as a file of its length would hold it, late by so many frames."""
    return Waveform(cut_frames(Waveform(recording.sounds[piece.segment]), piece.start - late, piece.frames))


def estimate(recording: Recording, chosen: list[Piece], sounds: list[Waveform]) -> list[SoundOffset]:
    return span_offsets(sounds, spans_of(recording, chosen), _LISTENER)


def spans_of(recording: Recording, chosen: list[Piece]) -> list[SpanFrames]:
    return [
        (number, 0, recording.meshes[piece.segment][piece.start : piece.start + piece.frames])
        for number, piece in enumerate(chosen)
    ]


def outcome(
    found: Sequence[SoundOffset], runs: Sequence[SpanFrames], late: Sequence[float], ppm: float = 0.0
) -> Outcome:
    """The worst error at both ends of all runs."""
    errors = [0.0]
    for offset, (_, start, mesh), true in zip(found, runs, late, strict=True):
        if offset.confident:
            errors += [abs(offset.late_at(at) - true - 1e-6 * ppm * at) for at in (start, start + len(mesh))]
    sure = [offset.confident for offset in found]
    return Outcome(all(sure), any(sure), max(errors))


def planted(
    recording: Recording, seconds: int | None, lags: Sequence[float], rng: np.random.Generator
) -> list[Outcome]:
    results = []
    for number, chosen in enumerate(pieces(recording, seconds) if seconds else [whole(recording)]):
        # Whole recordings get all of them; pieces share them out, each starting with another.
        own = lags if seconds is None else rng.permutation(lags)[: 4 if number % 2 else 5]
        for late in own:
            sounds = [moved(recording, piece, float(late)) for piece in chosen]
            results.append(judged(recording, chosen, sounds, float(late)))
    return results


def judged(recording: Recording, chosen: list[Piece], sounds: list[Waveform], late: float) -> Outcome:
    """What is found of sounds that are late by so much."""
    truth = [recording.late[piece.segment] + late for piece in chosen]
    return outcome(estimate(recording, chosen, sounds), spans_of(recording, chosen), truth)


def drifting(recording: Recording, ppm: float) -> list[Outcome]:
    """The whole recording as one file whose sound drifts; clips follow on each other."""
    edges = np.cumsum([0, *map(len, recording.meshes)])
    joined = Waveform(np.concatenate(recording.sounds))
    results = []
    for late in (-3.0, 0.0, 5.0):
        sound = Waveform(cut_frames(joined, -late, int(edges[-1]), pace_of(ppm)))
        runs = [(0, int(start), mesh) for start, mesh in zip(edges[:-1], recording.meshes, strict=True)]
        truth = [own + late for own in recording.late]
        results.append(outcome(span_offsets([sound], runs, _LISTENER), runs, truth, ppm))
    return results


def pace_of(ppm: float) -> float:
    """What makes a sound later and later plays it slower."""
    return 1e6 * (1 / (1 + 1e-6 * ppm) - 1)


def music(samples: int, rng: np.random.Generator, with_drums: bool) -> FloatArray:
    """Chords, a melody and drums: rms .1."""
    sound, beat = np.zeros(samples), 60 / rng.uniform(80, 140)

    def play(at: int, seconds: float, hertz: float, level: float, decay: float) -> None:
        time = np.arange(max(0, min(samples - at, int(seconds * SPEECH_RATE_HZ)))) / SPEECH_RATE_HZ
        shape = np.exp(-decay * time) * np.minimum(time / 0.01, 1)
        for overtone in range(1, 6):
            sound[at : at + len(time)] += level * shape * np.sin(2 * np.pi * hertz * overtone * time) / overtone**1.3

    root = 220.0
    for number in range(int(samples / SPEECH_RATE_HZ / beat) + 1):
        at = int(number * beat * SPEECH_RATE_HZ)
        if number % 4 == 0:
            root = 220 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9]) / 12 - rng.integers(2))
            for tone in (0, 4, 7, 12):
                play(at, 4 * beat, root * 2 ** (tone / 12), 1.0, 0.8)
        for half in (0, 1):
            play(
                at + int(half * beat * SPEECH_RATE_HZ / 2), beat / 2, 2 * root * 2 ** (rng.integers(13) / 12), 0.7, 3.0
            )
        if with_drums:
            play(at, 0.2, 60.0, 3.0, 18.0)
            hit = rng.normal(size=max(0, min(samples - at, 3000)))
            sound[at : at + len(hit)] += (2.0 if number % 2 else 0.5) * hit * np.exp(-np.arange(len(hit)) / 400)
    return (0.1 * sound / sound.std()).astype(np.float32)


def controls(
    recording: Recording, others: Sequence[Recording], seconds: int | None, rng: np.random.Generator
) -> dict[str, list[Outcome]]:
    """Outcomes under wrong sounds: any confident one is false; under music over the right one: error."""
    results: dict[str, list[Outcome]] = defaultdict(list)
    chosen_pieces = list(pieces(recording, seconds))[::2] if seconds else [whole(recording)]
    for chosen in chosen_pieces:
        lengths = [piece.frames * SAMPLES_PER_FRAME for piece in chosen]
        for other in others:
            voice = np.concatenate(other.sounds)
            voice = np.tile(voice, 1 + 2 * max(lengths) // len(voice))
            starts = [int(rng.integers(len(voice) - length + 1)) for length in lengths]
            sounds = [Waveform(voice[at : at + length]) for at, length in zip(starts, lengths, strict=True)]
            results["another voice"].append(judged(recording, chosen, sounds, 0.0))
        for with_drums in (False, True):
            sounds = [Waveform(music(length, rng, with_drums)) for length in lengths]
            results["music"].append(judged(recording, chosen, sounds, 0.0))
        for decibels in (10, 5, 0, -5):
            late = float(rng.choice([-6, -2.5, 0, 4]))
            sounds = [mixed(moved(recording, piece, late), decibels, rng) for piece in chosen]
            results[f"speech over music, {decibels:+d} dB"].append(judged(recording, chosen, sounds, late))
    return results


def mixed(sound: Waveform, decibels: float, rng: np.random.Generator) -> Waveform:
    """Speech that is so much louder than the music over it."""
    level = float(np.sqrt(np.square(sound.samples[sound.samples != 0]).mean()))
    tune = music(len(sound.samples), rng, with_drums=bool(rng.integers(2)))
    return Waveform(sound.samples + tune * np.float32(level / 0.1 * 10 ** (-decibels / 20)))


def row(label: str, results: Sequence[Outcome], *, is_false: bool = False) -> str:
    count = len(results)
    sure = [result for result in results if result.confident]
    if is_false:
        return f"{label:46s} {count:5d}  moved {sum(result.is_any for result in results)}"
    found = sum(result.error <= 0.5 for result in sure)
    wrong = sum(result.error > 1 for result in sure)
    near, unsure = len(sure) - found - wrong, count - len(sure)
    shares = [f"{100 * value / count:5.1f}" for value in (found, near, unsure)]
    return f"{label:46s} {count:5d}  found {shares[0]}  within 1 {shares[1]}  unsure {shares[2]} %  wrong {wrong}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portraits", nargs="+", type=Path)
    parser.add_argument("--quick", action="store_true", help="few offsets, no controls")
    options = parser.parse_args()
    recordings = []
    for folder in options.portraits:
        recording = load(folder)
        found = estimate(recording, whole(recording), [moved(recording, piece, 0) for piece in whole(recording)])
        recordings.append(recording._replace(late=tuple(offset.best_frames for offset in found)))
        kinds = ", ".join(f"{o.best_frames:+.1f} (confidence {o.confidence})" for o in dict.fromkeys(found))
        print(f"{recording.name}: {kinds} frames as it is", flush=True)
    lags = [-8.0, -2.5, 3.0] if options.quick else [float(lag) for lag in range(-8, 9)] + [-6.5, -1.5, 0.5, 4.5]
    for recording in recordings:
        rng = np.random.default_rng(0)
        for seconds in (4, 6, 8, None):
            label = f"{recording.name}, {f'{seconds} s' if seconds else 'whole'}"
            print(row(label, planted(recording, seconds, lags, rng)), flush=True)
        for ppm in (100, -100, 1000):
            print(row(f"{recording.name}, drift of {ppm} ppm", drifting(recording, ppm)), flush=True)
        if not options.quick:
            others = [other for other in recordings if other.name.split("-")[0] != recording.name.split("-")[0]]
            for seconds in (4, 8, None):
                for name, results in controls(recording, others, seconds, rng).items():
                    label = f"{recording.name}, {f'{seconds} s' if seconds else 'whole'}, {name}"
                    print(row(label, results, is_false=not name.startswith("speech")), flush=True)


if __name__ == "__main__":
    main()
