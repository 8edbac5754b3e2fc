"""Packed sequences: where rows stand, and what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.rnn.packed import Layout, layout_of


def test_the_places_of_rows() -> None:
    layout = Layout(np.array([3, 2, 1]), np.array([2, 0, 1]))
    assert layout.lengths.tolist() == [2, 1, 3]
    assert layout.sequences.tolist() == [2, 0, 1, 2, 0, 2]
    assert layout.places(3, batch_first=False).tolist() == [2, 0, 1, 5, 3, 8]
    assert layout.places(3, batch_first=True).tolist() == [6, 0, 3, 7, 1, 8]


def test_either_of_the_indices_is_enough() -> None:
    packed = nn.rnn.pack(nn.ones((3, 3, 1)), (2, 1, 3))
    orders = [
        layout_of("unpack", packed._replace(**{missing: None})).sequences.tolist()
        for missing in ("sorted_indices", "unsorted_indices")
    ]
    assert orders[0] == orders[1] == [2, 0, 1, 2, 0, 2]


@pytest.mark.parametrize("odd", [[0, 1], [0, 0, 1], [1, 2, 3]])
def test_indices_that_are_no_order(odd: Any) -> None:
    packed = nn.rnn.pack(nn.ones((3, 3, 1)), (2, 1, 3))
    with pytest.raises(ValueError, match="sorted_indices"):
        nn.rnn.unpack(packed._replace(sorted_indices=nn.tensor(odd)))


def test_raw_arrays_are_packed() -> None:
    x = np.arange(6.0, dtype="float32").reshape(3, 2)
    packed = nn.rnn.pack(nn.tensor(x).data, (1, 3))
    assert packed.data.tolist() == [1.0, 0.0, 3.0, 5.0]
