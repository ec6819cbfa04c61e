"""How head, brows and lids move with speech, on the held-out seconds of a portrait: the person, replay alone, and ours.

    python benchmarks/expression.py --pair AVATAR PORTRAIT [--pair ...] [--seeds 3] [--style neutral] [--temperature 0]

Replay is the head's recorded path played back and forth at its own pace, brows as the motion model has them, blinks as
a Poisson process: what avatars did before head and brows followed the speech, and the control for it. Columns:

    head      speed of the rotation, degrees a second: median and 90th percentile
    band      share of the rotation's power below .35 Hz, to .7, to 1.4, above
    speed r   correlation of that speed with loudness
    pitch r   correlation of the pitch with the stress of words (`avatar.stress`)
    brows     deviation of the brow landmarks in a clip, over the person's; correlation of their height with the
              person's; jitter over the person's, whose tracking noise is part of it (`metrics.stability`)
    blinks    a minute, and the share of them that begins in a pause or a frame beside it

Tracks are smoothed first (deviation 2.5 frames for the head, 2 for brows), but for the jitter.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np

from geneface.avatar.avatar import Avatar
from geneface.avatar.idle import Blinker
from geneface.avatar.performance import Performance
from geneface.avatar.poses import build_path, first_frame, pose_values, replay, training_runs
from geneface.avatar.recorded import FACE_SIGMA_FRAMES
from geneface.avatar.smoothing import smooth
from geneface.avatar.stress import Acting, Follower, heard_windows, loudness_of, stress_of_recording
from geneface.evaluation.metrics.blinks import CLOSED_SHARE, closed_frames
from geneface.evaluation.metrics.stability import band_jitter
from geneface.geometry.landmarks import BROWS
from geneface.portrait.portrait import Portrait
from geneface.types import VIDEO_RATE_HZ, FloatArray, Waveform

_BANDS_HZ = (0.0, 0.35, 0.7, 1.4, VIDEO_RATE_HZ / 2)


@dataclass
class Moves:
    """What moved in the held-out clips, one entry a clip."""

    rotation: list[FloatArray] = field(default_factory=list)
    brows: list[FloatArray] = field(default_factory=list)
    blinks: list[tuple[int, int, int]] = field(default_factory=list)
    """How many, of these in pauses, and of how many frames."""


@dataclass
class Heard:
    """What is said meanwhile."""

    loud: list[FloatArray] = field(default_factory=list)
    word: list[FloatArray] = field(default_factory=list)


def blinks_in(begin: np.ndarray, acting: Acting) -> tuple[int, int, int]:
    """Blinks that begin in frames `begin`, see `Moves.blinks`."""
    near = [acting.pauses[max(frame - 3, 0) : frame + 2].any() for frame in begin]
    return len(begin), int(np.sum(near)), len(acting.pauses)


def measured(avatar: Avatar, portrait: Portrait, performances: list[Performance]) -> tuple[dict[str, Moves], Heard]:
    """The person, replay and ours; the person once for every seed."""
    rows, heard = {name: Moves() for name in ("person", "replay", "ours")}, Heard()
    nothing = np.zeros((len(portrait.pose), 0), np.float32)
    path, _ = build_path(portrait.pose, training_runs(portrait.segment, ~portrait.heldout), nothing)
    runs = training_runs(portrait.segment, portrait.heldout)
    blink = avatar.files.person.blink
    for performance in performances:
        for run in runs:
            number = int(portrait.segment[run.start])
            frames = portrait.frames_of(number)
            clip = slice(run.start - frames.start, run.stop - frames.start)
            sound = portrait.audio(number)
            loud = heard_windows(loudness_of(sound.samples), len(frames))
            acting = Follower(0.0).follow(loud)
            heard.loud.append(smooth(loud[clip, :1], 2.0)[:, 0])
            heard.word.append(stress_of_recording(loud[:, 0])[clip, 0])
            rows["person"].rotation.append(portrait.pose.rotation[run])
            rows["person"].brows.append(portrait.landmarks[run][:, BROWS])
            generic = avatar._model.predict(avatar._encoder.encode(sound.samples), person=avatar._person_motion)
            first = first_frame(path, performance.seed) + 997 * run.start
            replayed = replay(pose_values(path), first + np.arange(run.stop - run.start, dtype=np.float64))
            rows["replay"].rotation.append(replayed[:, :3])
            rows["replay"].brows.append(smooth(generic[clip][:, BROWS], FACE_SIGMA_FRAMES))
            everywhere = np.ones(len(frames), bool)
            closure = Blinker(blink, performance.seed + run.start).closure(everywhere, ~everywhere)
            shut = np.flatnonzero(closure > CLOSED_SHARE)
            rows["replay"].blinks.append(blinks_in(shut[~np.isin(shut - 1, shut)], acting))
            open_eyes = avatar.motion(Waveform(sound.samples), performance)
            closing = avatar.motion(Waveform(sound.samples), Performance(**{**vars(performance), "blink": True}))
            rows["ours"].rotation.append(open_eyes.pose.rotation[clip])
            rows["ours"].brows.append(open_eyes.points[clip][:, BROWS])
            closed = closed_frames(open_eyes.points, closing.points)
            rows["ours"].blinks.append(blinks_in(closed[~np.isin(closed - 1, closed)], acting))
    return rows, heard


def shown(moves: Moves, person: Moves, heard: Heard) -> str:
    """One line of the table."""
    degrees = [np.degrees(smooth(rotation, 2.5)) for rotation in moves.rotation]
    speeds = [np.linalg.norm(np.gradient(clip, axis=0), axis=1) * VIDEO_RATE_HZ for clip in degrees]
    speed = np.concatenate(speeds)
    power = np.zeros(len(_BANDS_HZ) - 1)
    for clip in degrees:
        spectrum = np.square(np.abs(np.fft.rfft((clip - clip.mean(0)) * np.hanning(len(clip))[:, None], axis=0))).sum(1)
        band = np.searchsorted(_BANDS_HZ, np.fft.rfftfreq(len(clip), 1 / VIDEO_RATE_HZ)[1:])
        power += np.bincount(band, spectrum[1:], len(_BANDS_HZ))[1:]
    pitch = np.concatenate([clip[:, 0] - clip[:, 0].mean() for clip in degrees])
    word = np.concatenate([values - values.mean() for values in heard.word])
    brows, theirs = ([smooth(clip, 2.0) for clip in row.brows] for row in (moves, person))
    deviation, their_deviation = (
        np.sqrt(np.mean([clip.var(axis=0).mean() for clip in row])) for row in (brows, theirs)
    )
    height = [np.corrcoef(*(clip[..., 1].mean(1) for clip in pair))[0, 1] for pair in zip(brows, theirs, strict=True)]
    blinks, paused, frames = np.sum(moves.blinks, axis=0) if moves.blinks else (0, 0, 0)
    told = f"{60 * VIDEO_RATE_HZ * blinks / frames:5.1f} {paused / max(blinks, 1):5.2f}" if frames else "    -     -"
    return (
        f"{np.median(speed):6.1f} {np.percentile(speed, 90):6.1f}  "
        + " ".join(f"{share:.2f}" for share in power / power.sum())
        + f"  {np.corrcoef(np.concatenate(heard.loud), speed)[0, 1]:+.2f}  {np.corrcoef(word, pitch)[0, 1]:+.2f}  "
        f"{deviation / their_deviation:5.2f} {np.mean(height):+.2f} "
        f"{band_jitter(moves.brows) / band_jitter(person.brows):6.3f}  {told}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", nargs=2, action="append", metavar=("AVATAR", "PORTRAIT"), required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--style", default="neutral")
    parser.add_argument("--temperature", type=float, default=0.0)
    options = parser.parse_args()
    for avatar_name, portrait_name in options.pair:
        avatar, portrait = Avatar.load(avatar_name), Portrait.load(portrait_name)
        performances = [
            Performance(options.temperature, seed, blink=False, body="drawn", style=options.style)
            for seed in range(options.seeds)
        ]
        rows, heard = measured(avatar, portrait.of_scene(avatar.files.config.scene), performances)
        print(f"{avatar.name}: {len(heard.loud)} clips")
        print("          head          band                speed  pitch  brows             blinks")
        for name, moves in rows.items():
            print(f"{name:7} {shown(moves, rows['person'], heard)}")


if __name__ == "__main__":
    main()
