from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.encoder_weights import ENCODER_VARIABLE
from geneface.analysis.speech import encoder_name, load_encoder
from geneface.analysis.windows import CONTEXT_ROWS, WINDOW_ROWS
from geneface.errors import InputError, MissingExtraError
from geneface.io.atomic import sha256
from geneface.signal.sound import levelled

from .tiny_models import tiny_hubert

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_rows_are_the_models_own_on_exactly_50_hz(tmp_path: Path, norm: str) -> None:
    folder = tiny_hubert(tmp_path / "tiny", norm)
    encoder = load_encoder("hubert", folder)
    samples = noise(7.3)
    values = encoder.encode(samples).values
    assert np.array_equal(np.concatenate([piece.values for piece in encoder.blocks(samples)]), values)
    digest = sha256(folder / "model.safetensors")[:12]
    assert (encoder.name, encoder.width, values.shape) == (f"hubert:{digest}", 24, (366, 24))

    # The first window by hand: one second of silence, the sound, 40 samples on either side for the convolutions.
    window = np.zeros(WINDOW_ROWS * 320 + 80, np.float32)
    sound = levelled(samples)[: (WINDOW_ROWS - CONTEXT_ROWS) * 320 + 40]
    window[CONTEXT_ROWS * 320 + 40 :][: len(sound)] = sound
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=norm == "layer")
    inputs = extractor(window, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        expected = transformers.HubertModel.from_pretrained(folder).eval()(inputs).last_hidden_state[0].numpy()
    assert len(expected) == WINDOW_ROWS
    assert np.allclose(values[:200], expected[CONTEXT_ROWS : CONTEXT_ROWS + 200], atol=1e-4)


def test_a_recorded_name_finds_its_weights_and_no_others(tmp_path: Path) -> None:
    """What a portrait or a motion model has written down as its encoder can be loaded again."""
    folder = tiny_hubert(tmp_path / "tiny", "layer")
    name = load_encoder("hubert", folder).name
    assert load_encoder(name, folder).name == encoder_name("hubert", folder) == name
    with pytest.raises(InputError, match=f"give the path of its weights, whose SHA-256 begins with {name[7:]}"):
        load_encoder(name)
    with pytest.raises(InputError, match=rf"are those of {name}, not of the speech encoder hubert:0{{12}}"):
        load_encoder("hubert:000000000000", folder)
    with pytest.raises(InputError, match=r"holds an encoder of the kind hubert, not whisper"):
        load_encoder("whisper", folder)


def test_of_several_in_the_environment_those_that_fit_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (tiny_hubert(tmp_path / name, seed=seed) for seed, name in enumerate(("first", "second")))
    names = [encoder_name("hubert", path) for path in (first, second)]
    monkeypatch.setenv(ENCODER_VARIABLE, os.pathsep.join(["nowhere", str(first), str(second)]))
    assert [load_encoder(name).name for name in names] == names
    with pytest.raises(InputError, match=f"{ENCODER_VARIABLE} names several with weights of hubert"):
        load_encoder("hubert")
    with pytest.raises(InputError, match=f"{ENCODER_VARIABLE} names none with weights of whisper"):
        load_encoder("whisper")
    with pytest.raises(InputError, match="names none with weights of hubert:0"):
        load_encoder("hubert:000000000000")
    assert load_encoder().name == "whisper-2-streaming"


def test_rows_stand_at_the_middle_of_their_20_ms(tmp_path: Path) -> None:
    """An impulse there moves that row's convolutional features most."""
    encoder = load_encoder("hubert", tiny_hubert(tmp_path / "tiny", "group"))
    extractor = encoder._model.feature_extractor  # type: ignore[attr-defined]
    impulse = torch.zeros(1, 300 * 320 + 80)
    impulse[0, 40 + 150 * 320 + 160] = 1.0  # middle of row 150
    with torch.inference_mode():
        response = (extractor(impulse) - extractor(torch.zeros_like(impulse)))[0].abs().sum(0).numpy()
    assert response.argmax() == 150


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    folder = tiny_hubert(tmp_path / "tiny", "layer")
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds pytorch_model.bin, which is not read.*save_pretrained"):
        load_encoder("hubert", folder)


def test_without_transformers_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_hubert(tmp_path / "tiny")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"\.\[hubert\]"):
        load_encoder("hubert", folder)
