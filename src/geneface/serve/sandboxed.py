"""What is done with a client's media in a process with limits. `python -m geneface.serve.sandboxed TASK PATH...`"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geneface.errors import InputError
from geneface.serve.limits import GIGABYTE, Limits, limit_process, lower_priority

LIMITS = Limits(memory_bytes=2 * GIGABYTE, cpu_seconds=60, file_bytes=GIGABYTE // 4, open_files=128)
_LONGEST_SIDE = 4096
_WHAT = "the file"


def _sound(path: Path) -> dict[str, Any]:
    """How long the sound of a file is; all of it is decoded."""
    from geneface.io.audio import read_audio
    from geneface.types import SPEECH_RATE_HZ

    return {"seconds": len(read_audio(path).samples) / SPEECH_RATE_HZ}


def _samples(path: Path, out: Path) -> dict[str, Any]:
    """The sound of a file as float32 samples, mono, at 48 kHz: a reader of `out` reads nothing of the client's."""
    import numpy as np

    from geneface.io.audio import SoundReader
    from geneface.io.live import SOUND_RATE_HZ

    count = 0
    with open(out, "wb") as file:
        for block in SoundReader(path).blocks(SOUND_RATE_HZ, 1):
            file.write(np.clip(block, -1, 1).astype(np.float32).tobytes())
            count += len(block)
    return {"count": count}


def _video(path: Path) -> dict[str, Any]:
    """How long a video is, by its packets, as headers may say anything, and whether it has sound."""
    from geneface.io.media import open_media

    with open_media(path) as container:
        if not container.streams.video:
            raise InputError("there is no picture in the file", "give a video of a person who speaks")
        video = container.streams.video[0]
        begins, ends = {video.index: math.inf}, {video.index: -math.inf}
        for packet in container.demux(video, *container.streams.audio):
            at, stream = packet.dts if packet.pts is None else packet.pts, packet.stream.index
            if at is None or packet.time_base is None:
                continue
            begin, end = (float(time * packet.time_base) for time in (at, at + (packet.duration or 0)))
            begins[stream] = min(begin, begins.get(stream, begin))
            ends[stream] = max(end, ends.get(stream, end))
        lengths = {stream: max(end - begins[stream], 0.0) for stream, end in ends.items()}
        # Of sound, codecs write a little more than there is.
        seconds, longest = lengths[video.index], max(lengths.values())
        return {
            "seconds": round(longest if longest > seconds + 1 else seconds, 2),
            "width": video.width,
            "height": video.height,
            "has_sound": bool(container.streams.audio),
        }


def _picture(path: Path, out: Path) -> dict[str, Any]:
    """A picture as a PNG of ours: whoever reads it later reads nothing of the client's."""
    from geneface.io.image import read_image, write_png

    image = read_image(path)
    step = -(-max(image.shape[:2]) // _LONGEST_SIDE)
    write_png(out, image[::step, ::step])
    return {"width": image.shape[1], "height": image.shape[0]}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "sound": _sound,
    "samples": _samples,
    "video": _video,
    "picture": _picture,
}


def main() -> None:
    """Do one task and print the answer."""
    limit_process(LIMITS)
    lower_priority(5)
    # What libraries print is no answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    task, *paths = sys.argv[1:]
    try:
        answer = TASKS[task](*map(Path, paths))
    except InputError as error:
        answer = {"refused": [_named(text, paths) for text in (error.cause, error.remedy, error.where)]}
    except MemoryError:
        answer = {"refused": ["the file needs more memory than is allowed", "give a shorter or smaller file", ""]}
    os.write(answers, json.dumps(answer).encode())


def _named(text: str, paths: list[str]) -> str:
    for path in paths:
        text = text.replace(f"the file {path}", _WHAT).replace(path, _WHAT)
    return text


if __name__ == "__main__":
    main()
