"""``ctx.xp`` for raw arrays has the functions of the standard, from CuPy or from `ops`."""

from __future__ import annotations

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy import xp
from impl_cupy.backend import cp


@pytest.mark.parametrize("name", nn.ops.__all__)
def test_every_name_is_there(name: str) -> None:
    assert hasattr(xp, name)


def test_functions_that_cupy_lacks_or_has_otherwise() -> None:
    raw = cp.asarray(np.array([3.0, 1.0, np.nan, 1.0], np.float32))
    got = xp.sort(raw, descending=True)
    assert isinstance(got, cp.ndarray)
    assert np.array_equal(got.get(), np.float32([np.nan, 3, 1, 1]), equal_nan=True)
    values, counts = xp.unique_counts(raw)
    assert isinstance(values, cp.ndarray)
    assert counts.get().tolist() == [2, 1, 1]
    assert xp.var(raw[:2], correction=1).item() == 2.0
    assert [part.item() for part in xp.unstack(raw[:2])] == [3.0, 1.0]
    assert xp.remainder(raw[:2], -np.inf).get().tolist() == [-np.inf, -np.inf]


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(AttributeError):
        xp.nonexistent  # noqa: B018
