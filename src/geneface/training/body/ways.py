"""Where a path through recorded frames may turn back or jump without its being seen: measured, not assumed.

What is seen of a frame are groups of numbers: cells of its picture (means of luma), landmarks in pixels. The mouth
takes no part, as it is drawn anew. Distances of a group are root mean squares, in units of the person's own usual jerk
there: the median of |x[f + 1] - 2 x[f] + x[f - 1]|, or what nobody sees if that is more. A frame's jerk is the largest
of its groups.

- A turn on the step from f to f + 1 shows f, f + 1, f: a jerk of 2 |x[f + 1] - x[f]|. Of white noise that would be more
  than the jerk of frames in a row, by 2 / sqrt(3): sqrt(3) is counted in place of 2.
- A jump from a to b shows b in place of a + 1 (video textures, Schödl et al. 2000): |x[b] - x[a + 1]|; and played
  backwards a in place of b - 1.

Both are allowed where they are no more than the jerk of three quarters of the frames as they were filmed.

Symbols: F frames, G groups, N features, T turns, J jumps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.body_track import MOST_JUMPS
from geneface.geometry.camera import project
from geneface.geometry.landmarks import BROWS, IRISES, KEYPOINT_COUNT, LEFT_EYE, LIPS, MOUTH_REGION, RIGHT_EYE
from geneface.imaging.resize import resize_area
from geneface.types import ByteArray, Camera, FloatArray, MotionTrack

CELLS = 32
"""Cells of the picture along a side of the crop; `_BLOCK` x `_BLOCK` of them are a group."""
_BLOCK = 4
_LEAST_SEEN = 0.25
"""Of a block that the mouth partly covers so much must be left."""
_UNSEEN_LEVELS, _UNSEEN_SHARE = 0.7, 1e-3
"""Changes that nobody sees: of a cell's luma, levels of 255; of a place, in widths of the crop."""
_USUAL_PERCENTILE = 75
_TURN_FACTOR = 3**0.5
_TURN_SPACING = 10
"""Frames between turns: of several next to each other the best is kept."""
_JUMP_SPACING = 12
_NEAR_FRAMES = 50
"""Jumps to places nearer than that are not worth it."""
_ROWS = 256
"""Rows of the matrix of distances computed at a time."""
_EYES = (np.concatenate([LEFT_EYE, IRISES[:5]]), np.concatenate([RIGHT_EYE, IRISES[5:]]))


@dataclass(frozen=True)
class Look:
    """What is seen of frames."""

    features: FloatArray
    """[F, N] divided so that the sum of squared differences of a group is its squared distance, in usual jerks."""
    starts: NDArray[np.intp]
    """[G] first feature of each group."""
    run: NDArray[np.int32]
    """[F] frames of one number follow one another."""
    limit: float
    """The largest jerk that is allowed."""

    def distance(self, a: NDArray[np.intp], b: NDArray[np.intp]) -> FloatArray:
        """[n] of frames a [n] and b [n]."""
        return self._largest(self.features[a] - self.features[b])

    def jerks(self) -> FloatArray:
        """[F] of the frames as they were filmed; 0 at the ends of runs."""
        x, jerks = self.features, np.zeros(len(self.features), np.float32)
        inside = np.flatnonzero(self.run[2:] == self.run[:-2]) + 1
        jerks[inside] = self._largest(x[inside + 1] - 2 * x[inside] + x[inside - 1])
        return jerks

    def _largest(self, difference: FloatArray) -> FloatArray:
        return np.sqrt(np.add.reduceat(difference**2, self.starts, axis=1).max(1))


