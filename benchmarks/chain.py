"""From a sound file to an MP4: speed, first frames, memory, and where the time goes.

    python benchmarks/chain.py [--avatar grid-s1] [--sizes 256 512 source] [--seconds 10] [--repeats 5] [--json]

whole chain      `geneface render` as a process of its own, from before it is started until it has ended: frames/s
first frame      in the same runs, from before the process is started until its first frame is handed to the encoder
first of stream  `Avatar.stream` of a loaded avatar, from the call to the first picture
stages           processor time of one thread for a frame of each stage, all alone

Times are medians (least-most). The sound is the bundled sentence, repeated. Compile the package's bytecode first, as
pip does (`python -m compileall -q src`), or reading the sources is part of every start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from geneface import ops
from geneface.avatar.avatar import Avatar
from geneface.avatar.view import SOURCE, Size
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.io.encode import write_video
from geneface.types import SPEECH_RATE_HZ, Waveform

STREAM_SECONDS = (1, 10, 80)
LENGTH_SECONDS = (10, 40, 160)
STAGE_FRAMES = 100
# The command line with a progress function that tells when the first frame has been taken.
PROGRAM = """
import sys, time
from contextlib import contextmanager
from geneface.apps import cli
from geneface.apps import commands_render

@contextmanager
def first_frame(enabled=True):
    yield lambda stage, done, total: print(time.time(), file=sys.stderr) if done == 1 else None

commands_render.progress_bars = first_frame
cli.main()
"""

Table = dict[str, Any]


def spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "min": min(values), "max": max(values)}


def write_sounds(folder: Path, lengths: set[float]) -> dict[float, Path]:
    """WAV files of these lengths in seconds."""
    sentence = read_audio(asset_path("speech", "demo.flac")).samples
    paths = {}
    for seconds in lengths:
        paths[seconds] = folder / f"{seconds:g}.wav"
        soundfile.write(paths[seconds], np.resize(sentence, round(seconds * SPEECH_RATE_HZ)), SPEECH_RATE_HZ)
    return paths


def run_process(command: list[str]) -> tuple[str, str, dict[str, float]]:
    """A process from before it is started until it has ended: both outputs, its seconds and its peak memory."""
    clock = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    # Little is written, so that neither pipe can fill up.
    printed, told = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - clock
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[-8:])} failed: {told}")
    return (
        printed,
        told,
        {
            "seconds": seconds,
            "core_seconds": usage.ru_utime + usage.ru_stime,
            # Kibibytes on Linux, bytes on macOS. Never less than this process had when it started the other.
            "peak_mb": usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        },
    )


def run_render(avatar: str, sound: Path, size: Size, out: Path) -> dict[str, float]:
    """One `geneface render`."""
    command = [sys.executable, "-c", PROGRAM, "render", avatar]
    command += ["--audio", str(sound), "-o", str(out), "--size", str(size), "--json"]
    started = time.time()
    printed, told, usage = run_process(command)
    frames = json.loads(printed)["frames"]
    return {
        "frames": frames,
        "frames_per_second": frames / usage["seconds"],
        "first_frame_seconds": float(told.split()[0]) - started,
        **usage,
    }


def measure_chain(avatar: str, sound: Path, size: Size, repeats: int, out: Path) -> Table:
    runs = [run_render(avatar, sound, size, out) for _ in range(repeats)]
    chosen = ("frames_per_second", "first_frame_seconds", "core_seconds", "peak_mb")
    return {name: spread([run[name] for run in runs]) for name in chosen}


def measure_stream(avatar: Avatar, sound: Path, size: Size, repeats: int) -> Table:
    """Milliseconds to the first picture, from a waveform and from a file that must be read first."""
    waveform = read_audio(sound)

    def first(audio: Waveform | Path) -> float:
        started = time.perf_counter()
        frames = avatar.stream(audio, size=size)
        next(frames)
        seconds = time.perf_counter() - started
        frames.close()
        return 1e3 * seconds

    first(waveform)
    sources: dict[str, Waveform | Path] = {"waveform": waveform, "file": sound}
    return {name: spread([first(audio) for _ in range(repeats)]) for name, audio in sources.items()}


def core_ms(run: Callable[[], object], frames: int, repeats: int) -> float:
    """Median processor time for a frame."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1e3 * float(np.median(times)) / frames


