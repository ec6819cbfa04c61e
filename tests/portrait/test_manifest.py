"""A portrait folder may come from somebody else: what its manifest may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geneface.errors import InputError
from geneface.io.records import read_json, write_json
from geneface.portrait.manifest import MANIFEST_NAME, PortraitManifest, SegmentInfo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    segment = SegmentInfo("one", "one.mp4", 0.0, 25, None, 0, (0, 0, 64))
    PortraitManifest(64, 4.5, "whisper-2-streaming", (segment,), (), {}).write(tmp_path)
    return tmp_path


def change(folder: Path, key: str, value: Any, in_segment: bool = False) -> None:
    values = read_json(folder / MANIFEST_NAME)
    (values["segments"][0] if in_segment else values)[key] = value
    write_json(folder / MANIFEST_NAME, values)


def test_what_is_written_is_read(folder: Path) -> None:
    manifest = PortraitManifest.read(folder)
    assert manifest.frames == 25 and manifest.segments[0].background == "background.png"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b", ".."])
def test_a_segment_stays_in_the_folder(folder: Path, name: str) -> None:
    change(folder, "name", name, in_segment=True)
    with pytest.raises(InputError, match="damaged"):
        PortraitManifest.read(folder)


@pytest.mark.parametrize("name", ["../plate.png", "/plate.png"])
def test_a_plate_stays_in_the_folder(folder: Path, name: str) -> None:
    change(folder, "background", name, in_segment=True)
    with pytest.raises(InputError, match="damaged"):
        PortraitManifest.read(folder)


@pytest.mark.parametrize(("key", "value"), [("focal", -1.0), ("focal", 0), ("size", 0)])
def test_a_camera_that_cannot_be(folder: Path, key: str, value: float) -> None:
    change(folder, key, value)
    with pytest.raises(InputError, match="damaged"):
        PortraitManifest.read(folder)


def test_a_portrait_of_before_source_pictures_were_kept_has_none(folder: Path) -> None:
    values = read_json(folder / MANIFEST_NAME)
    del values["segments"][0]["source_size"], values["segments"][0]["source_crop"]
    write_json(folder / MANIFEST_NAME, values)
    assert PortraitManifest.read(folder).segments[0].source_size is None


@pytest.mark.parametrize("crop", [[0, 0, 300], [-1, 0, 20], [90, 0, 20], [0, 0, 0], [0, 0], [0, "a", 9], None])
def test_the_square_lies_in_the_source_pictures(folder: Path, crop: Any) -> None:
    change(folder, "source_size", [100, 64], in_segment=True)
    change(folder, "source_crop", [10.5, 3, 60], in_segment=True)
    assert PortraitManifest.read(folder).segments[0].source_crop == (10.5, 3.0, 60.0)
    change(folder, "source_crop", crop, in_segment=True)
    with pytest.raises(InputError, match="damaged"):
        PortraitManifest.read(folder)
