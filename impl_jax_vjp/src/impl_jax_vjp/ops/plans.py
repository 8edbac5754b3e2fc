"""Two families whose rows say where elements go: those of one array, and of several joined.

A row is written as a function from the shapes and the arguments to what is static.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp

from ..checks import refuse_type
from ..dtypes import DType, promote
from ..recording import Primitive, as_operand, dtype_of, shape_of
from . import formulas as F
from .families import NO_ARRAY, STANDARD, Formula, Function, document, register


def shape(
    primitive: Primitive, argument: str, returns: str, raises: str
) -> Callable[[Function], Function]:
    """Make a function of one array and of where its elements go.

    The row is written as a function from the shape of x and the arguments to the static argument of
    the primitive; its signature is the function's.
    """

    def enter(plan: Function) -> Function:
        name = plan.__name__

        def function(x: Any, /, *args: Any, **options: Any) -> Any:
            x = as_operand(name, x)
            return primitive((x,), plan(shape_of(x), *args, **options))

        array, *others = inspect.signature(plan).parameters.values()
        function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [array.replace(annotation=Any), *others], return_annotation=Any
        )
        parameters = f"x : Tensor or raw array\n{argument}"
        full = document(
            inspect.getdoc(plan) or "", parameters, returns, f"{raises}\n{NO_ARRAY}", STANDARD
        )
        return register(function, name, full)

    return enter


# As many arrays are joined at once: the time to compile grows with their number.
_MANY = 64


def _concatenated(axis: int, dtype: DType, *arrays: Any) -> Any:
    return jnp.concatenate([array.astype(dtype) for array in arrays], axis=axis)


def join(formula: Formula, returns: str, raises: str) -> Callable[[Function], Function]:
    """Make a function of several arrays; the row returns the arrays and the axis to join along."""

    def joined(axis: int, dtype: DType, *arrays: Any) -> Any:
        return formula([array.astype(dtype) for array in arrays], axis=axis)

    def enter(plan: Function) -> Function:
        name = plan.__name__
        primitive = Primitive(joined, name, F.nothing)
        further = Primitive(_concatenated, name, F.nothing)

        def function(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Any:
            if not isinstance(arrays, Sequence) or isinstance(arrays, str):  # ops-21
                refuse_type(name, "arrays", "a sequence of Tensors and raw arrays", arrays)
            operands = [as_operand(name, array) for array in arrays]
            if not operands:
                msg = f"{name}: arrays must hold at least one array, got none"
                raise ValueError(msg)
            dtype = dtype_of(operands[0])
            for operand in operands[1:]:
                dtype = promote(name, dtype, dtype_of(operand))
            operands, place = plan(operands, axis)
            joining = primitive
            while len(operands) > _MANY:
                parts = [operands[i : i + _MANY] for i in range(0, len(operands), _MANY)]
                operands, joining = [joining(part, place, dtype) for part in parts], further
            return joining(operands, place, dtype)

        parameters = (
            "arrays : sequence of Tensors and raw arrays\n"
            "    Of different dtypes, the result has the promoted one.\naxis : int"
        )
        full = document(
            inspect.getdoc(plan) or "", parameters, returns, f"{raises}\n{NO_ARRAY}", STANDARD
        )
        return register(function, name, full)

    return enter
