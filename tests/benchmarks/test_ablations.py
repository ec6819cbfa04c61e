"""Each variant changes what it says and nothing else; the runner goes from a corpus to a table and resumes."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("onnx", reason="needs the [train] extra")

import torch

from geneface.avatar.avatar import Avatar
from geneface.corpus.dataset import load_corpus_data
from geneface.evaluation.schema import Figure
from geneface.geometry.landmarks import BROWS, KEYPOINT_COUNT, LIPS
from geneface.render.gaussian import GaussianModel
from geneface.training.motion.train import MotionTask

from ..avatar.avatar_fixtures import make_avatar
from ..evaluation.doubles import FakePortrait
from ..render.synthetic import as_portrait, painted_portrait
from ..training.conftest import small_corpus  # noqa: F401

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name: str) -> Any:
    """A module of benchmarks/, which is no package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


ablations, motion, person, tables = (
    load(name) for name in ("ablations", "ablation_motion", "ablation_person", "ablation_report")
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """These networks are too small to share: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(small_corpus):  # noqa: F811
    return load_corpus_data(small_corpus)


@pytest.fixture(scope="module")
def tiny_avatar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_avatar(tmp_path_factory.mktemp("avatars") / "tiny", tmp_path_factory.mktemp("work"))


# ---- one change each


def test_every_variant_of_the_motion_model_differs_in_one_thing():
    preset = motion.PRESETS["tiny"]
    ours = motion.MOTION_VARIANTS["ours"]
    assert ours.config(preset) == preset
    for name, variant in motion.MOTION_VARIANTS.items():
        config, base = variant.config(preset).model_dump(), preset.model_dump()
        changes = sum(config[key] != base[key] for key in base)
        changes += variant.listen is not ours.listen
        changes += variant.finish is not ours.finish
        changes += not variant.with_expert
        # A latent step of four frames can't be read two frames ahead.
        changes -= config["latent_stride"] != base["latent_stride"] and config["future_frames"] == 4
        assert changes == (name != "ours"), name
        assert variant.trained_as in (None, "ours")
    assert motion.MOTION_VARIANTS["few-steps"].config(motion.PRESETS["fast"]).steps == 75


def test_dropping_features_keeps_the_shape_and_halves_the_rows():
    rows = np.random.default_rng(0).standard_normal((10, 3))
    expected = np.stack([rows[2 * (index // 2)] for index in range(10)])
    assert np.array_equal(motion.every_second_row(rows), expected)


def test_smoothing_of_the_original_is_a_recursive_filter_on_lips_too():
    points = np.random.default_rng(1).standard_normal((40, KEYPOINT_COUNT, 3)).astype(np.float32)
    smoothed = motion.exponential(points)
    for group, share in ((LIPS, 0.25), (BROWS, 0.35)):
        track = points[:, group[0], 1] - points[0, group[0], 1]
        expected = lfilter([1 - share], [1, -share], track) + points[0, group[0], 1]
        assert np.allclose(smoothed[:, group[0], 1], expected, atol=1e-5)
    ours = motion.spare_lips(points)
    assert np.array_equal(ours[:, LIPS], points[:, LIPS])
    assert ours[:, BROWS].std() < 0.6 * points[:, BROWS].std()


def test_a_filter_that_never_advances_takes_a_quarter_of_the_motion():
    points = np.random.default_rng(1).standard_normal((40, KEYPOINT_COUNT, 3)).astype(np.float32)
    blended = motion.blend_with_first(points)
    assert np.allclose(blended[:, LIPS].std(0), 0.75 * points[:, LIPS].std(0), rtol=1e-4)
    assert np.allclose(blended[0], points[0], atol=1e-6)


@pytest.mark.slow
def test_variants_of_other_shapes_start_alike_and_see_the_same_sequences(data, tmp_path, monkeypatch):
    preset = motion.PRESETS["tiny"].model_copy(update={"steps": 3})
    basis = motion.corpus_basis(data, preset)
    seen: dict[str, list[np.ndarray]] = {}
    starts = {}
    for name in ("ours", "latent-6hz", "no-flow"):

        class Watched(motion.SameOrderTask):
            def step(self, index, total, generator, name=name):
                if index == 0:
                    starts[name] = {key: value.clone() for key, value in self.modules["model"].state_dict().items()}
                    draw = self.sampler.draw
                    places = seen.setdefault(name, [])

                    def noted(count, seed):
                        drawn = draw(count, seed)
                        places.append(drawn[2])
                        return drawn

                    self.sampler.draw = noted
                return super().step(index, total, generator)

        monkeypatch.setattr(motion, "SameOrderTask", Watched)
        variant = motion.MOTION_VARIANTS[name]
        motion.train_variant(variant, data, basis, None, preset, 5, tmp_path / name, lambda *_: None)
        monkeypatch.undo()
    for name in ("latent-6hz", "no-flow"):
        assert np.array_equal(np.stack(seen[name]), np.stack(seen["ours"]))
        shared = {key for key in starts[name] if starts[name][key].shape == starts["ours"][key].shape}
        assert {"decoder_in.weight", "decoder.dilated.3.weight"} <= shared
        assert all(torch.equal(starts[name][key], starts["ours"][key]) for key in shared)
    assert not np.array_equal(seen["ours"][0], seen["ours"][1])


# ---- the avatar's variants


def test_person_variants_reach_the_avatars_motion(tiny_avatar):
    avatar = Avatar.load(tiny_avatar)
    portrait: Any = FakePortrait()
    figures = {name: person.person_figures(name, avatar, portrait) for name in person.PERSON_VARIANTS}
    amplitude = {name: values["opening_amplitude_ratio"].value for name, values in figures.items()}
    # The tiny avatar has no adaptation to lose; its lips are smoothed by the variants that say so alone.
    assert amplitude["ours"] == amplitude["no-smoothing"] == amplitude["no-adaptation"]
    assert amplitude["smooth-lips"] < amplitude["ours"]
    assert amplitude["first-frame-blend"] < amplitude["ours"]
    late = {name: values["fast_offset_frames"].value for name, values in figures.items()}
    assert late["smooth-lips"] > late["ours"] + 0.1


def test_no_adaptation_leaves_the_adaptation_out(tiny_avatar):
    class Louder:
        past_frames = future_frames = 0

        def apply(self, generic, first=0, last=None):
            return 3 * generic.displacement[first:last]

    portrait: Any = FakePortrait()
    plain = Avatar.load(tiny_avatar)
    louder: Any = Louder()
    adapted = Avatar(plain.files, plain._encoder, plain._model, louder)
    key = "opening_amplitude_ratio"
    bare = person.person_figures("no-adaptation", adapted, portrait)[key].value
    assert bare == person.person_figures("ours", plain, portrait)[key].value
    assert person.person_figures("ours", adapted, portrait)[key].value > 2 * bare


@pytest.mark.slow
def test_a_colour_code_shifts_all_frames_and_costs_colour():
    portrait = painted_portrait()
    config = person.GaussianTrainConfig(steps=1, face_count=300, mouth_count=30, shell_count=200, torso_count=100)
    from geneface.training.gaussian.train import initial_model

    model = initial_model(as_portrait(portrait), np.flatnonzero(~portrait.heldout), config)
    assert isinstance(model, GaussianModel)
    plain = person.head_figures(as_portrait(portrait), model, np.zeros(6, np.float32))
    bias = np.array([0, 0, 0, 0.04, 0.04, 0.04], np.float32)
    shifted = person.head_figures(as_portrait(portrait), model, bias)
    change = shifted["head_luminance_shift"].value - plain["head_luminance_shift"].value
    # Dark hair is not clipped below, so nearly all of the bias arrives.
    assert change == pytest.approx(0.04 * 255, abs=0.6)
    darker = person.head_figures(as_portrait(portrait), model, np.array([-0.5, -0.5, -0.5, 0, 0, 0], np.float32))
    assert darker["head_ciede2000"].value > plain["head_ciede2000"].value
    assert darker["head_psnr"].value < plain["head_psnr"].value


@pytest.mark.slow
def test_colour_codes_are_those_of_the_checkpoint(tmp_path):
    portrait = as_portrait(painted_portrait())
    counts = {"face_count": 300, "mouth_count": 30, "shell_count": 200, "torso_count": 100}
    config = person.GaussianTrainConfig(steps=40, affine_rate=0.01, components=6, **counts)
    person.renderer_figures("ours", portrait, config, tmp_path, lambda *_: None)
    checkpoint = person.TensorFile(tmp_path / person.CHECKPOINT_NAME)
    codes = np.asarray(checkpoint.get("affines.values"))[~portrait.heldout]
    assert np.array_equal(person.chosen_code("ours", checkpoint), np.zeros(6))
    assert np.allclose(person.chosen_code("first-frame-colour", checkpoint), codes[0])
    brightest = person.chosen_code("brightest-frame-colour", checkpoint)
    greys = (0.5 * codes[:, :3] + codes[:, 3:]).mean(1)
    assert (0.5 * brightest[:3] + brightest[3:]).mean() == pytest.approx(greys.max())
    assert greys.max() > 0 > greys.min()


# ---- tables


def rows_of(values: dict[str, list[float]], group: str = "motion", key: str = "opening_correlation") -> list[Any]:
    return [
        tables.Row(group, name, seed, {key: Figure(value=value)})
        for name, column in values.items()
        for seed, value in enumerate(column)
    ]


def test_a_difference_must_rise_above_the_seeds():
    rows = rows_of({"ours": [0.90, 0.91], "undilated": [0.70, 0.72], "no-flow": [0.91, 0.90], "no-sync": [0.89, 0.92]})
    words = {name: tables.verdict(rows, "motion", name, "opening_correlation") for name in ("undilated", "no-flow")}
    assert words == {"undilated": "worse", "no-flow": "same"}
    assert tables.verdict(rows, "motion", "ours", "opening_correlation") is None
    assert (
        tables.verdict(rows_of({"ours": [0.9], "undilated": [0.7]}), "motion", "undilated", "opening_correlation")
        is None
    )
    assert tables.cell(rows, "motion", "undilated", "opening_correlation") == "0.710 ± 0.010 (worse)"


def test_ratios_and_offsets_are_judged_by_their_distance_from_the_best():
    key = "opening_amplitude_ratio"
    rows = rows_of({"ours": [1.30, 1.31], "undilated": [0.99, 1.0], "no-flow": [0.5, 0.51]}, key=key)
    assert tables.verdict(rows, "motion", "undilated", key) == "better"
    assert tables.verdict(rows, "motion", "no-flow", key) == "worse"
    key = "fast_offset_frames"
    rows = rows_of({"ours": [-0.1, -0.11], "undilated": [0.8, 0.82]}, key=key)
    assert tables.verdict(rows, "motion", "undilated", key) == "worse"


def test_a_missing_figure_says_why_in_its_own_group():
    key = "silence_motion_ratio"
    rows = [
        tables.Row("motion", "ours", 0, {key: Figure(value=1.0)}),
        tables.Row("person", "ours", 0, {key: Figure(reason="no silence")}),
    ]
    assert tables.cell(rows, "person", "ours", key) == "n/a: no silence"
    assert tables.cell(rows, "motion", "ours", key) == "1.000"


def test_every_shortcoming_has_its_section_and_its_variants():
    text = tables.report([], "")
    assert [f"3.3.{n}" in text for n in range(1, 7)] == [True] * 6
    for parts in tables.SECTIONS.values():
        for part in parts:
            assert set(part.variants) <= set(tables.CHANGES[part.group])
            assert set(part.keys) <= set(tables.COLUMNS)
    shown = {(part.group, name) for parts in tables.SECTIONS.values() for part in parts for name in part.variants}
    assert {(group, name) for group, names in tables.CHANGES.items() for name in names} == shown


# ---- the runner


@pytest.mark.slow
def test_runner_goes_from_a_corpus_to_a_table_and_resumes(small_corpus, tiny_avatar, tmp_path, monkeypatch, capsys):  # noqa: F811
    out = tmp_path / "table.md"
    common = [
        str(small_corpus.folder),
        "--avatar",
        str(tiny_avatar),
        "--preset",
        "tiny",
        "--seeds",
        "0",
        "-o",
        str(out),
    ]
    steps: list[int] = []
    inner = MotionTask.step

    def counted(self, index, total, generator):
        steps.append(total)
        return inner(self, index, total, generator)

    monkeypatch.setattr(MotionTask, "step", counted)
    only = ["--only", "ours,latent-6hz,few-steps,smooth-lips,no-sync,no-adaptation,first-frame-colour"]
    ablations.main([*common, *only])
    assert sorted(set(steps)) == [5, 40]
    assert len(steps) == 40 + 40 + 5
    first = out.read_text()
    stored = json.loads(out.with_suffix(".json").read_text())
    found = {(row["group"], row["variant"]): row for row in stored["rows"]}
    assert found["motion", "ours"]["figures"]["opening_correlation"]["value"] > 0.8
    few, ours = (found["motion", name]["figures"]["lip_landmark_distance"]["value"] for name in ("few-steps", "ours"))
    assert few > ours
    assert found["speed", "ours"]["figures"]["render_rate"]["value"] > 0
    assert found["motion", "no-sync"]["reason"] == "give --sync"
    assert found["person", "no-adaptation"]["reason"] == "give --portrait and --avatar"
    assert "| no-adaptation | n/a: give --portrait and --avatar" in first
    assert "3.3.6" in first and "undilated" not in first
    assert "left" in capsys.readouterr().err

    # A second run computes nothing and prints the same; another seed trains only that seed.
    steps.clear()
    ablations.main([*common, *only])
    assert not steps and out.read_text() == first
    ablations.main([*common, "--seeds", "0", "1", "--only", "ours,smooth-lips"])
    assert len(steps) == 40
    assert " ± " in out.read_text()


def test_unknown_variants_are_refused(capsys):
    with pytest.raises(SystemExit):
        ablations.parse(["corpus", "--only", "ours,nonsense"])
    assert "no variant nonsense; there are: brightest-frame-colour, drop-features" in capsys.readouterr().err
