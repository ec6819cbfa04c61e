"""A corpus's steps on a Ray cluster (Moritz et al. 2018), for more clips than one machine can track.

The machines share no folder: this one reads a step's files and sends them along through Ray's object store, a worker
puts them into a temporary folder, and what it wrote there comes back the same way. So a corpus has the same bytes as
one that was made here. Every machine needs the same version of this package.

A worker that dies costs its clip one attempt. If this process dies, everything that came back is in the corpus.
"""

from __future__ import annotations

import functools
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from geneface import __version__
from geneface.corpus.steps import Step
from geneface.errors import InputError, MissingExtraError
from geneface.io.atomic import atomic_path
from geneface.io.place import temporary
from geneface.types import ProgressFn
from geneface.workers import usable_cores

if TYPE_CHECKING:
    from ray import ObjectRef

LOCAL = "local"
"""The address of a cluster that is this machine, and is started for the purpose."""
ATTEMPTS = 3
"""A clip whose workers died so many times is dropped: it is the clip's fault, or there is too little memory."""
_LOCAL_STORE_BYTES = 512 << 20
"""Memory for clips on their way on this machine; what does not fit goes to the disk."""
_AHEAD = 2
"""Clips that wait at the workers, so that none is idle while results are stored."""
_CONNECT_SECONDS = 5.0
_POLL_SECONDS = 1.0
_COUNT_SECONDS = 10.0
"""How often the cluster's cores are counted: machines may come and go."""
_LOCAL_SETTINGS = {
    # "No cluster of several machines", on any system: every socket is on 127.0.0.1.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # As our own worker processes have it; on a machine with other work Ray's 15 would get next to nothing.
    "RAY_worker_niceness": "0",
}


@contextmanager
def open_cluster(
    address: str, workers: int | None = None, tell: Callable[[str], None] = lambda _: None
) -> Iterator[RayCluster]:
    """Join a cluster for the block, or start one.

    Args:
        address: HOST:PORT of its head, "auto" for the one that this machine belongs to, or `LOCAL`.
        workers: of a local one; by default one for each core.
        tell: hears of workers that died.

    Raises:
        InputError: there is no cluster at the address. MissingExtraError: Ray is not installed.
    """
    if address != LOCAL and workers is not None:
        raise InputError("a cluster has as many workers as cores", "leave --workers out")
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        # Whoever began it ends it.
        yield RayCluster(tell)
        return
    # No report to Ray's makers.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address not in (LOCAL, "auto"):
        _reach(address)
    with _local_settings() if address == LOCAL else nullcontext() as place:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("ray", "cluster", error) from error
        _start(address, workers, place)
        try:
            yield RayCluster(tell)
        finally:
            ray.shutdown()


