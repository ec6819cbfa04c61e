"""Avatar: streaming equals offline, seeds repeat, silence closes the mouth, all formats, all or nothing."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from geneface.avatar.avatar import Avatar, Format
from geneface.avatar.performance import Performance
from geneface.errors import InputError
from geneface.geometry.landmarks import LIPS, eye_openness, lip_opening
from geneface.io.image import read_image, write_png
from geneface.io.tensors import load_tensors
from geneface.types import Camera, Waveform

from .avatar_fixtures import face_points, speech

SPEECH = Waveform(speech(3.0))


def test_one_frame_for_every_40_ms_begun(avatar: Avatar) -> None:
    for samples, frames in ((1, 1), (640, 1), (641, 2), (16000, 25)):
        assert len(avatar.motion(Waveform(np.full(samples, 0.1, np.float32)))) == frames


def test_stream_shows_the_motion(avatar: Avatar) -> None:
    motion = avatar.motion(SPEECH)
    points, pose = motion.points, motion.pose
    frames = list(avatar.stream(SPEECH))
    assert len(frames) == len(motion) == 75
    for index in (0, 30, 74):
        drawn = avatar.renderer.render(
            points[index], pose.rotation[index], pose.translation[index], Camera(2.5, 64, 64)
        )
        np.testing.assert_array_equal(frames[index], drawn.to_uint8())
    assert frames[0].shape == (64, 64, 3) and frames[0].dtype == np.uint8
    assert not np.array_equal(frames[0], frames[30])


def test_motion_does_not_depend_on_windows(avatar: Avatar) -> None:
    sound = Waveform(speech(25.0))
    windows = list(avatar.motion_windows(sound))
    assert len(windows) > 2
    whole = avatar.motion(sound)
    np.testing.assert_array_equal(np.concatenate([w.points for w in windows]), whole.points)
    # Against the parts done in one piece, by hand.
    person = avatar.files.person
    features = avatar._encoder.encode(sound.samples)
    in_one = person.neutral_landmarks + avatar._model.predict(features)
    speaking = lip_opening(in_one)[250:375] > np.percentile(lip_opening(in_one), 50)
    np.testing.assert_allclose(
        lip_opening(whole.points)[250:375][speaking], lip_opening(in_one)[250:375][speaking], atol=2e-5
    )


@pytest.mark.slow
def test_equal_seeds_give_equal_bytes_and_others_do_not(avatar: Avatar) -> None:
    sound = Waveform(speech(12.0))

    def digest(seed: int, temperature: float = 0.0) -> bytes:
        return b"".join(frame.tobytes() for frame in avatar.stream(sound, Performance(temperature, seed)))

    first = digest(3, 1.0)
    assert first == digest(3, 1.0)
    assert first != digest(4, 1.0) and first != digest(3, 0.0)


def test_the_mouth_is_closed_in_silence_and_moves_in_speech(avatar: Avatar) -> None:
    sound = Waveform(np.concatenate([np.zeros(16_000, np.float32), SPEECH.samples, np.zeros(8_000, np.float32)]))
    opening = lip_opening(avatar.motion(sound, Performance(blink=False)).points)
    rest = lip_opening(avatar.files.person.rest)
    assert opening[:12] == pytest.approx(rest, abs=1e-6)
    assert opening[-12:] == pytest.approx(rest, abs=1e-6)
    assert opening[41:85].max() > rest + 0.004
    silence = avatar.motion(Waveform(np.zeros(32000, np.float32)), Performance(blink=False)).points
    np.testing.assert_allclose(
        silence[:, LIPS], np.broadcast_to(avatar.files.person.rest[LIPS], (50, len(LIPS), 3)), atol=1e-6
    )


def test_mouth_gain_scales_the_opening(avatar: Avatar) -> None:
    def opening(gain: float) -> np.ndarray:
        return lip_opening(avatar.motion(SPEECH, Performance(mouth_gain=gain)).points)

    rest = lip_opening(avatar.files.person.rest)
    moving = opening(1.0) - rest > 0.003
    assert moving.sum() > 10
    assert (opening(1.5) - rest)[moving] == pytest.approx(1.5 * (opening(1.0) - rest)[moving], rel=0.1)


def test_blinks_can_be_switched_off(avatar: Avatar) -> None:
    sound = Waveform(speech(20.0))
    normal = eye_openness(avatar.motion(sound).points).mean(-1)
    off = eye_openness(avatar.motion(sound, Performance(blink=False)).points).mean(-1)
    assert off.min() > 0.9 * off.max()
    assert normal.min() < 0.4 * normal.max()


@pytest.mark.parametrize(
    "changes", [{"mouth_gain": -1.0}, {"mouth_gain": float("nan")}, {"temperature": 9.0}, {"seed": -1}]
)
def test_nonsense_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(changes)).replace("_", "-")):
        Performance(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("samples", [np.zeros(0), np.array([0.1, np.nan, 0.2])])
def test_empty_and_nan_speech_is_refused(avatar: Avatar, samples: np.ndarray) -> None:
    with pytest.raises(InputError, match="speech"):
        next(avatar.stream(Waveform(samples.astype(np.float32))))


def test_mp4_has_picture_and_sound_of_equal_length(avatar: Avatar, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    out = tmp_path / "talk.mp4"
    assert avatar.render(SPEECH, out, progress=lambda _, done, total: steps.append((done, total))) == 75
    assert steps == [(index, 75) for index in range(1, 76)]
    with av.open(str(out)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.width, video.codec_context.height) == ("h264", 64, 64)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
        assert video.time_base is not None and audio.time_base is not None
        assert len(frames) == 75
        assert float((audio.duration or 0) * audio.time_base) == pytest.approx(3.0, abs=0.04)
        assert "tiny" in container.metadata["title"] and "ynthetic" in container.metadata["comment"]
    offline = list(avatar.stream(SPEECH))
    assert np.abs(frames[40].astype(int) - offline[40]).mean() < 8
    assert list(tmp_path.iterdir()) == [out]


def test_speech_from_a_file_is_the_speech_itself(avatar: Avatar, tmp_path: Path, make_wav) -> None:
    path = make_wav("speech.wav", SPEECH.samples)
    np.testing.assert_allclose(avatar.motion(path).points, avatar.motion(SPEECH).points, atol=1e-4)
    avatar.render(path, tmp_path / "talk.mp4")
    with av.open(str(tmp_path / "talk.mp4")) as container:
        assert len(container.streams.audio) == 1


def test_png_and_landmarks(avatar: Avatar, tmp_path: Path) -> None:
    sound = Waveform(SPEECH.samples[:6400])
    assert avatar.render(sound, tmp_path / "pictures", format="png", size=96) == 10
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert len(pictures) == 10
    np.testing.assert_array_equal(read_image(pictures[3]), list(avatar.stream(sound, size=96))[3])
    assert avatar.render(sound, tmp_path / "motion.safetensors", format="landmarks") == 10
    stored, motion = load_tensors(tmp_path / "motion.safetensors"), avatar.motion(sound)
    np.testing.assert_array_equal(stored["landmarks"], motion.points)
    np.testing.assert_array_equal(stored["translation"], motion.pose.translation)


def test_transparent_webm(avatar: Avatar, tmp_path: Path) -> None:
    avatar.render(Waveform(SPEECH.samples[:6400]), tmp_path / "talk.webm", format="webm-alpha")
    with av.open(str(tmp_path / "talk.webm")) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
        assert (
            container.streams.video[0].metadata.get("ALPHA_MODE", container.streams.video[0].metadata.get("alpha_mode"))
            == "1"
        )


@pytest.mark.parametrize(
    "background, colour", [("#f00", (255, 0, 0)), ("#00b140", (0, 177, 64)), ("white", (255,) * 3)]
)
def test_a_colour_behind_the_person(avatar: Avatar, background: str, colour: tuple[int, ...]) -> None:
    sound = Waveform(SPEECH.samples[:640])
    kept, changed = (next(avatar.stream(sound, background=which)) for which in ("keep", background))
    np.testing.assert_array_equal(kept[0, 0], (40, 60, 90))
    np.testing.assert_array_equal(changed[0, 0], colour)
    assert np.abs(changed.astype(int) - kept).sum(-1).min() < 12


def test_an_image_behind_the_person_is_cut_square(avatar: Avatar, tmp_path: Path) -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = (10, 200, 30)
    write_png(tmp_path / "wall.png", image)
    frame = next(avatar.stream(Waveform(SPEECH.samples[:640]), background=str(tmp_path / "wall.png")))
    np.testing.assert_allclose(frame[2, [2, -3]], [(10, 200, 30)] * 2, atol=1)


@pytest.mark.parametrize("size", [63, 65, 0, -2, 5000])
def test_odd_and_huge_sizes_are_refused(avatar: Avatar, size: int) -> None:
    with pytest.raises(InputError, match="size"):
        next(avatar.stream(SPEECH, size=size))


def test_unknown_format_and_background_write_nothing(avatar: Avatar, tmp_path: Path) -> None:
    wrong: Format = "gif"  # type: ignore[assignment]
    with pytest.raises(InputError, match="format"):
        avatar.render(SPEECH, tmp_path / "a.gif", format=wrong)
    with pytest.raises(InputError, match="neither a colour nor an image"):
        avatar.render(SPEECH, tmp_path / "a.mp4", background="nowhere.png")
    assert list(tmp_path.iterdir()) == []


def test_face_points_fixture_opens_as_asked() -> None:
    assert lip_opening(face_points(0.04)) > lip_opening(face_points(0.0)) + 0.02
