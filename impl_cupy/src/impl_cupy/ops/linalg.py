"""Products and transposes of matrices, with their gradients."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import refuse_shapes
from impl_cupy.ops.families import shape, written
from impl_cupy.recording import as_operands, as_tensor, record, sum_to
from impl_cupy.sums import product
from impl_cupy.tensor import Tensor


@written()
def matmul(x1: Any, x2: Any, /) -> Tensor:
    """Multiply matrices, ``x1 @ x2``.

    Parameters
    ----------
    x1 : Tensor or raw array, shape (*, N, K) or (K,)
    x2 : Tensor or raw array, shape (*, K, M) or (K,)
        Leading axes broadcast; a vector is a row on the left and a column on the right.

    Returns
    -------
    Tensor, shape (*, N, M), without N or M where a vector was given

    Raises
    ------
    TypeError
        If one is no array.
    ValueError
        That names both shapes, if they do not match.
    """
    a, b = as_operands("matmul", as_tensor("matmul", x1), as_tensor("matmul", x2))
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        refuse_shapes("matmul", (a, b))
    is_row, is_column = a.ndim == 1, b.ndim == 1
    left = a.reshape(1, a.shape[0]) if is_row else a
    right = b.reshape(b.shape[0], 1) if is_column else b
    result = record(
        "matmul",
        product,
        _matmul,
        (left, right),
        keep_inputs=True,
        config=(left.shape, right.shape),
    )
    if not (is_row or is_column):
        return result
    rows = () if is_row else result.shape[-2:-1]
    columns = () if is_column else result.shape[-1:]
    return result.reshape((*result.shape[:-2], *rows, *columns))


def _matmul(node: Any, grad: Any) -> tuple[Any, Any]:
    xp = node.xp
    to_first, to_second = node.edges
    first, second = node.config
    return (
        sum_to(xp, xp.matmul(grad, xp.matrix_transpose(node.other)), first) if to_first else None,
        sum_to(xp, xp.matmul(xp.matrix_transpose(node.x), grad), second) if to_second else None,
    )


@shape(lambda node, grad: node.xp.matrix_transpose(grad))
def matrix_transpose(x: Any, /) -> Any:
    """Exchange the last two axes.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, N, M)

    Returns
    -------
    Tensor, shape (*, M, N)

    Raises
    ------
    ValueError
        If there are fewer than two axes.
    """
    if x.ndim < 2:
        msg = f"matrix_transpose: x must have at least two axes, got shape {x.shape}"
        raise ValueError(msg)
    return cp.matrix_transpose
