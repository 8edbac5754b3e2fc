"""The emulation has only names, parameters and choices of dtype that the installed CuPy has.

CuPy imports without a GPU, which is all that is asked of it here.
"""

from __future__ import annotations

import inspect
import itertools
import re
from typing import Any

import numpy as np
import pytest

from cupy_emulation import cupyx as emulated_cupyx
from cupy_emulation import namespace as cp

cupy = pytest.importorskip("cupy", reason="the comparison is with an installed CuPy")

NAMES = [name for name in vars(cp) if not name.startswith("_")]
UFUNCS = [name for name in NAMES if isinstance(getattr(cp, name), cp.ufunc)]
FUNCTIONS = [name for name in NAMES if inspect.isfunction(getattr(cp, name))]
METHODS = [
    name for name, value in inspect.getmembers(cp.ndarray, callable) if not name.startswith("_")
]
DTYPES = [np.dtype(char) for char in "?bBhHiIqQefd"]
ALL_ARGUMENTS = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def test_every_name_is_cupys() -> None:
    assert len(NAMES) > 250
    assert [name for name in NAMES if not hasattr(cupy, name)] == []


@pytest.mark.parametrize("submodule", ["cuda", "fft", "linalg", "exceptions"])
def test_every_name_in_a_submodule_is_cupys(submodule: str) -> None:
    own, theirs = getattr(cp, submodule), getattr(cupy, submodule)
    names = own.__all__
    assert [name for name in names if not hasattr(theirs, name)] == []
    for outer in names:
        if inspect.isclass(getattr(own, outer)):
            inner = [name for name in vars(getattr(own, outer)) if not name.startswith("_")]
            fields = {"ptr", "device_id", "id"}  # set on instances
            there = set(dir(getattr(theirs, outer))) | fields
            assert set(inner) <= there


def test_dtypes_and_constants_are_cupys() -> None:
    for name in NAMES:
        value = getattr(cp, name)
        if isinstance(value, (float, type(None))) or (
            isinstance(value, type) and issubclass(value, np.generic)
        ):
            theirs = getattr(cupy, name)
            assert theirs is value or theirs == value or name == "nan"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_cupys(name: str) -> None:
    own = list(inspect.signature(getattr(cp, name)).parameters.values())
    try:
        theirs = list(inspect.signature(getattr(cupy, name)).parameters.values())
    except ValueError:
        theirs = documented(getattr(cupy, name).__doc__ or "")
        assert theirs, name
    if any(p.kind in ALL_ARGUMENTS for p in theirs):
        known = {p.name for p in theirs} | {"dtype", "indexing", "sparse", "copy"}
        assert {p.name for p in own if p.kind is p.KEYWORD_ONLY} <= known
    else:
        assert [(p.name, p.kind) for p in own] == [(p.name, p.kind) for p in theirs]
        for mine, other in zip(own, theirs, strict=True):
            assert mine.default == other.default or mine.default is other.default


@pytest.mark.parametrize("submodule", ["fft", "linalg"])
def test_parameters_in_a_submodule_are_cupys(submodule: str) -> None:
    own, theirs = getattr(cp, submodule), getattr(cupy, submodule)
    for name in own.__all__:
        function = getattr(own, name)
        if inspect.isfunction(function) and name not in ("matmul", "matrix_transpose"):
            there = inspect.signature(getattr(theirs, name)).parameters.values()
            here = inspect.signature(function).parameters.values()
            assert [(p.name, p.kind, p.default) for p in here] == [
                (p.name, p.kind, p.default) for p in there
            ], name


def test_every_name_of_cupyx_is_its() -> None:
    cupyx = pytest.importorskip("cupyx")
    for name in emulated_cupyx.__all__:
        own, theirs = getattr(emulated_cupyx, name), getattr(cupyx, name)
        assert (
            inspect.signature(own).parameters.keys() == inspect.signature(theirs).parameters.keys()
        )


@pytest.mark.parametrize("name", METHODS)
def test_methods_are_cupys(name: str) -> None:
    assert hasattr(cupy.ndarray, name)
    theirs = documented(getattr(cupy.ndarray, name).__doc__ or "")
    if theirs and not any(p.kind in ALL_ARGUMENTS for p in theirs):
        own = list(inspect.signature(getattr(cp.ndarray, name)).parameters.values())
        assert [p.name for p in own[1:]] == [p.name for p in theirs[1:]]


