"""Comparisons and predicates: their results are booleans and have no gradient."""

import jax.numpy as jnp

from ..dtypes import bool_
from .families import compare, predicate

compare("equal", jnp.equal, "Return ``x1 == x2``, element by element.", complexes=True)
compare("not_equal", jnp.not_equal, "Return ``x1 != x2``, element by element.", complexes=True)
compare("less", jnp.less, "Return ``x1 < x2``, element by element.")
compare("less_equal", jnp.less_equal, "Return ``x1 <= x2``, element by element.")
compare("greater", jnp.greater, "Return ``x1 > x2``, element by element.")
compare("greater_equal", jnp.greater_equal, "Return ``x1 >= x2``, element by element.")
compare(
    "logical_and", jnp.logical_and, "Return whether both are true.", cast_to=bool_, complexes=True
)
compare(
    "logical_or", jnp.logical_or, "Return whether either is true.", cast_to=bool_, complexes=True
)
compare(
    "logical_xor",
    jnp.logical_xor,
    "Return whether one of both is true.",
    cast_to=bool_,
    complexes=True,
)

predicate("logical_not", jnp.logical_not, "Return whether `x` is false.", cast_to=bool_)
predicate("isnan", jnp.isnan, "Tell where `x` is NaN.")
predicate("isfinite", jnp.isfinite, "Tell where `x` is neither NaN nor infinite.")
predicate("isinf", jnp.isinf, "Tell where `x` is infinite.")
predicate(
    "signbit", jnp.signbit, "Tell where the sign is negative, that of -0.0 too.", complexes=False
)
