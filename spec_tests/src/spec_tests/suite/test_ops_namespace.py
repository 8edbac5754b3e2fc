"""Chapter ops: what the standard asks of the namespace itself, of dtypes and devices."""

import math
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import asks
from spec_tests.support.assertions import exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.dtypes import ALL, INTEGERS, KINDS, there
from spec_tests.support.inputs import foreign

NUMBERS = [
    ("bool", True, "bool"),
    ("bool", 2, "int64"),
    ("int32", True, "int32"),
    ("int32", 2, "int32"),
    ("int32", 0.5, "float32"),
    ("uint8", 2, "uint8"),
    ("int8", 0.5, "float32"),
    ("float64", 2, "float64"),
    ("float32", 0.5, "float32"),
]


@clause("ops-30")
def test_constants(nn: Any) -> None:
    for name in ("e", "pi", "inf"):
        value = getattr(nn.ops, name)
        assert type(value) is float, f"{name} is a {type(value).__name__}"
        assert value == getattr(math, name), f"{name} is {value}"
    assert type(nn.ops.nan) is float
    assert math.isnan(nn.ops.nan)
    assert nn.ops.newaxis is None
    assert nn.ops.__array_api_version__ == "2025.12"


@clause("ops-30")
def test_the_namespace_tells_of_itself(nn: Any) -> None:
    info = nn.ops.__array_namespace_info__()
    able = info.capabilities()
    assert able["boolean indexing"] is True
    assert able["data-dependent shapes"] is True
    assert able["max dimensions"] is None or able["max dimensions"] >= 8
    assert isinstance(info.devices(), tuple)
    assert info.default_device() in info.devices()
    default = info.default_dtypes(device=info.default_device())
    assert default["real floating"] == nn.float32
    assert default["integral"] == default["indexing"] == nn.int64
    if default.get("complex floating") is not None or "complex64" in there(nn):
        assert default["complex floating"] == nn.complex64
    dtypes = info.dtypes()
    assert set(there(nn)) <= set(dtypes) <= set(ALL), sorted(dtypes)
    for name, dtype in dtypes.items():
        assert dtype == getattr(nn, name)
        assert nn.ops.zeros((2,), dtype=dtype).dtype == dtype
    for kind, names in KINDS.items():
        assert set(info.dtypes(kind=kind)) == set(names) & set(dtypes), kind
    both = info.dtypes(kind=("bool", "integral"))
    assert set(both) == {"bool", *INTEGERS} & set(dtypes)
    with refuses(ValueError, "colour"):
        info.dtypes(kind="colour")


MADE: dict[str, tuple[Any, ...]] = {
    "zeros": (2,),
    "ones": (2,),
    "empty": (2,),
    "full": (2, 1.5),
    "arange": (3,),
    "eye": (2,),
    "linspace": (0.0, 1.0, 3),
}
MADE_LIKE = ("asarray", "zeros_like", "ones_like", "empty_like", "from_dlpack")


@clause("ops-31")
@pytest.mark.parametrize("name", [*MADE, *MADE_LIKE, "full_like", "astype"])
def test_devices(nn: Any, name: str) -> None:
    x = nn.tensor([1.0, 2.0])
    like: dict[str, tuple[Any, ...]] = {"full_like": (x, 2.0), "astype": (x, nn.float32)}
    arguments = MADE.get(name) or like.get(name, (x,))
    function = getattr(nn.ops, name)
    want = function(*arguments)
    device: Any
    for device in (None, nn.ops.__array_namespace_info__().default_device()):
        got = function(*arguments, device=device)
        assert tuple(got.shape) == tuple(want.shape), name
        assert got.dtype == want.dtype, name
    for device in ("nowhere", 1.5):
        with refuses((ValueError, TypeError), name, device):
            function(*arguments, device=device)


@clause("ops-32")
def test_a_dtype_meets_itself(nn: Any) -> None:
    for name in there(nn):
        assert nn.ops.result_type(getattr(nn, name)) == getattr(nn, name)