def picture_cells(luma: NDArray[np.floating] | ByteArray, side: float) -> FloatArray:
    """Means of a luma picture [H, W] over cells of about side / `CELLS`; [h, w], multiples of the groups' size."""
    height, width = (max(_BLOCK, _BLOCK * round(CELLS * length / side / _BLOCK)) for length in luma.shape)
    rows, columns = min(height, luma.shape[0]), min(width, luma.shape[1])
    return resize_area(luma.astype(np.float32), rows // _BLOCK * _BLOCK, columns // _BLOCK * _BLOCK)


def face_pixels(track: MotionTrack, camera: Camera) -> FloatArray:
    """[F, K, 2] landmarks in pixels of the camera."""
    return project(track.points, track.pose.rotation, track.pose.translation, camera).astype(np.float32)


def look_at(
    cells: FloatArray, places: FloatArray, crop: tuple[float, float, float], size: tuple[int, int],
    run: NDArray[np.int32],
) -> Look:  # fmt: skip
    """Measure frames.

    Args:
        cells: [F, h, w] of `picture_cells`.
        places: [F, K, 2] landmarks, in pixels of the pictures.
        crop: x, y and side of the square around the head, in these pixels.
        size: height and width of the pictures.
        run: [F].
    """
    unit = _UNSEEN_SHARE * crop[2]
    groups = [*_picture_groups(cells, places, size), *_face_groups(places / (unit / _UNSEEN_LEVELS))]
    inside = np.flatnonzero(run[2:] == run[:-2]) + 1
    scaled = []
    for group in groups:
        jerk = np.sqrt(((group[inside + 1] - 2 * group[inside] + group[inside - 1]) ** 2).mean(1))
        usual = max(float(np.median(jerk)) if len(jerk) else 0.0, _UNSEEN_LEVELS)
        scaled.append(group / np.float32(usual * np.sqrt(group.shape[1])))
    starts = np.cumsum([0, *(group.shape[1] for group in scaled[:-1])]).astype(np.intp)
    look = Look(np.concatenate(scaled, axis=1).astype(np.float32), starts, run, 0.0)
    jerks = look.jerks()[inside]
    limit = float(np.percentile(jerks, _USUAL_PERCENTILE)) if len(jerks) else 0.0
    return Look(look.features, starts, run, max(limit, 1.0))


def _picture_groups(cells: FloatArray, places: FloatArray, size: tuple[int, int]) -> list[FloatArray]:
    """[F, n] for each block of cells that no mouth touches in any frame."""
    _, rows, columns = cells.shape
    scale = np.array([columns / size[1], rows / size[0]])
    mouth = places[:, MOUTH_REGION] * scale
    low, high = np.floor(mouth.min(1)).astype(int), np.ceil(mouth.max(1)).astype(int)
    drawn = np.zeros((rows, columns), bool)
    for (x0, y0), (x1, y1) in zip(np.maximum(low, 0), np.maximum(high, 0), strict=True):
        drawn[y0:y1, x0:x1] = True
    groups = []
    for top in range(0, rows, _BLOCK):
        for left in range(0, columns, _BLOCK):
            seen = ~drawn[top : top + _BLOCK, left : left + _BLOCK]
            if seen.mean() >= _LEAST_SEEN:
                groups.append(cells[:, top : top + _BLOCK, left : left + _BLOCK][:, seen])
    return groups


def _face_groups(places: FloatArray) -> list[FloatArray]:
    """[F, n] for each eye with its iris, the brows, and what neither mouth nor eyes move."""
    taken = np.zeros(KEYPOINT_COUNT, bool)
    taken[np.concatenate([MOUTH_REGION, LIPS, BROWS, *_EYES])] = True
    return [places[:, points].reshape(len(places), -1) for points in (*_EYES, BROWS, np.flatnonzero(~taken))]


def turn_costs(look: Look) -> FloatArray:
    """[F] the jerk of a turn on the step from each frame to the next; infinite at the ends of runs."""
    costs = np.full(len(look.run), np.inf, np.float32)
    inside = np.flatnonzero(look.run[1:] == look.run[:-1])
    costs[inside] = _TURN_FACTOR * look.distance(inside, inside + 1)
    return costs


def find_turns(look: Look) -> NDArray[np.int32]:
    """[T] first frames of steps, rising: the best of their neighbourhoods of those that are allowed."""
    return _best(turn_costs(look), look.limit, _TURN_SPACING)


def _best(costs: FloatArray, limit: float, spacing: int) -> NDArray[np.int32]:
    chosen: list[int] = []
    free = costs <= limit
    for frame in np.argsort(costs, kind="stable").tolist():
        if free[frame]:
            chosen.append(frame)
            free[max(0, frame - spacing) : frame + spacing + 1] = False
    return np.array(sorted(chosen), np.int32)


def find_jumps(look: Look) -> NDArray[np.int32]:
    """[J, 2] (a, b), rising: the best of their neighbourhoods of those that are allowed.

    Pictures before and after the jump must agree: b with a + 1, and b - 1 with a. So it goes on as fast as it came, and
    may be played backwards too.
    """
    frames, run = len(look.run), look.run
    found: list[NDArray[np.float64]] = []
    if frames < 2:
        return np.zeros((0, 2), np.int32)
    follows = np.flatnonzero(run[1:] == run[:-1])
    for first in range(0, len(follows), _ROWS):
        a = follows[first : first + _ROWS]
        cost = np.maximum(_distances(look, a + 1, follows + 1), _distances(look, a, follows))
        far = (run[a][:, None] != run[follows][None]) | (np.abs(a[:, None] - follows[None]) >= _NEAR_FRAMES)
        rows, columns = np.nonzero((cost <= look.limit) & far)
        found.append(np.stack([cost[rows, columns], a[rows], follows[columns] + 1]).astype(np.float64))
    costs, before, after = np.concatenate([np.zeros((3, 0)), *found], axis=1)
    # Of a still person there are millions: what is near to a chosen one is marked, and not looked for.
    is_free = np.ones((frames, frames), bool)
    chosen: list[tuple[int, int]] = []
    for place in np.lexsort((after, before, costs)):
        a, b = int(before[place]), int(after[place])
        if is_free[a, b] and len(chosen) < MOST_JUMPS:
            chosen.append((a, b))
            near_a, near_b = (slice(max(0, x - _JUMP_SPACING), x + _JUMP_SPACING + 1) for x in (a, b))
            is_free[near_a, near_b] = False
    return np.array(sorted(chosen), np.int32).reshape(-1, 2)


def _distances(look: Look, a: NDArray[np.intp], b: NDArray[np.intp]) -> FloatArray:
    """[len(a), len(b)]."""
    worst = np.zeros((len(a), len(b)), np.float32)
    for start, stop in zip(look.starts, [*look.starts[1:], look.features.shape[1]], strict=True):
        x, y = look.features[a, start:stop], look.features[b, start:stop]
        squares = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
        np.maximum(worst, squares, out=worst)
    return np.sqrt(np.maximum(worst, 0))
