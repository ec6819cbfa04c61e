"""Recorded pictures in pieces: joined without loss, every picture reached, groups closed; damage is named."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.io.encode import GROUP_FRAMES
from geneface.io.recorded import join_recorded, read_recorded, write_recorded
from geneface.io.video import read_frames

SIZE = 64, 48


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random blocks: two pictures differ by 80 levels in the mean, what H.264 costs is 11."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, SIZE[1] // 8, SIZE[0] // 8, 3)).astype(np.uint8)
    return [np.kron(picture, np.ones((8, 8, 1), np.uint8)) for picture in small]


def level(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first.astype(int) - second).mean())


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    folder = tmp_path_factory.mktemp("pieces")
    images = pictures(40)
    pieces = []
    for start, stop in ((0, 17), (17, 18), (18, 40)):
        pieces.append(folder / f"{start}.mp4")
        assert write_recorded(pieces[-1], images[start:stop]) == stop - start
    join_recorded(folder / "all.mp4", pieces)
    return folder / "all.mp4", images


def test_every_picture_is_reached_from_everywhere(joined: tuple[Path, list[np.ndarray]]) -> None:
    path, images = joined
    whole = list(read_recorded(path, *SIZE, 0, 40))
    assert len(whole) == 40
    assert max(level(a, b) for a, b in zip(whole, images, strict=True)) < 20
    for start in range(40):
        part = list(read_recorded(path, *SIZE, start, min(start + 3, 40)))
        assert all(np.array_equal(a, b) for a, b in zip(part, whole[start:], strict=False)) and len(part) > 0
    # What plays it knows the same pictures at the same times.
    assert all(np.array_equal(a.image, b) for a, b in zip(read_frames(path), whole, strict=True))


def test_no_group_is_longer_than_said_and_none_needs_another(joined: tuple[Path, list[np.ndarray]]) -> None:
    with av.open(str(joined[0])) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        assert [packet.pts * packet.time_base * 25 for packet in packets] == list(range(40))
        assert all(packet.pts == packet.dts for packet in packets), "a picture waits for a later one"
        keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
        assert keys == [0, GROUP_FRAMES, 17, 18, 18 + GROUP_FRAMES]
        assert "synthetic" not in " ".join([*container.metadata, *container.metadata.values()]).lower()


def test_a_joined_file_is_the_same_every_time(joined: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    folder = joined[0].parent
    join_recorded(tmp_path / "again.mp4", [folder / "0.mp4", folder / "17.mp4", folder / "18.mp4"])
    assert (tmp_path / "again.mp4").read_bytes() == joined[0].read_bytes()


def test_damage_and_other_files_are_named(joined: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    path = joined[0]
    with pytest.raises(InputError, match="does not hold picture 40"):
        list(read_recorded(path, *SIZE, 38, 42))
    with pytest.raises(InputError, match="does not hold picture 0 of 32x48"):
        list(read_recorded(path, 32, 48, 0, 2))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError):
        list(read_recorded(cut, *SIZE, 0, 40))
    with pytest.raises(InputError, match="does not exist"):
        join_recorded(tmp_path / "out.mp4", [tmp_path / "absent.mp4"])
    assert sorted(item.name for item in tmp_path.iterdir()) == ["cut.mp4"]


def test_odd_sides_get_a_copy_of_the_last_row_and_column(tmp_path: Path) -> None:
    image = pictures(1)[0][:45, :61]
    write_recorded(tmp_path / "odd.mp4", [image] * 3)
    shown = next(read_recorded(tmp_path / "odd.mp4", 62, 46, 1, 2))
    assert level(shown[:45, :61], image) < 20 and level(shown[45], shown[44]) < 10
