"""Function: an operation with a hand-written `forward` and `backward`."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from inspect import getattr_static
from typing import Any, TypeVar

from impl_cupy.backend import cp
from impl_cupy.checks import check_callable, check_raw, shown
from impl_cupy.context import Context
from impl_cupy.function_mapped import apply_mapped
from impl_cupy.function_node import FunctionNode, own
from impl_cupy.memory import lent, note_read, readers
from impl_cupy.random import RestoredOnError
from impl_cupy.slices import deepest
from impl_cupy.tape import OnRaw, at_edge, edge_of, keep, observe, state, vmapped, watched, wrap
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

    # Whether forward and backward are known to write to nothing that they are given, and backward
    # to return arrays that nothing else holds; then nothing is copied for them, nor for a leaf.
    _is_ours = False
    _called: str | None = None
    """The name in messages of what is no Function to the user."""

    # Whether one of ours runs once for each slice under vmap, where `composite` would be slower.
    _by_slices = False

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
        snapshot = dict(own(vars(self)))
        vars(self).update(own(snapshot))
        self._used = True
        return _called(cls, self, snapshot, inputs, config)

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
        return _called(cls, Context(), None, inputs, config)


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
    check_callable("once_differentiable", "backward", backward)

    @functools.wraps(backward)
    def marked(*args: Any) -> Any:
        return backward(*args)

    marked.once_differentiable = True  # type: ignore[attr-defined]
    return marked  # type: ignore[return-value]


def _called(
    cls: type[Function],
    ctx: Context,
    snapshot: dict[str, Any] | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
) -> Any:
    """Apply a Function, under `vmap` too."""
    if vmapped and deepest(inputs, config, snapshot):
        if not cls._is_ours and state.recording:
            _refuse_all_hidden(cls, inputs, config, snapshot or {})
        again = functools.partial(_again, cls)
        return apply_mapped(cls, ctx, snapshot, inputs, config, again)
    return _apply(cls, ctx, snapshot, inputs, config)


def _apply(
    cls: type[Function],
    ctx: Context,
    snapshot: dict[str, Any] | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
) -> Any:
    name = cls.__name__
    if not hasattr(cls, "forward"):
        msg = f"{name}: a Function must define forward"
        raise NotImplementedError(msg)
    edges = tuple([edge_of(value) if state.recording else None for value in inputs])
    ctx._name = name
    ctx.needs_input_grad = tuple([edge is not None for edge in edges])
    if not cls._is_ours and state.recording:
        _refuse_all_hidden(cls, inputs, config, snapshot or {})
    is_kept = any(ctx.needs_input_grad)
    raws, kept_config = _kept(cls, inputs, config, is_kept)
    given = tuple([own(raw) for raw in raws]) if is_kept and not cls._is_ours else raws
    with RestoredOnError(), OnRaw():
        if snapshot is None:
            result = cls.forward(ctx, *given, **config)
        else:
            result = ctx.forward(*given, **config)  # type: ignore[attr-defined]
    outputs = result if isinstance(result, tuple) else (result,)
    if readers:
        note_read(raws, outputs)
    if any(isinstance(output, Tensor) for output in outputs):
        outputs = tuple([o._data if isinstance(o, Tensor) else o for o in outputs])
    for output in outputs:
        check_raw(f"{name}.forward", output)
    if watched:
        observe(cls._called or name, None, (*raws, *config.values()), outputs)
    differentiable = _differentiable(ctx, outputs)
    if not is_kept or not any(differentiable):
        ctx._saved = ()
        tensors = tuple(wrap(output) for output in outputs)
    else:
        if state.packing is not None:
            ctx._given = given
        metas = tuple((output.shape, output.dtype) for output in outputs)
        node = FunctionNode(cls, ctx, snapshot, edges, raws, kept_config, metas)
        tensors = tuple(
            at_edge(output, (node, index)) if differentiable[index] else wrap(output)
            for index, output in enumerate(outputs)
        )
    ctx._non_differentiable = ()
    return tensors if isinstance(result, tuple) else tensors[0]


def _again(
    cls: type[Function],
    snapshot: dict[str, Any] | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
) -> Any:
    """Call a Function anew, as the call was whose instance had these attributes."""
    if snapshot is None:
        return _called(cls, Context(), None, inputs, dict(config))
    instance = object.__new__(cls)
    vars(instance).update(own(snapshot))
    return _called(cls, instance, snapshot, inputs, dict(config))


def _kept(
    cls: type[Function], inputs: tuple[Any, ...], config: dict[str, Any], is_kept: bool
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a call's node keeps of its arguments, and give `config` arrays of its own.

    Where there will be no node, it is what the call has for itself.
    """
    if cls._is_ours:
        if lent:
            return tuple(keep(value) for value in inputs), config
        return tuple(v._data if isinstance(v, Tensor) else v for v in inputs), config
    kept_config = own(config) if config and is_kept else config
    if config:
        config.update(own(config))
    if is_kept:
        raws = [keep(v) if isinstance(v, Tensor) else own(v) for v in inputs]
    else:
        raws = [own(v._data if isinstance(v, Tensor) else v) for v in inputs]
    return tuple(raws), kept_config


def _refuse_all_hidden(
    cls: type[Function],
    inputs: tuple[Any, ...],
    config: dict[str, Any],
    attributes: dict[str, Any],
) -> None:
    for place, value in enumerate(inputs):
        # A Tensor that stands by itself is an input.
        if not isinstance(value, (Tensor, cp.ndarray, int, float, str)):
            _refuse_hidden(cls, f"argument {place}", value)
    for word, value in config.items():
        _refuse_hidden(cls, f"keyword argument {word}", value)
    for attribute, value in attributes.items():
        _refuse_hidden(cls, f"attribute {attribute}", value)


def _refuse_hidden(cls: type[Function], where: str, value: Any) -> None:
    """Refuse a Tensor whose gradient would be lost, in a structure of any depth (function-29).

    Raises
    ------
    TypeError
        That names the Function and where the Tensor stands.
    """
    waiting, seen = [(where, value)], set()
    while waiting:
        path, part = waiting.pop()
        if isinstance(part, Tensor) and part.requires_grad:
            msg = (
                f"{cls.__name__}: {path} is a Tensor that requires grad, and its gradient would "
                "be lost; pass it by itself, as a positional argument"
            )
            raise TypeError(msg)
        if id(part) in seen:
            continue
        if isinstance(part, (Mapping, list, tuple, Set, deque)):
            seen.add(id(part))
            items = part.items() if isinstance(part, Mapping) else enumerate(part)
            waiting.extend((f"{path}[{shown(key)}]", item) for key, item in items)
        elif hasattr(type(part), "__dataclass_fields__"):
            seen.add(id(part))
            names = [field.name for field in dataclasses.fields(part)]
            waiting.extend((f"{path}.{name}", getattr(part, name, None)) for name in names)


def _differentiable(ctx: Context, outputs: Sequence[Any]) -> list[bool]:
    non_differentiable = {id(output) for output in ctx._non_differentiable}
    return [
        isinstance(output, cp.ndarray)
        and output.dtype.kind in "fc"
        and id(output) not in non_differentiable
        for output in outputs
    ]
