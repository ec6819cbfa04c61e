"""A face driven beyond its recording: blinks, other poses, mouths at the border of what was seen and past it.

Averages over held-out frames look at what the renderer was taught. Here it is asked for more, and what a viewer sees
at once is measured: whether a blink moves the mouth (`blink_psnr`), and whether the face breaks into dots
(`speckle`). F frames at 25 Hz, K named landmarks in the head frame (head units). Images are uint8 [H, W, 3] RGB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.avatar import Performance
from geneface.avatar.idle import MOUTH
from geneface.evaluation.image import Mask, luminance
from geneface.geometry.camera import project
from geneface.geometry.landmarks import BROWS, JAW, LEFT_EYE, RIGHT_EYE, eye_openness, lip_opening, lip_width
from geneface.render.renderer import Renderer
from geneface.types import (
    VIDEO_RATE_HZ,
    ByteArray,
    Camera,
    FloatArray,
    HeadPose,
    LandmarkTrack,
    MotionTrack,
    Waveform,
)

IDENTICAL_DB = 99.0
"""What identical pixels count as."""
CLOSED_SHARE = 0.6
"""A frame has closed eyes where the lids have gone this part of the way of the deepest blink."""
BEYOND = 0.2
"""How far past the 1st and 99th percentile the face is driven, as a part of the range between them."""
PERCENTILES = (1.0, 99.0)
SWEEP_FRAMES = 2 * VIDEO_RATE_HZ
"""A second to the upper end and back, a second to the lower one."""
WORST_FRAMES = VIDEO_RATE_HZ
_SEEDS = 50
_FEWEST_CLOSED = 5


class DrivenAvatar(Protocol):
    """The part of `avatar.Avatar` that is driven."""

    @property
    def camera(self) -> Camera: ...
    # A cached property, as in `Avatar`: type checkers don't take it for a plain one.
    @cached_property
    def renderer(self) -> Renderer: ...
    def motion(self, audio: Waveform, performance: Performance | None = None, /) -> MotionTrack: ...


# ---- blinks


@dataclass(frozen=True)
class BlinkPair:
    """The same frames with open and with closed eyes."""

    open_eyes: MotionTrack
    closed_eyes: MotionTrack
    """Only the frames in which the eyes are closed."""


def blink_pair(avatar: DrivenAvatar, audio: Waveform) -> BlinkPair:
    """Frames in which a blink has closed the eyes, as they are with and without it; none if the face never blinks.

    The first seed is taken whose blinks give a handful of such frames, so that a short sentence has some too.
    """
    plain = avatar.motion(audio, Performance(blink=False))
    best = np.zeros(0, np.intp)
    chosen = plain
    for seed in range(_SEEDS):
        blinking = avatar.motion(audio, Performance(blink=True, seed=seed))
        closed = closed_frames(plain.landmarks.points, blinking.landmarks.points)
        if len(closed) > len(best):
            best, chosen = closed, avatar.motion(audio, Performance(blink=False, seed=seed))
            shown = blinking
        if len(best) >= _FEWEST_CLOSED:
            break
    if not len(best):
        return BlinkPair(take(plain, best), take(plain, best))
    return BlinkPair(take(chosen, best), take(shown, best))


def closed_frames(open_eyes: FloatArray, blinking: FloatArray) -> NDArray[np.intp]:
    """Numbers of the frames in which a blink has closed the lids by `CLOSED_SHARE`. [F, K, 3] each."""
    openness = eye_openness(open_eyes).mean(-1)
    fallen = 1 - eye_openness(blinking).mean(-1) / np.maximum(openness, 1e-6)
    deepest = float(fallen.max(initial=0.0))
    if deepest < 0.1:
        return np.zeros(0, np.intp)
    return np.flatnonzero(fallen >= CLOSED_SHARE * deepest)


def blink_psnr(avatar: DrivenAvatar, audio: Waveform) -> float:
    """PSNR in dB of the lower face, blink off against blink on, over all pixels of the closed-eye frames.

    Returns:
        `IDENTICAL_DB` at most, for a lower face that a blink does not touch; nan if the avatar does not blink.
    """
    pair = blink_pair(avatar, audio)
    errors, pixels = 0.0, 0
    for index in range(len(pair.open_eyes)):
        without, mask = draw(avatar, pair.open_eyes, index), lower_face(pair.open_eyes, index, avatar.camera)
        difference = (draw(avatar, pair.closed_eyes, index)[mask].astype(np.float64)) - without[mask]
        errors, pixels = errors + float(np.square(difference).sum()), pixels + difference.size
    if not pixels:
        return float("nan")
    return IDENTICAL_DB if errors == 0 else min(IDENTICAL_DB, float(10 * np.log10(255.0**2 * pixels / errors)))


def lower_face(motion: MotionTrack, index: int, camera: Camera) -> Mask:
    """[H, W] pixels of the face inside the jaw line, from ear to ear below the tip of the nose: far from the lids."""
    jaw = project(
        motion.landmarks.points[index][JAW], motion.pose.rotation[index], motion.pose.translation[index], camera
    )
    return inside_polygon(jaw, camera.height, camera.width)


def inside_polygon(corners: NDArray[np.floating[Any]], height: int, width: int) -> Mask:
    """[height, width] pixels whose centre lies in the polygon [N, 2] (even-odd rule)."""
    x, y = np.arange(width) + 0.5, (np.arange(height) + 0.5)[:, None]
    inside = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return inside


def draw(avatar: DrivenAvatar, motion: MotionTrack, index: int) -> ByteArray:
    """Frame `index` of the motion."""
    pose = motion.pose
    frame = avatar.renderer.render(
        motion.landmarks.points[index], pose.rotation[index], pose.translation[index], avatar.camera
    )
    return frame.to_uint8()


# ---- what to drive with


@dataclass(frozen=True)
class SeenMotion:
    """What a renderer was taught with: all of its training frames."""

    landmarks: FloatArray
    """[F, K, 3]."""
    pose: HeadPose


@dataclass(frozen=True)
class DrivenMotion:
    """A motion that is not the recording's."""

    name: str
    track: MotionTrack


