"""Hooks of what is kept for backward: a store that counts, and calls compared with and without."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spec_tests.support.assertions import agrees, exactly, to_numpy
from spec_tests.support.inputs import normal


class Store:
    """Hooks that keep copies of NumPy's, as a file would, and count what comes and goes."""

    def __init__(self, nn: Any) -> None:
        self.nn = nn
        self.shapes: list[tuple[int, ...]] = []
        self.fetched = 0

    def pack(self, t: Any) -> np.ndarray:
        """Copy what is kept."""
        assert isinstance(t, self.nn.Tensor)
        assert not t.requires_grad
        self.shapes.append(tuple(t.shape))
        return np.array(to_numpy(self.nn, t))

    def unpack(self, array: np.ndarray) -> Any:
        """Make a Tensor of the copy."""
        assert type(array) is np.ndarray
        self.fetched += 1
        return self.nn.tensor(array)

    def elements(self) -> int:
        """Return how many numbers were kept."""
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def hooks(self) -> Any:
        """Return the context manager."""
        return self.nn.saved_tensors_hooks(self.pack, self.unpack)


def slopes(nn: Any, call: Callable[[Any], Any], leaves: list[Any], hooks: Any) -> list[np.ndarray]:
    """Return the value of a call on the first leaf, made inside `hooks`, and its gradients."""
    for leaf in leaves:
        leaf.grad = None
    with hooks:
        y = call(leaves[0])
        y = y[0] if isinstance(y, tuple) else y
    weight = normal(tuple(y.shape), "float32", seed=5)
    nn.ops.sum(y * nn.tensor(np.asarray(weight))).backward()
    return [to_numpy(nn, t).copy() for t in (y, *(leaf.grad for leaf in leaves))]


def compare(nn: Any, call: Callable[[Any], Any], leaves: list[Any], name: str) -> Store:
    """Compare a call without hooks, with idle ones and with a store, which is returned."""
    __tracebackhide__ = True
    store = Store(nn)
    want = slopes(nn, call, leaves, nn.enable_grad())
    idle = nn.saved_tensors_hooks(lambda t: t, lambda t: t)
    for place, (got, known) in enumerate(zip(slopes(nn, call, leaves, idle), want, strict=True)):
        exactly(nn, got, known, call=f"{name}, idle hooks, result {place}")
    for place, (got, known) in enumerate(
        zip(slopes(nn, call, leaves, store.hooks()), want, strict=True)
    ):
        agrees(nn, got, known, "rnn", call=f"{name}, stored, result {place}", dtype="float32")
    return store
