"""Augmentation of a clip's speech: another voice, room, microphone and line, with the motion still in step.

Symbols: T samples at 16 kHz of the clip, T' = round(T / speed) samples of the augmented sound. What sounds at time t of
the clip sounds at t / speed of the augmented sound, within 10 ms: every delay is taken out again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from geneface.signal.sound import LEVEL_DB, cut, resample, speech_gain
from geneface.signal.timing import SAMPLES_PER_FRAME, whole_frames
from geneface.types import SPEECH_RATE_HZ, FloatArray

Noise = Literal["none", "white", "pink", "hum"]
Channel = Literal["none", "telephone", "mulaw", "amr", "opus", "mp3", "aac"]

_PIECE = 320
"""Samples that WSOLA moves as one: 20 ms, two periods of a man's voice."""
WARP_STEP = _PIECE // 2
"""Samples from piece to piece."""
_TOLERANCE = 96
"""Samples that a piece may lie off its place: 6 ms, so that any voice above 83 Hz finds a period to continue with."""
_WINDOW, _HOP = 512, 256
"""Samples under the window of spectra (32 ms), and between windows."""
_SINE = np.sin(np.pi * np.arange(_WINDOW) / _WINDOW)
_PEAK_BINS, _QUEFRENCIES = 2, 60
"""An envelope holds peaks for 62 Hz to both sides, then keeps the cepstrum below 3.75 ms."""
_CODEC_PADDING = 2048
"""Samples of silence after the sound: more than the delay of any codec here."""
_FFT_STEP = 4096
"""Fourier transforms of whole sounds have a multiple of this many samples: a prime number would be slow."""


@dataclass(frozen=True)
class Augmentation:
    """One recording situation; without arguments it changes nothing."""

    speed: float = 1.0
    """1.1: the new sound is 1.1 times faster, and so must be the motion (`frame_times`)."""
    pitch: float = 1.0
    formant: float = 1.0
    """Factors of the fundamental and of the formants (the vocal tract's length is divided by it)."""
    room_seconds: float = 0.0
    room_share: float = 0.0
    """Reverberation time RT60, and energy of the tail over that of the direct sound; one of them 0: no room."""
    noise: Noise = "none"
    snr_db: float = 30.0
    """Power of the speech (pauses don't count) over that of the noise."""
    tilt_db: float = 0.0
    """Slope of the microphone's response, dB an octave, about 1 kHz."""
    clip_share: float = 0.0
    """Share of the samples that are cut off at the top and the bottom."""
    level_db: float = 0.0
    """Change of level; less where the sound would leave [-1, 1]."""
    channel: Channel = "none"
    """telephone: its band alone; mulaw (landline) and amr (mobile): that band and the codec; the others: wideband."""
    bit_rate: int = 0
    """Bits per second of the codec; 0: the lowest that is drawn."""


class _Codec(NamedTuple):
    encoder: str
    rate_hz: int
    bit_rates: tuple[int, ...]
    options: dict[str, str]


_CODECS = {
    "mulaw": _Codec("pcm_mulaw", 8000, (64_000,), {}),
    "amr": _Codec("libopencore_amrnb", 8000, (4750, 7400, 12_200), {}),
    "opus": _Codec("libopus", 16_000, (8000, 16_000, 24_000), {"application": "voip", "compression_level": "0"}),
    "mp3": _Codec("libmp3lame", 16_000, (16_000, 24_000, 40_000), {"compression_level": "9"}),
    "aac": _Codec("aac", 16_000, (16_000, 24_000, 40_000), {"aac_coder": "twoloop"}),
}


@lru_cache(maxsize=1)
def channels() -> tuple[Channel, ...]:
    """Those that this build of PyAV has the encoder for, and the telephone's band."""
    missing = {name for name, codec in _CODECS.items() if codec.encoder not in av.codecs_available}
    return tuple(name for name in get_args(Channel)[1:] if name not in missing)


