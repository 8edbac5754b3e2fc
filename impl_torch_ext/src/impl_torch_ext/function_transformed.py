"""Applications of Functions under torch's own transforms: `torch.func`, `torch.vmap`, dual numbers.

The interpreters of `torch.func` lie in a stack, and each wraps the Tensors that it follows. A
`torch.autograd.Function` with a `setup_context` is taken through them one at a time, and what a
level keeps for its backward are results of the level below: so a forward returns the arrays that it
saved beside its outputs.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad
from torch.utils._pytree import tree_map_only

from impl_torch_ext import ops, tracing
from impl_torch_ext.checks import check_gradients
from impl_torch_ext.context import Context
from impl_torch_ext.dtypes import is_inexact
from impl_torch_ext.function_node import (
    checked_output,
    holds_tensors,
    refuse_hidden,
    refuse_second_derivative,
    run,
)
from impl_torch_ext.replay import replaying
from impl_torch_ext.tensor import raw

if TYPE_CHECKING:
    from impl_torch_ext.function import Function

__all__ = ["apply"]

_Grads = Sequence[Tensor | None]


def apply(
    function: "type[Function]", ctx: Context, inputs: tuple[Any, ...], config: dict[str, Any]
) -> Any:
    """Apply `function` to `inputs`, which transforms may have wrapped."""
    refuse_hidden(function, ctx, inputs, config)
    composite = getattr(function, "composite", None)
    if composite is not None and tracing.pushes_forward():
        return composite(*inputs, **config)  # Its operations have forward-mode derivatives.
    call = _Call(function, ctx, inputs, config)
    outputs = _Transformed.apply(call, *call.operands())
    return outputs[0] if call.form.single else tuple(outputs[: call.form.number])


class _Form(NamedTuple):
    """What a forward turned out to return and to keep."""

    # How many outputs there are, whether the one came by itself, which of them are constants.
    number: int
    single: bool
    constants: list[int]
    # What backward gets: places among operands, outputs and saved arrays.
    kept: list[int | None]
    materialize: bool


class _Slot:
    """The place of a Tensor among the operands."""

    def __init__(self, place: int) -> None:
        self.place = place


class _Call:
    """One application of a Function, apart from its Tensors.

    These, wherever they stand among the arguments, are the operands of `forward`; the arrays that
    `backward` gets are operands, outputs and saved arrays by their places in that order.
    """

    # Known after forward, as is the ctx that it left, unless that holds Tensors.
    form: _Form
    left: Context | None

    def __init__(
        self, function: "type[Function]", ctx: Context, inputs: Any, config: dict[str, Any]
    ) -> None:
        self.function = function
        operands: list[Tensor] = []

        def slot(x: Tensor) -> _Slot:
            operands.append(x)
            return _Slot(len(operands) - 1)

        attributes = {} if function._static else vars(ctx)
        # Where the Tensors were, there are slots.
        self.inputs, self.config, self.attributes = tree_map_only(
            Tensor, slot, (inputs, config, attributes)
        )
        pushing = _pushing()
        self.needs = tuple(isinstance(x, Tensor) and _followed(x, pushing) for x in inputs)
        self.size = len(operands)
        self._operands: list[Tensor] | None = operands
        # Where forward ran for one sample of a batch after the other, one for each.
        self.samples: list[_Call] = []

    def operands(self) -> list[Tensor]:
        """Return the Tensors of the call, once: nothing here keeps them."""
        operands, self._operands = self._operands, None
        assert operands is not None
        return operands

    def forward(self, *operands: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, and then what was saved and is none of these and no operand."""
        arrays = [raw(x) for x in operands]
        ctx, inputs, config = self._arguments(arrays)
        ctx._needs_input_grad = self.needs
        output = checked_output(self.function, run(self.function, "forward", ctx, inputs, config))
        single = isinstance(output, Tensor)
        given = (output,) if single else output
        results = [y.detach() if any(y is a for a in arrays) else y for y in given]  # function-24
        constants = [
            i
            for i, y in enumerate(given)
            if not is_inexact(y.dtype) or any(y is c for c in ctx._non_differentiable)
        ]
        places = {id(x): i for i, x in enumerate((*arrays, *given))}
        kept: list[int | None] = []
        for item in ctx._saved:
            if item is not None and id(item) not in places:
                places[id(item)] = len(arrays) + len(results)
                results.append(item)
            kept.append(None if item is None else places[id(item)])
        self.form = _Form(len(given), single, constants, kept, ctx._materialize_grads)
        ctx._saved = ctx._non_differentiable = ()
        self.left = None if holds_tensors(ctx) else ctx
        return tuple(results)

    def backward(
        self, needs: Sequence[bool], arrays: Sequence[Any], grads: _Grads, recorded: bool
    ) -> list[Tensor | None]:
        """Return the gradient of each operand; `recorded` if these are differentiated in turn."""
        function, operands = self.function, arrays[: self.size]
        _, inputs, config = self._arguments(operands)
        wanted = tuple(isinstance(slot, _Slot) and needs[slot.place] for slot in self.inputs)
        once = getattr(getattr(function, "backward", None), "once_differentiable", False)
        if recorded and not once and hasattr(function, "composite"):
            results = _through_composite(function.composite, inputs, config, wanted, grads)
        elif recorded and not once:
            with replaying(function.__name__):
                results = self._again(operands, wanted, grads, ops)
        else:
            with torch.no_grad():
                results = self._once(arrays, wanted, grads)
            if recorded:
                results = check_gradients(function.__name__, inputs, wanted, results)
                results = refuse_second_derivative(function, results, operands, grads)
        checked = check_gradients(function.__name__, inputs, wanted, results)
        found: list[Tensor | None] = [None] * self.size
        for slot, grad in zip(self.inputs, checked, strict=True):
            if isinstance(slot, _Slot):
                found[slot.place] = grad
        return found

    def another(self) -> "_Call":
        """Return one for other arrays."""
        made = copy.copy(self)
        made.samples = []
        return made

    def _once(self, arrays: Sequence[Any], wanted: tuple[bool, ...], grads: _Grads) -> Any:
        """Run backward on arrays."""
        given = [raw(g) for g in grads]
        if self.left is None:
            return self._again([raw(x) for x in arrays[: self.size]], wanted, given, None)
        ctx = copy.copy(self.left)
        ctx._saved = tuple(
            [None if place is None else raw(arrays[place]) for place in self.form.kept]
        )
        ctx._needs_input_grad = wanted
        return run(self.function, "backward", ctx, given, {})

    def _again(
        self, operands: Sequence[Any], wanted: tuple[bool, ...], grads: _Grads, xp: Any
    ) -> Any:
        """Run forward once more, and then backward on what it saved now."""
        ctx, inputs, config = self._arguments(operands)
        if xp is not None:
            ctx._xp = xp
        ctx._needs_input_grad = wanted
        run(self.function, "forward", ctx, inputs, config)
        return run(self.function, "backward", ctx, grads, {})

    def _arguments(self, operands: Sequence[Any]) -> tuple[Context, Any, Any]:
        """Return a ctx as it was before forward, and the arguments."""
        inputs, config, attributes = tree_map_only(
            _Slot,
            lambda slot: operands[slot.place],
            (self.inputs, self.config, self.attributes),
        )
        ctx = Context() if self.function._static else object.__new__(self.function)
        ctx.__dict__.update(attributes)
        return ctx, inputs, config


