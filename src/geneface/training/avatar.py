"""Portrait to avatar: choose the body loop, adapt the motion, train the renderer, measure the person, write the folder.

Everything unfinished is kept in the folder OUT.partial next to the avatar, which takes its name only when it is whole.
A run that was interrupted goes on from there and gives the same avatar as an uninterrupted one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from geneface import __version__
from geneface.analysis.speech import SpeechEncoder, load_encoder
from geneface.avatar.folder import MAX_NAME, PERSON_FOLDER, AvatarConfig, AvatarParts, write_avatar
from geneface.avatar.idle import closing_weight, voice_activity
from geneface.avatar.person import PersonStatistics, Spoken, measure_person
from geneface.avatar.stress import heard_windows, loudness_of
from geneface.config import Config
from geneface.errors import InputError
from geneface.geometry.landmarks import lids_have_closed
from geneface.io.atomic import sha256
from geneface.io.place import check_space, rehearse_folder
from geneface.io.records import read_json, write_json
from geneface.io.work import claim_folder, exclusive_folder
from geneface.motion.person import load_person
from geneface.motion.runtime import RECORDED_FOLDER, MotionModel
from geneface.portrait.manifest import MANIFEST_NAME, PortraitManifest
from geneface.portrait.portrait import Portrait
from geneface.render.registry import DEFAULT_RENDERER, check_renderer, create_renderer
from geneface.render.renderer import RendererModel
from geneface.training.adaptation.person import adapt_to_person
from geneface.training.body.build import DEFAULT_SECONDS, MOST_SECONDS, build_body, is_whole
from geneface.training.detail import measure_detail
from geneface.training.presets import Preset
from geneface.training.trainers import training_of
from geneface.types import ByteArray, ProgressFn, no_progress

_SETTINGS_FILE, _PROGRESS_FILE, _BODY_FOLDER = "settings.json", "adapted.json", "body"
_SHORTEST_BUDGET_SECONDS = 5.0
_NEEDED_BYTES = 150 << 20
"""Free space to begin with: avatar, unfinished work with the body loop, two checkpoints."""


@dataclass(frozen=True)
class _Generic:
    """A generic motion model that the person is adapted to."""

    model: MotionModel
    encoder: SpeechEncoder | None
    """The model's, for a portrait that was prepared with another."""
    place: str = ""
    """Folder below those of the motion model and of the person."""


class AvatarTrainConfig(Config):
    """What `build_avatar` is asked for."""

    consent: str = Field(min_length=1, max_length=5000)
    """Who agreed to this avatar, and how."""
    licence: str = Field("not stated: ask before you share it", min_length=1, max_length=500)
    attribution: str = Field("", max_length=2000)
    renderer: str = DEFAULT_RENDERER
    preset: Preset = "fast"
    budget_seconds: float | None = Field(None, gt=0)
    """For everything; replaces the renderer's number of steps by as many as fit."""
    seed: int = Field(0, ge=0)
    body_seconds: float = Field(DEFAULT_SECONDS, ge=0, le=MOST_SECONDS)
    """Length of the body loop at most; 0: the avatar holds nothing of the person's own video."""
    scene: int | None = Field(None, ge=1)
    """Which light and clothes of the portrait; by default those of most frames."""


def refuse_other(avatar: AvatarConfig, portrait: Portrait, config: AvatarTrainConfig) -> None:
    """An avatar that was finished but for its figures goes on only as what it was begun as.

    Args:
        portrait: the scene that was chosen.

    Raises:
        InputError: it was trained on another portrait, or with other settings.
    """
    made = {
        "consent": (avatar.consent, config.consent),
        "renderer": (avatar.renderer, config.renderer),
        "preset": (avatar.training.get("preset"), config.preset),
        "focal length": (avatar.focal, portrait.camera.focal),
        "size": (avatar.size, portrait.camera.width),
        "scene": (avatar.scene or 1, int(portrait.scene[0])),
        "training frames": (avatar.training.get("training_frames"), int((~portrait.heldout).sum())),
        "length of the body loop": (avatar.training.get("body_seconds"), config.body_seconds),
    }
    for name, (was, wanted) in made.items():
        if was != wanted:
            raise InputError(
                f"the avatar was trained with another {name} ({was}, not {wanted})",
                "give what it was trained with, or another output folder",
            )


def refuse_training(config: AvatarTrainConfig, out: Path) -> None:
    """What can be told before anything is read: settings that there are not, a place where no avatar can be made.

    Raises:
        InputError: says which.
    """
    check_renderer(config.renderer)
    _refuse_place(out)


