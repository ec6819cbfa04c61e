"""The true cause behind an exception: what the machine lacks or refuses is no fault of the program.

`explain` gives exit status and sentence; tracebacks are for `--debug`.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from geneface.errors import InputError, MissingExtraError

EXIT_FAULT, EXIT_INPUT = 1, 2
_EXTRAS = {
    "torch": "train",
    "onnx": "train",
    "transformers": "hubert",
    "scipy": "metrics",
    "skimage": "metrics",
    "skvideo": "metrics",
    "PIL": "metrics",
    "python_speech_features": "metrics",
    "fastapi": "web",
    "starlette": "web",
    "uvicorn": "web",
    "h11": "web",
    "websockets": "web",
    "multipart": "web",
    "python_multipart": "web",
    "httpx2": "web",
}
"""Top-level module of an optional package -> the extra that brings it."""
_NO_MEMORY = "not enough memory", "can't allocate memory", "failed to allocate memory", "bad allocation", "bad_alloc"
"""How libraries say it that don't raise MemoryError (PyTorch, ONNX Runtime), in small letters."""
_UNMAPPED = re.compile(r"failed to map segment from shared object(?!: operation not permitted)")
_WRITING_ONLY = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What only a writer can be told."""
_SYSTEM_LIMITS = {
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n 4096) and run it again"),
    errno.ENFILE: ("too many files are open on this machine", "close other programs and run it again"),
}
_NAMES = {
    errno.ENAMETOOLONG: ("the name {} is too long", "give a shorter one"),
    errno.ELOOP: ("{} is a link that leads back to itself", "give another path"),
    errno.EACCES: ("{} may not be read or written", "change its permissions or give another path"),
    errno.EPERM: ("{} may not be read or written", "change its permissions or give another path"),
    errno.ENOTDIR: ("a part of the path {} is a file, not a folder", "check the path"),
    errno.EISDIR: ("{} is a folder, not a file", "give a file"),
    errno.EIO: ("the disk reports an error at {}", "check the disk or give another path"),
}
_SHOWN_NAME = 100


def explain(error: BaseException) -> tuple[int, str]:
    """Exit status and sentence for an exception."""
    refused = refusal(error)
    if refused is not None:
        return EXIT_INPUT, " ".join(str(refused).split())
    detail = " ".join(str(error).split()) or "no message"
    return EXIT_FAULT, (
        f"a fault of geneface's own ({type(error).__name__}: {detail}): "
        "run it again as 'geneface --debug ...' and report what it prints"
    )


def refusal(error: BaseException) -> InputError | None:
    """The exception as one about the input or the machine; None if it is a fault of ours."""
    if isinstance(error, InputError):
        # Readers take what FFmpeg can't do for damage; without memory it can do nothing.
        return next(filter(None, map(_out_of_memory, _chain(error))), error)
    causes = list(_chain(error))
    # Memory first: without it nothing else works either.
    tried = (find(cause) for find in (_out_of_memory, _import, _system) for cause in causes)
    return next(filter(None, tried), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it was raised from, or while they were handled."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _out_of_memory(error: BaseException) -> InputError | None:
    remedy = "close other programs, give a smaller size or a shorter file, or use a machine with more memory"
    if isinstance(error, BrokenProcessPool):
        return InputError(
            "the system ended one of geneface's helper processes, most likely because memory ran out", remedy
        )
    text = str(error).lower()
    is_told = not isinstance(error, InputError) and any(words in text for words in _NO_MEMORY)
    # What the dynamic loader says where it is not because of a disk whose programs may not be run.
    is_told |= isinstance(error, ImportError | OSError) and _UNMAPPED.search(text) is not None
    if isinstance(error, MemoryError) or is_told or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return InputError("this machine has not enough memory for that", remedy)
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return InputError(
            "the system allows no more threads or has no memory for them",
            "close other programs or raise the limit (ulimit -u) and run it again",
        )
    return None


def _import(error: BaseException) -> InputError | None:
    package = (getattr(error, "name", None) or "").split(".")[0]
    if isinstance(error, ModuleNotFoundError):
        return MissingExtraError(package, _EXTRAS[package]) if package in _EXTRAS else None
    # A library of the system: OSError is what ctypes and cffi raise.
    if isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is None):
        return MissingExtraError.library(error)
    return None


def _system(error: BaseException) -> InputError | None:
    from geneface.io.place import writing

    if not isinstance(error, OSError) or error.errno is None:
        return None
    if _makes_semaphore(error):
        return InputError(
            f"the shared memory of this system can't be used (/dev/shm: {os.strerror(error.errno)})",
            "mount it or make it larger (in a container: --shm-size=256m)",
        )
    if error.errno in _SYSTEM_LIMITS:
        return InputError(*_SYSTEM_LIMITS[error.errno])
    name = "" if error.filename is None else os.fsdecode(error.filename) if _is_name(error.filename) else ""
    if error.errno in _WRITING_ONLY:
        # Writers say it themselves; this is for the few places that write without them.
        try:
            with writing(Path(name or "the output")):
                raise error
        except InputError as refused:
            return refused
    if error.errno in _NAMES and name:
        cause, remedy = _NAMES[error.errno]
        return InputError(cause.format(name if len(name) <= _SHOWN_NAME else f"{name[:_SHOWN_NAME]}..."), remedy)
    return None


def _is_name(filename: object) -> bool:
    return isinstance(filename, str | bytes | os.PathLike)


def _makes_semaphore(error: OSError) -> bool:
    """Python's processes share semaphores, which Linux keeps in /dev/shm."""
    frames = traceback.extract_tb(error.__traceback__)
    return any(Path(frame.filename).parts[-2:] == ("multiprocessing", "synchronize.py") for frame in frames)
