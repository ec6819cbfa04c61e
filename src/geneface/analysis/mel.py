"""Log-mel spectrogram as Whisper defines it, made safe for windows and streams.

Symbols: T samples at 16 kHz, M spectrogram rows at 100 Hz (row t is centred on sample 160 t), B mel bins.

Two things differ from Whisper's own front end, so that a row depends only on the sound around it:
- Whisper clamps every utterance to 8 decades below its own loudest bin. Here the clamp is a constant,
  `FLOOR`, because sound is first brought to one level (`signal.sound.speech_gain`), where the loudest bin of speech is
  known.
- Beyond both ends of the sound there is silence, not its mirror image.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geneface.signal.sound import cut
from geneface.types import SPEECH_RATE_HZ, FloatArray

MEL_RATE_HZ = 100
HOP = SPEECH_RATE_HZ // MEL_RATE_HZ
"""Samples between rows."""
WINDOW = 400
"""Samples under the Hann window: 25 ms, also the length of the Fourier transform."""

FLOOR = -6.5
"""Smallest log10 mel power: 8 decades below the loudest bin of speech at `LEVEL_DB` (about +1.5)."""

_BLOCK_ROWS = 1024


@lru_cache(maxsize=4)
def mel_filters(bins: int = 80) -> FloatArray:
    """Triangular filters on Slaney's mel scale with unit area (librosa's `filters.mel`), 0 to 8 kHz.

    Returns:
        [bins, WINDOW / 2 + 1] weights of the power spectrum.
    """
    # Slaney 1998: linear below 1 kHz (15 mels), logarithmic above, 27 mels a factor of 6.4.
    top_mel = 15.0 + 27.0 * np.log(SPEECH_RATE_HZ / 2 / 1000.0) / np.log(6.4)
    mels = np.linspace(0.0, top_mel, bins + 2)
    edges_hz = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * 6.4 ** ((mels - 15.0) / 27.0))
    spectrum_hz = np.linspace(0.0, SPEECH_RATE_HZ / 2, WINDOW // 2 + 1)
    lower, centre, upper = (edges_hz[k : bins + k, None] for k in range(3))
    rising = (spectrum_hz - lower) / (centre - lower)
    falling = (upper - spectrum_hz) / (upper - centre)
    return (np.maximum(0.0, np.minimum(rising, falling)) * 2.0 / (upper - lower)).astype(np.float32)


@lru_cache(maxsize=4)
def _constants(bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hann window, periodic [WINDOW], and filters [WINDOW / 2 + 1, bins], in double precision."""
    return np.hanning(WINDOW + 1)[:-1], mel_filters(bins).T.astype(np.float64)


def log_mel(samples: FloatArray, first_row: int, rows: int, bins: int = 80) -> FloatArray:
    """Rows [first_row, first_row + rows) of the log-mel spectrogram, scaled as Whisper's encoder expects it.

    Args:
        samples: [T] in [-1, 1]; before and after them is silence.
        first_row: may be negative.

    Returns:
        [rows, bins]: (max(log10 power, FLOOR) + 4) / 4.
    """
    window, filters = _constants(bins)
    result = np.empty((rows, bins), np.float32)
    # In blocks: the spectra of a long sound would take ten times its own memory.
    for start in range(0, rows, _BLOCK_ROWS):
        count = min(_BLOCK_ROWS, rows - start)
        begin = (first_row + start) * HOP - WINDOW // 2
        block = cut(samples, begin, (count - 1) * HOP + WINDOW).astype(np.float64)
        pieces = np.lib.stride_tricks.sliding_window_view(block, WINDOW)[::HOP]
        power = np.abs(np.fft.rfft(pieces * window, axis=-1)) ** 2
        # Not "@": BLAS's helper threads spin for a tenth of a second after each product, and others need them.
        log_power = np.log10(np.maximum(np.einsum("rf,fb->rb", power, filters), 10.0**FLOOR))
        result[start : start + count] = (log_power + 4.0) / 4.0
    return result
