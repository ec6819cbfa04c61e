"""A small scene of Gaussians, random but always the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geneface import ops
from geneface.types import Camera


@dataclass(frozen=True)
class Scene:
    """All arrays float64; `single()` gives what the kernels take."""

    base: np.ndarray
    basis: np.ndarray
    condition: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    camera: Camera
    background: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    grad_image: np.ndarray
    grad_transmittance: np.ndarray

    @property
    def layer(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.base, self.basis, self.condition

    @property
    def view(self) -> tuple[np.ndarray, np.ndarray, Camera]:
        return self.rotation, self.translation, self.camera

    @property
    def size(self) -> tuple[int, int]:
        return self.camera.width, self.camera.height

    @property
    def dynamic(self) -> int:
        return self.basis.shape[2]

    def converted(self, dtype: type) -> Scene:
        values = {name: np.ascontiguousarray(value, dtype) for name, value in vars(self).items() if name != "camera"}
        return Scene(camera=self.camera, **values)

    def single(self) -> Scene:
        return self.converted(np.float32)


def make_scene(
    gaussians: int = 203, dynamic: int = 117, conditions: int = 5, width: int = 53, height: int = 37
) -> Scene:
    random = np.random.default_rng(7)
    base = np.zeros((ops.BASE_ROWS, gaussians))
    base[:3] = random.normal(size=(3, gaussians)) * 0.18
    base[3:6] = random.normal(size=(3, gaussians)) * 0.5 - 3.3
    base[6:10] = random.normal(size=(4, gaussians)) * 2
    base[10] = random.normal(size=gaussians) * 1.5 + 0.5
    base[11:] = random.random((3, gaussians))
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    scene = Scene(
        base=base,
        basis=random.normal(size=(conditions, len(ops.DYNAMIC_ROWS), dynamic)) * 0.03,
        condition=random.normal(size=conditions),
        rotation=rotation * np.sign(np.linalg.det(rotation)),
        translation=np.array([0.02, 0.03, -3.0]),
        camera=Camera(2.5, width, height),
        background=random.random((height, width, 3)),
        target=random.random((height, width, 3)),
        weight=random.random((height, width)) * 2,
        grad_image=random.normal(size=(height, width, 4)),
        grad_transmittance=random.normal(size=(height, width)),
    )
    # Both precisions must see the same numbers.
    return scene.single().converted(np.float64)
