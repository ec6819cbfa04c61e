"""Records: other versions are called that, whatever they hold."""

from pathlib import Path

import pytest

from geneface.config import Config
from geneface.errors import InputError
from geneface.io.records import read_record
from geneface.io.store import write_json
from geneface.motion.runtime import MotionModel


class Sample(Config):
    format: int = 2
    width: int


def test_a_record_comes_back(tmp_path: Path):
    write_json(tmp_path / "a.json", Sample(width=3).model_dump())
    assert read_record(Sample, tmp_path / "a.json", 2) == Sample(width=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": 1, "length": 3}, "another version"),
        ({"format": 2, "width": "wide"}, "damaged"),
        ({"format": 2, "width": 3, "colour": 1}, "damaged"),
        ({"width": 3}, "not a record"),
        ([1], "not a record"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content, message):
    write_json(tmp_path / "a.json", content)
    with pytest.raises(InputError, match=message):
        read_record(Sample, tmp_path / "a.json", 2)


def test_a_motion_model_of_an_older_format_is_called_that(tmp_path: Path):
    write_json(tmp_path / "config.json", {"format": 1, "encoder": "whisper-2", "context_frames": 40})
    with pytest.raises(InputError, match="another version"):
        MotionModel.load(tmp_path)
