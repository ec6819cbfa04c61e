"""Distillation of Whisper's first layers: a student that attends to a band only, a teacher that attends to everything.

Narrowed to a band without training, the layers return other features: they never learned to work without the rest of
the window. A few minutes of distillation (Hinton, Vinyals & Dean, "Distilling the knowledge in a neural network", 2015)
on any speech restore most of them. Symbols: B windows of `WINDOW_ROWS` rows at 50 Hz (R),
M = 2 R spectrogram rows, D width, H heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from geneface.analysis.mel import log_mel
from geneface.analysis.whisper import apply_layer, stem
from geneface.analysis.whisper_weights import Layer, WhisperWeights
from geneface.analysis.windows import CONTEXT_ROWS, CORE_ROWS, WINDOW_ROWS
from geneface.corpus.augmentation import augment, draw_augmentation
from geneface.io.audio import read_audio
from geneface.signal.sound import cut, levelled
from geneface.signal.timing import SAMPLES_PER_ROW
from geneface.training.loop import descend, file_digest, learning_rate, train, training_folder
from geneface.types import FloatArray, ProgressFn, no_progress

BATCH = 6
PEAK_RATE = 2e-4
_AUGMENTED = 0.6
"""Share of the windows that are augmented."""
_TEST_BATCHES = 6
_STATISTICS_BATCHES = 12
_TEST_SEED, _STATISTICS_SEED = 1 << 40, 1 << 41
"""Of windows that no update sees, though of the same recordings."""
_CORE = slice(CONTEXT_ROWS, CONTEXT_ROWS + CORE_ROWS)
_WINDOW_SAMPLES = WINDOW_ROWS * SAMPLES_PER_ROW
_PEAK = 0.3
"""Of full scale, what a window is scaled to before it is augmented."""


class BandLayers(nn.Module):
    """The layers as a torch module: rows before the first layer [B, R, D] -> rows after the last."""

    def __init__(self, weights: WhisperWeights, layers: int) -> None:
        super().__init__()
        self.heads = weights.heads
        self.layers = nn.ModuleList(
            nn.ModuleDict({part.name: _parameters(getattr(layer, part.name)) for part in fields(Layer)})
            for layer in weights.layers[:layers]
        )

    def forward(self, rows: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` [R, R] is true where a row attends to a column; everywhere by default."""
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            parts = {name: list(pair.parameters()) for name, pair in layer.items()}
            rows = apply_layer(parts, rows, self.heads, mask)
        return rows

    def into(self, weights: WhisperWeights) -> WhisperWeights:
        """The weights with these layers in place of their first ones."""
        adapted = []
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            parts = {name: [p.detach().numpy().copy() for p in pair.parameters()] for name, pair in layer.items()}
            adapted.append(Layer(**{name: (pair[0], pair[1]) for name, pair in parts.items()}))
        return replace(weights, layers=(*adapted, *weights.layers[len(adapted) :]))


def _parameters(pair: tuple[FloatArray, FloatArray]) -> nn.ParameterList:
    return nn.ParameterList(nn.Parameter(torch.from_numpy(np.array(values, np.float32))) for values in pair)


class SpeechWindows:
    """Draws windows of sound from recordings; short ones are strung together."""

    def __init__(self, recordings: Sequence[Path], bins: int, progress: ProgressFn = no_progress) -> None:
        """Read all of them: an hour takes 0.23 GB."""
        self._bins = bins
        self._groups: dict[Path, list[FloatArray]] = {}
        for done, path in enumerate(recordings):
            self._groups.setdefault(path.parent, []).append(levelled(read_audio(path).samples))
            progress("read speech", done + 1, len(recordings))
        # Few recordings of other voices count for more than their share, without being repeated without end.
        weights = np.sqrt([sum(map(len, group)) for group in self._groups.values()])
        self._shares = weights / weights.sum()

    def draw(self, count: int, seed: int) -> FloatArray:
        """[count, M, bins] log-mel spectrograms of levelled sound."""
        rng = np.random.default_rng(seed)
        return np.stack([log_mel(self._sound(rng), 0, 2 * WINDOW_ROWS, self._bins) for _ in range(count)])

    def _sound(self, rng: np.random.Generator) -> FloatArray:
        groups = list(self._groups.values())
        group = groups[rng.choice(len(groups), p=self._shares)]
        first = group[rng.integers(len(group))]
        start = int(rng.integers(len(first)))
        pieces = [first[start : start + _WINDOW_SAMPLES]]
        while sum(map(len, pieces)) < _WINDOW_SAMPLES:
            pieces.append(group[rng.integers(len(group))][:_WINDOW_SAMPLES])
        sound = np.concatenate(pieces)[:_WINDOW_SAMPLES]
        if rng.random() >= _AUGMENTED:
            return sound
        # Teacher and student hear the same sound, whose length must not change.
        change = replace(draw_augmentation(rng), speed=1.0)
        peak = max(float(np.abs(sound).max()), 1e-6)
        return levelled(cut(augment(sound * np.float32(_PEAK / peak), change, rng), 0, _WINDOW_SAMPLES))