def seen_motion(portrait: Any) -> SeenMotion:
    """The training frames of a portrait."""
    taught = ~portrait.heldout
    return SeenMotion(
        portrait.landmarks[taught], HeadPose(portrait.pose.rotation[taught], portrait.pose.translation[taught])
    )


def own_motion(avatar: Any, audio: Waveform) -> SeenMotion:
    """For want of a portrait: how the avatar speaks by itself, blinks left out, and its pose path."""
    points = avatar.motion(audio, Performance(blink=False)).landmarks.points
    path = avatar.files.person.path
    frames = np.resize(np.arange(len(path)), max(len(path), len(points)))
    return SeenMotion(points[np.resize(np.arange(len(points)), len(frames))], path_rows(path, frames))


EXPRESSIONS = ("opening", "width", "brows", "lids")
POSES = ("yaw", "pitch", "roll", "shift x", "shift y", "scale")
_POSE_AXIS = {"pitch": 0, "yaw": 1, "roll": 2, "shift x": 3, "shift y": 4, "scale": 5}


class Controls:
    """Moves a median face along one measure at a time: what one unit of a measure moves is learnt from what was seen."""

    def __init__(self, seen: SeenMotion) -> None:
        points = seen.landmarks.astype(np.float64)
        self._face = np.median(points, axis=0)
        self._pose = np.median(_pose_values(seen.pose), axis=0)
        values = {
            "opening": np.asarray(lip_opening(points)),
            "width": np.asarray(lip_width(points)),
            "brows": points[:, BROWS, 1].mean(-1),
            "lids": np.asarray(eye_openness(points)).mean(-1),
        } | {name: _pose_values(seen.pose)[:, axis] for name, axis in _POSE_AXIS.items()}
        lids = np.concatenate([LEFT_EYE, RIGHT_EYE])
        self._slopes = {
            **_slopes(points, {name: values[name] for name in ("opening", "width")}, MOUTH),
            **_slopes(points, {"brows": values["brows"]}, BROWS),
            **_slopes(points, {"lids": values["lids"]}, lids),
        }
        self.middle = {name: float(np.median(value)) for name, value in values.items()}
        self.seen = {name: tuple(np.percentile(value, PERCENTILES).tolist()) for name, value in values.items()}
        """Measure -> its 1st and 99th percentile."""

    def end(self, name: str, upper: bool, beyond: float = BEYOND) -> float:
        """The measure at its percentile, or `beyond` of the range past it; lips and lids never pass through each other."""
        low, high = self.seen[name]
        value = high + beyond * (high - low) if upper else low - beyond * (high - low)
        return max(value, 0.0) if name in ("opening", "lids") else value

    def motion(self, values: dict[str, NDArray[np.float64]]) -> MotionTrack:
        """The median face with some measures set. values: measure -> [F]."""
        frames = len(next(iter(values.values())))
        points = np.repeat(self._face[None], frames, axis=0)
        pose = np.repeat(self._pose[None], frames, axis=0)
        for name, value in values.items():
            if name in _POSE_AXIS:
                pose[:, _POSE_AXIS[name]] = value
            else:
                points += (value - self.middle[name])[:, None, None] * self._slopes[name]
        return MotionTrack(LandmarkTrack(points.astype(np.float32)), _as_pose(pose))

    def sweep(self, name: str, frames: int = SWEEP_FRAMES, beyond: float = BEYOND) -> MotionTrack:
        """A measure to its upper end and back, then to its lower end and back."""
        half = frames // 2
        lobe = (1 - np.cos(2 * np.pi * (np.arange(half) + 0.5) / half)) / 2
        middle = self.middle[name]
        ways = [self.end(name, upper, beyond) - middle for upper in (True, False)]
        return self.motion({name: np.concatenate([middle + lobe * way for way in ways])})

    def wander(self, names: Sequence[str], frames: int, seed: int, beyond: float = BEYOND) -> dict[str, Any]:
        """Measure -> [F] smooth seeded paths that reach both ends of each measure, each in its own rhythm."""
        rng = np.random.default_rng([seed, 0xD817])
        time = np.arange(frames) / VIDEO_RATE_HZ
        values = {}
        for name in names:
            wave = np.sin(2 * np.pi * (rng.uniform(0.25, 0.7) * time + rng.uniform()))
            middle = self.middle[name]
            up, down = self.end(name, True, beyond) - middle, self.end(name, False, beyond) - middle
            values[name] = middle + np.where(wave > 0, wave * up, -wave * down)
        return values


