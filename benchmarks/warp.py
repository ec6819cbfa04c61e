"""The 2-D baseline that a renderer has to beat: a mean texture warped by the landmark mesh, plus a ridge residual.

    python benchmarks/warp.py PORTRAIT [--avatar AVATAR]... [--sheet FILE.png] [--frames 400] [--mean-only] [--json]

Every training picture is warped into one mean layout of control points: the mesh, two rings around the head that follow
the head pose, and the fixed border of the image. There, each texel is a linear function of the condition and the pose
(ridge regression); the result is warped back. The held-out frames are scored by the metrics of `geneface evaluate`;
with --avatar, the renderers of trained avatars are scored on the same frames, and --sheet shows all of them next to the
truth. Needs scipy.

Symbols: F frames, P control points, T triangles, H x W pixels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial import Delaunay

from geneface.evaluation.metrics.picture import REGIONS, ReferenceFrame
from geneface.evaluation.protocol.pictures import ImageScores, compare_frame
from geneface.evaluation.report.sheet import label_bar, resize_image
from geneface.evaluation.tools import open_tools
from geneface.geometry.camera import project
from geneface.geometry.landmarks import MESH_OVAL, MESH_SURFACE_SIZE
from geneface.io.image import write_png
from geneface.portrait.portrait import Portrait
from geneface.render.condition import fit_conditions, pose_inputs
from geneface.signal.spans import spread_indices
from geneface.types import MotionTrack

RIDGE = 3.0
RINGS = ((1.35, -0.1), (1.8, -0.15))
"""Size of a ring relative to the outline of the face, and its depth in head units."""
OPEN_MOUTH_PERCENTILE = 90
"""The layout is that of a rather open mouth, so that the triangles inside of the lips have an area."""
METRICS = ("head_psnr", "mouth_psnr", "head_ssim", "head_sharpness_ratio", "frame_psnr")


def sample(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Catmull-Rom interpolation of [H, W, 3] at pixel positions [N, 2]; outside, the nearest edge."""
    height, width = image.shape[:2]
    x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = taps(x - column), taps(y - row)
    total = np.zeros((len(points), image.shape[2]))
    for i in range(4):
        rows = np.clip(row + i - 1, 0, height - 1)
        for j in range(4):
            columns = np.clip(column + j - 1, 0, width - 1)
            total += (down[:, i] * across[:, j])[:, None] * image[rows, columns]
    return total


def taps(fraction: np.ndarray) -> np.ndarray:
    """Weights [N, 4] of the pixels -1, 0, 1, 2 around a position `fraction` behind pixel 0."""
    near = np.stack([fraction, 1 - fraction], 1)
    far = np.stack([1 + fraction, 2 - fraction], 1)
    inner = 1.5 * near**3 - 2.5 * near**2 + 1
    outer = -0.5 * far**3 + 2.5 * far**2 - 4 * far + 2
    return np.stack([outer[:, 0], inner[:, 0], inner[:, 1], outer[:, 1]], 1)


