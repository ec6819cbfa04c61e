"""A schematic face with the named landmarks where a face has them, and a tiny avatar of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geneface.analysis.speech import RECORDED_ENCODER
from geneface.avatar.folder import AvatarConfig, AvatarParts, write_avatar
from geneface.avatar.idle import BlinkStatistics
from geneface.avatar.person import PersonStatistics
from geneface.geometry import landmarks as names
from geneface.io.records import write_json
from geneface.io.tensors import save_tensors
from geneface.motion.basis import MotionBasis
from geneface.motion.runtime import RECORDED_FOLDER, MotionModelConfig
from geneface.render.condition import fit_conditions
from geneface.render.gaussian import GaussianLayer, GaussianModel
from geneface.types import Camera, HeadPose


def _ellipse(centre: tuple[float, float], radii: tuple[float, float], turns: np.ndarray) -> np.ndarray:
    angle = 2 * np.pi * turns
    return np.stack([centre[0] + radii[0] * np.cos(angle), centre[1] + radii[1] * np.sin(angle)], axis=1)


def face_points(opening: float = 0.01) -> np.ndarray:
    """[K, 3] head units, x to the image's right, y up; lips open by about `opening`."""
    points = np.zeros((names.KEYPOINT_COUNT, 3), np.float32)
    rng = np.random.default_rng(5)
    points[:, :2] = rng.uniform(-0.15, 0.15, (len(points), 2))
    points[names.OVAL, :2] = _ellipse((0, 0), (0.18, 0.25), 0.25 - np.arange(36) / 36)
    # The lips' outline starts at the left corner and runs below; the eye's starts at a corner and runs below.
    turns = 0.5 + np.arange(20) / 20
    points[names.LIPS_OUTER, :2] = _ellipse((0, -0.12), (0.07, 0.025 + opening / 2), turns)
    points[names.LIPS_INNER, :2] = _ellipse((0, -0.12), (0.055, opening / 2 + 1e-3), turns)
    points[names.LEFT_EYE, :2] = _ellipse((-0.08, 0.07), (0.035, 0.012), 0.5 + np.arange(16) / 16)
    points[names.RIGHT_EYE, :2] = _ellipse((0.08, 0.07), (0.035, 0.012), -np.arange(16) / 16)
    points[names.BROWS, 1] = 0.12
    points[:, 2] = 0.2 - points[:, 0] ** 2
    return points


def with_closed_eyes(points: np.ndarray, amount: float) -> np.ndarray:
    """Bring the lids together, by 0.9 of their distance at amount 1."""
    result = points.copy()
    for eye in (names.LEFT_EYE, names.RIGHT_EYE):
        middle = result[eye, 1].mean()
        result[eye, 1] = middle - 0.004 * amount + (1 - 0.9 * amount) * (result[eye, 1] - middle)
    return result


def motion_model(folder: Path, encoder: str = "mel", width: int = 80) -> Path:
    """A motion model in which the lower lip drops with the mean of the features: the loudness, for log-mel bands.

    One convolution over the two rows of a frame; the noise moves the second component a little.
    """
    pytest.importorskip("onnx", reason="onnx writes the motion model of the tests")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    components, latent = 2, 2
    hear = np.zeros((components, width, 2), np.float32)
    hear[0] = 0.5 / width
    noise = np.zeros((latent, components, 2), np.float32)
    noise[0, 1] = 0.3
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["features"], ["columns"], perm=[0, 2, 1]),
            helper.make_node("Conv", ["columns", "hear"], ["heard"], strides=[2]),
            helper.make_node("ConvTranspose", ["noise", "spread"], ["varied"], strides=[2]),
            helper.make_node("Add", ["heard", "varied"], ["motion"]),
            helper.make_node("Identity", ["heard"], ["hidden"]),
        ],
        "motion",
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, "rows", width]),
            helper.make_tensor_value_info("noise", TensorProto.FLOAT, [1, latent, "steps"]),
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, components, "frames"])
            for name in ("motion", "hidden")
        ],
        [numpy_helper.from_array(hear, "hear"), numpy_helper.from_array(noise, "spread")],
    )
    folder.mkdir(parents=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, str(folder / "motion.onnx"))
    synthesis = np.zeros((components, names.KEYPOINT_COUNT, 3), np.float32)
    lower = names.LIPS_INNER[1:10]
    synthesis[0, lower, 1] = -0.01
    synthesis[1, names.BROWS, 1] = 0.005
    mean = np.zeros_like(synthesis[0])
    save_tensors(folder / "stats.safetensors", MotionBasis(synthesis, synthesis, mean).tensors())
    config = MotionModelConfig(
        encoder=encoder, feature_width=width, latent_channels=latent, latent_stride=2, past_frames=2, future_frames=2
    )
    write_json(folder / "config.json", config.model_dump(mode="json"))
    return folder


