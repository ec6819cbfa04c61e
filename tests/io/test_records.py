"""Records: other versions are called that, whatever they hold."""

from pathlib import Path

import pytest

from geneface.config import Config
from geneface.errors import InputError
from geneface.io.records import read_json, read_record, write_json
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


def test_json_of_endless_depth(tmp_path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"deep\.json"):
        read_json(tmp_path / "deep.json")


def test_json_round_trip_and_errors(tmp_path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"name": "Zoë", "values": [1, 2.5, None]})
    assert read_json(path) == {"name": "Zoë", "values": [1, 2.5, None]}
    with pytest.raises(ValueError):
        write_json(path, {"bad": float("nan")})
    path.write_text('{"a": 1,\n"b": }')
    with pytest.raises(InputError, match="at line 2"):
        read_json(path)
    with pytest.raises(InputError, match=r"none\.json is missing"):
        read_json(tmp_path / "none.json")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError):
        read_json(path)
