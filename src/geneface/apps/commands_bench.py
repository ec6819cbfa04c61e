"""bench: ours and plain PyTorch, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from geneface.apps.options import EncoderPathOption, JsonOption, PresetOption, print_json

_EXAMPLE = (
    "Example: geneface bench render --quick. Without --quick, and for train always, it needs PyTorch: install it, in "
    "the project's folder, with: pip install '.[train]'"
)


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command(epilog=_EXAMPLE)(bench)


def bench(
    what: Annotated[Literal["render", "train", "motion"], typer.Argument(help="What to time.")],
    renderer: Annotated[Literal["gaussian", "nerf"], typer.Option(help="For train.")] = "nerf",
    preset: PresetOption = "fast",
    avatar: Annotated[str, typer.Option(help="For render and motion: a folder, or a bundled avatar.")] = "grid-s1",
    portrait: Annotated[
        Path | None, typer.Option(help="For train: real steps on this portrait, without the slow twin.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="Pixels: 256, or 512 to train Gaussians.", min=64, max=1024)] = None,
    repeats: Annotated[int, typer.Option(help="Runs of which the median is taken.", min=1, max=100)] = 5,
    quick: Annotated[bool, typer.Option(help="Little work, no slow twin: to see that it runs.")] = False,
    encoder_path: EncoderPathOption = None,
    json: JsonOption = False,
) -> None:
    """Time ours against plain PyTorch."""
    from geneface.bench import BenchSettings
    from geneface.bench import bench as run

    outcome = run(what, BenchSettings(renderer, preset, avatar, portrait, size, repeats, quick, encoder_path))
    if json:
        print_json(outcome)
    else:
        _print(outcome)


def _print(outcome: dict[str, Any], indent: str = "") -> None:
    for key, value in outcome.items():
        name = f"{indent}{key.replace('_', ' ')}"
        if isinstance(value, dict):
            print(name)
            _print(value, indent + "  ")
        else:
            print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
