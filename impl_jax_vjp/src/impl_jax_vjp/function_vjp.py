"""A Function's call as one ``jax.custom_vjp``, which JAX's transformations obey.

A call of a Function runs in one of three ways; `function_node.apply` chooses, and keeps what the
tape needs:

- *eagerly*, on concrete arrays: `forward` and `backward` run as the plain Python they are, and the
  ctx itself stays with the node. Nothing of this room is used, but for a second derivative;
- *traced*, where an input belongs to a trace of JAX: here. A `PureCall` is the call without its
  arrays' values: the class, what is static, and the form of the arguments. `PureCall.function` is a
  pure function of the arrays with a ``custom_vjp``: its primal runs `forward`; its fwd runs
  `forward` and packs the ctx into a `Residual`, which passes through traces; its bwd unpacks the
  ctx and runs `backward`. `needs_input_grad` is what JAX says it differentiates;
- *compiled as a pair*, for a class with ``compiled = True`` on concrete arrays: `PureCall.forward`
  and `PureCall.gradients` are each compiled by ``jax.jit``, and the `Residual` passes between them.

The derivative of a call's gradient, needed under ``create_graph``, is in all three that of the
``custom_vjp``, or of the class's `composite` if it has one (`PureCall.gradient_function`).
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from .checks import MAPPING, check_dtype
from .context import Context, Residual, pack, raw, unpack, unrecorded
from .dtypes import in_x64, is_inexact
from .followed import following
from .recording import conjugated, pull_back
from .tape import MODE, wrap

Array = Any
Mask = tuple[bool, ...]


class PureCall:
    """A Function with everything about a call that is no positional array.

    Attributes
    ----------
    arrays : list of jax.Array
        Positional inputs that are Tensors or raw arrays, then arrays among the other arguments.
    count : int
        How many of `arrays` are positional inputs.
    many : bool
        Whether `forward` returned a tuple, once it has run.
    """

    many: bool

    def __init__(
        self,
        cls: type[Any],
        before: dict[str, Any] | None,
        inputs: Sequence[Any],
        config: dict[str, Any],
    ) -> None:
        self.cls = cls
        self.name = cls.__name__
        self.before = before or {}
        self.is_instance = before is not None
        self.is_array = tuple([isinstance(v, jax.Array) for v in inputs])
        self.is_none = tuple([v is None for v in inputs])
        positional = [v for v in inputs if isinstance(v, jax.Array)]
        rest = [v for v, is_array in zip(inputs, self.is_array, strict=True) if not is_array]
        self.count = len(positional)
        leaves, self._tree = jax.tree.flatten((rest, config))
        self._dynamic = tuple([isinstance(leaf, jax.Array) for leaf in leaves])
        self._static = tuple(
            [None if d else leaf for leaf, d in zip(leaves, self._dynamic, strict=True)]
        )
        extra = [leaf for leaf, d in zip(leaves, self._dynamic, strict=True) if d]
        self.arrays = [*positional, *extra]

    def without_arrays(self) -> "PureCall":
        """Return a copy that can be kept: it knows the form of the arrays and holds none."""
        twin = copy.copy(self)
        twin.arrays = [None] * len(self.arrays)
        return twin

    def _context(self) -> Context:
        if not self.is_instance:
            return Context()
        ctx = object.__new__(self.cls)
        vars(ctx).update(self.before)
        return ctx

    def _arguments(self, arrays: Sequence[Array]) -> tuple[list[Any], dict[str, Any]]:
        extra = iter(arrays[self.count :])
        leaves = [
            next(extra) if d else value
            for d, value in zip(self._dynamic, self._static, strict=True)
        ]
        rest, config = jax.tree.unflatten(self._tree, leaves)
        positional, others = iter(arrays[: self.count]), iter(rest)
        return [next(positional) if a else next(others) for a in self.is_array], config

    @in_x64
    def forward(self, arrays: Sequence[Array], mask: Mask) -> tuple[tuple[Array, ...], Residual]:
        """Run `forward` on a ctx of its own; return outputs and ctx, and set `many`."""

        def run(arrays: Sequence[Array]) -> tuple[tuple[Array, ...], Residual]:
            ctx = self._context()
            ctx._mask = mask
            inputs, config = self._arguments(arrays)
            outputs, self.many = run_forward(self.cls, ctx, inputs, config)
            flags = differentiable(ctx, outputs)
            return outputs, pack(self.name, ctx, self.before, outputs, flags)

        return _told(self.name, lambda: following(run, arrays, cut_message(self.name)))

    def gradients(
        self, residual: Residual, arrays: Sequence[Array], grads: Sequence[Array | None]
    ) -> tuple[Array | None, ...]:
        """Run `backward`; return a gradient, or None, for each of `arrays`.

        The result can be differentiated as `composite` and `once_differentiable` say.
        """
        if is_once(self.cls):
            return self._guarded(residual, arrays, grads)
        if hasattr(self.cls, "composite"):
            return self._composed(residual, arrays, grads)
        return self._backward(residual, arrays, grads)

    @in_x64
    def _backward(self, residual: Residual, arrays: Any, grads: Any) -> tuple[Array | None, ...]:
        layout = residual.layout

        def run(known: tuple[Residual, Any]) -> list[Array | None]:
            ctx = unpack(known[0], self._context())
            filled = fill(known[1], layout.outputs, layout.differentiable, layout.materialize)
            returned = unrecorded(method(self.cls, "backward"), ctx, *filled)
            return self.check(returned, layout.mask, arrays)

        refusal = cut_message(self.name)
        checked = _told(self.name, lambda: following(run, (residual, grads), refusal))
        positional = [g for g, is_array in zip(checked, self.is_array, strict=True) if is_array]
        return (*positional, *[None] * (len(arrays) - self.count))

    def _guarded(self, residual: Residual, arrays: Any, grads: Any) -> tuple[Array | None, ...]:
        name = self.name
        guarded = jax.custom_vjp(self._backward)

        def fwd(*args: Any) -> tuple[Any, None]:
            return self._backward(*args), None

        def bwd(_: None, _cotangents: Any) -> Any:
            raise RuntimeError(once_message(name))

        guarded.defvjp(fwd, bwd)
        return guarded(residual, tuple(arrays), tuple(grads))

    def _composed(self, residual: Residual, arrays: Any, grads: Any) -> tuple[Array | None, ...]:
        composed = jax.custom_vjp(self._backward)
        mask = residual.layout.mask

        def fwd(residual: Residual, arrays: Any, grads: Any) -> tuple[Any, Any]:
            out = self._backward(residual, arrays, grads)
            return out, (arrays, grads, [g is not None for g in out])

        @in_x64
        def bwd(saved: Any, cotangents: Any) -> Any:
            arrays, grads, _ = saved
            wanted = self.wanted(mask)

            def reference(arrays: Any, grads: Any) -> Any:
                pulled = iter(pull_back(self.composite, wanted, arrays, grads))
                whole = [next(pulled) if w else None for w in wanted]
                return tuple(
                    None if c is None else g for g, c in zip(whole, cotangents, strict=True)
                )

            return (None, *vjp_floating(reference, (arrays, grads), cotangents))

        composed.defvjp(fwd, bwd)
        return composed(residual, tuple(arrays), tuple(grads))

    @in_x64
    def composite(self, *arrays: Array) -> tuple[Array, ...]:
        """Run the Function's own differentiable form, on Tensors, as a function of arrays."""
        inputs, config = self._arguments(arrays)
        wrapped = [
            wrap(v) if is_array else v for v, is_array in zip(inputs, self.is_array, strict=True)
        ]
        returned = unrecorded(self._composite, *wrapped, **config)
        return as_outputs(self.name, returned)[0]

    def _composite(self, *inputs: Any, **config: Any) -> Any:
        MODE.inside = "composite"  # Until `unrecorded` sets it back.
        return self.cls.composite(*inputs, **config)

    def wanted(self, mask: Mask) -> Mask:
        """Return, for each of `arrays`, whether its gradient is wanted."""
        positional = [m for m, is_array in zip(mask, self.is_array, strict=True) if is_array]
        return (*positional, *[False] * (len(self.arrays) - self.count))

    def positional(self, flags: Sequence[bool]) -> Mask:
        """Return `flags`, one for each of `arrays`, as one for each positional input."""
        rest = iter(flags)
        return tuple(next(rest) if is_array else False for is_array in self.is_array)

    def gradient_function(self) -> Callable[..., Any]:
        """Return the function of `arrays` that a second derivative goes through."""
        return self.composite if hasattr(self.cls, "composite") else self.function(None)

    def check(self, returned: Any, mask: Mask, arrays: Sequence[Array]) -> list[Array | None]:
        """Return what `backward` returned as one entry for each positional input, or raise."""
        rest = iter(arrays)
        inputs = [
            next(rest) if is_array else None if is_none else ...
            for is_array, is_none in zip(self.is_array, self.is_none, strict=True)
        ]
        return check_gradients(self.name, returned, mask, inputs)

    def function(self, tape_mask: Mask | None) -> Callable[..., Any]:
        """Return the Function as one ``jax.custom_vjp`` of `arrays`.

        Parameters
        ----------
        tape_mask : tuple of bool or None
            With a mask, the tape records too: the ctx as the tape needs it is returned beside the
            outputs, and if JAX differentiates that ctx (a second derivative), it does so through
            `forward`. With None the outputs are returned alone.
        """
        idle = (False,) * len(self.is_array)

        @in_x64
        def primal(*arrays: Array) -> Any:
            outputs, residual = self.forward([as_array(a) for a in arrays], tape_mask or idle)
            return outputs if tape_mask is None else (outputs, residual)

        @in_x64
        def fwd(*primals: Any) -> tuple[Any, Any]:
            # `perturbed` tells what JAX differentiates: it is needs_input_grad.
            arrays = tuple([as_array(p.value) for p in primals])
            mask = self.positional([p.perturbed for p in primals[: self.count]])
            outputs, residual = self.forward(arrays, mask)
            if tape_mask is None:
                return outputs, (residual, arrays)
            taped = residual if mask == tape_mask else self.forward(arrays, tape_mask)[1]
            return (outputs, taped), (residual, arrays)

        @in_x64
        def bwd(saved: Any, cotangents: Any) -> tuple[Array | None, ...]:
            residual, arrays = saved
            outer = cotangents if tape_mask is None else cotangents[0]
            grads = [None if isinstance(c, SymbolicZero) else c for c in outer]
            flags = residual.layout.differentiable
            grads = [g if flag else None for g, flag in zip(grads, flags, strict=True)]
            pulled: Sequence[Array | None] = (None,) * len(arrays)
            if any(g is not None for g in grads):
                # JAX's convention around the Function's own. # function-31
                pulled = conjugated(self.gradients(residual, arrays, conjugated(grads)))
            if tape_mask is None:
                return tuple(pulled)
            return self._add_residual_gradients(pulled, arrays, tape_mask, cotangents[1].arrays)

        function = jax.custom_vjp(primal)
        function.defvjp(fwd, bwd, symbolic_zeros=True)
        return function

    def _add_residual_gradients(
        self, pulled: Sequence[Array | None], arrays: Any, mask: Mask, cotangents: Sequence[Any]
    ) -> tuple[Array | None, ...]:
        live = [not isinstance(c, SymbolicZero) and is_inexact(c.dtype) for c in cotangents]
        if not any(live):
            return tuple(pulled)

        def kept(arrays: Any) -> Any:
            leaves = self.forward(arrays, mask)[1].arrays
            return tuple(leaf for leaf, wanted in zip(leaves, live, strict=True) if wanted)

        wanted = tuple(c for c, is_live in zip(cotangents, live, strict=True) if is_live)
        (more,) = vjp_floating(kept, (arrays,), wanted)
        return tuple(
            b if a is None else a if b is None else a + b for a, b in zip(pulled, more, strict=True)
        )


