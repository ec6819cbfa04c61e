"""The command line. Commands import what they run when they run it, so that `--help` is quick and needs no extra."""

from __future__ import annotations

from typing import Annotated

import typer

from geneface import __version__
from geneface.apps import commands_create, commands_measure, commands_pretrain, commands_render, commands_weights
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


for module in (commands_measure, commands_render, commands_create, commands_pretrain, commands_weights):
    module.register(app)


def main() -> None:
    """Entry point of the `geneface` script."""
    app()
