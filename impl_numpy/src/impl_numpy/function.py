"""Function: an operation with a hand-written forward and backward, both on raw arrays.

Two spellings share one mechanism. In the static one `forward` and `backward` are static methods
whose first parameter is the ctx; in the instance one they are methods, and the instance is the ctx.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np

from impl_numpy.context import Context, StaticContext
from impl_numpy.dtypes import DTYPES, Array, is_raw
from impl_numpy.function_node import FunctionNode, OutputNode, as_sequence
from impl_numpy.tape import MODE
from impl_numpy.tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])


class Function(Context):
    """An operation with its own gradient.

    A subclass defines `forward` and `backward`. Under `create_graph=True` `forward` is run again,
    on Tensors, so that what it saved is differentiated as a function of the inputs; or, if there is
    a static `composite(*inputs, **config)` on Tensors, derivatives are taken through that.
    """

    _static: ClassVar[bool] = True
    _called: bool = False
    forward: Callable[..., Any]
    backward: Callable[..., Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        owner = next((c for c in cls.__mro__ if "forward" in vars(c)), None)
        cls._static = owner is None or isinstance(vars(owner)["forward"], staticmethod)

    @classmethod
    def apply(cls, *inputs: Any, **config: Any) -> Any:
        """Run `forward` on raw arrays, and record it where an input wants a gradient.

        Parameters
        ----------
        *inputs
            Tensors; raw arrays, which are constants; anything else, which is passed on as it is.
        **config
            Configuration, never differentiated.

        Returns
        -------
        Tensor or tuple of Tensor
            As `forward` returns an array or a tuple of them.

        Raises
        ------
        TypeError
            If `forward` returns what is no raw array.
        """
        if cls._static:
            return _call(cls, StaticContext(cls), None, inputs, config)
        return cls()(*inputs, **config)

    def __call__(self, *inputs: Any, **config: Any) -> Any:
        """Apply an instance, which is its own ctx and serves one call.

        Raises
        ------
        RuntimeError
            On a second call.
        """
        cls = type(self)
        if cls._static:
            msg = f"{cls.__name__}: forward is static, so there is no instance to call; use apply"
            raise TypeError(msg)
        if self._called:
            msg = f"{cls.__name__}: an instance serves one call; make a new instance for another"
            raise RuntimeError(msg)
        pristine = copy.copy(self)
        self._called = True
        return _call(cls, self, pristine, inputs, config)


def as_function(cls: type) -> type[Function]:
    """Make a Function from a plain class with static `forward` and `backward`.

    Raises
    ------
    TypeError
        If either is missing.
    """
    for method in ("forward", "backward"):
        if not callable(getattr(cls, method, None)):
            msg = f"as_function: {cls.__name__} has no {method}; it needs forward and backward"
            raise TypeError(msg)
    names = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, Function), names)


def once_differentiable(backward: F) -> F:
    """Decorate `backward`, under `@staticmethod`: a second derivative through it raises."""
    backward.__dict__["once_differentiable"] = True
    return backward


def _call(
    cls: type[Function],
    ctx: Context,
    pristine: Function | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
) -> Any:
    recording = MODE.recording
    nodes = [x._node if recording and isinstance(x, Tensor) else None for x in inputs]
    ctx.needs_input_grad = tuple([node is not None for node in nodes])
    arrays = tuple([x._data if isinstance(x, Tensor) else x for x in inputs])
    MODE.recording = False
    try:
        result = cls.forward(ctx, *arrays, **config)
    finally:
        MODE.recording = recording
    outputs = [_output(cls, k, x) for k, x in enumerate(as_sequence(result))]
    constant = {id(x) for x in ctx._non_differentiable}  # function-16
    follows = [
        x.dtype.kind == "f" and id(returned) not in constant
        for x, returned in zip(outputs, as_sequence(result), strict=True)
    ]
    ctx._non_differentiable = ()
    call = None
    if any(ctx.needs_input_grad) and any(follows):
        call = FunctionNode(cls, ctx, pristine, arrays, config, tuple(nodes), outputs)
    else:
        ctx._saved = ()
    if not isinstance(result, tuple):
        return wrap(outputs[0], call)
    return tuple(
        wrap(x, OutputNode(call, (k, len(outputs))) if call is not None and follow else None)
        for k, (x, follow) in enumerate(zip(outputs, follows, strict=True))
    )


def _output(cls: type[Function], k: int, x: Any) -> Array:
    if isinstance(x, Tensor):
        x = x.data
    if not is_raw(x) or x.dtype not in DTYPES:
        got = f"an array of dtype {x.dtype}" if is_raw(x) else type(x).__name__
        msg = f"{cls.__name__}.forward: output {k} must be a raw array of a known dtype, got {got}"
        raise TypeError(msg)
    return np.asarray(x)
