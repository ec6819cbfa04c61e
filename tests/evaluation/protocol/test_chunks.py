"""Which frames are drawn, and what the chunks hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from geneface.evaluation.protocol.chunks import CHUNK_FRAMES, Piece, PortraitChunks, choose_pieces, shift_words
from geneface.evaluation.protocol.videos import Chunk
from geneface.evaluation.subjects import Span, heldout_spans
from geneface.render.renderer import RenderedFrame, Window
from geneface.types import SPEECH_RATE_HZ, VIDEO_RATE_HZ, Camera, MotionTrack

from ..doubles import FakeAvatar, FakeBody, FakeFiles, FakePortrait


def spans(*lengths: int) -> list[Span]:
    starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    return [Span(i, a, a + n, a, a + n) for i, (a, n) in enumerate(zip(starts, lengths, strict=False))]


def test_all_frames_are_taken_where_there_are_few() -> None:
    pieces = choose_pieces(spans(75, 30), 300)
    assert [(p.span, p.start, p.stop) for p in pieces] == [(0, 0, 75), (1, 75, 105)]


def test_long_spans_are_cut_into_equal_pieces() -> None:
    pieces = choose_pieces(spans(950), 10_000)
    assert sum(map(len, pieces)) == 950 and max(map(len, pieces)) <= CHUNK_FRAMES
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1
    assert all(a.stop == b.start for a, b in pairwise(pieces))


@pytest.mark.parametrize("limit", [1, 40, 75, 100, 300, 301])
def test_a_limit_is_kept_and_runs_stay_whole(limit: int) -> None:
    chosen = choose_pieces(spans(*[75] * 17), limit)
    assert 0 < sum(map(len, chosen)) <= limit
    assert all(len(piece) == 75 for piece in chosen[:-1])
    if limit >= 300:
        assert len({piece.span for piece in chosen}) >= 4
        assert chosen[0].span < 4 and chosen[-1].span > 12, "spread over the whole portrait"


def test_no_spans_no_pieces() -> None:
    assert choose_pieces([], 300) == []


def test_words_move_with_the_piece() -> None:
    words = ((0.0, 0.5, "sil"), (0.5, 1.0, "bin"), (2.0, 2.5, "now"))
    assert shift_words(words, 15, 25) == ((pytest.approx(-0.1), pytest.approx(0.4), "bin"),)
    assert shift_words(words, 0, 75) == words


def chunk_of(portrait: FakePortrait, avatar: FakeAvatar, piece: Piece) -> tuple[PortraitChunks, Chunk]:
    tracked = MotionTrack(portrait.landmarks, portrait.pose)
    found = heldout_spans(portrait.segment, portrait.heldout)
    predictions = [avatar.motion(portrait.audio(span.segment)) for span in found]
    chunks = PortraitChunks(avatar, portrait, tracked, found, predictions)
    return chunks, chunks.draw(piece)


def test_a_chunk_holds_truth_drawings_sound_and_words_of_the_same_frames() -> None:
    portrait = FakePortrait()
    portrait.segments[1] = type(portrait.segments[1])("clip1", ((0.0, 0.8, "bin"), (1.0, 1.2, "at")))
    start = 40 + 12
    chunks, chunk = chunk_of(portrait, FakeAvatar(portrait, error=3), Piece(0, start, start + 20))
    assert chunk.name == "clip1 from 0.5 s"
    for offset in (0, 19):
        truth = portrait.frame(start + offset)[0]
        assert np.array_equal(chunk.references[offset].image, truth)
        for row in (chunks.from_speech, chunks.from_landmarks):
            error = chunk.evaluated[row][offset].astype(int) - truth
            assert set(np.abs(error).ravel().tolist()) == {3}
    head, sound, words = chunk.references[0].head, chunk.sound, chunk.words
    assert head is not None and sound is not None and words is not None
    assert head.sum() == 42 * 36
    assert [np.array_equal(a, portrait.frame(start - 2 + i)[0]) for i, a in enumerate(chunk.before)] == [True, True]
    samples = portrait.audio(1).samples
    first = 12 * SPEECH_RATE_HZ // VIDEO_RATE_HZ
    assert np.array_equal(sound.samples, samples[first : first + len(sound.samples)])
    assert sound.duration_seconds == pytest.approx(20 / 25)
    assert [word for _, _, word in words] == ["bin", "at"]
    assert np.array_equal(chunk.still, portrait.frame(0)[0]), "the still frame comes from the training part"


def test_nothing_before_a_segment_is_shown_late() -> None:
    portrait = FakePortrait()
    _, chunk = chunk_of(portrait, FakeAvatar(portrait), Piece(0, 40, 60))
    assert list(chunk.before) == []
    assert chunk.words is None


def test_an_avatar_with_a_body_is_shown_pasted_too() -> None:
    portrait = FakePortrait()
    start = 40 + 12
    _, without = chunk_of(portrait, FakeAvatar(portrait, error=3), Piece(0, start, start + 5))
    assert len(without.evaluated) == 2 and not without.masks
    avatar = FakeAvatar(portrait, error=3, files=FakeFiles(FakeBody()))
    chunks, chunk = chunk_of(portrait, avatar, Piece(0, start, start + 5))
    assert tuple(chunk.evaluated) == chunks.rows and tuple(chunk.masks) == chunks.pasted
    for row in (chunks.from_speech, chunks.from_landmarks):
        for a, b in zip(chunk.evaluated[row], without.evaluated[row], strict=True):
            np.testing.assert_array_equal(a, b)
    for row in chunks.pasted:
        for image, mask, reference in zip(chunk.evaluated[row], chunk.masks[row], chunk.references, strict=True):
            assert mask.shape == image.shape[:2] and mask.min() == 0 and mask.max() > 0.99
            error = image.astype(int) - reference.image
            assert not error[mask == 0].any(), "what is not drawn is the recording"
            assert np.abs(error)[mask > 0.99].min() > 0, "what is drawn is not"


def test_the_body_s_grain_is_laid_over_what_is_drawn() -> None:
    portrait = FakePortrait()
    row = "double, pasted, from tracked landmarks"
    smooth, grainy = (
        chunk_of(portrait, FakeAvatar(portrait, error=0, files=FakeFiles(FakeBody(grain))), Piece(0, 40, 41))[1]
        for grain in (0.0, 0.05)
    )
    noise = (grainy.evaluated[row][0].astype(float) - smooth.evaluated[row][0])[smooth.masks[row][0] > 0.99]
    assert noise.std() == pytest.approx(0.05 * 255, rel=0.2)


class HalfTransparent:
    """Half of the avatar's grey plate shines through a black figure."""

    def render(
        self,
        landmarks: np.ndarray,
        rotation: np.ndarray,
        translation: np.ndarray,
        camera: Camera,
        window: Window | None = None,
        torso: np.ndarray | None = None,
    ) -> RenderedFrame:
        assert window is None
        plate = np.full((camera.height, camera.width, 3), 90 / 255, np.float32)
        opacity = np.full(plate.shape[:2], 0.5, np.float32)
        return RenderedFrame(np.dstack([plate / 2, opacity]), opacity, plate)


def test_a_segment_of_another_scene_is_drawn_over_its_own_plate() -> None:
    portrait = FakePortrait()
    portrait.other_scenes[2] = np.full((64, 64, 3), 200, np.uint8)
    avatar = FakeAvatar(portrait, other_renderer=HalfTransparent())
    for piece, expected in ((Piece(0, 40, 42), 45), (Piece(1, 100, 102), 100)):
        _, chunk = chunk_of(portrait, avatar, piece)
        for frames in chunk.evaluated.values():
            assert np.ptp(frames[0]) == 0
            assert frames[0][0, 0, 0] == pytest.approx(expected, abs=1)
