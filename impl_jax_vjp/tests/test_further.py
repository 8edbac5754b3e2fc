"""Functions of `ops`: how often they compile, values far out, and what the suite leaves open."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from test_compilation import compilations

import impl_jax_vjp as nn

ELEMENTS: dict[str, Callable[[Any], Any]] = {
    "expm1": np.expm1,
    "log1p": np.log1p,
    "asinh": np.arcsinh,
    "atanh": np.arctanh,
    "erf": np.vectorize(math.erf),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "gelu": lambda x: x * np.vectorize(math.erfc)(-x / math.sqrt(2)) / 2,
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_digits_over_a_wide_range(name: str) -> None:
    x = np.concatenate([np.linspace(-8, 8, 33) + 0.013, np.linspace(-0.99, 0.99, 12), [1e-6]])
    with np.errstate(all="ignore"):
        want = ELEMENTS[name](x)
    got = getattr(nn.ops, name)(nn.tensor(x)).numpy()
    np.testing.assert_allclose(got, want, rtol=5e-14)


@pytest.mark.parametrize("name", ["silu", "gelu", "softplus", "asinh"])
def test_derivatives_far_out_are_finite(name: str) -> None:
    x = nn.tensor(np.array([3e38, -3e38, 1e20, -1e20], np.float32))
    function = getattr(nn.ops, name)
    first = nn.grad(lambda t: nn.ops.sum(function(t)))
    second = nn.grad(lambda t: nn.ops.sum(first(t)))
    want = [0, 0, 0, 0] if name == "asinh" else [1, 0, 1, 0]
    np.testing.assert_allclose(first(x).numpy(), want, atol=1e-19)
    np.testing.assert_allclose(second(x).numpy(), np.zeros(4), atol=1e-19)


@pytest.mark.parametrize("name", ["var", "norm", "diff", "repeat", "cumulative_logsumexp", "sort"])
def test_one_program_forward_and_one_backward(name: str) -> None:
    x = nn.tensor(np.arange(1.0, 14.0), requires_grad=True)
    weight = nn.tensor(np.array(2.0))
    with compilations() as forward:
        out = nn.ops.repeat(x, 3) if name == "repeat" else getattr(nn.ops, name)(x)
    assert len(forward) <= 1
    grad = nn.ops.zeros_like(out) + weight
    with compilations() as backward:
        out.backward(grad)
    assert len(backward) <= 1


def test_another_number_compiles_nothing() -> None:
    x = nn.tensor(np.arange(-3.0, 4.0))
    nn.ops.leaky_relu(x), nn.ops.elu(x)
    with compilations() as events:
        got = nn.ops.leaky_relu(x, 0.5), nn.ops.elu(x, 3.0)
    assert not events
    assert got[0].numpy()[0] == -1.5


def test_an_order_names_places_that_are_there() -> None:
    x = nn.tensor([1.0, 2.0])
    for wrong in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match=r"searchsorted: sorter .* 0 <= place < 2"):
            nn.ops.searchsorted(x, x, sorter=nn.tensor(wrong))


def test_shifts_take_no_booleans() -> None:
    with pytest.raises(TypeError, match=r"bitwise_left_shift: .* bool"):
        nn.ops.bitwise_left_shift(nn.tensor([1]), True)


def test_every_device_of_the_process_is_taken() -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    for device in nn.ops.__array_namespace_info__().devices():
        y = nn.ops.asarray(x, device=device)
        assert y.data.devices() == {device}
        x.grad = None
        nn.ops.sum(y * y).backward()
        np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])
        assert nn.ops.zeros(2, device=device).data.devices() == {device}


def test_long_repeats_add_their_gradients_by_pairs() -> None:
    x = nn.tensor(np.array([1.0], np.float32), requires_grad=True)
    count = 1 << 20
    weight = nn.tensor(np.full(count, 0.1, np.float32))
    exact = count * float(np.float32(0.1))
    repeats: Any
    for repeats in (count, np.array([count])):
        x.grad = None
        nn.ops.sum(nn.ops.repeat(x, repeats) * weight).backward()
        assert abs(x.grad.item() - exact) <= 2 * 22 * np.finfo(np.float32).eps * exact


def test_a_shape_that_depends_on_values_is_refused_in_a_trace() -> None:
    with pytest.raises(ValueError, match=r"nonzero: .* \(3,\)"):
        jax.jit(lambda x: nn.ops.nonzero(x)[0].data)(np.arange(3))
