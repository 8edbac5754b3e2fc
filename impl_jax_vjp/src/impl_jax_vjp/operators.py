"""The operators of a Tensor, over the functions of `arithmetic`."""

from typing import Any

import jax
import numpy as np

from . import arithmetic as A
from .indexing import getitem
from .tape import Traced

_KNOWN = (Traced, int, float, jax.Array, np.ndarray, np.generic)


class Operators(Traced):
    """What Python's syntax and the short method names give a Tensor."""

    __slots__ = ()
    __hash__ = object.__hash__

    @property
    def T(self) -> Any:
        """The matrix transposed, shape (m, n) to (n, m)."""
        return A.matrix_transpose(self)

    @property
    def mT(self) -> Any:
        """The last two axes exchanged, shape (..., m, n) to (..., n, m)."""
        return A.matrix_transpose(self)

    def reshape(self, *shape: Any) -> Any:
        """Return the same elements in another shape, given as a tuple or as the sizes."""
        return A.reshape(self, shape[0] if len(shape) == 1 else shape)

    def sum(self, axis: A.Axis = None, keepdims: bool = False) -> Any:
        """Return the sum over `axis`, over everything by default."""
        return A.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: A.Axis = None, keepdims: bool = False) -> Any:
        """Return the mean over `axis`, over everything by default."""
        return A.mean(self, axis=axis, keepdims=keepdims)

    def amax(self, axis: A.Axis = None, keepdims: bool = False) -> Any:
        """Return the largest over `axis`; ties share the gradient."""
        return A.max(self, axis=axis, keepdims=keepdims)

    def amin(self, axis: A.Axis = None, keepdims: bool = False) -> Any:
        """Return the smallest over `axis`; ties share the gradient."""
        return A.min(self, axis=axis, keepdims=keepdims)

    max = amax
    min = amin

    def __add__(self, other: Any) -> Any:
        return A.add(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return A.add(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return A.subtract(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return A.subtract(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        return A.multiply(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rmul__(self, other: Any) -> Any:
        return A.multiply(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __truediv__(self, other: Any) -> Any:
        return A.divide(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return A.divide(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __pow__(self, other: Any) -> Any:
        return A.pow(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rpow__(self, other: Any) -> Any:
        return A.pow(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __matmul__(self, other: Any) -> Any:
        return A.matmul(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rmatmul__(self, other: Any) -> Any:
        return A.matmul(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return A.compare("less", self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __le__(self, other: Any) -> Any:
        return A.compare("less_equal", self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return A.compare("greater", self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return (
            A.compare("greater_equal", self, other) if isinstance(other, _KNOWN) else NotImplemented
        )

    def __eq__(self, other: Any) -> Any:
        return A.compare("equal", self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return A.compare("not_equal", self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __neg__(self) -> Any:
        return A.negative(self)

    def __abs__(self) -> Any:
        return A.abs(self)

    def __getitem__(self, key: Any) -> Any:
        return getitem(self, key)
