"""Function: an operation with a hand-written forward and backward, both on raw arrays.

Two spellings share one mechanism. In the static one `forward` and `backward` are static methods
whose first parameter is the ctx; in the instance one they are methods, and the instance is the ctx.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import numpy as np

from impl_numpy import random
from impl_numpy.batched import USED, Unknown, is_batched, youngest
from impl_numpy.by_slice import each
from impl_numpy.checks import shown
from impl_numpy.context import Context, StaticContext
from impl_numpy.dtypes import DTYPES, Array, is_raw
from impl_numpy.function_node import FunctionNode, OutputNode, copied, no_slices, ours, say_so
from impl_numpy.grad_checks import check_no_gradient
from impl_numpy.memory import LENT, follow, own, readonly
from impl_numpy.tape import MODE, THROUGH, WATCHING, Parents, observe
from impl_numpy.tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])

_PLAIN = (bool, int, float, str, type(None))


class Function(Context):
    """An operation with its own gradient.

    A subclass defines `forward` and `backward`. Under `create_graph=True` `forward` is run again,
    on Tensors, so that what it saved is differentiated as a function of the inputs; or, if there is
    a static `composite(*inputs, **config)` on Tensors, derivatives are taken through that.
    """

    _static: ClassVar[bool] = True
    # What messages of the backward pass call it, where the name of the class says nothing to users.
    _title: ClassVar[str] = ""
    # Whether its forward and backward are known to write nothing that others hold.
    _trusted: ClassVar[bool] = False
    _called: bool = False
    # What runs it for all slices of a `vmap` as for a larger batch, or returns None.
    _fold: ClassVar[Callable[..., Any] | None] = None

    @staticmethod
    def forward(ctx: Any, *inputs: Any, **config: Any) -> Any:  # noqa: ARG004
        """Compute; a subclass defines it."""
        raise _missing(ctx, "forward")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:  # noqa: ARG004
        """Return the gradients of the inputs; a subclass defines it."""
        raise _missing(ctx, "backward")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        owner = next(c for c in cls.__mro__ if "forward" in vars(c))
        cls._static = isinstance(vars(owner)["forward"], staticmethod)

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
            If `forward` returns what is no raw array, or a Tensor that requires grad is no
            positional argument by itself (function-29).
        NotImplementedError
            If the class lacks `forward`.
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
        if cls._static and cls.forward is not Function.forward:
            msg = f"{cls.__name__}: forward is static, so there is no instance to call; use apply"
            raise TypeError(msg)
        if self._called:
            msg = f"{cls.__name__}: an instance serves one call; make a new instance for another"
            raise RuntimeError(msg)
        if MODE.recording:
            for name, value in vars(self).items():
                if not isinstance(value, _PLAIN):
                    where = f"the attribute {shown(name)} of the instance"
                    check_no_gradient(cls.__name__, where, value)
                    vars(self)[name] = copied(value)
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
    if not isinstance(cls, type):
        msg = f"as_function: wants a class, got {shown(cls)}"
        raise TypeError(msg)
    if issubclass(cls, Function):
        return cls
    for method in ("forward", "backward"):
        if not callable(getattr(cls, method, None)):
            msg = f"as_function: {cls.__name__} has no {method}; it needs forward and backward"
            raise TypeError(msg)
    names = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, Function), names)


def once_differentiable(backward: F) -> F:
    """Decorate `backward`, under `@staticmethod`: a second derivative through it raises."""
    if not callable(backward) or not hasattr(backward, "__dict__"):
        msg = f"once_differentiable: wants the function backward, got {shown(backward)}"
        raise TypeError(msg)
    backward.__dict__["once_differentiable"] = True
    return backward


def _missing(ctx: Context, method: str) -> NotImplementedError:
    return NotImplementedError(f"{ctx._owner()}: defines no {method}")  # function-30


def _call(
    cls: type[Function],
    ctx: Context,
    pristine: Function | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
) -> Any:
    recording = MODE.recording
    nodes = tuple([x._node if recording and isinstance(x, Tensor) else None for x in inputs])
    ctx.needs_input_grad = wanted = tuple([node is not None for node in nodes])
    kept = True in wanted
    if cls._trusted and not LENT:
        arrays = tuple([x._data if isinstance(x, Tensor) else x for x in inputs])
    else:
        arrays = tuple([_given(cls, k, x, kept, recording) for k, x in enumerate(inputs)])
    if config:
        config = {name: _given(cls, name, x, kept, recording) for name, x in config.items()}
    start = _mapped(ctx, arrays, config) if USED else None
    MODE.recording = False
    try:
        if THROUGH and MODE.through is not None:
            result = MODE.through(cls.forward, ctx, *arrays, **config)
        else:
            result = cls.forward(ctx, *arrays, **config)
    except (Unknown, TypeError) as error:
        MODE.recording = recording
        if start is None:
            raise
        random.resume(start)
        return _by_slices(cls, pristine, inputs, config, error)
    finally:
        MODE.recording = recording
    if isinstance(result, tuple):
        return _several(cls, ctx, pristine, arrays, config, nodes, result)
    output = _output(cls, 0, result)
    if kept and output.dtype.kind in "fc" and not _constant(ctx, result):
        node = FunctionNode(cls, ctx, pristine, arrays, config, nodes, output)
    else:
        node, ctx._saved, ctx._non_differentiable = None, (), ()
    if WATCHING:
        observe(cls.__name__, (arrays, config), (output,), node)
    return follow(wrap(output, node))


class _Namespace:
    """NumPy, for arrays of all slices: what it does not ask them about."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    @staticmethod
    def asarray(obj: Any, dtype: Any = None, *, device: Any = None, copy: Any = None) -> Any:
        """Return what `numpy.asarray` does."""
        if not is_batched(obj):
            return np.asarray(obj, dtype, device=device, copy=copy)
        cast = dtype is not None and np.dtype(dtype) != obj.dtype
        if cast and copy is False:
            msg = f"asarray: {obj.dtype} does not become {dtype} without a copy"
            raise ValueError(msg)
        return obj.astype(dtype) if cast else obj.copy() if copy else obj

    @staticmethod
    def full(shape: Any, fill_value: Any, **options: Any) -> Any:
        """Return what `numpy.full` does."""
        if not is_batched(fill_value):
            return np.full(shape, fill_value, **options)
        dtype = options.get("dtype")
        filled = np.broadcast_to(fill_value, shape).copy()
        return filled if dtype is None else filled.astype(dtype)


