"""What an avatar's lips do to speech, song and sounds: curves over the spectrogram, and frames.

    python benchmarks/lip_curves.py AVATAR [SOUND ...] [--seconds 6] [--synthetic] -o DIR

For each sound: spectrogram, opening and width of the lips, recorded and live, and eight frames in one picture. With
--synthetic also a sung scale, chords, silence, noise, breath, drums and clipped speech, made here. Prints how much the
lips move to each. Needs matplotlib, which the development extras bring.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from geneface.analysis.mel import log_mel
from geneface.avatar.avatar import Avatar
from geneface.corpus.non_speech import KINDS, non_speech_sound
from geneface.geometry.landmarks import lip_opening, lip_width
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.signal.sound import levelled
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, FloatArray, Waveform

_FRAMES = 8
_VOWELS = {"a": (800, 1200), "e": (450, 2100), "i": (300, 2300), "o": (480, 850), "u": (320, 750)}
"""First two formants, Hz (Peterson & Barney 1952, men, rounded)."""


def sung_scale(seconds: float, rng: np.random.Generator) -> FloatArray:
    """Vowels on a rising and falling scale with vibrato: harmonics weighted by two formants."""
    time = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    notes = np.array([0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2])
    index = (time / 0.6).astype(int)
    vibrato = 1 + 0.012 * np.sin(2 * np.pi * 5.5 * time)
    pitch = 165.0 * 2.0 ** (notes[index % len(notes)] / 12) * vibrato
    phase = 2 * np.pi * np.cumsum(pitch) / SPEECH_RATE_HZ
    formants = np.array([_VOWELS["aeiou"[number % 5]] for number in index], float)
    sound = np.zeros(len(time))
    for number in range(1, 40):
        frequency = number * pitch
        gain = sum(1.0 / (1.0 + ((frequency - formants[:, k]) / 90.0) ** 2) for k in range(2)) / number**0.5
        sound += np.where(frequency < 7500, gain, 0.0) * np.sin(number * phase)
    fade = np.minimum(1.0, 12.0 * np.abs((time / 0.6) % 1.0 - np.round((time / 0.6) % 1.0)) + 0.25)
    return (0.3 * sound * fade / np.abs(sound).max() + 1e-4 * rng.standard_normal(len(time))).astype(np.float32)


def held_vowel(name: str, pitch: float, seconds: float, rng: np.random.Generator) -> FloatArray:
    """One vowel on one note with vibrato, swelling in and out within 0.1 s."""
    time = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    heights = pitch * (1 + 0.01 * np.sin(2 * np.pi * 5.5 * time))
    phase = 2 * np.pi * np.cumsum(heights) / SPEECH_RATE_HZ
    sound = np.zeros(len(time))
    for number in range(1, int(7000 / pitch)):
        gain = sum(1.0 / (1.0 + ((number * pitch - formant) / 90.0) ** 2) for formant in (*_VOWELS[name], 2700))
        sound += gain / number**0.5 * np.sin(number * phase)
    fade = np.clip(np.minimum(time, seconds - time) / 0.1, 0, 1)
    return (0.3 * fade * sound / np.abs(sound).max() + 1e-4 * rng.standard_normal(len(time))).astype(np.float32)


def chords(seconds: float, rng: np.random.Generator) -> FloatArray:
    """Four held notes at once, others every second: twelve harmonics each."""
    time = np.arange(round(seconds * SPEECH_RATE_HZ)) / SPEECH_RATE_HZ
    sound = np.zeros(len(time))
    for second in range(int(np.ceil(seconds))):
        inside = (time >= second) & (time < second + 1)
        for step in rng.choice([0, 4, 7, 12, 16, 19], 4, replace=False):
            for number in range(1, 13):
                sound[inside] += np.sin(2 * np.pi * 130.0 * 2.0 ** (step / 12) * number * time[inside]) / number
    return (0.2 * sound / np.abs(sound).max()).astype(np.float32)


def synthetic_sounds(seconds: float) -> dict[str, FloatArray]:
    rng = np.random.default_rng(0)
    speech = read_audio(asset_path("speech", "demo.flac")).samples[: round(seconds * SPEECH_RATE_HZ)]
    sounds = {kind: non_speech_sound(seconds, rng, kind) for kind in KINDS}
    return {
        "song": sung_scale(seconds, rng),
        "chords": chords(seconds, rng),
        **sounds,
        "clipped": np.clip(20.0 * speech, -0.5, 0.5),
    }


def curves(avatar: Avatar, samples: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Opening and width [F] of the recording, opening [F] of live speech, head units."""
    points = avatar.motion(Waveform(samples)).points
    live = avatar.live()
    pieces = [live.push(samples[start : start + 1600]) for start in range(0, len(samples), 1600)] + [live.finish()]
    heard = np.concatenate([piece.points for piece in pieces])
    return lip_opening(points), lip_width(points), lip_opening(heard)