def measure_stages(avatar: Avatar, sound: Path, size: Size, repeats: int, out: Path) -> dict[str, float]:
    """Core-ms a frame of each stage; "colour" is what an MP4 needs, "to_uint8" what `Avatar.stream` does instead."""
    waveform = read_audio(sound)
    motion = avatar.motion(waveform)
    count = min(STAGE_FRAMES, len(motion))
    part = Waveform(waveform.samples[: count * SPEECH_RATE_HZ // 25])

    def draw() -> list[Any]:
        return list(avatar.pictures(motion[:count], size=size))

    ops.set_threads(1)
    frames = draw()
    planes = [frame.to_yuv420() for frame in frames]
    stages = {
        "read sound": core_ms(lambda: read_audio(sound), len(motion), repeats),
        "speech and motion": core_ms(lambda: avatar.motion(waveform), len(motion), repeats),
        "draw": core_ms(draw, count, repeats),
        "to_uint8": core_ms(lambda: [frame.to_uint8() for frame in frames], count, repeats),
        "colour": core_ms(lambda: [frame.to_yuv420() for frame in frames], count, repeats),
        "H.264": core_ms(lambda: write_video(out, planes, None), count, repeats),
        "H.264 and sound": core_ms(lambda: write_video(out, planes, part), count, repeats),
    }
    return {name: round(value, 3) for name, value in stages.items()}


def measure(arguments: argparse.Namespace, folder: Path) -> Table:
    sounds = write_sounds(folder, {arguments.seconds, *STREAM_SECONDS, *LENGTH_SECONDS})
    sound, out = sounds[arguments.seconds], folder / "out.mp4"
    load = os.getloadavg()[0]
    run_render(arguments.avatar, sounds[1], arguments.sizes[0], out)
    # Processes first: this one is still small, and a child's peak is never below its parent's size.
    chains = {size: measure_chain(arguments.avatar, sound, size, arguments.repeats, out) for size in arguments.sizes}
    lengths = {s: run_render(arguments.avatar, sounds[s], arguments.sizes[0], out) for s in LENGTH_SECONDS}
    avatar = Avatar.load(arguments.avatar)
    streams = {
        size: {s: measure_stream(avatar, sounds[s], size, arguments.repeats) for s in STREAM_SECONDS}
        for size in arguments.sizes
    }
    stages = {size: measure_stages(avatar, sound, size, arguments.repeats, out) for size in arguments.sizes}
    return {
        "avatar": arguments.avatar,
        "seconds": arguments.seconds,
        "repeats": arguments.repeats,
        "instruction_set": ops.instruction_set(),
        "processors": os.cpu_count(),
        "load_average": {"before": load, "after": os.getloadavg()[0]},
        "chain": chains,
        "audio_length": lengths,
        "stream_first_frame_ms": streams,
        "stage_core_ms": stages,
    }


def show(result: Table) -> None:
    def line(values: dict[str, float], digits: int) -> str:
        return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}-{values['max']:.{digits}f})"

    load = result["load_average"]
    print(
        f"{result['avatar']}, {result['instruction_set']}, {result['processors']} processors, "
        f"load {load['before']:.1f} before, {load['after']:.1f} after"
    )
    for size, chain in result["chain"].items():
        print(f"\n{size} px, {result['seconds']:g} s of sound, {result['repeats']} runs")
        print(f"  whole chain          {line(chain['frames_per_second'], 1)} frames/s")
        print(f"  start to first frame {line(chain['first_frame_seconds'], 2)} s")
        print(f"  processor time       {line(chain['core_seconds'], 1)} s")
        print(f"  peak memory          {line(chain['peak_mb'], 0)} MB")
        for seconds, sources in result["stream_first_frame_ms"][size].items():
            texts = (f"{name} {line(values, 0)}" for name, values in sources.items())
            print(f"  first of stream, {seconds:2} s  {', '.join(texts)} ms")
        for stage, value in result["stage_core_ms"][size].items():
            print(f"  {stage:20} {value:.2f} core-ms a frame")
    print(f"\ncost against the length of the sound, {next(iter(result['chain']))} px, one run each")
    for seconds, run in result["audio_length"].items():
        print(
            f"  {seconds:3} s  {run['seconds']:6.1f} s, {run['core_seconds']:6.1f} core-s, "
            f"{run['frames_per_second']:5.0f} frames/s, first frame {run['first_frame_seconds']:.2f} s, "
            f"{run['peak_mb']:.0f} MB"
        )


def _size(text: str) -> Size:
    return SOURCE if text == SOURCE else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatar", default="grid-s1", help="folder, or the name of a bundled one")
    parser.add_argument("--sizes", type=_size, nargs="+", default=[256, 512])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


if __name__ == "__main__":
    main()
