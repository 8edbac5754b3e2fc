"""Products and transposes of matrices."""

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.checks import check_tensor, explain, shapes_of
from impl_torch_ext.dtypes import bool_, float32
from impl_torch_ext.ops.families import linalg, operands


@linalg(
    "Tensor, shape (..., M, N)",
    x1="Tensor, shape (..., M, K) or (K,)",
    x2="Tensor, shape (..., K, N) or (K,)",
)
def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """Return the product of matrices, or of vectors as in NumPy."""
    if not (isinstance(x1, Tensor) and isinstance(x2, Tensor)):
        x1, x2 = operands("matmul", x1, x2)
    if check_tensor("matmul", x1, "x1").ndim == 0 or check_tensor("matmul", x2, "x2").ndim == 0:
        msg = f"matmul: operands must have at least one axis, got shapes {shapes_of(x1, x2)}"
        raise ValueError(msg)
    if x1.shape[-1] != x2.shape[-2 if x2.ndim > 1 else -1]:  # ops-12
        msg = f"matmul: the inner sizes must be equal, got shapes {shapes_of(x1, x2)}"
        raise ValueError(msg)
    try:
        if (dtype := x1.dtype) is not x2.dtype:
            return compat.matmul(x1, x2)
        if dtype is bool_:  # tensor-40
            return torch.matmul(x1.to(float32), x2.to(float32)) > 0
        return torch.matmul(x1, x2)
    except RuntimeError as error:
        explain("matmul", error, x1, x2, shapes=(x1.shape[:-2], x2.shape[:-2]))


@linalg(
    "Tensor, shape (..., N, M)",
    x="Tensor, shape (..., M, N)",
)
def matrix_transpose(x: Tensor, /) -> Tensor:
    """Return `x` with its last two axes exchanged."""
    if check_tensor("matrix_transpose", x).ndim < 2:
        msg = f"matrix_transpose: x must have at least two axes, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return x.mT
