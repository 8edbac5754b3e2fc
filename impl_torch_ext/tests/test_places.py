"""Values put and added at places: what depends on sizes and threads."""

import numpy as np
import pytest
import torch

import impl_torch_ext as nn


@pytest.mark.parametrize("threads", [1, 4])
def test_the_last_value_stays_whatever_the_threads(threads):
    """So many values that torch's own copies would be shared among threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        places = np.random.default_rng(0).integers(-500, 500, 200_000)
        values = torch.arange(200_000, dtype=torch.float64)
        want = np.zeros(500)
        want[places] = values.numpy()
        assert np.array_equal(nn.ops.put(nn.zeros(500, dtype=nn.float64), places, values), want)
        pair = (places, np.zeros(1, "int64"))
        x = nn.zeros((500, 2), dtype=nn.float64)
        assert np.array_equal(nn.ops.put(x, pair, values)[:, 0], want)
    finally:
        torch.set_num_threads(before)


def test_keys_that_are_no_index_are_refused_in_one_way():
    for key in ("a", 1.5, {}, {1}):
        with pytest.raises(IndexError, match="put: an index must be"):
            nn.ops.put(nn.zeros(3), key, 0)
        with pytest.raises(IndexError, match="indexing: an index must be"):
            nn.zeros(3)[key]
    assert nn.zeros(3)[range(2)].shape == (2,)
