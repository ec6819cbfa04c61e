"""A job of the kind "import": the zip of an avatar folder, which may come from anywhere, becomes an avatar.

Nothing of it is believed: names are those of the avatar format or it is refused, sizes are counted while it is
unpacked, and it is loaded once, here in a process with limits, before it is offered.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

from geneface.avatar.avatar import Avatar
from geneface.avatar.body import BODY_FILES
from geneface.avatar.folder import (
    BACKGROUND_FILE,
    CARD_FILE,
    CONFIG_FILE,
    METRICS_FILE,
    MODEL_FILE,
    MOTION_FOLDER,
    PERSON_FOLDER,
    POSTER_FILE,
    STATISTICS_FILE,
)
from geneface.avatar.hearing import recorded_hearing
from geneface.errors import InputError
from geneface.io.image import read_image
from geneface.io.records import read_json
from geneface.motion.person import RECORD_NAME, TENSORS_NAME
from geneface.motion.runtime import RECORDED_FOLDER
from geneface.serve.jobs.formats import ARCHIVE
from geneface.serve.jobs.progress import StepPlan
from geneface.serve.jobs.task import Task

_MB = 1 << 20
MOST_BYTES: dict[str, int] = {
    CONFIG_FILE: 1 * _MB,
    MODEL_FILE: 256 * _MB,
    STATISTICS_FILE: 16 * _MB,
    BACKGROUND_FILE: 32 * _MB,
    POSTER_FILE: 32 * _MB,
    CARD_FILE: 1 * _MB,
    METRICS_FILE: 16 * _MB,
    **{
        f"{place}/{name}": most
        for place in (MOTION_FOLDER, f"{MOTION_FOLDER}/{RECORDED_FOLDER}")
        for name, most in (("config.json", 1 * _MB), ("motion.onnx", 256 * _MB), ("stats.safetensors", 16 * _MB))
    },
    **{
        f"{place}/{name}": most
        for place in (PERSON_FOLDER, f"{PERSON_FOLDER}/{RECORDED_FOLDER}")
        for name, most in ((RECORD_NAME, 1 * _MB), (TENSORS_NAME, 64 * _MB))
    },
    **dict.fromkeys(BODY_FILES[:2], 512 * _MB),
    BODY_FILES[2]: 64 * _MB,
}
"""The files of an avatar, in their order in a zip, and how large each may be."""
_MOST_DIRECTORY = 1 << 16
"""Bytes of the list of contents: some hundred entries."""
_REMEDY = "give a zip that this program exported"
_CHUNK = 1 << 20


def import_avatar(task: Task) -> dict[str, Any]:
    """Unpack, look, offer.

    Raises:
        InputError: the zip is not that of a sound avatar.
    """
    place = task.home.avatar(task.job.subject)
    reporter = task.reporter([StepPlan("unpack", 1.0), StepPlan("load", 2.0)])
    if not (place / CONFIG_FILE).is_file():
        folder = task.work / task.job.subject
        with reporter.step("unpack") as progress:
            # Of an attempt that died.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            unpack(task.input(ARCHIVE), folder, progress)
        with reporter.step("load"):
            Avatar.load(folder)
            recorded_hearing(folder, (folder / PERSON_FOLDER).is_dir())
            _check_shown(folder)
        task.offer(folder)
    return {"avatar": place.name}


def _check_shown(folder: Path) -> None:
    """What rendering does not read, but clients are shown."""
    if (folder / POSTER_FILE).is_file():
        read_image(folder / POSTER_FILE)
    for name in (CONFIG_FILE, METRICS_FILE):
        if (folder / name).is_file():
            try:
                # NaN, say, which answers can't hold.
                json.dumps(read_json(folder / name), allow_nan=False)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{name} in the zip can't be told as JSON", _REMEDY) from error


def unpack(archive: Path, folder: Path, progress: Any = lambda *_: None) -> None:
    """Write the files of an avatar from its zip into an empty folder.

    Raises:
        InputError: it is no zip, or holds anything but the files of one avatar.
    """
    _check_directory(archive)
    try:
        with zipfile.ZipFile(archive) as file:
            entries = _entries(file)
            for number, (name, entry) in enumerate(entries.items()):
                progress("unpack", number, len(entries))
                _extract(file, entry, folder / name, MOST_BYTES[name], name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, struct.error) as error:
        raise InputError("the zip is damaged, or of a kind that is not read", _REMEDY) from error
    except (ValueError, OverflowError) as error:
        raise InputError("the zip is damaged", _REMEDY) from error


def _check_directory(archive: Path) -> None:
    """Refuse a long list of contents before it is read."""
    size = archive.stat().st_size
    with open(archive, "rb") as file:
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        raise InputError("this is no zip", _REMEDY)
    if b"PK\x06\x07" in tail:
        # A second list of contents, for more than 4 GB, which would be believed instead.
        raise InputError("the zip is larger than an avatar's may be", _REMEDY)
    count, length = struct.unpack("<HI", tail[at + 10 : at + 16])
    if count > 10 * len(MOST_BYTES) or length > _MOST_DIRECTORY:
        raise InputError("the zip has too many entries for an avatar", _REMEDY)


def _entries(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files by their names in an avatar folder; one folder around them all is left out."""
    infos = file.infolist()
    plain = [info for info in infos if not info.is_dir()]
    tops = {info.filename.split("/", 1)[0] for info in infos}
    known = {name.split("/", 1)[0] for name in MOST_BYTES}
    prefix = f"{next(iter(tops))}/" if len(tops) == 1 and not tops & (known | {"", ".", ".."}) else ""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in plain:
        name = info.filename.removeprefix(prefix)
        if name not in MOST_BYTES:
            raise InputError(f"the zip holds {_shown(info.filename)}, which is no file of an avatar", _REMEDY)
        if name in found:
            raise InputError(f"the zip holds {name} twice", _REMEDY)
        mode = info.external_attr >> 16
        if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
            raise InputError(f"{name} in the zip is a link or something else that is no file", _REMEDY)
        if info.flag_bits & 1:
            raise InputError("the zip is encrypted", _REMEDY)
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError("the zip is packed in a way that is not read", _REMEDY)
        if info.file_size > MOST_BYTES[name]:
            raise InputError(f"{name} in the zip is too large to be an avatar's", _REMEDY)
        found[name] = info
    if CONFIG_FILE not in found:
        raise InputError(f"the zip lacks {CONFIG_FILE}: it is not that of an avatar", _REMEDY)
    return found


def _extract(file: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, most: int, name: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with file.open(entry) as source, open(target, "xb") as out:
        while chunk := source.read(_CHUNK):
            # What the entry says of its size need not be so.
            written += len(chunk)
            if written > most:
                raise InputError(f"{name} in the zip is too large to be an avatar's", _REMEDY)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())


def _shown(name: str) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in name)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
