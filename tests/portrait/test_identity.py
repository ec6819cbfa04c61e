"""Signatures of faces: one person in another light and at another size is one person; another is another."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from faces import astronaut, turned

from geneface.analysis.tracker import open_tracker
from geneface.imaging.warp import warp_affine
from geneface.io.face_mesh import mean_face, mesh_triangles
from geneface.io.image import read_image
from geneface.portrait.identity import Signature, distance, limit, one_person, signature
from geneface.portrait.unwrap import TEXELS, face_texels, texel_of, unwrap


def speaker() -> np.ndarray:
    """The man of the avatar that comes with the package."""
    return read_image(Path(str(resources.files("geneface"))) / "assets" / "avatars" / "grid-s1" / "poster.png")


def views(picture: np.ndarray, count: int = 6, size: int = 256, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Flat faces and meshes of a picture that is moved, turned and zoomed a little."""
    rng = np.random.default_rng(seed)
    images, meshes = [], []
    height, width = picture.shape[:2]
    with open_tracker() as tracker:
        for _ in range(count):
            angle, scale = rng.uniform(-6, 6), size / max(height, width) * rng.uniform(0.95, 1.05)
            move = turned(angle, scale, (width / 2, height / 2), size / 2 + rng.uniform(-4, 4, 2))
            image = np.rint(warp_affine(picture, move, size, size)).astype(np.uint8)
            mesh = tracker.track(image)
            assert mesh is not None
            images.append(image)
            meshes.append(mesh)
    return unwrap(np.stack(images), np.stack(meshes)), np.stack(meshes)


def share(first: Signature | None, second: Signature | None) -> float:
    assert first is not None and second is not None
    return float(distance([first], [second])[0, 0] / limit(min(first.seconds, second.seconds)))


@pytest.fixture(scope="module")
def woman() -> Signature | None:
    return signature(*views(astronaut()), 4.0)


def test_one_person_in_another_light_and_size_is_the_same(woman: Signature):
    picture = astronaut().astype(np.float64)
    ramp = np.linspace(0.6, 1.1, picture.shape[1])[None, :, None]
    for other in (picture * 0.6, 255 * (picture / 255) ** 0.7, picture * ramp):
        assert share(woman, signature(*views(other.clip(0, 255).astype(np.uint8), seed=1), 4.0)) < 0.7
    assert share(woman, signature(*views(astronaut(), size=160, seed=2), 4.0)) < 0.7


def test_two_people_are_two(woman: Signature):
    man = signature(*views(speaker()), 4.0)
    assert share(woman, man) > 1.2
    assert share(man, signature(*views(speaker(), seed=3), 4.0)) < 0.7


def test_who_is_seen_longest_is_the_person(woman: Signature):
    man = signature(*views(speaker()), 4.0)
    assert man is not None
    shares = one_person([man, woman, woman, man, woman])
    assert (shares[[1, 2, 4]] < 0.1).all() and (shares[[0, 3]] > 1).all()
    # A long stretch counts for more than two short ones.
    long = Signature(man.shape, man.pattern, 60.0)
    shares = one_person([long, woman, woman])
    assert shares[0] < 0.1 and (shares[1:] > 1).all()


def test_short_stretches_may_be_farther_apart():
    values = limit(np.array([0.5, 1.0, 2.0, 4.0, 60.0]))
    assert values[0] == values[1] > values[2] > values[3] == values[4]


def test_a_face_turned_away_says_nothing():
    faces, meshes = views(astronaut())
    angle = np.radians(50)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    assert signature(faces, (meshes @ turn.T).astype(np.float32), 4.0) is None
    assert signature(faces[:0], meshes[:0], 0.0) is None


def test_the_flat_face_has_each_point_at_its_place():
    """Gradients over the picture come out as the positions of the mesh, texel by texel."""
    rng = np.random.default_rng(0)
    mesh = (mean_face() * [300, -300, -300] + [128, 128, 0]).astype(np.float32)
    mesh[:, :2] += rng.normal(scale=0.3, size=(478, 2))
    y, x = np.mgrid[0:256, 0:256]
    image = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    flat = unwrap(image[None], mesh[None])[0].astype(np.float64)
    on = face_texels()
    assert flat.shape == (TEXELS, TEXELS, 3) and 0.5 < on.mean() < 0.7
    for index in (4, 50, 280, 151, 205, 425):
        row, column = texel_of(index)
        assert on[int(row), int(column)]
        # A texel holds some three pixels, and its value is cut to whole levels.
        np.testing.assert_allclose(flat[int(row), int(column), :2], mesh[index, :2] - 0.5, atol=4)
    assert (flat[0, 0] == 0).all() and mesh_triangles().max() < 468
