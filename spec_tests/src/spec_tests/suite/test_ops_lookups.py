"""Chapter ops: a lookup that finds nothing."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.changes import own_class
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(4)

# Names under which indexing may speak of itself.
INDEXING = ("index", "getitem", "x[")
LOOKUPS: dict[str, tuple[Callable[[Any, Any], Any], Any, int, int]] = {
    "x[3]": (lambda nn, x: x[3], INDEXING, 3, 3),
    "x[-4]": (lambda nn, x: x[-4], INDEXING, -4, 3),
    "x[0, 4]": (lambda nn, x: x[0, 4], INDEXING, 4, 4),
    "x[:, -5]": (lambda nn, x: x[:, -5], INDEXING, -5, 4),
    "x[..., 9]": (lambda nn, x: x[..., 9], INDEXING, 9, 4),
    "x[np.int64(7)]": (lambda nn, x: x[np.int64(7)], INDEXING, 7, 3),
    "x[[0, 3]]": (lambda nn, x: x[[0, 3]], INDEXING, 3, 3),
    "x[[-4, 0]]": (lambda nn, x: x[[-4, 0]], INDEXING, -4, 3),
    "x[[0, 1], [0, 4]]": (lambda nn, x: x[[0, 1], [0, 4]], INDEXING, 4, 4),
    "x[:, [5]]": (lambda nn, x: x[:, [5]], INDEXING, 5, 4),
    "x[Tensor]": (lambda nn, x: x[nn.tensor([1, 30])], INDEXING, 30, 3),
    "x[NumPy array]": (lambda nn, x: x[np.array([1, 30])], INDEXING, 30, 3),
    "x[places]": (lambda nn, x: x[nn.tensor([[1, 2], [0, 3]])], INDEXING, 3, 3),
    "take": (lambda nn, x: take(nn, x, [0, 3], 0), ("take",), 3, 3),
    "take, axis 1": (lambda nn, x: take(nn, x, [4], 1), ("take",), 4, 4),
    "take, negative": (lambda nn, x: take(nn, x, [0, -4], 0), ("take",), -4, 3),
    "take, last axis": (lambda nn, x: take(nn, x, [-5, 1], -1), ("take",), -5, 4),
    "take, NumPy": (lambda nn, x: nn.ops.take(x, np.array([11]), axis=0), ("take",), 11, 3),
    "take, int32": (
        lambda nn, x: nn.ops.take(x, nn.tensor([2**31 - 1], dtype=nn.int32), axis=0),
        ("take",),
        2**31 - 1,
        3,
    ),
    "take, far": (lambda nn, x: take(nn, x, [2**62], 0), ("take",), 2**62, 3),
    "take of nothing": (lambda nn, x: take(nn, x[:0], [0], 0), ("take",), 0, 0),
    "Embedding": (lambda nn, x: lookup(nn, x, [0, 3]), ("Embedding",), 3, 3),
    "Embedding, negative": (lambda nn, x: lookup(nn, x, [[-4]]), ("Embedding",), -4, 3),
    "Embedding, one": (lambda nn, x: lookup(nn, x, 5), ("Embedding",), 5, 3),
}


def take(nn: Any, x: Any, index: Any, axis: int) -> Any:
    return nn.ops.take(x, nn.tensor(index), axis=axis)


def lookup(nn: Any, weight: Any, index: Any) -> Any:
    """Look up in an Embedding of the weight (3, 4)."""
    return nn.functional_call(nn.Embedding(3, 4), {"weight": weight}, nn.tensor(index))


@pytest.mark.parametrize("name", LOOKUPS)
@clause("ops-29")
def test_an_index_out_of_range(nn: Any, name: str) -> None:
    call, names, index, length = LOOKUPS[name]
    for x in (tensor(nn, normal((3, 4), "float32")), nn.tensor(np.arange(12).reshape(3, 4))):
        before = to_numpy(nn, x).copy()
        if own_class(nn) and names is INDEXING:
            # Its own words; from the device's side of an index it may not know the number.
            with pytest.raises(IndexError):
                call(nn, x)
        elif name.startswith("Embedding") and not x.requires_grad:
            continue
        else:
            with refuses(IndexError, names, index, length):
                call(nn, x)
        exactly(nn, x, before)


@clause("ops-29", "nn-04")
def test_an_embedding_names_the_index(nn: Any) -> None:
    table = nn.Embedding(5, 2)
    for index in (5, -6, 17):
        with refuses(IndexError, "Embedding", index, 5):
            table(nn.tensor([0, index]))
    assert table.weight.grad is None


COMPILED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "take": lambda nn, x, i: nn.ops.take(x, i, axis=0),
    "take, axis 1": lambda nn, x, i: nn.ops.take(x, i, axis=1).T,
    "x[i]": lambda nn, x, i: x[i],
    "x[:, i]": lambda nn, x, i: x[:, i].T,
    "x[i, 1:]": lambda nn, x, i: x[i, 1:],
    "x[i, i]": lambda nn, x, i: x[i, i],
    "x[i] one by one": lambda nn, x, i: nn.ops.stack([x[i[0]], x[i[1]], x[i[2]], x[i[3]]]),
    "Embedding": lambda nn, x, i: nn.functional_call(nn.Embedding(3, 3), {"weight": x}, i),
}
INDEX = np.array([2, 3, -4, 0])
FOUND = [True, False, False, True]


def compiled_or_refused(call: Callable[[], Any]) -> Any:
    """Return what a call gives, or None where `jit` runs as it is and the lookup is refused."""
    try:
        return call()
    except IndexError as error:
        assert_names(str(error))
        return None


def assert_names(message: str) -> None:
    assert "3" in message, f"got {message!r} but should name the index and the length"


@pytest.mark.parametrize("name", COMPILED)
@clause("ops-29", needs="jit")
def test_a_compiled_lookup_gives_no_other_row(nn: Any, name: str) -> None:
    call = COMPILED[name]
    compiled = nn.jit(partial(call, nn))
    x = normal((3, 3), "float32")
    right = to_numpy(nn, call(nn, nn.tensor(x), nn.tensor(np.array([2, 1, 1, 0]))))
    got = compiled_or_refused(lambda: compiled(nn.tensor(x), nn.tensor(INDEX)))
    if got is None:
        return
    want = right.copy()
    want[~np.array(FOUND)] = np.nan
    exactly(nn, got, want, call=f"compiled {name}")


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@clause("ops-29", needs="jit")
def test_a_compiled_lookup_of_integers(nn: Any, dtype: str) -> None:
    x = np.arange(9).reshape(3, 3).astype(dtype)
    for name, call in COMPILED.items():
        if name == "Embedding":
            continue
        compiled = nn.jit(partial(call, nn))
        got = compiled_or_refused(partial(compiled, nn.tensor(x), nn.tensor(INDEX)))
        if got is None:
            continue
        want = to_numpy(nn, call(nn, nn.tensor(x), nn.tensor(np.array([2, 1, 1, 0])))).copy()
        want[~np.array(FOUND)] = np.iinfo(dtype).min
        exactly(nn, got, want, call=f"compiled {name}, {dtype}")


@pytest.mark.parametrize("name", COMPILED)
@clause("ops-29", needs="jit")
def test_a_compiled_lookup_has_no_other_gradient(nn: Any, name: str) -> None:
    call = COMPILED[name]

    def weighted(x: Any, i: Any, weight: Any) -> Any:
        y = call(nn, x, i)
        return nn.ops.sum(y * (weight if y.ndim == 1 else nn.ops.expand_dims(weight, 1)))

    x = nn.tensor(normal((3, 3), "float32"))
    weight = np.arange(1.0, 5.0).astype("float32")
    slope = nn.jit(nn.grad(weighted))
    got = compiled_or_refused(lambda: slope(x, nn.tensor(INDEX), nn.tensor(weight)))
    if got is None:
        return
    # What is found weighs the same; the rest stands on a row of weight 0.
    found = nn.tensor((weight * FOUND).astype("float32"))
    want = to_numpy(nn, nn.grad(weighted)(x, nn.tensor(np.array([2, 2, 2, 0])), found))
    agrees(nn, got, want, "gradient", call=f"compiled {name}", dtype="float32")


@clause("ops-29", needs="jit")
def test_what_is_in_range_is_found_under_jit(nn: Any) -> None:
    x = normal((3, 3), "float32")
    index = np.array([2, 0, -1, -3])
    for name, call in COMPILED.items():
        compiled = nn.jit(partial(call, nn))
        # An Embedding counts nothing from the end.
        indices = nn.tensor(index if name != "Embedding" else index % 3)
        got = compiled(nn.tensor(x), indices)
        want = to_numpy(nn, call(nn, nn.tensor(x), indices))
        exactly(nn, got, want, call=f"compiled {name}")
