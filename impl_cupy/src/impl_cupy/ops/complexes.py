"""Parts of complex numbers (ops-62)."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.ops.elementwise import no_booleans
from impl_cupy.ops.families import unary


def _conjugated(raw: Any) -> Any:
    return cp.conj(raw) if raw.dtype.kind == "c" else raw.copy()


def _turned(node: Any, grad: Any) -> Any:
    """Return the gradient to an imaginary part; that of real numbers is 0, and so is this."""
    return grad * 1j if node.config.kind == "c" else node.xp.zeros_like(grad)


def _widened(node: Any, grad: Any) -> Any:
    return node.xp.astype(grad, node.config) if node.config.kind == "c" else grad


real = unary(
    "real",
    no_booleans("real", lambda raw: raw.real.copy()),
    _widened,
    "Return the real part; real numbers are their own.",
)
imag = unary(
    "imag",
    no_booleans("imag", lambda raw: raw.imag.copy()),
    _turned,
    "Return the imaginary part, 0 of real numbers.",
)
conj = unary(
    "conj",
    no_booleans("conj", _conjugated),
    lambda node, grad: node.xp.conj(grad) if grad.dtype.kind == "c" else grad,
    "Return the number with the other imaginary part; real numbers are their own.",
)
