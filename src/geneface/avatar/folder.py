"""The avatar folder on disk: all that rendering needs. Nothing in it was filmed but the body loop.

config.json           `AvatarConfig`
model.safetensors     the renderer's tensors
motion.safetensors    `PersonStatistics`
motion/               the generic motion model it was adapted from (config.json, motion.onnx, stats.safetensors)
person/               the adaptation to the person, if there is one
body.*, matte.mp4     the body loop, if there is one: some seconds of the person's own video (`avatar.body`)
background.png        the plate, [size, size]
poster.png            a picture for lists
README.md             card: licence, consent, attribution, figures
metrics.json          written by `geneface evaluate --store`

A folder may come from anywhere: every file is checked before it is used.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from geneface.avatar.body import BODY_FILES, Body
from geneface.avatar.card import card_text, with_figures
from geneface.avatar.person import PersonStatistics
from geneface.config import Config
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_NAMES, are_keypoints
from geneface.io.assets import asset_path
from geneface.io.atomic import atomic_folder, atomic_path
from geneface.io.image import read_image, write_png
from geneface.io.records import read_json, write_json
from geneface.io.tensors import TensorFile, load_tensors, save_tensors
from geneface.motion.person import RECORD_NAME, TENSORS_NAME
from geneface.types import VIDEO_RATE_HZ, ByteArray, Camera, FloatArray

CONFIG_FILE, MODEL_FILE, STATISTICS_FILE = "config.json", "model.safetensors", "motion.safetensors"
BACKGROUND_FILE, POSTER_FILE, CARD_FILE, METRICS_FILE = "background.png", "poster.png", "README.md", "metrics.json"
MOTION_FOLDER, PERSON_FOLDER = "motion", "person"
_MOTION_FILES = ("config.json", "motion.onnx", "stats.safetensors")
_PERSON_FILES = (RECORD_NAME, TENSORS_NAME)
_MAX_FILE_BYTES = {CONFIG_FILE: 1 << 20, MODEL_FILE: 1 << 28, STATISTICS_FILE: 1 << 24, METRICS_FILE: 1 << 24}
_REMEDY = "train the avatar again or copy it again"
MAX_NAME = 200
"""Letters of an avatar's name."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class AvatarConfig(Config):
    """`config.json` of an avatar."""

    format: Literal[1] = 1
    name: str = Field(min_length=1, max_length=MAX_NAME)
    renderer: str = Field(max_length=40)
    """Key of `render.registry.RENDERERS`."""
    renderer_config: dict[str, Any]
    """What the renderer's `config()` returned."""
    size: int = Field(ge=32, le=2048)
    """Width and height of the frames it was trained on, pixels."""
    focal: float = Field(gt=0.1, lt=100, allow_inf_nan=False)
    """Image widths."""
    sharpen: float = Field(default=0, ge=0, le=1)
    """How much what is drawn is sharpened, see `render.detail`."""
    encoder: str = Field(max_length=40)
    """Name of the speech encoder that the motion model hears."""
    licence: str = Field(min_length=1, max_length=500)
    attribution: str = Field(max_length=2000)
    consent: str = Field(min_length=1, max_length=5000)
    """Who agreed to this avatar, and how."""
    training: dict[str, str | int | float | bool | None]
    """How it was made, for the card."""

    @property
    def scene(self) -> int | None:
        """Which scene of its portrait the avatar shows; None where the portrait had one only."""
        scene = self.training.get("scene")
        return scene if isinstance(scene, int) else None

    @property
    def camera(self) -> Camera:
        """Square, at the size that the avatar was trained at."""
        return Camera(self.focal, self.size, self.size)


@dataclass(frozen=True)
class AvatarFiles:
    """The checked content of an avatar folder, but for the ONNX graphs."""

    folder: Path
    config: AvatarConfig
    tensors: dict[str, NDArray[Any]]
    person: PersonStatistics
    plate: FloatArray
    """[H, W, 3] in [0, 1]."""
    body: Body | None
    """Some seconds of the person's own video, if the avatar carries any."""


def find_avatar(avatar: Path | str) -> Path:
    """The folder of an avatar given as a folder, or as the name of a bundled one."""
    if not isinstance(avatar, str | os.PathLike):
        raise InputError(f"the avatar is of the type {type(avatar).__name__}", "give a folder or a bundled name")
    folder = Path(avatar)
    try:
        is_folder, exists = folder.is_dir() and str(avatar) != "", folder.exists()
    except (OSError, ValueError):
        # Too long for a path, or with a null character.
        is_folder = exists = False
    if is_folder:
        return folder
    if exists and str(avatar):
        raise InputError(f"{folder} is a file, not an avatar folder", "give the folder that geneface train wrote")
    names = bundled_avatars()
    if str(avatar) in names:
        return asset_path("avatars", str(avatar))
    known = f"or a bundled avatar ({', '.join(names)})" if names else "(this installation has no bundled avatars)"
    raise InputError(f"there is no avatar {str(avatar)!r}", f"give the folder of an avatar {known}")


def bundled_avatars() -> list[str]:
    """Names of the avatars that ship with the package."""
    try:
        parent = asset_path("avatars")
    except InputError:
        return []
    return sorted(path.name for path in parent.iterdir() if _NAME.fullmatch(path.name) and path.is_dir())


