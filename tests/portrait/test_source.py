"""Source pictures of a portrait: the square in them is what `Portrait.frame` shows, whatever the video's size and turn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faces import moving_face, murmur

from geneface.imaging.resize import shrink_or_grow
from geneface.imaging.warp import sample
from geneface.portrait.crops import Square
from geneface.portrait.portrait import Portrait
from geneface.portrait.prepare import PrepareConfig, prepare_portrait
from geneface.portrait.source import source_size

SHARP = {"crf": "10"}
SIZES = [(450, 450), (1280, 720), (853, 481), (1920, 1080), (3840, 2160), (2160, 3840), (4096, 2160), (2704, 1520),
         (1440, 1440), (2001, 3001), (320, 180)]  # fmt: skip


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pictures_are_kept_as_they_are_up_to_a_limit(width: int, height: int) -> None:
    side = min(width, height) // 2
    kept = source_size(width, height, Square(width // 4, height // 8, side))
    wide, high = kept.even
    assert wide % 2 == high % 2 == 0 and max(wide, high) <= 1920 and min(wide, high) <= 1080
    if max(width, height) <= 1920 and min(width, height) <= 1080:
        assert (kept.width, kept.height) == (width, height) and kept.crop == (width // 4, height // 8, side)
        return
    assert max(max(wide, high) / 1920, min(wide, high) / 1080) > 0.92
    # The square stays one to a twentieth of a pixel: its far corner is where both scales put it.
    x, y, small = kept.crop
    assert x + small == pytest.approx((width // 4 + side) * wide / width, abs=0.05)
    assert y + small == pytest.approx((height // 8 + side) * high / height, abs=0.05)


def on_wall(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture in the middle of a larger wall."""
    wall = np.full((height, width, 3), np.median(image[:20, :20], axis=(0, 1)).astype(np.uint8))
    top, left = (height - len(image)) // 2, (width - image.shape[1]) // 2
    wall[top : top + len(image), left : left + image.shape[1]] = image
    return wall


@pytest.mark.slow
@pytest.mark.parametrize(
    ("width", "height", "face", "rotation", "kept"),
    [
        (321, 243, 240, 0, (322, 244)),
        (200, 356, 200, 0, (200, 356)),
        (320, 240, 240, 90, (240, 320)),
        (2400, 600, 500, 0, (1920, 480)),
    ],
)
def test_the_square_in_the_source_pictures_is_the_frame(
    make_media, tmp_path: Path, width: int, height: int, face: int, rotation: int, kept: tuple[int, int]
) -> None:
    """Odd sizes, 9:16, a phone's video that is stored on its side, and one that is shrunk."""
    upright = (height, width) if rotation % 180 else (width, height)
    images = [on_wall(image, *upright) for image in moving_face(101, size=face)]
    stored = [np.rot90(image, -rotation // 90) for image in images]
    video = make_media("a.mp4", images=stored, samples=murmur(4.1), rotation=rotation, pix_fmt="yuv444p", options=SHARP)
    prepare_portrait([video], tmp_path / "out", PrepareConfig(size=128, encoder="mel", workers=1))
    portrait = Portrait.load(tmp_path / "out")
    source = portrait.source(0)
    assert source is not None and (source.width, source.height) == kept and source.frames == len(portrait)
    x, y, side = source.crop
    for index in (0, 57, len(portrait) - 1):
        picture = next(source.pictures(index, index + 1)).astype(np.float32)
        # The exact square, also between pixels, at twice the size of the frame; then area means.
        steps = (np.arange(256) + 0.5) / 256 * side
        across, down = np.meshgrid(x + steps, y + steps)
        exact = sample(picture, across, down) if side < 256 else _exact(picture, x, y, side)
        shown = shrink_or_grow(exact, 128, 128)
        frame = portrait.frame(index)[0].astype(np.float64)
        inner = slice(2, -2)
        error = np.abs(shown - frame)[inner, inner].mean()
        assert error < 3, error
        # One pixel aside is worse: the comparison would see a wrong place.
        for move in ((0, 1), (1, 0)):
            assert np.abs(np.roll(shown, move, (0, 1)) - frame)[inner, inner].mean() > error + 0.4
    with pytest.raises(ValueError, match="no frames"):
        source.pictures(0, source.frames + 1)


def _exact(picture: np.ndarray, x: float, y: float, side: float) -> np.ndarray:
    """The square by its whole pixels."""
    left, top, size = round(x), round(y), round(side)
    return picture[top : top + size, left : left + size]