def driven_motions(
    seen: SeenMotion, speech: MotionTrack | None = None, *, frames: int = SWEEP_FRAMES, seed: int = 0
) -> list[DrivenMotion]:
    """Motions that the recording does not hold, each smooth over time.

    Each measure alone from end to end; faces, poses, and both, in combination; and the speech under another head's
    movement.

    Args:
        speech: motion of a sentence that is not the recording's.
        frames: length of a sweep.
    """
    controls = Controls(seen)
    motions = [DrivenMotion(name, controls.sweep(name, frames)) for name in (*EXPRESSIONS, *POSES)]
    for name, names in (("all of the face", EXPRESSIONS), ("all of the pose", POSES)):
        motions.append(DrivenMotion(name, controls.motion(controls.wander(names, 2 * frames, seed))))
    both = controls.wander((*EXPRESSIONS, *POSES), 2 * frames, seed + 1)
    motions.append(DrivenMotion("face and pose", controls.motion(both)))
    if speech is not None:
        # Another head's movement, inside of what was seen.
        poses = controls.motion(controls.wander(POSES, len(speech), seed + 2, beyond=0.0)).pose
        motions.append(DrivenMotion("speech, own poses", speech))
        motions.append(DrivenMotion("speech, other poses", MotionTrack(speech.landmarks, poses)))
    return motions