class DistillationTask:
    """The update that `train` repeats."""

    name = "adapt to the band"

    def __init__(self, weights: WhisperWeights, layers: int, mask: Tensor, windows: SpeechWindows) -> None:
        self._weights, self._mask, self._windows = weights, mask, windows
        self.notes: dict[str, Any] = {}
        self._teacher = BandLayers(weights, layers).requires_grad_(False)
        student = BandLayers(weights, layers)
        self.modules: Mapping[str, nn.Module] = {"student": student}
        self._parameters = list(student.parameters())
        self.optimizers = {"student": torch.optim.AdamW(self._parameters, weight_decay=0.0)}
        self._deviation = self._statistics()

    @torch.no_grad()
    def _rows(self, seed: int) -> Tensor:
        """[B, R, D] before the first layer."""
        return stem(self._weights, torch.from_numpy(self._windows.draw(BATCH, seed)))

    @torch.no_grad()
    def _statistics(self) -> Tensor:
        """[D] deviation of the teacher's rows around the mean of their places."""
        hidden = torch.cat(
            [self._teacher(self._rows(_STATISTICS_SEED + index)) for index in range(_STATISTICS_BATCHES)]
        )
        return (hidden - hidden.mean(0))[:, _CORE].std((0, 1))

    def _loss(self, seed: int) -> Tensor:
        """Mean squared difference of the features, each channel by its deviation."""
        rows = self._rows(seed)
        with torch.no_grad():
            wanted = self._teacher(rows)
        given = self.modules["student"](rows, self._mask)
        return ((given - wanted) / self._deviation)[:, _CORE].square().mean()

    def step(self, index: int, total: int, generator: torch.Generator) -> dict[str, float]:
        """One update; the loss before it."""
        loss = self._loss(int(torch.randint(1 << 40, (1,), generator=generator)))
        descend(self.optimizers["student"], loss, self._parameters, learning_rate(index, total, PEAK_RATE))
        return {"loss": float(loss.detach())}

    @torch.no_grad()
    def error(self) -> float:
        """The loss on other windows of the recordings than the updates saw."""
        return float(np.mean([float(self._loss(_TEST_SEED + index)) for index in range(_TEST_BATCHES)]))


def distil(
    weights: WhisperWeights,
    recordings: Sequence[Path],
    layers: int,
    past_rows: int,
    future_rows: int,
    work: Path,
    source: Sequence[str],
    *,
    steps: int,
    seed: int = 0,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> tuple[WhisperWeights, dict[str, Any]]:
    """Distil the first layers into ones that attend to a band only.

    Args:
        recordings: any speech; those of one folder are strung together.
        past_rows, future_rows: that a row attends to before and after itself, in every layer.
        work: folder of the checkpoints.
        source: what identifies the weights: a checkpoint of others is refused.
        resume: go on with an interrupted distillation.

    Returns:
        weights with other first layers; what the encoder's card says of it, with the errors before and after: mean
        squares over the features' variance, on other windows of the recordings.

    Raises:
        InputError: a distillation was begun in `work` and `resume` is false, or it was begun with other settings.
    """
    with training_folder(work, resume):
        windows = SpeechWindows(recordings, weights.bins, progress)
        place = torch.arange(WINDOW_ROWS)
        ahead = place[None] - place[:, None]
        task = DistillationTask(weights, layers, (ahead >= -past_rows) & (ahead <= future_rows), windows)
        before = task.error()
        settings = {
            "source": list(source),
            "layers": layers,
            "past": past_rows,
            "future": future_rows,
            "batch": BATCH,
            "rate": PEAK_RATE,
            "recordings": [file_digest(path) for path in recordings],
        }
        train(task, steps, work, settings=settings, seed=seed, resume=resume, progress=progress)
    student = task.modules["student"]
    assert isinstance(student, BandLayers)
    figures = {
        "before": before,
        "after": task.error(),
        "steps": steps,
        "seed": seed,
        "recordings": len(recordings),
    }
    return student.into(weights), figures
