"""Sound: formats, rates, channels, length; what is not sound is refused."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from geneface.errors import InputError
from geneface.io.audio import SoundReader, read_audio, write_wav
from geneface.signal.sound import resample
from geneface.types import Waveform


def sine(rate: int, seconds: float = 1.0, channels: int = 1, hz: float = 440) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


def fits(samples: np.ndarray, hz: float = 440, amplitude: float = 0.5) -> bool:
    """Whether the middle of the sound is the sine, phase included: least squares on sine and cosine."""
    time = np.arange(len(samples)) / 16_000
    middle = slice(1600, len(samples) - 1600)
    basis = np.stack([np.sin(2 * np.pi * hz * time), np.cos(2 * np.pi * hz * time)], axis=1)[middle]
    weights, *_ = np.linalg.lstsq(basis, samples[middle], rcond=None)
    residual = samples[middle] - basis @ weights
    return (
        abs(weights[0] - amplitude) < 0.03 and abs(weights[1]) < 0.02 and float(np.sqrt((residual**2).mean())) < 0.015
    )


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_keeps_time_and_phase(make_wav, rate) -> None:
    audio = read_audio(make_wav("a.wav", sine(rate), rate))
    assert audio.samples.dtype == np.float32 and len(audio.samples) == pytest.approx(16_000, abs=1)
    assert audio.start_seconds == 0 and fits(audio.samples)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"])
def test_any_sample_type(make_wav, subtype) -> None:
    assert fits(read_audio(make_wav("a.wav", sine(16_000), subtype=subtype)).samples)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_channels_are_averaged(make_wav, channels) -> None:
    wave = sine(16_000, channels=channels)
    wave[:, 1:] = 0
    assert fits(read_audio(make_wav("a.wav", wave)).samples, amplitude=0.5 / channels)


CODECS = [
    ("a.m4a", "aac", 44_100, 2),
    ("a.mp3", "libmp3lame", 44_100, 1),
    ("a.ogg", "libopus", 48_000, 2),
    ("a.flac", "flac", 48_000, 2),
    ("a.mka", "pcm_f32le", 22_050, 1),
    ("a.aac", "aac", 48_000, 1),
    ("a.ac3", "ac3", 48_000, 6),
    ("a.aiff", "pcm_s16be", 44_100, 1),
]


@pytest.mark.parametrize("name,codec,rate,channels", CODECS, ids=[c[0] for c in CODECS])
def test_any_codec(make_media, name, codec, rate, channels) -> None:
    audio = read_audio(make_media(name, samples=sine(rate, 1.5, channels), sample_rate=rate, audio_codec=codec))
    # Bare streams carry no word on the encoder's priming, so they may be longer by some 50 ms.
    assert 1.5 - 0.001 <= audio.duration_seconds <= 1.5 + 0.06
    spectrum = np.abs(np.fft.rfft(audio.samples[2000:18_000] * np.hanning(16_000)))
    assert int(spectrum.argmax()) == 440
    assert np.abs(audio.samples[2000:18_000]).max() == pytest.approx(0.5, abs=0.05)


def test_priming_is_cut_where_the_container_tells(make_media) -> None:
    for name, codec in (("a.m4a", "aac"), ("a.mp3", "libmp3lame"), ("a.mka", "libopus")):
        audio = read_audio(make_media(name, samples=sine(48_000), sample_rate=48_000, audio_codec=codec))
        assert audio.start_seconds == pytest.approx(0, abs=0.001)
        assert fits(audio.samples)


def test_blocks_are_the_whole(make_media) -> None:
    path = make_media("a.flac", samples=sine(44_100, 2.0, 2), sample_rate=44_100, audio_codec="flac")
    blocks = list(SoundReader(path).blocks(48_000, channels=2))
    assert len(blocks) > 3 and sum(len(block) for block in blocks) == 96_000
    assert all(block.shape[1] == 2 and block.dtype == np.float32 for block in blocks)


def placed(rate: int, channels: int, *places: int, seconds: float = 1.0) -> np.ndarray:
    """A tone in some channels, the others silent."""
    wave = sine(rate, seconds, channels)
    wave[:, [index for index in range(channels) if index not in places]] = 0
    return wave


SURROUND = [
    ("a.m4a", "aac", 6),
    ("a.m4a", "aac", 8),  # planar floats
    ("a.m4a", "alac", 6),  # planar integers
    ("a.flac", "flac", 8),
    ("a.mka", "pcm_s64le", 8),
    ("a.ac3", "ac3", 6),
]


@pytest.mark.parametrize("name,codec,channels", SURROUND)
def test_speech_in_the_centre_keeps_its_level(make_media, name, codec, channels) -> None:
    centre, effects = 2, 3
    path = make_media(name, samples=placed(48_000, channels, centre), sample_rate=48_000, audio_codec=codec)
    samples = read_audio(path).samples
    assert 20 * np.log10(np.sqrt((samples[2000:-2000] ** 2).mean()) / (0.5 / 2**0.5)) == pytest.approx(0, abs=0.2)
    (stereo,) = {block.shape[1] for block in SoundReader(path).blocks(48_000, channels=2)}
    assert stereo == 2
    path = make_media(name, samples=placed(48_000, channels, centre, effects), sample_rate=48_000, audio_codec=codec)
    assert np.abs(read_audio(path).samples - samples).max() < 0.01


@pytest.mark.parametrize("channels,amplitude", [(9, 0.5 / 9), (12, 0.5 / 12), (33, 0.5), (64, 0.5)])
def test_many_channels_of_no_stated_place(tmp_path, channels, amplitude) -> None:
    """The mean; but one of so many that the mean is thirty decibels down is taken alone."""
    soundfile.write(tmp_path / "a.ogg", placed(16_000, channels, 1), 16_000, format="OGG", subtype="VORBIS")
    samples = read_audio(tmp_path / "a.ogg").samples
    assert np.abs(samples).max() == pytest.approx(amplitude, rel=0.2)


def test_too_many_channels_are_refused(make_wav) -> None:
    for channels in (65, 1000):
        with pytest.raises(InputError, match="sound channels, at most 64 are read: convert"):
            read_audio(make_wav("a.wav", sine(16_000, 0.1, channels)))


@pytest.mark.parametrize("right", [-1, -0.6])
def test_channels_that_cancel_are_heard(make_media, right) -> None:
    wave = sine(48_000, 2.0, 2) * [1, right]
    path = make_media("a.flac", samples=wave, sample_rate=48_000, audio_codec="flac")
    # The stream comes first here: nothing is known of the file yet.
    streamed = np.concatenate(list(SoundReader(path).blocks(16_000, channels=1)))[:, 0]
    samples = read_audio(path).samples
    assert fits(samples) and np.array_equal(streamed, samples)
    stereo = np.concatenate(list(SoundReader(path).blocks(48_000, channels=2)))
    assert np.abs(stereo - wave).max() < 1e-3
    # The same path with other sound in it.
    soundfile.write(path, sine(48_000, 2.0, 2), 48_000, format="FLAC")
    assert fits(read_audio(path).samples)


def test_a_file_is_decoded_once_where_nothing_speaks_against_it(make_wav, monkeypatch) -> None:
    passes = []
    timed = SoundReader._timed_blocks
    monkeypatch.setattr(SoundReader, "_timed_blocks", lambda *a: passes.append(0) or timed(*a))
    path = make_wav("a.wav", sine(16_000, channels=2))
    read_audio(path)
    assert sum(len(block) for block in SoundReader(path).blocks(16_000, channels=1)) == 16_000
    assert len(passes) == 2


@pytest.mark.parametrize("name,codec", [("a.mp3", "libmp3lame"), ("a.aac", "aac"), ("a.ac3", "ac3")])
def test_rate_and_channels_change_on_the_way(make_media, tmp_path, name, codec) -> None:
    first = make_media(f"1{name}", samples=sine(44_100, 1.0, 1), sample_rate=44_100, audio_codec=codec)
    second = make_media(f"2{name}", samples=sine(48_000, 1.0, 2), sample_rate=48_000, audio_codec=codec)
    (tmp_path / name).write_bytes(first.read_bytes() + second.read_bytes())
    samples = read_audio(tmp_path / name).samples
    assert len(samples) == pytest.approx(32_000, abs=3200)
    for part in (samples[2000:14_000], samples[-14_000:-2000]):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 16_000))
        assert int(spectrum.argmax()) == pytest.approx(440, abs=2) and np.abs(part).max() == pytest.approx(0.5, abs=0.1)


def test_a_long_gap_is_filled_bit_by_bit(tmp_path) -> None:
    with av.open(str(tmp_path / "a.mka"), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for start in (0, 3, 12):
            frame = av.AudioFrame.from_ndarray(np.full((1, 16_000), 1000, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start * 16_000, Fraction(1, 16_000)
            container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    blocks = list(SoundReader(tmp_path / "a.mka").blocks(16_000, channels=1))
    assert max(len(block) for block in blocks) <= 17_000
    sounding = np.abs(np.concatenate(blocks)[:, 0].reshape(-1, 16_000)[:, 4000:12_000]).max(axis=1) > 0.02
    assert np.flatnonzero(sounding).tolist() == [0, 3, 12]


def test_no_sound(make_media) -> None:
    path = make_media("mute.mp4", images=[np.zeros((32, 32, 3), np.uint8)] * 3)
    with pytest.raises(InputError, match=r"mute\.mp4 has no sound: .+"):
        read_audio(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_their_time(make_wav, value) -> None:
    wave = sine(16_000, 4.0)
    wave[round(3.2 * 16_000)] = value
    with pytest.raises(InputError) as caught:
        read_audio(make_wav("bad.wav", wave))
    assert caught.value.where == "at 3.20 s" and "NaN" in caught.value.cause
    right = np.concatenate([sine(16_000, 4.0), wave[:, :1]], axis=1)
    with pytest.raises(InputError, match="NaN"):
        read_audio(make_wav("bad_right.wav", right))


def test_integers_stored_as_floats_are_refused(make_wav) -> None:
    with pytest.raises(InputError, match="scale them"):
        read_audio(make_wav("loud.wav", 32_767 * sine(16_000)))


def test_overshoot_is_clipped(make_wav) -> None:
    audio = read_audio(make_wav("over.wav", 3 * sine(16_000)))
    assert np.abs(audio.samples).max() == 1


def test_sound_without_samples(make_wav) -> None:
    with pytest.raises(InputError):
        read_audio(make_wav("empty.wav", np.zeros(0, np.float32)))


def test_write_wav_round_trip(tmp_path) -> None:
    wave = sine(16_000)[:, 0]
    write_wav(tmp_path / "a.wav", Waveform(wave))
    assert np.abs(read_audio(tmp_path / "a.wav").samples - wave).max() <= 1 / 32_768


def test_resample_keeps_sample_zero(tone) -> None:
    up = resample(tone, 16_000, 48_000)
    assert len(up) == 48_000
    assert np.abs(up[::3] - tone)[200:-200].max() < 1e-3
