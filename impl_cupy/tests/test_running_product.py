"""The running product's gradient is right where elements are 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import impl_cupy as nn


@pytest.mark.parametrize("include_initial", [False, True])
@pytest.mark.parametrize(("shape", "axis"), [((7,), 0), ((3, 4), 1), ((4, 2), -2), ((0,), 0)])
def test_gradient_with_zeros(shape: tuple[int, ...], axis: int, include_initial: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, shape)
    x.reshape(-1)[1:3] = 0
    weights = rng.uniform(
        -1, 1, np.cumulative_prod(x, axis=axis, include_initial=include_initial).shape
    )

    def total(values: np.ndarray[Any, Any]) -> float:
        products = np.cumulative_prod(values, axis=axis, include_initial=include_initial)
        return float((products * weights).sum())

    def recorded(values: nn.Tensor) -> nn.Tensor:
        products = nn.ops.cumulative_prod(values, axis=axis, include_initial=include_initial)
        return nn.ops.sum(products * nn.tensor(weights))

    wanted = np.zeros(shape)
    for index in np.ndindex(*shape):
        step = np.zeros(shape)
        step[index] = 1e-6
        wanted[index] = (total(x + step) - total(x - step)) / 2e-6
    plain = nn.grad(recorded)(nn.tensor(x))
    again = nn.grad(recorded, create_graph=True)(nn.tensor(x))
    np.testing.assert_allclose(plain.numpy(), wanted, atol=1e-8)
    np.testing.assert_allclose(again.detach().numpy(), wanted, atol=1e-8)


@pytest.mark.parametrize("name", ["bool", "int32", "int64", "float32", "float64"])
def test_the_dtype_that_is_asked_for(name: str) -> None:
    dtype, x = np.dtype(name), nn.tensor([3, 0, 2])
    for function in ("sum", "prod", "cumulative_sum", "cumulative_prod"):
        assert getattr(nn.ops, function)(x, dtype=dtype).dtype == dtype
    assert nn.ops.sum(x, dtype=dtype).item() == (True if name == "bool" else 5)
