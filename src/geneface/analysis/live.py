"""Speech features of live sound: an encoder that streams, fed piece by piece.

T samples at 16 kHz, R feature rows at 50 Hz, D feature width. What comes out is a function of the sound alone: pieces
of any lengths give the rows of the whole sound in one piece (to rounding, 1e-5). They differ from those of a recording
(its `encode`) in one thing: the level. A recording is brought to the reference level as a whole;
live sound by what was heard until then (`LevelFollower`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geneface.analysis.mel import HOP, WINDOW, log_mel
from geneface.analysis.speech import StreamingEncoder
from geneface.analysis.windows import CONTEXT_ROWS, CORE_ROWS, EDGE_ROWS
from geneface.signal.sound import cut, gain_of, percentile
from geneface.signal.timing import ROWS_PER_FRAME, SAMPLES_PER_ROW, frames_to_cover
from geneface.types import FloatArray

_MEMORY_BLOCKS = 15 * 50
"""The level is that of the last 15 s of speech, in blocks of 20 ms."""
_OVER_NOISE = 10.0
"""Speech has this many times the power of the noise: of what one block in five of the last 15 s does not exceed."""
_NOISE_PERCENTILE = 20
_HANGOVER_BLOCKS = 10
"""So long after speech the weaker sounds count as speech too: 0.2 s."""
_SILENCE = 1e-7
"""Mean square of a block, -70 dB of full scale, below which nothing is heard."""
_PREPARED_ROWS = 10
"""As many rows of a window's context are heard at once, at least, before the window begins."""
_STEM_SAMPLES = 2 * HOP + WINDOW // 2
"""Sound after a row's first sample that its convolutions hear."""


class _Recent:
    """The last `_MEMORY_BLOCKS` powers, in no order."""

    def __init__(self) -> None:
        self._ring = np.empty(_MEMORY_BLOCKS)
        self._count = 0

    @property
    def values(self) -> NDArray[np.float64]:
        """[*]."""
        return self._ring[: min(self._count, _MEMORY_BLOCKS)]

    def append(self, power: float) -> None:
        self._ring[self._count % _MEMORY_BLOCKS] = power
        self._count += 1


class LevelFollower:
    """Brings sound to the reference level while it is heard, block by block of 20 ms.

    Silence and steady noise hold the gain that the speech before them had. Only until some speech was heard, what
    else is heard is brought to the reference level.
    """

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._recent = _Recent()
        """Powers of all blocks that were not silent."""
        self._speech = _Recent()
        """Powers of those that were speech."""
        self._since_speech = _HANGOVER_BLOCKS
        self._gain = 1.0

    def restart(self) -> None:
        """Begin another sound of the same speaker."""
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: FloatArray) -> FloatArray:
        """[T] -> levelled [T'], whole blocks; the rest waits for more."""
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // SAMPLES_PER_ROW
        blocks = samples[: count * SAMPLES_PER_ROW].reshape(count, SAMPLES_PER_ROW)
        self._rest = samples[count * SAMPLES_PER_ROW :]
        levelled = [block * self._ramp(float(np.mean(np.square(block, dtype=np.float64)))) for block in blocks]
        return np.concatenate(levelled) if levelled else np.zeros(0, np.float32)

    def _ramp(self, power: float) -> FloatArray:
        """Gain of each sample of a block: no steps."""
        before = self._gain
        if power > _SILENCE:
            is_first = not len(self._recent.values)
            self._recent.append(power)
            is_loud = power > _OVER_NOISE * percentile(self._recent.values, _NOISE_PERCENTILE)
            self._since_speech = 0 if is_loud else self._since_speech + 1
            if self._since_speech < _HANGOVER_BLOCKS:
                self._speech.append(power)
            self._gain = gain_of(self._speech.values if len(self._speech.values) else self._recent.values)
            # The first sound that is heard sets the level at once: until then there was silence to be amplified.
            before = self._gain if is_first else before
        return np.linspace(before, self._gain, SAMPLES_PER_ROW, dtype=np.float32)


