"""Avatar folders are untrusted: whatever is wrong is named in one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geneface.avatar.avatar import Avatar
from geneface.avatar.body import BODY_FILES, Body
from geneface.avatar.folder import AvatarConfig, bundled_avatars, find_avatar, read_avatar, read_metrics, store_metrics
from geneface.avatar.person import PersonStatistics, Spoken, measure_person, rest_shape
from geneface.errors import InputError
from geneface.geometry.landmarks import KEYPOINT_NAMES, LIPS, lip_opening
from geneface.io.tensors import TensorFile, load_tensors, save_tensors
from geneface.types import HeadPose

from .avatar_fixtures import face_points, make_avatar, person
from .body_fixtures import write_body


@pytest.fixture
def copy(avatar_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(avatar_folder, tmp_path / "copy"))


def _edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit_tensor(folder: Path, file: str, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    tensors = load_tensors(folder / file)
    tensors[name] = np.ascontiguousarray(change(tensors[name]))
    save_tensors(folder / file, tensors)


def test_folder_holds_what_the_design_says_and_survives_a_round_trip(avatar_folder: Path) -> None:
    names = {path.name for path in avatar_folder.iterdir()}
    assert names == {
        "config.json", "model.safetensors", "motion.safetensors", "motion", "background.png", "poster.png", "README.md",
    }  # fmt: skip
    loaded = Avatar.load(avatar_folder)
    assert loaded.name == "tiny" and loaded.metrics is None and loaded.camera.width == 64
    for name, value in person().tensors().items():
        np.testing.assert_array_equal(loaded.files.person.tensors()[name], value)


def test_the_person_s_own_video_is_in_the_folder_and_the_card_says_so(avatar_folder: Path, tmp_path: Path) -> None:
    track = write_body(tmp_path / "loop")
    folder = make_avatar(tmp_path / "avatar", tmp_path / "work", body=tmp_path / "loop")
    body = Avatar.load(folder).files.body
    assert body is not None and np.array_equal(body.track.landmarks, track.landmarks)
    assert np.array_equal(body.planes(20), Body.load(tmp_path / "loop").planes(20))
    with_loop, without = ((path / "README.md").read_text() for path in (folder, avatar_folder))
    megabytes = sum((tmp_path / "loop" / name).stat().st_size for name in BODY_FILES) / 1e6
    stated = f"1.6 s at {body.width} x {body.height} pixels, {megabytes:.1f} MB"
    assert f"a part of the person's own video: {stated}" in with_loop and "no frame" not in with_loop
    assert "no frame of the source video is in it" in without and Avatar.load(avatar_folder).files.body is None
    # A card that was lost is made again, and says the same.
    (folder / "README.md").unlink()
    store_metrics(folder, {"tables": {}})
    assert stated in (folder / "README.md").read_text()


@pytest.mark.parametrize("name", BODY_FILES)
def test_a_damaged_loop_is_named(tmp_path: Path, name: str) -> None:
    write_body(tmp_path / "loop")
    folder = make_avatar(tmp_path / "avatar", tmp_path / "work", body=tmp_path / "loop")
    whole = (folder / name).read_bytes()
    for bad in (b"", b"\x00\xff<>{" * 50, whole[: len(whole) // 2], None):
        (folder / name).unlink()
        if bad is not None:
            (folder / name).write_bytes(bad)
        with pytest.raises(InputError, match=name):
            Avatar.load(folder)


def test_writing_is_all_or_nothing(avatar_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        make_avatar(tmp_path / "taken", tmp_path / "work")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["file"]


def test_unknown_names_are_refused_and_files_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no avatar 'nobody'"):
        find_avatar("nobody")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="not an avatar folder"):
        find_avatar(tmp_path / "file")
    with pytest.raises(InputError, match="no avatar"):
        find_avatar("../avatars/../..")
    for name in bundled_avatars():
        assert find_avatar(name).is_dir()


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "motion.safetensors",
        "background.png",
        "motion/config.json",
        "motion/motion.onnx",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbage"])
def test_missing_and_damaged_files_are_named(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(
            {"empty": b"", "truncated": content[: len(content) // 2], "garbage": b"\x00\xff<>{" * 50}[damage]
        )
    with pytest.raises(InputError) as caught:
        Avatar.load(copy)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, word",
    [
        ({"colour": "blue"}, "colour"),
        ({"size": 10**6}, "size"),
        ({"size": "large"}, "size"),
        ({"focal": 0}, "focal"),
        ({"focal": float("nan")}, "focal"),
        ({"format": 2}, "format"),
        ({"renderer": "nerf2"}, "nerf2"),
        ({"encoder": "whisper-9"}, "whisper-9"),
        ({"encoder": "whisper-2-streaming"}, "hears"),
        ({"consent": ""}, "consent"),
        ({"renderer_config": {}}, "format"),
        ({"renderer_config": {"format": 1, "layers": [{"name": "x"}]}}, "renderer|Gaussian"),
    ],
)
def test_wrong_settings_are_named(copy: Path, changes: dict[str, object], word: str) -> None:
    _edit_config(copy, **changes)
    with pytest.raises(InputError, match=word):
        Avatar.load(copy)


@pytest.mark.parametrize(
    "name, change",
    [
        ("neutral", lambda a: a[:100]),
        ("rest", lambda a: a * np.nan),
        ("rest", lambda a: a + 1e6),
        ("path.rotation", lambda a: a[:0]),
        ("path.translation", lambda a: a[:-1]),
        ("blink.rates", lambda a: 0 * a),
        ("blink.closing", lambda a: a.astype(np.int32)),
    ],
)
def test_wrong_statistics_are_named(copy: Path, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    _edit_tensor(copy, "motion.safetensors", name, change)
    with pytest.raises(InputError, match=name.split(".")[0]):
        Avatar.load(copy)


def test_tensors_that_do_not_fit_or_hold_nan_are_refused(copy: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(copy, tmp_path / "other"))
    _edit_tensor(copy, "model.safetensors", "layer.lower.basis", lambda a: a[:2, :3])
    with pytest.raises(InputError):
        next(Avatar.load(copy).stream(_blip()))
    _edit_tensor(other, "model.safetensors", "torso_origin", lambda a: np.full_like(a, np.inf))
    with pytest.raises(InputError, match="torso_origin"):
        Avatar.load(other)


def _blip():
    from geneface.types import Waveform

    return Waveform(np.full(640, 0.1, np.float32))


def test_unknown_keys_fail_in_the_class_itself() -> None:
    with pytest.raises(ValueError, match="spelling"):
        AvatarConfig.model_validate({"spelling": 1})


def test_card_says_whose_face_it_is_and_takes_figures(copy: Path) -> None:
    card = (copy / "README.md").read_text()
    assert "it is drawn by a program" in card and "CC0" in card and "synthetic" in card and "not measured yet" in card
    metrics = {
        "definitions": {"head_psnr": {"title": "PSNR, head", "unit": "dB"}, "offset": {"title": "Offset", "unit": "frames"}},
        "tables": {
            "image": {
                "title": "Picture",
                "rows": [
                    {"name": "encoded", "role": "control", "figures": {"head_psnr": {"value": 99.0, "reason": None}}},
                    {"name": "a|b", "role": "evaluated", "figures": {"head_psnr": {"value": 31.25, "reason": None}, "offset": {"value": None, "reason": "no sound"}}},
                    {"name": "second", "role": "evaluated", "figures": {"head_psnr": {"value": None, "reason": "none"}}},
                ],
            },
            "empty": {"title": "Nothing", "rows": [{"name": "a", "role": "evaluated", "figures": {"offset": {"value": None, "reason": "no sound"}}}]},
        },
    }  # fmt: skip
    for _ in range(2):
        store_metrics(copy, metrics)
        card = (copy / "README.md").read_text()
        assert "| Picture | a/b | second |" in card and "| PSNR, head [dB] | 31.2 | n/a |" in card
        assert "99" not in card and "Nothing" not in card and "Offset" not in card
        assert "not measured yet" not in card
    assert read_metrics(copy) == metrics


def test_a_card_says_why_a_training_could_not_tell(copy: Path) -> None:
    figures = {key: {"value": None, "reason": "under 3 s | are held out"} for key in ("opening", "width")}
    rows = [{"name": name, "role": "evaluated", "figures": figures} for name in ("generic", "adapted")]
    store_metrics(copy, {"definitions": {}, "tables": {"adaptation": {"title": "Lips", "rows": rows}}})
    card = (copy / "README.md").read_text()
    assert "\nLips: n/a (under 3 s / are held out).\n" in card
    assert "not measured yet" in card, "a training's own tables are no evaluation"


def test_a_card_cannot_be_broken_by_its_fields(copy: Path) -> None:
    from geneface.avatar.card import card_text

    config = json.loads((copy / "config.json").read_text())
    card = card_text(config | {"consent": "yes | <script>\n\n# no"}, 75)
    assert "| consent | yes / &lt;script> # no |" in card


def test_statistics_leave_heldout_frames_alone() -> None:
    rng = np.random.default_rng(1)
    opening = np.abs(np.sin(np.arange(300) / 7)) * 0.05
    track = np.stack([face_points(value) for value in opening]).astype(np.float32)
    pose = HeadPose(0.1 * rng.standard_normal((300, 3)).astype(np.float32), np.full((300, 3), -4, np.float32))
    segment, usable, neutral = np.zeros(300, int), np.arange(300) < 200, person().neutral
    loud = np.float32(0.5) + 0.5 * np.sin(np.arange(300, dtype=np.float32) / 9)
    spoken = Spoken(np.zeros(300, bool), loud, ("one",))
    first = measure_person(track, pose, segment, usable, spoken, neutral)
    track[200:] += 5
    pose.rotation[200:], loud[200:] = 2, 0
    second = measure_person(track, pose, segment, usable, spoken, neutral)
    for name, value in first.tensors().items():
        np.testing.assert_array_equal(second.tensors()[name], value)
    assert lip_opening(first.rest) < np.percentile(lip_opening(track[:200]), 25)
    assert PersonStatistics.from_tensors(first.tensors(), "x").rest[LIPS].shape == (len(LIPS), 3)
    with pytest.raises(InputError, match="no training frames"):
        measure_person(track, pose, segment, np.zeros(300, bool), spoken, neutral)


def test_the_closed_mouth_is_that_of_silence() -> None:
    rng = np.random.default_rng(2)
    opening = np.concatenate([np.full(60, 0.004), rng.uniform(0.0, 0.05, 240)])
    opening[50:60] = 0.04
    track = np.stack([face_points(value) for value in opening]).astype(np.float32)
    silent = np.arange(300) < 60
    assert lip_opening(rest_shape(track, silent)) == pytest.approx(lip_opening(face_points(0.004)), abs=1e-4)
    assert lip_opening(rest_shape(track, np.zeros(300, bool))) < np.percentile(lip_opening(track), 25)


def test_an_avatar_of_other_landmarks_is_refused(avatar_folder: Path, tmp_path: Path) -> None:
    """As many, of other names; a folder that names none, as they were written before, still loads."""
    folder = tmp_path / "other"
    shutil.copytree(avatar_folder, folder)
    tensors = load_tensors(folder / "motion.safetensors")
    save_tensors(folder / "motion.safetensors", tensors)
    assert read_avatar(folder).person.rest.shape == tensors["rest"].shape
    save_tensors(folder / "motion.safetensors", tensors, {"landmarks": KEYPOINT_NAMES})
    read_avatar(folder)
    save_tensors(folder / "motion.safetensors", tensors, {"landmarks": KEYPOINT_NAMES.replace("0,", "3,", 1)})
    with pytest.raises(InputError, match="another set of landmarks"):
        read_avatar(folder)


def test_the_avatar_that_ships_is_of_the_first_format_and_loads() -> None:
    """It was written before landmarks were named: as it stands, every later version has to read it."""
    files = read_avatar("grid-s1")
    assert files.config.format == 1
    assert "landmarks" not in TensorFile(files.folder / "motion.safetensors").metadata


def test_a_path_with_a_torso_is_stored_and_checked() -> None:
    someone = person()
    path = someone.path
    torso = np.random.default_rng(0).normal(0, 0.01, (len(path), 5, 2)).astype(np.float32)
    moving = replace(someone, path=HeadPose(path.rotation, path.translation, torso))
    again = PersonStatistics.from_tensors(moving.tensors(), "x")
    assert again.path.torso is not None
    np.testing.assert_array_equal(again.path.torso, torso)
    assert PersonStatistics.from_tensors(someone.tensors(), "x").path.torso is None
    for wrong in (torso[1:], torso[:, :0], torso[..., :1], np.where(torso > 0, np.nan, torso), 1e6 * torso, torso[0]):
        with pytest.raises(InputError, match=r"path\.torso"):
            PersonStatistics.from_tensors({**moving.tensors(), "path.torso": wrong}, "x")
