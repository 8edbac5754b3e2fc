"""Values put and added at places: what depends on sizes and threads."""

import numpy as np
import pytest
import torch

import impl_torch_ext as nn
from impl_torch_ext.tensor import added_along


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


@pytest.mark.parametrize("dtype", [nn.float32, nn.float64, nn.int32, nn.int64])
@pytest.mark.parametrize("rest", [(), (3,)])
def test_sums_at_places_keep_the_dtype(dtype, rest):
    x = torch.arange(20 * 3)[: 20 * (3 if rest else 1)].reshape(20, *rest).to(dtype)
    places = torch.arange(20) % 4
    got = added_along(x, places, 5)
    want = np.zeros((5, *rest))
    np.add.at(want, places.numpy(), x.numpy())
    assert got.dtype == dtype
    assert np.array_equal(got, want)


def test_keys_that_are_no_index_are_refused_in_one_way():
    for key in ("a", 1.5, {}, {1}):
        with pytest.raises(IndexError, match="put: an index must be"):
            nn.ops.put(nn.zeros(3), key, 0)
        with pytest.raises(IndexError, match="indexing: an index must be"):
            nn.zeros(3)[key]
    assert nn.zeros(3)[range(2)].shape == (2,)
