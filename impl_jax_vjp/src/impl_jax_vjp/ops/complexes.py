"""The parts of complex numbers, and of real ones, which have an imaginary part of 0."""

from typing import Any

import jax.numpy as jnp

from . import formulas as F
from .families import unary

Array = Any


def _imag(x: Array) -> Array:
    return jnp.imag(x) if x.dtype.kind == "c" else jnp.zeros_like(x)


def _real(x: Array) -> Array:
    return jnp.real(x) if x.dtype.kind == "c" else x


def _conj(x: Array) -> Array:
    return jnp.conj(x) if x.dtype.kind == "c" else x


_PARTS: dict[str, Any] = {"keeps": F.nothing, "booleans": "refused", "complexes": True}

unary("real", _real, "Return the real part, which a real number is itself.", **_PARTS)
unary("imag", _imag, "Return the imaginary part, which is 0 of a real number.", **_PARTS)
unary("conj", _conj, "Return the complex conjugate, which a real number is itself.", **_PARTS)
