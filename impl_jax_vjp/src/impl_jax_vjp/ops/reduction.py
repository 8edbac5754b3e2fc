"""Reductions, and functions that run along an axis and keep its length."""

from ..dtypes import floating
from . import formulas as F
from .families import reduce, scan, total

_TIES = "elements that attain it share the gradient equally."  # tensor-26

total("sum", F.total, "Return the sum; integers and booleans are added as int64.", keeps=F.nothing)
reduce("mean", F.mean, "Return the mean.", dtype=floating, keeps=F.nothing)
reduce("max", F.largest, f"Return the largest; {_TIES}", chooses=True)
reduce("min", F.smallest, f"Return the smallest; {_TIES}", chooses=True)
scan(
    "cumulative_prod",
    F.cumulative_prod,
    "Return the products of the elements up to each; integers are multiplied as int64.",
)