class _Batch:
    """Applications side by side of what `inner` is one of, by `torch.vmap`.

    Where torch has no rule for what a forward or backward does, as for a number that is read, it
    runs for one sample after the other.
    """

    def __init__(self, inner: Any, info: Any, axes: Sequence[int | None]) -> None:
        self.inner, self.size, self.function = inner, inner.size, inner.function
        self.axes, self.batch, self.randomness = axes, info.batch_size, info.randomness
        self.samples: list[Any] = []

    @property
    def form(self) -> _Form:
        form: _Form = self.inner.form
        return form

    @form.setter
    def form(self, form: _Form) -> None:
        self.inner.form = form

    def another(self) -> "_Batch":
        """Return one for other arrays."""
        return _Batch(self.inner.another(), _Info(self.batch, self.randomness), self.axes)

    def forward(self, *operands: Tensor) -> tuple[Tensor, ...]:
        """Return outputs and saved arrays, with the batch as first axis."""
        try:
            return self._mapped(self.inner.forward, self.axes)(*operands)
        except RuntimeError as error:
            if _is_of_randomness(error):
                raise
            tracing.slice_by_slice(self.function, error)
        self.inner.samples = [self.inner.another() for _ in range(self.batch)]
        every = [
            sample.forward(*_chosen(operands, self.axes, i))
            for i, sample in enumerate(self.inner.samples)
        ]
        self.form = self.inner.samples[0].form
        return tuple(torch.stack(parts) for parts in zip(*every, strict=True))

    def backward(
        self, needs: Sequence[bool], arrays: _Grads, grads: _Grads, recorded: bool
    ) -> list[Tensor | None]:
        """Return the gradients of the operands, summed where one serves all samples."""
        axes = [*self.axes, *(0 for _ in arrays[self.size :])]
        return self.pulled(needs, arrays, grads, recorded, axes, [0] * len(grads), self.axes)

    def pulled(
        self,
        needs: Sequence[bool],
        arrays: _Grads,
        grads: _Grads,
        recorded: bool,
        axes: Sequence[int | None],
        grad_axes: Sequence[int | None],
        wanted_axes: Sequence[int | None],
    ) -> list[Tensor | None]:
        """Return the gradients of the operands, with the axes of samples where they are wanted."""
        given = [*arrays, *grads]
        there = [i for i, x in enumerate(given) if x is not None]
        found_at: list[int] = []

        def one(call: Any, *items: Tensor) -> tuple[Tensor, ...]:
            every: list[Any] = [None] * len(given)
            for i, x in zip(there, items, strict=True):
                every[i] = x
            found = call.backward(needs, every[: len(arrays)], every[len(arrays) :], recorded)
            found_at[:] = [i for i, g in enumerate(found) if g is not None]
            return tuple(found[i] for i in found_at)

        places = [(*axes, *grad_axes)[i] for i in there]
        results = self._each(one, [given[i] for i in there], places)
        found: list[Tensor | None] = [None] * self.size
        for i, grad in zip(found_at, results, strict=True):
            axis = wanted_axes[i]
            found[i] = grad.sum(0) if axis is None else grad.movedim(0, axis)
        return found

    def _each(
        self, one: Callable[..., Any], items: Sequence[Any], places: Sequence[int | None]
    ) -> tuple[Tensor, ...]:
        if not self.inner.samples:
            try:
                return self._mapped(lambda *x: one(self.inner, *x), places)(*items)
            except RuntimeError as error:
                if _is_of_randomness(error):
                    raise
                tracing.slice_by_slice(self.function, error)
        samples = self.inner.samples or [self.inner] * self.batch
        every = [one(sample, *_chosen(items, places, i)) for i, sample in enumerate(samples)]
        return tuple(torch.stack(parts) for parts in zip(*every, strict=True))

    def _mapped(self, fn: Callable[..., Any], places: Sequence[int | None]) -> Callable[..., Any]:
        return torch.vmap(fn, in_dims=tuple(places), randomness=self.randomness)


