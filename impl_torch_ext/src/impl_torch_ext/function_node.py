"""One application of a Function, and its node in torch's graph."""

import copy
import dataclasses
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import check_gradients, refuse_dtype, shown
from impl_torch_ext.context import Context
from impl_torch_ext.dtypes import DTYPES
from impl_torch_ext.replay import replaying, state, watched_by
from impl_torch_ext.tensor import raw

if TYPE_CHECKING:
    from impl_torch_ext.function import Function

__all__ = [
    "Node",
    "apply",
    "checked_output",
    "holds_tensors",
    "refuse_hidden",
    "refuse_second_derivative",
    "run",
    "watched_by",
]


def apply(
    function: "type[Function]", ctx: Context, inputs: tuple[Any, ...], config: dict[str, Any]
) -> Any:
    """Apply `function` to `inputs`, with a node if a gradient is wanted."""
    if state.replaying and torch._C._is_torch_function_enabled():
        # This Function detaches its inputs in its own right, and is one operation (autograd-42).
        with torch._C.DisableTorchFunction():
            call = partial(apply, function, ctx, inputs, config)
            return state.watch(function.__name__, inputs, call) if state.watch else call()
    if torch.is_grad_enabled() and _wants_gradient(function, ctx, inputs, config):
        return function._node.apply(_Call(function, ctx, config), *inputs)
    ctx._needs_input_grad = (False,) * len(inputs)
    arrays = [raw(x) for x in inputs]
    with torch.no_grad():
        output = checked_output(function, run(function, "forward", ctx, arrays, config))
    ctx._saved = ctx._non_differentiable = ()  # function-25
    if isinstance(output, Tensor):
        return _new(output, arrays)
    return tuple(_new(y, arrays) for y in output)


class Node(torch.autograd.Function):
    """The node of a Function in torch's graph."""

    @staticmethod
    def forward(node: Any, call: "_Call", *inputs: Any) -> Any:
        """Run the Function's forward on raw arrays and keep what backward needs."""
        ctx = call.ctx
        ctx._needs_input_grad = node.needs_input_grad[1:]
        arrays = [raw(x) for x in inputs]
        output = run(call.function, "forward", ctx, arrays, call.config)
        if type(output) is not Tensor or output.dtype not in DTYPES:
            output = checked_output(call.function, output)
        node.save_for_backward(*call.keep(inputs, arrays))
        constants = ctx._non_differentiable
        if call.attributes:
            output, constants = _apart(output, constants)
        if constants:
            node.mark_non_differentiable(*constants)
            ctx._non_differentiable = ()
        if ctx._materialize_grads is not True:
            node.set_materialize_grads(ctx._materialize_grads)
        node.call = call
        return output

    @staticmethod
    def backward(node: Any, *grads: Tensor | None) -> Any:
        """Return the gradients of the inputs, recorded if torch is recording."""
        call: _Call = node.call
        needs = node.needs_input_grad[1:]
        saved = node.saved_tensors
        inputs = call.inputs_with(saved)
        function = call.function
        if not torch.is_grad_enabled():
            results = call.first_derivative(needs, saved, grads)
        elif getattr(getattr(function, "backward", None), "once_differentiable", False):
            with torch.no_grad():
                results = call.first_derivative(needs, saved, grads)
            results = check_gradients(function.__name__, inputs, needs, results)
            results = refuse_second_derivative(function, results, saved, grads)
        elif hasattr(function, "composite"):  # function-20
            results = _through_composite(call, inputs, needs, grads)
        else:  # function-17
            ctx = call.fresh_ctx()
            ctx._xp = ops
            ctx._needs_input_grad = needs
            with replaying(function.__name__):
                run(function, "forward", ctx, inputs, call.config)
                results = run(function, "backward", ctx, grads, {})
        return (None, *check_gradients(function.__name__, inputs, needs, results))


_TENSOR = object()
# Values that hold no Tensor.
_SCALARS = frozenset({type(None), bool, int, float, str, torch.dtype})


