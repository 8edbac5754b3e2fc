"""Function: an operation with a hand-written forward and backward.

Each call is one ``jax.custom_vjp`` (see `function_vjp`), which JAX's transformations obey. On
concrete Tensors the same methods run as ordinary Python on the arrays in hand, with a node on the
tape; a class that sets ``compiled = True`` has its two halves compiled by ``jax.jit`` there too.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from .checks import check_callable, refuse_type
from .context import Context
from .function_node import CompiledPair, apply


class Function(Context):
    """A stateless operation with its own derivative.

    A subclass defines ``forward`` and ``backward``, either static,
    ``forward(ctx, *inputs, **config)`` and ``backward(ctx, *grads)``, and is called
    ``F.apply(*inputs, **config)``; or as methods, and is called ``F(*args)(*inputs)``: then the
    instance is the ctx and serves one call. Both methods get and return raw arrays. `backward`
    returns a gradient, or None, for each positional input.

    A static method ``composite(*inputs, **config)`` on Tensors, if there is one, is what second
    derivatives are taken through.

    Attributes
    ----------
    compiled : bool
        Whether eager calls run ``jax.jit`` of the two methods, cached by the static arguments and
        by what requires grad. Worth it for methods of many operations; Python side effects then
        happen once per compilation only.
    """

    compiled: ClassVar[bool] = False
    _instance_spelling: ClassVar[bool] = False
    _pairs: ClassVar[dict[Any, CompiledPair]] = {}

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        method = inspect.getattr_static(cls, "forward", None)
        cls._instance_spelling = method is not None and not isinstance(method, staticmethod)
        cls._pairs = {}

    @classmethod
    def apply(cls, *inputs: Any, **config: Any) -> Any:
        """Run `forward` on the inputs, and put it on the tape if a gradient may be wanted.

        Parameters
        ----------
        *inputs
            Tensors; raw arrays, which are constants; anything else reaches `forward` as it is.
        **config
            Reach `forward` unchanged and have no gradient.

        Returns
        -------
        Tensor or tuple of Tensor
        """
        return apply(cls, cls() if cls._instance_spelling else None, inputs, config)

    def __call__(self, *inputs: Any, **config: Any) -> Any:
        """Run `forward` with this instance as the ctx; an instance serves one call.

        Raises
        ------
        RuntimeError
            If the instance was called before.
        """
        if self._used:
            msg = (
                f"{type(self).__name__}: this instance was called before; "
                "a Function's instance serves one call, make a new instance"
            )
            raise RuntimeError(msg)
        self._used = True
        return apply(type(self), self, inputs, config)


def as_function(cls: type[Any]) -> type[Function]:
    """Make a Function of a plain class with static `forward` and `backward`.

    Raises
    ------
    TypeError
        If a method is missing or not static; it names the method.
    """
    if not isinstance(cls, type):
        refuse_type("as_function", "cls", "a class", cls)
    namespace: dict[str, Any] = {"__doc__": cls.__doc__, "__module__": cls.__module__}
    namespace["__qualname__"] = cls.__qualname__
    for name in ("forward", "backward", "composite"):
        method = inspect.getattr_static(cls, name, None)
        if method is None and name != "composite":
            msg = f"as_function: {cls.__name__} has no {name}"
            raise TypeError(msg)
        if method is not None:
            if not isinstance(method, staticmethod):
                msg = f"as_function: {cls.__name__}.{name} must be a staticmethod"
                raise TypeError(msg)
            namespace[name] = method
    return type(cls.__name__, (Function,), namespace)


def once_differentiable(backward: Any) -> Any:
    """Mark a `backward` (under ``@staticmethod``) as one that cannot be differentiated itself."""
    method = backward.__func__ if isinstance(backward, staticmethod) else backward
    check_callable("once_differentiable", "backward", method)

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    wrapped._once_differentiable = True  # type: ignore[attr-defined]
    return staticmethod(wrapped) if isinstance(backward, staticmethod) else wrapped