class _Info(NamedTuple):
    batch_size: int
    randomness: str


class _Transformed(torch.autograd.Function):
    """The node of an application, at each level that differentiates."""

    @staticmethod
    def forward(call: Any, *operands: Tensor) -> tuple[Tensor, ...]:
        return call.forward(*operands)

    @staticmethod
    def setup_context(node: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        call, *operands = inputs
        node.call, node.level = call, _functorch.maybe_current_level()
        node.shapes = [(y.shape, y.dtype) for y in output]
        # Where second derivatives are followed forward runs again: what it saved is a constant.
        constants = [output[i] for i in call.form.constants]
        node.mark_non_differentiable(*constants, *output[call.form.number :])
        node.set_materialize_grads(call.form.materialize)
        used = {place for place in call.form.kept if place is not None}
        kept = [y if call.size + i in used else None for i, y in enumerate(output)]
        tracing.save_for_forward(node, *operands, *kept)

    @staticmethod
    def backward(node: Any, *grads: Tensor | None) -> Any:
        call, arrays = node.call, node.saved_tensors
        given = grads[: call.form.number]
        needs = node.needs_input_grad[1:]
        if torch.is_grad_enabled() and _followed_below(node.level, (*arrays, *given), call.size):
            return None, *call.backward(needs, arrays, given, True)
        with torch.no_grad():
            places = _Places()
            results = _Pulled.apply(call, needs, places, len(arrays), *arrays, *given)
        found: list[Any] = [None] * call.size
        for i, grad in zip(places.found, results, strict=True):
            found[i] = grad
        return None, *found

    @staticmethod
    @tracing.pushed_with
    def jvp(node: Any, arrays: _Grads, tangents: _Grads) -> tuple[Tensor | None, ...]:
        return _pushed(node.call, arrays, node.shapes, tangents)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], call: Any, *operands: Tensor) -> Any:
        outputs = _Transformed.apply(_Batch(call, info, in_dims[1:]), *operands)
        return outputs, (0,) * len(outputs)


class _Places:
    """Which operands have a gradient, for a caller who gets these alone."""

    found: list[int]


class _Pulled(torch.autograd.Function):
    """One backward, which nothing differentiates, at each level of `torch.vmap`."""

    @staticmethod
    def forward(
        call: Any, needs: Any, places: _Places, count: int, *items: Tensor | None
    ) -> tuple[Tensor, ...]:
        found = call.backward(needs, items[:count], items[count:], False)
        places.found = [i for i, g in enumerate(found) if g is not None]
        return tuple(found[i] for i in places.found)

    @staticmethod
    def setup_context(node: Any, _inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        node.mark_non_differentiable(*output)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[Any, ...],
        call: Any,
        needs: Any,
        places: _Places,
        count: int,
        *items: Tensor | None,
    ) -> Any:
        axes = in_dims[4:]
        batch = _PulledBatch(call, info, axes, count)
        results = _Pulled.apply(batch, needs, places, count, *items)
        return results, (0,) * len(results)


