"""Augmentations measured from outside: pitch, formants, timing, reverberation, noise, bands, codecs; and their edges."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest

from geneface.corpus import augmentation as module
from geneface.corpus.augmentation import Augmentation, augment, channels, draw_augmentation, frame_times

RATE = 16_000
ROOM = Augmentation(room_seconds=0.5, room_share=0.4)
EVERYTHING = Augmentation(0.85, 1.8, 1.2, 0.4, 0.2, "pink", 20.0, 2.0, 0.001, -3.0, "opus", 16_000)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def vowel(pitch_hz: float, formants_hz: tuple[float, ...], seconds: float = 1.0) -> np.ndarray:
    """Pulses through resonances of 90 Hz width, made in the frequency domain; the level of speech."""
    count = round(seconds * RATE)
    pulses = np.diff(np.floor(np.arange(count) * pitch_hz / RATE), prepend=0.0)
    spectrum, turn = np.fft.rfft(pulses), np.exp(-2j * np.pi * np.fft.rfftfreq(count))
    for formant_hz in formants_hz:
        radius = np.exp(-np.pi * 90.0 / RATE)
        spectrum /= 1 - 2 * radius * np.cos(2 * np.pi * formant_hz / RATE) * turn + (radius * turn) ** 2
    sound = np.fft.irfft(spectrum, count)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def resonances_hz(sound: np.ndarray) -> np.ndarray:
    """Sharp poles of a linear prediction of order 12, in Hz, ascending."""
    sound = np.diff(sound) * np.hanning(len(sound) - 1)
    likeness = np.correlate(sound, sound, "full")[len(sound) - 1 :][:13]
    matrix = likeness[np.abs(np.subtract.outer(np.arange(12), np.arange(12)))] + 1e-6 * likeness[0] * np.eye(12)
    poles = np.roots(np.append(1.0, -np.linalg.solve(matrix, likeness[1:])))
    return np.sort(np.angle(poles[(poles.imag > 0) & (np.abs(poles) > 0.9)])) * RATE / (2 * np.pi)


def fundamental_hz(sound: np.ndarray) -> float:
    """First strong peak of the autocorrelation between 60 and 500 Hz."""
    likeness = np.correlate(sound, sound, "full")[len(sound) - 1 :][: RATE // 60]
    likeness[: RATE // 500] = 0.0
    lag = int(np.argmax(likeness > 0.9 * likeness.max()))
    while likeness[lag + 1] > likeness[lag]:
        lag += 1
    return RATE / lag


def bursts(seconds: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Syllables of speech-like noise in silence, and the times at which they start."""
    generator = rng(seed)
    sound, times = np.zeros(round(seconds * RATE), np.float32), []
    time = 0.2
    while time < seconds - 0.3:
        length = round(generator.uniform(0.04, 0.12) * RATE)
        noise = np.convolve(generator.standard_normal(length), np.ones(4) / 4, "same") * np.linspace(1, 0.1, length)
        sound[round(time * RATE) :][:length] = 0.1 * noise
        times.append(time)
        time += generator.uniform(0.25, 0.45)
    return sound, np.array(times)


def loudness(sound: np.ndarray) -> np.ndarray:
    """RMS over 8 ms, every millisecond."""
    return np.sqrt(np.convolve(np.square(sound, dtype=np.float64), np.ones(128) / 128, "same"))[::16]


def late_seconds(before: np.ndarray, after: np.ndarray, times: np.ndarray, speed: float) -> np.ndarray:
    """By how much each burst comes late: the lag at which its loudness resembles that of the original most."""
    first, second = loudness(before), loudness(after)
    milliseconds, result = np.arange(-60, 180), []
    for time in times:
        expected = np.interp((milliseconds / 1000 + time / speed) * speed * 1000, np.arange(len(first)), first)
        likeness = []
        for lag in range(-30, 31):
            found = second[np.clip(round(time / speed * 1000) + milliseconds + lag, 0, len(second) - 1)]
            likeness.append(np.corrcoef(expected, found)[0, 1])
        result.append((int(np.argmax(likeness)) - 30) / 1000)
    return np.array(result)


def test_no_augmentation_changes_nothing() -> None:
    sound = bursts(1.0)[0]
    assert np.array_equal(augment(sound, Augmentation(), rng()), sound)