def draw_augmentation(rng: np.random.Generator) -> Augmentation:
    """Draw a recording situation for the voice of a man; one in eight is nearly clean.

    Women's fundamentals are 1.7 times those of men, their formants 1.17 times, hence the power of 0.3 (Peterson &
    Barney, "Control methods used in a study of the vowels", JASA 24, 1952).
    """

    def spread(low: float, high: float, share: float = 1.0, otherwise: float = 0.0) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if rng.random() < share else otherwise

    if rng.random() < 0.125:
        return Augmentation(speed=spread(0.97, 1.03), level_db=float(rng.uniform(-6.0, 0.0)))
    kind = rng.choice(5, p=(0.15, 0.17, 0.2, 0.18, 0.3))
    pitch = spread(*((1.0, 1.0), (0.7, 0.92), (0.92, 1.15), (1.15, 1.5), (1.5, 2.0))[kind])
    channel = channels()[rng.integers(len(channels()))] if rng.random() < 0.45 else "none"
    return Augmentation(
        speed=spread(0.8, 1.25, 0.6, 1.0),
        pitch=pitch,
        formant=float(np.clip(pitch**0.3 * np.exp(rng.normal(0.0, 0.05)), 0.85, 1.25)) if kind else 1.0,
        room_seconds=spread(0.15, 1.0, 0.45),
        room_share=spread(0.03, 0.8),
        # No background speech: a model trained on vowels with closed lips closes them on sung ones.
        noise=get_args(Noise)[rng.choice(4, p=(0.6, 0.12, 0.2, 0.08))],
        snr_db=float(rng.uniform(5.0, 35.0)),
        tilt_db=float(np.clip(rng.normal(0.0, 1.5), -4.0, 4.0)) if rng.random() < 0.6 else 0.0,
        clip_share=spread(0.0005, 0.01, 0.15),
        level_db=float(rng.uniform(-20.0, 6.0)),
        channel=channel,
        bit_rate=int(rng.choice(_CODECS[channel].bit_rates)) if channel in _CODECS else 0,
    )


def augment(samples: FloatArray, change: Augmentation, rng: np.random.Generator) -> FloatArray:
    """The clip's speech as if it had been recorded in another situation.

    Args:
        samples: [T] in [-1, 1] at 16 kHz.
        rng: for the room's echoes and the noise; the same state gives the same samples.

    Returns:
        [T'] finite, in [-1, 1]. A codec that this build of PyAV lacks is left out.
    """
    sound = np.clip(np.nan_to_num(np.asarray(samples, np.float32)), -1.0, 1.0)
    if not round(len(sound) / change.speed):
        return np.zeros(0, np.float32)
    sound = _with_voice(sound, change)
    if change.room_seconds > 0.0 and change.room_share > 0.0:
        sound = _in_room(sound, change.room_seconds, change.room_share, rng)
    if change.noise != "none":
        sound = _with_noise(sound, change.noise, change.snr_db, rng)
    if change.tilt_db:
        sound = _filtered(sound, lambda hz: 10.0 ** (change.tilt_db / 20.0 * np.log2(np.maximum(hz, 60.0) / 1000.0)))
    peak = float(np.quantile(np.abs(sound), 1.0 - change.clip_share))
    sound = np.clip(sound, -peak, peak) * np.float32(min(10.0 ** (change.level_db / 20.0), 1.0 / max(peak, 1e-12)))
    if change.channel in ("telephone", "mulaw", "amr"):
        sound = _filtered(sound, _telephone_gain)
    if change.channel in _CODECS and change.channel in channels():
        late = _codec_delay(change.channel, change.bit_rate)
        sound = cut(_round_trip(sound, change.channel, change.bit_rate), late, len(sound))
    return np.clip(sound, -1.0, 1.0).astype(np.float32)


def frame_times(frames: int, speed: float) -> FloatArray:
    """Which frame of the clip each frame of the augmented sound shows.

    Returns:
        [F'] fractional frames: f * speed, at most `frames` - 1. F' counts the frames that own 640 samples of the
        augmented sound; its samples beyond 640 F' are to be dropped.
    """
    shown = whole_frames(round(frames * SAMPLES_PER_FRAME / speed))
    return np.minimum(np.arange(shown) * speed, frames - 1).astype(np.float32)


