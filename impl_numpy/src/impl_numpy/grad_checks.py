"""The checks of what has, gets or is a gradient, in the manner of `checks`."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from impl_numpy.batched import NotKnown, is_batched
from impl_numpy.checks import shown
from impl_numpy.dtypes import Array, Shape


def check_requires_grad(dtype: np.dtype[Any], operation: str) -> None:
    """Raise ValueError for a dtype that cannot require grad."""
    if dtype.kind != "f":  # tensor-13
        made = "; make it of two that do, as a + 1j * b" if dtype.kind == "c" else ""
        msg = f"{operation}: only float32 and float64 can require grad, got {dtype}{made}"
        raise ValueError(msg)


def check_grad(grad: Any, is_tensor: bool, shape: Shape, dtype: np.dtype[Any]) -> None:
    """Raise for what is assigned to `grad` unless it fits the Tensor."""
    if not is_tensor:
        msg = f"grad: must be a Tensor or None, got {type(grad).__name__}"
        raise TypeError(msg)
    if grad.shape != shape:
        msg = f"grad: must have the Tensor's shape {shape}, got {grad.shape}"
        raise ValueError(msg)
    if grad.dtype != dtype:
        msg = f"grad: must have the Tensor's dtype {dtype}, got {grad.dtype}"
        raise TypeError(msg)


def check_seed(
    operation: str,
    got: Shape | None,
    shape: Shape,
    dtype: np.dtype[Any],
    of: np.dtype[Any] | None = None,
) -> None:
    """Raise RuntimeError unless a pass was given a gradient of this shape, or needs none.

    Raises
    ------
    TypeError
        If the gradient, of the dtype `of`, is complex and the Tensor is not.
    """
    if got is None and dtype.kind == "c" and math.prod(shape) == 1:
        msg = (
            f"{operation}: {dtype} has no direction in which it rises; pass a gradient of that "
            "dtype"
        )
        raise RuntimeError(msg)  # autograd-48
    if of is not None and of.kind == "c" and dtype.kind != "c":
        msg = f"{operation}: the gradient of {dtype} must be real, got {of}"
        raise TypeError(msg)
    if got is None and math.prod(shape) != 1:
        msg = (
            f"{operation}: only a scalar has an implicit gradient, "
            f"got shape {shape}; pass a gradient of that shape"
        )
        raise RuntimeError(msg)
    if got is not None and got != shape:
        msg = f"{operation}: the gradient must have shape {shape}, got {got}"
        raise RuntimeError(msg)


def check_no_gradient(function: str, where: str, value: Any) -> None:
    """Raise TypeError for a Tensor that requires grad, at any depth of containers (function-29)."""
    waiting = [(where, value)]
    seen: set[int] = set()
    while waiting:
        where, value = waiting.pop()
        if hasattr(type(value), "_node"):
            if value._node is not None:
                msg = (
                    f"{function}: {where} is a Tensor that requires grad, whose gradient would be "
                    "lost; pass it by itself, as a positional argument"
                )
                raise TypeError(msg)
        elif isinstance(value, (Mapping, list, tuple, Set, deque)) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += [(f"{where}[{shown(key)}]", item) for key, item in items]
        elif hasattr(type(value), "__dataclass_fields__") and id(value) not in seen:
            seen.add(id(value))
            names = [field.name for field in dataclasses.fields(value)]
            waiting += [(f"{where}.{name}", getattr(value, name, None)) for name in names]


def check_hooked(
    result: Any,
    is_tensor: bool,
    shape: Shape,
    dtype: np.dtype[Any],
    subject: str = "register_hook: the hook must return None or a Tensor",
) -> None:
    """Raise for what a hook returned unless it fits the gradient (autograd-26)."""
    if not is_tensor:
        msg = f"{subject}, returned {type(result).__name__}"
        raise TypeError(msg)
    if result.shape != shape:
        msg = f"{subject} of the gradient's shape {shape}, returned {result.shape}"
        raise ValueError(msg)
    if result.dtype != dtype:
        msg = f"{subject} of the gradient's dtype {dtype}, returned {result.dtype}"
        raise TypeError(msg)


def check_whole(operation: str, array: Array) -> None:
    """Raise RuntimeError for the gradient of a Tensor that depends on a slice (autograd-55)."""
    if is_batched(array):
        msg = (
            f"{operation}: under vmap a Tensor that depends on a slice has no backward; vmap the "
            "grad of a function"
        )
        raise NotKnown(msg)


def check_kept(name: str, before: Array, array: Array) -> None:
    """Raise RuntimeError where what depends on a slice would stay elsewhere (autograd-56)."""
    if is_batched(array) and not is_batched(before):
        msg = f"vmap: what depends on a slice cannot be assigned to {name} of a Tensor from outside"
        raise NotKnown(msg)
