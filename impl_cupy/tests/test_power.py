"""Powers of integers, which CuPy answers with 0 where the exponent is negative."""

from __future__ import annotations

from typing import Any

import pytest

import impl_cupy as nn


@pytest.mark.parametrize("exponent", [-1, nn.tensor([1, -2])])
def test_negative_exponent_is_refused(exponent: Any) -> None:
    with pytest.raises(ValueError, match=r"^pow: integers take no negative exponent"):
        nn.tensor([2, 3]) ** exponent


def test_negative_exponent_of_a_floating_base() -> None:
    assert (nn.tensor([2.0, 4.0]) ** -1).tolist() == [0.5, 0.25]
    assert (nn.tensor([2.0, 4.0]) ** nn.tensor([-1, 1])).tolist() == [0.5, 4.0]
