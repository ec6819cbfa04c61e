"""Weights of speech encoders that do not ship: which files they are, and the name that says so.

A name is KIND:DIGEST, `whisper:d01c3014881c`, `whisper-4:d01c3014881c`, `hubert:...`: the kind as it was asked for, and
the beginning of the SHA-256 of the weights. Whatever is made with an encoder records its name, and what uses it needs
weights of that digest, wherever they lie by then. They are given by path, or found among `ENCODER_VARIABLE`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from geneface.errors import InputError
from geneface.io.records import read_json

ENCODER_VARIABLE = "GENEFACE_ENCODER_PATH"
"""Environment variable: paths of weights, separated as in PATH. Of several, those with the right digest are taken."""

_NAME = re.compile(r"(whisper(?:-([1-9]\d?))?|hubert|streaming)(?::(\S+))?")
_PART = re.compile(r"(.+\.part)(\d+)")
_DIGITS = 12
"""Hexadecimal digits of the digest: nobody meets another model by chance."""
_CHUNK_BYTES = 1 << 20
_GIVE = f"with --encoder-path (in Python: encoder_path=) or the environment variable {ENCODER_VARIABLE}"
_FILES = "config.json and model.safetensors"
_REMEDY = f"give a folder with {_FILES}, or of Whisper a CTranslate2 model.bin"
_CONVERT = '; transformers writes them: AutoModel.from_pretrained("OLD").save_pretrained("NEW")'


@dataclass(frozen=True)
class EncoderWeights:
    """A model on the disk, whole, and how it is to be used."""

    kind: str
    """As it was asked for: "whisper", "whisper-4", "hubert", "streaming"."""
    layers: int | None
    """How many of Whisper's layers, None: all."""
    path: Path
    """As it was given."""
    files: tuple[Path, ...]
    """That hold the weights, in their order."""
    digest: str
    """First digits of the SHA-256 of the files, one after the other: `cat FILES | sha256sum`."""

    @property
    def name(self) -> str:
        """Of the encoder."""
        return f"{self.kind}:{self.digest}"


def is_by_path(name: str) -> bool:
    """Whether the encoder called `name` needs weights of the user's."""
    return _NAME.fullmatch(name) is not None


def find_weights(name: str, path: Path | str | None) -> EncoderWeights:
    """The weights for an encoder.

    Args:
        name: "whisper", "whisper-N" (its first N layers), "hubert" or "streaming", or a recorded name, with the digest.
        path: a transformers folder, and of Whisper also a CTranslate2 `model.bin`, whole or in parts `model.bin.part1`,
            `.part2` ..., or a folder with one of these; of "streaming" the ONNX file of `geneface pretrain speech`.
            None: among `ENCODER_VARIABLE`.

    Raises:
        InputError: none are given, they are not there or of another model.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name} is no encoder with weights by path")
    kind, layers, digest = match[1], int(match[2]) if match[2] else None, match[3]
    if path is not None:
        return _checked(_weights(kind, layers, Path(path)), digest)
    given = [Path(entry) for entry in os.environ.get(ENCODER_VARIABLE, "").split(os.pathsep) if entry]
    if not given:
        which = f", whose SHA-256 begins with {digest}," if digest else ""
        raise InputError(
            f"the speech encoder {name} is not part of this package", f"give the path of its weights{which} {_GIVE}"
        )
    if len(given) == 1:
        return _checked(_weights(kind, layers, given[0]), digest)
    found = []
    for entry in given:
        with suppress(InputError):  # weights of another encoder, or on a disk that is not there
            found.append(_weights(kind, layers, entry))
    for weights in found:
        if (digest is None and len(found) == 1) or digest == weights.digest:
            return weights
    count = "several" if digest is None and found else "none"
    raise InputError(f"{ENCODER_VARIABLE} names {count} with weights of {name}", "name one with --encoder-path")


def _checked(weights: EncoderWeights, digest: str | None) -> EncoderWeights:
    if digest is not None and weights.digest != digest:
        raise InputError(
            f"the weights {weights.path} are those of {weights.name}, not of the speech encoder "
            f"{weights.kind}:{digest}",
            f"give those whose SHA-256 begins with {digest} {_GIVE}",
        )
    return weights


def _weights(kind: str, layers: int | None, path: Path) -> EncoderWeights:
    files = weight_files(path)
    wanted, is_there = kind.partition("-")[0], _kind(files)
    if is_there != wanted:
        raise InputError(
            f"{path} holds an encoder of the kind {is_there}, not {wanted}",
            f"give one of {wanted}, or another --encoder",
        )
    seen = tuple((str(file.resolve()), file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return EncoderWeights(kind, layers, path, files, _digest(seen))


def _kind(files: Sequence[Path]) -> str:
    """By the format: "whisper", "streaming"; of transformers' what the configuration says: "hubert", "wav2vec2" ..."""
    if files[0].suffix != ".safetensors":
        return "streaming" if files[0].suffix == ".onnx" else "whisper"
    configuration = read_json(files[0].parent / "config.json")
    return str(configuration.get("model_type")) if isinstance(configuration, dict) else "unknown"


def weight_files(path: Path) -> tuple[Path, ...]:
    """The files of the weights of a model, in their order.

    Raises:
        InputError: there are none.
    """
    part = _PART.fullmatch(path.name)
    if path.is_dir():
        if (path / "model.bin").is_file():
            return (path / "model.bin",)
        found = _parts(path, "model.bin.part")
        found = found or sorted(path.glob("model.safetensors")) or sorted(path.glob("model-*.safetensors"))
        if not found:
            has_pickle = any(path.glob("pytorch_model*.bin"))
            raise InputError(
                f"{path} holds pytorch_model.bin, which is not read" if has_pickle else f"{path} holds no model",
                _REMEDY + (_CONVERT if has_pickle else ""),
            )
        if found[0].suffix == ".safetensors" and not (path / "config.json").is_file():
            raise InputError(f"{path} holds weights without their config.json", f"give a folder with {_FILES}")
        return tuple(found)
    if not path.is_file():
        raise InputError(f"{path} does not exist", _REMEDY)
    if path.suffix == ".onnx":
        beside = path.with_suffix(".safetensors")
        for file in (beside, path.with_suffix(".json")):
            if not file.is_file():
                raise InputError(f"{file} is missing", f"copy it with {path.name}: `pretrain speech` wrote both")
        return path, beside
    if path.suffix == ".safetensors":
        return weight_files(path.parent)
    return tuple(_parts(path.parent, part[1])) if part else (path,)


def _parts(folder: Path, start: str) -> list[Path]:
    """START1, START2 ... of a folder.

    Raises:
        InputError: one between them is missing.
    """
    matches = [(match, file) for file in folder.iterdir() if (match := _PART.fullmatch(file.name))]
    found = {int(match[2]): file for match, file in matches if match[1] == start}
    first = min(found, default=1)
    if first > 1 or sorted(found) != list(range(first, first + len(found))):
        raise InputError(f"{folder} lacks parts of {start.removesuffix('.part')}", "put all of them into one folder")
    return [found[number] for number in sorted(found)]


@functools.lru_cache(64)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    """Of files, given with time and size, by which one that changes is read again."""
    digest = hashlib.sha256()
    for file, _, _ in files:
        with open(file, "rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()[:_DIGITS]