def build_avatar(
    portrait: Portrait,
    out: Path,
    config: AvatarTrainConfig,
    model: MotionModel,
    *,
    encoder: SpeechEncoder | None = None,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> AvatarConfig:
    """Train a portrait into an avatar folder.

    Args:
        out: new or empty folder; OUT.partial next to it holds the unfinished work.
        model: the generic motion model; a copy of its folder goes into the avatar.
        encoder: the model's, for a portrait that was prepared with another.
        resume: go on from OUT.partial.
        progress: called with "body loop", "adapt the motion", "renderer" and others.

    Raises:
        InputError: bad portrait, settings or folders; another run is at work on the same avatar.
    """
    refuse_training(config, out)
    shown = portrait.of_scene(config.scene)
    if not (~shown.heldout).any():
        raise InputError(f"the portrait {portrait.folder} has no training frames", "prepare a longer video")
    _open_all(portrait)
    generics = _generics(model, encoder)
    settings = _settings(portrait.folder, generics, config)
    work = out.with_name(f"{out.name}.partial")
    with exclusive_folder(work):
        claim_folder(
            work,
            _SETTINGS_FILE,
            settings,
            resume,
            begun=InputError(f"{work} holds an unfinished training", "add --resume to go on, or remove that folder"),
            other=InputError(
                f"{work} was begun with another portrait or other settings",
                "repeat the first command with --resume, or remove that folder",
            ),
        )
        try:
            return _build(portrait, shown, out, work, config, generics, resume, progress)
        except InputError:
            # A run that got nowhere leaves nothing; one that got further can go on, e.g. once the disk has space.
            if not resume and not (work / _PROGRESS_FILE).is_file():
                shutil.rmtree(work)
            raise


def _build(
    portrait: Portrait,
    shown: Portrait,
    out: Path,
    work: Path,
    config: AvatarTrainConfig,
    generics: Sequence[_Generic],
    resume: bool,
    progress: ProgressFn,
) -> AvatarConfig:
    """All steps in their order: lips are learnt from all of the portrait, appearance and poses from the scene shown."""
    adapted = _before_renderer(portrait, shown, generics, work, config, progress)
    motion = generics[0].model
    budget = adapted["renderer_budget_seconds"]
    training = training_of(config.renderer)
    settings = training.config(config.preset, seed=config.seed, budget_seconds=budget)
    model = training.train(shown, work, settings, resume=resume, progress=progress)
    person = measure_person(shown.landmarks, shown.pose, shown.segment, ~shown.heldout, _spoken(shown), shown.neutral)
    described = _describe(out.name, shown, motion.config.encoder, model, config, adapted)
    described = described.model_copy(update={"sharpen": measure_detail(shown, described, model)})
    poster = draw_poster(described, model, person, shown.background)
    body = work / _BODY_FOLDER if adapted["has_body"] else None
    parts = AvatarParts(
        described, model.tensors(), person, shown.background, poster, motion.folder, work / PERSON_FOLDER, body
    )
    write_avatar(out, parts)
    shutil.rmtree(work)
    return described


def _open_all(portrait: Portrait) -> None:
    """Open every file that training reads: a damaged one is found now and not after minutes."""
    for number in range(len(portrait.segments)):
        portrait.frame(portrait.frames_of(number)[0])
        portrait.features(number)
        portrait.audio(number)
        portrait.segment_background(number)


def _refuse_place(out: Path) -> None:
    """What would be refused when the finished avatar is written is refused now."""
    if out.name in ("", ".."):
        raise InputError(f"{str(out)!r} is not a name for an avatar", "give the name of a new folder")
    if len(out.name) > MAX_NAME:
        raise InputError(f"the avatar's name has {len(out.name)} letters", f"give one of at most {MAX_NAME}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already", "choose another name, or remove it first")
    rehearse_folder(out)
    check_space(out, _NEEDED_BYTES)


def _generics(model: MotionModel, encoder: SpeechEncoder | None) -> list[_Generic]:
    """The model for live speech, and the one for recorded speech if there is one beside it.

    Raises:
        InputError: the latter is damaged, or its encoder is missing.
    """
    folder = model.folder / RECORDED_FOLDER
    if not folder.is_dir():
        return [_Generic(model, encoder)]
    recorded = MotionModel.load(folder)
    return [_Generic(model, encoder), _Generic(recorded, load_encoder(recorded.config.encoder), RECORDED_FOLDER)]


def _settings(portrait_folder: Path, generics: Sequence[_Generic], config: AvatarTrainConfig) -> dict[str, Any]:
    """What decides the result, plain values: a training goes on only with the same."""
    return {
        "portrait": str(portrait_folder.resolve()),
        "portrait_sha256": sha256(portrait_folder / MANIFEST_NAME),
        **{f"{one.place or 'motion'}_sha256": sha256(one.model.folder / "motion.onnx") for one in generics},
        **config.model_dump(mode="json"),
    }


def draw_poster(
    config: AvatarConfig, model: RendererModel, person: PersonStatistics, background: ByteArray
) -> ByteArray:
    """The person at rest in the first pose of the path, [size, size, 3]."""
    plate = np.divide(background, 255, dtype=np.float32)
    # From the tensors and not from the model: the poster shows what is stored.
    renderer = create_renderer(config.renderer, model.tensors(), model.config(), plate)
    path = person.path
    pose = path.rotation[0], path.translation[0]
    return renderer.render(person.rest, *pose, config.camera, torso=path.torso_at(0)).to_uint8()


def _before_renderer(
    portrait: Portrait,
    shown: Portrait,
    generics: Sequence[_Generic],
    work: Path,
    config: AvatarTrainConfig,
    progress: ProgressFn,
) -> dict[str, Any]:
    """Make the body loop of the scene shown and adapt the motion to the person, unless that is done.

    Returns:
        What came of both, and the time that is left for the renderer.
    """
    done, body = work / _PROGRESS_FILE, work / _BODY_FOLDER
    if done.is_file() and _is_sound(work / PERSON_FOLDER):
        adapted = read_json(done)
        if not adapted["has_body"] or is_whole(body):
            return adapted
    began = time.monotonic()
    said = build_body(shown, body, config.body_seconds, progress)
    record, *_ = (
        adapt_to_person(portrait, one.model, one.encoder, work / PERSON_FOLDER / one.place, progress=progress)
        for one in generics
    )
    left = None
    if config.budget_seconds is not None:
        left = max(config.budget_seconds - (time.monotonic() - began), _SHORTEST_BUDGET_SECONDS)
    kind = f"to {record.seconds:.1f} s" + ("" if "weight_nets" in record.metrics else ": gain and offset only")
    adapted = {"kind": kind, "renderer_budget_seconds": left, "body": said, "has_body": is_whole(body)}
    write_json(done, adapted)
    return adapted


def _is_sound(person: Path) -> bool:
    """Whether an adaptation of an interrupted run can be used: neither damaged nor of another version."""
    try:
        for folder in (person, *person.glob(RECORDED_FOLDER)):
            load_person(folder)
    except InputError:
        return False
    return True


def _spoken(portrait: Portrait) -> Spoken:
    """What is heard in the portrait's frames."""
    silent, loud = [], []
    for number, segment in enumerate(portrait.segments):
        samples = portrait.audio(number).samples
        closed = closing_weight(voice_activity(samples)) == 1
        silent.append(np.resize(closed, segment.frames))
        loud.append(heard_windows(loudness_of(samples), segment.frames)[:, 0])
    return Spoken(np.concatenate(silent), np.concatenate(loud), tuple(segment.name for segment in portrait.segments))


def _describe(
    name: str,
    portrait: Portrait,
    encoder: str,
    model: RendererModel,
    config: AvatarTrainConfig,
    adapted: dict[str, Any],
) -> AvatarConfig:
    frames = int((~portrait.heldout).sum())
    seen = portrait.landmarks[~portrait.heldout]
    # Not told where there is one only, as avatars of before don't.
    whole = PortraitManifest.read(portrait.folder)
    scene = {"scene": int(portrait.scene[0])} if len(whole.scenes) > 1 else {}
    return AvatarConfig(
        name=name,
        renderer=config.renderer,
        renderer_config=model.config(),
        size=portrait.size,
        focal=portrait.camera.focal,
        encoder=encoder,
        licence=config.licence,
        attribution=config.attribution,
        consent=config.consent,
        training={
            "preset": config.preset,
            **scene,
            "training_frames": frames,
            "heldout_frames": int(portrait.heldout.sum()),
            **model.facts(),
            "motion_adaptation": adapted["kind"],
            "body_seconds": config.body_seconds,
            "body": adapted["body"],
            "blinks": "as in the video" if lids_have_closed(seen) else "from geometry: the video shows none",
            "geneface": __version__,
        },
    )