@pytest.mark.parametrize("pitch", [0.7, 0.9, 1.3, 2.0])
def test_a_tone_moves_by_the_pitch(pitch: float, tone: np.ndarray) -> None:
    # With the formants, as there is one peak alone.
    changed = augment(tone, Augmentation(pitch=pitch, formant=pitch), rng())
    peak_hz = np.argmax(np.abs(np.fft.rfft(changed[2000:14_000] * np.hanning(12_000), 160_000))) / 10
    assert peak_hz == pytest.approx(440 * pitch, abs=2)


@pytest.mark.parametrize("speed", [0.8, 1.25])
@pytest.mark.parametrize("pitch", [0.75, 1.0, 1.7])
def test_pitch_is_independent_of_speed(speed: float, pitch: float) -> None:
    changed = augment(vowel(120, (600, 1500)), Augmentation(speed=speed, pitch=pitch), rng())
    assert fundamental_hz(changed[3000:9000]) == pytest.approx(120 * pitch, rel=0.03)


@pytest.mark.parametrize("formant", [0.85, 1.0, 1.2])
@pytest.mark.parametrize("pitch", [0.8, 1.0, 1.7])
def test_formants_are_independent_of_pitch(pitch: float, formant: float) -> None:
    changed = augment(vowel(110, (650, 1700)), Augmentation(pitch=pitch, formant=formant), rng())[4000:12_000]
    assert fundamental_hz(changed[:6000]) == pytest.approx(110 * pitch, rel=0.03)
    # Compared with what is measured of the true vowel: a prediction leans towards the nearest harmonic.
    wanted = vowel(110 * pitch, (650 * formant, 1700 * formant))[4000:12_000]
    found = resonances_hz(changed)
    for expected in resonances_hz(wanted)[:2]:
        assert np.abs(found - expected).min() < 0.06 * expected, found
    harmonics = np.rint(110 * pitch * np.arange(1, int(3000 / (110 * pitch)))).astype(int)
    levels_db = [
        20 * np.log10([spectrum[hz - 12 : hz + 13].max() for hz in harmonics])
        for spectrum in (np.abs(np.fft.rfft(sound * np.hanning(8000), RATE)) for sound in (changed, wanted))
    ]
    error_db = levels_db[0] - levels_db[1]
    assert np.abs(error_db - np.median(error_db)).mean() < 2.5


def test_a_lower_pitch_keeps_the_top_of_the_band() -> None:
    noise = (0.1 * rng().standard_normal(2 * RATE)).astype(np.float32)
    power = np.abs(np.fft.rfft(augment(noise, Augmentation(pitch=0.7), rng()))) ** 2
    assert power[13_000:15_500].mean() == pytest.approx(power[4000:8000].mean(), rel=0.5)


@pytest.mark.parametrize(
    "change",
    [
        Augmentation(speed=0.8),
        Augmentation(speed=1.25),
        Augmentation(pitch=2.0, speed=0.8),
        Augmentation(pitch=0.7, formant=0.9, speed=1.25),
        Augmentation(pitch=1.6, formant=1.2),
        Augmentation(formant=1.2),
        ROOM,
        Augmentation(noise="pink", snr_db=15.0),
        Augmentation(channel="telephone", tilt_db=3.0),
        EVERYTHING,
    ],
)
def test_events_keep_their_time(change: Augmentation) -> None:
    sound, times = bursts(4.0)
    late = late_seconds(sound, augment(sound, change, rng()), times, change.speed)
    assert np.abs(late).max() <= 0.010
    assert abs(late.mean()) <= 0.005


@pytest.mark.slow
def test_a_long_sound_does_not_drift() -> None:
    sound, times = bursts(40.0)
    change = Augmentation(speed=0.87, pitch=1.5)
    late = late_seconds(sound, augment(sound, change, rng()), times[-8:], change.speed)
    assert np.abs(late).max() <= 0.010


@pytest.mark.parametrize("channel", channels())
def test_channels_are_not_late(channel: module.Channel) -> None:
    sound = bursts(1.5, seed=3)[0]
    codec = module._CODECS.get(channel)
    for bit_rate in codec.bit_rates if codec else (0,):
        heard = augment(sound, Augmentation(channel=channel, bit_rate=bit_rate), rng())
        spectrum = np.fft.rfft(heard, 1 << 16) * np.conj(np.fft.rfft(sound, 1 << 16))
        likeness = np.fft.irfft(spectrum) / np.sqrt(np.sum(sound**2) * np.sum(heard**2))
        lag = (int(np.argmax(likeness)) + (1 << 15)) % (1 << 16) - (1 << 15)
        assert abs(lag) <= 16, bit_rate
        assert 0.2 < likeness.max() < 0.9999, bit_rate


