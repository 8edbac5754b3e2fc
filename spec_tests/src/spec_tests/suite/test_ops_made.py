"""Chapter ops: what the functions that create refuse, and arrays of theirs that are empty."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import asks
from spec_tests.support.assertions import raw, refuses, to_numpy

# The arguments, the exception, and what the message holds beside the function's name.
REFUSED: dict[str, list[tuple[tuple[Any, ...], type[Exception], tuple[Any, ...]]]] = {
    **{
        name: [
            (((-1, 2),), ValueError, ("-1",)),
            ((-3,), ValueError, ("-3",)),
            (((2.5, 1),), TypeError, ()),
            (("text",), TypeError, ()),
            ((None,), TypeError, ()),
        ]
        for name in ("zeros", "ones", "empty")
    },
    "full": [
        (((-1, 2), 1.5), ValueError, ("-1",)),
        (((2.5, 1), 1.5), TypeError, ()),
        (((2,), "text"), TypeError, ()),
        (((2,), None), TypeError, ()),
    ],
    "arange": [
        ((0, 5, 0), ValueError, ("0",)),
        (("text",), TypeError, ()),
        ((0, [1]), TypeError, ()),
    ],
    "eye": [
        ((-1,), ValueError, ("-1",)),
        ((2, -3), ValueError, ("-3",)),
        ((1.5,), TypeError, ()),
        (("text",), TypeError, ()),
    ],
    "linspace": [
        ((0, 1, -1), ValueError, ("-1",)),
        ((0, 1, 2.5), TypeError, ()),
        (("text", 1, 3), TypeError, ()),
        ((0, None, 3), TypeError, ()),
    ],
}


@asks("bad calls", *(f"ops.{name}" for name in REFUSED))
@clause("ops-47", "tensor-31", "errors-01", "errors-07")
@pytest.mark.parametrize("name", REFUSED)
def test_arguments_that_create_nothing(nn: Any, name: str) -> None:
    for arguments, error, fragments in REFUSED[name]:
        with refuses(error, name, *fragments):
            getattr(nn.ops, name)(*arguments)
    dtype: Any
    for dtype in ("no dtype", 1.5):
        right = {"full": ((2,), 1.5), "linspace": (0, 1, 3)}.get(name, (2,))
        with refuses(TypeError, name):
            getattr(nn.ops, name)(*right, dtype=dtype)


@asks("zero sizes", "ops.empty", "ops.empty_like")
@clause("ops-24", "ops-47")
def test_empty_arrays_without_values(nn: Any, dtype: str) -> None:
    floating = getattr(nn, dtype)
    for shape in ((0,), (2, 0), (0, 0, 3)):
        x = np.ones(shape, dtype)
        made = [nn.ops.empty(shape, dtype=floating)]
        made += [nn.ops.empty_like(given) for given in (nn.tensor(x), raw(nn, x))]
        for got in made:
            assert isinstance(got, nn.Tensor)
            there = to_numpy(nn, got)
            assert (there.shape, there.dtype.name) == (shape, dtype), f"{there.shape} {dtype}"
    assert to_numpy(nn, nn.ops.empty(0)).shape == (0,)
