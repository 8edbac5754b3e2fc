"""Functions: stateless operations with a hand-written forward and backward on raw arrays.

They run on `torch.autograd.Function`, and add to it the legacy spelling in which the instance is
the ctx, checks of what `backward` returns, and second derivatives that follow what `forward`
saved.
"""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling as is_compiling

from impl_torch_ext import function_node, function_transformed
from impl_torch_ext.checks import check_function
from impl_torch_ext.context import Context
from impl_torch_ext.tracing import keep_whole, transforms_are_active

__all__ = ["Function", "as_function", "once_differentiable"]

_Callable = TypeVar("_Callable", bound=Callable[..., Any])


class Function(Context):
    """An operation with a `forward` and a `backward` of its own.

    In the static spelling both are static methods with a ctx in front, and `F.apply(*inputs,
    **config)` calls them. In the instance spelling both are methods, `F(*args)(*inputs)` calls
    them, and the instance is the ctx; it serves one call.

    A static method `composite(*inputs, **config)`, written on Tensors, takes the place of
    `forward` when gradients are themselves recorded. Without one, `forward` is run again on
    Tensors then, so that what it saves is a function of the inputs.

    Attributes
    ----------
    forward : method
        Gets raw arrays for Tensors, other objects as they are; returns a raw array or a tuple of
        them.
    backward : method
        Gets one gradient per output, returns one per positional input; None means zero.
    """

    _used = False
    _static: ClassVar[bool] = True
    # Whether forward and backward are ours and known to change nothing that they are given.
    _pure: ClassVar[bool] = False
    _node: ClassVar[type[function_node.Node]]
    _whole: ClassVar[Callable[..., Any]]

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        forward = inspect.getattr_static(cls, "forward", None)
        cls._static = isinstance(forward, staticmethod | classmethod)
        # A class of its own for the graph, so that grad_fn shows the Function's name.
        cls._node = type(cls.__name__, (function_node.Node,), {})

    @classmethod
    def apply(cls, *inputs: Any, **config: Any) -> Any:
        """Apply the Function to `inputs`.

        Parameters
        ----------
        *inputs
            Tensors are differentiated; everything else reaches `forward` as it is.
        **config
            Reaches `forward` unchanged.

        Returns
        -------
        Tensor or tuple of Tensor
        """
        if cls._static:
            ctx = Context()
        else:
            ctx = cls()
            ctx._used = True
        if is_compiling():
            keep_whole(cls)
            return cls._whole(*_packed(inputs, config, {} if cls._static else vars(ctx)))
        if transforms_are_active() or forward_ad._current_level >= 0:
            return function_transformed.apply(cls, ctx, inputs, config)
        return function_node.apply(cls, ctx, inputs, config)

    @classmethod
    def _applied(cls, *packed: Any) -> Any:
        """Apply the Function to what `_packed` returned."""
        inputs, config, attributes = (
            {k: v[0] if v else None for k, v in d.items()} for d in packed
        )
        ctx = Context() if cls._static else object.__new__(cls)
        vars(ctx).update(attributes)
        if transforms_are_active() or forward_ad._current_level >= 0:
            return function_transformed.apply(cls, ctx, tuple(inputs.values()), config)
        return function_node.apply(cls, ctx, tuple(inputs.values()), config)

    def __call__(self, *inputs: Any, **config: Any) -> Any:
        """Apply this instance, once.

        Raises
        ------
        RuntimeError
            If it has been called before.
        """
        cls = type(self)
        if cls._static:
            msg = (
                f"{cls.__name__}: forward is a static method; call {cls.__name__}.apply(...) "
                "instead of an instance"
            )
            raise TypeError(msg)
        if self._used:  # function-03
            msg = (
                f"{cls.__name__}: an instance serves one call, and this one has served; make a "
                "new instance"
            )
            raise RuntimeError(msg)
        self._used = True
        if is_compiling():
            keep_whole(cls)
            return cls._whole(*_packed(inputs, config, vars(self)))
        if transforms_are_active() or forward_ad._current_level >= 0:
            return function_transformed.apply(cls, self, inputs, config)
        return function_node.apply(cls, self, inputs, config)


def _packed(
    inputs: tuple[Any, ...], config: dict[str, Any], attributes: dict[str, Any]
) -> list[dict[Any, tuple[Any, ...]]]:
    """Return the arguments without None, which the compiler cannot have in its graph."""
    groups: tuple[dict[Any, Any], ...] = dict(enumerate(inputs)), config, attributes
    return [{k: () if v is None else (v,) for k, v in group.items()} for group in groups]


def as_function(cls: type) -> type[Function]:
    """Return a Function made of a plain class with static `forward` and `backward`.

    Parameters
    ----------
    cls : type
        Its two methods are written against `ctx.xp`.

    Returns
    -------
    type
        A Function with the same name and docstring.

    Raises
    ------
    TypeError
        If one of the two is missing.
    """
    if not isinstance(cls, type):
        msg = f"as_function: cls must be a class, got {type(cls).__name__}"
        raise TypeError(msg)
    for name in ("forward", "backward"):
        if not callable(getattr(cls, name, None)):  # function-19
            msg = f"as_function: {cls.__name__} must have a static method {name}, got none"
            raise TypeError(msg)
    names = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, Function), names)


def once_differentiable(backward: _Callable) -> _Callable:
    """Mark a `backward` that cannot be differentiated: a second derivative through it raises.

    Stands under `@staticmethod`.
    """
    check_function("once_differentiable", "what is decorated", backward)
    backward.once_differentiable = True  # type: ignore[attr-defined]
    return backward
