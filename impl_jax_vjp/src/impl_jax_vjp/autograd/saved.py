"""What operations keep for backward goes through the hands of a program.

Inside the block the tape shows every operation that was recorded. Its arrays are handed to `pack`,
and the node keeps what came back; a rule around its own asks `unpack` when backward runs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from ..checks import check_callable
from ..dtypes import is_inexact, make_array, native, x64, x64_is_on
from ..tape import MODE, Node, Traced, node_of, recording_set, wrap
from .modes import Switch

Array = Any
Hook = Callable[[Any], Any]


@contextmanager
def _apart(outside: bool) -> Iterator[None]:
    """Run a hook: nothing that it computes is recorded, shown to anyone, or part of a trace."""
    before = MODE.watch, MODE.capture
    MODE.watch, MODE.capture = (), None
    try:
        with recording_set(False), x64(outside):
            yield
    finally:
        MODE.watch, MODE.capture = before


class _Packed:
    """What stands for an array that was kept."""

    __slots__ = ("_array", "_held", "_name", "_outside", "_unpack", "dtype", "shape")

    def __init__(self, name: str, array: Array, pack: Hook, unpack: Hook) -> None:
        self._name = name
        # JAX's x64 mode as the program has it, in which both hooks run.
        self._outside = x64_is_on()
        self._unpack = unpack
        self.shape, self.dtype = array.shape, array.dtype
        # What computes it holds what it is computed of for as long as it runs: where the program
        # lets arrays go, no more than one of them is to wait.
        jax.block_until_ready(array)
        given = wrap(array)
        with _apart(self._outside):
            self._held = pack(given)
        # That this very Tensor has not changed can be told. # autograd-24
        self._array = array if self._held is given else None

    def open(self) -> Array:
        """Return the array, or what `unpack` gives in its place."""
        held, who = self._held, f"saved_tensors_hooks: unpack, for {self._name},"
        if self._array is not None and held._data is not self._array:
            msg = f"{self._name}: a Tensor of shape {self.shape} that was kept has been changed"
            raise RuntimeError(msg)
        with _apart(self._outside):
            came = self._unpack(held)
        array = native(came._data if isinstance(came, Traced) else came)
        if not isinstance(array, jax.Array | np.ndarray):
            msg = f"{who} must return a Tensor or a raw array, got {type(came).__name__}"
            raise TypeError(msg)
        if array.dtype != self.dtype:
            msg = f"{who} must return dtype {self.dtype}, got {array.dtype}"
            raise TypeError(msg)
        if array.shape != self.shape:
            msg = f"{who} must return shape {self.shape}, got {array.shape}"
            raise ValueError(msg)
        return array if isinstance(array, jax.Array) else make_array(array)  # tensor-33


class _Packer:
    """Sees that what a node keeps is packed, each array once."""

    def __init__(self, pack: Hook, unpack: Hook) -> None:
        self._pack = pack
        self._unpack = unpack

    def saw(self, name: str, _given: Sequence[Any], made: Any, _derived: bool = False, /) -> None:
        """Pack what was kept of an operation that was recorded."""
        node = node_of(made)
        if node is None:
            return
        rule: Any = node.rule
        saved = [] if node.saved is None else list(node.saved)
        kept = rule.kept() if hasattr(rule, "kept") else []
        if any([isinstance(array, jax.core.Tracer) for array in (*saved, *kept)]):
            return  # autograd-44: of a trace the result is packed, when the call is over.
        known: dict[int, _Packed] = {}

        def packed(array: Any) -> Any:
            if not isinstance(array, jax.Array) or not array.ndim or not is_inexact(array.dtype):
                return array
            if id(array) not in known:
                known[id(array)] = _Packed(name, array, self._pack, self._unpack)
            return known[id(array)]

        entries, saved = list(map(packed, kept)), list(map(packed, saved))
        if known:
            node.saved = None if node.saved is None else saved
            node.rule = _Stored(rule, entries, saved)


class _Stored:
    """A rule whose arrays are not there until it is asked."""

    __slots__ = ("_entries", "inner", "name")

    def __init__(self, rule: Any, entries: list[Any], saved: list[Any]) -> None:
        self.name = rule.name
        self._entries = entries
        self.inner = rule.holding(entries, saved) if hasattr(rule, "holding") else rule

    def _whole(self, saved: Any, reading: bool) -> tuple[Any, Any]:
        """Return the rule with its arrays, and those of the node, if they are read."""
        arrays: dict[int, Array] = {}

        def opened(entry: Any) -> Any:
            if not isinstance(entry, _Packed):
                return entry
            if id(entry) not in arrays:
                arrays[id(entry)] = entry.open()
            return arrays[id(entry)]

        kept = list(map(opened, self._entries))
        inputs = list(map(opened, saved)) if reading and saved is not None else saved
        holds = hasattr(self.inner, "holding")
        return (self.inner.holding(kept, inputs) if holds else self.inner), inputs

    def pull(self, saved: Any, grads: Sequence[Array | None], /) -> Sequence[Array | None]:
        """Return the gradients of the inputs, from what was unpacked."""
        rule, inputs = self._whole(saved, getattr(self.inner, "reads_inputs", True))
        pulled: Sequence[Array | None] = rule.pull(inputs, grads)
        jax.block_until_ready(pulled)  # As in `_Packed`.
        return pulled

    def derive(self, node: Node, grads: Sequence[Any], /) -> Sequence[Any]:
        """Return the gradients of the inputs, recorded on the tape, from what was unpacked."""
        rule, inputs = self._whole(node.saved, True)
        twin = SimpleNamespace(
            saved=inputs, targets=node.targets, slots=node.slots, count=node.count
        )
        pulled: Sequence[Any] = rule.derive(twin, grads)
        return pulled


class saved_tensors_hooks(Switch):
    """Let what operations keep for backward go through a program's hands, for a ``with`` block.

    Parameters
    ----------
    pack : callable
        ``pack(tensor)`` gets each floating or complex array that is kept, as a Tensor; what it
        returns is kept in its place.
    unpack : callable
        ``unpack(kept)`` gets that in `backward`, and returns a Tensor or a raw array of the same
        shape and dtype.

    Raises
    ------
    TypeError
        If one cannot be called; in `backward`, if `unpack` returns another kind or dtype.
    ValueError
        In `backward`, if it returns another shape.
    """

    def __init__(self, pack: Hook, unpack: Hook) -> None:
        super().__init__()
        check_callable("saved_tensors_hooks", "pack", pack)
        check_callable("saved_tensors_hooks", "unpack", unpack)
        self._flag = _Packer(pack, unpack)

    def _get(self) -> Any:
        return next((watcher for watcher in MODE.watch if type(watcher) is _Packer), None)

    def _put(self, value: Any) -> None:
        others = tuple([watcher for watcher in MODE.watch if type(watcher) is not _Packer])
        MODE.watch = others if value is None else (value, *others)


@contextmanager
def nothing_packed() -> Iterator[None]:
    """Keep arrays as they are in a block, whatever hooks there are."""
    before = MODE.watch
    MODE.watch = tuple([watcher for watcher in before if type(watcher) is not _Packer])
    try:
        yield
    finally:
        MODE.watch = before
