"""Chapter ops: the first argument that is refused, the last that is not, and what is left out."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy


@clause("ops-43")
def test_padding_of_no_axis(nn: Any, dtype: str) -> None:
    x = nn.tensor(np.array(2.5, dtype))
    for width in (3, (1, 2), ()):
        exactly(nn, nn.ops.pad(x, width), np.array(2.5, dtype), call=f"pad of a number, {width}")


@clause("ops-43")
def test_no_pairs_for_an_axis(nn: Any) -> None:
    with refuses(ValueError, "pad", "pad_width", "(3,)"):
        nn.ops.pad(nn.ones((3,)), ())


@clause("ops-20")
def test_a_size_below_zero(nn: Any) -> None:
    for shape in ((-1,), (-1, 3), (2, -2)):
        with refuses(ValueError, "broadcast_to", str(shape)):
            nn.ops.broadcast_to(nn.ones((1,)), shape)


@clause("ops-59")
def test_expm1_far_to_the_left(nn: Any) -> None:
    """Whatever the angle, e^z is 0 there."""
    parts = np.array([complex(-np.inf, k / 7) for k in range(-20, 20)])
    found = to_numpy(nn, nn.ops.expm1(nn.tensor(parts)))
    agrees(nn, found.real.copy(), np.full(40, -1.0), "elementwise")
    agrees(nn, found.imag.copy(), np.zeros(40), "elementwise")


@clause("ops-43", "errors-07")
def test_repeats_that_no_memory_holds(nn: Any) -> None:
    x = nn.ones((2**10,))
    for repeats in (2**53, 2**60, 2**62, nn.tensor([2**60]), nn.tensor([2**53])):
        with refuses(ValueError, "repeat"):
            nn.ops.repeat(x, repeats)
    with refuses(ValueError, "repeat"):
        nn.ops.repeat(nn.ones((1,)), 2**60)


@clause("ops-30")
def test_questions_to_the_namespace_have_names(nn: Any) -> None:
    info = nn.ops.__array_namespace_info__()
    for ask in (info.default_dtypes, info.dtypes):
        assert ask(device=None)
        with pytest.raises(TypeError):
            ask(None)


@clause("ops-39")
def test_a_variance_of_one_term(nn: Any, dtype: str) -> None:
    """N - correction is 1: of one element, and of two less one."""
    one, two = (nn.tensor(np.array(values, dtype)) for values in ([[4.0]], [[1.0, 4.0]]))
    for name, want in (("var", 4.5), ("std", 4.5**0.5)):
        function = getattr(nn.ops, name)
        agrees(nn, function(one, axis=1), np.zeros(1), "reduction")
        agrees(nn, function(two, axis=1, correction=1), np.full(1, want), "reduction")
