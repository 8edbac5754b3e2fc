"""Rows that are added where an index says, in stretches where many go to each."""

from __future__ import annotations

import numpy as np
import pytest

from impl_cupy.backend import cp
from impl_cupy.sums import scatter_rows


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "complex64", "int8", "int32", "int64", "uint16", "uint64"]
)
@pytest.mark.parametrize("skipped", [-1, 0, 2])
@pytest.mark.parametrize("chances", [(1.0,), (0.5, 0, 0.5), (0.01, 0.9, 0.04, 0.05)], ids=str)
@pytest.mark.parametrize("lookups", [4096, 4097, 9000])
def test_long_runs(lookups: int, chances: tuple[float, ...], skipped: int, dtype: str) -> None:
    rng, count = np.random.default_rng(lookups), len(chances)
    rows = rng.choice(count, lookups, p=chances)
    values = rng.integers(0 if dtype[0] == "u" else -9, 9, (lookups, 2)).astype(dtype)
    want = np.zeros((count, 2), dtype)
    np.add.at(want, rows, values)
    if 0 <= skipped < count and dtype[0] in "fc":
        want[skipped] = 0
    got = scatter_rows(cp.asarray(values), cp.asarray(rows), count, skipped)
    np.testing.assert_array_equal(cp.asnumpy(got), want)


def test_stretches_of_stretches() -> None:
    """So many rows that the sums of stretches are cut once more."""
    lookups = 1 << 19
    values = np.full((lookups, 1), 0.1, "float32")
    values[7] = np.nan
    rows = np.arange(lookups) % 3
    got = cp.asnumpy(scatter_rows(cp.asarray(values), cp.asarray(rows), 4))[:, 0]
    want = np.float64(values[0, 0]) * np.bincount(rows, minlength=4)
    want[1] = np.nan
    np.testing.assert_allclose(got, want, rtol=2e-7)
