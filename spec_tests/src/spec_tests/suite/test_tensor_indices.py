"""The chapter ``tensor``: indices in every spelling and of every integer dtype."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, own, raw, refuses, tensor
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(4)

# How a key is written, and what NumPy takes for the same selection from an array (4, 3).
PAIRS = np.array([[0, 1], [1, 0]])
MASK = [True, False, True, False]
SPELLINGS: dict[str, tuple[Any, Any]] = {
    "[[0, 0]]": ([0, 0], np.array([0, 0])),
    "[(0, 0),]": (((0, 0),), np.array([0, 0])),
    "[[0, 0], :]": (([0, 0], slice(None)), np.array([0, 0])),
    "[:, [0, 0]]": ((slice(None), [0, 0]), (slice(None), np.array([0, 0]))),
    "[:, (2, 2)]": ((slice(None), (2, 2)), (slice(None), np.array([2, 2]))),
    "[..., [1, 1]]": ((..., [1, 1]), (..., np.array([1, 1]))),
    "[None, [3, 3]]": ((None, [3, 3]), (None, np.array([3, 3]))),
    "[[0, 0], 1:]": (([0, 0], slice(1, None)), (np.array([0, 0]), slice(1, None))),
    "[[-1, 3, -4]]": ([-1, 3, -4], np.array([-1, 3, -4])),
    "[0, [1, 1]]": ((0, [1, 1]), (0, np.array([1, 1]))),
    "[[2, 2], 1]": (([2, 2], 1), (np.array([2, 2]), 1)),
    "[[0, 0], [1, 1]]": (([0, 0], [1, 1]), (np.array([0, 0]), np.array([1, 1]))),
    "[((0, 1), (1, 1))]": (((0, 1), (1, 1)), (np.array([0, 1]), np.array([1, 1]))),
    "[(0, 0), (2, 2)]": (((0, 0), (2, 2)), (np.array([0, 0]), np.array([2, 2]))),
    "[[0]]": ([0], np.array([0])),
    "[[np.int64(1), 1]]": ([np.int64(1), 1], np.array([1, 1])),
    "[[]]": ([], np.array([], np.int64)),
    "[:, []]": ((slice(None), []), (slice(None), np.array([], np.int64))),
    "[[True, False, True, False]]": (MASK, np.array(MASK)),
    "[:, [True, False, True]]": (
        (slice(None), [True, False, True]),
        (slice(None), np.array([True, False, True])),
    ),
    "[range(3)]": (range(3), np.arange(3)),
    "[range(3, 0, -2), 1:]": (
        (range(3, 0, -2), slice(1, None)),
        (np.array([3, 1]), slice(1, None)),
    ),
    "[[False] * 4]": ([False] * 4, np.array([False] * 4)),
}
NESTED: dict[str, tuple[Any, Any]] = {
    "[[[0, 1], [1, 0]]]": ([[0, 1], [1, 0]], PAIRS),
    "[[(0, 1), (1, 0)]]": ([(0, 1), (1, 0)], PAIRS),
    "[[[0, 0]]]": ([[0, 0]], np.array([[0, 0]])),
    "[[[0, 1], [1, 0]], :]": (([[0, 1], [1, 0]], slice(None)), PAIRS),
    "[:, [[0, 1], [1, 0]]]": ((slice(None), [[0, 1], [1, 0]]), (slice(None), PAIRS)),
    "[[[[0]], [[0]]]]": ([[[0]], [[0]]], np.array([[[0]], [[0]]])),
    "[[[1, 1]], [2, 2]]": (([[1, 1]], [2, 2]), (np.array([[1, 1]]), np.array([2, 2]))),
    "[nested mask]": (
        [[True, False, True]] * 4,
        np.array([[True, False, True]] * 4),
    ),
}


def check(nn: Any, x: Any, leaf: Any, key: Any, want: Any, call: str) -> None:
    """Compare a selection and its gradient, in which repeated indices accumulate."""
    array = leaf.detach().numpy()
    got = x[key]
    exactly(nn, got, array[want], call=call)
    cotangent = normal(array[want].shape, array.dtype.name, seed=1)
    leaf.grad = None
    got.backward(nn.tensor(cotangent))
    slope = np.zeros(array.shape)
    np.add.at(slope, want, cotangent.astype("float64"))
    agrees(nn, leaf.grad, slope, "reduction", call=f"gradient of {call}", dtype=array.dtype.name)


@clause("tensor-35", "tensor-24")
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_repeated_indices_in_every_spelling(nn: Any, dtype: str, spelling: str) -> None:
    key, want = SPELLINGS[spelling]
    leaf = tensor(nn, normal((4, 3), dtype))
    check(nn, leaf, leaf, key, want, f"x{spelling}")
    check(nn, leaf * 1.0, leaf, key, want, f"(x * 1){spelling}")


@clause("tensor-35")
@pytest.mark.parametrize("spelling", NESTED)
def test_nested_lists_are_one_array(nn: Any, dtype: str, spelling: str) -> None:
    key, want = NESTED[spelling]
    leaf = tensor(nn, normal((4, 3), dtype))
    check(nn, leaf, leaf, key, want, f"x{spelling}")
    if own(nn):
        check(nn, leaf * 1.0, leaf, key, want, f"(x * 1){spelling}")


KINDS: dict[str, Callable[[Any, np.ndarray], Any]] = {
    "NumPy arrays": lambda nn, array: array,
    "raw arrays": raw,
    "Tensors": lambda nn, array: nn.tensor(array),
    "lists": lambda nn, array: array.tolist(),
}


@clause("tensor-35", "tensor-24")
@pytest.mark.parametrize("kind", KINDS)
def test_repeated_indices_of_every_kind(nn: Any, dtype: str, kind: str) -> None:
    rows, columns = np.array([0, 2, 0]), np.array([1, 1, 1])
    leaf = tensor(nn, normal((4, 3), dtype))
    i, j = KINDS[kind](nn, rows), KINDS[kind](nn, columns)
    for key, want, text in (
        (i, rows, "x[i]"),
        ((i,), rows, "x[i,]"),
        ((i, slice(None)), rows, "x[i, :]"),
        ((slice(None), j), (slice(None), columns), "x[:, j]"),
        ((i, j), (rows, columns), "x[i, j]"),
        ((i, 1), (rows, 1), "x[i, 1]"),
    ):
        check(nn, leaf, leaf, key, want, f"{text}, {kind}")
    mask = np.array(MASK)
    check(nn, leaf, leaf, KINDS[kind](nn, mask), mask, f"x[mask], {kind}")


@clause("tensor-35")
def test_take_of_every_spelling(nn: Any, dtype: str) -> None:
    array = normal((4, 3), dtype)
    rows = np.array([0, 2, 0])
    for make in KINDS.values():
        if make is KINDS["lists"]:
            continue
        leaf = tensor(nn, array)
        got = nn.ops.take(leaf, make(nn, rows), axis=0)
        exactly(nn, got, array[rows], call="take")
        nn.ops.sum(got).backward()
        want = np.repeat([[2.0], [0.0], [1.0], [0.0]], 3, axis=1)
        exactly(nn, leaf.grad, want, call="gradient of take")


LENGTH = 300
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
TORCH_NAMES = {"int8": "char", "int16": "short", "int32": "int", "int64": "long", "uint8": "byte"}


def indices_of(name: str) -> np.ndarray:
    """Return indices into an axis of LENGTH, some twice, up to the ends of what the dtype holds."""
    highest = min(LENGTH - 1, int(np.iinfo(name).max))
    return np.array([0, highest, 5, 0, highest] if name[0] == "u" else [0, -1, 5, -100, -1], name)


def raw_indices(nn: Any, array: np.ndarray) -> Any:
    """Return a raw array of the dtype, or None where the backend has none such."""
    plain, name = raw(nn, array.astype("int64")), array.dtype.name
    if hasattr(plain, "astype"):
        with warnings.catch_warnings():
            # A backend that is set to 32 bits says that it takes these.
            warnings.simplefilter("ignore")
            return plain.astype(name)
    return getattr(plain, TORCH_NAMES[name])() if name in TORCH_NAMES else None


def index_forms(nn: Any, name: str, *, as_index: bool) -> list[Any]:
    """Return the indices as a NumPy array and as a raw array, where they are taken as such."""
    array = indices_of(name)
    forms = [array]
    if own(nn) or not as_index or name in {"int32", "int64"}:
        forms.append(raw_indices(nn, array))
    return [form for form in forms if form is not None]


@clause("tensor-36")
@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_dtype_indexes(nn: Any, name: str) -> None:
    leaf = tensor(nn, normal((LENGTH, 2), "float32"))
    wide = tensor(nn, normal((2, LENGTH), "float32"))
    want = indices_of(name).astype("int64")
    for form in index_forms(nn, name, as_index=True):
        call = f"{type(form).__name__} of {name}"
        check(nn, leaf, leaf, form, want, f"x[i], {call}")
        check(nn, leaf, leaf, (form, 1), (want, 1), f"x[i, 1], {call}")
        check(nn, wide, wide, (slice(None), form), (slice(None), want), f"x[:, i], {call}")
        check(nn, leaf, leaf, form[None], want[None], f"x[i[None]], {call}")
        if own(nn):
            check(nn, leaf * 1.0, leaf, form, want, f"(x * 1)[i], {call}")


@clause("tensor-36", "tensor-39")
@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_scalar_indexes(nn: Any, name: str) -> None:
    leaf = tensor(nn, normal((LENGTH, 2), "float32"))
    for scalar in set(indices_of(name)):
        number = int(scalar)
        check(nn, leaf, leaf, scalar, number, f"x[{name}({number})]")
        check(nn, leaf, leaf, (scalar, 1), (number, 1), f"x[{name}({number}), 1]")
        check(nn, leaf, leaf, slice(None, scalar), slice(None, number), f"x[:{name}({number})]")
    scalars = list(indices_of(name))
    check(nn, leaf, leaf, scalars, indices_of(name).astype("int64"), f"x[list of {name}]")


@clause("tensor-36")
@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_dtype_takes(nn: Any, name: str) -> None:
    array = normal((LENGTH, 2), "float32")
    want = indices_of(name).astype("int64")
    for form in index_forms(nn, name, as_index=False):
        call = f"{type(form).__name__} of {name}"
        for axis, whole in ((0, array), (1, np.ascontiguousarray(array.T)), (-1, array.T.copy())):
            leaf = tensor(nn, whole)
            got = nn.ops.take(leaf, form, axis=axis)
            exactly(nn, got, np.take(whole, want, axis=axis), call=f"take, {call}")
            got.backward(nn.ones(got.shape, dtype=nn.float32))
            slope = np.zeros(whole.shape, np.float32)
            key: Any = want if axis == 0 else (slice(None), want)
            np.add.at(slope, key, np.float32(1))
            exactly(nn, leaf.grad, slope, call=f"gradient of take, {call}")
        flat = tensor(nn, array[:, 0])
        exactly(nn, nn.ops.take(flat, form), array[want, 0], call=f"take of one axis, {call}")


@clause("tensor-36")
@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_dtype_looks_up(nn: Any, name: str) -> None:
    layer = nn.Embedding(LENGTH, 2, padding_idx=0)
    table = normal((LENGTH, 2), "float32")
    layer.load_state_dict({"weight": table})
    array = np.abs(indices_of(name).astype("int64")).astype(name)
    want = array.astype("int64")
    forms = [array, raw_indices(nn, array)]
    for form in [form for form in forms if form is not None]:
        call = f"Embedding, {type(form).__name__} of {name}"
        layer.zero_grad()
        got = layer(form)
        exactly(nn, got, table[want], call=call)
        nn.ops.sum(got).backward()
        slope = np.zeros((LENGTH, 2), np.float32)
        np.add.at(slope, want, np.float32(1))
        slope[0] = 0
        exactly(nn, layer.weight.grad, slope, call=f"gradient of {call}")


@clause("tensor-36")
@pytest.mark.parametrize("name", INTEGERS)
def test_every_integer_dtype_names_a_class(nn: Any, name: str) -> None:
    array = np.abs(indices_of(name).astype("int64")).astype(name)
    logits = normal((5, LENGTH), "float32")
    results = []
    forms = [array.astype("int64"), array, raw_indices(nn, array)]
    for form in [form for form in forms if form is not None]:
        x = tensor(nn, logits)
        loss = nn.loss.cross_entropy(x, form)
        loss.backward()
        results.append((loss.detach().numpy(), x.grad.numpy()))
    for value, slope in results[1:]:
        exactly(nn, value, results[0][0], call=f"cross_entropy, target {name}")
        exactly(nn, slope, results[0][1], call=f"gradient of cross_entropy, target {name}")


@clause("tensor-36", "nn-05", "loss-05")
@pytest.mark.parametrize(
    ("name", "number"),
    [("int8", -1), ("uint8", 200), ("uint16", 65535), ("uint64", 2**63 + 1), ("uint64", 2**64 - 1)],
)
def test_narrow_indices_out_of_range(nn: Any, name: str, number: int) -> None:
    array = np.array([0, number], name)
    with refuses(IndexError, "Embedding", str(number), "100"):
        nn.Embedding(100, 2)(array)
    with refuses((ValueError, IndexError), "cross_entropy", str(number), "100"):
        nn.loss.cross_entropy(nn.zeros((2, 100)), array)
    if number > 0:
        with refuses(IndexError, "take", str(number), "100"):
            nn.ops.take(nn.zeros((100,)), array)