_XP = _Namespace()


def _mapped(ctx: Context, arrays: tuple[Any, ...], config: dict[str, Any]) -> Any:
    """Make a ctx ready for arrays of all slices, and return where the generator stands.

    None where no array is one.
    """
    if youngest((arrays, config)) is None:
        return None
    ctx.xp = _XP
    return random.place()


def _by_slices(
    cls: type[Function],
    pristine: Function | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
    error: Exception,
) -> Any:
    """Call a Function for each slice of a `vmap`, where it cannot run for all at once."""

    def call(*inputs: Any, **config: Any) -> Any:
        ctx = StaticContext(cls) if pristine is None else copy.copy(pristine)
        return _call(cls, ctx, pristine, inputs, config)

    level = youngest((inputs, config))
    if level is None:
        raise error
    if not level.size and not ours(cls):
        raise no_slices(cls.__name__) from None
    found = None if cls._fold is None else cls._fold(level, call, inputs, config)
    if found is None:
        found = each(level, call, inputs, config)
        say_so(cls)
    return found


def _several(
    cls: type[Function],
    ctx: Context,
    pristine: Function | None,
    arrays: tuple[Any, ...],
    config: dict[str, Any],
    nodes: Parents,
    result: tuple[Any, ...],
) -> tuple[Tensor, ...]:
    """Record a call that gave several outputs, and return these."""
    outputs = [_output(cls, k, x) for k, x in enumerate(result)]
    follows = [
        x.dtype.kind in "fc" and not _constant(ctx, returned)
        for x, returned in zip(outputs, result, strict=True)
    ]
    call = None
    if True in ctx.needs_input_grad and True in follows:
        call = FunctionNode(cls, ctx, pristine, arrays, config, nodes, outputs)
    else:
        ctx._saved = ()
    if WATCHING:
        observe(cls.__name__, (arrays, config), outputs, call)
    ctx._non_differentiable = ()
    return tuple(
        follow(wrap(x, OutputNode(call, (k, len(outputs))) if call is not None and flows else None))
        for k, (x, flows) in enumerate(zip(outputs, follows, strict=True))
    )


def _given(cls: type[Function], place: int | str, x: Any, kept: bool, recording: Any) -> Any:
    """Return what `forward` gets for an argument.

    It cannot write the caller's arrays (function-27), and what may be `kept` for backward does not
    change when others write them.
    """
    if isinstance(x, Tensor) and type(place) is int:
        array = own(x._data) if kept and LENT else x._data
    elif isinstance(x, np.ndarray):
        array = x.copy() if kept else x
    elif isinstance(x, _PLAIN) or (type(x) is tuple and {*map(type, x)} == {int}):
        return x
    else:
        if recording:
            where = (
                f"the argument {shown(place)}" if isinstance(place, str) else f"argument {place}"
            )
            check_no_gradient(cls.__name__, where, x)
        return copied(x)
    return readonly(array)


def _constant(ctx: Context, returned: Any) -> bool:
    """Tell whether `forward` marked an output as one that has no gradient (function-16)."""
    marked = ctx._non_differentiable
    return bool(marked) and any([returned is x for x in marked])


def _output(cls: type[Function], k: int, x: Any) -> Array:
    if type(x) is np.ndarray and x.dtype in DTYPES:
        return x
    if isinstance(x, Tensor):
        x = x._data
    if is_batched(x) and x.dtype in DTYPES:
        return x
    if not is_raw(x) or x.dtype not in DTYPES:
        got = f"an array of dtype {x.dtype}" if is_raw(x) else type(x).__name__
        msg = f"{cls.__name__}.forward: output {k} must be a raw array of a known dtype, got {got}"
        raise TypeError(msg)
    return np.asarray(x)