@functools.cache
def _environment() -> dict[str, str]:
    """What a cluster that is this machine needs; the same all through the process, because Ray reads it once.

    Raises:
        InputError: Ray was loaded without it.
    """
    if "ray" in sys.modules:
        raise InputError(
            "Ray is loaded in this process already, and a cluster started now could be reached from other machines",
            "call ray.init before prepare_corpus, or leave the import of Ray to it",
        )
    # Ray accepts work from whoever connects; other users of the machine lack the token.
    return {**_LOCAL_SETTINGS, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _local_settings() -> Iterator[str]:
    """The environment for the block, and a folder for the cluster's files."""
    settings = _environment()
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        # The paths of Unix sockets must be short, which macOS's temporary folder is not.
        root = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
        with temporary(root / "ray", is_folder=True) as place:
            yield str(place)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _start(address: str, workers: int | None, place: str | None) -> None:
    """`ray.init`, quietly, and without its own reaction to SIGTERM."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        options |= {
            "num_cpus": workers or usable_cores(),
            "include_dashboard": False,
            "object_store_memory": _LOCAL_STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": place,
        }
    is_main = threading.current_thread() is threading.main_thread()
    reaction = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        ray.init(address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InputError(f"no Ray cluster can be used at {address} ({_line(error)})", _REMEDY) from error
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, reaction)


_REMEDY = "start one on its first machine with `ray start --head`, or take --ray local"


def _reach(address: str) -> None:
    """Say at once what Ray would say after a minute.

    Raises:
        InputError: nobody listens there.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"the address of a Ray cluster is {address!r}", "write HOST:PORT, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"nobody listens at {address} ({_line(error)})", _REMEDY) from error


class RayCluster:
    """Runs steps on a cluster that this process has joined."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._cores, self._counted = 0, -_COUNT_SECONDS

    def run(self, steps: Sequence[Step], stage: str, progress: ProgressFn, done: int = 0) -> list[str]:
        """What each step's `run` says, or why it could not be run; `done` steps of the stage were done before."""
        import ray

        work = ray.remote(num_cpus=1, max_retries=0)(run_sent)
        reasons = [""] * len(steps)
        deaths: Counter[int] = Counter()
        waiting = deque(range(len(steps)))
        running: dict[ObjectRef, int] = {}
        total = done + len(steps)
        while waiting or running:
            while waiting and len(running) < self._slots():
                index = waiting.popleft()
                running[work.remote(*_sent(steps[index]))] = index
            ready, _ = ray.wait(list(running), timeout=_POLL_SECONDS)
            for reference in ready:
                index = running.pop(reference)
                try:
                    reasons[index] = _store(steps[index], _result(reference))
                except _WorkerDiedError as death:
                    deaths[index] += 1
                    if deaths[index] < ATTEMPTS:
                        self._tell(f"{steps[index].name}: {death}; it is tried again")
                        waiting.append(index)
                        continue
                    reasons[index] = f"{death}, {ATTEMPTS} times"
                done += 1
                progress(stage, done, total)
        return reasons

    def _slots(self) -> int:
        """Clips that are given away at a time."""
        import ray

        if time.monotonic() - self._counted > _COUNT_SECONDS:
            self._cores, self._counted = int(ray.cluster_resources().get("CPU", 0)), time.monotonic()
        return max(1, self._cores) + _AHEAD


# ---- what is sent, done and sent back


@dataclass(frozen=True)
class Sent:
    """A step without its files."""

    step: Step
    version: str
    """Of the package that sends it."""


@dataclass(frozen=True)
class Made:
    """What a worker has to say."""

    reason: str
    files: dict[str, NDArray[np.uint8]]
    """Bytes of what was written, by the place in the corpus folder."""


def _sent(step: Step) -> tuple[Sent, list[NDArray[np.uint8]]]:
    """What a worker is given: the step and the bytes of its inputs."""
    packed = step.packed()
    return Sent(packed, __version__), [np.fromfile(path, np.uint8) for path in packed.inputs]


def run_sent(sent: Sent, contents: list[NDArray[np.uint8]]) -> Made:
    """Run a step in a temporary folder; in a worker.

    Raises:
        InputError: this machine has another version of the package, or lacks what the step needs.
    """
    if sent.version != __version__:
        raise InputError(
            f"the machine {socket.gethostname()} has geneface {__version__}, the one that gives it work {sent.version}",
            "install the same version on all of them",
        )
    step = sent.step
    # What a worker that was killed left behind goes with the next one's.
    with temporary(Path(tempfile.gettempdir()) / "step", is_folder=True) as place:
        inputs = []
        for index, (path, content) in enumerate(zip(step.inputs, contents, strict=True)):
            inputs.append(place / str(index) / path.name)
            inputs[-1].parent.mkdir()
            content.tofile(inputs[-1])
        out = place / "out"
        reason = replace(step, inputs=tuple(inputs), out=out).run()
        for path, own in zip(inputs, step.inputs, strict=True):
            reason = reason.replace(str(path), str(own))
        made = sorted(path for path in out.rglob("*") if path.is_file())
        return Made(reason, {path.relative_to(out).as_posix(): np.fromfile(path, np.uint8) for path in made})


def _store(step: Step, made: Made) -> str:
    """Put what was made into the corpus, the step's product last; returns why there is none, or nothing."""
    last = step.product.relative_to(step.out).as_posix()
    for name in sorted(made.files, key=lambda name: (name == last, name)):
        with atomic_path(step.out / name) as unfinished:
            made.files[name].tofile(unfinished)
    return made.reason


class _WorkerDiedError(Exception):
    """A worker did not end its step."""


def _result(reference: ObjectRef) -> Made:
    """What a worker sent back.

    Raises:
        _WorkerDiedError: it, or its machine, is gone. InputError: a machine is not fit for the work. What else the step
            raised is raised here.
    """
    import ray
    from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

    try:
        return ray.get(reference)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, InputError):
            raise cause from error
        if "No module named 'geneface" in str(error):
            raise InputError("a machine of the cluster lacks geneface", "install it on all of them") from error
        raise
    except OutOfMemoryError as error:
        raise _WorkerDiedError("its worker used up the memory") from error
    except RayError as error:
        raise _WorkerDiedError("its worker was killed or lost") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