@asks("values", "ops.result_type")
@clause("ops-32")
@pytest.mark.parametrize(("dtype_name", "number", "wanted"), NUMBERS)
def test_numbers_are_weak(nn: Any, dtype_name: str, number: Any, wanted: str) -> None:
    for given in (getattr(nn, dtype_name), nn.tensor(np.zeros(2, dtype_name))):
        for arguments in ((given, number), (number, given)):
            got = nn.ops.result_type(*arguments)
            assert got == getattr(nn, wanted), f"{dtype_name} and {number} give {got}"


@asks("values", "ops.isdtype")
@clause("ops-32")
def test_kinds_of_dtypes(nn: Any) -> None:
    for name in there(nn):
        dtype = getattr(nn, name)
        for kind, names in KINDS.items():
            got = nn.ops.isdtype(dtype, kind)
            assert got is (name in names), f"isdtype({name}, {kind!r}) is {got}"
        assert nn.ops.isdtype(dtype, dtype) is True
        assert nn.ops.isdtype(dtype, (nn.int32, "real floating")) is (
            name in ("int32", "float32", "float64")
        )


@asks("values", "ops.finfo", "ops.iinfo")
@clause("ops-32")
def test_limits_of_dtypes(nn: Any) -> None:
    for name in there(nn, ("float32", "float64", "complex64", "complex128")):
        want = np.finfo(name)
        for given in (getattr(nn, name), nn.tensor(np.zeros(2, name))):
            got = nn.ops.finfo(given)
            assert type(got.bits) is int
            assert got.bits == want.bits
            assert got.dtype == getattr(nn, np.finfo(name).dtype.name)
            for part in ("eps", "max", "min", "smallest_normal"):
                value = getattr(got, part)
                assert isinstance(value, float), f"finfo.{part} is a {type(value).__name__}"
                assert value == float(getattr(want, part)), f"finfo({name}).{part} is {value}"
    for name in there(nn, INTEGERS):
        limits = np.iinfo(name)
        for given in (getattr(nn, name), nn.tensor(np.zeros(2, name))):
            found = nn.ops.iinfo(given)
            values = (found.bits, found.max, found.min)
            assert values == (limits.bits, limits.max, limits.min), f"iinfo({name}) is {values}"
            assert all(type(value) is int for value in values)
            assert found.dtype == getattr(nn, name)


@asks("bad calls", "ops.finfo", "ops.iinfo", "ops.isdtype", "ops.result_type", "ops.can_cast")
@clause("ops-32")
def test_what_has_no_dtype(nn: Any) -> None:
    with refuses(TypeError, "finfo", "int64"):
        nn.ops.finfo(nn.int64)
    for name in ("float32", "complex64", "bool"):
        with refuses(TypeError, "iinfo", name):
            nn.ops.iinfo(getattr(nn, name))
    with refuses(ValueError, "isdtype", "colour"):
        nn.ops.isdtype(nn.float32, "colour")
    with refuses(ValueError, "result_type"):
        nn.ops.result_type(1, 2.0)
    for name, arguments in {
        "finfo": (None,),
        "iinfo": ("text",),
        "isdtype": (1.5, "bool"),
        "result_type": (nn.float32, "text"),
        "can_cast": (nn.float32, None),
    }.items():
        with refuses(TypeError, name):
            getattr(nn.ops, name)(*arguments)
    half = foreign(raw(nn, np.zeros(2, "float32")))["float16"]
    for name, others in (("result_type", (nn.float32,)), ("can_cast", (nn.float32,))):
        with refuses(TypeError, name, "float16"):
            getattr(nn.ops, name)(half, *others)
    for name in ("finfo", "iinfo"):
        with refuses(TypeError, name, "float16"):
            getattr(nn.ops, name)(half)