@pytest.mark.parametrize("seconds, share", [(0.2, 0.1), (0.7, 0.6)])
def test_a_room_has_its_reverberation_time(seconds: float, share: float) -> None:
    click = np.zeros(RATE, np.float32)
    click[0] = 0.5
    response = augment(click, Augmentation(room_seconds=seconds, room_share=share), rng()).astype(np.float64) / 0.5
    assert response[0] == pytest.approx(1.0, abs=0.05)
    assert np.sum(response[1:] ** 2) == pytest.approx(share, rel=0.05)
    decay_db = 10 * np.log10(np.cumsum(response[:0:-1] ** 2)[::-1] / np.sum(response[1:] ** 2) + 1e-12)
    straight = np.flatnonzero((decay_db < -5) & (decay_db > -25))
    slope = np.polyfit(straight / RATE, decay_db[straight], 1)[0]
    assert -60 / slope == pytest.approx(seconds, rel=0.12)


@pytest.mark.parametrize("kind", ["white", "pink", "hum"])
@pytest.mark.parametrize("level", [0.9, 0.0005])
def test_noise_has_its_level(kind: module.Noise, level: float) -> None:
    speech = level * vowel(120, (600, 1500), 2.0)
    noise = augment(speech, Augmentation(noise=kind, snr_db=12.0), rng()) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(12.0, abs=0.5)


def test_pauses_are_not_counted_as_speech() -> None:
    speech = np.concatenate([vowel(120, (600, 1500)), np.zeros(3 * RATE, np.float32)])
    noise = augment(speech, Augmentation(noise="white", snr_db=10.0), rng()) - speech
    assert 10 * np.log10(np.mean(speech[:RATE] ** 2) / np.mean(noise**2)) == pytest.approx(10.0, abs=0.5)


def test_noises_have_their_colour() -> None:
    silence = np.zeros(4 * RATE, np.float32)
    power = {
        kind: np.abs(np.fft.rfft(augment(silence, Augmentation(noise=kind), rng()))) ** 2 for kind in ("white", "pink")
    }
    octaves = {kind: values[400:800].mean() / values[12_800:25_600].mean() for kind, values in power.items()}
    assert octaves["white"] == pytest.approx(1, rel=0.2)
    assert octaves["pink"] == pytest.approx(32, rel=0.3)
    hum = np.abs(np.fft.rfft(augment(silence, Augmentation(noise="hum"), rng()))) ** 2
    assert max(hum[:4000:200].sum(), hum[:4000:240].sum()) > 0.999 * hum.sum()


@pytest.mark.parametrize("channel", ["telephone", "mulaw"])
def test_a_telephone_passes_its_band_alone(channel: module.Channel) -> None:
    noise = (0.1 * rng().standard_normal(2 * RATE)).astype(np.float32)
    before, after = (
        np.abs(np.fft.rfft(sound)) ** 2 for sound in (noise, augment(noise, Augmentation(channel=channel), rng()))
    )
    ratio_db = 10 * np.log10(
        [after[part].sum() / before[part].sum() for part in (np.s_[:240], np.s_[700:6600], np.s_[8200:])]
    )
    assert abs(ratio_db[1]) < 0.5
    assert ratio_db[0] < -25 and ratio_db[2] < -25


def test_the_microphone_tilts_and_clips() -> None:
    noise = (0.1 * rng().standard_normal(2 * RATE)).astype(np.float32)
    power = np.abs(np.fft.rfft(augment(noise, Augmentation(tilt_db=3.0), rng()))) ** 2
    assert 10 * np.log10(power[7800:8200].mean() / power[1950:2050].mean()) == pytest.approx(6.0, abs=1.0)
    clipped = augment(noise, Augmentation(clip_share=0.02, level_db=-6.0), rng())
    assert np.mean(np.abs(clipped) > 0.9999 * np.abs(clipped).max()) == pytest.approx(0.02, rel=0.1)
    quiet = np.abs(noise) < 0.1
    assert np.allclose(clipped[quiet], noise[quiet] * 10 ** (-6 / 20))


def test_level_stops_at_full_scale() -> None:
    sound = bursts(1.0)[0]
    loud = augment(sound, Augmentation(level_db=60.0), rng())
    assert np.allclose(loud, sound / np.abs(sound).max(), atol=1e-6)


