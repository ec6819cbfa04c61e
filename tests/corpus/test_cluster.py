"""A corpus on two Ray workers, started once: the same bytes as without Ray, and workers that are killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from geneface.corpus import cluster
from geneface.corpus.cluster import ATTEMPTS, RayCluster, open_cluster, run_sent
from geneface.corpus.prepare import prepare_corpus
from geneface.corpus.steps import Step
from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.io.encode import write_video
from geneface.io.image import read_image
from geneface.types import Waveform

if find_spec("ray") is None:
    # Not imported: what keeps a local cluster to this machine must be set before.
    pytest.skip("needs ray, of an extra", allow_module_level=True)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="Ray on Windows is a beta")]
FRAMES = 50


# Before Ray runs in this process: a Ray that runs is used, whatever the address.
@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:1", "127.0.0.1:99999"])
def test_no_cluster_at_the_address_is_an_input_error(address):
    with pytest.raises(InputError, match=r"Ray cluster|nobody listens"), open_cluster(address):
        pass


class SlowRay:
    """Stands for the package: its first `slow` starts fail, as on a machine that is at its limit."""

    def __init__(self, slow: int) -> None:
        self.slow, self.starts, self.runs = slow, 0, False

    def init(self, *_: object, **__: object) -> None:
        self.starts += 1
        if self.starts <= self.slow:
            raise Exception("The current node timed out during startup.")
        self.runs = True

    def is_initialized(self) -> bool:
        return self.runs

    def shutdown(self) -> None:
        self.runs = False


def test_a_local_start_is_tried_three_times(monkeypatch):
    for slow, address, starts in ((0, "local", 1), (2, "local", 3), (3, "local", 3), (1, "host:6379", 1)):
        ray = SlowRay(slow)
        monkeypatch.setitem(sys.modules, "ray", ray)
        if slow < starts:
            cluster._start(address, None, None)
        else:
            with pytest.raises(InputError, match=r"timed out during startup.*ray start"):
                cluster._start(address, None, None)
        assert (ray.starts, ray.runs) == (starts, slow < starts)


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def two_workers(told) -> Iterator[RayCluster]:
    with open_cluster("local", 2, told.append) as opened:
        yield opened


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with a face that drifts through the picture, one without, and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    poster = read_image(asset_path("avatars", "grid-s1", "poster.png"))
    for number, (speaker, zoom) in enumerate([("ann", 1), ("bob", 1), ("bob", 0)]):
        (folder / speaker).mkdir(exist_ok=True)
        pictures = (np.roll(poster, (index // 8, number + index // 5), (0, 1)) * zoom for index in range(FRAMES))
        sound = np.random.default_rng(number).uniform(-0.1, 0.1, FRAMES * 640).astype(np.float32)
        write_video(
            folder / speaker / f"{number}.mp4",
            (np.ascontiguousarray(picture, np.uint8) for picture in pictures),
            Waveform(sound),
        )
    (folder / "ann" / "damaged.mp4").write_text("not a video")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_ray_workers_give_the_bytes_of_this_process(videos, two_workers, tmp_path):
    manifest = prepare_corpus(videos, tmp_path / "here", encoder="mel", workers=1)
    assert {clip.name for clip in manifest.clips} == {"ann__0", "bob__1"}
    assert {entry.name for entry in manifest.dropped} == {"bob__2", "ann__damaged"}
    seen = []
    prepare_corpus(videos, tmp_path / "ray", encoder="mel", ray="local", progress=lambda *step: seen.append(step))
    assert seen[3] == ("track", 4, 4) and seen[-1] == ("clips", 2, 2)
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")
    # A driver that was killed goes on from what had come back.
    for name in ("manifest.json", "speakers.safetensors", "raw/ann__0.safetensors", "clips/bob__1.safetensors"):
        (tmp_path / "ray" / name).unlink()
    prepare_corpus(videos, tmp_path / "ray", encoder="mel", ray="local", resume=True)
    assert contents(tmp_path / "ray") == contents(tmp_path / "here")


@dataclass(frozen=True)
class Doomed(Step):
    """Writes what it read, but kills its worker the first `deaths` times."""

    deaths: int
    tally: Path

    @property
    def product(self) -> Path:
        return self.out / "done" / self.name

    def run(self) -> str:
        with open(self.tally, "a") as file:
            file.write("x")
        if len(self.tally.read_text()) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        self.product.parent.mkdir(parents=True)
        self.product.write_bytes(self.inputs[0].read_bytes() * 2)
        return ""


def test_a_killed_worker_costs_its_clip_an_attempt(two_workers, told, tmp_path):
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(__import__(Doomed.__module__, fromlist=["Doomed"]))
    steps = []
    for index, deaths in enumerate([0, 1, ATTEMPTS, 0]):
        path = tmp_path / f"{index}.mp4"
        path.write_text(f"video {index}")
        steps.append(Doomed(f"clip{index}", (path,), tmp_path / "out", deaths, tmp_path / f"tally{index}"))
    seen = []
    reasons = two_workers.run(steps, "track", lambda *step: seen.append(step))
    assert reasons == ["", "", f"its worker was killed or lost, {ATTEMPTS} times", ""]
    assert [len(step.tally.read_text()) for step in steps] == [1, 2, ATTEMPTS, 1]
    assert seen[-1] == ("track", 4, 4)
    assert contents(tmp_path / "out") == {f"done/clip{i}": f"video {i}".encode() * 2 for i in (0, 1, 3)}
    assert "clip1: its worker was killed or lost; it is tried again" in told


def test_nobody_else_reaches_a_local_cluster(two_workers):
    """Its sockets are on this machine's own address, and ask for a token."""
    import ray

    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and os.environ["RAY_AUTH_MODE"] == "token"
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")
    if not Path("/proc/net/tcp").exists():
        pytest.skip("only Linux lists sockets in files")
    listening = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:] if Path(table).exists() else []:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A":
                listening.add((inode, local.partition(":")[0]))
    of_ray = {
        os.readlink(link)[8:-1]
        for process in Path("/proc").glob("[0-9]*")
        if b"127.0.0.1" in _read(process / "cmdline") and b"ray" in _read(process / "cmdline")
        for link in _links(process / "fd")
        if os.readlink(link).startswith("socket:")
    }
    addresses = {address for inode, address in listening if inode in of_ray}
    assert addresses and addresses <= {
        "0100007F",
        "0000000000000000FFFF00000100007F",
        "00000000000000000000000001000000",
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _links(folder: Path) -> list[Path]:
    try:
        return [link for link in folder.iterdir() if link.is_symlink()]
    except OSError:
        return []


def test_another_version_on_a_machine_is_an_input_error(tmp_path):
    sent = cluster.Sent(Doomed("x", (), tmp_path, 0, tmp_path / "tally"), "0.0.1")
    with pytest.raises(InputError, match=r"work 0\.0\.1: install the same version"):
        run_sent(sent, [])
