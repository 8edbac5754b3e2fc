"""Values that change between an operation and its backward, and what may come of it."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from spec_tests.judge import tables
from spec_tests.support.assertions import agrees, raw, tensor, to_numpy

# A way is called with a Tensor before the operation; what it returns makes the change, afterwards.
Way = Callable[[Any, Any], Callable[[np.ndarray], None]]
# What a class of the backend's own says of a Tensor that was written into.
_OWN_WORDS = ("modified by an inplace operation", "modified inplace", "version")
# How a raw array says that it is not to be written into; then nothing has changed.
_UNWRITABLE = (TypeError, ValueError, RuntimeError)


class Refusal(NamedTuple):
    """What a refusal to use changed values may say: one of `names`, and one of `shapes`."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def can_write(nn: Any) -> bool:
    """Return whether the backend's arrays can be written into."""
    # An array that no Tensor has seen, so that it is the backend that answers.
    array = raw(nn, np.zeros(1, np.float32)) + 1
    try:
        array[...] = 1
    except (TypeError, ValueError, RuntimeError):
        return False
    return True


def own_class(nn: Any) -> bool:
    """Return whether Tensor is the backend's own class."""
    return isinstance(raw(nn, np.zeros(1, np.float32)), nn.Tensor)


def write(nn: Any, array: Any, values: np.ndarray) -> None:
    """Write `values` into a raw array; one that is kept from being written stays as it is."""
    with suppress(*_UNWRITABLE):
        array[...] = raw(nn, np.asarray(values).astype(to_numpy(nn, array).dtype))