class LiveSpeech:
    """Feature rows of sound that comes in pieces."""

    def __init__(self, encoder: StreamingEncoder, level: LevelFollower | None = None) -> None:
        """`level`: what was heard of the speaker's level before."""
        self._encoder = encoder
        self._level = level or LevelFollower()
        self._level.restart()
        self._sound = np.zeros(0, np.float32)
        self._sound_start = 0
        self._received = 0
        self._row = 0
        self._windows = {0: encoder.silence}
        """The window that is being heard and, towards its end, the next one: its context is heard beforehand."""

    @property
    def look_ahead_seconds(self) -> float:
        """Sound after a row that must have come before the row can."""
        return self._encoder.look_ahead_seconds

    def push(self, samples: FloatArray) -> FloatArray:
        """Sound [T] -> the rows [R, D] that it completes, two for each video frame."""
        self._received += len(samples)
        self._sound = np.concatenate([self._sound, self._level.push(samples)])
        heard = self._sound_start + len(self._sound)
        ready = (heard - _STEM_SAMPLES) // SAMPLES_PER_ROW + 1 - self._encoder.future_rows
        return self._rows_to(ready - ready % ROWS_PER_FRAME)

    def finish(self) -> FloatArray:
        """The rows that were still waiting; after the sound there is silence."""
        last = frames_to_cover(self._received) * ROWS_PER_FRAME
        silence = (last + self._encoder.future_rows + 2) * SAMPLES_PER_ROW - self._received
        self._sound = np.concatenate([self._sound, self._level.push(np.zeros(silence, np.float32))])
        return self._rows_to(last)

    def _rows_to(self, end: int) -> FloatArray:
        """Rows from where we are to `end`, which have been heard, window by window as for a recording."""
        pieces = []
        while self._row < end:
            window = self._row // CORE_ROWS
            stop = min(end, (window + 1) * CORE_ROWS)
            # Of a window that begins here the context comes with its first rows.
            pieces.append(self._hear(window, stop + self._encoder.future_rows)[-(stop - self._row) :])
            self._row = stop
            if stop == (window + 1) * CORE_ROWS:
                del self._windows[window]
            self._forget()
        if pieces:
            self._prepare()
        return np.concatenate(pieces) if pieces else np.zeros((0, self._encoder.width), np.float32)

    def _prepare(self) -> None:
        """Hear the context of the next window, a little at a time: no frame waits for all of it."""
        window = self._row // CORE_ROWS + 1
        heard = window * CORE_ROWS - CONTEXT_ROWS + self._windows.get(window, self._encoder.start).rows
        if self._row + self._encoder.future_rows - heard >= _PREPARED_ROWS:
            self._hear(window, self._row + self._encoder.future_rows)

    def _hear(self, window: int, stop: int) -> FloatArray:
        """A window hears on to row `stop`: features of its rows whose future has come by that."""
        state = self._windows.get(window, self._encoder.start)
        start = window * CORE_ROWS - CONTEXT_ROWS + state.rows
        first = start - (EDGE_ROWS if state.rows else 0)
        rows = stop + EDGE_ROWS - first
        margin = WINDOW // HOP
        begin = (2 * first - margin) * HOP - self._sound_start
        # Of the last row only its place is needed: what has not been heard of it may be anything.
        piece = cut(self._sound, begin, 2 * (rows + margin) * HOP)
        values, self._windows[window] = self._encoder.go_on(log_mel(piece, margin, 2 * rows, self._encoder.bins), state)
        return values

    def _forget(self) -> None:
        """Throw away sound that no later row hears."""
        rows = CONTEXT_ROWS + EDGE_ROWS + 2
        start = max((self._row - rows) * SAMPLES_PER_ROW, self._sound_start)
        self._sound = self._sound[start - self._sound_start :]
        self._sound_start = start
