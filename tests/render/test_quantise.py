import numpy as np

from geneface.render.quantise import from_int8, from_uint16, to_int8, to_uint16


def test_uint16_is_within_half_a_step_of_each_rows_range():
    values = (
        np.random.default_rng(0).normal(size=(14, 333)).astype(np.float32)
        * np.logspace(-3, 2, 14, dtype=np.float32)[:, None]
    )
    values[4] = 2.5  # a constant row
    codes, ranges = to_uint16(values)
    assert codes.dtype == np.uint16
    half_step = np.ptp(values, axis=1, keepdims=True) / 65535 / 2
    assert (np.abs(from_uint16(codes, ranges) - values) <= half_step * 1.01 + 1e-6 * np.abs(values)).all()


def test_int8_is_within_half_a_step_and_clips_outliers_only():
    values = np.random.default_rng(1).normal(size=(3, 7, 2000)).astype(np.float32)
    values[0, 0, 0] = 1000
    codes, step = to_int8(values)
    error = np.abs(from_int8(codes, step) - values)
    assert codes.dtype == np.int8 and step.shape == (3, 7)
    assert (error > step[..., None] * 0.51).mean() < 2e-3
    assert step[0, 0] < 0.1


def test_zero_rows_stay_zero():
    codes, step = to_int8(np.zeros((2, 7, 5), np.float32))
    assert (from_int8(codes, step) == 0).all()