@asks(("values", "raw arrays"), "ops.empty_like")
@asks("values", "ops.empty")
@clause("ops-47")
def test_what_is_made_empty(nn: Any) -> None:
    for shape, want in (((2, 3), (2, 3)), (4, (4,)), ((), ())):
        got = nn.ops.empty(shape)
        assert tuple(got.shape) == want
        assert got.dtype == nn.float32
    assert nn.ops.empty((2,), dtype=nn.int32).dtype == nn.int32
    for name in there(nn):
        x = nn.tensor(np.zeros((2, 3), name))
        for given in (x, x.data):
            got = nn.ops.empty_like(given)
            assert (tuple(got.shape), got.dtype) == ((2, 3), getattr(nn, name)), name
            full = nn.ops.full_like(given, 1)
            exactly(nn, full, np.ones((2, 3), name), dtype=name, call="full_like")
    assert nn.ops.empty_like(x, dtype=nn.int64).dtype == nn.int64
    with refuses((ValueError, OverflowError), "full_like", 2**40):
        nn.ops.full_like(nn.tensor(np.zeros(2, np.int32)), 2**40)


@clause("ops-47")
def test_equal_distances(nn: Any, dtype: str) -> None:
    floating = getattr(nn, dtype)
    for start, stop, num, ends in ((0, 1, 7, True), (-1.5, 2, 8, False), (3, 1, 1, True)):
        got = nn.ops.linspace(start, stop, num, dtype=floating, endpoint=ends)
        want = np.linspace(start, stop, num, endpoint=ends).astype(dtype)
        exactly(nn, got, want, dtype=dtype, call=f"linspace({start}, {stop}, {num})")
    last = to_numpy(nn, nn.ops.linspace(0, 0.1, 11, dtype=floating))[-1]
    assert last == np.array(0.1, dtype), "the last element should be stop"
    assert tuple(nn.ops.linspace(0, 1, 0).shape) == (0,)
    with refuses(ValueError, "linspace", -1):
        nn.ops.linspace(0, 1, -1)
    with refuses(TypeError, "linspace", "int64"):
        nn.ops.linspace(0, 1, 3, dtype=nn.int64)


@clause("ops-47")
def test_diagonals(nn: Any) -> None:
    for rows, columns, k in ((3, None, 0), (2, 4, 1), (3, 2, -2), (2, 2, 7), (0, 3, 0)):
        for name in there(nn):
            got = nn.ops.eye(rows, columns, k=k, dtype=getattr(nn, name))
            exactly(nn, got, np.eye(rows, columns, k, name), dtype=name, call=f"eye(k={k})")
    with refuses(ValueError, "eye", -1):
        nn.ops.eye(-1)


class Borrowed:
    """An array of other software, as far as DLPack knows it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


@clause("ops-48")
def test_arrays_of_other_software(nn: Any, dtype: str) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    for given in (array, Borrowed(array), raw(nn, array), nn.tensor(array)):
        for copy in (None, True):
            got = nn.ops.from_dlpack(given, copy=copy)
            assert isinstance(got, nn.Tensor)
            exactly(nn, got, array, call=f"from_dlpack of {type(given).__name__}")
    for name in there(nn, ("int8", "int32", "int64", "uint8", "complex64")):
        whole = np.arange(3, dtype=name)
        exactly(nn, nn.ops.from_dlpack(Borrowed(whole)), whole, dtype=name)
    kept = nn.ops.from_dlpack(array, copy=True)
    array[...] = 9
    exactly(nn, kept, np.arange(6.0).reshape(2, 3), call="a copy after its source has changed")


@clause("ops-48")
@pytest.mark.parametrize("copy", [None, True])
def test_gradients_pass_through_from_dlpack(nn: Any, dtype: str, copy: bool | None) -> None:
    x = tensor(nn, np.array([1.0, 2.0], dtype))
    nn.ops.sum(nn.ops.from_dlpack(x, copy=copy) * 3.0).backward()
    exactly(nn, x.grad, np.full(2, 3.0), call="gradient of from_dlpack")


@clause("ops-48")
def test_what_dlpack_does_not_give(nn: Any) -> None:
    for wrong in ([1.0], "text", None):
        with refuses(TypeError, "from_dlpack", type(wrong).__name__):
            nn.ops.from_dlpack(wrong)
    with refuses(TypeError, "from_dlpack", "float16"):
        nn.ops.from_dlpack(np.zeros(2, "float16"))
