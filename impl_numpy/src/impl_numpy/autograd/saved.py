"""What is kept for backward, through the hands of the program (autograd-44)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from impl_numpy.checks import check_callable, shown
from impl_numpy.context import Context
from impl_numpy.dtypes import Array, Value, is_raw
from impl_numpy.function_node import FunctionNode
from impl_numpy.memory import arrays_in, readonly
from impl_numpy.tape import MODE, WATCHING, Node
from impl_numpy.tensor import Tensor, wrap

_NAME = "saved_tensors_hooks"


class saved_tensors_hooks:
    """Pass each floating array that is kept for backward through `pack`, and back by `unpack`.

    As torch.autograd.graph.saved_tensors_hooks: a context manager, of this thread.

    Parameters
    ----------
    pack : callable
        It gets a Tensor that does not require grad, when an operation keeps its array; what it
        returns, any object, is kept in the array's place.
    unpack : callable
        It gets that object in backward, and returns a Tensor or raw array of the same shape and
        dtype.

    Raises
    ------
    TypeError
        If either cannot be called; in backward, if `unpack` returns another kind or dtype.
    ValueError
        In backward, if it returns another shape.
    """

    def __init__(self, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Any]) -> None:
        check_callable(_NAME, "pack", pack)
        check_callable(_NAME, "unpack", unpack)
        self._pair = pack, unpack

    def __enter__(self) -> None:
        MODE.outside.append((self, MODE.pack))
        MODE.pack = partial(_keep, *self._pair)
        WATCHING.append(None)

    def __exit__(self, *error: object) -> None:
        WATCHING.pop()
        outside = MODE.outside
        k = -1
        while outside[k][0] is not self:
            k -= 1
        MODE.pack = outside.pop(k)[1]


class Packed:
    """What stands in the place of an array."""

    __slots__ = ("_unpack", "_view", "dtype", "held", "shape")

    def __init__(
        self, array: Array, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Any]
    ) -> None:
        self.shape, self.dtype = array.shape, array.dtype
        # It cannot be written, as the operation's own array could.
        view = readonly(array)
        # Alive, it says that what `pack` returned has this memory somewhere.
        self._view = weakref.ref(view)
        self._unpack = unpack
        self.held = _aside(pack, wrap(view, None))

    def array(self) -> Array:
        """Return what `unpack` makes of it, checked."""
        made = _aside(self._unpack, self.held)
        if not isinstance(made, Tensor) and not is_raw(made):
            msg = (
                f"{_NAME}: unpack must return a Tensor or raw array of shape {self.shape} and "
                f"dtype {self.dtype}, returned {shown(made)} ({type(made).__name__})"
            )
            raise TypeError(msg)
        if made.shape != self.shape:
            msg = f"{_NAME}: unpack must return shape {self.shape}, returned {made.shape}"
            raise ValueError(msg)
        if made.dtype != self.dtype:
            msg = f"{_NAME}: unpack must return dtype {self.dtype}, returned {made.dtype}"
            raise TypeError(msg)
        return readonly(made._data if isinstance(made, Tensor) else np.asarray(made))

    def kept(self) -> Iterator[Array]:
        """Yield the arrays that it is known to have, for a look at what was changed since."""
        view = self._view()
        if view is not None:
            yield view
        yield from arrays_in([self.held])


class PackedNode(Node):
    """An operation that kept other things in the place of arrays."""

    __slots__ = ()

    def values(self) -> tuple[Any, ...]:
        """Return what was saved, with arrays."""
        values: tuple[Any, ...] = _mapped(Packed, Packed.array, self.saved)
        return values

    def kept(self, record: bool) -> Iterator[Array]:  # noqa: ARG002
        """Yield the arrays that a pass through here is known to use."""
        return _kept(self.saved)


class PackedFunctionNode(FunctionNode):
    """The same of the application of a Function."""

    __slots__ = ()

    def values(self) -> tuple[Any, ...]:
        """Return what was saved, with arrays."""
        values: tuple[Any, ...] = _mapped(Packed, Packed.array, self.saved)
        return values

    def arguments(self) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return the inputs and the configuration, with arrays."""
        inputs, config = _mapped(Packed, Packed.array, (self.inputs, self.config))
        return inputs, config

    def pull(self, grad: Value) -> Sequence[Value | None]:
        """Call `backward`, with a ctx that has arrays."""
        MODE.retaining += 1
        try:
            return super().pull(grad)
        finally:
            MODE.retaining -= 1

    def _unspoilt(self) -> Context:
        ctx = super()._unspoilt()
        ctx._saved, ctx._recorded = self.values(), None
        return ctx

    def kept(self, record: bool) -> Iterator[Array]:
        """Yield the arrays that a pass through here is known to use."""
        if self.saved is not None:
            yield from _kept([self.saved, vars(self.ctx)])
            if record:
                yield from _kept([self.inputs, self.config])


def _keep(pack: Callable[[Tensor], Any], unpack: Callable[[Any], Any], node: Node) -> None:
    """Put other things in the place of what a node has just saved."""
    # An array that stands there more than once is packed once.
    known: dict[Any, Packed] = {}

    def packed(array: Array) -> Any:
        if array.dtype.kind not in "fc" or not array.ndim:
            return array
        start = array.__array_interface__["data"][0]
        key = (start, array.shape, array.strides, array.dtype)
        if key not in known:
            known[key] = Packed(array, pack, unpack)
        return known[key]

    if type(node) is Node:
        saved = _mapped(np.ndarray, packed, node.saved)
        if known:
            node.saved = saved
            node.__class__ = PackedNode
    elif type(node) is FunctionNode:
        parts = _mapped(np.ndarray, packed, (node.saved, node.inputs, node.config))
        if known:
            node.saved, node.inputs, node.config = parts
            node.ctx._saved = ()
            node.__class__ = PackedFunctionNode


def _aside(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call what the program gave; nothing that it computes is recorded or packed."""
    outside = MODE.recording, MODE.pack
    MODE.recording, MODE.pack = False, None
    try:
        return function(argument)
    finally:
        MODE.recording, MODE.pack = outside


def _mapped(kind: type, fn: Callable[[Any], Any], tree: Any) -> Any:
    """Replace what is of a kind in nested tuples, lists and dicts."""
    if isinstance(tree, kind):
        return fn(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[_mapped(kind, fn, x) for x in tree])
    if type(tree) is tuple or type(tree) is list:
        return type(tree)([_mapped(kind, fn, x) for x in tree])
    if type(tree) is dict:
        return {key: _mapped(kind, fn, x) for key, x in tree.items()}
    return tree


def _kept(saved: Any) -> Iterator[Array]:
    arrays: list[Array] = []
    plain = _mapped(Packed, lambda packed: arrays.extend(packed.kept()), saved)
    yield from arrays
    yield from arrays_in(plain)
