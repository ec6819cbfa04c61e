"""Training of the `gaussian` renderer: head layers, torso layer and the poses of the frames together, without torch.

One step draws one training frame over the clean plate, compares it with the photograph (Charbonnier, D-SSIM and
silhouettes), and moves every Gaussian, the frame's pose and its colour affine by Adam. When that is done, cheaper steps
show the mouth alone and move the Gaussians of lips and inner mouth only: they are small and many. The order of the
frames follows from the seed and the step number, so that a resumed run equals an uninterrupted one to the bit.

Symbols: F frames, H x W pixels, C condition values. Head units, radians.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from geneface import ops
from geneface.errors import InputError
from geneface.ops.types import COLOR, LOG_SCALE, MEAN, OPACITY_LOGIT, QUATERNION, Splats, U, V
from geneface.portrait.portrait import Portrait
from geneface.render.composite import from_uint8
from geneface.render.condition import (
    Condition,
    Expression,
    FaceConditions,
    fit_conditions,
    fit_torso,
    pose_inputs,
)
from geneface.render.gaussian import GaussianLayer, GaussianModel, draw
from geneface.training.gaussian import initialise
from geneface.training.gaussian.config import COMMON_FRAMES, GaussianTrainConfig
from geneface.training.gaussian.neighbours import diffuse, nearest_neighbours
from geneface.training.gaussian.state import GaussianState, Rates, apply_gradients
from geneface.training.gaussian.targets import FrameTarget, by_size, frame_order, frame_target, mouth_target
from geneface.training.renderer.frame_values import refined_poses
from geneface.training.renderer.run import run_training
from geneface.training.renderer.statistics import portrait_statistics
from geneface.training.renderer.surface import (
    Cloud,
    SurfaceSamples,
    face_triangles,
    sample_mouth,
    sample_shell,
    sample_surface,
)
from geneface.training.renderer.targets import prefetched
from geneface.types import FloatArray, ProgressFn, no_progress

SILHOUETTE_EPSILON = 0.05
MOUTH_LAYERS = ("lips", "mouth")
"""What the steps that show the mouth alone change."""
MOUTH_STEP_COST = 0.3
"""Of a step that shows the mouth alone, in steps that show a whole frame, about."""


def train_gaussian(
    portrait: Portrait,
    work: Path,
    config: GaussianTrainConfig,
    *,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> GaussianModel:
    """Learn a portrait's head and torso.

    Args:
        portrait: what `geneface prepare` wrote; held-out frames are left alone.
        work: folder for the checkpoint, rewritten every few seconds and at the end.
        config: sizes, rates and weights.
        resume: go on from the checkpoint if there is one.
        progress: called with "renderer", steps done, steps in all.

    Raises:
        InputError: no training frames, or a checkpoint of something else.
    """
    trainer = run_training(
        lambda: GaussianTrainer(portrait, config), portrait, work, config, resume=resume, progress=progress
    )
    return trainer.state.model


def initial_model(portrait: Portrait, frames: np.ndarray, config: GaussianTrainConfig) -> GaussianModel:
    """The model before its first step, from the training frames."""
    rng = np.random.default_rng(config.seed)
    statistics = portrait_statistics(portrait, frames)
    pose = portrait.pose.rotation[frames], portrait.pose.translation[frames]
    conditions = fit_conditions(portrait.landmarks[frames], *pose, config.components)
    origin = initialise.torso_origin(portrait, statistics, float(pose[1][:, 2].mean()))
    torso_map = np.zeros((6, conditions.pose.width), np.float32)
    own, moves = _torso_motion(portrait, frames, conditions)
    model = GaussianModel((), conditions, origin, torso_map, portrait.camera, config.turn_width, own)
    widths = model.condition_widths

    # The mean mesh, not the neutral one: it is where the condition is zero.
    mesh = portrait.mesh[frames]
    triangles = face_triangles()
    surface = sample_surface(mesh.mean(0), triangles, config.face_count, rng)
    surface = initialise.without(surface, initialise.near_lips(mesh.mean(0), surface.vertices))
    lips_count, mouth_count = (round(by_size(n, portrait.size)) for n in (config.lips_count, config.mouth_count))
    lips = sample_surface(mesh.mean(0), triangles[initialise.near_lips(mesh.mean(0), triangles)], lips_count, rng)
    mouth = sample_mouth(mesh.mean(0), mouth_count, rng)
    shell = sample_shell(portrait, statistics, config.shell_count, rng)
    torso, torso_colours = initialise.sample_torso(portrait, statistics, origin, config.torso_count, rng)
    upper, lower = initialise.upper_and_lower(surface, mesh.mean(0))
    expressions = conditions.expression(portrait.landmarks[frames]).values
    split = conditions.parts["mouth"].start

    def base(cloud: Cloud) -> FloatArray:
        return initialise.layer_base(cloud, initialise.head_colours(cloud.points, portrait, statistics))

    def bound(samples: SurfaceSamples, values: FloatArray, share: FloatArray) -> FloatArray:
        """The basis that carries surface samples with the mesh, for what was seen and for what lies beyond."""
        rows = initialise.bound_basis(samples, initialise.mesh_basis(mesh, values)) * share
        return np.concatenate([rows, np.zeros((config.turn_width, *rows.shape[1:]), np.float32), rows])

    def still(width: int, cloud: Cloud) -> FloatArray:
        return np.zeros((width, 7, len(cloud.points)), np.float32)

    above, below, around = (initialise.part_share(part, mesh.mean(0)) for part in (upper, lower, lips))
    layers = (
        GaussianLayer("upper", "head", "upper", base(upper.cloud), bound(upper, expressions[:, :split], above)),
        GaussianLayer("lower", "head", "lower", base(lower.cloud), bound(lower, expressions[:, split:], below)),
        GaussianLayer("lips", "head", "lower", base(lips.cloud), bound(lips, expressions[:, split:], around)),
        GaussianLayer("mouth", "head", "lower", base(mouth), still(widths["lower"], mouth)),
        GaussianLayer("shell", "head", "pose", base(shell), still(widths["pose"], shell)),
        initialise.torso_layer(
            torso.points, initialise.layer_base(torso, torso_colours), origin, portrait, widths, moves
        ),
    )
    return replace(model, layers=tuple(layer for layer in layers if len(layer)))


def _torso_motion(
    portrait: Portrait, frames: np.ndarray, conditions: FaceConditions
) -> tuple[Condition | None, FloatArray | None]:
    """The torso's condition and how its lattice moves, see `fit_torso`; None where it was not followed."""
    pose = portrait.pose[frames]
    if pose.torso is None:
        return None, None
    return fit_torso(conditions.pose(pose_inputs(pose.rotation, pose.translation)), pose.torso)


