"""What the graph of the default speech encoder takes and gives: a window at once, or one piece after the other.

Symbols: M spectrogram rows at 100 Hz, R rows at 50 Hz, B mel bins, D width of a layer, L layers.
`training.speech.graph` builds it.

| input | shape | |
|---|---|---|
| mel | [M, B] | |
| first | [1] | place in its window of mel's first row |
| edges | [2] | rows at its start and end that the padding of the convolutions spoils, and that are dropped |
| held | [L] | rows that wait in each layer until those that they look ahead to have come |
| rows.l, keys.l, values.l | [*, D] | of layer l: rows that wait; keys and values of the rows before mel's |

`hidden` [R, O D] is the residual stream after O of the layers, the last among them; next.rows.l, next.keys.l and
next.values.l are what came in, continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.windows import EDGE_ROWS
from geneface.types import FloatArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def memory_names(layer: int) -> tuple[str, str, str]:
    """Inputs of a layer that say what was before."""
    return f"rows.{layer}", f"keys.{layer}", f"values.{layer}"


def plan_inputs(layers: int) -> dict[str, int]:
    """Inputs that are whole numbers, and how many each is."""
    return {"first": 1, "edges": 2, "held": layers}


def next_name(name: str) -> str:
    """The output that is the input `name` of the next piece."""
    return f"next.{name}"


def nothing_before(layers: int, width: int) -> dict[str, NDArray]:
    """Inputs besides `mel` of a window that is computed at once: nothing came before, and nothing waits."""
    empty = np.zeros((0, width), np.float32)
    memory = {name: empty for layer in range(layers) for name in memory_names(layer)}
    return {
        "first": np.zeros(1, np.int64),
        "edges": np.zeros(2, np.int64),
        "held": np.zeros(layers, np.int64),
        **memory,
    }


@dataclass(frozen=True)
class EncoderState:
    """What a window's next piece needs of those before. Nothing in it is ever written to: pieces may share it."""

    rows: int
    """Rows of the window that were heard."""
    memory: dict[str, NDArray]
    """By the graph's inputs."""


class PieceRunner:
    """Runs the graph on the rows of a window, piece after piece."""

    def __init__(self, session: InferenceSession, width: int, past_rows: int, future_rows: Sequence[int]) -> None:
        """`width`: D; `past_rows`: that a row attends to in every layer; `future_rows`: by layer."""
        self._session = session
        self._nothing = nothing_before(len(future_rows), width)
        self._held = np.array(future_rows, np.int64)
        self._kept: dict[str, int] = {}
        for layer, held in enumerate(future_rows):
            self._kept |= dict(zip(memory_names(layer), (held, past_rows + held, past_rows + held), strict=True))
        self._outputs = ["hidden", *map(next_name, self._kept)]
        self.start = EncoderState(0, {name: self._nothing[name] for name in self._kept})
        """A window of which nothing was heard."""

    def run(self, mel: FloatArray, state: EncoderState) -> tuple[FloatArray, EncoderState]:
        """The window's next rows.

        Args:
            mel: [2 (r + e), B] spectrogram of the next r rows, and of `EDGE_ROWS` after them and, unless they are the
                window's first, as many before them.

        Returns:
            `hidden` [R, O D] of the rows whose future has come; what comes next.
        """
        before = EDGE_ROWS if state.rows else 0
        inputs = {
            "mel": mel,
            "first": np.array([state.rows - before], np.int64),
            "edges": np.array([before, EDGE_ROWS], np.int64),
            "held": self._held,
            **state.memory,
        }
        hidden, *memory = (np.asarray(value) for value in self._session.run(self._outputs, inputs))
        kept = {
            name: value[max(len(value) - count, 0) :]
            for (name, count), value in zip(self._kept.items(), memory, strict=True)
        }
        return hidden, EncoderState(state.rows + len(mel) // 2 - before - EDGE_ROWS, kept)

    def at_once(self, mel: FloatArray) -> FloatArray:
        """`hidden` [R, O D] of a window's [2 R, B] rows; more of them may follow, unheard."""
        return np.asarray(self._session.run(["hidden"], {**self._nothing, "mel": mel})[0], np.float32)