def as_array(value: Any) -> Array:
    """Return a jax.Array of a value that JAX may have left a Python number."""
    # JAX hands on a Python number that it was given as it is.
    return value if isinstance(value, jax.Array) else jnp.asarray(value)


def vjp_floating(fn: Callable[..., Any], args: tuple[Any, ...], cotangents: Any) -> tuple[Any, ...]:
    """Pull cotangents back to the floating and complex leaves of `args`; other leaves get None."""
    leaves, tree = jax.tree.flatten(args)
    mask = tuple(is_inexact(leaf.dtype) for leaf in leaves)

    def partial(*chosen: Array) -> Any:
        rest = iter(chosen)
        whole = [next(rest) if m else leaf for m, leaf in zip(mask, leaves, strict=True)]
        return fn(*jax.tree.unflatten(tree, whole))

    _, pull = jax.vjp(partial, *(leaf for leaf, m in zip(leaves, mask, strict=True) if m))
    pulled = iter(pull(cotangents))
    return tuple(jax.tree.unflatten(tree, [next(pulled) if m else None for m in mask]))


def run_forward(
    cls: type[Any], ctx: Context, inputs: Sequence[Any], config: dict[str, Any]
) -> tuple[tuple[Array, ...], bool]:
    """Run a class's `forward`; return its outputs and whether they came as a tuple."""
    return as_outputs(cls.__name__, unrecorded(method(cls, "forward"), ctx, *inputs, **config))


