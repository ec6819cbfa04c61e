"""Live speech features: pieces of any lengths, the recording's own features, the level."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geneface.analysis.live import LevelFollower, LiveSpeech
from geneface.analysis.speech import ShippedEncoder
from geneface.analysis.windows import CONTEXT_ROWS
from geneface.io.assets import asset_path
from geneface.io.audio import read_audio
from geneface.signal.sound import speech_gain
from geneface.types import FloatArray


@pytest.fixture(scope="module")
def encoder() -> ShippedEncoder:
    return ShippedEncoder()


@pytest.fixture(scope="module")
def sound() -> FloatArray:
    """9.3 s, over two windows of the encoder."""
    samples = read_audio(asset_path("speech", "demo.flac")).samples
    return np.tile(samples, 1 + 150_000 // len(samples))[:148_777]


def live(encoder: ShippedEncoder, sound: FloatArray, sizes: list[int]) -> FloatArray:
    stream = LiveSpeech(encoder)
    rows, place = [], 0
    while place < len(sound):
        size = sizes[len(rows) % len(sizes)]
        rows.append(stream.push(sound[place : place + size]))
        place += size
    return np.concatenate([*rows, stream.finish()])


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[320], [640], [3200], [1, 5000, 17, 2049]])
def test_pieces_of_any_length_give_the_same_rows(encoder, sound, sizes):
    sound = sound[:90_001]
    whole = live(encoder, sound, [len(sound)])
    assert whole.shape == (2 * -(-len(sound) // 640), encoder.width)
    assert np.abs(live(encoder, sound, sizes) - whole).max() < 1e-4


@pytest.mark.slow
def test_rows_are_those_of_the_recording_at_one_level(encoder, sound, monkeypatch):
    monkeypatch.setattr(LevelFollower, "push", lambda self, samples: samples * np.float32(speech_gain(sound)))
    whole = encoder.encode(sound).values
    for sizes in ([640], [4000], [333, 64_000, 5]):
        assert np.abs(live(encoder, sound, sizes) - whole).max() < 1e-4


@pytest.mark.slow
def test_rows_at_the_borders_of_windows_come_in_time_and_nothing_is_kept(encoder, sound):
    """Pieces of every phase around the border at row 200, whose context is heard beforehand, or at once."""
    whole = live(encoder, sound, [len(sound)])
    for shift in (*range(0, 1280, 160), 8_000):
        stream = LiveSpeech(encoder)
        before = stream.push(sound[: 63_000 + shift])
        after = [stream.push(sound[start : start + 640]) for start in range(63_000 + shift, 70_000, 640)]
        rows = np.concatenate([before, *after])
        assert np.abs(rows - whole[: len(rows)]).max() < 1e-4
    sizes = []
    for start in range(0, 140_000, 640):
        stream.push(sound[start : start + 640])
        arrays = [value for state in stream._windows.values() for value in state.memory.values()]
        sizes.append(stream._sound.nbytes + sum(value.nbytes for value in arrays))
    # Twice the bands of two layers, and a second and a half of sound.
    assert max(sizes[20:]) <= 8 * 52 * 512 * 4 + 8 * 2 * 512 * 4 + 24_000 * 4


@pytest.mark.slow
def test_streams_of_one_encoder_do_not_hear_each_other(encoder, sound):
    parts = [sound[: 16 * 2000], sound[40_000 : 40_000 + 16 * 2000], sound[90_000 : 90_000 + 16 * 2000]]
    alone = [live(encoder, part, [640]) for part in parts]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda part: live(encoder, part, [640]), parts))
    assert all(map(np.array_equal, together, alone))


def test_the_silence_before_a_sound_is_what_the_window_hears(encoder, sound):
    """Computed once for all sounds, or with the sound's first rows."""
    rows = live(encoder, sound[:30_000], [30_000])
    stream = LiveSpeech(encoder)
    stream._windows = {0: encoder.start}
    assert np.abs(np.concatenate([stream.push(sound[:30_000]), stream.finish()]) - rows).max() < 1e-4
    assert encoder.silence is encoder.silence and encoder.silence.rows == CONTEXT_ROWS - 1


