import numpy as np

from geneface.io.face_mesh import mean_face
from geneface.portrait.sittings import LIMIT, colours, sittings

SIZE = 200


def person(face: tuple[int, int, int], clothes: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a plain face over plain clothes, and the mesh on it."""
    mesh = mean_face() * [220, -220, 220] + [SIZE / 2, 80, 0]
    chin = int(mesh[152, 1])
    picture = np.full((SIZE, SIZE, 3), (10, 90, 160), np.uint8)
    picture[20:chin, 50:150] = face
    picture[chin + 5 :, 20:180] = clothes
    return picture, mesh.astype(np.float32)


def sitting(face: tuple[int, int, int], clothes: tuple[int, int, int]) -> np.ndarray:
    picture, mesh = person(face, clothes)
    return colours(picture[None], mesh[None])


def test_colours_are_those_of_face_and_clothes():
    found = np.exp(sitting((180, 130, 100), (40, 60, 90))) - 8
    np.testing.assert_allclose(found, [(180, 130, 100), (40, 60, 90)], atol=1)


def test_clothes_out_of_the_picture_are_not_known():
    picture, mesh = person((180, 130, 100), (40, 60, 90))
    chin = int(mesh[152, 1])
    found = colours(picture[None, : chin + 3], mesh[None])
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


def test_another_light_or_shirt_is_another_sitting():
    usual = sitting((180, 130, 100), (40, 60, 90))
    brighter = sitting((192, 139, 107), (43, 64, 96))
    yellow = sitting((190, 125, 50), (44, 58, 50))
    shirt = sitting((178, 131, 99), (200, 190, 150))
    unknown = usual.copy()
    unknown[1] = np.nan
    found = sittings(np.stack([yellow, usual, brighter, shirt, unknown]), np.array([3.0, 2, 2, 3.5, 1]))
    assert found.tolist() == [3, 1, 1, 2, 1]


def test_the_longest_sitting_is_the_first_and_no_chain_leads_out_of_it():
    steps = np.zeros((6, 2, 3))
    steps[:, 0, 0] = np.arange(6) * 0.6 * LIMIT
    found = sittings(steps, np.array([1.0, 1, 1, 1, 1, 1]))
    # Every span is in one sitting, and those of one are alike.
    assert (np.bincount(found)[1:] > 0).all() and found.min() == 1 and (found == 1).sum() == 3
    for number in range(1, found.max() + 1):
        assert np.ptp(steps[found == number, 0, 0]) <= 2 * LIMIT
    assert sittings(steps, np.array([1.0, 1, 1, 1, 1, 20])).tolist()[3:] == [1, 1, 1]
    assert sittings(steps[:0], np.zeros(0)).shape == (0,)