def held(strength: float, frames: int) -> float:
    """How strongly Gaussians are held with so many training frames."""
    return strength * min(1.0, COMMON_FRAMES / frames)


def layer_rates(config: GaussianTrainConfig, frames: int) -> dict[str, Rates]:
    """Learning rates by row of base and basis, for each kind of input."""
    base = np.empty(14, np.float32)
    base[MEAN], base[LOG_SCALE], base[QUATERNION] = config.mean_rate, config.scale_rate, config.quaternion_rate
    base[OPACITY_LOGIT], base[COLOR] = config.opacity_rate, config.colour_rate
    basis = np.array([config.basis_mean_rate] * 3 + [config.basis_opacity_rate] + [config.basis_colour_rate] * 3)
    face = [held(config.basis_mean_decay, frames)] * 3 + [config.basis_decay] * 4
    pose = [config.pose_basis_decay] * 7
    decays = {"upper": face, "lower": face, "pose": pose, "torso": pose}
    return {name: Rates(base, basis.astype(np.float32), np.array(decay, np.float32)) for name, decay in decays.items()}


def diffusion_shares(config: GaussianTrainConfig, frames: int) -> dict[str, FloatArray]:
    """How far the rows of each input's bases are drawn to their neighbours' mean at a time. -> [7] each."""
    face, pose = (
        np.full(7, held(share, frames), np.float32) for share in (config.face_diffusion, config.pose_diffusion)
    )
    return {"upper": face, "lower": face, "pose": pose, "torso": pose}


