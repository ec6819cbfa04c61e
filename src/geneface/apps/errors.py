"""How a fault reaches the user: one sentence on standard error and an exit status, never a traceback.

0 success; 1 a fault of ours; 2 bad usage, bad input, what the machine lacks or refuses (disk, memory, an extra);
128 + n after signal n: 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from geneface.apps import process
from geneface.apps.causes import EXIT_INPUT, explain

STOPPED = "geneface: stopped; jobs are kept, and go on when the server starts again"
"""What a server says at its end."""
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
            process.say(_usage_sentence(error))
            sys.exit(EXIT_INPUT)
        except typer.Abort:
            # While the options were read.
            process.say(_interrupted([], ""))
            sys.exit(process.interrupted_status())
        sys.exit(status if isinstance(status, int) else 0)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta["geneface.args"] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _CLICK_ERROR):
            raise
        except (KeyboardInterrupt, Exception) as error:
            if ctx.params.get("debug"):
                traceback.print_exc()
            args = ctx.meta["geneface.args"]
            # An interrupted import or callback may raise anything.
            if isinstance(error, KeyboardInterrupt) or process.was_interrupted():
                process.say(_interrupted(args, getattr(error, "words", "")))
                raise typer.Exit(process.interrupted_status()) from None
            status, sentence = explain(error)
            process.say(f"geneface: {sentence}")
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
    # Pydantic's word, which typer quotes.
    message = " ".join(error.format_message().split()).rstrip(".").replace(": Value error, ", ": ")
    return f"geneface: {message}: see '{command} --help'"


def _interrupted(args: list[str], words: str) -> str:
    if words:
        return f"geneface: interrupted: {words}: geneface {shlex.join(args)}"
    named = [word for word in args if not word.startswith("-")]
    if named[:2] == ["corpus", "voices"]:
        return f"geneface: interrupted: go on with: geneface {shlex.join(args)}"
    if named[:1] == ["serve"]:
        return STOPPED
    if named[:1] in (["check"], ["doctor"], ["bench"]) and not {"-o", "--out"} & set(args):
        # They write nothing anyway.
        return "geneface: interrupted"
    if "--resume" in args or named[:1] in (["prepare"], ["train"], ["corpus"], ["pretrain"]):
        again = [*args, *([] if "--resume" in args else ["--resume"])]
        return f"geneface: interrupted: resume with: geneface {shlex.join(again)}"
    if named[:1] in (["evaluate"], ["compare"]):
        return "geneface: interrupted: the report is incomplete, run it again"
    return "geneface: interrupted: nothing was written"
