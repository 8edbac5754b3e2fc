"""Parts of complex numbers, and their conjugates."""

import torch
from torch import Tensor

from impl_torch_ext.ops.elementwise import check_numbers
from impl_torch_ext.ops.families import unary
from impl_torch_ext.ops.transcendental import derived
from impl_torch_ext.tracing import conjugated

__all__ = ["conj", "imag", "real"]


def _real(x: Tensor) -> Tensor:
    check_numbers("real", x)
    return torch.real(x).clone()


_nothing = derived("imag", torch.zeros_like, None)


def _imag(x: Tensor) -> Tensor:
    check_numbers("imag", x)
    if x.is_complex():
        return torch.imag(x).clone()
    return _nothing(x) if x.is_floating_point() else torch.zeros_like(x)


def _conj(x: Tensor) -> Tensor:
    check_numbers("conj", x)
    # At once: what torch only notes as conjugated NumPy does not take.
    return conjugated(x) if x.is_complex() else x.clone()


# ops-62
real = unary("real", _real, "the real part")
imag = unary("imag", _imag, "the imaginary part, of real numbers 0")
conj = unary("conj", _conj, "the complex conjugate")
