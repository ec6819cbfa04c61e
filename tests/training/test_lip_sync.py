"""The lip-sync classifier is trained on half of the clips, is exported as it was trained, and is nobody's loss."""

import ast
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import geneface
from geneface.corpus.corpus import Corpus
from geneface.corpus.dataset import ClipData, load_corpus_data
from geneface.errors import InputError
from geneface.geometry.landmarks import lip_opening
from geneface.io.records import read_json
from geneface.io.session import open_session
from geneface.io.tensors import load_tensors, save_tensors
from geneface.motion.sync import SYNC_LANDMARKS, WINDOW
from geneface.training.motion import lip_sync as training_lip_sync
from geneface.training.motion.lip_sync import (
    LIP_SYNC_PRESETS,
    classifier_clips,
    export_towers,
    opening_deviation,
    pretrain_lip_sync,
)
from geneface.training.motion.sync import SYNC_PRESETS, build_expert, load_expert

pytestmark = pytest.mark.slow

GRAPHS = ("lips.onnx", "speech.onnx")


@pytest.fixture(scope="module")
def trained(small_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("lip_sync")
    return out, pretrain_lip_sync(small_corpus.folder, out, "tiny", attribution="Made-up numbers, CC0.")


def same_graphs(a: Path, b: Path) -> bool:
    return all((a / name).read_bytes() == (b / name).read_bytes() for name in GRAPHS)


def test_learns_what_chance_does_not_know(trained):
    _, scores = trained
    assert scores["pair_accuracy"] > 0.7
    assert scores["clips"] == 3 and {name: own["clips"] for name, own in scores["speakers"].items()} == {"a": 2, "b": 1}


def test_folder_says_what_made_it(small_corpus, trained):
    out, scores = trained
    record = read_json(out / "lip_sync.json")
    assert record["heldout"] == scores and record["encoder"] == "numbers" and record["window"] == WINDOW
    heldout = {clip.name for clip in small_corpus.clips(heldout=True)}
    training = {clip.name for clip in small_corpus.clips(heldout=False)}
    chosen = record["training"]["clips"]
    assert len(chosen) == len(set(chosen)) and set(chosen) < training and not set(chosen) & heldout
    assert [sum(name.startswith(speaker) for name in chosen) for speaker in "ab"] == [9, 5]
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "Made-up numbers, CC0." in card and "14 clips" in card


def test_what_it_must_not_see_does_not_change_it(small_corpus, trained, tmp_path):
    """The other training clips and the held-out ones get other speech: the same classifier comes out, to the bit."""
    corpus = tmp_path / "corpus"
    shutil.copytree(small_corpus.folder, corpus)
    chosen = set(read_json(trained[0] / "lip_sync.json")["training"]["clips"])
    for path in (corpus / "clips").iterdir():
        if path.stem not in chosen:
            tensors = load_tensors(path)
            save_tensors(path, {**tensors, "features": tensors["features"][::-1] * np.float16(2)})
    pretrain_lip_sync(corpus, tmp_path / "out", "tiny")
    assert same_graphs(trained[0], tmp_path / "out")
    pretrain_lip_sync(small_corpus.folder, tmp_path / "seed", "tiny", seed=2)
    assert not same_graphs(trained[0], tmp_path / "seed")


def test_it_differs_from_the_expert():
    for name, settings in LIP_SYNC_PRESETS.items():
        expert = SYNC_PRESETS[name]
        assert settings.channels != expert.channels and settings.embedding != expert.embedding
        assert settings.gain_range < expert.gain_range


def test_interrupted_and_resumed_equals_uninterrupted(small_corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(LIP_SYNC_PRESETS, "tiny", LIP_SYNC_PRESETS["tiny"].model_copy(update={"steps": 60, "batch": 2}))
    clock = iter(range(0, 10**9, 100))
    monkeypatch.setattr("geneface.training.loop.time", SimpleNamespace(monotonic=lambda: next(clock)))

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "lip-sync" and done == 55:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_lip_sync(small_corpus.folder, tmp_path / "cut", "tiny", progress=interrupt)
    assert not (tmp_path / "cut" / "lip_sync.json").exists()
    with pytest.raises(InputError, match="--resume"):
        pretrain_lip_sync(small_corpus.folder, tmp_path / "cut", "tiny")
    steps: list[int] = []
    resumed = pretrain_lip_sync(
        small_corpus.folder,
        tmp_path / "cut",
        "tiny",
        resume=True,
        progress=lambda stage, done, _: steps.append(done) if stage == "lip-sync" else None,
    )
    assert steps == list(range(51, 61))
    whole = pretrain_lip_sync(small_corpus.folder, tmp_path / "whole", "tiny")
    assert resumed == whole and same_graphs(tmp_path / "cut", tmp_path / "whole")
    # Files and card do not tell either.
    assert read_json(tmp_path / "cut" / "lip_sync.json") == read_json(tmp_path / "whole" / "lip_sync.json")


def test_graphs_equal_torch_at_any_length(small_corpus, tmp_path):
    data = load_corpus_data(small_corpus)
    torch.manual_seed(4)
    expert = build_expert(data, LIP_SYNC_PRESETS["tiny"]).eval()
    export_towers(expert, tmp_path)
    # Large weights are stored in half precision: the same rounding, so that only the arithmetic is compared.
    for parameter in expert.parameters():
        if parameter.numel() >= 1024:
            parameter.data = parameter.data.half().float()
    sessions = [open_session(tmp_path / name) for name in GRAPHS]
    clip = data.heldout[0]
    for frames in (WINDOW, 40, 60):
        points = np.ascontiguousarray(clip.displacement[None, :frames, SYNC_LANDMARKS])
        features = clip.features[None, : 2 * frames].astype(np.float32)
        with torch.no_grad():
            expected = expert.embed_lips(torch.from_numpy(points)), expert.embed_speech(torch.from_numpy(features))
        found = sessions[0].run(None, {"points": points})[0], sessions[1].run(None, {"features": features})[0]
        for a, b in zip(map(np.asarray, found), expected, strict=True):
            assert a.shape == (1, LIP_SYNC_PRESETS["tiny"].embedding, frames - WINDOW + 1)
            assert abs(a - b.numpy()).max() < 1e-4


def test_opening_deviation_is_what_gains_are_relative_to(small_corpus):
    data = load_corpus_data(small_corpus)
    own = [float(lip_opening(clip.landmarks).std()) for clip in data.training if clip.speaker == "b"]
    assert np.mean(own) / opening_deviation(data) == pytest.approx(data.gains["b"], rel=1e-4)


def test_every_second_clip_of_each_speaker():
    nothing = np.zeros((0, 1), np.float32)
    clips = [
        ClipData(f"{name}{index}", name, nothing.astype(np.float16), nothing, nothing, 1.0)
        for name in "ba"
        for index in range(3)
    ]
    assert [clip.name for clip in classifier_clips(clips)] == ["a0", "a2", "b0", "b2"]


def test_it_can_not_be_given_as_a_loss(trained):
    with pytest.raises(InputError, match=r"sync\.json"):
        load_expert(trained[0], "numbers")


def mentions(source: str) -> bool:
    """Whether code (names, imports, texts; neither comments nor docstrings) speaks of the lip-sync classifier."""
    nodes = list(ast.walk(ast.parse(source)))
    prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    fields = [value for node in nodes if id(node) not in prose for _, value in ast.iter_fields(node)]
    words = [value for value in fields if isinstance(value, str)]
    return any(re.search(r"lip.?sync", word.lower()) for word in words)


@pytest.mark.parametrize(
    "source",
    [
        "import geneface.training.motion.lip_sync",
        "from . import lip_sync",
        "x.lip_sync(1)",
        "f('lip-sync', 'lips.onnx')",
        "LipSync()",
    ],
)
def test_the_test_sees_what_it_must(source):
    assert mentions(source) and not mentions(f'"""{source}"""  # {source}')


def test_nothing_else_in_training_or_motion_knows_the_classifier():
    package = Path(geneface.__file__).parent
    own = Path(training_lip_sync.__file__)
    files = [*(package / "training").rglob("*.py"), *(package / "motion").rglob("*.py")]
    assert len(files) > 10
    assert [path.name for path in files if mentions(path.read_text(encoding="utf-8"))] == [own.name]
    # And its own training starts from nothing: it opens no classifier that exists.
    assert "asset_path" not in own.read_text(encoding="utf-8")
