"""From a video of a person to a measured avatar, in three calls: `prepare`, `train`, `evaluate`.

The commands of the same names call these functions: same checks, same errors, same files. Anything that needs one
avatar only (`render`, `stream`, `draw`, `live`) is a method of `Avatar`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from geneface.config import checked_settings
from geneface.errors import InputError
from geneface.io.clips import VIDEO_SUFFIXES, clips_of, existing, path_of
from geneface.io.place import refuse_inside
from geneface.types import ProgressFn, no_progress

if TYPE_CHECKING:
    from geneface.avatar.avatar import Avatar
    from geneface.portrait.manifest import PortraitManifest


@dataclass(frozen=True)
class TrainedAvatar:
    """What `train` returns."""

    avatar: Avatar
    """Loaded, from its folder."""
    facts: dict[str, str | int | float | bool | None]
    """How it was made, as its card says."""
    verdict: str
    """In one line of plain words: does the face hold together, do the lips follow speech?"""
    summary: tuple[str, ...]
    """What was measured of it within seconds, in words; the figures are `avatar.metrics`."""
    warnings: tuple[str, ...]
    """What the user should know: a face that breaks, an adaptation that lost."""


def prepare(
    videos: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    size: int = 256,
    encoder: str = "whisper-2-streaming",
    encoder_path: Path | str | None = None,
    correct_sound: bool = True,
    words: Path | str | None = None,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> PortraitManifest:
    """Turn videos of one person into a portrait folder: crops, landmarks, poses, masks, background, speech features.

    Args:
        videos: files, or folders of clips.
        out: the folder to make: new or empty, or with `resume` what an interrupted run left.
        size: pixels of the square around the head, 256 or 512 (64 and 128 are for trying things out).
        encoder: speech encoder, see `analysis.speech`; the shipped motion model hears the default one.
        encoder_path: its weights, for encoders that are not shipped (docs/encoders.md).
        correct_sound: move sound that is late or early to its picture.
        words: JSON with the times of the words, by default a words.json next to the videos.
        progress: called as progress(stage, done, total).

    Returns:
        What the portrait says about itself: frames, segments, what was dropped and why, notes.

    Raises:
        InputError: the videos can't be used (it says why and where), or `out` can't be written.
    """
    from geneface.portrait.prepare import PrepareConfig, prepare_portrait

    _refuse_no_function(progress)
    folder = _path(out, "the portrait's folder")
    if not isinstance(videos, str | os.PathLike | Sequence) or isinstance(videos, bytes):
        raise InputError(f"the videos are of the type {type(videos).__name__}", "give a path, or several")
    paths = videos_of([videos] if isinstance(videos, str | os.PathLike) else videos)
    config = checked_settings(
        PrepareConfig,
        size=size,
        encoder=encoder,
        encoder_path=None if encoder_path is None else str(encoder_path),
        correct_sound=correct_sound,
    )
    spoken = None if words is None else _path(words, "the file of words")
    return prepare_portrait(paths, folder, config, resume=resume, progress=progress, words=spoken)


def train(
    portrait: Path | str,
    out: Path | str,
    *,
    consent: str,
    renderer: str = "gaussian",
    preset: str = "fast",
    budget_seconds: float | None = None,
    licence: str = "not stated: ask before you share it",
    attribution: str = "",
    motion: Path | str | None = None,
    encoder_path: Path | str | None = None,
    body_seconds: float = 20.0,
    seed: int = 0,
    scene: int | None = None,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> TrainedAvatar:
    """Train a portrait into an avatar folder: motion adapted to the person, renderer, card, first figures.

    Args:
        portrait: a folder of `prepare`.
        out: the avatar folder to make, new or empty; unfinished work lies in OUT.partial next to it.
        consent: who agreed to this avatar, and how; stored in its card.
        renderer: "gaussian", or "nerf": GeneFace's own kind.
        preset: "tiny" (seconds, to try things), "fast" (minutes) or "good" (longer).
        budget_seconds: for all of the training, instead of the preset's steps.
        licence, attribution: for the card.
        motion: folder of a generic motion model, by default the one that ships.
        encoder_path: weights of the speech encoder that it hears, where that is not shipped.
        body_seconds: how much of the person's own video the avatar carries at most, to put the drawn mouth into: up
            to 60 s, about .1 MB a second at 512 pixels and 1 MB at 1920x1080; 0: nothing.
        seed: equal seeds give equal avatars.
        scene: which light and clothes the avatar shows, where the portrait holds several: a number of its notes. By
            default those of most frames. Lips learn from all scenes.
        resume: go on where an interrupted run stopped.
        progress: called as progress(stage, done, total).

    Raises:
        InputError: no consent, a bad portrait or setting, a place that can't be written to.
    """
    from geneface.analysis.speech import load_encoder
    from geneface.avatar.avatar import Avatar
    from geneface.avatar.folder import is_unmeasured, read_avatar, store_metrics
    from geneface.evaluation.summary import summarise_training
    from geneface.motion.runtime import MotionModel
    from geneface.portrait.portrait import Portrait
    from geneface.training.avatar import AvatarTrainConfig, build_avatar, refuse_other, refuse_training

    _refuse_no_function(progress)
    if isinstance(consent, str) and not consent.strip():
        raise InputError("the consent is empty", "say who agreed to this avatar, and how (--consent)")
    folder = _path(out, "the avatar's folder")
    config = checked_settings(
        AvatarTrainConfig,
        consent=_stripped(consent),
        licence=_stripped(licence),
        attribution=_stripped(attribution),
        renderer=renderer,
        preset=preset,
        budget_seconds=budget_seconds,
        body_seconds=body_seconds,
        seed=seed,
        scene=scene,
    )
    source = existing(_path(portrait, "the portrait"), "the portrait")
    generic = None if motion is None else _path(motion, "the motion model")
    if resume and is_unmeasured(folder):
        # Killed after the avatar had been written.
        person, avatar = Portrait.load(source), Avatar.load(folder, encoder_path)
        refuse_other(avatar.files.config, person.of_scene(config.scene), config)
    else:
        refuse_training(config, folder)
        person, model = Portrait.load(source), MotionModel.load(generic)
        # Before the training, which takes minutes: without its encoder the avatar could not be loaded after it.
        encoder = load_encoder(model.config.encoder, encoder_path)
        build_avatar(person, folder, config, model, encoder=encoder, resume=resume, progress=progress)
        avatar = Avatar.of(read_avatar(folder), encoder, model, encoder_path)
    summary = summarise_training(avatar, person.of_scene(config.scene), progress)
    store_metrics(folder, summary.report.model_dump())
    facts = dict(avatar.files.config.training)
    return TrainedAvatar(avatar, facts, summary.verdict, summary.lines, summary.warnings)


def evaluate(
    avatar: Avatar | Path | str,
    portrait: Path | str | None = None,
    out: Path | str | None = None,
    *,
    store: bool = False,
    max_frames: int = 300,
    driven: bool = True,
    lpips: Path | str | None = None,
    inception: Path | str | None = None,
    syncnet: Path | str | None = None,
    encoder_path: Path | str | None = None,
    progress: ProgressFn = no_progress,
) -> dict[str, Any]:
    """Measure an avatar on held-out frames and beyond its recording: pictures, lips, sync and stability, with controls.

    Args:
        avatar: one that is loaded, its folder, or the name of a bundled one.
        portrait: the folder it was trained on: its held-out frames are the truth. Without it there is no ground truth.
        out: folder for metrics.json, report.html and sheets of pictures; by default nothing is written.
        store: keep the figures with the avatar, in its metrics.json and card.
        max_frames: held-out frames that are drawn at most.
        driven: drive it beyond its recording too, some 1400 frames more.
        lpips, inception, syncnet: files of `geneface convert-weights`, for LPIPS, FID and LSE.
        encoder_path: weights of the avatar's speech encoder, where that is not shipped.
        progress: called as progress(stage, done, total).

    Returns:
        The content of metrics.json (docs/metrics.md): `["tables"][table]["rows"][i]["figures"][key]["value"]`.

    Raises:
        InputError: no such avatar or portrait, or one of another person; damaged weights.
    """
    from geneface.avatar.avatar import Avatar
    from geneface.avatar.folder import store_metrics
    from geneface.evaluation.evaluate import evaluate_avatar
    from geneface.evaluation.tools import MetricWeights
    from geneface.portrait.portrait import Portrait

    _refuse_no_function(progress)
    if not isinstance(max_frames, int) or max_frames < 1:
        raise InputError(f"{max_frames!r} frames can't be measured", "give a whole number of 1 or more (--max-frames)")
    files = {"--lpips": lpips, "--inception": inception, "--syncnet": syncnet}
    weights = MetricWeights(
        *(None if path is None else _path(path, f"the file of {key}") for key, path in files.items())
    )
    if isinstance(avatar, Avatar) and encoder_path is not None:
        raise InputError("weights were given for an avatar that is loaded", "give them to Avatar.load")
    loaded = avatar if isinstance(avatar, Avatar) else Avatar.load(avatar, encoder_path)
    source = None if portrait is None else existing(_path(portrait, "the portrait"), "the portrait")
    truth = None if source is None else Portrait.load(source).of_scene(loaded.files.config.scene)
    if out is not None:
        refuse_inside(_path(out, "the report's folder"), loaded.files.folder, "the avatar's folder")
        if source is not None:
            refuse_inside(Path(out), source, "the portrait")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory())) if out is None else Path(out)
        metrics = evaluate_avatar(
            loaded, truth, folder, max_frames=max_frames, driven=driven, weights=weights, progress=progress
        )
    if store:
        store_metrics(loaded.files.folder, metrics)
    return metrics


def videos_of(paths: Sequence[Path | str], tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """The videos themselves: a folder stands for the clips in it.

    Args:
        tell: told in one sentence which files of a folder look like clips and are passed over.

    Raises:
        InputError: one does not exist or is given twice, or a folder holds none.
    """
    videos: list[Path] = []
    for path in (_path(path, "the video") for path in paths):
        if existing(path, "the video").is_dir():
            videos += clips_of(path, VIDEO_SUFFIXES, tell=tell)
        else:
            videos.append(path)
    seen: dict[Path, Path] = {}
    for video in videos:
        if seen.setdefault(video.resolve(), video) is not video:
            raise InputError(f"the video {video} is given twice", "name each video once")
    return videos


def _path(value: object, what: str) -> Path:
    """A path from text or from what stands for one; an empty text is none."""
    if value == "":
        raise InputError(f"{what} has no name", "give a path")
    return path_of(value, what, "give a path")


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


def _refuse_no_function(progress: object) -> None:
    if not callable(progress):
        raise InputError(f"progress is of the type {type(progress).__name__}", "give a function (stage, done, total)")
