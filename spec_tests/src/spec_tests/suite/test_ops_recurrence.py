"""Chapter ops: `linear_recurrence`.

Axes: ``T`` steps, ``N`` rows.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.processes import seconds_of
from spec_tests.support.recurrence import linear_recurrence

pytestmark = pytest.mark.sampled(4)

INF, NAN = np.inf, np.nan


def loop(
    a: np.ndarray, b: np.ndarray, h0: np.ndarray, cotangent: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the result along axis 0, and the gradients by the clause's own recurrence."""
    h = linear_recurrence(a, b, h0)
    s = linear_recurrence(np.concatenate([a[1:], a[:1]]), cotangent, None, reverse=True)
    before = np.concatenate([h0[None], h[:-1]])
    return h, {"a": s * before, "b": s, "h0": a[0] * s[0]}


@clause("ops-54")
@pytest.mark.parametrize("steps", [1, 2, 7, 16, 63, 64, 65, 257, 1000])
def test_lengths(nn: Any, dtype: str, steps: int) -> None:
    shape = (steps, 3)
    arrays = {
        "a": np.tanh(normal(shape, "float64", seed=1)).astype(dtype),
        "b": normal(shape, dtype, seed=2),
        "h0": normal(shape[1:], dtype, seed=3),
    }
    cotangent = normal(shape, dtype, seed=4)
    wide = [array.astype(np.float64) for array in (*arrays.values(), cotangent)]
    value, slopes = loop(*wide)
    leaves = {name: tensor(nn, array) for name, array in arrays.items()}
    got = nn.ops.linear_recurrence(*leaves.values())
    agrees(nn, got, value, "reduction", call=f"{steps} steps")
    got.backward(nn.tensor(cotangent))
    for name, slope in slopes.items():
        agrees(nn, leaves[name].grad, slope, "reduction", call=f"{steps} steps: gradient to {name}")


@clause("ops-54")
def test_reverse_is_the_flipped_sequence(nn: Any, dtype: str) -> None:
    a, b, h0 = (normal(shape, dtype, seed=6) for shape in ((5, 3), (5, 3), (3,)))
    got = nn.ops.linear_recurrence(*[nn.tensor(v) for v in (a, b, h0)], reverse=True)
    other = nn.ops.linear_recurrence(*[nn.tensor(v.copy()) for v in (a[::-1], b[::-1], h0)])
    agrees(nn, got, to_numpy(nn, other)[::-1], "reduction", dtype=dtype)


@clause("ops-54")
@pytest.mark.parametrize("bad", [INF, -INF, NAN])
@pytest.mark.parametrize("reverse", [False, True])
def test_without_a_first_state_the_first_factor_is_not_used(
    nn: Any, dtype: str, bad: float, reverse: bool
) -> None:
    a, b = normal((4, 2), dtype, seed=1), normal((4, 2), dtype, seed=2)
    first = -1 if reverse else 0
    spoilt = a.copy()
    spoilt[first] = bad
    want = linear_recurrence(a.astype(np.float64), b.astype(np.float64), None, reverse=reverse)
    leaf = tensor(nn, spoilt)
    got = nn.ops.linear_recurrence(leaf, nn.tensor(b), reverse=reverse)
    agrees(nn, got, want, "reduction")
    nn.ops.sum(got).backward()
    slope = to_numpy(nn, leaf.grad)
    exactly(nn, slope[first], np.zeros(2), dtype=dtype)
    assert np.all(np.isfinite(slope)), f"got the gradient {slope}"


@clause("ops-54", needs=("float64", "double_backward"))
def test_factors_of_0(nn: Any) -> None:
    """Nothing is divided by, in first and second derivative."""
    a = np.array([[0.5, 0.0], [0.0, 0.0], [0.25, 2.0], [0.0, -1.0]])
    b, h0 = normal((4, 2), "float64", seed=2), normal((2,), "float64", seed=3)
    cotangent = normal((4, 2), "float64", seed=4)
    _, slopes = loop(a, b, h0, cotangent)

    def first(*leaves: Any) -> Any:
        return nn.grad(
            lambda *xs: nn.ops.sum(nn.ops.linear_recurrence(*xs) * nn.tensor(cotangent)),
            argnums=(0, 1, 2),
            create_graph=True,
        )(*leaves)

    leaves = [tensor(nn, array) for array in (a, b, h0)]
    got = first(*leaves)
    for slope, (name, want) in zip(got, slopes.items(), strict=True):
        agrees(nn, slope, want, "reduction", call=f"gradient to {name}", dtype="float64")
    # The gradient to a is linear in each other factor: its slope is a difference without error.
    nn.ops.sum(got[0]).backward()
    step = 0.5
    for t, n in np.ndindex(4, 2):
        sums = []
        for sign in (1, -1):
            moved = a.copy()
            moved[t, n] += sign * step
            sums.append(np.sum(loop(moved, b, h0, cotangent)[1]["a"]))
        agrees(
            nn,
            to_numpy(nn, leaves[0].grad)[t, n],
            (sums[0] - sums[1]) / (2 * step),
            "reduction",
            call=f"second derivative to a[{t}, {n}]",
            dtype="float64",
        )


