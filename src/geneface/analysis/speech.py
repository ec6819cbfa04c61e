"""Speech to features: the entry point, `load_encoder`.

Symbols: T samples at 16 kHz, F video frames at 25 Hz, 2F rows at 50 Hz, D feature width.
Row i describes the 20 ms that start at i / 50 s. Every encoder brings the sound to one level first
(`signal.sound.speech_gain`), so a quiet recording gives the features of a loud one. One call sees the whole sound and
is a pure function of it: equal samples give equal rows, whatever ran before.

| name | D | needs |
|---|---|---|
| whisper-2-streaming | 512 | nothing: shipped with the package |
| whisper-4-window | 1024 | nothing: shipped, for recorded speech |
| mel | 80 | nothing |
| whisper, whisper-N | 512 (base) | weights by path (all layers, the first N), and the extra `[train]` |
| hubert | 1024 (large) | weights by path, and the extra `[hubert]` |
| streaming | 512 (of base) | weights by path: what `training.speech.export` made of another Whisper |

Encoders by path record the digest of their weights in their name (`analysis.encoder_weights`). "whisper", "hubert"
and whatever is called window hear 6 s at once, so they can't hear live speech.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from geneface.analysis.encoder_weights import find_weights, is_by_path
from geneface.analysis.mel import HOP, WINDOW, log_mel
from geneface.analysis.whisper_run import EncoderState, PieceRunner
from geneface.analysis.windows import (
    CONTEXT_ROWS,
    CORE_ROWS,
    EDGE_ROWS,
    LOOK_AHEAD_SECONDS,
    SILENT_ROWS,
    WINDOW_ROWS,
    Windowed,
    feature_rows,
)
from geneface.errors import InputError
from geneface.io.assets import asset_path
from geneface.io.records import read_json
from geneface.io.session import open_session
from geneface.io.tensors import load_tensors
from geneface.signal.sound import cut, levelled, speech_gain
from geneface.types import FEATURE_RATE_HZ, SPEECH_RATE_HZ, FloatArray, SpeechFeatures

DEFAULT_ENCODER = "whisper-2-streaming"
RECORDED_ENCODER = "whisper-4-window"
"""Hears a window of 6 s at once, and so what follows a sound: for recorded speech."""
_SHIPPED = {DEFAULT_ENCODER: "whisper_base_2.onnx", RECORDED_ENCODER: "whisper_base_4.onnx"}
ENCODERS = (DEFAULT_ENCODER, "mel", "whisper", "hubert", "streaming")

_MEL_ROWS = 2  # spectrogram rows of 10 ms in a feature row
_MARGIN_ROWS = 2  # a spectrogram row hears 25 ms, which reach beyond its own 10 ms


class SpeechEncoder(Protocol):
    """Turns sound into feature rows at 50 Hz."""

    @property
    def name(self) -> str:
        """Recorded in `SpeechFeatures.encoder`; models refuse the features of another encoder."""
        ...

    @property
    def width(self) -> int:
        """D, features a row."""
        ...

    @property
    def look_ahead_seconds(self) -> float:
        """Sound after a row that its features may depend on, at most; infinity if all of it."""
        ...

    def encode(self, samples: FloatArray, frames: int | None = None) -> SpeechFeatures:
        """[T] samples to 2 * frames rows; the sound is cut or continued with silence to fit.

        Args:
            frames: by default as many as the sound lasts, the last one begun included.
        """
        ...

    def blocks(self, samples: FloatArray) -> Iterator[SpeechFeatures]:
        """The rows of `encode` in consecutive pieces, made as they are asked for where the encoder allows it."""
        ...


@runtime_checkable
class StreamingEncoder(SpeechEncoder, Protocol):
    """An encoder whose rows hear a bounded span of sound, so that live speech can have them (`analysis.live`).

    What it sees is a levelled spectrogram of `bins` mel bands, two rows of 10 ms to a feature row.
    """

    @property
    def bins(self) -> int:
        """Mel bins of the spectrogram that it takes."""
        ...

    @property
    def past_rows(self) -> int:
        """Rows before a row that its features may depend on, as far as they are in its window."""
        ...

    @property
    def future_rows(self) -> int:
        """Rows after it."""
        ...

    @property
    def start(self) -> EncoderState:
        """A window of which nothing was heard."""
        ...

    @property
    def silence(self) -> EncoderState:
        """A window that heard silence: the `SILENT_ROWS` before the first row that hears the beginning of a sound."""
        ...

    def go_on(self, mel: FloatArray, state: EncoderState) -> tuple[FloatArray, EncoderState]:
        """A window's next rows, with what the encoder kept of those before.

        Args:
            mel: [2 (r + e), bins] levelled spectrogram of r rows, and of `EDGE_ROWS` after them and, unless they are
                the window's first, as many before. The first r is more than `future_rows`.

        Returns:
            features [R, D] of the rows whose future has come; what the next piece needs.
        """
        ...


def load_encoder(name: str = DEFAULT_ENCODER, path: Path | str | None = None) -> SpeechEncoder:
    """The encoder called `name`.

    Args:
        name: one of `ENCODERS`, "whisper-N", or the name that an encoder gave itself ("hubert:7b8c90ad12ef"), as
            portraits and models record it: the weights must then be those.
        path: the weights of "whisper", "hubert" and "streaming" (`encoder_weights.find_weights`).

    Raises:
        InputError: an unknown name, missing or other weights, or weights for an encoder that has its own.
        MissingExtraError: a package is not installed.
    """
    _refuse(name, path)
    if is_shipped(name):
        return open_graph(asset_path("speech", _SHIPPED[name]), name) if name in _SHIPPED else MelEncoder()
    found = find_weights(name, path)
    if found.kind == "hubert":
        from geneface.analysis.hubert import HubertEncoder

        return HubertEncoder(found)
    if found.kind == "streaming":
        return open_graph(found.files[0], found.name)
    from geneface.analysis.whisper import WhisperEncoder

    return WhisperEncoder(found)


def encoder_name(name: str, path: Path | str | None = None) -> str:
    """What the encoder of `load_encoder` will call itself; the weights are read, and not loaded.

    Raises:
        InputError: as `load_encoder`.
    """
    _refuse(name, path)
    return name if is_shipped(name) else find_weights(name, path).name


def is_shipped(name: str) -> bool:
    """Whether the encoder called `name` needs no weights of the user's."""
    return name in (*_SHIPPED, "mel")


