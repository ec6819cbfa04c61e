"""The expert learns which lips belong to which sound, on made-up speech."""

import numpy as np
import pytest
import torch

from geneface.corpus.dataset import load_corpus_data
from geneface.errors import InputError
from geneface.training.sync import SYNC_PRESETS, build_expert, choose_preset, load_expert, pretrain_sync, score_expert


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
        load_expert(out, "whisper-2")


def test_scores_are_of_the_right_lag(small_corpus, folder):
    """Speech moved by four frames: the lag accuracy goes away, so it does measure timing."""
    data = load_corpus_data(small_corpus)
    expert = load_expert(folder[0], "numbers")
    from dataclasses import replace

    moved = [replace(clip, features=np.roll(clip.features, 8, axis=0)) for clip in data.heldout]
    assert score_expert(expert, moved)["lag_accuracy"] < score_expert(expert, data.heldout)["lag_accuracy"]


def test_unknown_preset_is_an_input_error():
    with pytest.raises(InputError, match="tiny"):
        choose_preset(SYNC_PRESETS, "huge")
