"""check, prepare, train: from a video of a person to an avatar."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from geneface.apps.options import (
    JsonOption,
    PresetOption,
    ResumeOption,
    SeedOption,
    clips_of,
    existing,
    parse_duration,
    print_json,
    settings,
)
from geneface.apps.progress import progress_bars
from geneface.errors import InputError
from geneface.types import VIDEO_RATE_HZ

_EXAMPLE_CHECK = "Example: geneface check me.mp4"
_EXAMPLE_PREPARE = "Example: geneface prepare me.mp4 -o me-portrait"
_EXAMPLE_TRAIN = (
    "Example: geneface train me-portrait -o me --preset fast --consent 'I am the person in the video and agree. A. Lee'"
)

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
    """Say what is wrong with videos, and where: rate, cuts, size of the face, other faces, silence."""
    from geneface.portrait.check import check_videos

    if out and out.suffix.lower() not in (".jpg", ".jpeg"):
        raise InputError(f"{out} is no name for a JPEG picture", "let it end in .jpg")
    paths = _videos(videos)
    with progress_bars(not json) as progress:
        findings = check_videos(paths, progress=progress, preview=out)
    if json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            where = f" {finding.where}" if finding.where else ""
            remedy = f": {finding.remedy}" if finding.remedy else ""
            print(f"{finding.severity:8}{finding.path}: {finding.cause}{where}{remedy}")
        if out:
            print(f"{out}: crops, landmarks, and what would be used when")
    stopping = [finding for finding in findings if finding.severity == "error"]
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
            help="Pixels of the square around the head, 256 or 512 (64 and 128 are for trials): chosen here for all "
            "that follows (render --size only enlarges). 512 takes longer, and is worth it where the head fills that "
            "much of the video."
        ),
    ] = 256,
    encoder: Annotated[
        str, typer.Option(help="Speech encoder; the shipped motion model needs whisper-2-streaming.")
    ] = "whisper-2-streaming",
    encoder_path: Annotated[str | None, typer.Option(help="Its weights, for whisper and hubert.")] = None,
    correct_sound: Annotated[bool, typer.Option(help="Move sound that is late or early to its picture.")] = True,
    words: Annotated[
        Path | None,
        typer.Option(help='JSON {"CLIP": [[START_S, END_S, "WORD"], ...]}; by default a words.json next to the videos.'),
    ] = None,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Turn videos of one person into a portrait: crops, landmarks, poses, masks, background, speech features."""
    from geneface.portrait.prepare import PrepareConfig, prepare_portrait

    paths = _videos(videos)
    config = settings(PrepareConfig, size=size, encoder=encoder, encoder_path=encoder_path, correct_sound=correct_sound)
    with progress_bars(not json) as progress:
        manifest = prepare_portrait(paths, out, config, resume=resume, progress=progress, words=words)
    if json:
        print_json({"out": str(out), "frames": manifest.frames, "segments": len(manifest.segments)})
        return
    segments = "1 segment" if len(manifest.segments) == 1 else f"{len(manifest.segments)} segments"
    print(f"{out}: {manifest.frames / VIDEO_RATE_HZ:.1f} s in {segments}; look at {out / 'preview.jpg'}")
    for note in manifest.notes:
        print(f"  {note}")


def train(
    portrait: Annotated[Path, typer.Argument(help="A portrait folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The avatar folder to make.")],
    consent: Annotated[str, typer.Option(help="Who agreed to this avatar, and how; stored in its card. Required.")],
    renderer: Annotated[str, typer.Option(help="gaussian, or nerf: GeneFace's own kind.")] = "gaussian",
    preset: PresetOption = "fast",
    budget: Annotated[
        str | None, typer.Option(help="Time for all of it instead of the preset's steps: 15m, 90s.")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Licence of the avatar, for its card.")
    ] = "not stated: ask before you share it",
    attribution: Annotated[str, typer.Option(help="Whom the source material asks to be named.")] = "",
    motion: Annotated[
        Path | None, typer.Option(help="Motion model of `pretrain motion`; by default the shipped one.")
    ] = None,
    seed: SeedOption = 0,
    resume: ResumeOption = False,
    json: JsonOption = False,
) -> None:
    """Train a portrait into an avatar: motion adapted to the person, renderer, card."""
    from geneface.avatar.avatar import Avatar
    from geneface.avatar.folder import is_unmeasured, read_avatar, store_metrics
    from geneface.evaluation.summary import summarise_training
    from geneface.portrait.portrait import Portrait
    from geneface.training.avatar import AvatarTrainConfig, build_avatar
    from geneface.training.trainers import training_of

    if not consent.strip():
        raise InputError("--consent is empty", "say who agreed to this avatar, and how")
    existing(portrait, "the portrait")
    training_of(renderer).config(preset)
    config = settings(
        AvatarTrainConfig,
        consent=consent.strip(),
        licence=licence.strip(),
        attribution=attribution.strip(),
        renderer=renderer,
        preset=preset,
        budget_seconds=None if budget is None else parse_duration(budget),
        seed=seed,
    )
    with progress_bars(not json) as progress:
        if resume and is_unmeasured(out):
            # Killed after the avatar had been written.
            described = read_avatar(out).config
        else:
            described = build_avatar(portrait, out, config, motion_folder=motion, resume=resume, progress=progress)
        summary = summarise_training(Avatar.load(out), Portrait.load(portrait), progress)
    store_metrics(out, summary.report.model_dump())
    if json:
        found = {"summary": summary.lines, "warnings": summary.warnings}
        print_json({"out": str(out), **described.training, **found})
        return
    facts = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in described.training.items())
    print(f"{out}: {facts}")
    for line in summary.lines:
        print(f"  {line}")
    for line in summary.warnings:
        print(f"  warning: {line}")


def _videos(paths: list[Path]) -> list[Path]:
    """The videos themselves: a folder stands for the clips in it."""
    videos: list[Path] = []
    for path in paths:
        if existing(path, "the video").is_dir():
            videos += clips_of(path)
        else:
            videos.append(path)
    seen: dict[Path, Path] = {}
    for video in videos:
        if seen.setdefault(video.resolve(), video) is not video:
            raise InputError(f"the video {video} is given twice", "name each video once")
    return videos
