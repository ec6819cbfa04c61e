"""How a fault reaches the user: one sentence on standard error and an exit status, never a traceback.

0 success; 1 a fault of ours; 2 bad usage, bad input, a full or unwritable disk, a missing extra; 130 interrupted.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from geneface.errors import InputError, MissingExtraError

EXIT_FAULT, EXIT_INPUT, EXIT_INTERRUPTED = 1, 2, 130
_EXTRAS = {
    "torch": "train",
    "onnx": "train",
    "mediapipe": "prepare",
    "scipy": "prepare",
    "cv2": "prepare",
    "transformers": "hubert",
    "skimage": "metrics",
}
"""Top-level module of an optional package -> the extra that brings it."""
_USAGE_ERRORS: tuple[type[BaseException], ...] = (typer.Exit, typer.Abort, *typer.BadParameter.__mro__[1:3])
"""Click's own: UsageError and ClickException have no public name that every version of typer shares."""


class GeneFaceGroup(TyperGroup):
    """The top command: runs the others and turns exceptions into messages and exit statuses."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["geneface.args"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except _USAGE_ERRORS:
            raise
        except KeyboardInterrupt:
            print(_interrupted(ctx.meta["geneface.args"]), file=sys.stderr)
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except Exception as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            status, sentence = explain(error)
            print(f"geneface: {sentence}", file=sys.stderr)
            raise typer.Exit(status) from None


def explain(error: Exception) -> tuple[int, str]:
    """Exit status and sentence for an exception."""
    refused = _as_input_error(error)
    if refused is not None:
        return EXIT_INPUT, " ".join(str(refused).split())
    detail = " ".join(str(error).split()) or "no message"
    return EXIT_FAULT, (
        f"a fault of geneface's own ({type(error).__name__}: {detail}): "
        "run it again as 'geneface --debug ...' and report what it prints"
    )


def _as_input_error(error: Exception) -> InputError | None:
    from geneface.io.store import writing

    if isinstance(error, InputError):
        return error
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _EXTRAS:
        package = str(error.name).split(".")[0]
        return MissingExtraError(package, _EXTRAS[package])
    if isinstance(error, OSError):
        # Writers say it themselves; this is for the few places that write without them.
        try:
            with writing(Path(str(error.filename or "the output"))):
                raise error
        except InputError as refused:
            return refused
        except OSError:
            return None
    return None


def _interrupted(args: list[str]) -> str:
    if "--resume" in args or _can_resume(args):
        again = [*args, *([] if "--resume" in args else ["--resume"])]
        return f"geneface: interrupted: resume with: geneface {shlex.join(again)}"
    return "geneface: interrupted: nothing was written"


def _can_resume(args: list[str]) -> bool:
    words = [word for word in args if not word.startswith("-")]
    return bool(words) and words[0] in ("prepare", "train", "corpus", "pretrain")