def _slopes(
    points: NDArray[np.float64], values: dict[str, NDArray[np.float64]], part: NDArray[np.intp]
) -> dict[str, NDArray[np.float64]]:
    """Measure -> [K, 3] what one unit of it moves, by least squares over the frames; nothing outside of `part`."""
    design = np.stack(list(values.values()), axis=-1)
    design = design - design.mean(0)
    centred = (points - points.mean(0))[:, part].reshape(len(points), -1)
    gram = design.T @ design
    gram += 1e-6 * np.trace(gram) * np.eye(len(gram)) + 1e-12 * np.eye(len(gram))
    solved = np.linalg.solve(gram, design.T @ centred).reshape(len(values), len(part), 3)
    out = {}
    for name, slope in zip(values, solved, strict=True):
        out[name] = np.zeros(points.shape[1:])
        out[name][part] = slope
    return out


def _pose_values(pose: HeadPose) -> NDArray[np.float64]:
    """[F, 6]."""
    return np.concatenate([pose.rotation, pose.translation], axis=1).astype(np.float64)


def _as_pose(values: NDArray[np.float64]) -> HeadPose:
    rows = np.ascontiguousarray(values, np.float32)
    return HeadPose(rows[:, :3].copy(), rows[:, 3:].copy())


def path_rows(pose: HeadPose, rows: NDArray[np.integer]) -> HeadPose:
    return HeadPose(pose.rotation[rows], pose.translation[rows])


def take(motion: MotionTrack, rows: NDArray[np.integer]) -> MotionTrack:
    """Some frames of a motion."""
    return MotionTrack(LandmarkTrack(motion.landmarks.points[rows]), path_rows(motion.pose, rows))


# ---- speckle


def speckle(images: Sequence[ByteArray], masks: Sequence[Mask] | Mask) -> NDArray[np.float64]:
    """Mean |I - median of 3 x 3| of the luma over the mask, levels of 255. -> [F]; nan where the mask is empty.

    Args:
        masks: one [H, W] for each image, or one for all.
    """
    out = []
    for index, image in enumerate(images):
        mask = masks if isinstance(masks, np.ndarray) and masks.ndim == 2 else masks[index]
        residual = median_residual(image)[mask]
        out.append(float(residual.mean(dtype=np.float64)) if residual.size else float("nan"))
    return np.asarray(out)


def median_residual(image: ByteArray) -> FloatArray:
    """[H, W] distance of the luma from the median of its 3 x 3 neighbourhood; 0 in the outermost line of pixels."""
    luma = luminance(image)
    residual = np.zeros_like(luma)
    residual[1:-1, 1:-1] = np.abs(luma[1:-1, 1:-1] - _median3x3(luma))
    return residual


def _median3x3(values: FloatArray) -> FloatArray:
    """[H, W] -> [H - 2, W - 2]: each column of three is sorted, then three values of the sorted rows decide."""
    a, b, c = values[:-2], values[1:-1], values[2:]
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    middle = _median(a, b, c)

    def columns(rows: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return rows[:, :-2], rows[:, 1:-1], rows[:, 2:]

    largest_low = np.maximum.reduce(columns(low))
    smallest_high = np.minimum.reduce(columns(high))
    return _median(largest_low, _median(*columns(middle)), smallest_high)


def _median(a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def head_mask(avatar: DrivenAvatar, motion: MotionTrack, index: int) -> tuple[ByteArray, Mask]:
    """Frame `index` and the pixels where its head is."""
    pose = motion.pose
    frame = avatar.renderer.render(
        motion.landmarks.points[index], pose.rotation[index], pose.translation[index], avatar.camera
    )
    return frame.to_uint8(), frame.head_opacity > 0.5


def worst_second(values: NDArray[np.float64], frames: int = WORST_FRAMES) -> tuple[int, float]:
    """First frame and mean of the worst `frames` consecutive ones (all, if there are fewer). values: [F]."""
    frames = min(frames, len(values))
    sums = np.convolve(values, np.ones(frames), mode="valid") / frames
    start = int(np.argmax(sums))
    return start, float(sums[start])
