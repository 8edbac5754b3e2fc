"""Sequences of different lengths: the order of their steps, and what is read of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.backend import EMULATED, cp
from impl_cupy.rnn.lengths import Cut, Whole, check_lengths, walks
from impl_cupy.tape import edge_of

T, N = 5, 4
LENGTHS = [2, 5, 0, 3]


def ways(lengths: list[int] | None) -> list[Any]:
    return walks((T, N), 2, None if lengths is None else np.array(lengths))


@pytest.mark.parametrize("lengths", [None, [T] * N])
def test_whole_sequences_are_not_gathered(lengths: Any) -> None:
    forward, reverse = ways(lengths)
    assert isinstance(forward, Whole)
    assert isinstance(reverse, Whole)
    x = cp.arange(T * N * 3).reshape(T, N, 3)
    for walk in (forward, reverse):
        assert walk.rows(x).base is not None
        assert (walk.put(walk.rows(x)) == x).all()
    assert list(reverse.steps()) == list(reverse.steps(back=True))[::-1]
    assert [row for row, _, _ in reverse.steps()] == [N * t for t in reversed(range(T))]
    assert all(before == row for row, before, _ in forward.steps())
    assert all(before == row + N for row, before, _ in reverse.steps())


def test_steps_run_those_that_are_still_there() -> None:
    forward, reverse = ways(LENGTHS)
    assert isinstance(forward, Cut)
    assert [count for _, _, count in forward.steps()] == [3, 3, 2, 1, 1]
    assert [row for row, _, _ in forward.steps()] == [0, 3, 6, 8, 9]
    # The states before the first step are the first ones, N rows; then those of the step before.
    assert [before for _, before, _ in forward.steps()] == [0, 4, 7, 10, 12]
    assert list(forward.steps()) == list(reverse.steps())
    assert cp.asnumpy(forward.order).tolist() == [1, 3, 0, 2]


def test_rows_of_both_directions() -> None:
    times, batch = np.indices((T, N))
    x = cp.asarray(np.stack([times, batch], axis=2))
    for walk, is_reverse in zip(ways(LENGTHS), (False, True), strict=True):
        rows = cp.asnumpy(walk.rows(x)).tolist()
        wanted = [
            [LENGTHS[n] - 1 - t if is_reverse else t, n]
            for t in range(T)
            for n in (1, 3, 0, 2)
            if t < LENGTHS[n]
        ]
        assert rows == wanted
        put = cp.asnumpy(walk.put(walk.rows(x + 1)))
        running = np.arange(T)[:, None] < np.array(LENGTHS)
        assert (put[running] == cp.asnumpy(x)[running] + 1).all()
        assert (put[~running] == 0).all()


def test_states_before_and_last() -> None:
    forward, _ = ways(LENGTHS)
    states = cp.arange(N + sum(LENGTHS))
    first = {n: rank for rank, n in enumerate((1, 3, 0, 2))}
    row_of = {(t, n): row for row, (t, n) in enumerate(rows_in_order())}
    before = cp.asnumpy(states[forward.before]).tolist()
    for (t, n), row in row_of.items():
        assert before[row] == (first[n] if t == 0 else N + row_of[t - 1, n])
    last = cp.asnumpy(states[forward.last]).tolist()
    assert last == [N + row_of[end - 1, n] if end else first[n] for n, end in enumerate(LENGTHS)]


def rows_in_order() -> list[tuple[int, int]]:
    return [(t, n) for t in range(T) for n in (1, 3, 0, 2) if t < LENGTHS[n]]


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_what_is_kept_is_within_the_lengths(name: str) -> None:
    layer: Any = getattr(nn, name)(3, 6)
    output, _ = layer(nn.zeros((T, N, 3), requires_grad=True), lengths=LENGTHS)
    saved = edge_of(output)[0].ctx.saved_tensors
    longest = N + sum(LENGTHS)
    assert len(saved) > 3
    weights = {tuple(p.shape) for p in layer.parameters()}
    assert all(len(array) <= longest or array.shape in weights for array in saved)


@pytest.mark.skipif(not EMULATED, reason="counts the emulation's bytes")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_steps_that_nobody_runs_cost_no_state(name: str) -> None:
    peaks = []
    for lengths in ([40] + [0] * 15, [40] * 16):
        layer: Any = getattr(nn, name)(1, 64)
        x = nn.zeros((40, 16, 1), requires_grad=True)
        pool = cp.get_default_memory_pool()
        pool.free_all_blocks()
        before = pool.total_bytes()
        output, _ = layer(x, lengths=lengths)
        peaks.append(pool.total_bytes() - before)
        del output
    # The output itself has all steps.
    assert peaks[0] < 0.75 * peaks[1]


def test_a_number_of_any_size_is_refused() -> None:
    for wrong in (2**70, -(2**70), T + 1):
        with pytest.raises(
            ValueError, match=rf"LSTM: lengths must be from 0 to T = 5, got {wrong}"
        ):
            check_lengths("LSTM", [1, 2, wrong, 3], T, N)
    with pytest.raises(ValueError, match=r"must have shape \(N,\) = \(4,\), got \(2, 2\)"):
        check_lengths("LSTM", [[1, 2], [3, 4]], T, N)
    with pytest.raises(TypeError, match=r"must be integers, got \[1, 2\]"):
        check_lengths("LSTM", [[1, 2], [3]], T, N)
    with pytest.raises(TypeError, match="must be integers, got True"):
        check_lengths("LSTM", [1, True, 2, 3], T, N)
    with pytest.raises(TypeError, match="must be integers, got dtype float32"):
        check_lengths("LSTM", nn.ones(4), T, N)
    huge = np.array([1, 2, 2**64 - 1, 3], np.uint64)
    with pytest.raises(ValueError, match="got 18446744073709551615"):
        check_lengths("LSTM", huge, T, N)


def test_any_integers_will_do() -> None:
    for lengths in (
        tuple(LENGTHS),
        range(4),
        np.array(LENGTHS, np.uint8),
        cp.array(LENGTHS, dtype=np.int16),
        nn.tensor(LENGTHS),
        [np.int8(2), nn.tensor(5), 0, 3],
    ):
        found = check_lengths("GRU", lengths, T, N)
        assert found.dtype == np.int64
        assert found.tolist() == [int(each) for each in lengths]
    assert check_lengths("GRU", [], 0, 0).shape == (0,)
    assert check_lengths("GRU", np.uint8(3), T, None).tolist() == [3]
