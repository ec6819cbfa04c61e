"""The expert learns which lips belong to which sound, on made-up speech."""

import shutil

import numpy as np
import pytest
import torch

from geneface.corpus.dataset import load_corpus_data
from geneface.errors import InputError
from geneface.io.records import write_json
from geneface.training.motion.sync import (
    SYNC_PRESETS,
    build_expert,
    load_expert,
    pretrain_sync,
    score_expert,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(small_corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("sync")
    scores = pretrain_sync(small_corpus.folder, out, "tiny")
    return out, scores


def test_learns_what_chance_does_not_know(small_corpus, folder):
    data = load_corpus_data(small_corpus)
    torch.manual_seed(0)
    untrained = score_expert(build_expert(data, SYNC_PRESETS["tiny"]), data.heldout)
    assert folder[1]["pair_accuracy"] > 0.75 > untrained["pair_accuracy"] + 0.1
    assert folder[1]["lag_accuracy"] > untrained["lag_accuracy"]


def test_loaded_expert_scores_as_it_did(small_corpus, folder):
    out, scores = folder
    data = load_corpus_data(small_corpus)
    again = score_expert(load_expert(out, "numbers"), data.heldout)
    assert again["pair_accuracy"] == pytest.approx(scores["pair_accuracy"], abs=0.02)
    with pytest.raises(InputError, match="numbers"):
        load_expert(out, "whisper-2-streaming")


def test_scores_are_of_the_right_lag(small_corpus, folder):
    """Speech moved by four frames: the lag accuracy goes away, so it does measure timing."""
    data = load_corpus_data(small_corpus)
    expert = load_expert(folder[0], "numbers")
    from dataclasses import replace

    moved = [replace(clip, features=np.roll(clip.features, 8, axis=0)) for clip in data.heldout]
    assert score_expert(expert, moved)["lag_accuracy"] < score_expert(expert, data.heldout)["lag_accuracy"]


def test_a_single_clip_is_not_compared_with_itself(small_corpus, folder):
    data = load_corpus_data(small_corpus)
    expert = load_expert(folder[0], "numbers")
    # Against itself as "another clip" no window could win, and the score would stay below one half.
    assert score_expert(expert, data.heldout[:1])["pair_accuracy"] > 0.6


def test_a_model_is_not_trained_over(folder, small_corpus, tmp_path):
    folder, _ = folder
    before = (folder / "sync.safetensors").read_bytes()
    with pytest.raises(InputError, match="--resume"):
        pretrain_sync(small_corpus.folder, folder, "tiny", seed=1)
    other = tmp_path / "corpus"
    shutil.copytree(small_corpus.folder, other)
    (other / "manifest.json").write_text((other / "manifest.json").read_text() + " ")
    with pytest.raises(InputError, match="corpus"):
        pretrain_sync(other, folder, "tiny", resume=True)
    assert (folder / "sync.safetensors").read_bytes() == before


def test_a_damaged_corpus_or_expert_is_an_input_error(small_corpus, tmp_path):
    write_json(tmp_path / "manifest.json", {"clips": 3})
    with pytest.raises(InputError, match="manifest"):
        pretrain_sync(tmp_path, tmp_path / "out", "tiny")
    assert not (tmp_path / "out").exists()
    write_json(tmp_path / "sync.json", [1])
    with pytest.raises(InputError, match=r"sync\.json"):
        load_expert(tmp_path, "mel")