def person() -> PersonStatistics:
    """Somebody who nods over a path of three seconds."""
    time = np.arange(75, dtype=np.float32) / 25
    rotation = np.stack([0.1 * np.sin(2 * time), 0.1 * np.cos(time), 0 * time], axis=1)
    translation = np.stack([0.02 * np.sin(time), 0 * time, -4 + 0 * time], axis=1)
    neutral = np.zeros((names.MESH_SIZE, 3), np.float32)
    neutral[list(names.KEYPOINTS)] = face_points(0.01)
    closing = with_closed_eyes(face_points(), 1.0) - face_points()
    blink = BlinkStatistics(20.0, 5.0, closing.astype(np.float32))
    path = HeadPose(rotation.astype(np.float32), translation.astype(np.float32))
    return PersonStatistics(neutral, face_points(0.0), blink, path)


def gaussian_model(count: int = 300, size: int = 64) -> GaussianModel:
    """Coloured blobs on the face's landmarks and a torso below; the mouth's and the brows' move with the landmarks."""
    rng = np.random.default_rng(0)
    track = np.stack([face_points(opening) for opening in np.linspace(0, 0.05, 12)])
    track += 1e-3 * rng.standard_normal(track.shape).astype(np.float32)
    pose = person().path
    frames = np.arange(len(track))
    conditions = fit_conditions(track, pose.rotation[frames], pose.translation[frames], 4)
    chosen = rng.integers(0, names.KEYPOINT_COUNT, count)

    def base(points: np.ndarray, scale: float) -> np.ndarray:
        rows = np.zeros((14, len(points)), np.float32)
        rows[0:3], rows[3:6], rows[6] = points.T, np.log(scale), 1
        rows[10], rows[11:14] = 2.0, rng.uniform(0.2, 0.9, (3, len(points)))
        return rows

    face, brows = base(face_points()[chosen], 0.02), base(face_points()[names.BROWS], 0.02)
    moving = np.zeros((2 * conditions.mouth.width + 3, 7, count), np.float32)
    moving[0, 1] = np.where(face_points()[chosen, 1] < -0.12, -0.02, 0.0)
    rising = np.zeros((2 * (conditions.eyes.width + conditions.brows.width) + 3, 7, len(names.BROWS)), np.float32)
    rising[conditions.eyes.width, 1] = 0.05
    torso = base(rng.uniform([-0.4, -0.6, -0.2], [0.4, -0.35, 0.0], (60, 3)).astype(np.float32), 0.06)
    layers = (
        GaussianLayer("upper", "head", "upper", brows, rising),
        GaussianLayer("lower", "head", "lower", face, moving),
        GaussianLayer("torso", "torso", "pose", torso, np.zeros((6, 7, 60), np.float32)),
    )
    return GaussianModel(
        layers=layers,
        conditions=conditions,
        torso_origin=np.array([0, 0, -4.1], np.float32),
        torso_map=np.zeros((6, 6), np.float32),
        camera=Camera(2.5, size, size),
        turn_width=3,
    )


def make_avatar(
    folder: Path,
    work: Path,
    encoder: str = "mel",
    width: int = 80,
    size: int = 64,
    body: Path | None = None,
    has_recorded: bool = False,
) -> Path:
    """A whole avatar folder, by default 64 x 64 pixels, written by `write_avatar`.

    `has_recorded`: with a motion model of its own for recorded speech.
    """
    model = gaussian_model(size=size)
    config = AvatarConfig(
        name="tiny",
        renderer="gaussian",
        renderer_config=model.config(),
        size=size,
        focal=2.5,
        encoder=encoder,
        licence="CC0",
        attribution="nobody",
        consent="it is drawn by a program",
        training={"preset": "tiny", "training_frames": 12},
    )
    plate = np.full((size, size, 3), (40, 60, 90), np.uint8)
    motion = motion_model(work / "generic", encoder, width)
    if has_recorded:
        motion_model(motion / RECORDED_FOLDER, RECORDED_ENCODER, 1024)
    parts = AvatarParts(config, model.tensors(), person(), plate, plate, motion, None, body)
    write_avatar(folder, parts)
    return folder


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Sound [T] in bursts of a third of a second with pauses between, silent for half a second at both ends."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(16000 * seconds)) / 16000
    syllables = np.clip(np.sin(2 * np.pi * 1.5 * time), 0, 1)
    inside = (time > 0.5) & (time < seconds - 0.5)
    return (0.2 * syllables * inside * rng.standard_normal(len(time))).astype(np.float32)