@clause("ops-54", needs=("float64", "double_backward"))
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_second_derivatives(nn: Any, first: bool, reverse: bool) -> None:
    shapes = [(4, 2), (4, 2), (2,)][: 2 + first]
    arrays = [normal(shape, "float64", seed=s) for s, shape in enumerate(shapes)]
    scan = partial(nn.ops.linear_recurrence, reverse=reverse)
    check_gradients(nn, scan, arrays, second_order=True, call=f"reverse={reverse}")


@clause("ops-54")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_stays_in_its_row(nn: Any, dtype: str, place: int) -> None:
    arrays = [normal(shape, dtype, seed=s) for s, shape in enumerate([(6, 3), (6, 3), (3,)])]

    def results(arrays: list[np.ndarray]) -> list[np.ndarray]:
        leaves = [tensor(nn, array) for array in arrays]
        value = nn.ops.linear_recurrence(*leaves)
        nn.ops.sum(value * value).backward()
        return [to_numpy(nn, value.detach()), *[to_numpy(nn, leaf.grad) for leaf in leaves]]

    plain = results(arrays)
    spoilt = [array.copy() for array in arrays]
    spoilt[place][(1,) if place == 2 else (2, 1)] = NAN
    for got, want in zip(results(spoilt), plain, strict=True):
        exactly(nn, got[..., [0, 2]], want[..., [0, 2]], dtype=dtype)
    value = results(spoilt)[0]
    start = 0 if place == 2 else 2
    assert np.all(np.isnan(value[start:, 1]))
    exactly(nn, value[:start, 1], plain[0][:start, 1], dtype=dtype)


@clause("ops-54")
def test_dtypes_and_numbers(nn: Any) -> None:
    single, double = normal((3, 2), "float32"), normal((3, 2), "float64")
    mixed = nn.ops.linear_recurrence(nn.tensor(single), nn.tensor(double))
    want = linear_recurrence(single.astype(np.float64), double)
    agrees(nn, mixed, want, "reduction", dtype="float64")
    decaying = nn.ops.linear_recurrence(0.5, nn.tensor(single), 1)
    want = linear_recurrence(np.float64(0.5), single.astype(np.float64), np.float64(1))
    agrees(nn, decaying, want, "reduction", dtype="float32")
    from_raw = nn.ops.linear_recurrence(raw(nn, single), raw(nn, single), raw(nn, single[0]))
    double = in_double(single)
    want = linear_recurrence(double, double, double[0])
    agrees(nn, from_raw, want, "reduction", dtype="float32")


@clause("ops-54", "ops-12", "ops-21")
def test_what_does_not_fit(nn: Any) -> None:
    x = nn.tensor(np.ones((3, 2), "float32"))
    function = nn.ops.linear_recurrence
    with refuses(ValueError, "linear_recurrence", "(3, 2)", "(4,)"):
        function(x, nn.tensor(np.ones(4, "float32")))
    with refuses(ValueError, "linear_recurrence", "h0", "(3,)"):
        function(x, x, nn.tensor(np.ones(3, "float32")))
    with refuses(ValueError, "linear_recurrence"):
        function(nn.tensor(np.float32(1)), nn.tensor(np.float32(1)))
    for kind in ("int64", "bool"):
        whole = nn.tensor(np.ones((3, 2), kind))
        with refuses(TypeError, "linear_recurrence", kind):
            function(whole, whole)
        with refuses(TypeError, "linear_recurrence", kind):
            function(x, whole)
    with refuses(TypeError, "linear_recurrence"):
        function(0.5, 1.0)
    with refuses(TypeError, "linear_recurrence", "str"):
        function(x, x, "0")


PROGRAM = """
steps = 200_000
a = nn.tensor(np.full((steps,), 0.5, np.float32), requires_grad=True)
b = nn.tensor(np.ones((steps,), np.float32), requires_grad=True)
y = nn.ops.linear_recurrence(a, b)
nn.ops.sum(y).backward()
assert abs(float(y[-1]) - 2) < 1e-5 and abs(float(b.grad[0]) - 2) < 1e-5
"""
LIMIT = 100


@clause("ops-54")
def test_its_cost_is_that_of_its_length(implementation: str) -> None:
    # The square of the length is 4e10: work in proportion to that would not end.
    took = seconds_of(implementation, PROGRAM, LIMIT)
    assert took is not None, f"200000 steps should end within {LIMIT} s of CPU time"
