"""check, prepare, train: from a video of a person to an avatar."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from geneface.apps.options import (
    EncoderOption,
    EncoderPathOption,
    JsonOption,
    PresetOption,
    RendererOption,
    ResumeOption,
    SeedOption,
    parse_duration,
    print_json,
    tell,
)
from geneface.apps.progress import progress_bars
from geneface.errors import InputError

_EXAMPLE_CHECK = "Example: geneface check me.mp4"
_EXAMPLE_PREPARE = "Example: geneface prepare me.mp4 -o me-portrait"
_EXAMPLE_TRAIN = (
    "Example: geneface train me-portrait -o me --preset fast --consent 'I am the person in the video and agree. A. Lee'"
)

NO_LICENCE = "not stated: ask before you share it"

VideosArgument = Annotated[list[Path], typer.Argument(help="Videos, or folders of clips, of one person.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command(epilog=_EXAMPLE_CHECK)(check)
    app.command(epilog=_EXAMPLE_PREPARE)(prepare)
    app.command(epilog=_EXAMPLE_TRAIN)(train)


def check(
    videos: VideosArgument,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="JPEG to draw: crops, landmarks, what would be used when; else none."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Say what is wrong with videos, where, and what to do.

    Rate, cuts, size of the face, other faces, silence; and how much disk the portrait will take.
    """
    from geneface.api import videos_of
    from geneface.portrait.check import check_videos

    if out and out.suffix.lower() not in (".jpg", ".jpeg"):
        raise InputError(f"{out} is no name for a JPEG picture", "let it end in .jpg")
    paths = videos_of(videos, tell)
    with progress_bars(not json) as progress:
        findings = check_videos(paths, progress=progress, preview=out)
    stopping = [finding for finding in findings if finding.severity == "error"]
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            if stopping and finding is stopping[0]:
                # It is said at the end, as what stops.
                continue
            where = f" {finding.where}" if finding.where else ""
            remedy = f": {finding.remedy}" if finding.remedy else ""
            print(f"{finding.severity:8}{finding.path}: {finding.cause}{where}{remedy}")
        if out:
            print(f"{out}: crops, landmarks, and what would be used when")
    if stopping:
        first = stopping[0]
        # The cause of an unreadable file names it already.
        cause = first.cause if first.path in first.cause else f"{first.path} can't be used, {first.cause}"
        raise InputError(cause, first.remedy or "give another video", first.where)


def prepare(
    videos: VideosArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="The portrait folder to make.")],
    size: Annotated[
        int,
        typer.Option(
            help="Pixels of the square around the head, 256 or 512: chosen here for all that follows (render --size "
            "only enlarges). 512 takes longer, and is worth it where the head fills that much of the video. A minute "
            "of video takes about 0.5 GB of disk at 256, 2 GB at 512, and over twice that while it is prepared. The "
            "whole pictures are kept besides, up to 1920x1080 whatever the size (0.02 GB a minute at 450x450, 0.2 at "
            "1920x1080). 64 and 128 are for trying things out."
        ),
    ] = 256,
    encoder: EncoderOption = "whisper-4-streaming",
    encoder_path: EncoderPathOption = None,
    correct_sound: Annotated[bool, typer.Option(help="Move sound that is late or early to its picture.")] = True,
    words: Annotated[
        Path | None,
        typer.Option(help='JSON {"CLIP": [[START_S, END_S, "WORD"], ...]}; else a words.json next to the videos.'),
    ] = None,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Turn videos of one person into a portrait to train on.

    Crops, landmarks, poses, masks, background, whole pictures, speech features.
    """
    from geneface import api

    with progress_bars(not json) as progress:
        manifest = api.prepare(
            api.videos_of(videos, tell),
            out,
            size=size,
            encoder=encoder,
            encoder_path=encoder_path,
            correct_sound=correct_sound,
            words=words,
            resume=resume,
            progress=progress,
        )
    if json:
        print_json({"out": str(out), "frames": manifest.frames, "segments": len(manifest.segments)})
        return
    from geneface.types import VIDEO_RATE_HZ

    segments = "1 segment" if len(manifest.segments) == 1 else f"{len(manifest.segments)} segments"
    megabytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    disk = f"{megabytes / 1e3:.1f} GB" if megabytes >= 100 else f"{megabytes:.0f} MB"
    seconds = manifest.frames / VIDEO_RATE_HZ
    print(f"{out}: {seconds:.1f} s in {segments}, {disk} of disk; look at {out / 'preview.jpg'}")
    for note in manifest.notes:
        print(f"  {note}")
    agreed = "I am the person in the video and agree. A. Lee"
    print(f"next: geneface train {shlex.quote(str(out))} -o NAME --consent '{agreed}'")


def train(
    portrait: Annotated[Path, typer.Argument(help="A portrait folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The avatar folder to make.")],
    consent: Annotated[str, typer.Option(help="Who agreed to this avatar, and how; stored in its card. Required.")],
    renderer: RendererOption = "gaussian",
    preset: PresetOption = "fast",
    budget: Annotated[
        str | None, typer.Option(help="Time for all of it instead of the preset's steps, with its unit: 15m, 90s, 1h.")
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the avatar, for its card.")] = NO_LICENCE,
    attribution: Annotated[str, typer.Option(help="Whom the source material asks to be named.")] = "",
    motion: Annotated[
        Path | None, typer.Option(help="Motion model of `pretrain motion`; by default the shipped one.")
    ] = None,
    encoder_path: EncoderPathOption = None,
    body_seconds: Annotated[
        float,
        typer.Option(
            help="How much of the person's own video the avatar carries at most, 0 to 60 s: the drawn mouth is put "
            "into it (render --body source). Whoever gets the avatar gets these pictures. 0: none."
        ),
    ] = 20.0,
    seed: SeedOption = 0,
    scene: Annotated[
        int | None,
        typer.Option(help="Which light and clothes, where prepare told of several scenes; by default the longest."),
    ] = None,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Train a portrait into an avatar.

    The person's own video, motion adapted to the person, renderer, card.
    """
    from geneface import api

    with progress_bars(not json) as progress:
        trained = api.train(
            portrait,
            out,
            consent=consent,
            renderer=renderer,
            preset=preset,
            budget_seconds=None if budget is None else parse_duration(budget),
            licence=licence,
            attribution=attribution,
            motion=motion,
            encoder_path=encoder_path,
            body_seconds=body_seconds,
            seed=seed,
            scene=scene,
            resume=resume,
            progress=progress,
        )
    if json:
        found = {"verdict": trained.verdict, "summary": trained.summary, "warnings": trained.warnings}
        print_json({"out": str(out), **trained.facts, **found})
        return
    facts = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in trained.facts.items())
    print(f"{out}: {facts}")
    print(f"  in short: {trained.verdict}")
    for line in trained.summary:
        print(f"  {line}")
    print("  (docs/metrics.md explains these figures)")
    for line in trained.warnings:
        print(f"  warning: {line}")
    print(f"next: geneface render {shlex.quote(str(out))} --audio speech.wav -o talking.mp4")
