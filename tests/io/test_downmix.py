"""Channels to one or two: against libswresample's own matrices, and sums that cancel."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.audio.resampler import AudioResampler

from geneface.io.downmix import Balance, standard_gains

RATE = 16_000


def names_of(layout: str) -> tuple[str, ...]:
    return tuple(channel.name for channel in av.AudioLayout(layout).channels)


def libswresample(layout: str, out: str) -> np.ndarray:
    """[C, K] gains, measured: channel i alone sounds during stretch i."""
    count = av.AudioLayout(layout).nb_channels
    samples = np.repeat(np.eye(count, dtype=np.float32), 64, axis=0)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = RATE
    mixed = AudioResampler(format="flt", layout=out, rate=RATE).resample(frame)[0].to_ndarray()
    return mixed.reshape(64 * count, -1)[32::64]


@pytest.mark.parametrize("layout", ["3.0", "5.0", "5.1", "5.1(side)", "7.0", "7.1", "7.1(wide)"])
def test_the_gains_are_those_of_libswresample(layout) -> None:
    gains = standard_gains(names_of(layout))
    assert np.abs(gains.mono[:, None] - libswresample(layout, "mono")).max() < 1e-4
    assert np.abs(gains.stereo - libswresample(layout, "stereo")).max() < 1e-4


@pytest.mark.parametrize("layout", ["2.1", "quad", "quad(side)"])
def test_without_a_centre_both_sides_add_up_to_one(layout) -> None:
    gains = standard_gains(names_of(layout))
    theirs = libswresample(layout, "mono")[:, 0]
    assert np.abs(gains.mono / gains.mono.max() - theirs / theirs.max()).max() < 1e-4
    assert gains.mono[0] + gains.mono[1] == pytest.approx(1)


def test_other_arrangements() -> None:
    assert np.allclose(standard_gains(names_of("7 channels")).mono, 1 / 7)
    assert np.allclose(standard_gains(names_of("stereo")).mono, 0.5)
    assert np.allclose(standard_gains(("NONE",)).stereo, 1)
    assert np.allclose(standard_gains(names_of("ambisonic 1")).mono, [1, 0, 0, 0])
    assert np.allclose(standard_gains(("LFE", "LFE2", "LFE")).mono, 1 / 3)
    big = standard_gains(names_of("22.2"))
    effects = [name.startswith("LFE") for name in names_of("22.2")]
    assert (big.mono[effects] == 0).all() and (big.mono[np.logical_not(effects)] >= 0.49).all()


def voice(seed: int, seconds: int = 4) -> np.ndarray:
    """Noise in syllables of its own."""
    generator = np.random.default_rng(seed)
    loudness = np.repeat(generator.uniform(0, 1, 8 * seconds) ** 3, RATE // 8)
    return 0.2 * loudness * generator.standard_normal(RATE * seconds)


def heard(*channels: np.ndarray, names: tuple[str, ...] = ("FL", "FR"), rate: int = RATE) -> np.ndarray:
    """Gains that a balance finds, given the sound in blocks of odd sizes."""
    samples = np.stack(channels, axis=1)
    balance = Balance()
    start = 0
    while start < len(samples):
        size = 37 if start % 3 else 1501
        balance.add(names, samples[start : start + size], rate)
        start += size
    return balance.settle().gains(names).mono


LEFT, MEAN = [1, 0], [0.5, 0.5]


@pytest.mark.parametrize("ratio", [1, 0.7, 0.5, 0.3])
def test_opposite_channels_are_heard_by_the_louder(ratio) -> None:
    speech = voice(0)
    assert np.array_equal(heard(speech, -ratio * speech), LEFT)
    assert np.array_equal(heard(-0.99 * ratio * speech, speech), LEFT[::-1])


def test_opposite_in_part() -> None:
    speech, other = voice(0), voice(1)
    turned = speech.copy()
    turned[: len(turned) // 4] *= -1
    assert np.array_equal(heard(speech, turned), LEFT)  # in some seconds
    assert np.ptp(heard(speech + other / 2, -speech + other / 2)) == 1  # under another sound that is not
    rate = 8 * RATE
    hiss = 0.3 * np.random.default_rng(2).standard_normal((2, len(speech) * 8))
    hiss -= np.repeat(hiss.reshape(2, -1, 8).mean(axis=2), 8, axis=1)  # only beyond the tones of speech
    long = np.repeat(speech, 8)
    assert np.ptp(heard(long + hiss[0], -long + hiss[1], rate=rate)) == 1


def test_ordinary_stereo_is_averaged() -> None:
    speech, other = voice(0), voice(1)
    offset = np.full(len(speech), 0.4)
    rumble = np.sin(2 * np.pi * 20 * np.arange(len(speech)) / RATE)
    for channels in (
        (speech, speech),
        (speech, 0 * speech),
        (speech, other),
        (speech + 0.3 * other, 0.3 * speech + other),
        (speech + offset, speech - offset),
        (speech + 0.3 * rumble, speech - 0.3 * rumble),
        (0 * speech, 0 * speech),
        (speech[:3], speech[:3]),
    ):
        assert np.array_equal(heard(*channels), MEAN)


def test_a_short_opposite_sound() -> None:
    assert np.array_equal(heard(voice(0)[:300], -voice(0)[:300]), LEFT)


def test_surround_that_cancels_or_clips() -> None:
    speech, quiet = voice(0), 0 * voice(0)
    names = names_of("5.1")
    assert heard(speech, -speech, quiet, quiet, quiet, quiet, names=names).tolist() == [1, 0, 0, 0, 0, 0]
    assert heard(quiet, quiet, speech, quiet, quiet, quiet, names=names)[2] == pytest.approx(1)
    assert heard(quiet, quiet, quiet, speech, quiet, quiet, names=names)[3] == 1  # nothing else is there
    loud = np.sign(speech)
    gains = heard(loud, loud, loud, loud, loud, loud, names=names)
    assert gains.sum() == pytest.approx(1) and gains[3] == 0