def draw(avatar: Avatar, name: str, samples: FloatArray, out: Path) -> float:
    """Write one picture; returns the root mean square speed of the opening, head units a frame."""
    mpl.use("Agg")
    from matplotlib import pyplot

    opening, width, live = curves(avatar, samples)
    frames = list(avatar.stream(Waveform(samples), size=192))
    chosen = np.linspace(0, len(frames) - 1, _FRAMES + 2).astype(int)[1:-1]
    figure = pyplot.figure(figsize=(14, 6), constrained_layout=True)
    grid = figure.add_gridspec(2, _FRAMES, height_ratios=(3, 1.6))
    axis = figure.add_subplot(grid[0, :])
    mel = log_mel(levelled(samples), 0, 100 * len(samples) // SPEECH_RATE_HZ)
    seconds = len(samples) / SPEECH_RATE_HZ
    axis.imshow(mel.T, origin="lower", aspect="auto", cmap="Greys", extent=(0, seconds, 0, 1))
    time = np.arange(len(opening)) / VIDEO_RATE_HZ
    for values, label, colour in ((opening, "opening", "tab:red"), (live, "opening, live", "tab:orange")):
        axis.plot(time, values / 0.12, color=colour, label=label, linewidth=1.2)
    axis.plot(time, 0.6 + (width - np.median(width)) / 0.12, color="tab:blue", label="width", linewidth=1.2)
    axis.set(xlabel="s", ylim=(-0.05, 1.0), title=name, yticks=[])
    axis.legend(loc="upper right", fontsize=8)
    for column, frame in enumerate(chosen):
        picture = figure.add_subplot(grid[1, column])
        picture.imshow(frames[frame])
        picture.set_title(f"{frame / VIDEO_RATE_HZ:.2f} s", fontsize=8)
        picture.axis("off")
    figure.savefig(out / f"{name}.png", dpi=70)
    pyplot.close(figure)
    return float(np.sqrt(np.mean(np.square(np.diff(opening)))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("avatar")
    parser.add_argument("sounds", type=Path, nargs="*")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--start", type=float, default=2.0, help="seconds into each file")
    parser.add_argument("--synthetic", action="store_true")
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    avatar = Avatar.load(arguments.avatar)
    arguments.out.mkdir(parents=True, exist_ok=True)
    start, count = round(arguments.start * SPEECH_RATE_HZ), round(arguments.seconds * SPEECH_RATE_HZ)
    sounds = {path.stem: read_audio(path).samples[start : start + count] for path in arguments.sounds}
    if arguments.synthetic:
        sounds |= synthetic_sounds(arguments.seconds)
    for name, samples in sounds.items():
        speed = draw(avatar, name, samples, arguments.out)
        print(f"{name}: the opening changes by {1000 * speed:.2f} thousandths of a head unit a frame", flush=True)


if __name__ == "__main__":
    main()
