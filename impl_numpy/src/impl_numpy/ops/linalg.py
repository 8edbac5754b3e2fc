"""Products and transposes of matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.ops.families import registered, rule
from impl_numpy.recording import RULES, Grads, Primitive, binary, record, unary
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor


def _matmul_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    return (
        None if needs[0] is None else _times(grad, b.mT),
        None if needs[1] is None else _times(a.mT, grad),
    )


def _times(a: Value, b: Value) -> Value:
    return _matmul(a, b) if type(a) is type(b) is np.ndarray else a @ b


# An inner sum of so many terms is added up by blocks where few elements result: a BLAS adds one
# after the other there (ops-25).
_LONG = 1 << 13
_BLOCK = 1 << 11
_FEW = 64


def _matmul(a: Array, b: Array) -> Array:
    inner = a.shape[-1]
    if inner <= _LONG or a.shape[-2] * b.shape[-1] > _FEW or a.dtype.kind != "f":
        return np.matmul(a, b)
    whole = inner - inner % _BLOCK
    left = a[..., :whole].reshape(*a.shape[:-1], -1, _BLOCK).swapaxes(-2, -3)
    right = b[..., :whole, :].reshape(*b.shape[:-2], -1, _BLOCK, b.shape[-1])
    parts = np.matmul(left, right)
    rest = np.matmul(a[..., whole:], b[..., whole:, :])
    added: Array = total(parts, (parts.ndim - 3,)) + rest
    return added


_product = rule(Primitive("matmul", np.matmul, _matmul_vjp, ((1,), (0,)), stacks=True))
_long_product = Primitive("matmul", _matmul, _matmul_vjp, ((1,), (0,)), stacks=True)

_MATMUL = """Parameters
----------
x1 : Tensor or raw array, shape (..., M, K) or (K,)
x2 : Tensor or raw array, shape (..., K, N) or (K,)
    The leading axes broadcast.

Returns
-------
Tensor, shape (..., M, N), without M or N where a vector came

Raises
------
ValueError
    If the inner sizes differ, an operand has no axis, or the leading axes do not fit.
TypeError
    If an operand is no Tensor or raw array."""


@registered("matmul", "Return the matrix product, as in `x1 @ x2`.", _MATMUL)
def matmul(x1: Any, x2: Any, /) -> Tensor:
    left, right = as_tensor("matmul", x1), as_tensor("matmul", x2)
    before, after = left._data.shape, right._data.shape
    if not before or not after or before[-1] != after[-2:][0]:
        msg = f"matmul: the inner sizes of shapes {before} and {after} must be equal"
        raise ValueError(msg)  # ops-12
    product = _product if before[-1] <= _LONG else _long_product
    if len(before) == len(after) == 2:
        result: Tensor = binary(product, left, right)
        return result
    if len(before) == 1:
        whole = matmul(_reshaped(left, (1, -1)), right)
        return _reshaped(whole, (*after[:-2], *after[-1:]) if len(after) > 1 else ())
    if len(after) == 1:
        return _reshaped(matmul(left, _reshaped(right, (-1, 1))), before[:-1])
    if len(after) == 2:
        # One product instead of a stack, and the gradient of `right` without a stack to sum.
        flat = _reshaped(left, (math.prod(before[:-1]), before[-1]))
        return _reshaped(binary(product, flat, right), (*before[:-1], after[-1]))
    result = record(product, (left, right))
    return result


_TRANSPOSE = """Parameters
----------
x : Tensor or raw array, shape (..., M, N)

Returns
-------
Tensor, shape (..., N, M)

Raises
------
ValueError
    If there are fewer than two axes.
TypeError
    If x is neither."""


@registered("matrix_transpose", "Return the last two axes exchanged.", _TRANSPOSE)
def matrix_transpose(x: Any, /) -> Tensor:
    x = as_tensor("matrix_transpose", x)
    n = x.ndim
    if n < 2:
        msg = f"matrix_transpose: wants at least two axes, got shape {x.shape}"
        raise ValueError(msg)  # tensor-32
    result: Tensor = unary(RULES["permute_dims"], x, ((*range(n - 2), n - 1, n - 2),))
    return result


def _reshaped(x: Any, shape: Shape) -> Any:
    return unary(RULES["reshape"], x, (shape, x._data.shape))
