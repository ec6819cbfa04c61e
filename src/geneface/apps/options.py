"""Options that several commands share, and their parsing."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from geneface.apps import process
from geneface.errors import InputError
from geneface.io import clips
from geneface.io.clips import VIDEO_SUFFIXES
from geneface.io.clips import existing as existing

AvatarArgument = Annotated[str, typer.Argument(help="Folder of an avatar, or the name of a bundled one (grid-s1).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")]
PresetOption = Annotated[
    Literal["tiny", "fast", "good"], typer.Option(help="tiny takes seconds, to try things, fast minutes, good longer.")
]
RendererOption = Annotated[Literal["gaussian", "nerf"], typer.Option(help="nerf is GeneFace's own kind.")]
EncoderPathOption = Annotated[
    Path | None,
    typer.Option(
        help="Weights of the speech encoder, where that is not shipped (docs/encoders.md); by default those in "
        "GENEFACE_ENCODER_PATH."
    ),
]
EncoderOption = Annotated[
    str,
    typer.Option(
        help="Speech encoder: whisper-4-streaming ships, mel is a comparison; whisper, whisper-N (its first N layers), "
        "hubert and streaming (of pretrain speech) need --encoder-path."
    ),
]
SeedOption = Annotated[int, typer.Option(help="Equal seeds give equal results.", min=0, max=2**63 - 1)]

_LONGEST_SECONDS = 31 * 24 * 3600
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def parse_duration(text: str) -> float:
    """Seconds of "90s", "15m" or "1h30m".

    Raises:
        InputError: anything else, a number without its unit, zero, or more than a month.
    """
    if re.fullmatch(r"\d+(?:\.\d+)?", text.strip()):
        raise InputError(
            f"the duration {text.strip()!r} has no unit", "write it with s, m or h, as in 90s, 15m or 1h30m"
        )
    match = _DURATION.fullmatch(text.strip().lower())
    hours, minutes, seconds = (float(part or 0) for part in match.groups()) if match else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if not 0 < total <= _LONGEST_SECONDS:
        raise InputError(f"{text!r} is not a duration", "write it as 90s, 15m or 1h30m")
    return total


def clips_of(folder: Path, suffixes: Collection[str] = VIDEO_SUFFIXES, *, is_deep: bool = False) -> list[Path]:
    """The recordings in a folder; says which files of it look like some and are passed over.

    Raises:
        InputError: it holds none.
    """
    return clips.clips_of(folder, suffixes, is_deep=is_deep, tell=tell)


def tell(sentence: str) -> None:
    """A note that is no error, on standard error."""
    process.say(f"geneface: {sentence}")


def print_json(value: Any) -> None:
    """Print JSON on standard output, in letters that it can show."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(value, indent=2, ensure_ascii=not is_unicode, allow_nan=False, default=str))


BodyOption = Annotated[
    Literal["auto", "source", "drawn"],
    typer.Option(
        help="What the lips are put on: source, the person's own video, which the avatar carries; drawn, all of the "
        "picture is drawn. auto: source if there is one."
    ),
]
StyleOption = Annotated[
    str,
    typer.Option(
        metavar="calm|neutral|lively|0..1|CLIP",
        help="How lively, within what the person's own clips span: mouth, brows, head and blinks. A number from 0, "
        "calm, to 1, lively; or the name of a clip that the avatar was trained on, as an example. In the person's own "
        "video it changes the mouth alone.",
    ),
]
FrameOption = Annotated[
    Literal["crop", "source"] | None,
    typer.Option(
        help="crop: the square around the head; source: the whole picture of the person's own video. By default crop, "
        "but source with --size source.",
        show_default=False,
    ),
]


def parse_size(text: str | None) -> int | Literal["source"] | None:
    """The value of --size.

    Raises:
        InputError: neither a whole number nor "source".
    """
    if text is None or text == "source":
        return text
    try:
        return int(text)
    except ValueError:
        raise InputError(f"the size is {text!r}", "give pixels, or source") from None
