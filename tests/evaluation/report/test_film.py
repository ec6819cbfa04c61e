"""Films, decoded again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from geneface.errors import InputError
from geneface.evaluation.report.film import FILM_FRAMES, with_error, write_film
from geneface.evaluation.report.sheet import error_map
from geneface.io.audio import read_audio
from geneface.io.encode import SYNTHETIC_METADATA
from geneface.io.video import read_frames
from geneface.types import ByteArray

from .pages import moving_pictures, tone

BAR = 14


def decoded(path: Path) -> list[ByteArray]:
    return [frame.image for frame in read_frames(path)]


def test_panels_stand_side_by_side_under_their_titles(tmp_path: Path) -> None:
    # Grey, as 4:2:0 blurs colour.
    left = [np.repeat(image[..., :1], 3, -1) for image in moving_pictures(5)]
    right: list[ByteArray] = [np.subtract(255, image, dtype=np.uint8) for image in left]
    count = write_film(tmp_path / "film.mp4", zip(left, right, strict=True), ("LEFT", "RIGHT"), None, crf=5)
    frames = decoded(tmp_path / "film.mp4")
    assert count == len(frames) == 5 and frames[0].shape == (BAR + 64, 128, 3)
    for i, frame in enumerate(frames):
        assert np.abs(frame[BAR:, :64].astype(float) - left[i]).mean() < 3
        assert np.abs(frame[BAR:, 64:].astype(float) - right[i]).mean() < 3
        assert frame[:BAR, :64].max() > 150 and frame[:BAR, 64:].max() > 150, "both have a label"
        assert frame[:BAR].mean() < 80


def test_the_file_is_what_browsers_play(tmp_path: Path) -> None:
    """H.264 4:2:0 of even size, AAC, index in front, marked as synthetic, 25 a second."""
    odd = moving_pictures(25, height=33, width=31)
    write_film(tmp_path / "film.mp4", ([image] for image in odd), ["A"], tone(1.0))
    with av.open(str(tmp_path / "film.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.codec_context.name == "h264" and video.codec_context.pix_fmt == "yuv420p"
        assert video.average_rate == 25 and video.width % 2 == 0 and video.height % 2 == 0
        assert audio.codec_context.name == "aac"
        assert container.metadata["comment"] == SYNTHETIC_METADATA["comment"]
    data = (tmp_path / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    heard = read_audio(tmp_path / "film.mp4").samples[:16000]
    assert np.corrcoef(heard, tone(1.0).samples[: len(heard)])[0, 1] > 0.95


def test_large_panels_are_scaled_down(tmp_path: Path) -> None:
    large = moving_pictures(2, height=96, width=128)
    write_film(tmp_path / "film.mp4", ([a, a, a] for a in large), ["A"] * 3, None, panel_px=64)
    assert decoded(tmp_path / "film.mp4")[0].shape == (BAR + 48, 192, 3)
    write_film(tmp_path / "small.mp4", ([a] for a in large), ["A"], None, panel_px=256)
    assert decoded(tmp_path / "small.mp4")[0].shape == (BAR + 96, 128, 3), "small ones stay"


def test_a_film_ends_in_time_without_asking_for_more(tmp_path: Path) -> None:
    """Its size in the page is bounded, and frames that would not be shown are not made."""
    asked = 0
    image = moving_pictures(1, height=16, width=16)[0]

    def endless() -> Iterator[list[ByteArray]]:
        nonlocal asked
        while True:
            asked += 1
            yield [image]

    assert write_film(tmp_path / "film.mp4", endless(), ["A"], None) == FILM_FRAMES == 250
    assert asked == FILM_FRAMES


def test_the_error_panel_is_the_error_map() -> None:
    truth, other = moving_pictures(3), moving_pictures(3, shift=3)
    moments = list(with_error(zip(truth, other, strict=True)))
    assert [len(moment) for moment in moments] == [3, 3, 3]
    for i, moment in enumerate(moments):
        assert (moment[0] == truth[i]).all() and (moment[1] == other[i]).all()
        assert (moment[2] == error_map(truth[i], other[i])).all() and moment[2].max() > 0


def test_unequal_panels_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    a, b = moving_pictures(1)[0], moving_pictures(1, width=32)[0]
    with pytest.raises(ValueError, match="2 panels for 1 titles"):
        write_film(tmp_path / "film.mp4", [[a, a]], ["A"], None)
    with pytest.raises(ValueError, match="differ in size"):
        write_film(tmp_path / "film.mp4", [[a, b]], ["A", "B"], None)
    with pytest.raises(InputError, match="nothing to write"):
        write_film(tmp_path / "film.mp4", [], [], None)
    assert not list(tmp_path.iterdir())