class _PulledBatch(_Batch):
    """The backwards of applications that a level above keeps apart."""

    def __init__(self, inner: Any, info: Any, axes: Sequence[int | None], count: int) -> None:
        super().__init__(inner, info, axes)
        self.count = count

    def backward(
        self, needs: Sequence[bool], arrays: _Grads, grads: _Grads, recorded: bool
    ) -> list[Tensor | None]:
        """Return the gradients, with the batch as first axis of each."""
        axes, grad_axes = self.axes[: self.count], self.axes[self.count :]
        wanted = [0] * self.size
        return self.pulled(needs, arrays, grads, recorded, axes, grad_axes, wanted)


def _pushed(
    call: Any, arrays: _Grads, shapes: Sequence[Any], tangents: Sequence[Tensor | None]
) -> tuple[Tensor | None, ...]:
    """Return J t, the gradient of `<J^T u, t>` with respect to u, beside constants None."""
    needs = [t is not None for t in tangents[1:]]
    moving = [i for i in range(call.form.number) if i not in call.form.constants]
    places: list[int] = []

    def pull(*seeds: Tensor) -> tuple[Tensor, ...]:
        grads: list[Any] = [None] * call.form.number
        for i, seed in zip(moving, seeds, strict=True):
            grads[i] = seed
        found = call.backward(needs, arrays, grads, True)
        places[:] = [i for i, g in enumerate(found) if g is not None]
        return tuple(found[i] for i in places)

    seeds = [torch.zeros(shape, dtype=dtype) for shape, dtype in shapes]
    _, push = torch.func.vjp(pull, *(seeds[i] for i in moving))
    found: list[Any] = [None] * len(seeds)
    for i, tangent in zip(moving, push(tuple(tangents[1 + i] for i in places)), strict=True):
        found[i] = tangent
    return tuple(found)


def _through_composite(
    composite: Callable[..., Any], inputs: Any, config: Any, wanted: Sequence[bool], grads: _Grads
) -> list[Tensor | None]:
    used = [i for i, g in enumerate(grads) if g is not None]

    def outputs_of(*items: Tensor) -> tuple[Tensor, ...]:
        given = iter(items)
        arguments = [next(given) if want else x for x, want in zip(inputs, wanted, strict=True)]
        output = composite(*arguments, **config)
        outputs = output if isinstance(output, tuple) else (output,)
        return tuple(outputs[i] for i in used)

    items = [x for x, want in zip(inputs, wanted, strict=True) if want]
    if not used or not items:
        return [None] * len(inputs)
    _, pull = torch.func.vjp(outputs_of, *items)
    found = iter(pull(tuple(grads[i] for i in used)))
    return [next(found) if want else None for want in wanted]


def _chosen(items: Sequence[Tensor], places: Sequence[int | None], sample: int) -> list[Tensor]:
    """Return the part of each that belongs to a sample."""
    return [
        x if place is None else x.select(place, sample)
        for x, place in zip(items, places, strict=True)
    ]


def _is_of_randomness(error: RuntimeError) -> bool:
    """Return whether torch.vmap was not told what random numbers should be."""
    return "randomness" in str(error)


def _pushing() -> set[int]:
    """Return the levels of forward-mode derivatives."""
    levels = _functorch.get_interpreter_stack() or ()
    return {level.level() for level in levels if level.key() == _functorch.TransformType.Jvp}


def _followed(x: Tensor, pushing: set[int]) -> bool:
    """Return whether a transform or torch itself differentiates with respect to `x`."""
    while _functorch.is_functorch_wrapped_tensor(x):
        if x.requires_grad or _functorch.maybe_get_level(x) in pushing:
            return True
        x = _functorch.get_unwrapped(x)
    return x.requires_grad or (
        forward_ad._current_level >= 0 and forward_ad.unpack_dual(x).tangent is not None
    )


def _followed_below(level: int | None, items: Sequence[Tensor | None], size: int) -> bool:
    """Return whether something differentiates what the node of a level computes.

    A level's own results are not differentiated at that level again, though torch records them. The
    first `size` items are its operands.
    """
    if level is None:
        return True
    pushing, tensors = _pushing(), [x for x in items if x is not None]

    def of_level(x: Tensor) -> bool:
        return _functorch.is_gradtrackingtensor(x) and _functorch.maybe_get_level(x) == level

    # Once it is left its arrays are of none, and its number is another's.
    own = any(map(of_level, tensors[:size]))
    for x in map(_functorch.unwrap_if_dead, tensors):
        if _followed(_functorch.get_unwrapped(x) if own and of_level(x) else x, pushing):
            return True
    return False
