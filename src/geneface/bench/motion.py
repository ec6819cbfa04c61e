"""Speech encoder and motion, and the same networks in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from geneface.analysis.mel import log_mel
from geneface.analysis.speech import DEFAULT_ENCODER, RECORDED_ENCODER
from geneface.analysis.whisper_weights import Layer, WhisperWeights
from geneface.analysis.windows import WINDOW_ROWS, encode_in_windows, feature_rows
from geneface.avatar.avatar import Avatar
from geneface.bench.timing import compared, timed
from geneface.bench.twin import torch_extra
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.signal.sound import levelled
from geneface.types import SPEECH_RATE_HZ, FloatArray

WHISPER_WIDTH, WHISPER_HEADS, MEL_BINS = 512, 8, 80
OUTPUTS = {DEFAULT_ENCODER: (2,), RECORDED_ENCODER: (2, 4)}
"""Layers, from 1 on, whose rows are the features of the encoders that ship."""


def bench_motion(avatar: Avatar, repeats: int, twin: bool) -> dict[str, Any]:
    """Speech encoder and motion of the bundled sentence, recorded: how many times faster than it is spoken.

    Args:
        twin: time the twin too, if the avatar hears with an encoder that ships.
    """
    sound = read_audio(asset_path("speech", "demo.flac"))
    ours = timed(lambda: avatar.motion(sound), repeats)
    seconds = len(sound.samples) / SPEECH_RATE_HZ
    result: dict[str, Any] = {
        "speech_seconds": seconds,
        "ours": ours.as_ms()
        | {"times_real_time": seconds / ours.median, "times_real_time_of_one_core": seconds / ours.core},
    }
    if twin and avatar.recorded_encoder in OUTPUTS:
        outputs = OUTPUTS[avatar.recorded_encoder]
        result["pytorch_eager"] = compared(ours, timed(_twin(sound.samples, outputs), max(repeats // 3, 1)))
    return result


def _twin(samples: FloatArray, outputs: Sequence[int]) -> Callable[[], object]:
    """The networks in single precision with random weights of the shipped sizes: what they say takes as long."""
    with torch_extra():
        import torch

        from geneface.analysis.whisper import encode_layers
        from geneface.motion.vae import AudioToMotion, AudioToMotionConfig
    weights = random_whisper(outputs[-1])
    # The model for recordings has a linear map, too.
    config = AudioToMotionConfig(
        feature_width=WHISPER_WIDTH * len(outputs),
        motion_width=48,
        future_frames=2,
        linear_share=0.5 if len(outputs) > 1 else 0.0,
    )
    model = AudioToMotion(config).eval()
    rows = feature_rows(samples)
    rows += -rows % (2 * model.config.latent_stride)

    def run() -> object:
        sound = levelled(samples)

        def window(first_row: int) -> FloatArray:
            hidden = encode_layers(weights, log_mel(sound, 2 * first_row, 2 * WINDOW_ROWS, MEL_BINS))
            return np.concatenate([hidden[layer] for layer in outputs], axis=1)

        features = encode_in_windows(window, rows)
        noise = torch.zeros(1, model.config.latent_channels, rows // (2 * model.config.latent_stride))
        with torch.inference_mode():
            return model(torch.from_numpy(features)[None], noise)

    return run


def random_whisper(layers: int) -> WhisperWeights:
    """The first layers of Whisper-base's encoder, with random weights."""
    random = np.random.default_rng(0)

    def pair(*shape: int) -> tuple[FloatArray, FloatArray]:
        return (random.normal(size=shape) * 0.02).astype(np.float32), np.zeros(shape[0], np.float32)

    def norm() -> tuple[FloatArray, FloatArray]:
        return np.ones(WHISPER_WIDTH, np.float32), np.zeros(WHISPER_WIDTH, np.float32)

    def layer() -> Layer:
        query, key, value, out = (pair(WHISPER_WIDTH, WHISPER_WIDTH) for _ in range(4))
        up, down = pair(4 * WHISPER_WIDTH, WHISPER_WIDTH), pair(WHISPER_WIDTH, 4 * WHISPER_WIDTH)
        return Layer(norm(), query, key, value, out, norm(), up, down)

    return WhisperWeights(
        WHISPER_HEADS,
        pair(WHISPER_WIDTH, MEL_BINS, 3),
        pair(WHISPER_WIDTH, WHISPER_WIDTH, 3),
        pair(WINDOW_ROWS, WHISPER_WIDTH)[0],
        tuple(layer() for _ in range(layers)),
        norm(),
    )
