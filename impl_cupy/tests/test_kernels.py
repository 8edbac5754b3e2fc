"""Single kernels against the equations in NumPy float64, at odd sizes and on several grids.

T, N, H: steps, batch, hidden size. Every array is one part of a longer one, whose other parts must
stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from impl_cupy.backend import cp
from impl_cupy.launch import _argument, _function

GRIDS = [(1, 1), (1, 7), (3, 64), (5, 256)]
SIZES = [(1, 1, 1), (3, 5, 7), (2, 3, 43)]
DTYPES = ["float32", "float64"]
GUARD = 5


class Arrays:
    """Device arrays of one dtype, each with guards on both sides."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.whole: list[tuple[Any, int]] = []

    def put(self, host: np.ndarray[Any, Any]) -> Any:
        """Copy to the device, between guards."""
        dtype = self.dtype if host.dtype.kind == "f" else host.dtype
        whole = cp.full(host.size + 2 * GUARD, 77, dtype=dtype)
        whole[GUARD : GUARD + host.size] = cp.asarray(host.astype(dtype).ravel())
        self.whole.append((whole, host.size))
        return whole[GUARD : GUARD + host.size].reshape(host.shape)

    def check(self) -> None:
        """Assert that no guard was written."""
        for whole, size in self.whole:
            host = cp.asnumpy(whole)
            assert (host[:GUARD] == 77).all()
            assert (host[GUARD + size :] == 77).all()


def run(grid: tuple[int, int], stem: str, name: str, dtype: str, *args: Any) -> None:
    suffix = {"float32": "float", "float64": "double"}[dtype]
    function = _function(stem, f"{name}_{suffix}")
    blocks, threads = grid
    function((blocks,), (threads,), tuple(_argument(each, np.dtype(dtype)) for each in args))


def close(device: Any, wanted: np.ndarray[Any, Any]) -> None:
    host = cp.asnumpy(device)
    scale = np.abs(wanted).max(initial=0.0) + 1e-300
    bound = 16 * np.finfo(host.dtype).eps * (np.abs(wanted) + scale)
    assert (np.abs(host - wanted) <= bound).all()


