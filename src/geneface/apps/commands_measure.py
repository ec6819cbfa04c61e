"""doctor, evaluate, compare: what this machine can do, how good an avatar is, how two videos differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from geneface.apps.options import AvatarArgument, JsonOption, existing, print_json
from geneface.apps.progress import progress_bars

_EXAMPLE_DOCTOR = "Example: geneface doctor --json"
_EXAMPLE_EVALUATE = "Example: geneface evaluate me --portrait me-portrait -o report"
_EXAMPLE_COMPARE = "Example: geneface compare camera.mp4 rendered.mp4 -o report"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog=_EXAMPLE_DOCTOR)(doctor)
    app.command(epilog=_EXAMPLE_EVALUATE)(evaluate)
    app.command(epilog=_EXAMPLE_COMPARE)(compare)


def doctor(json: JsonOption = False) -> None:
    """Describe this machine and installation: processor, codecs, versions, extras, expected frames a second."""
    from geneface.apps.diagnosis import diagnose

    facts = diagnose()
    if json:
        print_json(facts)
    else:
        for section, values in facts.items():
            print(section.replace("_", " "))
            for name, value in values.items():
                print(f"  {name}: {value}")
    if facts["problems"]:
        raise typer.Exit(1)


def evaluate(
    avatar: AvatarArgument,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder for metrics.json, report.html and the contact sheet.")
    ],
    portrait: Annotated[
        Path | None, typer.Option(help="The portrait it was trained on: its held-out frames are the truth.")
    ] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Keep the figures with the avatar, in metrics.json and card.")
    ] = False,
    max_frames: Annotated[int, typer.Option(help="Held-out frames that the image metrics use at most.", min=1)] = 300,
    json: JsonOption = False,
) -> None:
    """Measure an avatar: likeness and lips on held-out frames, stability, speed."""
    from geneface.avatar.avatar import Avatar
    from geneface.avatar.folder import store_metrics
    from geneface.evaluation.evaluate import evaluate_avatar
    from geneface.portrait.portrait import Portrait

    with progress_bars(not json) as progress:
        loaded = Avatar.load(avatar)
        truth = None if portrait is None else Portrait.load(existing(portrait, "the portrait"))
        metrics = evaluate_avatar(loaded, truth, out, max_frames=max_frames, progress=progress)
        if store:
            store_metrics(avatar, metrics)
    _print_metrics(metrics, out / "report.html", json)


def compare(
    reference: Annotated[Path, typer.Argument(help="The video that counts as right.")],
    other: Annotated[Path, typer.Argument(help="The video to judge.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for a report; without it nothing is written.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Image and lip metrics of two videos of equal size."""
    from geneface.evaluation.compare import compare_videos

    with progress_bars(not json) as progress:
        metrics = compare_videos(existing(reference, "the video"), existing(other, "the video"), out, progress=progress)
    _print_metrics(metrics, None if out is None else out / "report.html", json)


def _print_metrics(metrics: dict[str, Any], report: Path | None, json: bool) -> None:
    if json:
        print_json(metrics)
        return
    for table in metrics["tables"].values():
        print(table["title"])
        for row in table["rows"]:
            print(f"  {row['name']}")
            for key, figure in row["figures"].items():
                definition = metrics["definitions"][key]
                value = figure["value"]
                shown = f"n/a ({figure['reason']})" if value is None else f"{value:.3g} {definition['unit']}"
                print(f"    {definition['title']}: {shown}")
    if report is not None:
        print(report)
