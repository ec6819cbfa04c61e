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
    "skvideo": "metrics",
    "PIL": "metrics",
    "python_speech_features": "metrics",
}
"""Top-level module of an optional package -> the extra that brings it."""
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]
"""Click's ClickException; it has no public name that every version of typer shares."""


class GeneFaceGroup(TyperGroup):
    """The top command: runs the others and turns exceptions into messages and exit statuses."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            status = super().main(*args, standalone_mode=False, **extra)
        except _CLICK_ERROR as error:
            print(_usage_sentence(error), file=sys.stderr)
            sys.exit(EXIT_INPUT)
        except typer.Abort:
            sys.exit(EXIT_INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["geneface.args"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _CLICK_ERROR):
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


def _usage_sentence(error: Any) -> str:
    """What click says about wrong usage, as one line; the help itself where no command was given."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return error.format_message()
    words: list[str] = []
    while context is not None and context.parent is not None:
        words.insert(0, str(context.info_name))
        context = context.parent
    command = " ".join(["geneface", *words])
    message = " ".join(error.format_message().split()).rstrip(".")
    return f"geneface: {message}: see '{command} --help'"


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