def read_avatar(avatar: Path | str) -> AvatarFiles:
    """Read and check a folder.

    Raises:
        InputError: no such avatar, or a file that is missing, too large, damaged, or of another version.
    """
    folder = find_avatar(avatar)
    for name, most in _MAX_FILE_BYTES.items():
        path = folder / name
        if name != METRICS_FILE and not path.is_file():
            raise InputError(f"the avatar {folder} lacks the file {name}", _REMEDY)
        if path.is_file() and path.stat().st_size > most:
            raise InputError(f"the file {path} is too large to be an avatar's", _REMEDY)
    config = _read_config(folder / CONFIG_FILE)
    tensors = load_tensors(folder / MODEL_FILE)
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise InputError(f"the tensor {name!r} in {folder / MODEL_FILE} holds NaN or infinity", _REMEDY)
    person = read_statistics(folder)
    plate = np.divide(read_image(folder / BACKGROUND_FILE), 255, dtype=np.float32)
    body = Body.load(folder) if Body.is_in(folder) else None
    return AvatarFiles(folder, config, tensors, person, plate, body)


def read_statistics(folder: Path) -> PersonStatistics:
    """What an avatar's folder tells of the person besides the picture.

    Raises:
        InputError: the file is missing, damaged, or of another version.
    """
    path = folder / STATISTICS_FILE
    if not are_keypoints(TensorFile(path).metadata.get("landmarks")):
        raise InputError(f"{path} is of another set of landmarks", "train the avatar again with this version")
    return PersonStatistics.from_tensors(load_tensors(path), str(path))


def _read_config(path: Path) -> AvatarConfig:
    values = read_json(path)
    if isinstance(values, dict) and values.get("format", 1) != 1:
        raise InputError(f"{path} has format {values['format']!r}, this version reads 1", "update geneface")
    try:
        return AvatarConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise InputError(f"{path} is not an avatar's configuration", _REMEDY, f"({place}: {first['msg']})") from error


def is_unmeasured(folder: Path) -> bool:
    """Whether an avatar stands there without the figures that a training ends with."""
    return (folder / CONFIG_FILE).is_file() and not (folder / METRICS_FILE).exists()


def read_metrics(folder: Path) -> dict[str, Any] | None:
    """The figures that were stored with the avatar, or None."""
    path = folder / METRICS_FILE
    if not path.is_file():
        return None
    values = read_json(path)
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a table of figures", "evaluate the avatar again")
    return values


@dataclass(frozen=True)
class AvatarParts:
    """What `write_avatar` puts into a folder."""

    config: AvatarConfig
    tensors: Mapping[str, NDArray[Any]]
    person: PersonStatistics
    background: ByteArray
    """[size, size, 3]."""
    poster: ByteArray
    motion_folder: Path
    """A motion model's folder; what it runs on is copied."""
    person_folder: Path | None
    """The folder of the adaptation to the person, if there is one; copied likewise."""
    body_folder: Path | None = None
    """The folder of the body loop, if there is one; copied likewise."""


def write_avatar(folder: Path, parts: AvatarParts) -> None:
    """Write a whole avatar folder, or nothing. `folder` must be new or empty."""
    with atomic_folder(folder) as temporary:
        write_json(temporary / CONFIG_FILE, parts.config.model_dump(mode="json"))
        save_tensors(temporary / MODEL_FILE, parts.tensors)
        save_tensors(temporary / STATISTICS_FILE, parts.person.tensors(), {"landmarks": KEYPOINT_NAMES})
        write_png(temporary / BACKGROUND_FILE, parts.background)
        write_png(temporary / POSTER_FILE, parts.poster)
        _copy(parts.motion_folder, temporary / MOTION_FOLDER, _MOTION_FILES)
        if parts.person_folder is not None:
            _copy(parts.person_folder, temporary / PERSON_FOLDER, _PERSON_FILES)
        if parts.body_folder is not None:
            _copy(parts.body_folder, temporary, BODY_FILES)
        text = card_text(parts.config.model_dump(), len(parts.person.path), _body_text(temporary))
        (temporary / CARD_FILE).write_text(text, encoding="utf-8")


def _body_text(folder: Path) -> str | None:
    """What the card says of the person's own video, None if there is none."""
    if not Body.is_in(folder):
        return None
    body = Body.load(folder)
    megabytes = sum((folder / name).stat().st_size for name in BODY_FILES) / 1e6
    return f"{len(body) / VIDEO_RATE_HZ:.1f} s at {body.width} x {body.height} pixels, {megabytes:.1f} MB"


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    """Only what is needed at run time: the trainers leave checkpoints and a sync expert next to it."""
    target.mkdir(exist_ok=True)
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def store_metrics(avatar: Path | str, metrics: dict[str, Any]) -> None:
    """Keep an evaluation with the avatar: metrics.json, and its figures in the card."""
    folder = find_avatar(avatar)
    write_json(folder / METRICS_FILE, metrics)
    card = folder / CARD_FILE
    text = (
        card.read_text(encoding="utf-8")
        if card.is_file()
        else card_text(_read_config(folder / CONFIG_FILE).model_dump(), 0, _body_text(folder))
    )
    with atomic_path(card) as temporary:
        temporary.write_text(with_figures(text, metrics), encoding="utf-8")
