"""Compiled image loss against the reference, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest

from geneface import ops
from geneface.ops import reference

pytestmark = pytest.mark.usefixtures("instruction_set")


@pytest.mark.slow
@pytest.mark.parametrize("height, width", [(37, 53), (11, 11), (64, 48), (12, 131), (11, 2000), (133, 19), (300, 16)])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("terms", [{}, {"l1": 0.0, "dssim": 1.0}, {"l1": 1.0, "dssim": 0.0, "epsilon": 0.0}])
def test_loss_and_gradient_are_those_of_the_reference(height, width, channels, terms):
    random = np.random.default_rng(height)
    prediction = random.random((height, width, channels)).astype(np.float32)
    target = random.random((height, width, 3)).astype(np.float32)
    prediction[:5, :5, :3] = target[:5, :5]
    weight = (random.random((height, width)) * 3).astype(np.float32)
    weight[3:6] = 0
    for mask in (None, weight):
        loss, grad = ops.image_loss(prediction, target, mask, **terms)
        exact_weight = None if mask is None else mask.astype(np.float64)
        exact, exact_grad = reference.image_loss(
            prediction.astype(np.float64), target.astype(np.float64), exact_weight, **terms
        )
        assert loss == pytest.approx(exact, rel=2e-6)
        np.testing.assert_allclose(grad, exact_grad, atol=3e-6 * np.abs(exact_grad).max())


def test_equal_images_have_no_loss():
    image = np.random.default_rng(0).random((40, 30, 3), np.float32)
    loss, grad = ops.image_loss(image, image.copy())
    assert abs(loss) < 1e-6 and np.abs(grad).max() < 1e-7


def test_not_a_number_stays_in_its_place():
    random = np.random.default_rng(0)
    prediction, target = random.random((60, 60, 3), np.float32), random.random((60, 60, 3), np.float32)
    _, healthy = ops.image_loss(prediction, target)
    prediction[30, 30, 1] = np.nan
    loss, grad = ops.image_loss(prediction, target)
    assert np.isnan(loss)
    np.testing.assert_array_equal(grad[:15], healthy[:15])
    np.testing.assert_array_equal(grad[..., 0], healthy[..., 0])


def test_a_small_image_is_refused_only_for_ssim():
    image = np.zeros((10, 40, 3), np.float32)
    with pytest.raises(ValueError, match="11 pixels"):
        ops.image_loss(image, image)
    assert ops.image_loss(image, image, dssim=0.0)[0] == 0


@pytest.mark.parametrize("channels", [3, 4])
def test_bytes_are_rounded_and_clamped(channels):
    image = np.random.default_rng(0).uniform(-0.2, 1.2, (37, 53, channels)).astype(np.float32)
    image[0, :3, 0] = np.nan, np.inf, -np.inf
    image[1, :256, 1] = (np.arange(53) / 255)[:256]
    expected = reference.to_uint8(image)
    expected[0, 1, 0] = 255
    np.testing.assert_array_equal(ops.to_uint8(image), expected)
    assert (ops.to_uint8(image)[1, :, 1] == np.arange(53)).all()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("height, width", [(1, 1), (1, 9), (7, 1), (2, 2), (37, 53), (64, 128)])
def test_sharpening_is_the_reference(channels, height, width):
    image = np.random.default_rng(0).uniform(-0.2, 1.2, (height, width, channels)).astype(np.float32)
    result = ops.sharpen(image, 0.3)
    np.testing.assert_allclose(result, reference.sharpen(image.astype(np.float64), 0.3), atol=2e-6)
    np.testing.assert_array_equal(result[..., 3:], image[..., 3:])
    np.testing.assert_array_equal(ops.sharpen(image, 0.0), image)


def test_sharpening_keeps_slopes_and_makes_edges_steep():
    ramp = np.repeat(np.linspace(0, 1, 40, dtype=np.float32)[None, :, None], 9, axis=0).repeat(3, axis=2)
    np.testing.assert_allclose(ops.sharpen(ramp, 0.5)[:, 1:-1], ramp[:, 1:-1], atol=1e-6)
    edge = np.zeros((9, 40, 3), np.float32)
    edge[:, 20:] = 1
    soft = (edge + np.roll(edge, 1, 1) + np.roll(edge, -1, 1)) / 3
    steepest = [np.abs(np.diff(image, axis=1))[:, 5:30].max() for image in (soft, ops.sharpen(soft, 0.3))]
    assert steepest == pytest.approx([1 / 3, 1 / 3 + 0.3 / 3], abs=1e-5)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("height, width", [(2, 2), (38, 54), (34, 518)])
def test_planes_of_video_obey_the_definition(channels, height, width):
    image = np.random.default_rng(0).uniform(-0.2, 1.2, (height, width, channels)).astype(np.float32)
    image[0, :2, 0] = np.nan, np.inf
    expected = reference.to_yuv420(np.nan_to_num(image, posinf=1.0))
    planes = ops.to_yuv420(image)
    assert planes.shape == (height * 3 // 2, width) and planes.dtype == np.uint8
    difference = np.abs(planes.astype(int) - expected)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_planes_of_black_white_and_blue():
    for colour, values in (((0, 0, 0), (16, 128, 128)), ((1, 1, 1), (235, 128, 128)), ((0, 0, 1), (32, 240, 118))):
        planes = ops.to_yuv420(np.tile(np.array(colour, np.float32), (4, 4, 1)))
        assert [set(part.ravel()) for part in (planes[:4], planes[4:5], planes[5:])] == [{value} for value in values]


def test_planes_of_an_odd_image_are_refused():
    with pytest.raises(ValueError, match="2 x 2"):
        ops.to_yuv420(np.zeros((4, 5, 3), np.float32))


@pytest.mark.parametrize("canvas", [None, 40, 55])
@pytest.mark.parametrize("turn, zoom", [(0.0, 1.0), (0.3, 0.4), (-2.0, 2.7), (0.0, 0.5)])
def test_a_part_of_a_picture_obeys_the_definition(canvas: int | None, turn: float, zoom: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    cosine, sine = zoom * np.cos(turn), zoom * np.sin(turn)
    for x, y in ((14.3, 9.8), (-12.0, 25.0), (300.0, -200.0), (1e30, 0.0)):
        move = np.array([[cosine, -sine, x], [sine, cosine, y]])
        planes = ops.cut_out(image, move, 70, canvas)
        np.testing.assert_array_equal(planes, reference.cut_out(image, move, 70, canvas))


@pytest.mark.parametrize("canvas", [None, 60])
def test_a_part_of_a_picture_has_opencvs_bits(canvas: int | None) -> None:
    cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    square = np.zeros((60, 60, 3), np.uint8)
    square[:50] = image
    border = cv2.BORDER_CONSTANT if canvas is None else cv2.BORDER_REPLICATE
    for turn in np.linspace(-3, 3, 7):
        move = np.array([[np.cos(turn), -np.sin(turn), 20.2], [np.sin(turn), np.cos(turn), 17.7]])
        expected = cv2.warpPerspective(
            square,
            np.vstack([move, [0, 0, 1]]),
            (64, 64),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=border,
        )
        np.testing.assert_array_equal(ops.cut_out(image, move, 64, canvas), expected.transpose(2, 0, 1))


def test_a_canvas_smaller_than_its_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="canvas of 9"):
        ops.cut_out(np.zeros((8, 10, 3), np.uint8), np.eye(3)[:2], 4, 9)