def documented(text: str) -> list[inspect.Parameter]:
    """Read the parameters off the first line that Cython puts into a docstring."""
    found = re.match(r"(?:ndarray|_ndarray_base\.)?\w+\((.*)\)(?: -> \w+)?$", text.split("\n")[0])
    if found is None:
        return []
    parts = [re.sub(r"^\w+ (?=\w)", "", part.strip()) for part in found.group(1).split(",")]
    scope: dict[str, Any] = {}
    exec(f"def function({', '.join(parts)}): pass", scope)
    return list(inspect.signature(scope["function"]).parameters.values())


@pytest.mark.parametrize("name", [n for n in dir(cp.ndarray) if not n.startswith("_")])
def test_attributes_are_cupys(name: str) -> None:
    assert hasattr(cupy.ndarray, name)


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_have_cupys_loops(name: str) -> None:
    own, theirs = getattr(cp, name), getattr(cupy, name)
    assert (own.nin, own.nout, own.name) == (theirs.nin, theirs.nout, theirs.name)
    kept = [loop for loop in theirs.types if loop in own.types]
    assert own.types == kept
    assert all(set(loop) & set("FDV") for loop in theirs.types if loop not in own.types)
    assert own._scatter == theirs._scatter_op


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_choose_cupys_loop(name: str) -> None:
    own, theirs = getattr(cp, name), getattr(cupy, name)
    for types in itertools.product(DTYPES, repeat=own.nin):
        compare(own, theirs, types, (False,) * own.nin)


@pytest.mark.parametrize("name", [n for n in UFUNCS if getattr(cp, n).nin == 2])
@pytest.mark.parametrize("weak", [int, float])
@pytest.mark.parametrize("side", [0, 1])
def test_ufuncs_choose_cupys_loop_for_python_numbers(name: str, weak: Any, side: int) -> None:
    own, theirs = getattr(cp, name), getattr(cupy, name)
    for dtype in DTYPES:
        # CuPy lets Python numbers be weak only where the array's kind is at least theirs.
        is_weak = {"b": 0, "i": 1, "u": 1, "f": 2}[dtype.kind] >= {int: 1, float: 2}[weak]
        types, weaks = [dtype, np.dtype(weak)], [False, weak if is_weak else False]
        operands = [cp.zeros(1, dtype), weak(1)]
        if side == 0:
            types, weaks, operands = types[::-1], weaks[::-1], operands[::-1]
        compare(own, theirs, tuple(types), tuple(weaks), operands)


def compare(own: Any, theirs: Any, types: Any, weaks: Any, operands: Any = None) -> None:
    chosen = theirs._ops._guess_routine_from_in_types(types, weaks)
    operands = [cp.zeros(1, t) for t in types] if operands is None else operands
    if chosen is None:
        with pytest.raises(TypeError, match="Wrong type"):
            own.resolve(tuple(operands))
    elif chosen.error_func is None:
        inputs, outputs = own.resolve(tuple(operands))
        assert inputs == chosen.in_types
        assert outputs == chosen.out_types
        results = own(*operands)
        for got, wanted in zip(results if own.nout > 1 else [results], outputs, strict=True):
            assert got.dtype == wanted
    else:
        with pytest.raises(TypeError):
            own(*operands)


@pytest.mark.parametrize("name", ["where", "clip"])
def test_functions_choose_cupys_loop(name: str) -> None:
    from cupy._core import _routines_math
    from cupy._sorting import search

    from cupy_emulation.ufunc import CLIP, WHERE

    own, theirs = {"where": (WHERE, search._where_ufunc), "clip": (CLIP, _routines_math._clip)}[
        name
    ]
    assert own.types == [loop for loop in theirs.types if loop in own.types]
    for pair in itertools.product(DTYPES, repeat=2):
        types = (np.dtype(bool), *pair) if name == "where" else (*pair, pair[1])
        compare(own, theirs, types, (False,) * 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cp.unstack(x),
        lambda x: cp.vecdot(x, x),
        lambda x: cp.random.rand(3),
        lambda x: x.permute_dims(0),
    ],
)
def test_unknown_names_raise(call: Any) -> None:
    with pytest.raises(AttributeError):
        call(cp.zeros(3))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: cp.sum(x, keepdim=True),
        lambda x: cp.add(x, x, where=x > 0),
        lambda x: cp.clip(x, min=0, max=1),
        lambda x: cp.max(x, initial=0),
        lambda x: cp.take(x, x, mode="clip"),
        lambda x: cp.zeros(3, device=None),
        lambda x: x.astype(cp.float32, casting="safe"),
        lambda x: x.sum(where=x > 0),
        lambda x: cp.concatenate([x], axes=0),
    ],
)
def test_unknown_keywords_raise(call: Any) -> None:
    with pytest.raises(TypeError):
        call(cp.zeros(3, int))
