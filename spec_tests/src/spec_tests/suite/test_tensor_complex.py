"""The chapter ``tensor``: complex Tensors as values."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, own, raw, refuses, tensor, to_numpy
from spec_tests.support.complexes import PARTS
from spec_tests.support.dtypes import COMPLEX, there
from spec_tests.support.inputs import normal

Z = np.array([[1 + 2j, -0.5j, 0], [0.25, -1 + 1j, 3 - 4j]])


@clause("tensor-45", "tensor-04")
@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (1j, "complex64"),
        ([1 + 2j], "complex64"),
        ([1, 2.5, 1j, True], "complex64"),
        (((1j, 2), (3.0, 4)), "complex64"),
        ([np.complex128(1j), 2], "complex64"),
        (np.complex64(1j), "complex64"),
    ],
)
def test_complex_numbers(nn: Any, data: Any, wanted: str) -> None:
    exactly(nn, nn.tensor(data), np.array(data, wanted), dtype=wanted)
    for dtype in there(nn, COMPLEX):
        got = nn.tensor(data, dtype=getattr(nn, dtype))
        exactly(nn, got, np.array(data, dtype), dtype=dtype, call=f"tensor of {dtype}")
    for dtype in ("float32", "int64", "bool"):
        with refuses(TypeError, "tensor", "complex"):
            nn.tensor(data, dtype=getattr(nn, dtype))


@clause("tensor-45", "tensor-03", "tensor-05", "tensor-08", "tensor-10")
def test_complex_arrays(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        array = Z.astype(dtype)
        for data in (array, raw(nn, array), nn.tensor(array)):
            for make in (nn.tensor, nn.ops.asarray):
                exactly(nn, make(data), array, dtype=dtype, call=f"of {type(data).__name__}")
        x = nn.from_array(raw(nn, array))
        assert isinstance(x, nn.Tensor)
        assert x.dtype == getattr(nn, dtype)
        assert not x.requires_grad
        exactly(nn, x.T, array.T, dtype=dtype, call="T, which does not conjugate")
        exactly(nn, x.mT, array.T, dtype=dtype, call="mT, which does not conjugate")
        exactly(nn, x.detach(), array, dtype=dtype)
        assert np.array_equal(x.numpy(), array)
        assert x.tolist() == array.tolist()
        x.data = raw(nn, array + 1)
        exactly(nn, x, array + 1, dtype=dtype, call="after data was assigned")
        assert repr(x)
        exactly(nn, nn.tensor(np.complex128(1j)), np.complex128(1j), dtype="complex128")


@clause("tensor-45", "tensor-14", "tensor-15")
def test_two_real_tensors_make_a_complex_one(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        a, b = normal((2, 3), PARTS[dtype]), normal(3, PARTS[dtype], seed=1)
        z = nn.tensor(a) + 1j * nn.tensor(b)
        exactly(nn, z, (a + 1j * b.astype(dtype)).astype(dtype), dtype=dtype, call="a + 1j * b")
        exactly(nn, nn.ops.real(z), a, dtype=PARTS[dtype], call="real")
        exactly(nn, nn.ops.imag(z), np.broadcast_to(b, (2, 3)), dtype=PARTS[dtype], call="imag")


@clause("tensor-14", "tensor-45")
def test_operators_of_complex_tensors(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        a, b = normal((3, 4), dtype), normal((3, 4), dtype, seed=1)
        x, y = nn.tensor(a), nn.tensor(b)
        wide, other = a.astype("complex128"), b.astype("complex128")
        for got, want in (
            (x + y, wide + other),
            (x - y, wide - other),
            (x * y, wide * other),
            (x / y, wide / other),
            (x**2, wide**2),
            (-x, -wide),
            (+x, wide),
            (2j * x, 2j * wide),
            (x - 0.5, wide - 0.5),
        ):
            agrees(nn, got, want, "elementwise", dtype=dtype)
        agrees(nn, x @ y.T, wide @ other.T, "matmul", dtype=dtype, call="@")
        agrees(nn, abs(x), np.abs(wide), "elementwise", dtype=PARTS[dtype], call="abs")
        exactly(nn, x == nn.tensor(a.real + 0j * b.real), np.zeros((3, 4), bool), dtype="bool")
        exactly(nn, x == x, np.ones((3, 4), bool), dtype="bool")
        exactly(nn, x != x, np.zeros((3, 4), bool), dtype="bool")


@clause("tensor-45", "tensor-21", "tensor-22", "tensor-23")
def test_complex_tensors_are_indexed(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        array = Z.astype(dtype)
        x = nn.tensor(array)
        mask = np.abs(array) > 1
        for key in (0, (1, -1), (slice(None), slice(0, 2)), ..., None):
            exactly(nn, x[key], array[key], dtype=dtype, call=f"x[{key}]")
        exactly(nn, x[nn.tensor(mask)], array[mask], dtype=dtype, call="x[mask]")
        exactly(nn, x[nn.tensor([1, 0, 1])], array[[1, 0, 1]], dtype=dtype, call="x[integers]")
        for row, want in zip(x, array, strict=True):
            exactly(nn, row, want, dtype=dtype, call="a row")
        with refuses((TypeError, IndexError), *([("index", "indices")] if own(nn) else [])):
            nn.ones((3,))[x]


@clause("tensor-20", needs="complex")
@pytest.mark.parametrize("name", ["less", "less_equal", "greater", "greater_equal"])
def test_complex_numbers_have_no_order(nn: Any, name: str) -> None:
    z, x = nn.tensor([1j, 2]), nn.tensor([1.0, 2.0])
    compare = {"less": "__lt__", "less_equal": "__le__", "greater": "__gt__"}.get(name, "__ge__")
    for arguments in ((z, z), (z, x), (x, z), (z, 1.0), (1.0, z)):
        with refuses(TypeError, name, "complex64"):
            getattr(nn.ops, name)(*arguments)
    with refuses(TypeError if own(nn) else Exception, *([name, "complex64"] if own(nn) else [])):
        getattr(z, compare)(z)


@clause("tensor-13", needs="complex")
def test_complex_leaves_do_not_require_grad(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        kind = getattr(nn, dtype)
        array = Z.astype(dtype)
        makers: list[Callable[[], Any]] = [
            lambda: nn.tensor(array, requires_grad=True),  # noqa: B023
            lambda: nn.from_array(raw(nn, array), requires_grad=True),  # noqa: B023
            lambda: nn.zeros((2,), dtype=kind, requires_grad=True),  # noqa: B023
            lambda: nn.Parameter(array),  # noqa: B023
        ]
        for make in makers:
            with refuses(ValueError, dtype, "1j"):
                make()
        if own(nn):
            with refuses(ValueError, dtype):
                nn.tensor(array).requires_grad_()


@clause("tensor-13")
def test_integer_leaves_do_not_require_grad(nn: Any) -> None:
    for dtype in there(nn, ("bool", "int8", "uint8", "int64", "uint64")):
        with refuses(ValueError, dtype):
            nn.tensor(np.array([1, 0], dtype), requires_grad=True)


@clause("tensor-43", "tensor-41", "tensor-45")
def test_one_complex_element(nn: Any) -> None:
    for shape in ((), (1,)):
        z = nn.tensor(np.full(shape, 1.5 - 2j, "complex64"))
        assert type(z.item()) is complex
        assert z.item() == complex(z) == 1.5 - 2j
        assert bool(z) is True
        assert bool(nn.tensor(np.full(shape, 2j, "complex64"))) is True
        assert bool(nn.tensor(np.full(shape, 0j, "complex64"))) is False
        for convert in (float, int):
            said = (convert.__name__, "complex64") if own(nn) else ()
            with refuses(TypeError if own(nn) else (TypeError, RuntimeError), *said):
                convert(z)
    assert complex(nn.tensor(2.5)) == 2.5
    assert complex(nn.tensor(3)) == 3
    with refuses(ValueError if own(nn) else (ValueError, RuntimeError)):
        complex(nn.tensor([1j, 2]))
    assert nn.tensor([[1j], [2]]).tolist() == [[1j], [2 + 0j]]
    assert 1j in nn.tensor([1j, 2])


@clause("tensor-45", "tensor-42", "tensor-41")
def test_complex_tensors_are_copied(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        array = Z.astype(dtype)
        x = nn.tensor(array)
        for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
            exactly(nn, twin, array, dtype=dtype)
        got = np.asarray(x)
        assert got.dtype == dtype
        assert np.array_equal(got, array)
        if own(nn):
            a = tensor(nn, np.ones(2, "float32"))
            with refuses(RuntimeError, "detach"):
                np.asarray(a + 1j * a)


@clause("tensor-39", "tensor-45")
def test_complex_numbers_where_real_ones_are_wanted(nn: Any) -> None:
    x = nn.tensor([1.0, 2.0])
    for number in (1j, np.complex64(1), 2 + 0j):
        calls: list[tuple[str, Callable[[], Any]]] = [
            ("full", lambda: nn.full((2,), number, dtype=nn.float32)),  # noqa: B023
            ("arange", lambda: nn.arange(number)),  # noqa: B023
            ("clip", lambda: nn.ops.clip(x, number)),  # noqa: B023
            ("Dropout", lambda: nn.Dropout(number)),  # noqa: B023
            ("sum", lambda: nn.ops.sum(x, axis=number)),  # noqa: B023
        ]
        for word, call in calls:
            with refuses(TypeError, word):
                call()


@clause("tensor-37", "tensor-45")
def test_modules_and_losses_refuse_complex_arrays(nn: Any) -> None:
    z = nn.tensor(np.ones((2, 3), "complex64"))
    calls: dict[str, Callable[[], Any]] = {
        "Linear": lambda: nn.Linear(3, 2)(z),
        "LayerNorm": lambda: nn.LayerNorm(3)(z),
        "ReLU": lambda: nn.ReLU()(z),
        "GRU": lambda: nn.GRU(3, 2)(z),
        "mse_loss": lambda: nn.loss.mse_loss(z, nn.ones((2, 3))),
        "l1_loss": lambda: nn.loss.l1_loss(nn.ones((2, 3)), z),
        "Embedding": lambda: nn.Embedding(3, 2)(z),
        "Parameter": lambda: nn.Parameter(z, requires_grad=False),
        "register_buffer": lambda: nn.ReLU().register_buffer("b", z),
    }
    for word, call in calls.items():
        with refuses(TypeError, word, "complex64"):
            call()
    for dtype in there(nn, ("complex64", "int8", "uint8")):
        told: list[tuple[str, Callable[[], Any]]] = [
            ("Linear", lambda: nn.Linear(3, 2, dtype=getattr(nn, dtype))),  # noqa: B023
            ("LSTM", lambda: nn.LSTM(3, 2, dtype=getattr(nn, dtype))),  # noqa: B023
            ("to", lambda: nn.Linear(3, 2).to(getattr(nn, dtype))),  # noqa: B023
        ]
        for word, call in told:
            with refuses(TypeError, word, dtype):
                call()


@clause("tensor-37", "tensor-01")
def test_dtypes_that_are_there_or_not(nn: Any) -> None:
    for dtype in (*COMPLEX, "uint16", "uint32", "uint64"):
        kind = getattr(nn, dtype)
        assert getattr(nn.ops, dtype) == kind
        array = np.array([1, 2], dtype)
        makers: list[tuple[str, Callable[[], Any]]] = [
            ("tensor", lambda: nn.tensor(array)),  # noqa: B023
            ("tensor", lambda: nn.tensor([1, 2], dtype=kind)),  # noqa: B023
            ("asarray", lambda: nn.ops.asarray(array)),  # noqa: B023
        ]
        for word, make in makers:
            if dtype in there(nn):
                exactly(nn, make(), array, dtype=dtype, call=f"{word} of {dtype}")
                continue
            try:
                got = to_numpy(nn, make())
            except TypeError as error:
                said = str(error)
                assert word in said, said
                assert dtype in said, said
            else:
                assert got.dtype.name == dtype, f"{word} of {dtype} gave {got.dtype} in silence"
