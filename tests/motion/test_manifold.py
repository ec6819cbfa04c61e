"""Locally linear embedding against one frame at a time, by least squares with the sum as a constraint."""

import numpy as np
import pytest

from geneface.motion.manifold import COMPONENTS, NEIGHBOURS, project, seen_shapes


def drawn(frames: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, width)).astype(np.float32)


def by_hand(wanted: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The mix w of the nearest that minimises |w seen - wanted|^2 + steadiness |w|^2, with sum 1."""
    order = np.argsort(((seen - wanted) ** 2).sum(1), kind="stable")[:NEIGHBOURS]
    near = seen[order].astype(np.float64)
    gram = (near - wanted) @ (near - wanted).T
    gram = gram + 1e-3 * np.trace(gram) * np.eye(NEIGHBOURS)
    system = np.block([[gram, np.ones((NEIGHBOURS, 1))], [np.ones((1, NEIGHBOURS)), np.zeros((1, 1))]])
    return np.linalg.solve(system, np.append(np.zeros(NEIGHBOURS), 1.0))[:NEIGHBOURS] @ near


@pytest.mark.parametrize("width", [2, 16])
def test_each_frame_is_the_mix_of_its_neighbours(width):
    seen, wanted = drawn(200, width, 0), drawn(30, width + 3, 1)
    out = project(wanted, seen)
    assert np.array_equal(out[:, width:], wanted[:, width:])
    for frame in range(30):
        assert out[frame, :width] == pytest.approx(by_hand(wanted[frame, :width], seen), abs=2e-3)


def test_what_was_seen_stays_and_what_is_off_the_seen_comes_near():
    angle = np.linspace(0, np.pi, 300)
    arc = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    on = project(arc[100:110], arc)
    assert abs(on - arc[100:110]).max() < 1e-2
    off = project(0.7 * arc[100:110], arc)
    assert abs(np.linalg.norm(off, axis=1) - 1).max() < 0.05


def test_little_that_was_seen_changes_nothing():
    wanted = drawn(5, 4, 2)
    assert np.array_equal(project(wanted, drawn(NEIGHBOURS, 4, 3)), wanted)
    assert np.array_equal(project(wanted, drawn(0, 4, 3)), wanted)
    assert project(wanted[:0], drawn(50, 4, 3)).shape == (0, 4)


def test_long_recordings_are_thinned():
    assert seen_shapes(drawn(9000, 32, 4)).shape == (2000, COMPONENTS)
    short = drawn(40, 3, 5)
    assert np.array_equal(seen_shapes(short), short)
    assert seen_shapes(short[:0]).shape == (0, 3)