def test_the_same_state_gives_the_same_sound() -> None:
    sound = bursts(1.0)[0]
    assert draw_augmentation(rng(5)) == draw_augmentation(rng(5))
    assert np.array_equal(augment(sound, EVERYTHING, rng(5)), augment(sound, EVERYTHING, rng(5)))
    assert not np.array_equal(augment(sound, EVERYTHING, rng(5)), augment(sound, EVERYTHING, rng(6)))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 159, 641, 16_001])
@pytest.mark.parametrize("seed", range(6))
def test_any_length_and_draw(length: int, seed: int) -> None:
    change = draw_augmentation(rng(seed)) if seed else EVERYTHING
    sound = rng(seed).uniform(-1, 1, length).astype(np.float32)
    changed = augment(sound, change, rng())
    assert changed.dtype == np.float32
    assert changed.shape == (round(length / change.speed),)
    assert np.isfinite(changed).all() and np.abs(changed).max(initial=0) <= 1


def test_extreme_factors_and_samples() -> None:
    sound = np.array([np.nan, np.inf, -np.inf, 1e-42] * 700, np.float32)
    for change in (
        Augmentation(0.3, 3.0, 2.0),
        Augmentation(3.0, 0.3, 0.5),
        Augmentation(pitch=0.05),
        Augmentation(noise="white"),
    ):
        changed = augment(sound, change, rng())
        assert len(changed) == round(2800 / change.speed)
        assert np.isfinite(changed).all() and np.abs(changed).max() <= 1
    faint = augment(np.full(100, 1e-42, np.float32), Augmentation(noise="white"), rng())
    assert np.isfinite(faint).all()


@pytest.mark.parametrize("change", [replace(EVERYTHING, noise="none", channel="none"), Augmentation(pitch=0.7), ROOM])
def test_silence_stays_silence(change: Augmentation) -> None:
    assert not augment(np.zeros(5000, np.float32), change, rng()).any()
    assert augment(np.zeros(5000, np.float32), replace(change, noise="white"), rng()).any()


def test_a_missing_encoder_leaves_its_channel_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = bursts(0.6)[0]
    monkeypatch.setattr(av, "codecs_available", {"aac"})
    channels.cache_clear()
    try:
        assert channels() == ("telephone", "aac")
        assert {draw_augmentation(rng(seed)).channel for seed in range(60)} == {"none", "telephone", "aac"}
        assert np.array_equal(augment(sound, Augmentation(channel="opus"), rng()), sound)
    finally:
        channels.cache_clear()


def test_draws_are_realistic() -> None:
    draws = [draw_augmentation(rng(seed)) for seed in range(1000)]
    speed, pitch, formant, snr_db = (
        np.array([getattr(draw, name) for draw in draws]) for name in ("speed", "pitch", "formant", "snr_db")
    )
    assert 0.8 <= speed.min() < 0.85 and 1.2 < speed.max() <= 1.25
    assert 0.7 <= pitch.min() < 0.75 and 1.9 < pitch.max() <= 2.0
    assert 0.85 <= formant.min() < 0.9 and 1.2 < formant.max() <= 1.25
    assert np.corrcoef(np.log(pitch), np.log(formant))[0, 1] > 0.7
    assert snr_db.min() >= 5
    clean = [d.pitch == 1 and d.noise == d.channel == "none" and not d.room_seconds for d in draws]
    assert 0.1 < np.mean(clean) < 0.3
    for present in ("room_seconds", "tilt_db", "clip_share", "level_db"):
        assert 0.1 < np.mean([getattr(draw, present) != 0 for draw in draws]) <= 1
    assert {draw.channel for draw in draws} == {"none", *channels()}
    assert {draw.noise for draw in draws} == {"none", "white", "pink", "hum"}


@pytest.mark.parametrize("frames", [0, 1, 2, 25, 75, 76])
@pytest.mark.parametrize("speed", [0.8, 0.93, 1.0, 1.1, 1.25])
def test_frame_times_follow_the_sound(frames: int, speed: float) -> None:
    times = frame_times(frames, speed)
    samples = len(augment(np.zeros(640 * frames, np.float32), Augmentation(speed=speed), rng()))
    assert times.dtype == np.float32
    assert 640 * len(times) <= samples < 640 * (len(times) + 1)
    assert np.allclose(times[:-1], np.arange(len(times) - 1) * speed, atol=1e-4)
    assert times.max(initial=0) <= max(frames - 1, 0)
    if speed == 1.0:
        assert np.array_equal(times, np.arange(frames))
