"""The loop that was written is the loop that is read, from anywhere; files of others are checked."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from geneface.avatar.body import BODY_FILE, BODY_FILES, BODY_TRACK_FILE, MATTE_FILE, Body
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_NAMES
from geneface.io.indexed import write_indexed
from geneface.io.tensors import load_tensors, save_tensors

from .body_fixtures import HEIGHT, WIDTH, body_track, mattes_of, planes_of, write_body


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loop")
    write_body(folder)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "loop"))


def test_pictures_and_mattes_are_those_that_were_written(folder: Path) -> None:
    body = Body.load(folder)
    assert (len(body), body.width, body.height) == (40, WIDTH, HEIGHT)
    for index in (39, 0, 17, 16, 15):
        assert np.abs(body.planes(index).astype(int) - planes_of(40)[index]).mean() < 2
        matte, truth = body.matte(index), mattes_of(40)[index]
        assert matte.shape == (HEIGHT, WIDTH) and ((matte > 127) != (truth > 127)).mean() < 0.01
        inner = np.hypot(*(np.mgrid[:HEIGHT, :WIDTH] - np.array([24, 20 + index])[:, None, None]))
        assert (matte[inner < 8] == 255).all() and (matte[inner > 24] == 0).all()


def test_the_track_comes_back(folder: Path) -> None:
    read, written = Body.load(folder).track.tensors(), body_track().tensors()
    assert set(read) == set(written)
    for name, values in written.items():
        assert np.array_equal(read[name], values) and read[name].dtype == values.dtype, name


def test_pickled_and_in_other_threads(folder: Path) -> None:
    body = Body.load(folder)
    again = pickle.loads(pickle.dumps(body))
    with ThreadPoolExecutor(4) as pool:
        here, there = (list(pool.map(each.planes, range(40))) for each in (body, again))
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))


def test_works_where_it_is_when_the_working_folder_changes(
    copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(copy.parent)
    body = Body.load("loop")
    monkeypatch.chdir(tmp_path.parent)
    assert len(pickle.loads(pickle.dumps(body)).planes(30)) == 3 * HEIGHT // 2


@pytest.mark.parametrize("name", BODY_FILES)
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"lacks the file {name}"):
        Body.load(copy)
    assert Body.is_in(copy)


def test_an_avatar_without_a_loop(tmp_path: Path) -> None:
    assert not Body.is_in(tmp_path)


WRONG = {
    "rotation": np.full((40, 3), np.nan, np.float32),
    "translation": np.ones((40, 3), np.float32),
    "landmarks": np.zeros((39, 5, 3), np.float32),
    "crop": np.array([0, 0, 0], np.float32),
    "run": np.arange(40, 0, -1, dtype=np.int32),
    "turns": np.array([3, 39], np.int32),
    "jumps": np.array([[0, -1]], np.int32),
    "blur": np.full(40, -1, np.float32),
    "grain": np.array([np.inf], np.float32),
}


@pytest.mark.parametrize("name", WRONG)
def test_values_that_can_not_be(copy: Path, name: str) -> None:
    tensors = load_tensors(copy / BODY_TRACK_FILE)
    for wrong in ({name: WRONG[name]}, {name: tensors[name].astype(np.complex64).view(np.float32)}, {}):
        save_tensors(
            copy / BODY_TRACK_FILE,
            {key: value for key, value in tensors.items() if key != name} | wrong,
            {"landmarks": KEYPOINT_NAMES},
        )
        with pytest.raises(InputError, match="is damaged"):
            Body.load(copy)


def test_a_crop_that_is_not_in_the_pictures(copy: Path) -> None:
    track = body_track(crop=np.array([500, 0, 40], np.float32))
    save_tensors(copy / BODY_TRACK_FILE, track.tensors(), {"landmarks": KEYPOINT_NAMES})
    with pytest.raises(InputError, match="crop"):
        Body.load(copy)


def test_landmarks_of_another_set(copy: Path) -> None:
    save_tensors(copy / BODY_TRACK_FILE, body_track().tensors(), {"landmarks": "others"})
    with pytest.raises(InputError, match="another set of landmarks"):
        Body.load(copy)


@pytest.mark.parametrize("name", [BODY_FILE, MATTE_FILE])
def test_videos_of_another_length_or_size(copy: Path, name: str) -> None:
    write_indexed(copy / name, planes_of(39))
    with pytest.raises(InputError, match="differ in length"):
        Body.load(copy)
    write_indexed(copy / name, planes_of(40)[:, :, :70])
    with pytest.raises(InputError, match="differ in size"):
        Body.load(copy)


@pytest.mark.parametrize(("name", "value"), [("rotation", 1e300), ("run", 2**32)])
def test_values_too_large_for_their_type_here(copy: Path, name: str, value: float) -> None:
    tensors = load_tensors(copy / BODY_TRACK_FILE)
    tensors[name] = tensors[name].astype(np.float64 if tensors[name].dtype.kind == "f" else np.int64)
    tensors[name][3] = value
    save_tensors(copy / BODY_TRACK_FILE, tensors, {"landmarks": KEYPOINT_NAMES})
    with pytest.raises(InputError, match=f"its {name} can't be right"):
        Body.load(copy)
