"""Spoilt files for everything that reads files of users: `python -m fuzz.media --files 2000 --seed 0 DIR...` in tests/.

Real files, given or made here, are mutated; videos, sounds, pictures, tables and avatar folders are then read as the
product reads them, each in a child of its own. A reader may succeed or raise InputError. Anything else is unclean:
another exception, a crash, more than CPU_SECONDS or MEMORY_BYTES. Cases that were unclean are printed, and can be
repeated alone (`--start N --files 1`, with the same directories) and kept (`--keep DIR`).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from geneface.apps.table import read_table
from geneface.avatar.avatar import Avatar
from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.io.audio import SoundReader, read_audio
from geneface.io.clips import SOUND_SUFFIXES, VIDEO_SUFFIXES
from geneface.io.image import read_image
from geneface.io.media import probe
from geneface.io.video import read_frames

from .samples import AVATAR_FILES, make_samples, mutate

CPU_SECONDS, WALL_SECONDS = 30, 300
"""Of one file; the latter for readers that wait for something, on a busy machine."""
MEMORY_BYTES = 2 * 10**9
"""What a child may allocate beyond what it has when it starts."""
MAX_SAMPLE_BYTES = 4 << 20
CLEAN, FAULT, REFUSED = 0, 1, 2


def read_video(path: Path) -> None:
    probe(path)
    for _ in read_frames(path, 25):
        pass
    read_audio(path)


def read_sound(path: Path) -> None:
    probe(path)
    read_audio(path)
    for _ in SoundReader(path).blocks(48_000, 2):
        pass


def read_picture(path: Path) -> None:
    read_image(path)
    read_image(path, alpha=True)


def read_rows(path: Path) -> None:
    read_table(path)


def read_avatar_with(name: str) -> Callable[[Path], None]:
    """A reader of an avatar folder in which one file is spoilt."""

    def read(path: Path) -> None:
        folder = path.parent / "avatar"
        shutil.copytree(asset_path("avatars", "grid-s1"), folder, copy_function=os.symlink)
        (folder / name).unlink()
        path.rename(folder / name)
        Avatar.load(folder)

    return read


def reader_of(path: Path) -> Callable[[Path], None] | None:
    """What reads a sample, by its name."""
    suffix = path.suffix.lower()
    if path.parent.name == "avatar" or path.parent.parent.name == "avatar":
        return read_avatar_with(str(path).rpartition("avatar/")[2])
    if suffix in (".png", ".jpg", ".jpeg"):
        return read_picture
    if suffix == ".csv":
        return read_rows
    return read_video if suffix in VIDEO_SUFFIXES else read_sound if suffix in SOUND_SUFFIXES else None


def _limit() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(WALL_SECONDS)


def _child(read: Callable[[Path], None], path: Path, said: int) -> int:
    """Read in this process; what goes wrong is written to `said`."""
    os.dup2(said, 2)
    warnings.simplefilter("ignore")
    try:
        _limit()
        read(path)
    except InputError as error:
        cause = error.__cause__
        if not isinstance(cause, MemoryError):
            return REFUSED
        traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    else:
        return CLEAN
    sys.stderr.flush()
    return FAULT


def run_case(samples: list[Path], seed: int, case: int, keep: Path | None) -> tuple[int, str]:
    """Spoil one file and read it in a child; returns its exit status and what to say about it if that is unclean."""
    generator = np.random.default_rng([seed, case])
    sample = samples[int(generator.integers(len(samples)))]
    read = reader_of(sample)
    assert read is not None
    content = mutate(sample.read_bytes(), samples[int(generator.integers(len(samples)))].read_bytes(), generator)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        path = Path(folder) / f"spoilt{sample.suffix}"
        path.write_bytes(content)
        child = os.fork()
        if child == 0:
            os._exit(_child(read, path, said.fileno()))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        words = said.read().decode(errors="replace").strip()
    if status in (CLEAN, REFUSED):
        return status, ""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / f"{seed}-{case}{sample.suffix}").write_bytes(content)
    ends = {-signal.SIGALRM: "waits for ever", -signal.SIGXCPU: f"takes more than {CPU_SECONDS} s"}
    what = "".join(words.splitlines()[-1:]) if status == FAULT else ends.get(status, f"ended by signal {-status}")
    return status, f"case {case} ({sample.name}): {what}\n{words[-1500:]}"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz.media", description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, help="folders with files to spoil, besides those made here")
    parser.add_argument("--files", type=int, default=300, help="how many spoilt files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, help="where unclean files are kept")
    parser.add_argument("--only", nargs="+", default=(), help="only files with these suffixes: .mp4 .csv")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    counts = {CLEAN: 0, REFUSED: 0}
    unclean: list[int] = []
    with tempfile.TemporaryDirectory() as made:
        samples = make_samples(Path(made))
        for folder in options.folders:
            found = (path for path in sorted(folder.rglob("*")) if path.is_file())
            samples += [path for path in found if 0 < path.stat().st_size <= MAX_SAMPLE_BYTES and reader_of(path)]
        samples += [asset_path("avatars", "grid-s1") / name for name in AVATAR_FILES]
        samples = [path for path in samples if not options.only or path.suffix in options.only]
        # An avatar's samples are told by the name of their folder.
        samples = [_as_avatar(path, Path(made)) for path in samples]
        for case in range(options.start, options.start + options.files):
            status, words = run_case(samples, options.seed, case, options.keep)
            if words:
                unclean.append(case)
                print(words, flush=True)
            else:
                counts[status] += 1
    print(f"seed {options.seed}: {counts[CLEAN]} read, {counts[REFUSED]} refused, {len(unclean)} unclean {unclean}")
    return 1 if unclean else 0


def _as_avatar(path: Path, made: Path) -> Path:
    bundled = asset_path("avatars", "grid-s1")
    if not path.is_relative_to(bundled):
        return path
    copy = made / "avatar" / path.relative_to(bundled)
    copy.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(path, copy))


if __name__ == "__main__":
    sys.exit(main())
