"""Functions: stateless operations with a hand-written forward and backward on raw arrays.

They run on `torch.autograd.Function`, and add to it the legacy spelling in which the instance is
the ctx, checks of what ``backward`` returns, and second derivatives that follow what ``forward``
saved.
"""

import copy
import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import array_api_compat.torch as array_namespace
import torch
from torch import Tensor

__all__ = ["Context", "Function", "as_function", "once_differentiable"]

_Callable = TypeVar("_Callable", bound=Callable[..., Any])


class Context:
    """What ``forward`` leaves for ``backward``.

    Any attribute can be set in ``forward`` and read in ``backward``.
    """

    # Defaults on the class: an instance that is its own ctx may have an __init__ that never calls
    # ours.
    _saved: tuple[Tensor | None, ...] = ()
    _needs_input_grad: tuple[bool, ...] = ()
    _non_differentiable: tuple[Tensor, ...] = ()
    _materialize_grads: bool = True

    @property
    def xp(self) -> ModuleType:
        """The array API namespace of torch, which autograd follows when it is recording."""
        return array_namespace

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """One bool per positional input, true where its gradient is wanted."""
        return self._needs_input_grad

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` was given, in the same order."""
        return self._saved

    def save_for_backward(self, *items: Tensor | None) -> None:
        """Keep raw arrays (inputs, outputs or intermediates) and None for ``backward``.

        Raises
        ------
        TypeError
            If an item is neither; anything else can be an attribute of the ctx.
        """
        for item in items:
            if item is not None and not isinstance(item, Tensor):
                msg = (
                    f"save_for_backward: takes raw arrays and None, got {type(item).__name__}; set "
                    "an attribute instead"
                )
                raise TypeError(msg)
        self._saved = items

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Make these outputs of ``forward`` not require grad."""
        self._non_differentiable = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether ``backward`` gets zeros (the default) or None for unused outputs."""
        self._materialize_grads = value

    def mark_dirty(self, *inputs: Tensor) -> None:
        """Refuse: Functions do not modify their inputs."""
        msg = "mark_dirty: Functions do not modify their inputs; return a new array instead"
        raise RuntimeError(msg)


class Function(Context):
    """An operation with a ``forward`` and a ``backward`` of its own.

    In the static spelling both are static methods with a ctx in front, and ``F.apply(*inputs,
    **config)`` calls them. In the instance spelling both are methods, ``F(*args)(*inputs)`` calls
    them, and the instance is the ctx; it serves one call.

    A static method ``composite(*inputs, **config)``, written on Tensors, takes the place of
    ``forward`` when gradients are themselves recorded. Without one, ``forward`` is run again on
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
    _node: ClassVar[type["_Node"]]

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        forward = inspect.getattr_static(cls, "forward", None)
        cls._static = isinstance(forward, staticmethod | classmethod)
        # A class of its own for the graph, so that grad_fn shows the Function's name.
        cls._node = type(cls.__name__, (_Node,), {})

    @classmethod
    def apply(cls, *inputs: Any, **config: Any) -> Any:
        """Apply the Function to ``inputs``.

        Parameters
        ----------
        *inputs
            Tensors are differentiated; everything else reaches ``forward`` as it is.
        **config
            Reaches ``forward`` unchanged.

        Returns
        -------
        Tensor or tuple of Tensor
        """
        ctx = Context() if cls._static else cls()
        if isinstance(ctx, Function):
            ctx._used = True
        return _apply(cls, ctx, inputs, config)

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
        if self._used:
            msg = (
                f"{cls.__name__}: an instance serves one call, and this one has served; make a "
                "new instance"
            )
            raise RuntimeError(msg)
        self._used = True
        return _apply(cls, self, inputs, config)


def as_function(cls: type) -> type[Function]:
    """Make a Function of a plain class with static ``forward`` and ``backward`` written against
    ``ctx.xp``.

    Parameters
    ----------
    cls : type

    Returns
    -------
    type
        A Function with the same name and docstring.

    Raises
    ------
    TypeError
        If one of the two is missing.
    """
    for name in ("forward", "backward"):
        if not callable(getattr(cls, name, None)):
            msg = f"as_function: {cls.__name__} has no static method {name}"
            raise TypeError(msg)
    names = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, Function), names)


def once_differentiable(backward: _Callable) -> _Callable:
    """Mark a ``backward`` that cannot be differentiated: a second derivative through it raises.

    Stands under ``@staticmethod``.
    """
    backward.__dict__["once_differentiable"] = True
    return backward


class _Call:
    """One application of a Function, as its node in the graph remembers it."""

    __slots__ = ("config", "ctx", "function", "inputs", "pristine", "slots")

    def __init__(self, function: type[Function], ctx: Context, config: dict[str, Any]) -> None:
        self.function = function
        self.ctx = ctx
        self.config = config
        # The instance as it was before forward, which a second run of forward starts from.
        self.pristine = None if function._static else copy.copy(ctx)
        self.inputs: tuple[Any, ...] = ()
        self.slots: tuple[int | None, ...] = ()

    def fresh_ctx(self) -> Context:
        return Context() if self.pristine is None else copy.copy(self.pristine)

    def inputs_with(self, tensors: Sequence[Tensor]) -> list[Any]:
        """Return the positional inputs, with ``tensors`` in the places of the Tensors."""
        left = iter(tensors)
        return [next(left) if item is _TENSOR else item for item in self.inputs]


_TENSOR = object()


class _Node(torch.autograd.Function):
    """The node of a Function in torch's graph."""

    @staticmethod
    def forward(node: Any, call: _Call, *inputs: Any) -> Any:
        ctx = call.ctx
        ctx._needs_input_grad = node.needs_input_grad[1:]
        arrays = [x.detach() if isinstance(x, Tensor) and x.requires_grad else x for x in inputs]
        output = _checked_output(
            call.function, _run(call.function, "forward", ctx, arrays, call.config)
        )

        tensors = [x for x in inputs if isinstance(x, Tensor)]
        places = {id(a): i for i, a in enumerate(a for a in arrays if isinstance(a, Tensor))}
        # All inputs are kept as Tensors, so that a second run of forward is tied to their history;
        # what was saved beside them goes to torch too, which watches for changes in place and lets
        # it go with the graph.
        extra: list[Tensor] = []
        slots: list[int | None] = []
        for item in ctx._saved:
            if item is None:
                slots.append(None)
            elif id(item) in places:
                slots.append(places[id(item)])
            else:
                slots.append(len(tensors) + len(extra))
                extra.append(item)
        ctx._saved = ()
        node.save_for_backward(*tensors, *extra)
        node.mark_non_differentiable(*ctx._non_differentiable)
        node.set_materialize_grads(ctx._materialize_grads)
        ctx._non_differentiable = ()
        call.inputs = tuple(_TENSOR if isinstance(x, Tensor) else x for x in inputs)
        call.slots = tuple(slots)
        node.call = call
        return output

    @staticmethod
    def backward(node: Any, *grads: Tensor | None) -> Any:
        call: _Call = node.call
        needs = node.needs_input_grad[1:]
        saved = node.saved_tensors
        inputs = call.inputs_with(saved)
        function = call.function
        if not torch.is_grad_enabled():
            results = _first_derivative(call, needs, saved, grads)
        elif getattr(function.backward, "once_differentiable", False):
            with torch.no_grad():
                results = _first_derivative(call, needs, saved, grads)
            results = _refuse_second_derivative(
                function, _checked(function, inputs, needs, results), saved, grads
            )
        elif hasattr(function, "composite"):
            results = _through_composite(call, inputs, needs, grads)
        else:
            ctx = call.fresh_ctx()
            ctx._needs_input_grad = needs
            _run(function, "forward", ctx, inputs, call.config)
            results = _run(function, "backward", ctx, grads, {})
        return (None, *_checked(function, inputs, needs, results))


class _Refused(torch.autograd.Function):
    """The identity on gradients that must not be differentiated again."""

    @staticmethod
    def forward(node: Any, name: str, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        node.name = name
        return tuple(x.detach() for x in tensors[:count])

    @staticmethod
    def backward(node: Any, *grads: Tensor) -> Any:
        msg = f"{node.name}: backward is marked once_differentiable, so it has no second derivative"
        raise RuntimeError(msg)


def _apply(
    cls: type[Function], ctx: Context, inputs: tuple[Any, ...], config: dict[str, Any]
) -> Any:
    if torch.is_grad_enabled() and any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
        return cls._node.apply(_Call(cls, ctx, config), *inputs)
    ctx._needs_input_grad = (False,) * len(inputs)
    arrays = [x.detach() if isinstance(x, Tensor) and x.requires_grad else x for x in inputs]
    with torch.no_grad():
        output = _checked_output(cls, _run(cls, "forward", ctx, arrays, config))
    ctx._saved = ctx._non_differentiable = ()
    if isinstance(output, Tensor):
        return _new(output, arrays)
    return tuple(_new(y, arrays) for y in output)


def _new(output: Tensor, arrays: list[Any]) -> Tensor:
    return output.detach() if any(output is a for a in arrays) else output


def _run(
    cls: type[Function], name: str, ctx: Context, arguments: Sequence[Any], config: dict[str, Any]
) -> Any:
    method = getattr(cls, name, None)
    if method is None:
        msg = f"{cls.__name__}: has no {name}"
        raise NotImplementedError(msg)
    return method(ctx, *arguments, **config)


def _checked_output(cls: type[Function], output: Any) -> Any:
    items = output if isinstance(output, tuple) else (output,)
    for item in items:
        if not isinstance(item, Tensor):
            msg = (
                f"{cls.__name__}: forward must return a raw array or a tuple of raw arrays, got "
                f"{type(item).__name__}"
            )
            raise TypeError(msg)
    if isinstance(output, tuple) and len({id(item) for item in items}) < len(items):
        # torch gives each output a place in the graph, which one array cannot have twice.
        return tuple(
            item.detach() if any(item is x for x in items[:i]) else item
            for i, item in enumerate(items)
        )
    return output


def _first_derivative(
    call: _Call, needs: tuple[bool, ...], saved: Sequence[Tensor], grads: Sequence[Tensor | None]
) -> Any:
    ctx = call.ctx
    ctx._needs_input_grad = needs
    ctx._saved = tuple(None if slot is None else _raw(saved[slot]) for slot in call.slots)
    try:
        return _run(call.function, "backward", ctx, [_raw(g) for g in grads], {})
    finally:
        ctx._saved = ()


def _raw(x: Tensor | None) -> Tensor | None:
    return x.detach() if x is not None and x.requires_grad else x


def _through_composite(
    call: _Call, inputs: list[Any], needs: tuple[bool, ...], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    # Aliases: one input may have been computed from another, and each gradient is with respect to
    # its own place alone.
    arguments = [x.view_as(x) if need else x for x, need in zip(inputs, needs, strict=True)]
    output = call.function.composite(*arguments, **call.config)  # type: ignore[attr-defined]
    outputs = output if isinstance(output, tuple) else (output,)
    pairs = [
        (y, g) for y, g in zip(outputs, grads, strict=True) if g is not None and y.requires_grad
    ]
    wanted = [x for x, need in zip(arguments, needs, strict=True) if need]
    if not pairs:
        return [None] * len(inputs)
    found = iter(
        torch.autograd.grad(
            [y for y, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if need else None for need in needs]


def _refuse_second_derivative(
    cls: type[Function],
    results: list[Tensor | None],
    saved: Sequence[Tensor],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    present = [g for g in results if g is not None]
    sources = [x for x in (*saved, *grads) if x is not None and x.requires_grad]
    refused = iter(_Refused.apply(cls.__name__, len(present), *present, *sources))
    return [None if g is None else next(refused) for g in results]


def _checked(
    cls: type[Function], inputs: list[Any], needs: tuple[bool, ...], results: Any
) -> list[Tensor | None]:
    """Return one gradient per input, None where none is wanted; raise if one does not fit."""
    grads = list(results) if isinstance(results, tuple | list) else [results]
    missing = inputs[len(grads) :]
    if len(grads) > len(inputs) or any(x is not None for x in missing):
        msg = (
            f"{cls.__name__}: backward must return {len(inputs)} gradients, one per positional "
            f"input, got {len(grads)}"
        )
        raise ValueError(msg)
    grads += [None] * len(missing)
    for i, (x, need, grad) in enumerate(zip(inputs, needs, grads, strict=True)):
        if not need or grad is None:
            grads[i] = None
            continue
        if not isinstance(grad, Tensor):
            msg = (
                f"{cls.__name__}: backward must return a raw array of dtype {x.dtype} or None "
                f"for input {i}, got {type(grad).__name__}"
            )
            raise TypeError(msg)
        if grad.shape != x.shape:
            msg = (
                f"{cls.__name__}: backward must return a gradient of shape {tuple(x.shape)} "
                f"for input {i}, got {tuple(grad.shape)}"
            )
            raise ValueError(msg)
        if grad.dtype != x.dtype:
            msg = (
                f"{cls.__name__}: backward must return a gradient of dtype {x.dtype} "
                f"for input {i}, got {grad.dtype}"
            )
            raise TypeError(msg)
    return grads
