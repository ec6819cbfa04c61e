"""The command line. Commands import what they run when they run it, so that `--help` is quick and needs no extra."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.main import get_command_name
from typer.models import CommandInfo

from geneface import __version__
from geneface.apps import (
    commands_bench,
    commands_create,
    commands_measure,
    commands_pretrain,
    commands_render,
    commands_serve,
    commands_weights,
)
from geneface.apps.errors import GeneFaceGroup

app = typer.Typer(
    name="geneface",
    cls=GeneFaceGroup,
    help="Talking faces on a CPU: a video of one person in, an avatar out that speaks any sound.",
    no_args_is_help=True,
    add_completion=False,
    # Plain text: errors stay one line long, and rich is not imported before it is needed.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"geneface {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command; typer reads the docstring's place from `help` above."""


for module in (
    commands_measure,
    commands_render,
    commands_serve,
    commands_create,
    commands_pretrain,
    commands_weights,
    commands_bench,
):
    module.register(app)


def main() -> None:
    """Entry point of the `geneface` script."""
    # Where the first word is a command, typer builds that one alone: to read all their signatures takes 40 ms.
    called = [info for info in app.registered_commands if _name(info) in sys.argv[1:2]]
    if called:
        app.registered_commands, app.registered_groups = called, []
    app()


def _name(info: CommandInfo) -> str | None:
    return info.name or (get_command_name(info.callback.__name__) if info.callback else None)
