"""Integers where JAX would return something that is no answer."""

from typing import Any

import jax
import numpy as np
import pytest

import impl_jax_vjp as nn

ROOT = nn.tensor([2, 3])


@pytest.mark.parametrize(
    "power",
    [
        lambda: ROOT**-1,
        lambda: 2 ** nn.tensor([1, -1]),
        lambda: nn.ops.pow(ROOT, nn.tensor([-2])),
        lambda: nn.ops.pow(ROOT, np.array([1, -2])),
        lambda: jax.jit(lambda x: (nn.from_array(x) ** -1).data)(np.array([2, 3])),
    ],
)
def test_a_negative_power_of_integers_raises(power: Any) -> None:
    with pytest.raises(ValueError, match="pow: exponents of integers must not be negative"):
        power()


def test_other_powers_of_integers_stay() -> None:
    assert (ROOT**2).tolist() == [4, 9]
    assert (2**ROOT).tolist() == [4, 8]
    assert (ROOT**-1.0).dtype == nn.float32


@pytest.mark.parametrize("fill", ["uniform_", "normal_", "xavier_uniform_", "kaiming_normal_"])
def test_random_values_want_a_floating_tensor(fill: str) -> None:
    whole = nn.zeros((2, 2), dtype=nn.int64)
    with pytest.raises(TypeError, match=f"{fill}: tensor must be floating, got dtype int64"):
        getattr(nn.init, fill)(whole)
    assert whole.tolist() == [[0, 0], [0, 0]]
