"""Products and transposes of matrices."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..dtypes import promote
from ..recording import Primitive, as_operand, dtype_of, shape_of
from . import formulas as F
from .families import listed

_matmul = Primitive(F.matmul, "matmul", F.others)
_matrix_transpose = Primitive(lambda x: jnp.swapaxes(x, -1, -2), "matrix_transpose", F.nothing)


@listed(
    "x1 : Tensor or raw array, shape (..., M, K) or (K,)\n"
    "x2 : Tensor or raw array, shape (..., K, N) or (K,)",
    "shape (..., M, N)\n    Leading axes broadcast; a vector's own axis is left out.",
    "ValueError\n    If an operand has no axes, sizes K differ or leading axes do not broadcast.\n"
    "TypeError\n    If an operand is no array.",
)
def matmul(x1: Any, x2: Any, /) -> Any:
    """Return the matrix product as NumPy forms it, for vectors, matrices and stacks of matrices."""
    x1, x2 = as_operand("matmul", x1), as_operand("matmul", x2)
    xs, ys = shape_of(x1), shape_of(x2)
    if not xs or not ys or xs[-1] != ys[-2 if len(ys) > 1 else 0]:
        msg = f"matmul: shapes must be (..., M, K) and (..., K, N), got {xs} and {ys}"
        raise ValueError(msg)
    if len(xs) > 2 or len(ys) > 2:
        try:
            np.broadcast_shapes(xs[:-2], ys[:-2])
        except ValueError:
            msg = f"matmul: leading axes must broadcast, got shapes {xs} and {ys}"
            raise ValueError(msg) from None
    return _matmul((x1, x2), promote(dtype_of(x1), dtype_of(x2)))


@listed(
    "x : Tensor or raw array, shape (..., M, N)",
    "shape (..., N, M)",
    "ValueError\n    If `x` has fewer than two axes.\nTypeError\n    If `x` is no array.",
)
def matrix_transpose(x: Any, /) -> Any:
    """Exchange the last two axes."""
    x = as_operand("matrix_transpose", x)
    if len(shape_of(x)) < 2:  # tensor-32
        msg = f"matrix_transpose: x must have at least two axes, got shape {shape_of(x)}"
        raise ValueError(msg)
    return _matrix_transpose((x,))
