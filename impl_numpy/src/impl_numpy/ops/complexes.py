"""Parts and directions of complex numbers (ops-61, ops-62).

On the tape a gradient is dL/da - i dL/db, the conjugate of what programs see
(`tape.conjugated`), so these rules are those of ops-61 conjugated.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.batched import asarray
from impl_numpy.dtypes import WHOLE, Value, bool_
from impl_numpy.ops.elementwise import masked
from impl_numpy.ops.families import OPERAND, X, registered, rule
from impl_numpy.recording import OUT, RULES, Grads, Primitive, raw, stretch, unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor


def _whole(grad: Value) -> Value:
    """Return a real gradient in the complex dtype of its width."""
    return stretch(grad, grad.shape, WHOLE[grad.dtype])


def _flat_vjp(grad: Value, needs: Parents, x: None, out: None) -> Grads:
    return (masked(grad, np.zeros((), bool_)),)


_real = rule(Primitive("real", lambda x: x.real.copy(), lambda g, *_: (_whole(g),)))
_imag = rule(Primitive("imag", lambda x: x.imag.copy(), lambda g, *_: (_whole(g) * -1j,)))
_conj: Primitive = rule(Primitive("conj", np.conjugate, lambda g, *_: (_conj(g),)))
# Of real numbers.
_no_part = Primitive("imag", np.zeros_like, _flat_vjp)
_sign = rule(Primitive("sign", np.sign, _flat_vjp))


def _numbers(name: str, x: Any) -> Tensor:
    tensor = as_tensor(name, x)
    if tensor.dtype == bool_:  # tensor-40
        msg = f"{name}: wants numbers, got bool; cast with astype first"
        raise TypeError(msg)
    return tensor


def _is_complex(x: Tensor) -> bool:
    return bool(x._data.dtype.kind == "c")


@registered("real", "Return the real part.", OPERAND.format(result="of the dtype of the parts"))
def real(x: Any, /) -> Tensor:
    x = _numbers("real", x)
    return unary(_real, x) if _is_complex(x) else x


@registered(
    "imag",
    "Return the imaginary part; of real numbers it is 0.",
    OPERAND.format(result="of the dtype of the parts"),
)
def imag(x: Any, /) -> Tensor:
    x = _numbers("imag", x)
    result: Tensor = unary(_imag if _is_complex(x) else _no_part, x)
    return result


@registered(
    "conj", "Return the conjugate; real numbers as they are.", OPERAND.format(result="as x")
)
def conj(x: Any, /) -> Tensor:
    x = _numbers("conj", x)
    return unary(_conj, x) if _is_complex(x) else x


def _direction_vjp(grad: Value, needs: Parents, x: Value, out: Value) -> Grads:
    away = asarray(raw(x) != 0)
    size = RULES["abs"](x)
    one = np.ones((), size.dtype)
    across = grad - _conj(out) * _real(out * grad)
    return (masked(across / RULES["where"](size, one, away), away),)


_direction = rule(Primitive("sign", np.sign, _direction_vjp, ((X, OUT),)), "sign of complex")


@registered(
    "sign", "Return -1, 0 or 1; of complex x x / abs(x), and 0 at 0.", OPERAND.format(result="as x")
)
def sign(x: Any, /) -> Tensor:  # ops-26
    x = _numbers("sign", x)
    result: Tensor = unary(_direction if _is_complex(x) else _sign, x)
    return result