class GaussianTrainer:
    """One step after another on a `GaussianState`; a `training.renderer.run.Trainer`."""

    timed_steps = 24
    unit = "pixels"

    def __init__(self, portrait: Portrait, config: GaussianTrainConfig) -> None:
        self.frames = np.flatnonzero(~portrait.heldout)
        if len(self.frames) == 0:
            raise InputError("the portrait has no training frames", "prepare more video")
        self._portrait, self._config = portrait, config
        model = initial_model(portrait, self.frames, config)
        self.state = GaussianState.fresh(model, len(portrait.landmarks), config.steps)
        self._rates = layer_rates(config, len(self.frames))
        self._neighbours = [nearest_neighbours(np.ascontiguousarray(layer.base[MEAN].T)) for layer in model.layers]
        self._bound = [layer.basis.copy() for layer in model.layers]
        self._shares = diffusion_shares(config, len(self.frames))
        self._mouth_share = np.full(7, config.mouth_diffusion, np.float32)
        self._plates = _plates(portrait)
        self._splats = Splats.empty(len(model))
        self._look_at_landmarks()
        self.limit_steps(config.steps)

    @property
    def units_per_step(self) -> int:
        """Pixels of a frame."""
        return self._portrait.size**2

    def limit_steps(self, steps: int) -> None:
        """Set the number of steps, and no more than frames and their visits allow.

        Steps of the mouth alone come on top of those of whole frames, as far as `steps` whole ones would last as long.
        """
        share = self._config.mouth_steps
        whole = max(int(steps / (1 + MOUTH_STEP_COST * share)), 1)
        whole = min(whole, self._config.visits * len(self.frames))
        self.state.total_steps = whole + int(share * whole)

    @property
    def whole_steps(self) -> int:
        """How many of the steps show whole frames; the others follow on them."""
        share = self._config.mouth_steps
        whole = int(self.state.total_steps / (1 + share))
        return whole if whole + int(share * whole) == self.state.total_steps else whole + 1

    def restore(self, path: Path, fingerprint: str) -> None:
        """Go on from a checkpoint."""
        self.state.restore(path, fingerprint)
        self._look_at_landmarks()

    def _look_at_landmarks(self) -> None:
        values = self.state.model.conditions.expression(self._portrait.landmarks).values
        # Nothing is learnt of what lies beyond the border: there the mesh decides.
        self._expressions = Expression(values, np.zeros_like(values))

    def batches(self, start: int, stop: int) -> Iterator[FrameTarget]:
        """One frame a step, read ahead in a thread."""
        order = enumerate(frame_order(self.frames, self._config.seed, start, stop), start)
        whole = self.whole_steps

        def make(entry: tuple[int, int]) -> FrameTarget:
            step, index = entry
            return (frame_target if step < whole else mouth_target)(self._portrait, index, self._config)

        return prefetched(make, order)

    def step(self, target: FrameTarget) -> float:
        """Show one frame, or its mouth; returns the loss before the update."""
        state, model, camera = self.state, self.state.model, self._portrait.camera
        fall, window = self._fall(target), target.window
        rotation, translation = refined_poses(self._portrait.pose, state.poses, target.index)
        frame = model.conditions_from(
            self._expressions[target.index], rotation, translation, self._portrait.pose.torso_at(target.index)
        )
        plate = self._plates[int(self._portrait.segment[target.index])]
        if window is not None:
            plate = np.ascontiguousarray(plate[window.rows, window.columns])
        output = draw(model, frame, camera, plate, self._splats, window)
        loss, grad_image, grad_transmittance, grad_affine = self._losses(output, target)

        grad_splats = ops.rasterize_backward(output, grad_image, grad_transmittance)
        if window is not None:
            # Drawn in the window's pixels, projected in the picture's.
            self._splats.values[U] += window.left
            self._splats.values[V] += window.top
        grad_poses = {"head": np.zeros(6), "torso": np.zeros(6)}
        for number, (layer, columns) in enumerate(model.slices()):
            if not _learns(layer, target):
                continue
            gradients = ops.project_backward(
                layer.base,
                self._splats[columns],
                grad_splats[:, columns],
                layer.basis.shape[2],
                frame.rotations[layer.frame],
                frame.translations[layer.frame],
                camera,
            )
            grad_poses[layer.frame] += gradients.pose
            rates = self._rates[layer.input]
            apply_gradients(state, number, gradients, frame.conditions[layer.input], rates, fall)
        if window is None:
            self._update_frame(
                target.index, grad_poses["head"], grad_poses["torso"], grad_affine, frame.conditions["rigid"], fall
            )
        state.step += 1
        if state.step % self._config.diffusion_steps == 0:
            for layer, neighbours, bound in zip(model.layers, self._neighbours, self._bound, strict=True):
                if _learns(layer, target):
                    share = self._shares[layer.input] if window is None else self._mouth_share
                    diffuse(layer.basis, neighbours, share, bound)
        return loss

    def _fall(self, target: FrameTarget) -> float:
        """By what the rates are multiplied: they fall once while whole frames are shown, and again for the mouth."""
        step, whole = self.state.step, self.whole_steps
        done = step / whole if target.window is None else (step - whole) / (self.state.total_steps - whole)
        return self._config.final_rate**done

    def _update_frame(
        self, index: int, head: np.ndarray, torso: np.ndarray, affine: np.ndarray, pose: FloatArray, fall: float
    ) -> None:
        """Move the torso's map, the frame's poses and its colours by their gradients, [6] each."""
        state, config = self.state, self._config
        ops.adam(
            state.model.torso_map,
            np.outer(torso, pose).astype(np.float32),
            *state.map_moments,
            step=state.step + 1,
            lr=config.torso_map_rate * fall,
        )
        slow = max(fall, 0.1)
        if state.step >= config.pose_warmup * self.whole_steps:
            state.poses.update(index, head, config.pose_rate * slow, config.pose_prior)
        state.affines.update(index, affine, config.affine_rate, config.affine_prior)

    def _losses(
        self, output: ops.RasterOutput, target: FrameTarget
    ) -> tuple[float, FloatArray, FloatArray, np.ndarray]:
        """Loss; its gradients by image [H, W, 4], transmittance [H, W] and the frame's colour affine [6]."""
        config = self._config
        affine = self.state.affines.values[target.index].astype(np.float32)
        # The label channel passes through unchanged. Whole rows of pixels: numpy is slow over four values at a time.
        height, width = output.transmittance.shape
        gain = np.tile(np.append(1 + affine[:3], np.float32(1)), width)
        bias = np.tile(np.append(affine[3:], np.float32(0)), width)
        coloured: FloatArray = (output.image.reshape(height, -1) * gain + bias).astype(np.float32, copy=False)
        prediction = coloured.reshape(output.image.shape)
        l1, dssim = (config.l1, config.dssim) if target.window is None else (config.mouth_l1, config.mouth_dssim)
        loss, grad = ops.image_loss(prediction, target.image, target.weight, l1=l1, dssim=dssim)
        weighted: FloatArray = np.multiply(grad, output.image)
        grad_affine = np.concatenate([_channel_sums(weighted)[:3], _channel_sums(grad)[:3]])
        head_loss, grad_label = _silhouette_loss(output.label, target.head)
        solid_loss, grad_transmittance = _silhouette_loss(
            output.transmittance, np.subtract(1, target.solid, dtype=np.float32)
        )
        scaled: FloatArray = (grad.reshape(height, -1) * gain).astype(np.float32, copy=False)
        grad = scaled.reshape(grad.shape)
        grad[..., 3] = config.silhouette * grad_label
        loss += config.silhouette * (head_loss + solid_loss)
        return loss, grad, np.float32(config.silhouette) * grad_transmittance, grad_affine


