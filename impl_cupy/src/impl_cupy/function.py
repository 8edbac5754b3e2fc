"""Function: an operation with a hand-written `forward` and `backward`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from inspect import getattr_static
from typing import Any, TypeVar

from impl_cupy.backend import cp
from impl_cupy.checks import check_raw
from impl_cupy.context import Context
from impl_cupy.function_node import FunctionNode
from impl_cupy.random import restored_on_error
from impl_cupy.tape import Recording, at_edge, edge_of, state, wrap
from impl_cupy.tensor import Tensor

_F = TypeVar("_F", bound=Callable[..., Any])


class Function(Context):
    """An operation with a hand-written `forward` and `backward` on raw arrays.

    With static methods ``forward(ctx, *inputs, **config)`` and ``backward(ctx, *grads)`` it is
    called as ``F.apply(*inputs, **config)``. With methods ``forward(self, *inputs)`` and
    ``backward(self, *grads)`` the instance is the ctx, and it is called as ``F(*args)(*inputs)``.

    `backward` returns one gradient per positional input, None for zero; it may leave out inputs at
    the end that are None. A static method ``composite(*inputs, **config)``, written on Tensors,
    takes the place of a replayed `forward` when the way back is recorded.
    """

    # Whether nothing else holds the arrays that backward returns; then a leaf keeps them uncopied.
    _fresh_gradients = False
    _used = False
    _static = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._static = isinstance(getattr_static(cls, "forward", None), staticmethod)

    def __call__(self, *inputs: Any, **config: Any) -> Any:
        """Apply the instance to `inputs`, once.

        Raises
        ------
        RuntimeError
            If the instance was called before.
        TypeError
            If `forward` is static.
        """
        cls = type(self)
        if cls._static:
            msg = f"{cls.__name__}: with a static forward call {cls.__name__}.apply(*inputs)"
            raise TypeError(msg)
        if self._used:
            msg = f"{cls.__name__}: an instance serves one call; make a new instance for another"
            raise RuntimeError(msg)
        # Replaying forward needs the instance as it was before, unmarked by this call.
        snapshot = dict(self.__dict__)
        self._used = True
        return _apply(cls, self, snapshot, inputs, config)

    @classmethod
    def apply(cls, *inputs: Any, **config: Any) -> Any:
        """Apply the Function.

        Parameters
        ----------
        *inputs : Tensor or any object
            Tensors reach `forward` as raw arrays; gradients flow to those that require grad.
        **config : object
            Reaches `forward` unchanged.

        Returns
        -------
        Tensor or tuple of Tensor
        """
        if not cls._static:
            return cls()(*inputs, **config)
        return _apply(cls, Context(), None, inputs, config)


def as_function(cls: type) -> type[Function]:
    """Make a plain class with static `forward` and `backward` a Function.

    Parameters
    ----------
    cls : type
        Written against ``ctx.xp``; a static `composite` is taken over too.

    Returns
    -------
    type
        A Function with the same name and docstring.

    Raises
    ------
    TypeError
        If `cls` is no class or lacks one of the methods.
    """
    if not isinstance(cls, type):
        msg = f"as_function: must be a class, got {type(cls).__name__}"
        raise TypeError(msg)
    for name in ("forward", "backward"):
        if not callable(getattr(cls, name, None)):
            msg = f"as_function: {cls.__name__} has no {name}; define it as a static method"
            raise TypeError(msg)
    members: dict[str, Any] = {
        name: staticmethod(getattr(cls, name))
        for name in ("forward", "backward", "composite")
        if hasattr(cls, name)
    }
    members |= {"__doc__": cls.__doc__, "__module__": cls.__module__}
    members["__qualname__"] = cls.__qualname__
    return type(cls.__name__, (Function,), members)


def once_differentiable(backward: _F) -> _F:
    """Mark `backward` as one that cannot be differentiated again.

    A second derivative through it raises RuntimeError that names the Function.
    """

    @functools.wraps(backward)
    def marked(*args: Any) -> Any:
        return backward(*args)

    marked.once_differentiable = True  # type: ignore[attr-defined]
    return marked  # type: ignore[return-value]


def _apply(
    cls: type[Function],
    ctx: Context,
    snapshot: dict[str, Any] | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
) -> Any:
    for name in ("forward", "backward"):
        if not hasattr(cls, name):
            msg = f"{cls.__name__}: a Function must define {name}"
            raise NotImplementedError(msg)
    raws = tuple(value._data if isinstance(value, Tensor) else value for value in inputs)
    edges = tuple(edge_of(value) if state.recording else None for value in inputs)
    ctx._name = cls.__name__
    ctx.needs_input_grad = tuple(edge is not None for edge in edges)
    with restored_on_error(), Recording(False):
        if snapshot is None:
            result = cls.forward(ctx, *raws, **config)  # type: ignore[attr-defined]
        else:
            result = ctx.forward(*raws, **config)  # type: ignore[attr-defined]
    outputs = result if isinstance(result, tuple) else (result,)
    for output in outputs:
        check_raw(f"{cls.__name__}.forward", output)
    differentiable = _differentiable(ctx, outputs)
    if not any(ctx.needs_input_grad) or not any(differentiable):
        ctx._saved = ()
        tensors = tuple(wrap(output) for output in outputs)
    else:
        metas = tuple((output.shape, output.dtype) for output in outputs)
        node = FunctionNode(cls, ctx, snapshot, edges, raws, config, metas)
        tensors = tuple(
            at_edge(output, (node, index)) if differentiable[index] else wrap(output)
            for index, output in enumerate(outputs)
        )
    ctx._non_differentiable = ()
    return tensors if isinstance(result, tuple) else tensors[0]


def _differentiable(ctx: Context, outputs: Sequence[Any]) -> list[bool]:
    non_differentiable = {id(output) for output in ctx._non_differentiable}
    return [
        isinstance(output, cp.ndarray)
        and output.dtype.kind == "f"
        and id(output) not in non_differentiable
        for output in outputs
    ]
