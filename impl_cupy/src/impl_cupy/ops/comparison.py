"""Functions with boolean results; nothing here has a gradient."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.ops.primitive import apply, as_tensor, operands
from impl_cupy.tensor import Tensor


def equal(x1: Any, x2: Any) -> Tensor:
    """Tell where ``x1 == x2``."""
    return apply("equal", cp.equal, None, operands("equal", x1, x2))


def not_equal(x1: Any, x2: Any) -> Tensor:
    """Tell where ``x1 != x2``."""
    return apply("not_equal", cp.not_equal, None, operands("not_equal", x1, x2))


def less(x1: Any, x2: Any) -> Tensor:
    """Tell where ``x1 < x2``."""
    return apply("less", cp.less, None, operands("less", x1, x2))


def less_equal(x1: Any, x2: Any) -> Tensor:
    """Tell where ``x1 <= x2``."""
    return apply("less_equal", cp.less_equal, None, operands("less_equal", x1, x2))


def greater(x1: Any, x2: Any) -> Tensor:
    """Tell where ``x1 > x2``."""
    return apply("greater", cp.greater, None, operands("greater", x1, x2))


def greater_equal(x1: Any, x2: Any) -> Tensor:
    """Tell where ``x1 >= x2``."""
    return apply("greater_equal", cp.greater_equal, None, operands("greater_equal", x1, x2))


def logical_and(x1: Any, x2: Any) -> Tensor:
    """Tell where both are true."""
    return apply("logical_and", cp.logical_and, None, operands("logical_and", x1, x2))


def logical_or(x1: Any, x2: Any) -> Tensor:
    """Tell where at least one is true."""
    return apply("logical_or", cp.logical_or, None, operands("logical_or", x1, x2))


def logical_not(x: Any, /) -> Tensor:
    """Tell where `x` is false."""
    return apply("logical_not", cp.logical_not, None, (as_tensor("logical_not", x),))


def isnan(x: Any, /) -> Tensor:
    """Tell where `x` is NaN."""
    return apply("isnan", cp.isnan, None, (as_tensor("isnan", x),))


def isfinite(x: Any, /) -> Tensor:
    """Tell where `x` is neither NaN nor infinite."""
    return apply("isfinite", cp.isfinite, None, (as_tensor("isfinite", x),))
