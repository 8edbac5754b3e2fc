"""Complex numbers where CuPy's own functions lose digits or have no loop for them."""

from __future__ import annotations

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.backend import cp

SMALL = np.array([1e-9 + 2e-9j, -3e-12j, 1e-20, 0.25 - 0.125j, 2 + 3j, -0.5 + 1e-10j])


@pytest.mark.parametrize("name", ["expm1", "log1p"])
def test_digits_near_zero(name: str) -> None:
    got = getattr(nn.ops, name)(nn.tensor(SMALL)).numpy()
    # NumPy's own log1p adds 1 too.
    series = SMALL - SMALL**2 / 2 + SMALL**3 / 3
    logs = np.where(np.abs(SMALL) < 1e-6, series, np.log(1 + SMALL))
    want = np.expm1(SMALL) if name == "expm1" else logs
    assert np.all(np.abs(got - want) <= 1e-15 * np.abs(want)), (got, want)


def test_cupy_loses_these_digits() -> None:
    """If it does no longer, the functions of parts can go."""
    lost = cp.asnumpy(cp.expm1(cp.asarray(SMALL[:1])))[0]
    assert abs(lost - np.expm1(SMALL[0])) > 1e-12 * abs(SMALL[0])


@pytest.mark.parametrize("name", ["asin", "acos", "asinh", "acosh", "atan", "atanh", "sqrt", "log"])
def test_slopes_in_every_quadrant(name: str) -> None:
    """A root of a product may have another cut than the product of roots."""
    for z in (1.5 + 0.5j, -1.5 + 0.5j, -1.5 - 0.5j, 0.25 - 2j, -0.25 + 2j):
        a, b = nn.tensor(z.real, dtype=nn.float64), nn.tensor(z.imag, dtype=nn.float64)
        a.requires_grad_()
        b.requires_grad_()
        getattr(nn.ops, name)(a + 1j * b).backward(nn.tensor(1 + 0j, dtype=nn.complex128))
        function = getattr(np, name)
        slope = (function(z + 1e-6) - function(z - 1e-6)) / 2e-6
        assert a.grad is not None
        assert b.grad is not None
        got = a.grad.item() + 1j * b.grad.item()
        assert abs(got - np.conj(slope)) < 1e-8, (name, z)


def test_powers_of_numbers_below_zero() -> None:
    """The logarithm of the base lies on its cut, and its conjugate must not change sides."""
    x = nn.tensor(0.5, dtype=nn.float64, requires_grad=True)
    w = x + 0.25j
    (nn.ops.pow(-2.0, w) + nn.ops.pow(nn.tensor(-2.0 + 0j, dtype=nn.complex128), w)).backward(
        nn.tensor(1 + 0j, dtype=nn.complex128)
    )
    slope = np.power(-2 + 0j, 0.5 + 0.25j) * np.log(-2 + 0j)
    assert x.grad is not None
    assert abs(x.grad.item() - 2 * slope.real) < 1e-12