def _refuse(name: str, path: Path | str | None) -> None:
    """What needs no look at the weights."""
    if is_shipped(name):
        if path is not None:
            raise InputError(
                f"weights were given ({path}) for the speech encoder {name}, which is part of this package",
                "leave out --encoder-path (in Python: encoder_path=), or choose an --encoder that takes them",
            )
    elif not is_by_path(name):
        raise InputError(f"there is no speech encoder {name!r}", f"choose one of {', '.join(ENCODERS)}, whisper-N")


def open_graph(graph: Path, name: str) -> WindowEncoder:
    """A graph as `training.speech.export` writes it; one that hears its whole window does not stream."""
    is_whole = sum(read_json(graph.with_suffix(".json"))["future_rows"]) >= WINDOW_ROWS
    return (WindowEncoder if is_whole else ShippedEncoder)(graph, name)


class WindowEncoder(Windowed):
    """The first transformer layers of Whisper-base, multilingual, in onnxruntime on one thread; or others like it.

    Features are the rows after the second layer and, of more layers, after the last. The residual stream also carries
    each row's place in the window, as large as the speech in many channels. The graph only ever sees windows of one
    length, and the mean over speech of each place is taken away, so that a sound gives nearly the same features
    wherever it stands in a recording. Deviations are divided out: features are of order one.
    """

    def __init__(self, graph: Path, name: str) -> None:
        """Load `graph`, with statistics and card."""
        self.name = name
        card = read_json(graph.with_suffix(".json"))
        statistics = load_tensors(graph.with_suffix(".safetensors"))
        self.width = int(card["width"])
        self.bins = int(card["bins"])
        self.past_rows = int(card["past_rows"]) * int(card["layers"])
        """Rows before a row that its features may depend on, as far as they are in its window."""
        self.future_rows = sum(card["future_rows"])
        """Rows after it."""
        self._mean = statistics["mean"].astype(np.float32)
        self._scale = 1.0 / statistics["deviation"].astype(np.float32)
        # One thread: a hundred times real time is enough.
        session = open_session(graph, threads=1)
        layer_width = int(card.get("layer_width", self.width))
        self._pieces = PieceRunner(session, layer_width, int(card["past_rows"]), card["future_rows"])

    @property
    def look_ahead_seconds(self) -> float:
        """As `SpeechEncoder` says: the attention's rows, or those to the window's end, and half a spectrogram's."""
        ahead = self.future_rows / FEATURE_RATE_HZ
        return min(ahead, LOOK_AHEAD_SECONDS) + (WINDOW // 2) / SPEECH_RATE_HZ

    def _window_of(self, samples: FloatArray, rows: int) -> Callable[[int], FloatArray]:
        gain = speech_gain(samples)
        return lambda first_row: self._window(samples, gain, first_row, rows)

    def _window(self, samples: FloatArray, gain: float, first_row: int, end_row: int) -> FloatArray:
        """Features [*, D] of the rows from `first_row` on: those of its core that are before `end_row`, and context.

        Of the window's end only what the core hears is computed.
        """
        core = min(CORE_ROWS, end_row - first_row - CONTEXT_ROWS)
        needed = min(CONTEXT_ROWS + core + self.future_rows + EDGE_ROWS, WINDOW_ROWS)
        first, rows = _MEL_ROWS * first_row, _MEL_ROWS * needed
        # Only this piece is brought to the reference level: a second copy of an hour of sound would not stay small.
        piece = cut(samples, (first - _MARGIN_ROWS) * HOP, (rows + 2 * _MARGIN_ROWS) * HOP) * np.float32(gain)
        return self.at_once(log_mel(piece, _MARGIN_ROWS, rows, self.bins))

    def at_once(self, mel: FloatArray) -> FloatArray:
        """Features [R, D] of the first rows of a window, of their levelled spectrogram [2R, B]."""
        return self._normalised(self._pieces.at_once(mel), 0)

    def _normalised(self, hidden: FloatArray, place: int) -> FloatArray:
        """`place`: of the first row in its window."""
        return (hidden - self._mean[place : place + len(hidden)]) * self._scale


class ShippedEncoder(WindowEncoder):
    """One whose rows attend to their neighbours only, a second back in each layer and 40 ms ahead in the first two.

    So live speech (`analysis.live`) has the features that a recording of it has.
    """

    def __init__(self, graph: Path | None = None, name: str = DEFAULT_ENCODER) -> None:
        """Load `graph`, or the shipped one."""
        super().__init__(graph or asset_path("speech", _SHIPPED[name]), name)
        self.start = self._pieces.start
        """As `StreamingEncoder` says."""
        self._silence: EncoderState | None = None

    @property
    def silence(self) -> EncoderState:
        """As `StreamingEncoder` says."""
        if self._silence is None:
            nothing = log_mel(np.zeros(0, np.float32), 0, _MEL_ROWS * (SILENT_ROWS + EDGE_ROWS), self.bins)
            self._silence = self.go_on(nothing, self.start)[1]
        return self._silence

    def go_on(self, mel: FloatArray, state: EncoderState) -> tuple[FloatArray, EncoderState]:
        """As `StreamingEncoder` says."""
        hidden, following = self._pieces.run(mel, state)
        return self._normalised(hidden, max(state.rows - self.future_rows, 0)), following


class MelEncoder:
    """Log-mel energies, 80 bins: the comparison.

    Normalised over the utterance: each bin has mean zero over the rows of the sound, all bins share one
    deviation of one (a bin's own would amplify the noise of empty ones).
    """

    name = "mel"
    width = 80
    look_ahead_seconds = float("inf")

    def encode(self, samples: FloatArray, frames: int | None = None) -> SpeechFeatures:
        """As `SpeechEncoder` says."""
        sound, rows = levelled(samples), feature_rows(samples, frames)
        # The mean of the two 10 ms rows of a feature row, as soon as they exist: memory stays small.
        values = np.empty((rows, self.width), np.float32)
        for start in range(0, rows, WINDOW_ROWS):
            count = min(WINDOW_ROWS, rows - start)
            fine = log_mel(sound, _MEL_ROWS * start, _MEL_ROWS * count, self.width)
            values[start : start + count] = fine.reshape(count, _MEL_ROWS, self.width).mean(axis=1)
        if rows:
            values -= values.mean(axis=0)
            values /= max(float(values.std()), 1e-3)
        return SpeechFeatures(values, self.name)

    def blocks(self, samples: FloatArray) -> Iterator[SpeechFeatures]:
        """All rows in one piece: they are normalised together."""
        yield self.encode(samples)