@pytest.mark.slow
def test_a_row_comes_as_soon_as_what_it_hears_has_come(encoder, sound):
    stream = LiveSpeech(encoder)
    received, made = 0, 0
    for start in range(0, 64_000, 320):
        received += 320
        made += len(stream.push(sound[start : start + 320]))
        missing = received / 16_000 - made / 50
        # Rows come in pairs of 40 ms, a block of the level is 20 ms.
        assert missing < stream.look_ahead_seconds + 0.07
        assert made == 0 or missing >= stream.look_ahead_seconds
    assert stream.look_ahead_seconds < 0.1


@pytest.mark.slow
def test_what_comes_later_changes_nothing(encoder, sound):
    first = LiveSpeech(encoder).push(sound[:60_000])
    other = np.concatenate([sound[:60_000], np.zeros(20_000, np.float32)])
    assert np.abs(LiveSpeech(encoder).push(other)[: len(first)] - first).max() < 1e-4


@pytest.mark.parametrize("level", [0.05, 0.3, 3.0])
def test_speech_of_any_level_ends_at_the_reference(level, sound):
    quiet = level * sound
    followed = LevelFollower().push(quiet)[80_000:]
    expected = speech_gain(sound) * sound[80_000 : 80_000 + len(followed)]
    ratio = np.sqrt(np.mean(followed**2) / np.mean(expected**2))
    assert 0.7 < ratio < 1.4


def test_silence_holds_the_level_and_a_click_is_forgotten(sound):
    follower = LevelFollower()
    follower.push(sound[:48_000])
    gain = follower._gain
    follower.push(np.zeros(20 * 16_000, np.float32))
    assert follower._gain == gain
    follower = LevelFollower()
    follower.push(np.full(640, 0.9, np.float32))
    follower.push(np.tile(0.02 * sound, 2))
    assert follower._gain > 5


@pytest.mark.slow
@pytest.mark.parametrize("noise_db", [-75.0, -60.0, -50.0])
def test_room_noise_before_and_between_speech_changes_its_level_little(sound, noise_db):
    noise = 10 ** (noise_db / 20) * np.random.default_rng(0).standard_normal(20 * 16_000).astype(np.float32)
    follower = LevelFollower()
    follower.push(noise)
    first = follower.push(sound + noise[: len(sound)])[8000:48_000]
    expected = speech_gain(sound) * sound[8000:48_000]
    assert 0.5 < np.sqrt(np.mean(first**2) / np.mean(expected**2)) < 2
    gain = follower._gain
    follower.push(noise)
    assert 0.9 < follower._gain / gain < 1.1


def test_a_knock_on_the_microphone_changes_the_level_little(sound):
    follower = LevelFollower()
    follower.push(0.2 * sound)
    gain = follower._gain
    follower.push(np.random.default_rng(1).uniform(-0.9, 0.9, 1600).astype(np.float32))
    assert 0.8 < follower._gain / gain < 1.25
    knocked = sound.copy()
    knocked[40_000:41_600] = np.random.default_rng(1).uniform(-0.9, 0.9, 1600)
    assert 0.8 < speech_gain(knocked) / speech_gain(sound) < 1.25


@pytest.mark.parametrize("noise_db", [None, -80.0])
def test_a_word_in_a_long_silence_has_the_level_of_a_word(sound, noise_db):
    word = sound[20_000:26_400]
    long = np.zeros(160_000, np.float32)
    if noise_db is not None:
        long += 10 ** (noise_db / 20) * np.random.default_rng(0).standard_normal(len(long)).astype(np.float32)
    long[50_000:56_400] += word
    assert 0.5 < speech_gain(long) / speech_gain(word) < 2 or noise_db is not None
    assert np.abs(speech_gain(long) * long).max() < 3


def test_no_sound_gives_no_rows(encoder):
    stream = LiveSpeech(encoder)
    assert stream.push(np.zeros(0, np.float32)).shape == (0, encoder.width)
    assert stream.finish().shape == (0, encoder.width)