class _Call:
    """One application of a Function, as its node remembers it."""

    __slots__ = (
        "attributes",
        "config",
        "ctx",
        "function",
        "inputs",
        "only_tensors",
        "places",
        "pristine",
    )
    inputs: list[Any]
    only_tensors: bool
    # Of each array that the ctx had saved: where it is among what torch keeps.
    places: list[int | None]
    # The Tensors in attributes of the ctx, with how often each had been changed.
    attributes: list[tuple[str, Tensor, int]]

    def __init__(self, function: "type[Function]", ctx: Context, config: dict[str, Any]) -> None:
        self.function = function
        self.ctx = ctx
        self.config = config
        # The instance as it was before forward, which a second run of forward starts from.
        self.pristine = None if function._static else copy.copy(ctx)

    def keep(self, inputs: tuple[Any, ...], arrays: list[Any]) -> list[Tensor]:
        """Return what torch has to keep, and remember where in it the ctx's saved arrays are.

        All inputs are kept as Tensors, so that a second run of forward is tied to their history;
        what was saved beside them goes to torch too, which watches for changes in place and lets
        it go with the graph.
        """
        kept: list[Tensor] = []
        marks: list[Any] = []
        input_places: dict[int, int] = {}
        for i, x in enumerate(inputs):
            if isinstance(x, Tensor):
                input_places[id(arrays[i])] = len(kept)
                kept.append(x)
                marks.append(_TENSOR)
            else:
                marks.append(x)
        self.inputs = marks
        self.only_tensors = len(kept) == len(marks)
        places: list[int | None] = []
        for item in self.ctx._saved:
            if item is None:
                places.append(None)
            elif id(item) in input_places:
                places.append(input_places[id(item)])
            else:
                places.append(len(kept))
                kept.append(item)
        self.ctx._saved = ()
        self.attributes = []
        for name, value in vars(self.ctx).items():
            if type(value) not in _SCALARS and name not in _OWN:
                self.attributes += [(place, x, _version(x)) for place, x in _tensors(name, value)]
        self.places = places
        return kept

    def fresh_ctx(self) -> Context:
        """Return a ctx as it was before forward."""
        return Context() if self.pristine is None else copy.copy(self.pristine)

    def inputs_with(self, tensors: Sequence[Tensor]) -> Sequence[Any]:
        """Return the positional inputs, with `tensors` in the places of the Tensors."""
        if self.only_tensors:
            return tensors[: len(self.inputs)]
        left = iter(tensors)
        return [next(left) if item is _TENSOR else item for item in self.inputs]

    def first_derivative(
        self, needs: tuple[bool, ...], saved: Sequence[Tensor], grads: Sequence[Tensor | None]
    ) -> Any:
        """Run backward on raw arrays, with the ctx that forward left."""
        if self.attributes:
            self._check_attributes()
        kept = tuple([None if place is None else raw(saved[place]) for place in self.places])
        given = [raw(g) for g in grads]
        watched = () if self.function._pure else (*given, *kept)
        before = _versions(watched)
        thread = get_ident()
        running = self.ctx.__dict__.setdefault("_running", {})  # autograd-28
        outer = running.get(thread)
        running[thread] = (kept, needs)
        try:
            result = _method(self.function, "backward")(self.ctx, *given)
        finally:
            if outer is None:
                del running[thread]
            else:
                running[thread] = outer
        if _versions(watched) != before:
            _refuse_change(self.function, "backward", "gradient", given, before)
            _refuse_change(self.function, "backward", "saved array", kept, before[len(given) :])
        return result

    def _check_attributes(self) -> None:
        for place, x, version in self.attributes:
            if _version(x) != version:  # autograd-24
                msg = (
                    f"{self.function.__name__}: backward needs the array of shape "
                    f"{tuple(x.shape)} that forward left as {place}, got one that was changed in "
                    "place since"
                )
                raise RuntimeError(msg)


