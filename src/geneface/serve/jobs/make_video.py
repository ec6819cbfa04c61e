"""A job of the kind "video": speech, or text that a voice speaks, becomes a video of an avatar."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geneface.avatar.avatar import Avatar
from geneface.avatar.outputs import SUFFIXES
from geneface.avatar.performance import Performance
from geneface.avatar.style import NEUTRAL
from geneface.io.atomic import atomic_path
from geneface.io.image import read_image
from geneface.io.media import first_picture
from geneface.serve.jobs.formats import BACKGROUND, SPEECH
from geneface.serve.jobs.progress import StepPlan
from geneface.serve.jobs.task import Task
from geneface.types import VIDEO_RATE_HZ
from geneface.voice.registry import open_voice
from geneface.voice.voice import save_speech

_LETTERS_A_SECOND = 15.0


def make_video(task: Task) -> dict[str, Any]:
    """Speak, if there is text, and draw.

    Raises:
        InputError: the sound, the picture behind or the avatar can't be used.
    """
    params = task.job.params
    text, seconds = params.get("text"), float(params.get("seconds") or 0)
    seconds = seconds or len(text or "") / _LETTERS_A_SECOND
    plans = [StepPlan("render", 1.0 + 0.5 * seconds, {"rendering": 1.0})]
    if text:
        plans.insert(0, StepPlan("speak", 0.5 + 0.1 * seconds))
    if params["format"] == "png":
        plans.append(StepPlan("pack", 0.05 * seconds))
    reporter = task.reporter(plans)
    speech: Path = task.input(SPEECH)
    if text:
        with reporter.step("speak") as progress:
            speech = task.work / "speech.wav"
            voice = open_voice(params.get("voice"), **params.get("voice_options", {}))
            save_speech(text, speech, voice, most_seconds=task.limits["most_speech_seconds"], progress=progress)
    with reporter.step("render") as progress:
        avatar = Avatar.load(params["avatar_folder"])
        out, frames = _render(task, avatar, speech, progress)
    size = _size(out, params["format"])
    if params["format"] == "png":
        with reporter.step("pack") as progress:
            out = _pack(out, task.out / "video.zip", progress)
    return {
        "file": out.name,
        "frames": frames,
        "size": size,
        "seconds": round(frames / VIDEO_RATE_HZ, 2),
        "bytes": out.stat().st_size,
    }


def _render(task: Task, avatar: Avatar, speech: Path, progress: Callable[[str, int, int], None]) -> tuple[Path, int]:
    params = task.job.params
    format = params["format"]
    out = task.work / "pictures" if format == "png" else task.out / f"video{SUFFIXES[format]}"
    if out.is_dir():
        # Of an attempt that died while it packed them.
        shutil.rmtree(out)
    background = task.input(BACKGROUND) if params.get("has_background_image") else params["background"]
    frames = avatar.render(
        speech,
        out,
        Performance(
            temperature=params["temperature"],
            seed=params["seed"],
            mouth_gain=params["mouth_gain"],
            body=params["body"],
            # Of a job that waited for this version there is none.
            style=params.get("style", NEUTRAL),
        ),
        format=format,
        size=params["size"],
        frame=params["frame"],
        background=background,
        progress=progress,
    )
    return out, frames


def _size(out: Path, format: str) -> str | None:
    """Of the pictures that were made, as "WxH"; None where there are none."""
    if format == "landmarks":
        return None
    if format == "png":
        height, width = read_image(out / min(os.listdir(out))).shape[:2]
        return f"{width}x{height}"
    picture = first_picture(out)
    return None if picture is None else f"{picture.width}x{picture.height}"


def _pack(folder: Path, out: Path, progress: Callable[[str, int, int], None]) -> Path:
    """One file of the pictures, which are compressed already."""
    names = sorted(os.listdir(folder))
    with atomic_path(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        for number, name in enumerate(names, start=1):
            file.write(folder / name, name)
            progress("packing", number, len(names))
    shutil.rmtree(folder)
    return out
