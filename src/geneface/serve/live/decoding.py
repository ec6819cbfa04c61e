"""A client's sound file -> samples, in a process of its own with limits: media is where decoders have their faults.

`python -m geneface.serve.live.decoding FILE SECONDS` is that process: float32 samples at 48 kHz on standard output, or
what is wrong as JSON on standard error, with the status `_REFUSED`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from geneface.errors import InputError
from geneface.io.audio import SoundReader
from geneface.realtime import SOUND_RATE_HZ
from geneface.serve.limits import GIGABYTE, Limits, limit_process
from geneface.types import FloatArray

_LIMITS = Limits(memory_bytes=GIGABYTE, cpu_seconds=60, file_bytes=0, open_files=64)
_SECONDS = 90
_REFUSED = 3
_ANY = "the sound can't be read", "give a WAV, FLAC, MP3, Opus or M4A file"


def decode_sound(data: bytes, most_seconds: float) -> FloatArray:
    """The samples [T] at 48 kHz of a sound file, mono. It takes half a second more than decoding does.

    Raises:
        InputError: no sound, or more than `most_seconds` of it.
    """
    with tempfile.TemporaryDirectory(prefix="geneface-") as folder:
        path = Path(folder) / "sound"
        path.write_bytes(data)
        command = [sys.executable, "-m", "geneface.serve.live.decoding", str(path), str(most_seconds)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise InputError(*_ANY) from error
    if done.returncode == _REFUSED:
        cause, remedy = json.loads(done.stderr.splitlines()[-1])
        raise InputError(cause, remedy)
    if done.returncode != 0 or len(done.stdout) % 4:
        raise InputError(*_ANY)
    return np.frombuffer(done.stdout, np.float32)


def main() -> None:
    """The process that decodes."""
    path, most_seconds = Path(sys.argv[1]), float(sys.argv[2])
    limit_process(_LIMITS)
    try:
        most = round(most_seconds * SOUND_RATE_HZ)
        count = 0
        for block in SoundReader(path).blocks(SOUND_RATE_HZ, 1):
            count += len(block)
            if count > most:
                raise InputError(f"the sound is longer than {most_seconds:.0f} s", "give less of it at once")
            sys.stdout.buffer.write(np.clip(block, -1, 1).astype(np.float32).tobytes())
        sys.stdout.buffer.flush()
    except InputError as error:
        # Its place would be a path of this machine.
        print(json.dumps([error.cause, error.remedy]), file=sys.stderr)
        sys.exit(_REFUSED)


if __name__ == "__main__":
    main()