def sigmoid(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return 1 / (1 + np.exp(-x))


def packed_sigmoid(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what a kernel keeps of a gate."""
    return np.copysign(sigmoid(-np.abs(x)), x)


def packed_tanh(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return what a kernel keeps of a candidate."""
    far = np.copysign(0.5 + 0.5 * np.exp(2 * np.abs(x)), x)
    return np.where(np.abs(x) <= 1, np.tanh(x), far)


def rounded(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray[Any, Any]:
    return rng.uniform(-1, 1, shape).astype(dtype).astype(np.float64)


class Step:
    """The last of T steps, and where its states are.

    Its last row does not run where `is_cut`, and the states before it lie behind those of the steps
    where `is_reverse`.
    """

    def __init__(self, sizes: tuple[int, int, int], is_reverse: bool, is_cut: bool) -> None:
        T, N, H = sizes
        self.row, self.rows = (T - 1) * N, T * N
        self.count = max(1, N - is_cut)
        self.before = T * N if is_reverse else self.row
        self.shift = 0 if is_reverse else N
        self.size = H
        self.own = slice(self.row, self.row + self.count)
        self.earlier = slice(self.before, self.before + self.count)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The kernels' last arguments."""
        return self.row, self.before, self.size, self.count * self.size

    def after(self, states: Any) -> Any:
        """Return the rows of the states after the steps."""
        return states[self.shift : self.shift + self.rows]


def steps(test: Any) -> Any:
    """Ask for every grid, dtype, size and step."""
    for names, values in (
        ("is_cut", [False, True]),
        ("is_reverse", [False, True]),
        ("sizes", SIZES),
        ("dtype", DTYPES),
        ("grid", GRIDS),
    ):
        test = pytest.mark.parametrize(names, values, ids=str)(test)
    return test


def untouched(device: Any, written: slice) -> None:
    """Assert that no other row was written."""
    host = cp.asnumpy(device)
    assert (host[: written.start] == 0).all()
    assert (host[written.stop :] == 0).all()


@steps
@pytest.mark.parametrize("relu", [False, True])
def test_rnn(
    sizes: tuple[int, int, int],
    dtype: str,
    grid: tuple[int, int],
    is_reverse: bool,
    is_cut: bool,
    relu: bool,
) -> None:
    T, N, H = sizes
    rng, put, step = np.random.default_rng(0), Arrays(dtype), Step(sizes, is_reverse, is_cut)
    own, count = step.own, step.count
    from_x, from_h = rounded(rng, dtype, T * N, H), rounded(rng, dtype, N, H)
    bias_ih, bias_hh = rounded(rng, dtype, H), rounded(rng, dtype, H)
    after = put.put(np.zeros((T * N, H)))
    args = [put.put(each) for each in (from_x, from_h, bias_ih, bias_hh)]
    run(grid, "rnn", "rnn_forward", dtype, *args, after, True, relu, *step.numbers)
    total = from_x[own] + from_h[:count] + bias_ih + bias_hh
    want = np.maximum(total, 0) if relu else np.tanh(total)
    close(after[own], want)
    untouched(after, own)

    h = np.zeros((T * N, H))
    h[own] = want.astype(dtype)
    grad, later = rounded(rng, dtype, T * N, H), rounded(rng, dtype, N, H)
    sums = put.put(np.zeros((T * N, H)))
    args = [put.put(each) for each in (h, grad, later)]
    run(grid, "rnn", "rnn_backward", dtype, *args, sums, True, relu, *step.numbers)
    close(sums[own], (grad[own] + later[:count]) * ((h[own] > 0) if relu else 1 - h[own] ** 2))
    untouched(sums, own)
    put.check()


@steps
def test_lstm(
    sizes: tuple[int, int, int], dtype: str, grid: tuple[int, int], is_reverse: bool, is_cut: bool
) -> None:
    T, N, H = sizes
    rng, put, step = np.random.default_rng(1), Arrays(dtype), Step(sizes, is_reverse, is_cut)
    own, count = step.own, step.count
    from_x, from_h = rounded(rng, dtype, T * N, 4 * H), rounded(rng, dtype, N, 4 * H)
    bias_ih, bias_hh = rounded(rng, dtype, 4 * H), rounded(rng, dtype, 4 * H)
    c = rounded(rng, dtype, T * N + N, H)
    gates, cells, made = (put.put(each) for each in (from_x, c, np.zeros((T * N, H))))
    # The gates take the place of from_x, or have their own.
    given = gates if is_cut else put.put(from_x)
    args = [put.put(each) for each in (from_h, bias_ih, bias_hh)]
    after = step.after(cells)
    arrays = (given, *args, gates, cells, after, made)
    run(grid, "rnn", "lstm_forward", dtype, *arrays, True, *step.numbers)
    total = (from_x[own] + from_h[:count] + bias_ih + bias_hh).reshape(count, 4, H)
    i, f, o = (sigmoid(total[:, k]) for k in (0, 1, 3))
    g = np.tanh(total[:, 2])
    earlier = c[step.earlier]
    cell = f * earlier + i * g
    packed = [packed_tanh(total[:, k]) if k == 2 else packed_sigmoid(total[:, k]) for k in range(4)]
    close(gates[own], np.stack(packed, axis=1).reshape(count, 4 * H))
    close(after[own], cell)
    close(made[own], o * np.tanh(cell))
    untouched(made, own)

    grad, every = (rounded(rng, dtype, T * N, H) for _ in range(2))
    later, grad_c = (rounded(rng, dtype, N, H) for _ in range(2))
    running, sums = put.put(grad_c), put.put(np.zeros((T * N, 4 * H)))
    args = [put.put(each) for each in (grad, every, later)]
    arrays = (gates, cells, after, *args, running, running, sums)
    run(grid, "rnn", "lstm_backward", dtype, *arrays, True, is_cut, *step.numbers)
    dh, y = grad[own] + later[:count], np.tanh(cell)
    dc = grad_c[:count] + dh * o * (1 - y**2) + is_cut * every[own]
    want = [
        dc * g * i * (1 - i),
        dc * earlier * f * (1 - f),
        dc * i * (1 - g**2),
        dh * y * o * (1 - o),
    ]
    close(sums[own], np.stack(want, axis=1).reshape(count, 4 * H))
    close(running[:count], dc * f)
    close(running[count:], grad_c[count:])
    untouched(sums, own)
    put.check()


@steps
def test_gru(
    sizes: tuple[int, int, int], dtype: str, grid: tuple[int, int], is_reverse: bool, is_cut: bool
) -> None:
    T, N, H = sizes
    rng, put, step = np.random.default_rng(2), Arrays(dtype), Step(sizes, is_reverse, is_cut)
    own, count = step.own, step.count
    from_x, from_h = rounded(rng, dtype, T * N, 3 * H), rounded(rng, dtype, N, 3 * H)
    bias_ih, bias_hh = rounded(rng, dtype, 3 * H), rounded(rng, dtype, 3 * H)
    h = rounded(rng, dtype, T * N + N, H)
    gates, candidate, states = (put.put(each) for each in (from_x, np.zeros((T * N, H)), h))
    given = gates if is_cut else put.put(from_x)
    args = [put.put(each) for each in (from_h, bias_ih, bias_hh)]
    after = step.after(states)
    arrays = (given, *args, gates, candidate, states, after)
    run(grid, "rnn", "gru_forward", dtype, *arrays, True, True, *step.numbers)
    by_x = (from_x[own] + bias_ih).reshape(count, 3, H)
    by_h = (from_h[:count] + bias_hh).reshape(count, 3, H)
    r, z = (sigmoid(by_x[:, k] + by_h[:, k]) for k in (0, 1))
    n = np.tanh(by_x[:, 2] + r * by_h[:, 2])
    packed = [packed_sigmoid(by_x[:, k] + by_h[:, k]) for k in (0, 1)]
    packed.append(packed_tanh(by_x[:, 2] + r * by_h[:, 2]))
    earlier = h[step.earlier]
    close(gates[own], np.stack(packed, axis=1).reshape(count, 3 * H))
    close(candidate[own], by_h[:, 2])
    close(after[own], (1 - z) * n + z * earlier)
    untouched(candidate, own)

    grad, later, direct = (rounded(rng, dtype, *s) for s in ((T * N, H), (N, H), (N, H)))
    running = put.put(direct)
    grad_x, grad_h = (put.put(np.zeros((T * N, 3 * H))) for _ in range(2))
    args = [put.put(each) for each in (grad, later)]
    arrays = (gates, candidate, states, *args, running, grad_x, grad_h)
    run(grid, "rnn", "gru_backward", dtype, *arrays, True, *step.numbers)
    dh = grad[own] + later[:count] + direct[:count]
    dn = dh * (1 - z) * (1 - n**2)
    dz = dh * (earlier - n) * z * (1 - z)
    dr = dn * by_h[:, 2] * r * (1 - r)
    close(grad_x[own], np.stack([dr, dz, dn], axis=1).reshape(count, 3 * H))
    close(grad_h[own], np.stack([dr, dz, dn * r], axis=1).reshape(count, 3 * H))
    close(running[:count], dh * z)
    close(running[count:], direct[count:])
    untouched(grad_x, own)
    untouched(grad_h, own)
    put.check()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("lookups", "rows", "width"), [(1, 1, 1), (37, 5, 3), (11, 90, 7)])
def test_scatter(lookups: int, rows: int, width: int, dtype: str, grid: tuple[int, int]) -> None:
    rng, put = np.random.default_rng(3), Arrays(dtype)
    values = rounded(rng, dtype, lookups, width)
    where = rng.integers(0, rows, lookups)
    order = np.argsort(where, kind="stable")
    out = put.put(np.zeros((rows, width)))
    args = [put.put(each) for each in (values, order, where[order])]
    run(grid, "scatter", "scatter_rows", dtype, *args, out, lookups, width, 2, lookups * width)
    want = np.zeros((rows, width))
    np.add.at(want, where, values)
    if rows > 2:
        want[2] = 0
    close(out, want)
    put.check()


@pytest.mark.parametrize("is_soft", [False, True])
@pytest.mark.parametrize("has_weight", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_losses_of_classes(
    grid: tuple[int, int], dtype: str, has_weight: bool, is_soft: bool
) -> None:
    N, C, D, ignore, share = 3, 5, 7, 2, 0.25 if is_soft else 0.0
    rng, put = np.random.default_rng(4), Arrays(dtype)
    log_p, grad = rounded(rng, dtype, N, C, D), rounded(rng, dtype, N, D)
    weight = rounded(rng, dtype, C)
    target = rng.integers(0, C, (N, D))
    given = [put.put(each) for each in (log_p, target, weight)]
    losses, out = put.put(np.zeros((N, D))), put.put(np.zeros((N, C, D)))
    numbers = (share, ignore, C, D)
    run(grid, "loss", "nll_forward", dtype, *given, losses, has_weight, *numbers, N * D)

    w = weight[None, :, None] if has_weight else np.ones((1, C, 1))
    hot = np.arange(C)[None, :, None] == target[:, None, :]
    counts = (target != ignore)[:, None, :]
    q = ((1 - share) * hot + share / C) * w * counts
    close(losses, -(q * log_p).sum(axis=1))
    args = (*given, put.put(weight.sum(keepdims=True)), put.put(grad), out)
    flags = (has_weight, is_soft, *numbers)
    run(grid, "loss", "nll_backward", dtype, *args, *flags, N * C * D)
    expected = np.exp(log_p) * q.sum(axis=1, keepdims=True) if is_soft else 0
    close(out, (expected - q) * grad[:, None, :])
    put.check()


@pytest.mark.parametrize("is_reverse", [False, True])
@pytest.mark.parametrize("has_first", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (3, 5, 7), (43, 4, 1)], ids=str)
def test_recurrence(
    sizes: tuple[int, int, int],
    grid: tuple[int, int],
    dtype: str,
    has_first: bool,
    is_reverse: bool,
) -> None:
    outer, T, inner = sizes
    rng, put = np.random.default_rng(5), Arrays(dtype)
    a, b, grad = (rounded(rng, dtype, *sizes) for _ in range(3))
    first = rounded(rng, dtype, outer, inner)
    order = range(T)[:: -1 if is_reverse else 1]
    h, state = np.zeros(sizes), first
    for place, t in enumerate(order):
        state = b[:, t] if place == 0 and not has_first else a[:, t] * state + b[:, t]
        h[:, t] = state
    made, begun = put.put(np.zeros(sizes)), put.put(first)
    numbers = (is_reverse, T, inner, outer * inner)
    args = [put.put(each) for each in (a, b)]
    run(grid, "recurrence", "recurrence_forward", dtype, *args, begun, made, has_first, *numbers)
    close(made, h)

    to_a, to_b, later = np.zeros(sizes), np.zeros(sizes), np.zeros((outer, inner))
    for place, t in reversed(list(enumerate(order))):
        to_b[:, t] = grad[:, t] + later
        before = h[:, order[place - 1]] if place else first * has_first
        to_a[:, t], later = to_b[:, t] * before, a[:, t] * to_b[:, t]
    outs = [put.put(np.zeros(each.shape)) for each in (to_a, to_b, later)]
    args = [args[0], made, begun, put.put(grad)]
    flags = (has_first, True)
    run(grid, "recurrence", "recurrence_backward", dtype, *args, *outs, *flags, *numbers)
    for out, wanted in zip(outs, (to_a, to_b, later * has_first), strict=True):
        close(out, wanted)
    put.check()


@pytest.mark.parametrize("is_centered", [False, True])
@pytest.mark.parametrize("is_affine", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("grid", [(1, 32), (3, 64), (5, 256)], ids=str)
@pytest.mark.parametrize(
    "sizes", [(1, 2, 1, 1), (5, 7, 1, 1), (3, 70, 1, 1), (6, 35, 3, 5)], ids=str
)
def test_norm(
    sizes: tuple[int, ...], grid: tuple[int, int], dtype: str, is_affine: bool, is_centered: bool
) -> None:
    rows, D, groups, spatial = sizes
    rng, put = np.random.default_rng(6), Arrays(dtype)
    x, grad = rounded(rng, dtype, rows, D), rounded(rng, dtype, rows, D)
    width = D // spatial
    weight, bias = rounded(rng, dtype, groups * width), rounded(rng, dtype, groups * width)
    every = rows // groups, groups, width, 1
    w, b = (
        np.broadcast_to(part.reshape(groups, width, 1), (*every[:3], spatial)).reshape(rows, D)
        for part in (weight, bias)
    )
    y, moments = put.put(np.zeros((rows, D))), cp.zeros((rows, 2), dtype="float64")
    given = [put.put(each) for each in (x, weight, bias)]
    numbers = (groups, spatial, D, 32 * rows)
    flags = (is_affine, is_affine, is_centered, 0.25)
    run(grid, "norm", "norm_forward", dtype, *given, y, moments, *flags, *numbers)
    left = x - x.mean(axis=1, keepdims=True) * is_centered
    scale = 1 / np.sqrt((left * left).mean(axis=1, keepdims=True) + 0.25)
    normal = left * scale
    close(y, normal * w + b if is_affine else normal)

    to_x, parts = put.put(np.zeros((rows, D))), put.put(np.zeros((rows, D)))
    args = (given[0], given[1], moments, put.put(grad), to_x, parts, is_affine, is_centered)
    run(grid, "norm", "norm_backward", dtype, *args, *numbers)
    arrived = grad * w if is_affine else grad
    along = (arrived * normal).mean(axis=1, keepdims=True)
    mean = arrived.mean(axis=1, keepdims=True) * is_centered
    close(to_x, (arrived - mean - normal * along) * scale)
    close(parts, grad * normal * is_affine)
    put.check()
