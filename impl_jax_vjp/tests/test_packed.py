"""Packed sequences: what the specification leaves to this implementation."""

from typing import Any

import jax
import numpy as np
import pytest

import impl_jax_vjp as nn

ENDS = (1, 3, 2)
ROWS = np.arange(9, dtype=np.float32).reshape(3, 3)


def test_traced_lengths_are_refused() -> None:
    x = nn.tensor(ROWS)
    with pytest.raises(TypeError, match="pack: lengths"):
        jax.jit(lambda ends: nn.rnn.pack(x, ends).data.data)(np.array(ENDS))
    with pytest.raises(RuntimeError, match="pack: within vmap"):
        nn.vmap(lambda ends: nn.rnn.pack(x, ends).data)(nn.tensor([ENDS, ENDS]))


def test_what_is_packed_in_a_trace_is_known_there() -> None:
    def there_and_back(x: Any) -> Any:
        packed = nn.rnn.pack(x, ENDS)
        assert packed.batch_sizes.tolist() == [3, 2, 1]
        return nn.rnn.unpack(packed)[0]

    x = nn.tensor(ROWS)
    want = np.where(np.arange(3)[:, None] < np.array(ENDS), ROWS, 0)
    assert np.array_equal(nn.jit(there_and_back)(x).numpy(), want)
    rows = nn.vmap(there_and_back)(nn.tensor(np.stack([ROWS, ROWS])))
    assert np.array_equal(rows.numpy(), np.stack([want, want]))


@pytest.mark.parametrize("part", ["sorted_indices", "unsorted_indices"])
def test_one_of_the_indices_is_enough(part: str) -> None:
    packed = nn.rnn.pack(nn.tensor(ROWS), ENDS)
    back, lengths = nn.rnn.unpack(packed._replace(**{part: None}))
    assert np.array_equal(back.numpy(), nn.rnn.unpack(packed)[0].numpy())
    assert lengths.tolist() == list(ENDS)


def test_indices_that_are_no_order_are_refused() -> None:
    packed = nn.rnn.pack(nn.tensor(ROWS), ENDS)
    with pytest.raises(ValueError, match="unpack: sorted_indices"):
        nn.rnn.unpack(packed._replace(sorted_indices=nn.tensor([0, 0, 1])))
    with pytest.raises(TypeError, match="GRU: batch_sizes"):
        nn.GRU(1, 2)(packed._replace(data=packed.data[:, None], batch_sizes=3))
