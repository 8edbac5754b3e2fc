"""What an operation may do while a transform or a compiler of torch looks on."""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active as transforms_are_active
from torch._C import _functorch
from torch._functorch.pyfunctorch import (
    retrieve_all_functorch_interpreters,
    temporarily_clear_interpreter_stack,
)
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.compiler import is_dynamo_compiling
from torch.utils._pytree import tree_flatten, tree_unflatten

from impl_torch_ext import random

__all__ = [
    "anywhere",
    "as_sample",
    "assert_later",
    "conjugated",
    "drawn_apart",
    "each_slice",
    "in_graph",
    "is_sliced",
    "keep_whole",
    "known_only_later",
    "numbers",
    "pushed_with",
    "pushes_forward",
    "readable",
    "save_for_forward",
    "slice_by_slice",
    "slices_missing",
    "transforms_are_active",
]

_Tangents: TypeAlias = Sequence[Tensor | None]


def readable(x: Tensor) -> Tensor | None:
    """Return a Tensor of the same numbers that can be read, None while a compiler looks on.

    Under `torch.vmap` it has those of all samples.
    """
    if torch.compiler.is_compiling():
        return None
    while _functorch.is_functorch_wrapped_tensor(x):
        x = _functorch.get_unwrapped(x)
    return x


def known_only_later() -> bool:
    """Return whether a compiler looks on, so that no number can be read."""
    return torch.compiler.is_compiling()


def numbers(x: Tensor) -> "np.ndarray[Any, Any]":
    """Return the numbers of `x`, of all samples under `torch.vmap`, as an array."""
    known = readable(x)
    assert known is not None
    with temporarily_clear_interpreter_stack():
        return known.detach().cpu().numpy()


def anywhere(x: Tensor) -> bool:
    """Return whether one of `x` is true, in any slice under `torch.vmap`, or may be."""
    known = readable(x)
    if known is None:
        return True
    if known is x:
        return bool(x.any())
    with temporarily_clear_interpreter_stack():
        return bool(known.any())


def is_sliced(*xs: Any) -> bool:
    """Return whether one of `xs` is a Tensor that depends on a slice of `torch.vmap`."""
    if not transforms_are_active():
        return False
    return any(isinstance(x, Tensor) and _functorch.is_batchedtensor(x) for x in xs)


def conjugated(x: Tensor) -> Tensor:
    """Return the conjugates; torch.vmap has no rule for torch's function of them."""
    return x.conj().resolve_conj() if is_sliced(x) else torch.conj_physical(x)


def each_slice(fn: Callable[..., Any], *args: Any) -> Any:
    """Call `fn` for one slice after the other of the innermost `torch.vmap`, and stack the results.

    It stands where what is done depends on values, of `args`: structures in which a Tensor
    depends on a slice. What is drawn is drawn once, for all of them. Tensors that `fn` takes from
    elsewhere may depend on a slice as well.
    """
    leaves, structure = tree_flatten(args)
    there = [x for x in leaves if is_sliced(x)]
    level = max(_functorch.maybe_get_level(x) for x in there)
    first = next(x for x in there if _functorch.maybe_get_level(x) == level)
    size = _functorch.get_unwrapped(first).shape[_functorch.maybe_get_bdim(first)]

    def of_slice(x: Any, i: int) -> Any:
        if not is_sliced(x) or _functorch.maybe_get_level(x) != level:
            return x
        return _functorch.get_unwrapped(x).select(_functorch.maybe_get_bdim(x), i)

    results: list[list[Any]] = []
    draws: Sequence[random.Draw] = ()
    for i in range(size):
        drawing = random.repeated("vmap", draws) if i else random.noted()
        with drawing as noted:
            found = fn(*tree_unflatten([of_slice(x, i) for x in leaves], structure))
        draws = draws if noted is None else noted
        flat, form = tree_flatten(found)
        results.append([of_slice(y, i) for y in flat])
    stacked = [as_sample(torch.stack(ys), level) for ys in zip(*results, strict=True)]
    return tree_unflatten(stacked, form)


def drawn_apart(name: str) -> dict[int, int]:
    """Return the levels of `torch.vmap` whose samples draw random numbers of their own, with sizes.

    Raises
    ------
    RuntimeError
        If `torch.vmap` was not told whether they are the same for all samples.
    """
    if not transforms_are_active():
        return {}
    levels = retrieve_all_functorch_interpreters()
    batches: list[Any] = [x for x in levels if x.key() == _functorch.TransformType.Vmap]
    if any(x.randomness() == "error" for x in batches):
        msg = (
            f"{name}: torch.vmap must be told what random numbers are, by randomness='same' or "
            "'different', got neither"
        )
        raise RuntimeError(msg)
    return {x.level(): x.batch_size() for x in batches if x.randomness() == "different"}


