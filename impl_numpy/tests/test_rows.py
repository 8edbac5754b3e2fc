"""Gradients of rows that are named several times are added in one of four ways."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.ops import indexing


@pytest.mark.parametrize(("dtype", "narrow"), [("f8", 0), ("f8", 16), ("f4", 0), ("f4", 16)])
@pytest.mark.parametrize("round_costs", [0, indexing.ROUND, 1 << 40])
@pytest.mark.parametrize("names", [20, 200, 2000])
@pytest.mark.parametrize("rest", [(), (5,), (3, 40)])
def test_each_way_adds_every_row(dtype, narrow, round_costs, names, rest, monkeypatch) -> None:
    monkeypatch.setattr(indexing, "NARROW", narrow)
    monkeypatch.setattr(indexing, "ROUND", round_costs)
    rng = np.random.default_rng(0)
    index = rng.integers(-50, 50, names)
    grad = rng.standard_normal((names, *rest)).astype(dtype)
    table = nn.tensor(np.zeros((50, *rest), dtype), requires_grad=True)
    table[index].backward(nn.tensor(grad))
    wanted = np.zeros((50, *rest))
    np.add.at(wanted, index, grad)
    error = 1e-12 if dtype == "f8" else 1e-4
    np.testing.assert_allclose(table.grad.numpy(), wanted, rtol=error, atol=error)