def _with_voice(samples: FloatArray, change: Augmentation) -> FloatArray:
    """Change speed, pitch and formants: [T] -> [T'].

    Stretching by pitch / speed and then playing `pitch` times faster leaves the speed, and moves fundamental and
    formants alike; `_with_formants` puts the formants where they belong.
    """
    stretched = _stretched(samples, change.pitch / change.speed)
    sound = stretched if change.pitch == 1.0 else resample(stretched, SPEECH_RATE_HZ * change.pitch, SPEECH_RATE_HZ)
    sound = cut(sound, 0, round(len(samples) / change.speed))
    return sound if change.pitch == change.formant == 1.0 else _with_formants(sound, samples, change)


def _stretched(samples: FloatArray, factor: float) -> FloatArray:
    """[T] -> [T factor] at the same pitch."""
    if factor == 1.0:
        return samples
    length = max(1, round(len(samples) * factor))
    return warped(samples, np.arange(-(-length // WARP_STEP) + 2) * WARP_STEP / factor, length)


def warped(samples: FloatArray, places: NDArray[np.floating], length: int) -> FloatArray:
    """Play [T] in another time, at the same pitch -> [length].

    Verhelst & Roelands, "An overlap-add technique based on waveform similarity (WSOLA) for high quality time-scale
    modification of speech", ICASSP 1993. Each piece is the one most like what followed the piece before, among those
    within `_TOLERANCE` of its own place in the original: no error adds up.

    Args:
        places: the sample of the original that sounds at every `WARP_STEP`th one of the result and at two more behind
            it, never falling.
    """
    step, lags = WARP_STEP, 2 * _TOLERANCE + 1
    nominal = np.rint(places).astype(int) + _TOLERANCE
    padded = np.pad(samples, (step + _TOLERANCE, max(0, int(nominal[-1]) - len(samples)) + 3 * _PIECE))
    sums = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
    norms = np.sqrt(np.maximum(sums[_PIECE:] - sums[:-_PIECE], 0.0)).astype(np.float32) + np.float32(1e-6)
    # Half the likeness is given up rather than to lie off by the tolerance.
    pull = np.float32(0.5) * np.linspace(-1.0, 1.0, lags, dtype=np.float32) ** 2
    starts = nominal.copy()
    for index in range(1, len(nominal)):
        low, natural = nominal[index] - _TOLERANCE, starts[index - 1] + step
        likeness = np.correlate(padded[low : low + lags + _PIECE - 1], padded[natural : natural + _PIECE])
        starts[index] = low + (likeness / (norms[low : low + lags] * norms[natural]) - pull).argmax()
    pieces = padded[starts[:, None] + np.arange(_PIECE)] * np.hanning(_PIECE + 1)[:-1].astype(np.float32)
    # Pieces run on until they must jump, so most of them lie off to the same side.
    early = round(float(np.mean(starts - nominal)))
    return cut((pieces[:-1, step:] + pieces[1:, :step]).reshape(-1), -early, length)


def _with_formants(sound: FloatArray, samples: FloatArray, change: Augmentation) -> FloatArray:
    """Give `sound` [T'] the spectral envelopes of the clip [T], their frequencies warped by the factor of the formants.

    The warp is that of Jaitly & Hinton, "Vocal tract length perturbation (VTLP) improves speech recognition", ICML
    2013 workshop. Envelopes carry the loudness too, so this also mends what WSOLA blurred.
    """
    centres, bins = np.arange(-(-len(sound) // _HOP) + 1) * _HOP, np.arange(_WINDOW // 2 + 1)
    spectra, targets = _spectra(sound, centres), _spectra(samples, np.rint(centres * change.speed).astype(int))
    if change.pitch < 1.0:
        # The top that a lower pitch left empty is filled from below. By an even number of bins: then the phases of
        # the copy still turn by whole circles from hop to hop.
        empty = max(2, int(0.95 * change.pitch * len(bins)))
        shift = min(len(bins) - empty + 1, empty) // 2 * 2
        spectra = spectra[:, bins - shift * np.maximum(0, (bins - empty) // shift + 1)]
    # In VTLP, formants below 4.8 kHz move by the whole factor, and 8 kHz stays.
    knee = 4800.0 * min(change.formant, 1.0) * _WINDOW / SPEECH_RATE_HZ
    source = np.interp(bins, [0.0, knee, bins[-1]], [0.0, knee / change.formant, bins[-1]])
    floor = 1e-8 * max(float(np.abs(targets).max()) ** 2, 1e-20)
    gains = _envelopes(targets, source, floor) - _envelopes(spectra, bins, floor)
    pieces = np.fft.irfft(spectra * np.exp(np.clip(gains, -3.0, 3.0)), _WINDOW) * _SINE
    return (pieces[:-1, _HOP:] + pieces[1:, :_HOP]).reshape(-1)[: len(sound)].astype(np.float32)


def _spectra(samples: FloatArray, centres: NDArray[np.intp]) -> NDArray[np.complexfloating]:
    """[N, _WINDOW / 2 + 1] spectra around the centres [N]."""
    padded = cut(samples, -_WINDOW // 2, int(centres[-1]) + _WINDOW)
    return np.fft.rfft(padded[centres[:, None] + np.arange(_WINDOW)] * _SINE)


def _envelopes(spectra: NDArray[np.complexfloating], bins: NDArray[Any], floor: float) -> FloatArray:
    """[N, len(bins)] natural logarithms of the spectra's envelopes at fractional bins; `floor` is a power.

    The cepstrum (Oppenheim & Schafer, "Homomorphic analysis of speech", 1968), but of the peaks, as Paul does ("The
    spectral envelope estimation vocoder", 1981): that of the spectrum sinks between the harmonics of a high pitch.
    """
    order, own = np.arange(_QUEFRENCIES), np.arange(spectra.shape[1])
    logs = 0.5 * np.log((spectra.real**2 + spectra.imag**2).astype(np.float32) + np.float32(floor))
    padded = np.pad(logs, ((0, 0), (_PEAK_BINS, _PEAK_BINS)), mode="edge")
    peaks = np.max([padded[:, first : first + len(own)] for first in range(2 * _PEAK_BINS + 1)], axis=0)
    forth = np.cos(2.0 * np.pi / _WINDOW * np.outer(own, order))
    forth[1:-1] *= 2.0  # stands for the bins beyond Nyquist
    keep = np.where(order, 1.0 - np.cos(np.pi * np.minimum(2.5 - 2.5 * order / len(order), 1.0)), 1.0) / _WINDOW
    back = keep[:, None] * np.cos(2.0 * np.pi / _WINDOW * np.outer(order, bins))
    # Not "@", see `log_mel`.
    cepstra = np.einsum("nf,fc->nc", peaks, forth.astype(np.float32))
    return np.einsum("nc,cb->nb", cepstra, back.astype(np.float32))


def _in_room(sound: FloatArray, seconds: float, share: float, rng: np.random.Generator) -> FloatArray:
    """Add echoes: noise that dies down by 60 dB in `seconds` (Moorer, "About this reverberation business", 1979)."""
    times = np.arange(1, max(2, round(seconds * SPEECH_RATE_HZ))) / SPEECH_RATE_HZ
    tail = rng.standard_normal(len(times)) * 10.0 ** (-3.0 * times / seconds)
    tail *= rng.random(len(times)) < times / 0.02  # the first echoes are few
    size = _FFT_STEP * -(-(len(sound) + len(times) + 1) // _FFT_STEP)
    response = np.fft.rfft(np.append(0.0, tail), size)
    response /= 1.0 + 1j * np.fft.rfftfreq(size, 1.0 / SPEECH_RATE_HZ) / 3000.0
    # Parseval: the mean power of the response is the energy of the tail.
    response *= np.sqrt(share / max(float(np.mean(np.abs(response) ** 2)), 1e-12))
    return np.fft.irfft(np.fft.rfft(sound, size) * (1.0 + response), size)[: len(sound)].astype(np.float32)


def _with_noise(sound: FloatArray, kind: Noise, snr_db: float, rng: np.random.Generator) -> FloatArray:
    """[T'] with noise; silence counts as speech at `LEVEL_DB`."""
    if kind == "hum":
        # Both 50 and 60 Hz fit a whole number of times into a tenth of a second.
        orders, mains_hz = np.arange(1, 13)[:, None], rng.choice((50, 60))
        turns = orders * mains_hz * np.arange(SPEECH_RATE_HZ // 10) / SPEECH_RATE_HZ + rng.random((12, 1))
        noise = np.resize(np.sum(rng.exponential(1.0 / orders) * np.sin(2.0 * np.pi * turns), axis=0), len(sound))
    else:
        white = rng.standard_normal(len(sound), np.float32)
        noise = white if kind == "white" else _filtered(white, lambda hz: 1.0 / np.sqrt(np.maximum(hz, 40.0)))
    peak = float(np.abs(sound).max())
    # At a peak of 1, because `speech_gain` has a limit.
    amplitude = peak / speech_gain(sound / np.float32(peak)) if peak > 0.0 else 1.0
    rms = max(float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))), 1e-12)
    return sound + (amplitude * 10.0 ** ((LEVEL_DB - snr_db) / 20.0) / rms * noise).astype(np.float32)


def _telephone_gain(hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The band of a telephone, 300 to 3400 Hz (ITU-T G.712)."""
    passing = np.minimum(np.clip((hz - 150.0) / 150.0, 0.0, 1.0), np.clip((3900.0 - hz) / 500.0, 0.0, 1.0))
    return np.square(np.sin(0.5 * np.pi * passing))


def _filtered(sound: FloatArray, gain: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> FloatArray:
    """[T'] filtered without delay by the gain at frequencies in Hz."""
    # The silence keeps the end from ringing into the beginning.
    size = _FFT_STEP * -(-(len(sound) + SPEECH_RATE_HZ // 4) // _FFT_STEP)
    spectrum = np.fft.rfft(sound, size) * gain(np.fft.rfftfreq(size, 1.0 / SPEECH_RATE_HZ))
    return np.fft.irfft(spectrum, size)[: len(sound)].astype(np.float32)


def _round_trip(sound: FloatArray, name: str, bit_rate: int) -> FloatArray:
    """[T'] encoded and decoded again, late by the codec's delay, with about `_CODEC_PADDING` samples behind."""
    codec = _CODECS[name]
    padded = resample(np.pad(sound, (0, _CODEC_PADDING)), SPEECH_RATE_HZ, codec.rate_hz)
    frame = AudioFrame.from_ndarray(padded[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = codec.rate_hz, 0, Fraction(1, codec.rate_hz)
    encoder: Any = av.CodecContext.create(codec.encoder, "w")
    decoder: Any = av.CodecContext.create(encoder.codec.canonical_name, "r")
    for side in (encoder, decoder):
        side.sample_rate, side.layout, side.thread_count = codec.rate_hz, "mono", 1
    encoder.format, encoder.time_base, encoder.options = encoder.codec.audio_formats[0], frame.time_base, codec.options
    encoder.bit_rate = bit_rate or codec.bit_rates[0]
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder.extradata = encoder.extradata
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    decoded = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    decoded = decoded / np.float32(32768.0) if decoded.dtype == np.int16 else np.nan_to_num(decoded)
    return resample(decoded, frames[0].sample_rate, SPEECH_RATE_HZ)


@lru_cache(maxsize=64)
def _codec_delay(name: str, bit_rate: int) -> int:
    """Samples by which a codec is late. Measured: some decoders take out what their encoder states, others do not."""
    noise = np.random.default_rng(0).standard_normal(SPEECH_RATE_HZ // 2, np.float32)
    probe = _filtered(0.2 * noise, _telephone_gain)
    decoded = np.pad(_round_trip(probe, name, bit_rate), (_CODEC_PADDING, 0))
    return int(np.argmax(np.correlate(decoded, probe))) - _CODEC_PADDING