class _Refused(torch.autograd.Function):
    """The identity on gradients that must not be differentiated again."""

    @staticmethod
    def forward(_name: str, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(x.detach() for x in tensors[:count])

    @staticmethod
    def setup_context(node: Any, inputs: tuple[Any, ...], _output: tuple[Tensor, ...]) -> None:
        node.name = inputs[0]

    @staticmethod
    def backward(node: Any, *_grads: Tensor) -> Any:
        # function-21
        msg = f"{node.name}: backward is marked once_differentiable, so it has no second derivative"
        raise RuntimeError(msg)

    jvp = backward

    @staticmethod
    def vmap(
        _info: Any, in_dims: tuple[Any, ...], name: str, count: int, *tensors: Tensor
    ) -> tuple[Any, Any]:
        return _Refused.apply(name, count, *tensors), in_dims[2 : 2 + count]


def _new(output: Tensor, arrays: list[Any]) -> Tensor:
    # function-24
    return output.detach() if any(output is a for a in arrays) else output


def _apart(output: Any, constants: tuple[Tensor, ...]) -> tuple[Any, tuple[Tensor, ...]]:
    """Return the outputs as other objects, and those of them that are constants.

    An output that the ctx holds would otherwise hold its node, which holds the ctx.
    """
    items = output if isinstance(output, tuple) else (output,)
    apart = tuple(y.detach() for y in items)  # autograd-31
    marked = tuple(z for y, z in zip(items, apart, strict=True) if any(y is c for c in constants))
    return (apart if isinstance(output, tuple) else apart[0]), marked


def holds_tensors(ctx: Context) -> bool:
    """Return whether a free attribute of the ctx is a Tensor, or holds one."""
    return any(
        True
        for name, value in vars(ctx).items()
        if type(value) not in _SCALARS and name not in _OWN
        for _ in _tensors(name, value)
    )


def run(
    function: "type[Function]",
    name: str,
    ctx: Context,
    arguments: Sequence[Any],
    config: dict[str, Any],
) -> Any:
    """Call `forward` or `backward`, or raise if it changed what it was given."""
    method = getattr(function, name, None) or _method(function, name)
    if function._pure:
        return method(ctx, *arguments, **config)
    before = _versions(arguments)
    result = method(ctx, *arguments, **config)
    if _versions(arguments) != before:
        what = "input" if name == "forward" else "gradient"
        _refuse_change(function, name, what, arguments, before)
    return result


def _method(function: "type[Function]", name: str) -> Any:
    method = getattr(function, name, None)
    if method is None:  # function-30
        msg = f"{function.__name__}: must have a method {name}, got none"
        raise NotImplementedError(msg)
    return method


def _versions(items: Sequence[Any]) -> list[int]:
    """Return how often each Tensor was changed in place, 0 for others."""
    try:
        return [x._version if isinstance(x, Tensor) else 0 for x in items]
    except RuntimeError:  # Of what was made in torch.inference_mode() no changes are counted.
        return [_version(x) for x in items]


def _version(x: Any) -> int:
    return x._version if isinstance(x, Tensor) and not x.is_inference() else 0


def _refuse_change(
    function: "type[Function]", name: str, what: str, arrays: Sequence[Any], before: list[int]
) -> None:
    for i, (x, version) in enumerate(zip(arrays, before, strict=False)):
        if _version(x) != version:  # function-27
            msg = (
                f"{function.__name__}: {name} must not change what it is given, got {what} {i} of "
                f"shape {tuple(x.shape)} changed in place; work on a copy"
            )
            raise RuntimeError(msg)


# Attributes of a ctx that are not the user's.
_OWN = frozenset(name for name in vars(Context) if name.startswith("_")) | {"_used"}


def _tensors(place: str, value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Yield the Tensors in nested containers and dataclasses, each with its place."""
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Tensor):
        yield place, value
    elif any(value is x for x in above):
        return
    elif isinstance(value, Mapping | list | tuple | Set | deque):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        parts = [(f"[{shown(key)}]", item) for key, item in items]
    elif hasattr(type(value), "__dataclass_fields__"):
        names = [field.name for field in dataclasses.fields(value)]
        parts = [(f".{name}", getattr(value, name, None)) for name in names]
    for where, item in parts:
        if type(item) not in _SCALARS:
            yield from _tensors(place + where, item, (*above, value))


def _wants_gradient(
    function: "type[Function]", ctx: Context, inputs: tuple[Any, ...], config: dict[str, Any]
) -> bool:
    """Return whether an input requires grad; see `refuse_hidden`."""
    wanted, plain = False, function._static
    for x in inputs:
        if isinstance(x, Tensor):
            wanted = wanted or x.requires_grad
        elif type(x) not in _SCALARS:
            plain = False
    for value in config.values():
        if type(value) not in _SCALARS:
            plain = False
    if not plain:
        refuse_hidden(function, ctx, inputs, config)
    return wanted


def refuse_hidden(
    function: "type[Function]", ctx: Context, inputs: tuple[Any, ...], config: dict[str, Any]
) -> None:
    """Raise a TypeError if a Tensor that requires grad stands where its gradient is lost."""
    places = [
        (f"input {i}", x)
        for i, x in enumerate(inputs)
        if type(x) not in _SCALARS and not isinstance(x, Tensor)
    ]
    places += config.items()
    if not function._static:
        places += [item for item in vars(ctx).items() if item[0] not in _OWN]
    for name, value in places:
        if type(value) in _SCALARS:
            continue
        for place, x in _tensors(name, value):
            if x.requires_grad:  # function-29
                msg = (
                    f"{function.__name__}: a Tensor that requires grad must be a positional "
                    f"input by itself, got one of shape {tuple(x.shape)} in {place}, where its "
                    "gradient would be lost"
                )
                raise TypeError(msg)


def checked_output(function: "type[Function]", output: Any) -> Any:
    """Return what `forward` returned, each array once, or raise if it is none."""
    items = output if isinstance(output, tuple) else (output,)
    for item in items:
        if not isinstance(item, Tensor):
            msg = (
                f"{function.__name__}: forward must return a raw array or a tuple of raw arrays, "
                f"got {type(item).__name__}"
            )
            raise TypeError(msg)
        if item.dtype not in DTYPES:
            refuse_dtype(function.__name__, "each output", item.dtype)
    if isinstance(output, tuple) and len({id(item) for item in items}) < len(items):
        # torch gives each output a place in the graph, which one array cannot have twice.
        return tuple(
            item.detach() if any(item is x for x in items[:i]) else item
            for i, item in enumerate(items)
        )
    return output


def _through_composite(
    call: _Call, inputs: Sequence[Any], needs: tuple[bool, ...], grads: Sequence[Tensor | None]
) -> list[Tensor | None]:
    # Aliases: an input may be computed from another, and each gradient is to its own place.
    arguments = [x.view_as(x) if need else x for x, need in zip(inputs, needs, strict=True)]
    output = call.function.composite(*arguments, **call.config)  # type: ignore[attr-defined]
    outputs = output if isinstance(output, tuple) else (output,)
    pairs = [
        (y, g) for y, g in zip(outputs, grads, strict=True) if g is not None and y.requires_grad
    ]
    wanted = [x for x, need in zip(arguments, needs, strict=True) if need]
    if not pairs:
        return [None] * len(inputs)
    gradients = iter(
        torch.autograd.grad(
            [y for y, _ in pairs],
            wanted,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return [next(gradients) if need else None for need in needs]


def refuse_second_derivative(
    function: "type[Function]",
    results: list[Tensor | None],
    saved: Sequence[Tensor],
    grads: Sequence[Tensor | None],
) -> list[Tensor | None]:
    """Return the gradients that `backward` returned, which raise when they are differentiated."""
    present = [g for g in results if g is not None]
    sources = [x for x in (*saved, *grads) if x is not None and x.requires_grad]
    refused = iter(_Refused.apply(function.__name__, len(present), *present, *sources))
    return [None if g is None else next(refused) for g in results]
