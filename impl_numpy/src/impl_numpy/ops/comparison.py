"""Functions with boolean results; nothing here has a gradient."""

from __future__ import annotations

import numpy as np

from impl_numpy.ops.families import compare, predicate

equal = compare("equal", np.equal, "Return x1 == x2.")
not_equal = compare("not_equal", np.not_equal, "Return x1 != x2.")
less = compare("less", np.less, "Return x1 < x2.")
less_equal = compare("less_equal", np.less_equal, "Return x1 <= x2.")
greater = compare("greater", np.greater, "Return x1 > x2.")
greater_equal = compare("greater_equal", np.greater_equal, "Return x1 >= x2.")
logical_and = compare("logical_and", np.logical_and, "Return whether both are true.")
logical_or = compare("logical_or", np.logical_or, "Return whether one of them is true.")
logical_not = predicate("logical_not", np.logical_not, "Return whether x is false.")
logical_xor = compare("logical_xor", np.logical_xor, "Return whether just one is true.")
isnan = predicate("isnan", np.isnan, "Return where x is NaN.")
isfinite = predicate("isfinite", np.isfinite, "Return where x is neither infinite nor NaN.")
isinf = predicate("isinf", np.isinf, "Return where x is infinite.")
signbit = predicate("signbit", np.signbit, "Return where the sign of x is minus.", real=True)