def method(cls: type[Any], name: str) -> Callable[..., Any]:
    """Return a class's `forward` or `backward`.

    Raises
    ------
    NotImplementedError
        If it has none; the message names the class and the method.
    """
    found = getattr(cls, name, None)
    if found is None:
        msg = f"{cls.__name__}: {name} is not defined"  # function-30
        raise NotImplementedError(msg)
    return found


def as_outputs(name: str, returned: Any) -> tuple[tuple[Array, ...], bool]:
    """Return raw arrays of what `forward` returned, and whether that was a tuple."""
    many = isinstance(returned, tuple)
    outputs = []
    for place, item in enumerate(returned if many else (returned,)):
        out = raw(item)
        if not isinstance(out, jax.Array):
            msg = (
                f"{name}: forward must return a raw array or a tuple of them, "
                f"got a {type(out).__name__} as output {place}"
            )
            raise TypeError(msg)
        check_dtype(f"{name}: forward", out.dtype)  # tensor-37
        outputs.append(out)
    return tuple(outputs), many


def differentiable(ctx: Context, outputs: Sequence[Array]) -> tuple[bool, ...]:
    """Tell which outputs have a gradient: floating or complex, and not marked."""
    marked = [raw(m) for m in ctx._non_differentiable]
    return tuple([is_inexact(out.dtype) and not any(out is m for m in marked) for out in outputs])


