"""Comparisons and predicates, which give booleans."""

import array_api_compat.torch as compat
import torch

from impl_torch_ext.ops.families import compare, predicate

equal = compare("equal", compat.equal, "whether x1 == x2", torch.eq)
not_equal = compare("not_equal", compat.not_equal, "whether x1 != x2", torch.ne)
less = compare("less", compat.less, "whether x1 < x2", torch.lt)
less_equal = compare("less_equal", compat.less_equal, "whether x1 <= x2", torch.le)
greater = compare("greater", compat.greater, "whether x1 > x2", torch.gt)
greater_equal = compare("greater_equal", compat.greater_equal, "whether x1 >= x2", torch.ge)
logical_and = compare("logical_and", compat.logical_and, "whether both are true", torch.logical_and)
logical_or = compare(
    "logical_or", compat.logical_or, "whether at least one is true", torch.logical_or
)

logical_xor = compare(
    "logical_xor", compat.logical_xor, "whether just one is true", torch.logical_xor
)

logical_not = predicate("logical_not", torch.logical_not, "whether x is false")
isnan = predicate("isnan", torch.isnan, "whether x is NaN")
isfinite = predicate("isfinite", torch.isfinite, "whether x is neither infinite nor NaN")
isinf = predicate("isinf", torch.isinf, "whether x is infinite")