def cover(points: np.ndarray, triangles: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which triangle covers each pixel centre, [size^2] (-1: none), and its barycentric coordinates [size^2, 3]."""
    owner = np.full((size, size), -1)
    weights = np.zeros((size, size, 3))
    for number, corners in enumerate(points[triangles]):
        low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, size)
        edges = np.stack([corners[0] - corners[2], corners[1] - corners[2]], 1)
        determinant = edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]
        if (high <= low).any() or abs(determinant) < 1e-6:
            continue
        ys, xs = np.mgrid[low[1] : high[1], low[0] : high[0]] + 0.5
        dx, dy = xs - corners[2, 0], ys - corners[2, 1]
        first = (edges[1, 1] * dx - edges[0, 1] * dy) / determinant
        second = (edges[0, 0] * dy - edges[1, 0] * dx) / determinant
        inside = (first >= -1e-6) & (second >= -1e-6) & (first + second <= 1 + 1e-6)
        window = slice(low[1], high[1]), slice(low[0], high[0])
        owner[window][inside] = number
        weights[window][inside] = np.stack([first, second, 1 - first - second], -1)[inside]
    return owner.ravel(), weights.reshape(-1, 3)


class WarpBaseline:
    """Fitted to the training frames of a portrait."""

    def __init__(self, portrait: Portrait, frames: np.ndarray, ridge: bool) -> None:
        self._portrait, self._size = portrait, portrait.size
        self._ring = self._ring_points(portrait.mesh[frames].mean(0))
        edge = np.linspace(0, portrait.size, 9)
        sides = [(edge, 0 * edge), (edge, 0 * edge + portrait.size), (0 * edge, edge), (0 * edge + portrait.size, edge)]
        self._border = np.unique(np.concatenate([np.stack(side, 1) for side in sides]), axis=0)
        pose = portrait.pose.rotation[frames], portrait.pose.translation[frames]
        self._conditions = fit_conditions(portrait.landmarks[frames], *pose, components=16)
        gap = np.linalg.norm(portrait.mesh[frames, 13] - portrait.mesh[frames, 14], axis=1)
        open_frame = frames[np.argsort(gap)[int(len(frames) * OPEN_MOUTH_PERCENTILE / 100)]]
        mean_pose = portrait.pose.rotation[frames].mean(0), portrait.pose.translation[frames].mean(0)
        head = np.concatenate([portrait.mesh[open_frame, :MESH_SURFACE_SIZE], self._ring])
        self._layout = np.concatenate([project(head, *mean_pose, portrait.camera), self._border])
        self._triangles = Delaunay(self._layout).simplices
        owner, self._weights = cover(self._layout, self._triangles, self._size)
        self._corners = self._triangles[np.maximum(owner, 0)]
        textures = np.stack([self._unwarp(int(frame)) for frame in frames])
        features = np.stack([self._features(int(frame), ridge) for frame in frames])
        penalty = np.full(features.shape[1], RIDGE)
        penalty[0] = 1e-6
        normal = features.T @ features + np.diag(penalty)
        self._ridge = ridge
        self._textures = np.linalg.solve(normal, features.T @ textures).astype(np.float32)

    @staticmethod
    def _ring_points(mesh: np.ndarray) -> np.ndarray:
        oval = mesh[list(MESH_OVAL)][::2]
        centre = oval.mean(0)
        return np.concatenate([np.column_stack([(centre + size * (oval - centre))[:, :2], oval[:, 2] + depth])
                               for size, depth in RINGS])  # fmt: skip

    def _controls(self, frame: int) -> np.ndarray:
        """Control points [P, 2] of a frame, pixels."""
        pose = self._portrait.pose.rotation[frame], self._portrait.pose.translation[frame]
        head = np.concatenate([self._portrait.mesh[frame, :MESH_SURFACE_SIZE], self._ring])
        return np.concatenate([project(head, *pose, self._portrait.camera), self._border])

    def _features(self, frame: int, ridge: bool) -> np.ndarray:
        if not ridge:
            return np.ones(1)
        pose = self._portrait.pose.rotation[frame], self._portrait.pose.translation[frame]
        landmarks = self._portrait.landmarks[frame]
        expression = self._conditions.expression(landmarks).values
        return np.concatenate([[1], expression, self._conditions.pose(pose_inputs(*pose))])

    def _unwarp(self, frame: int) -> np.ndarray:
        """One training picture in the layout, [H W 3]."""
        points = np.einsum("nk,nkd->nd", self._weights, self._controls(frame)[self._corners])
        return sample(self._portrait.frame(frame)[0] / np.float32(255), points).astype(np.float32).ravel()

    def render(self, frame: int) -> np.ndarray:
        """[H, W, 3] uint8."""
        texture = (self._features(frame, self._ridge) @ self._textures).reshape(self._size, self._size, 3)
        owner, weights = cover(self._controls(frame), self._triangles, self._size)
        corners = self._layout[self._triangles[np.maximum(owner, 0)]]
        drawn = sample(texture, np.einsum("nk,nkd->nd", weights, corners))
        return np.round(np.clip(drawn, 0, 1) * 255).astype(np.uint8).reshape(self._size, self._size, 3)


def score(portrait: Portrait, frames: np.ndarray, render: Callable[[int], np.ndarray]) -> dict[str, float | None]:
    """The image metrics over frames, and milliseconds a frame."""
    tools = open_tools()
    scores, truth, spent = ImageScores(tools), ImageScores(tools), 0.0
    for frame in frames:
        started = time.perf_counter()
        drawn = render(int(frame))
        spent += time.perf_counter() - started
        image, masks = portrait.frame(int(frame))
        reference = ReferenceFrame(image, masks[..., 0] > 127, None, portrait.mouth_box[frame])
        scores.add(compare_frame(reference, {"drawn": drawn}, tools, truth="")["drawn"])
    figures = scores.figures(truth, dict.fromkeys(REGIONS, "not in the picture"))
    return {name: figures[name].value for name in METRICS} | {"milliseconds": 1e3 * spent / len(frames)}


def avatar_render(portrait: Portrait, folder: Path) -> Callable[[int], np.ndarray]:
    """The trained renderer of an avatar, driven by the portrait's tracked landmarks."""
    from geneface.avatar.avatar import Avatar

    avatar, track = Avatar.load(folder), MotionTrack(portrait.landmarks, portrait.pose)

    def render(frame: int) -> np.ndarray:
        return next(avatar.draw(track[frame : frame + 1], size=portrait.size))

    return render


def sheet(portrait: Portrait, frames: np.ndarray, renders: dict[str, Callable[[int], np.ndarray]]) -> np.ndarray:
    """A picture: truth and each renderer side by side, below each its mouth at three times the size; a row a frame."""
    rows = [np.concatenate([label_bar(name, portrait.size) for name in ("ground truth", *renders)], 1)]
    for frame in frames:
        pictures = [portrait.frame(int(frame))[0], *(render(int(frame)) for render in renders.values())]
        x0, y0, x1, y1 = portrait.mouth_box[frame]
        middle, half = np.array([y0 + y1, x0 + x1]) // 2, portrait.size // 6
        y, x = np.clip(middle - np.array([half // 2, half]), 0, portrait.size - np.array([half, 2 * half]))
        mouths = [picture[y : y + half, x : x + 2 * half] for picture in pictures]
        scale = portrait.size / (2 * half)
        enlarged = [resize_image(mouth, round(half * scale), portrait.size) for mouth in mouths]
        rows += [np.concatenate(pictures, 1), np.concatenate(enlarged, 1)]
    return np.concatenate(rows)


def spread(frames: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the frames, evenly spread."""
    return frames[spread_indices(len(frames), count)]


def main() -> None:
    """Fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portrait", type=Path)
    parser.add_argument("--avatar", type=Path, action="append", default=[], help="score its renderer, too; repeatable")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet, PNG")
    parser.add_argument("--frames", type=int, default=400, help="training frames that the baseline is fitted to")
    parser.add_argument("--test-frames", type=int, default=150)
    parser.add_argument("--mean-only", action="store_true", help="no ridge residual")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    portrait = Portrait.load(options.portrait)
    test = spread(np.flatnonzero(portrait.heldout), options.test_frames)
    baseline = WarpBaseline(portrait, spread(np.flatnonzero(~portrait.heldout), options.frames), not options.mean_only)
    renders = {"warp, mean texture" if options.mean_only else "warp, ridge": baseline.render}
    renders |= {folder.name: avatar_render(portrait, folder) for folder in options.avatar}
    rows = {name: score(portrait, test, render) for name, render in renders.items()}
    if options.sheet:
        write_png(options.sheet, sheet(portrait, spread(test, 3), renders))
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'':20}" + "".join(f"{name:>22}" for name in next(iter(rows.values()))))
    for name, row in rows.items():
        print(f"{name:20}" + "".join(f"{'n/a' if value is None else f'{value:.3f}':>22}" for value in row.values()))


if __name__ == "__main__":
    main()
