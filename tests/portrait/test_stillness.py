"""Photographs against faces that live, from meshes alone."""

from __future__ import annotations

import numpy as np

from geneface.geometry.landmarks import MESH_LEFT_EYE, MESH_LIPS_INNER, MESH_RIGHT_EYE
from geneface.geometry.rotation import rotation_matrix
from geneface.io.face_mesh import mean_face
from geneface.portrait.stillness import is_picture

LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324)
UPPER_LIDS = (160, 159, 158, 385, 386, 387)
FOUND = np.ones(100, bool)


def meshes(lips: np.ndarray, lids: np.ndarray, seed: int = 0) -> np.ndarray:
    """[F, 478, 3] px: a head that sways, whose lower lip is down and upper lids are closed by so much [F]."""
    rng = np.random.default_rng(seed)
    frames = len(lips)
    head = np.repeat(mean_face()[None].astype(np.float64), frames, axis=0)
    head[:, list(LOWER_LIP), 1] -= lips[:, None]
    # Lids come down to the lower ones.
    lower = head[:, [144, 145, 153, 380, 374, 373], 1]
    head[:, list(UPPER_LIDS), 1] += lids[:, None] * (lower - head[:, list(UPPER_LIDS), 1])
    sway = np.stack([0.05 * np.sin(np.arange(frames) / 9), 0.2 * np.sin(np.arange(frames) / 14), np.zeros(frames)], 1)
    turned = head @ np.swapaxes(rotation_matrix(sway), -1, -2)
    pixels = turned * [300, -300, -300] + [128, 128, 0]
    return (pixels + rng.normal(scale=0.25, size=pixels.shape)).astype(np.float32)


def test_a_swaying_photograph_is_one():
    assert is_picture(meshes(np.zeros(100), np.zeros(100)), FOUND)
    # An open mouth that stays open is no speech either.
    assert is_picture(meshes(np.full(100, 0.03), np.zeros(100)), FOUND)


def test_lips_or_lids_that_move_are_alive():
    time = np.arange(100)
    assert not is_picture(meshes(0.01 * (1 + np.sin(time / 2)), np.zeros(100)), FOUND)
    blink = np.clip(1 - np.abs(time - 50) / 4, 0, 1)
    assert not is_picture(meshes(np.zeros(100), blink), FOUND)


def test_a_moment_or_an_unseen_face_says_nothing():
    still = meshes(np.zeros(100), np.zeros(100))
    assert not is_picture(still[:40], FOUND[:40])
    assert not is_picture(still, np.arange(100) < 30)


def test_the_moved_points_are_lips_and_lids():
    assert set(LOWER_LIP) < set(MESH_LIPS_INNER)
    assert set(UPPER_LIDS) < set(MESH_LEFT_EYE + MESH_RIGHT_EYE)
