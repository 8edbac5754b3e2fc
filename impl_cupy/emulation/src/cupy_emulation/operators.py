"""Operators of the array class: which operand decides, and which function computes.

An operand that is neither an emulated array nor a Python number is asked first whether it wants
to decide (``__array_ufunc__ = None``, or a higher ``__array_priority__``: NEP 13), so that a
Tensor's reflected operators run; NumPy's function of that name gets the rest and hands it back to
``__array_ufunc__`` of the array, which refuses NumPy arrays.
"""

from __future__ import annotations

from typing import Any

from . import creation, products
from .host import np
from .storage import Storage
from .ufunc import UFUNCS, ufunc

NUMBERS = frozenset((bool, int, float, complex))
"""Python's numbers."""

_POWERS = {0.5: "sqrt", 2.0: "square", -1.0: "reciprocal"}
COMPARISONS = {
    "less": "__lt__",
    "less_equal": "__le__",
    "greater": "__gt__",
    "greater_equal": "__ge__",
    "equal": "__eq__",
    "not_equal": "__ne__",
}
_ARITHMETIC = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "divmod": "divmod",
    "pow": "power",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "matmul": "matmul",
}


class Operators(Storage):
    """Unary operators and powers; the binary ones are made from a table below."""

    __slots__ = ()
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __neg__(self) -> Any:
        return UFUNCS["negative"](self)

    def __pos__(self) -> Any:
        return UFUNCS["positive"](self)

    def __abs__(self) -> Any:
        return UFUNCS["absolute"](self)

    def __invert__(self) -> Any:
        return UFUNCS["invert"](self)

    def __pow__(self, other: Any) -> Any:
        # CuPy's own shortcuts, since they choose the function and with it the rounding.
        kind = self._array.dtype.kind
        if type(other) is int and other == 2:
            return UFUNCS["square"](
                self, dtype=None if kind in "ifc" else np.result_type(self._array.dtype, 2)
            )
        if type(other) is float and other in _POWERS:
            dtype = None if kind in "fc" else np.result_type(self._array.dtype, other)
            return UFUNCS[_POWERS[other]](self, dtype=dtype)
        return _binary(UFUNCS["power"], self, other)


def _gives_way(x: Any, other: Any) -> bool:
    """Tell whether the other operand's reflected method is to be asked: the rule of NEP 13."""
    handler = getattr(other, "__array_ufunc__", NUMBERS)
    if handler is not NUMBERS:
        return handler is None
    return bool(x.__array_priority__ < getattr(other, "__array_priority__", 0))


def _binary(function: Any, x: Any, other: Any, reflected: bool = False) -> Any:
    if not isinstance(other, Storage) and type(other) not in NUMBERS:
        if _gives_way(x, other):
            return NotImplemented
        own = (
            getattr(np, function.name.removeprefix("cupy_"))
            if isinstance(function, ufunc)
            else np.matmul
        )
        return own(other, x) if reflected else own(x, other)
    return function(other, x) if reflected else function(x, other)


def _equality(name: str, x: Any, other: Any) -> Any:
    own: Any = type(other).__eq__
    if other is None or own is object.__eq__:
        if _gives_way(x, other):
            return NotImplemented
        make = creation.zeros if name == "equal" else creation.ones
        return make(x.shape, bool)
    return _binary(UFUNCS[name], x, other)


def _install() -> None:
    def operator(name: str, function: Any) -> None:
        if name != "pow":
            setattr(Operators, f"__{name}__", lambda self, other: _binary(function, self, other))
        setattr(Operators, f"__r{name}__", lambda self, other: _binary(function, self, other, True))
        if name not in ("divmod", "matmul"):
            setattr(Operators, f"__i{name}__", lambda self, other: function(self, other, self))

    for short, long in _ARITHMETIC.items():
        operator(short, products.matmul if long == "matmul" else UFUNCS[long])

    def comparison(name: str, method: str) -> None:
        if name in ("equal", "not_equal"):
            setattr(Operators, method, lambda self, other: _equality(name, self, other))
        else:
            setattr(Operators, method, lambda self, other: _binary(UFUNCS[name], self, other))

    for name, method in COMPARISONS.items():
        comparison(name, method)


_install()
