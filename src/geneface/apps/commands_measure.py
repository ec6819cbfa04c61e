"""doctor, evaluate, compare: what this machine can do, how good an avatar is, how two videos differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from geneface.apps.causes import EXIT_INPUT
from geneface.apps.options import AvatarArgument, EncoderPathOption, JsonOption, existing, print_json
from geneface.apps.progress import progress_bars

_EXAMPLE_DOCTOR = "Example: geneface doctor --json"
_EXAMPLE_EVALUATE = "Example: geneface evaluate me --portrait me-portrait -o report"
_EXAMPLE_COMPARE = (
    "Example: geneface compare camera.mp4 rendered.mp4 -o report. Both videos must be of equal width and height."
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog=_EXAMPLE_DOCTOR)(doctor)
    app.command(epilog=_EXAMPLE_EVALUATE)(evaluate)
    app.command(epilog=_EXAMPLE_COMPARE)(compare)


def doctor(json: JsonOption = False) -> None:
    """Say whether this machine is ready, and how fast it draws."""
    from geneface.apps.diagnosis import NOT_INSTALLED, diagnose

    facts = diagnose()
    if json:
        print_json(facts)
    else:
        for section, values in facts.items():
            print(_SECTIONS.get(section, section))
            if not values:
                print("  none" if section == "problems" else "  not tried, because of the problems below")
            for name, value in values.items():
                remedy = f" (in the project's folder: pip install '.[{name}]')" if value == NOT_INSTALLED else ""
                print(f"  {name}: {value}{remedy}")
    if facts["problems"]:
        # What the machine or the installation lacks: 1 is a fault of ours.
        raise typer.Exit(EXIT_INPUT)


_SECTIONS = {
    "expected_frames_per_second": "expected frames per second of the renderer alone, without speech and video file"
}
"""Headings that say more than the key."""

LpipsOption = Annotated[
    Path | None, typer.Option(help="Weights for LPIPS (AlexNet), from `geneface convert-weights lpips`.")
]
InceptionOption = Annotated[
    Path | None, typer.Option(help="Weights for FID (Inception-v3), from `geneface convert-weights inception`.")
]
SyncNetOption = Annotated[
    Path | None, typer.Option("--syncnet", help="Weights for LSE-C and LSE-D, from `geneface convert-weights syncnet`.")
]


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
    max_frames: Annotated[
        int, typer.Option(help="Held-out frames that are drawn at most, in runs of consecutive ones.", min=1)
    ] = 300,
    driven: Annotated[
        bool, typer.Option("--driven/--no-driven", help="Drive it beyond its recording too: some 1400 frames more.")
    ] = True,
    lpips: LpipsOption = None,
    inception: InceptionOption = None,
    syncnet: SyncNetOption = None,
    encoder_path: EncoderPathOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how good an avatar is, in figures and pictures.

    On held-out frames and beyond its recording: pictures, lips, sync, stability, with controls. The report shows the
    worst seconds in pictures.
    """
    from geneface import api

    with progress_bars(not json) as progress:
        metrics = api.evaluate(
            avatar,
            portrait,
            out,
            store=store,
            max_frames=max_frames,
            driven=driven,
            lpips=lpips,
            inception=inception,
            syncnet=syncnet,
            encoder_path=encoder_path,
            progress=progress,
        )
    _print_metrics(metrics, out / "report.html", json)


def compare(
    reference: Annotated[Path, typer.Argument(help="The video that counts as right, in the size of the other.")],
    other: Annotated[Path, typer.Argument(help="The video to evaluate.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for a report; without it nothing is written.")
    ] = None,
    max_frames: Annotated[int, typer.Option(help="Of longer videos the beginning is compared.", min=1)] = 750,
    lpips: LpipsOption = None,
    inception: InceptionOption = None,
    syncnet: SyncNetOption = None,
    json: JsonOption = False,
) -> None:
    """Measure how two videos of equal size differ.

    Picture, lip, sync and stability metrics, with controls.
    """
    from geneface.evaluation.compare import compare_videos
    from geneface.evaluation.tools import MetricWeights

    weights = MetricWeights(lpips, inception, syncnet)
    with progress_bars(not json) as progress:
        metrics = compare_videos(
            existing(reference, "the video"),
            existing(other, "the video"),
            out,
            max_frames=max_frames,
            weights=weights,
            progress=progress,
        )
    _print_metrics(metrics, None if out is None else out / "report.html", json)


def _print_metrics(metrics: dict[str, Any], report: Path | None, json: bool) -> None:
    """What is evaluated, next to the ground truth; its parts and the controls are in the report."""
    if json:
        print_json(metrics)
        return
    absent: dict[str, list[str]] = {}
    for table in metrics["tables"].values():
        rows = [row for row in table["rows"] if row["role"] in ("evaluated", "truth")]
        print(table["title"])
        for key in dict.fromkeys(key for row in rows for key in row["figures"]):
            definition = metrics["definitions"][key]
            figures = {row["name"]: row["figures"][key] for row in rows if key in row["figures"]}
            known = {name: figure["value"] for name, figure in figures.items() if figure["value"] is not None}
            if not known:
                evaluated = [
                    row["figures"][key] for row in rows if key in row["figures"] and row["role"] == "evaluated"
                ]
                reason = (evaluated or [*figures.values()])[0]["reason"]
                absent.setdefault(reason, []).append(definition["title"])
                continue
            verdict = table["verdicts"].get(key)
            doubt = "" if verdict is None or verdict["informative"] else " (not informative here)"
            shown = "; ".join(f"{name} {value:.4g}" for name, value in known.items())
            print(f"  {definition['title']} [{definition['unit']}]{doubt}: {shown}")
    for reason, titles in absent.items():
        print(f"n/a: {', '.join(titles)}: {reason}")
    if report is not None:
        print(report)
