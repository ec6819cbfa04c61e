"""The chain as a stream: early first frame, the same frames however they are asked for, and clean ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from geneface.analysis.speech import ShippedEncoder
from geneface.avatar.avatar import Avatar, Format
from geneface.io.image import read_image
from geneface.ops import reference
from geneface.types import Camera, FloatArray, Waveform

from .avatar_fixtures import make_avatar, speech

SOUND = Waveform(speech(14.0))
FRAMES = 350


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    names = {thread.name for thread in threading.enumerate()}
    assert not names & {"ahead", "encoder"}


def test_the_first_frames_need_one_window_of_the_encoder(hearing: Avatar, monkeypatch: pytest.MonkeyPatch) -> None:
    windows: list[int] = []
    encode = ShippedEncoder._window

    def count(self: ShippedEncoder, samples: FloatArray, gain: float, first_row: int, end_row: int) -> FloatArray:
        windows.append(first_row)
        return encode(self, samples, gain, first_row, end_row)

    monkeypatch.setattr(ShippedEncoder, "_window", count)
    motion = hearing.motion_windows(SOUND)
    lengths = [len(next(motion))]
    assert len(windows) == 1 and 25 <= lengths[0] < 100
    lengths += [len(window) for window in motion]
    assert sum(lengths) == FRAMES and len(windows) == 4


@pytest.mark.slow
def test_stream_png_and_video_show_the_same_frames(hearing: Avatar, tmp_path: Path) -> None:
    streamed = list(hearing.stream(SOUND))
    assert len(streamed) == FRAMES
    assert hearing.render(SOUND, tmp_path / "pictures", format="png") == FRAMES
    for index, path in enumerate(sorted((tmp_path / "pictures").iterdir())):
        np.testing.assert_array_equal(read_image(path), streamed[index])
    assert hearing.render(SOUND, tmp_path / "out.mp4") == FRAMES
    with av.open(str(tmp_path / "out.mp4")) as container:
        decoded = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert len(decoded) == FRAMES
    for planes, image in zip(decoded[::50], streamed[::50], strict=True):
        expected = reference.to_yuv420((image / 255).astype(np.float32))
        assert np.abs(planes.astype(int) - expected).mean() < 3


@pytest.mark.slow
def test_the_first_frames_do_not_depend_on_what_is_asked_for_later(hearing: Avatar) -> None:
    stream = hearing.stream(SOUND)
    first = [next(stream) for _ in range(5)]
    stream.close()
    for one, other in zip(first, hearing.stream(SOUND), strict=False):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_two_streams_at_once(avatar: Avatar) -> None:
    whole = list(avatar.stream(SOUND))
    for one, other, expected in zip(avatar.stream(SOUND), avatar.stream(SOUND), whole, strict=True):
        np.testing.assert_array_equal(one, expected)
        np.testing.assert_array_equal(other, expected)


@pytest.mark.parametrize("format, name", [("mp4", "a.mp4"), ("webm-alpha", "a.webm"), ("png", "pictures")])
def test_an_interrupt_leaves_nothing(
    avatar: Avatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Format, name: str
) -> None:
    draw, drawn = avatar.renderer.render, []

    def interrupted(*arguments: object, **named: object) -> object:
        drawn.append(threading.current_thread())
        if len(drawn) == 40:
            raise KeyboardInterrupt
        return draw(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(avatar.renderer, "render", interrupted)
    with pytest.raises(KeyboardInterrupt):
        avatar.render(SOUND, tmp_path / name, format=format)
    assert list(tmp_path.iterdir()) == []
    assert set(drawn) == {threading.current_thread()}, "a renderer is called from one thread"


def test_an_interrupt_between_two_frames_leaves_nothing(avatar: Avatar, tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if done == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        avatar.render(SOUND, tmp_path / "a.mp4", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_motion_reaches_the_caller(
    avatar: Avatar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the motion broke")

    monkeypatch.setattr(avatar._model, "predict_windows", fail)
    with pytest.raises(RuntimeError, match="the motion broke"):
        avatar.render(SOUND, tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []


def test_any_size_from_an_avatar_of_512_pixels(tmp_path: Path) -> None:
    folder = make_avatar(tmp_path / "large", tmp_path / "work", size=512)
    large = Avatar.load(folder)
    sound = Waveform(SOUND.samples[:640])
    own, small = next(large.stream(sound)), next(large.stream(sound, size=256))
    assert large.camera == Camera(2.5, 512, 512)
    assert own.shape == (512, 512, 3) and small.shape == (256, 256, 3)
    boxes = own.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.abs(boxes - small).mean() < 2


def test_a_small_avatar_is_enlarged(avatar: Avatar) -> None:
    sound = Waveform(SOUND.samples[:640])
    own, large = next(avatar.stream(sound)), next(avatar.stream(sound, size=256))
    assert large.shape == (256, 256, 3)
    boxes = large.reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(boxes - own).mean() < 3
