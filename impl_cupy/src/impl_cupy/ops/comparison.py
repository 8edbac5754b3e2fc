"""Functions with boolean results; nothing here has a gradient."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.ops.families import compare, predicate


def _of_truth(function: Any) -> Any:
    """Make a function of what is true of one that CuPy has not for complex numbers."""

    def logical(*raws: Any) -> Any:
        if any(raw.dtype.kind == "c" for raw in raws if isinstance(raw, cp.ndarray)):
            raws = tuple([raw != 0 for raw in raws])
        return function(*raws)

    return logical


equal = compare("equal", cp.equal, "Tell where ``x1 == x2``.")
not_equal = compare("not_equal", cp.not_equal, "Tell where ``x1 != x2``.")
less = compare("less", cp.less, "Tell where ``x1 < x2``.")
less_equal = compare("less_equal", cp.less_equal, "Tell where ``x1 <= x2``.")
greater = compare("greater", cp.greater, "Tell where ``x1 > x2``.")
greater_equal = compare("greater_equal", cp.greater_equal, "Tell where ``x1 >= x2``.")
logical_and = compare("logical_and", _of_truth(cp.logical_and), "Tell where both are true.")
logical_or = compare("logical_or", _of_truth(cp.logical_or), "Tell where at least one is true.")
logical_xor = compare("logical_xor", _of_truth(cp.logical_xor), "Tell where one of two is true.")

logical_not = predicate("logical_not", _of_truth(cp.logical_not), "Tell where `x` is false.")
isnan = predicate("isnan", cp.isnan, "Tell where `x` is NaN.")
isfinite = predicate("isfinite", cp.isfinite, "Tell where `x` is neither NaN nor infinite.")
isinf = predicate("isinf", cp.isinf, "Tell where `x` is infinite.")
signbit = predicate("signbit", cp.signbit, "Tell where `x` has a minus, as -0.0 has.")