def as_sample(x: Tensor, level: int) -> Tensor:
    """Return `x`, whose first axis is that of the samples of a level, as one of them."""
    sample: Tensor = _functorch._add_batch_dim(x, 0, level)
    return sample


def assert_later(holds: Tensor, message: str) -> None:
    """Raise a RuntimeError when the compiled program runs, unless all of `holds` are true."""
    torch._assert_async(holds.all(), message)


class _Slices(threading.local):
    # Whether `vmap` runs for one slice in the place of none.
    missing = False


_slices = _Slices()
_told: set[type] = set()


@contextmanager
def slices_missing(missing: bool) -> Iterator[None]:
    """Note whether what `torch.vmap` runs for one slice stands for none."""
    before = _slices.missing
    _slices.missing = missing or before
    try:
        yield
    finally:
        _slices.missing = before


def slice_by_slice(function: type, cause: Exception) -> None:
    """Say, once for each Function, that it runs slice by slice under `vmap`.

    Raises
    ------
    ValueError
        If there are no slices.
    """
    name = function.__name__
    if _slices.missing:  # autograd-58
        msg = f"{name}: under vmap it runs slice by slice, so there must be slices, got none"
        raise ValueError(msg) from cause
    if function not in _told:  # autograd-53
        _told.add(function)
        warnings.warn(
            f"{name}: under vmap it runs slice by slice, as torch cannot map what it does to its "
            f"arrays: {' '.join(str(cause).split())}",
            UserWarning,
            stacklevel=2,
        )


def pushes_forward() -> bool:
    """Return whether forward-mode derivatives may be asked for."""
    return forward_ad._current_level >= 0


def save_for_forward(ctx: Any, *tensors: Tensor | None) -> None:
    """Keep Tensors for backward, and for jvp where that may come."""
    ctx.save_for_backward(*tensors)
    if forward_ad._current_level >= 0:
        ctx.save_for_forward(*tensors)


def pushed_with(rule: Callable[[Any, Sequence[Any], _Tangents], Any]) -> Callable[..., Any]:
    """Make the jvp of a `torch.autograd.Function` from `rule(ctx, saved, tangents)`.

    torch calls a jvp with forward-mode derivatives switched off, at the levels below too, which may
    be asked for them; and what was saved has the tangents of the level itself, which are not.
    """

    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        with _set_fwd_grad_enabled(True):
            saved = [None if x is None else _primal(x) for x in ctx.saved_tensors]
            return rule(ctx, saved, tangents)

    return jvp


def _primal(x: Tensor) -> Tensor:
    if _functorch.is_batchedtensor(x):  # torch has no rule for this one.
        place, level = _functorch.maybe_get_bdim(x), _functorch.maybe_get_level(x)
        return _functorch._add_batch_dim(_primal(_functorch.get_unwrapped(x)), place, level)
    primal: Tensor = forward_ad.unpack_dual(x).primal
    return primal


def keep_whole(owner: type) -> None:
    """Give `owner` a method `_whole`, its `_applied`, that torch.compile takes as one call.

    The compiler reads Python line by line, and refuses what a Function does: its forward writes to
    what lies outside of it, or has a jvp. So it puts the call into its graph as it is, and what
    comes after it (AOTAutograd) runs the call and its backward, and sees the operations of both.
    """
    if "_whole" in vars(owner):
        return
    from torch._dynamo import nonstrict_trace  # Seconds to import, and there where this is called.

    applied: Any = owner._applied  # type: ignore[attr-defined]

    def whole(*arguments: Any) -> Any:
        return applied(*arguments)

    whole.__name__ = owner.__name__
    owner._whole = staticmethod(nonstrict_trace(whole))  # type: ignore[attr-defined]


# The compiler calls it instead of reading it, as what torch.compiler.assume_constant_result marks;
# that would import the compiler here.
keep_whole._dynamo_marked_constant = True  # type: ignore[attr-defined]


def in_graph(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """Return `function.apply`, which torch.compile takes as one call.

    Where no transform looks on it is as quick as that of a Function without `setup_context`:
    torch's own asks for the signature of `forward` each time, to fill in defaults.
    """
    applied = function.apply
    bare: Callable[..., Any] = super(torch.autograd.Function, function).apply

    class Held:
        _applied = staticmethod(applied)
        _whole: ClassVar[Callable[..., Any]]

    def apply(*inputs: Any) -> Any:
        if is_dynamo_compiling():
            keep_whole(Held)
            return Held._whole(*inputs)
        if transforms_are_active():
            return applied(*inputs)
        return bare(*unwrap_dead_wrappers(inputs))

    return apply
