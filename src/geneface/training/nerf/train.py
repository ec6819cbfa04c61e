"""Training of the `nerf` renderer: both radiance fields, the warp, poses and appearance together, without torch.

One step shows patches of some training frames to the kernels, which return the gradients of everything; Adam moves it.
Patches follow from the seed and the step's number, and the kernels' sums from the number of slots, so that equal seeds
give equal bits on any number of threads, and a resumed run equals an uninterrupted one.

Symbols: C frames a step, F frames of the portrait. Head units, radians.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geneface import ops
from geneface.errors import InputError
from geneface.geometry.rotation import rotation_matrix
from geneface.ops.nerf import FieldLoss, FieldScene, RayBatch, pack_cells
from geneface.portrait.portrait import Portrait
from geneface.render.condition import Expression, fit_conditions
from geneface.render.nerf import NerfConditions, NerfModel
from geneface.training.nerf import initialise
from geneface.training.nerf.batches import PatchBatch, PatchSampler
from geneface.training.nerf.config import NerfTrainConfig
from geneface.training.nerf.occupancy import look_at_cells, mark_occupied
from geneface.training.nerf.state import NerfState
from geneface.training.renderer.frame_values import refined_poses
from geneface.training.renderer.run import run_training
from geneface.training.renderer.statistics import PortraitStatistics, portrait_statistics
from geneface.training.renderer.targets import prefetched
from geneface.types import FloatArray, ProgressFn, no_progress


def train_nerf(
    portrait: Portrait,
    work: Path,
    config: NerfTrainConfig,
    *,
    resume: bool = False,
    progress: ProgressFn = no_progress,
) -> NerfModel:
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
        lambda: NerfTrainer(portrait, config), portrait, work, config, resume=resume, progress=progress
    )
    return trainer.state.model


def initial_state(
    portrait: Portrait, frames: np.ndarray, statistics: PortraitStatistics, config: NerfTrainConfig
) -> NerfState:
    """The model before its first step, from the training frames."""
    rng = np.random.default_rng(config.seed)
    pose = portrait.pose.rotation[frames], portrait.pose.translation[frames]
    conditions = fit_conditions(portrait.landmarks[frames], *pose, config.components)
    values, mouth = conditions.expression(portrait.landmarks[frames]).values, conditions.parts["mouth"].start
    mesh = portrait.mesh[frames]
    box = initialise.warp_box(mesh)
    gates = initialise.face_gates(mesh, box, (config.warp_rows, config.warp_columns))
    parts = [(values[:, :mouth], np.maximum(gates, 0)), (values[:, mouth:], np.maximum(-gates, 0))]
    mesh_warp = initialise.fit_warp(mesh, parts, box)
    warp = np.concatenate([mesh_warp, np.zeros((conditions.pose.width, *mesh_warp.shape[1:]), np.float32)])
    prior = initialise.occupancy_prior(portrait, frames, statistics, rng)
    torso_cells = initialise.torso_prior((statistics.torso > 127).mean(0), (statistics.head > 127).mean(0))
    head, head_table = initialise.fresh_field(
        3,
        config.head_rows_log2,
        config.head_width,
        config.head_resolution,
        config.turn_width + config.appearance_width,
        rng,
    )
    upper, lower = (
        initialise.uniform(rng, (config.head_width, width), initialise.CONDITION_WEIGHT)
        for width in (mouth, conditions.width - mouth)
    )
    torso, torso_table = initialise.fresh_field(
        2,
        config.torso_rows_log2,
        config.torso_width,
        config.torso_resolution,
        conditions.pose.width + config.appearance_width,
        rng,
    )
    model = NerfModel(
        head=head,
        upper_weights=upper,
        lower_weights=lower,
        torso=torso,
        warp_basis=warp,
        mesh_warp=mesh_warp,
        gates=gates,
        torso_map=np.zeros((6, conditions.pose.width), np.float32),
        appearance=np.zeros(config.appearance_width, np.float32),
        occupancy=pack_cells(prior),
        torso_occupancy=torso_cells,
        conditions=conditions,
        camera=portrait.camera,
        warp_box=box,
        step=config.step_length,
        turn_width=config.turn_width,
    )
    tables, count = (head_table, torso_table), len(portrait.landmarks)
    return NerfState.fresh(model, tables, count, config.slots, prior, 2 * config.least_density, config.steps)


class NerfTrainer:
    """One step after another on a `NerfState`; a `training.renderer.run.Trainer`."""

    timed_steps = 45
    unit = "rays"

    def __init__(self, portrait: Portrait, config: NerfTrainConfig) -> None:
        self.frames = np.flatnonzero(~portrait.heldout)
        if len(self.frames) == 0:
            raise InputError("the portrait has no training frames", "prepare more video")
        self._portrait, self._config = portrait, config
        self._scarcity = config.scarcity(len(self.frames))
        statistics = portrait_statistics(portrait, self.frames)
        self.state = initial_state(portrait, self.frames, statistics, config)
        masks = statistics.head, statistics.torso
        head_share, torso_share = (mask.mean(0).astype(np.float32) / 255 for mask in masks)
        self._sampler = PatchSampler(portrait, self.frames, head_share, torso_share, config)
        self._prepare()
        self.limit_steps(config.steps)

    def _prepare(self) -> None:
        """What follows from the state's arrays."""
        model = self.state.model
        self._scene: FieldScene = model.scene()
        values = model.conditions.expression(self._portrait.landmarks).values
        # Nothing is learnt of what lies beyond the border: there the mesh decides.
        self._expressions = Expression(values, np.zeros_like(values))

    @property
    def units_per_step(self) -> int:
        """Rays of all patches."""
        return self._config.frames_per_step * self._config.patches_per_frame * ops.PATCH_RAYS

    def limit_steps(self, steps: int) -> None:
        """Set the number of steps, and no more than the frames' pixels allow."""
        pixels = len(self.frames) * self._portrait.size**2
        most = int(self._config.rays_per_pixel * pixels / self.units_per_step)
        self.state.total_steps = max(min(steps, most), 1)

    def restore(self, path: Path, fingerprint: str) -> None:
        """Go on from a checkpoint."""
        self.state.restore(path, fingerprint)
        self._prepare()

    def batches(self, start: int, stop: int) -> Iterator[PatchBatch]:
        """Patches of some frames a step, read ahead in a thread."""
        return prefetched(self._sampler.draw, range(start, stop))

    def step(self, patches: PatchBatch) -> np.ndarray:
        """One step; returns the losses [3] of `FieldLoss` before the update."""
        state, model, config = self.state, self.state.model, self._config
        number = state.step + 1
        fall = config.final_rate ** (state.step / state.total_steps)
        rotation, translation = refined_poses(self._portrait.pose, state.poses, patches.frames)
        codes = state.appearance.values[patches.frames].astype(np.float32)
        given = model.conditions_from(self._expressions[patches.frames], rotation, translation)
        head_condition, torso_condition = model.head_condition(given, codes), model.torso_condition(given, codes)
        biases = model.head_bias(given, codes), model.torso.fold(torso_condition)
        batch = self._batch(patches, given, rotation, translation, *biases)
        move = state.step >= config.pose_warmup * state.total_steps and state.step % config.pose_every == 0
        opaque = config.opaque if state.step >= config.opaque_start * state.total_steps else 0.0
        loss = FieldLoss(config.epsilon, config.edge, config.silhouette, opaque=opaque)
        grads = ops.train_field(self._scene, batch, loss, state.head.grad, state.torso.grad, move=move)

        rates = config.table_rate * fall, config.network_rate * fall
        by_head = state.head.update(grads.head_bias[:, 0], head_condition, number, *rates)
        for part, condition in enumerate(model.face_condition(given)):
            weights = (state.upper_weights, state.lower_weights)[part]
            weights.update(grads.head_bias[:, 1 + part].T @ condition, number, rates[1])
        for weights in (state.head.parts["condition_weights"], state.upper_weights, state.lower_weights):
            weights.values *= 1 - config.condition_decay * (self._scarcity - 1) * rates[1]
        by_torso = state.torso.update(grads.torso_bias, torso_condition, number, *rates)
        by_code = by_head[:, -config.appearance_width :] + by_torso[:, -config.appearance_width :]
        state.torso_map.update(grads.torso_motion.T @ given.rigid, number, config.torso_map_rate * fall)
        slow = max(fall, 0.1)
        state.appearance.update(
            patches.frames, by_code, config.appearance_rate * slow, self._prior(config.appearance_prior)
        )
        if move:
            state.poses.update(patches.frames, grads.pose, config.pose_rate * slow, config.pose_prior)
            self._update_warp(given, grads.warp, fall)
        state.step += 1
        if state.step % config.occupancy_steps == 0:
            look_at_cells(state, self._expressions, self._portrait.pose, self.frames, config)
            if state.step % (8 * config.occupancy_steps) == 0:
                mark_occupied(state, self._scene, config)
        last = state.step == state.total_steps
        if state.step >= config.mean_start * state.total_steps and (last or state.step % config.mean_every == 0):
            state.late.add(state.learnt())
        if last:
            state.settle()
            model.appearance[:] = np.median(state.appearance.values[self.frames], axis=0)
        return grads.losses.sum(0)

    def _update_warp(self, given: NerfConditions, grad: FloatArray, fall: float) -> None:
        config, warp, model = self._config, self.state.warp, self.state.model
        expressions, prior = model.conditions.width, self._prior(config.warp_prior)
        before = warp.values[:expressions].copy()
        by_basis = np.einsum("ck,cn->kn", model.warp_condition(given), grad.reshape(len(grad), -1))
        warp.update(by_basis.reshape(warp.values.shape), self.state.step + 1, config.warp_rate * fall)
        # Where a part ends its steps become short: shorter gradients would not do, Adam does not look at their size.
        mouth = model.conditions.parts["mouth"].start
        for rows, gate in ((slice(mouth), model.gates), (slice(mouth, expressions), -model.gates)):
            warp.values[rows] += (np.maximum(gate, 0) - 1)[..., None] * (warp.values[rows] - before[rows])
        warp.values *= 1 - prior
        warp.values[:expressions] += prior * model.mesh_warp

    def _prior(self, pull: float) -> float:
        """A pull for as many frames as there are."""
        return 1 - (1 - pull) ** self._scarcity

    def _batch(
        self,
        patches: PatchBatch,
        given: NerfConditions,
        rotation: FloatArray,
        translation: FloatArray,
        head_bias: FloatArray,
        torso_bias: FloatArray,
    ) -> RayBatch:
        model, camera = self.state.model, self._portrait.camera
        matrices = rotation_matrix(rotation).reshape(-1, 9).astype(np.float32)
        return RayBatch(
            poses=np.concatenate([matrices, translation], 1),
            head_bias=head_bias,
            torso_bias=torso_bias,
            warp=model.warps(given),
            torso_motion=(given.rigid @ model.torso_map.T).astype(np.float32),
            corners=patches.corners,
            jitter=patches.jitter,
            target=patches.target,
            masks=patches.masks,
            plate=patches.plate,
            weight=patches.weight,
            focal_px=camera.focal * camera.width,
            width=camera.width,
            height=camera.height,
        )