def assign(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Assign to ``data``."""

    def change(values: np.ndarray) -> None:
        t.data = raw(nn, values)

    return change


def assign_to_alias(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Assign to ``data`` of a Tensor that shares the values."""
    alias = t.detach()

    def change(values: np.ndarray) -> None:
        alias.data = raw(nn, values)

    return change


def write_before(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Write into what ``data`` gave before the operation."""
    array = t.data
    return lambda values: write(nn, array, values)


def write_after(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Write into what ``data`` gives after the operation."""
    return lambda values: write(nn, t.data, values)


def write_detached(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Write into what ``detach`` gave before the operation."""
    array = detached(nn, t)
    return lambda values: write(nn, array, values)


def write_detached_after(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Write into what ``detach`` gives after the operation."""
    return lambda values: write(nn, detached(nn, t), values)


def detached(nn: Any, t: Any) -> Any:
    """Return the raw array of what ``detach`` gives; a Tensor of the backend's own class is one."""
    return t.detach() if own_class(nn) else t.detach().data


def write_part(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Write into the last elements alone, through a view of the raw array."""
    array = t.data

    def change(values: np.ndarray) -> None:
        if array.ndim:
            write(nn, array[-1:], np.asarray(values)[-1:])
        else:
            write(nn, array, values)

    return change


def scale_in_place(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Multiply the raw array in place, whatever the values."""
    array = t.data

    def change(values: np.ndarray) -> None:
        scaled = array
        with suppress(*_UNWRITABLE):
            scaled *= 3

    return change


def initialize(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Call a function of ``init``, whatever the values."""
    return lambda values: nn.init.constant_(t, 7.0)


def load(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Load a state dict into a Module that has the Tensor."""
    module = nn.Module()
    if isinstance(t, nn.Parameter):
        module.it = t
    else:
        module.register_buffer("it", t)
    return lambda values: module.load_state_dict({"it": values})


def step(nn: Any, t: Any, make: str = "SGD") -> Callable[[np.ndarray], None]:
    """Let an optimizer take a step."""
    optimizer = getattr(nn.optim, make)([t], lr=1.0)

    def change(values: np.ndarray) -> None:
        nn.ops.sum(t * 2).backward()
        optimizer.step()
        optimizer.zero_grad()

    return change


def step_of_adam(nn: Any, t: Any) -> Callable[[np.ndarray], None]:
    """Let Adam take a step."""
    return step(nn, t, "Adam")


WRITES: dict[str, Way] = {
    "a write into what data gave": write_before,
    "a write into what data gives": write_after,
    "a write into what detach gave": write_detached,
    "a write into what detach gives": write_detached_after,
    "a write into a part": write_part,
    "a product in place": scale_in_place,
}
ASSIGNMENTS: dict[str, Way] = {
    "assignment to data": assign,
    "assignment to data of an alias": assign_to_alias,
}
CALLS: dict[str, Way] = {"init": initialize, "load_state_dict": load}
# Where the class of results is the backend's own, it alone decides what its ``data`` is tied to.
UNTIED = (assign, write_before, write_after, write_part, scale_in_place)
STEPS: dict[str, Way] = {"SGD": step, "Adam": step_of_adam}


def ways(nn: Any, *tables: dict[str, Way]) -> dict[str, Way]:
    """Return the ways of all tables; no writes where arrays cannot change."""
    chosen = {name: way for table in tables for name, way in table.items()}
    return chosen if can_write(nn) else {n: w for n, w in chosen.items() if n not in WRITES}


class Scene(NamedTuple):
    """Leaves, and an operation: ``call(*leaves)`` gives a Tensor."""

    leaves: list[Any]
    call: Callable[..., Any]


def anything(*more: str) -> tuple[str, ...]:
    """Return the names that an operation inside a larger one can have."""
    chapters = ("ops", "linalg", "nn", "loss")
    of_tables = (row.name for row in tables.read().values() if row.chapter in chapters)
    return (*of_tables, "RNN", "LSTM", "GRU", "indexing", "getitem", "index", *more)


def scene(nn: Any, call: Callable[..., Any], arrays: list[np.ndarray]) -> Callable[[], Scene]:
    """Return what makes the scene of one call, on leaves of these values."""
    return lambda: Scene([tensor(nn, array) for array in arrays], call)


def examine(
    nn: Any,
    build: Callable[[], Scene],
    names: tuple[str, ...],
    text: str,
    roles: tuple[str, ...] = ("leaf", "constant", "intermediate", "result"),
) -> None:
    """Change what takes part in an operation, in each way, between it and its backward.

    Parameters
    ----------
    nn : module
        The implementation.
    build : callable
        Makes the scene anew, each time with the same values.
    names : tuple of str
        What the operation may be called in a refusal.
    text : str
        The call as a reader would write it.
    roles : tuple of str
        What is changed: a leaf; a leaf that requires no grad; an intermediate Tensor in a leaf's
        place; the result.
    """
    __tracebackhide__ = True
    alike = ways(nn, WRITES, ASSIGNMENTS)
    if own_class(nn):
        alike = {name: way for name, way in alike.items() if way not in UNTIED}
    of_leaves = ways(nn, WRITES, ASSIGNMENTS, CALLS)
    tables_of_ways = {
        "leaf": {**of_leaves, "SGD": step},
        "constant": of_leaves,
        "intermediate": alike,
        "result": alike,
    }
    count = len(build().leaves)
    result = tuple(build().call(*build().leaves).shape)
    for role in roles:
        if role == "constant" and count == 1:
            continue
        for place in range(count if role != "result" else 1):
            slopes = _graph(nn, build(), role, place, None)()
            # Copies: no raw array that was given out is held while a call is made.
            want = [to_numpy(nn, slope).copy() for slope in slopes]
            del slopes
            shape = tuple(build().leaves[place].shape)
            shapes = (shape, result, *(slope.shape for slope in want))
            for name, way in tables_of_ways[role].items():
                said = f"{text}, {role} {place} changed by {name}"
                backward = _graph(nn, build(), role, place, way)
                gives_old_or_refuses(nn, backward, want, Refusal(names, shapes), said)


def _graph(
    nn: Any, scene: Scene, role: str, place: int, way: Way | None
) -> Callable[[], list[Any]]:
    """Make a graph, change what stands in a role, and return what runs it backward."""
    leaves = scene.leaves
    inputs = list(leaves)
    if role == "constant":
        leaves[place].requires_grad_(False)
    if role == "intermediate":
        inputs[place] = leaves[place] * 1
    change = way(nn, inputs[place]) if way and role != "result" else None
    y = scene.call(*inputs)
    if way and role == "result":
        change = way(nn, y)
    weight = np.random.default_rng(5).uniform(0.5, 1.5, y.shape).astype("float32")
    total = nn.ops.sum(y * nn.tensor(np.asarray(weight)))
    if change is not None:
        old = to_numpy(nn, y if role == "result" else inputs[place])
        # Signs and order change, so that a derivative at the new values would be another.
        change(np.asarray(-2 * old - 0.25, old.dtype))

    def backward() -> list[Any]:
        total.backward()
        return [leaf.grad for leaf in leaves if leaf.requires_grad]

    return backward


def gives_old_or_refuses(
    nn: Any,
    backward: Callable[[], Any],
    want: Any,
    refusal: Refusal,
    call: str,
) -> bool:
    """Compare what `backward` returns with the gradients at the old values, or its refusal.

    Parameters
    ----------
    nn : module
        The implementation.
    backward : callable
        Runs backward and returns one gradient, or a list of them.
    want : array or list of arrays
        The gradients at the values that the operations saw.
    refusal : Refusal
        What the message of the ``RuntimeError`` must name.
    call : str
        What was changed; it stands in the message of a failure.

    Returns
    -------
    bool
        Whether there was a gradient.
    """
    __tracebackhide__ = True
    try:
        got = backward()
    except RuntimeError as error:
        fault = _fault(nn, str(error), refusal)
        if fault:
            msg = f"{call}: {fault}"
            raise AssertionError(msg) from error
        return False
    pairs = zip(got, want, strict=True) if isinstance(want, list) else [(got, want)]
    for place, (gradient, old) in enumerate(pairs):
        agrees(
            nn, gradient, old, "gradient", call=f"{call}, gradient {place}", dtype=old.dtype.name
        )
    return True


def _fault(nn: Any, message: str, refusal: Refusal) -> str:
    if own_class(nn) and any(word in message for word in _OWN_WORDS):
        return ""
    if "\n" in message.strip():
        return f"got {message!r} but should be one line"
    words = "|".join(map(re.escape, refusal.names))
    if not re.search(rf"(?<![a-z])({words})(?![a-z])", message, re.IGNORECASE):
        return f"got {message!r} but should name {' or '.join(refusal.names[:5])}"
    if not any(str(shape) in message for shape in refusal.shapes):
        return f"got {message!r} but should name {' or '.join(map(str, refusal.shapes))}"
    return ""
