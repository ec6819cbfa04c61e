"""The face mesh is a proper surface, made of FaceMesh's own edges."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from geneface.geometry.pose import orient
from geneface.io.face_mesh import mean_face, mesh_triangles


def edges(triangles: np.ndarray) -> Counter[frozenset[int]]:
    return Counter(frozenset(pair) for triangle in triangles.tolist() for pair in combinations(triangle, 2))


@pytest.mark.slow
def test_triangles_are_made_of_all_of_facemeshs_edges():
    face_mesh = pytest.importorskip("mediapipe").solutions.face_mesh
    assert set(edges(mesh_triangles(fill_holes=False))) == {frozenset(e) for e in face_mesh.FACEMESH_TESSELATION}


def test_filled_mesh_is_a_disc_without_holes_or_folds():
    triangles = mesh_triangles()
    counts = edges(triangles)
    assert triangles.shape == (898, 3)
    assert set(counts.values()) == {1, 2}
    # Euler's formula: vertices - edges + triangles = 1 for a disc.
    assert 468 - len(counts) + len(triangles) == 1


def test_triangles_turn_the_same_way_and_face_the_viewer():
    triangles, face = mesh_triangles(), mean_face()
    directed = Counter((t[i], t[(i + 1) % 3]) for t in triangles.tolist() for i in range(3))
    assert max(directed.values()) == 1
    a, b, c = (face[triangles[:, corner]] for corner in range(3))
    assert (np.cross(b - a, c - a)[:, 2] > 0).mean() > 0.98


def test_mean_face_stands_in_the_head_frame():
    face = mean_face()
    assert face.shape == (478, 3)
    np.testing.assert_allclose(orient(face), face, atol=2e-4)
