"""Products and transposes of matrices, with their gradients."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.ops.manipulation import expand_dims, squeeze
from impl_cupy.ops.primitive import apply, as_tensor, operands, refuse_shapes, sum_to
from impl_cupy.tensor import Tensor


def matmul(x1: Any, x2: Any, /) -> Tensor:
    """Multiply matrices, ``x1 @ x2``.

    Parameters
    ----------
    x1 : Tensor, shape (*, N, K) or (K,)
    x2 : Tensor, shape (*, K, M) or (K,)
        Leading axes broadcast; a vector is a row on the left and a column on the right.

    Raises
    ------
    ValueError
        That names both shapes, if they do not match.
    """
    a, b = operands("matmul", as_tensor("matmul", x1), as_tensor("matmul", x2))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor) or a.ndim == 0 or b.ndim == 0:
        refuse_shapes("matmul", (a, b))
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        refuse_shapes("matmul", (a, b))
    rows, columns = a.ndim == 1, b.ndim == 1
    left = expand_dims(a, axis=0) if rows else a
    right = expand_dims(b, axis=1) if columns else b
    product = apply(
        "matmul",
        cp.matmul,
        _matmul,
        (left, right),
        keep_inputs=True,
        config=(left.shape, right.shape),
    )
    dropped = ((-2,) if rows else ()) + ((-1,) if columns else ())
    return squeeze(product, dropped) if dropped else product


def _matmul(node: Any, grad: Any) -> tuple[Any, Any]:
    xp = node.xp
    a, b = node.inputs
    to_first, to_second = node.edges
    first, second = node.config
    return (
        sum_to(xp, xp.matmul(grad, xp.matrix_transpose(b)), first) if to_first else None,
        sum_to(xp, xp.matmul(xp.matrix_transpose(a), grad), second) if to_second else None,
    )


def matrix_transpose(x: Any, /) -> Tensor:
    """Exchange the last two axes.

    Raises
    ------
    ValueError
        If there are fewer than two.
    """
    value = as_tensor("matrix_transpose", x)
    if value.ndim < 2:
        msg = f"matrix_transpose: at least two axes are needed, got shape {value.shape}"
        raise ValueError(msg)
    return apply("matrix_transpose", cp.matrix_transpose, _matrix_transpose, (value,))


def _matrix_transpose(node: Any, grad: Any) -> tuple[Any]:
    return (node.xp.matrix_transpose(grad),)
