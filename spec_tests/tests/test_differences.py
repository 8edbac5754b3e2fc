"""The checker of gradients: what it finds right, and what it finds wrong."""

import numpy as np
import pytest

from spec_tests.check import check_gradients, gradients
from spec_tests.support.inputs import distinct, positive

nn = pytest.importorskip("impl_numpy", reason="the checker is tried on impl_numpy")


def cube(slope, result=None):
    """Return ``x**3`` with a given derivative, and with a given result of its own."""

    class Cube(nn.Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x * x * x * y if result is None else result(x, y)

        @staticmethod
        def backward(ctx, grad_output):
            x, y = ctx.saved_tensors
            return slope(x, y) * grad_output, x * x * x * grad_output

    return Cube.apply


INPUTS = [distinct((2, 2)), positive((2, 2))]


def test_differences_of_a_known_function():
    x, y = distinct((2, 3)), positive(3)
    by_x, by_y = gradients(lambda x, y: float(np.sum(np.sin(x) * y)), [x, y])
    np.testing.assert_allclose(by_x, np.cos(x) * y, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(by_y, np.sin(x).sum(axis=0), rtol=1e-8, atol=1e-9)


def test_differences_leave_the_inputs_alone():
    x = distinct(3)
    before = x.copy()

    def careless(x):
        x *= 2
        return float(np.sum(x))

    np.testing.assert_allclose(gradients(careless, [x])[0], np.full(3, 2.0), rtol=1e-8)
    assert np.array_equal(x, before)


def test_a_right_function_passes():
    check_gradients(nn, cube(lambda x, y: 3 * x * x * y), INPUTS, second_order=True)


def test_a_structure_of_results_passes():
    check_gradients(nn, lambda x: (nn.ops.sum(x * x), x), INPUTS[:1], second_order=True)


def test_a_scalar_passes():
    check_gradients(nn, lambda x: x * x, [np.array(0.7)], second_order=True)


@pytest.mark.parametrize(
    "slope",
    [
        lambda x, y: 3 * x * x,
        lambda x, y: 3 * x * y,
        lambda x, y: -3 * x * x * y,
        lambda x, y: 3 * x * x * y * (1 + 2e-7),
        lambda x, y: 0 * x,
    ],
    ids=["a factor missing", "wrong power", "wrong sign", "ten tolerances", "zero"],
)
def test_a_wrong_first_derivative_fails(slope):
    with pytest.raises(AssertionError, match=r"cube first derivative by input 0: got .* should be"):
        check_gradients(nn, cube(slope), INPUTS, call="cube")


def test_a_wrong_second_derivative_fails():
    # The values of the slope are right, but half of it does not follow x.
    seen = []

    def result(x, y):
        if isinstance(x, np.ndarray):
            seen[:] = [x.copy()]
        return x * x * x * y

    def slope(x, y):
        values = x if isinstance(x, np.ndarray) else seen[0]
        return 3 * x * values * y

    check_gradients(nn, cube(slope, result), INPUTS)
    with pytest.raises(AssertionError, match="second derivative by input 0"):
        check_gradients(nn, cube(slope, result), INPUTS, second_order=True)


def test_a_wrong_result_fails():
    with pytest.raises(AssertionError, match="first derivative by input"):
        check_gradients(nn, cube(lambda x, y: 3 * x * x * y, lambda x, y: x * x * y), INPUTS)


def test_a_wrong_derivative_that_is_recorded_fails():
    # Differences of it are right, and so is the one that is not recorded.
    def slope(x, y):
        return (3 if isinstance(x, np.ndarray) else 4) * x * x * y

    check_gradients(nn, cube(slope), INPUTS)
    with pytest.raises(AssertionError, match="recorded first derivative by input 0"):
        check_gradients(nn, cube(slope), INPUTS, second_order=True)
