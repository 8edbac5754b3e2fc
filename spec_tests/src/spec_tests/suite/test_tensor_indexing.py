"""Chapter tensor: indexing, reductions, shapes."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, own, raw, refuses, tensor
from spec_tests.support.inputs import distinct, in_double, normal, positive

pytestmark = pytest.mark.sampled(6)

BASIC = {
    "1": np.s_[1],
    "-1": np.s_[-1],
    "1:3": np.s_[1:3],
    "::2": np.s_[::2],
    "-3::3": np.s_[-3::3],
    "3:1": np.s_[3:1],
    ":, 2": np.s_[:, 2],
    "1, -2": np.s_[1, -2],
    "None": np.s_[None],
    "..., 0": np.s_[..., 0],
    "1:, None, ::2": np.s_[1:, None, ::2],
    "1, ..., None": np.s_[1, ..., None],
    "...": np.s_[...],
}


def selects_as_numpy(
    nn: Any, dtype: str, shape: tuple[int, ...], key: Any, index: Any, call: str
) -> None:
    """Compare values and gradient of ``x[index]`` with what NumPy selects by `key`."""
    array = normal(shape, dtype)
    want = array[key]
    weight = positive(want.shape, dtype, seed=1)
    # Sums of repeated selections are exact in these, so that gradients can be asked for exactly.
    weight = np.asarray(np.round(weight * 16) / 16, dtype)
    x = tensor(nn, array)
    y = x[index]
    exactly(nn, y, want, call=f"x {shape}, x[{call}]")
    y.backward(nn.tensor(weight))
    gradient = np.zeros(shape, dtype)
    np.add.at(gradient, key, weight)
    exactly(nn, x.grad, gradient, call=f"x {shape}, gradient of x[{call}]")


@pytest.mark.parametrize("call", BASIC)
@clause("tensor-21")
def test_basic_indexing(nn: Any, dtype: str, call: str) -> None:
    selects_as_numpy(nn, dtype, (4, 5), BASIC[call], BASIC[call], call)


@clause("tensor-22")
def test_boolean_masks(nn: Any, dtype: str) -> None:
    whole = distinct((3, 4)) > 0.2
    rows = np.array([True, False, True])
    columns = np.array([False, True, True, False])
    for make in (nn.tensor, lambda mask: raw(nn, mask)):
        selects_as_numpy(nn, dtype, (3, 4), whole, make(whole), "whole mask")
        selects_as_numpy(nn, dtype, (3, 4), rows, make(rows), "mask of the first axis")
        selects_as_numpy(nn, dtype, (3, 4), np.s_[:, columns], np.s_[:, make(columns)], ":, mask")
        selects_as_numpy(nn, dtype, (3, 4), ~whole & whole, make(~whole & whole), "empty mask")


@clause("tensor-22", "errors-02")
@pytest.mark.parametrize("shape", [(2,), (4,), (3, 3), (3, 5), (2, 4), (3, 4, 1)], ids=str)
def test_masks_that_do_not_fit(nn: Any, shape: tuple[int, ...]) -> None:
    x, mask = nn.tensor(normal((3, 4), "float32")), np.zeros(shape, bool)
    said = [("getitem:", "index:")] if own(nn) else []
    for given in (nn.tensor(mask), raw(nn, mask), mask, mask.tolist()):
        for key in (given, (given, ...), (None, given)):
            with refuses(IndexError, *said):
                x[key]


@clause("tensor-23", "errors-02")
def test_integer_arrays_that_do_not_broadcast(nn: Any) -> None:
    x, said = nn.tensor(normal((3, 4), "float32")), [("getitem:", "index:")] if own(nn) else []
    kinds: tuple[Any, ...] = (nn.tensor, np.array, list)
    for key in (([0, 1], [0, 1, 2]), ([[0, 1], [1, 0]], [0, 1, 2])):
        for make in kinds:
            with refuses(IndexError, *said):
                x[tuple(map(make, key))]


INTEGERS = {
    "i": (np.array([2, 0]),),
    "i, :": (np.array([2, 0]), np.s_[:]),
    "i, 1:3": (np.array([2, -1]), np.s_[1:3]),
    ":, i": (np.s_[:], np.array([3, 0, -2])),
    "1, i": (1, np.array([2, 0])),
    "i, j": (np.array([0, 2]), np.array([1, 3])),
    "i[:, None], j": (np.array([[0], [2]]), np.array([1, 3, 0])),
    "..., i": (np.s_[...], np.array([3, 1])),
    "i, None": (np.array([2, 0]), None),
}


@pytest.mark.parametrize("call", INTEGERS)
@clause("tensor-23")
def test_integer_arrays(nn: Any, dtype: str, call: str) -> None:
    key = INTEGERS[call]
    for make in (nn.tensor, lambda array: raw(nn, array), lambda array: array.tolist()):
        index = tuple(make(part) if isinstance(part, np.ndarray) else part for part in key)
        selects_as_numpy(nn, dtype, (3, 4), key, index, call)


@clause("tensor-23")
def test_integer_arrays_apart(nn: Any, dtype: str) -> None:
    i, j = np.array([1, 0]), np.array([2, 1])
    selects_as_numpy(
        nn, dtype, (2, 3, 4), (i, np.s_[:], j), (nn.tensor(i), np.s_[:], nn.tensor(j)), "i, :, j"
    )
    selects_as_numpy(nn, dtype, (3, 4), [2, 0], [2, 0], "[2, 0]")
    narrow = nn.tensor(i.astype("int32"))
    selects_as_numpy(nn, dtype, (3, 4), i, narrow, "i of int32")


@clause("tensor-21", "tensor-23")
def test_keys_that_do_not_fit(nn: Any) -> None:
    x = nn.tensor(distinct((3, 4), "float32"))
    for key in ((0, 0, 0), (..., 0, 0, 0), (None, 3), *([(..., 0, ...)] if own(nn) else [])):
        with pytest.raises(IndexError):
            x[key]
    for other in (np.zeros(1), nn.tensor([0.0]), nn.tensor(0.0), (0, nn.tensor([1.0]))):
        with pytest.raises((IndexError, TypeError)):
            x[other]


@clause("tensor-24")
def test_repeated_indices_accumulate(nn: Any, dtype: str) -> None:
    i = np.array([1, 1, 0, 1])
    selects_as_numpy(nn, dtype, (3, 4), i, nn.tensor(i), "[1, 1, 0, 1]")
    selects_as_numpy(nn, dtype, (3, 4), np.s_[:, i], np.s_[:, nn.tensor(i)], ":, [1, 1, 0, 1]")
    grid = np.array([[0, 0], [2, 0]])
    selects_as_numpy(
        nn, dtype, (3, 4), (grid, grid), (nn.tensor(grid), nn.tensor(grid)), "grid, grid"
    )
    selects_as_numpy(nn, dtype, (3,), grid, nn.tensor(grid), "grid")


AXES: list[dict[str, Any]] = [
    {},
    {"axis": 0},
    {"axis": -1, "keepdims": True},
    {"axis": (0, 2)},
    {"axis": (-1, 0), "keepdims": True},
    {"axis": None, "keepdims": True},
]


@pytest.mark.parametrize("options", AXES, ids=str)
@clause("tensor-25")
def test_reductions(nn: Any, dtype: str, options: dict[str, Any]) -> None:
    array = normal((2, 3, 4), dtype)
    x, reference = nn.tensor(array), in_double(array)
    for name in ("sum", "mean"):
        want = getattr(np, name)(reference, **options)
        agrees(nn, getattr(x, name)(**options), want, "reduction", call=f"x.{name}({options})")
        agrees(
            nn,
            getattr(nn.ops, name)(x, **options),
            want,
            "reduction",
            call=f"ops.{name}({options})",
        )
    for name in ("max", "min"):
        want = np.asarray(getattr(np, name)(array, **options))
        exactly(nn, getattr(nn.ops, name)(x, **options), want, call=f"ops.{name}({options})")
        if options.get("axis") is not None:
            exactly(nn, getattr(x, f"a{name}")(**options), want, call=f"x.a{name}({options})")
    exactly(nn, x.max(), np.asarray(array.max()))
    exactly(nn, x.min(), np.asarray(array.min()))


@pytest.mark.parametrize("options", AXES, ids=str)
@clause("tensor-25", needs="float64")
def test_gradients_of_reductions(nn: Any, options: dict[str, Any]) -> None:
    for name in ("sum", "mean", "max", "min"):
        reduce = getattr(nn.ops, name)
        check_gradients(
            nn,
            lambda x, reduce=reduce: reduce(x, **options),
            [distinct((2, 2, 2))],
            call=f"{name} {options}",
        )


@clause("tensor-25", needs="float64")
def test_gradients_of_reduction_methods(nn: Any) -> None:
    for call, reduce in {
        "x.sum(axis=1)": lambda x: x.sum(axis=1),
        "x.mean(axis=0, keepdims=True)": lambda x: x.mean(axis=0, keepdims=True),
        "x.max()": lambda x: x.max(),
        "x.min()": lambda x: x.min(),
        "x.amax(axis=1)": lambda x: x.amax(axis=1),
        "x.amin(axis=(0, 1), keepdims=True)": lambda x: x.amin(axis=(0, 1), keepdims=True),
    }.items():
        check_gradients(nn, reduce, [distinct((2, 3))], call=call)


@clause("tensor-26")
def test_ties_share_the_gradient(nn: Any, dtype: str) -> None:
    array = np.array([[1, 3, 3], [2, 2, 2], [5, 0, 1]], dtype)
    by_row = np.array([[0, 1 / 2, 1 / 2], [1 / 3, 1 / 3, 1 / 3], [1, 0, 0]])
    whole = np.array([[0, 1 / 2, 1 / 2], [0, 0, 0], [0, 0, 0]])
    uses: list[tuple[int, str, Any, np.ndarray]] = [
        (1, "ops.max(axis=1)", lambda x: nn.ops.max(x, axis=1), by_row),
        (-1, "ops.min(axis=1)", lambda x: nn.ops.min(x, axis=1), by_row),
        (1, "amax(axis=1)", lambda x: x.amax(axis=1), by_row),
        (-1, "amin(axis=1, keepdims)", lambda x: x.amin(axis=1, keepdims=True), by_row),
        (1, "ops.max()", lambda x: nn.ops.max(x[:2]), whole),
        (-1, "ops.min()", lambda x: nn.ops.min(x[:2]), whole),
    ]
    for sign, call, reduce, want in uses:
        x = tensor(nn, sign * array)
        nn.ops.sum(reduce(x)).backward()
        agrees(nn, x.grad, want, "gradient", call=f"gradient of {call}")


@clause("tensor-27")
def test_reshape(nn: Any, dtype: str) -> None:
    array, weight = normal((2, 3, 2), dtype), normal(12, dtype, seed=1)
    for sizes, shape in (
        (((4, 3),), (4, 3)),
        ((4, 3), (4, 3)),
        (((-1, 6),), (2, 6)),
        ((3, -1), (3, 4)),
        ((12,), (12,)),
        (((1, 12, 1),), (1, 12, 1)),
    ):
        x = tensor(nn, array)
        y = x.reshape(*sizes)
        exactly(nn, y, array.reshape(shape), call=f"reshape{sizes}")
        y.backward(nn.tensor(weight.reshape(shape)))
        exactly(nn, x.grad, weight.reshape(2, 3, 2), call=f"gradient of reshape{sizes}")
    x = tensor(nn, array)
    y = x.mT.reshape((6, 2))
    exactly(nn, y, array.swapaxes(1, 2).reshape(6, 2), call="mT.reshape")
    y.backward(nn.tensor(weight.reshape(6, 2)))
    exactly(nn, x.grad, weight.reshape(2, 2, 3).swapaxes(1, 2), call="gradient of mT.reshape")


@clause("tensor-28")
def test_zero_sizes(nn: Any, dtype: str) -> None:
    nothing = np.zeros((0, 3), dtype)
    x, y = tensor(nn, nothing), tensor(nn, normal(3, dtype))
    exactly(nn, x + y, nothing)
    exactly(nn, x * x, nothing)
    exactly(nn, x[:0], nothing)
    exactly(nn, x.reshape((3, 0)), nothing.reshape(3, 0))
    exactly(nn, y[nn.tensor(np.zeros(0, "int64"))], np.zeros(0, dtype))
    exactly(nn, nn.tensor(np.zeros((2, 0), dtype)) @ nn.tensor(nothing), np.zeros((2, 3), dtype))
    exactly(nn, x.sum(), np.zeros((), dtype))
    exactly(nn, x.sum(axis=0), np.zeros(3, dtype))
    ((x * y).sum() + y[1:1].sum()).backward()
    exactly(nn, x.grad, nothing)
    exactly(nn, y.grad, np.zeros(3, dtype))