def _plates(portrait: Portrait) -> list[FloatArray]:
    """Clean plate [H, W, 3] of every segment; those that share one picture share one array."""
    converted: dict[bytes, FloatArray] = {}
    plates = []
    for number in range(int(portrait.segment.max()) + 1):
        pixels = portrait.segment_background(number)
        key = pixels.tobytes()
        if key not in converted:
            converted[key] = from_uint8(pixels)
        plates.append(converted[key])
    return plates


def _learns(layer: GaussianLayer, target: FrameTarget) -> bool:
    """Whether a step with this target changes the layer."""
    return target.window is None or layer.name in MOUTH_LAYERS


def _channel_sums(image: FloatArray) -> FloatArray:
    """Sums [C] over the pixels of [H, W, C]: down the columns first, in whole rows."""
    return image.reshape(len(image), -1).sum(0).reshape(image.shape[1:]).sum(0)


def _silhouette_loss(opacity: FloatArray, mask: FloatArray) -> tuple[float, FloatArray]:
    """Mean over pixels of sqrt(d^2 + epsilon^2), and its gradient: forgiving where the mask itself is unsure."""
    difference = opacity - mask
    distance = np.sqrt(difference * difference + np.float32(SILHOUETTE_EPSILON**2))
    return float(distance.mean()), (difference / (distance * difference.size)).astype(np.float32)