def fill(
    grads: Sequence[Array | None], outputs: Any, flags: Sequence[bool], materialize: bool
) -> list[Array | None]:
    """Put zeros where no gradient came, if the Function wants them."""
    return [
        grad if flag and grad is not None else jnp.zeros(*aval) if materialize else None
        for grad, aval, flag in zip(grads, outputs, flags, strict=True)
    ]


def check_gradients(
    name: str, returned: Any, mask: Mask, inputs: Sequence[Any]
) -> list[Array | None]:
    """Check the number, shapes and dtypes of what `backward` returned.

    Parameters
    ----------
    inputs
        The positional inputs, raw.

    Raises
    ------
    ValueError
        If the number or a shape is wrong.
    TypeError
        If a dtype is wrong, or something is neither array nor None.
    """
    grads = list(returned) if isinstance(returned, tuple | list) else [returned]
    wanted = len(inputs)
    if len(grads) != wanted:
        if len(grads) > wanted or any(v is not None for v in inputs[len(grads) :]):
            msg = (
                f"{name}: backward returned {len(grads)} gradients, expected {wanted}, "
                "one per positional input"
            )
            raise ValueError(msg)
        grads += [None] * (wanted - len(grads))
    return [
        _check_gradient(name, place, grad, array) if needed and grad is not None else None
        for place, (grad, array, needed) in enumerate(zip(grads, inputs, mask, strict=True))
    ]


def _check_gradient(name: str, place: int, returned: Any, array: Array) -> Array:
    grad = raw(returned)
    if not isinstance(grad, jax.Array):
        msg = (
            f"{name}: backward must return a raw array or None for input {place}, "
            f"got a {type(grad).__name__}"
        )
        raise TypeError(msg)
    if grad.shape != array.shape:
        msg = (
            f"{name}: the gradient of input {place} has shape {grad.shape}, expected {array.shape}"
        )
        raise ValueError(msg)
    if grad.dtype != array.dtype:
        msg = (
            f"{name}: the gradient of input {place} has dtype {grad.dtype}, expected {array.dtype}"
        )
        raise TypeError(msg)
    return grad


def is_once(cls: type[Any]) -> bool:
    """Tell whether `backward` was decorated with `once_differentiable`."""
    return getattr(getattr(cls, "backward", None), "_once_differentiable", False)


def cut_message(name: str) -> str:
    """Return the message of a second derivative through a value that was taken out."""
    return (
        f"{name}: forward or backward takes a value out of the graph (by numpy(), item(), float() "
        "or a condition), so it has no second derivative; use ctx.xp, give a composite or mark "
        "backward once_differentiable"
    )


def _told(name: str, run: Callable[[], Any]) -> Any:
    """Run a method; where it reads a value that is another for each slice of `vmap`, say so."""
    try:
        return run()
    except jax.errors.JAXTypeError as error:
        if MAPPING.tracer is None:
            raise
        raise RuntimeError(read_message(name)) from error  # autograd-53


def read_message(name: str) -> str:
    """Return the message of a Function that reads what is another value for each slice."""
    return (
        f"{name}: within vmap forward and backward run for all slices at once, and must not read "
        "a value (by item(), float(), NumPy or a condition); use ctx.xp"
    )


def once_message(name: str) -> str:
    """Return the message of a second derivative refused by `once_differentiable`."""
    return (
        f"{name}: backward is once_differentiable, so it has no second derivative; "
        "remove the decorator to have one"
    )
