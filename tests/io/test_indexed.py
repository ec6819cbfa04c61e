"""Pictures by number are those that decoding the whole file in its order gives, and spoilt files are refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io import indexed
from geneface.io.encode import write_video
from geneface.io.indexed import IndexedVideo, write_indexed

FRAMES, HEIGHT, WIDTH = 40, 34, 70
"""A width that is no multiple of the decoder's alignment."""


def planes() -> Iterator[np.ndarray]:
    """A square that moves over noise that stays: every picture differs from every other."""
    rng = np.random.default_rng(3)
    still = rng.integers(60, 90, (3 * HEIGHT // 2, WIDTH)).astype(np.uint8)
    for index in range(FRAMES):
        picture = still.copy()
        picture[4:20, index : index + 16] = 200 - index
        yield picture


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("indexed") / "body.mp4"
    assert write_indexed(path, planes()) == FRAMES
    return path


def decoded(path: Path) -> list[np.ndarray]:
    """The whole file, in order, by PyAV's own conversion to an array."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


ORDERS = {
    "forwards": range(FRAMES),
    "backwards": range(FRAMES - 1, -1, -1),
    "anyhow": np.random.default_rng(0).integers(0, FRAMES, 60).tolist(),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_any_order_gives_the_pictures_of_decoding_in_order(path: Path, order: range | list[int]) -> None:
    truth, video = decoded(path), IndexedVideo(path)
    assert (len(video), video.height, video.width) == (FRAMES, HEIGHT, WIDTH)
    for index in order:
        assert np.array_equal(video.picture(index), truth[index])


def test_the_pictures_are_those_that_were_written(path: Path) -> None:
    video = IndexedVideo(path)
    for index, written in enumerate(planes()):
        assert np.abs(video.picture(index).astype(int) - written).mean() < 2


def test_luma_alone(path: Path) -> None:
    assert np.array_equal(IndexedVideo(path, is_grey=True).picture(17), decoded(path)[17][:HEIGHT])


def test_threads_at_different_places_get_what_they_would_get_alone(path: Path) -> None:
    truth, video = decoded(path), IndexedVideo(path)
    orders = [np.random.default_rng(seed).integers(0, FRAMES, 80) for seed in range(6)]

    def is_right(order: np.ndarray) -> bool:
        return all(np.array_equal(video.picture(int(index)), truth[index]) for index in order)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(is_right, orders))


def test_memory_is_bounded_and_groups_are_not_decoded_twice_in_a_row(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed, "_KEPT_BYTES", 0)
    video = IndexedVideo(path)
    decode, looked = video._decode, list[int]()

    def counted(group: indexed._Group) -> list[np.ndarray]:
        looked.append(group.start)
        return decode(group)

    monkeypatch.setattr(video, "_decode", counted)
    for index in [*range(FRAMES), *range(FRAMES - 1, -1, -1)]:
        video.picture(index)
        assert len(video._kept) <= 2
    assert looked == [0, 12, 24, 36, 12, 0]


def test_pictures_can_not_be_written_to(path: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        IndexedVideo(path).picture(0)[0, 0] = 1


@pytest.mark.parametrize("index", [-1, FRAMES])
def test_no_picture_of_another_number(path: Path, index: int) -> None:
    with pytest.raises(IndexError):
        IndexedVideo(path).picture(index)


def foreign(path: Path, options: dict[str, str], *, rate: int = 25, pixels: str = "yuv420p", size: int = 64) -> None:
    """An H.264 file of sixty pictures, of another make."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.width = stream.height = size
        stream.pix_fmt = pixels
        for index in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((size, size, 3), 4 * index, np.uint8), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=pixels)))
        container.mux(stream.encode(None))


FOREIGN = {
    "30 Hz": {"rate": 30},
    "4:4:4": {"pixels": "yuv444p"},
    "one group": {"options": {"g": "300", "sc_threshold": "0"}},
}


@pytest.mark.parametrize("kind", FOREIGN.values(), ids=FOREIGN)
def test_files_of_another_make_are_refused(tmp_path: Path, kind: dict) -> None:
    foreign(tmp_path / "x.mp4", **{"options": {"g": "12"}, **kind})
    with pytest.raises(InputError, match="not a video that this version wrote"):
        IndexedVideo(tmp_path / "x.mp4")


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no film")
    with pytest.raises(InputError):
        IndexedVideo(tmp_path / "x.mp4")
    with pytest.raises(InputError):
        IndexedVideo(tmp_path / "y.mp4")


def test_spoilt_bytes_are_refused_or_harmless(path: Path, tmp_path: Path) -> None:
    whole, rng, refused = path.read_bytes(), np.random.default_rng(1), 0
    for trial in range(60):
        bad = bytearray(whole)
        for place in rng.integers(0, len(whole), 20):
            bad[place] = rng.integers(256)
        file = tmp_path / f"{trial}.mp4"
        file.write_bytes(bad[: rng.integers(1, len(bad))] if trial % 4 == 0 else bad)
        try:
            video = IndexedVideo(file)
            assert all(video.picture(index).shape == video.picture(0).shape for index in range(len(video)))
        except InputError:
            refused += 1
    assert refused > 20


def test_a_damaged_group_does_not_spoil_the_others(path: Path, tmp_path: Path) -> None:
    truth, video = decoded(path), IndexedVideo(path)
    last = video._groups[-1].stored[0]
    bad = bytearray(path.read_bytes())
    bad[last.place + 4 : last.place + last.size] = bytes(last.size - 4)
    (tmp_path / "x.mp4").write_bytes(bad)
    spoilt = IndexedVideo(tmp_path / "x.mp4")
    for _ in range(2):
        with pytest.raises(InputError, match="is damaged"):
            spoilt.picture(FRAMES - 1)
    assert np.array_equal(spoilt.picture(20), truth[20])


def test_ordinary_videos_keep_their_marks(path: Path, tmp_path: Path) -> None:
    """Recorded pictures are not called synthetic; what is drawn still is."""
    write_video(tmp_path / "x.mp4", planes(), None)
    for file, is_synthetic in ((path, False), (tmp_path / "x.mp4", True)):
        with av.open(str(file)) as container:
            assert ("synthetic" in container.metadata) == is_synthetic
            assert ("Synthetic" in container.metadata["comment"]) == is_synthetic


def test_the_remedy_is_that_of_an_avatar(tmp_path: Path) -> None:
    (tmp_path / "body.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="is empty: train the avatar again or copy it again"):
        IndexedVideo(tmp_path / "body.mp4")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_wait_for_what_its_parent_decoded(path: Path) -> None:
    video = IndexedVideo(path)
    # As a thread of the parent leaves it, that is decoding while the process forks.
    video._kept[int(video._group_of[20])] = Future()
    video._lock.acquire()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        video.picture(20)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
