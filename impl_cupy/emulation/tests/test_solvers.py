"""The emulated solvers and transforms have CuPy's edges, where NumPy's are others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cupy_emulation import cupyx
from cupy_emulation import namespace as cp

STACK = np.stack([np.eye(2), [[1.0, 2.0], [2.0, 4.0]], 2 * np.eye(2)])
SOLVERS: dict[str, Callable[[Any], Any]] = {
    "inv": lambda x: cp.linalg.inv(x),
    "solve": lambda x: cp.linalg.solve(x, x),
    "cholesky": lambda x: cp.linalg.cholesky(x - cp.eye(2) * 0.5),
}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_a_matrix_that_cannot_be_solved(name: str, dtype: str) -> None:
    x = cp.asarray(STACK.astype(dtype))
    got = cp.asnumpy(SOLVERS[name](x))
    assert np.isnan(got[1]).all()
    assert np.isfinite(got[[0, 2]]).all()
    with cupyx.errstate(linalg="raise"), pytest.raises(np.linalg.LinAlgError):
        SOLVERS[name](x)
    # The choice ends with the block.
    SOLVERS[name](x)


def test_what_errstate_does_not_know() -> None:
    for options in ({"divide": "ignore"}, {"linalg": "warn"}):
        with pytest.raises(NotImplementedError), cupyx.errstate(**options):
            pass


def test_determinants_of_singular_matrices() -> None:
    sign, logarithm = cp.linalg.slogdet(cp.asarray(STACK))
    assert cp.asnumpy(sign).tolist() == [1, 0, 1]
    assert cp.asnumpy(logarithm)[1] == -np.inf
    assert cp.asnumpy(cp.linalg.det(cp.asarray(STACK)))[1] == 0


def test_eigenvalues_are_complex_and_in_no_order() -> None:
    values, vectors = cp.linalg.eig(cp.asarray(np.diag([1, 2, 3]).astype("float32")))
    assert (values.dtype, vectors.dtype) == (np.complex64, np.complex64)
    assert cp.asnumpy(values).tolist() == [3, 2, 1]
    assert cp.linalg.eigvals(cp.zeros((0, 2, 2), "float32")).dtype == np.float32


def test_stacks_are_not_broadcast() -> None:
    with pytest.raises(ValueError, match="must have"):
        cp.linalg.solve(cp.asarray(STACK), cp.ones((2, 1)))
    assert cp.linalg.solve(cp.asarray(2 * STACK[::2]), cp.ones(2)).shape == (2, 2)


def test_transforms_of_other_axes_are_views() -> None:
    x = cp.asarray(np.arange(12.0, dtype="float32").reshape(3, 4))
    first, last = cp.fft.fft(x, axis=0), cp.fft.fft(x)
    assert first.base is not None
    assert not first.flags.c_contiguous
    assert last.base is None
    assert first.dtype == np.complex64
    np.testing.assert_allclose(
        cp.asnumpy(first), np.fft.fft(np.arange(12.0).reshape(3, 4), axis=0), rtol=1e-5
    )


def test_edges_of_transforms() -> None:
    x = cp.ones((2, 3))
    assert cp.fft.fftn(x, axes=()) is x
    with pytest.raises(IndexError):
        cp.fft.rfftn(x, axes=())
    with pytest.raises(ValueError, match="0"):
        cp.fft.fft(x, 0)
    with pytest.raises(ValueError, match="norm"):
        cp.fft.fft(x, norm="none")
    with pytest.raises(TypeError):
        cp.fft.fft(np.ones(3))
    assert cp.fft.fft(cp.arange(3)).dtype == np.complex128
