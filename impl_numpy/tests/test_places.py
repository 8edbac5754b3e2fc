"""How NumPy orders its work must not be seen in what is put or multiplied."""

import numpy as np

import impl_numpy as nn
from impl_numpy.ops.einsum import _cheapest


def test_the_last_value_stays_in_whatever_order_the_key_lies_in_memory() -> None:
    key = np.asfortranarray(np.array([[0, 1, 2], [2, 1, 0]]))
    got = nn.ops.put(nn.zeros(3), key, nn.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]))
    np.testing.assert_array_equal(got.numpy(), [5, 4, 3])


def test_einsum_multiplies_first_what_grows_least() -> None:
    x, y = nn.zeros(50), nn.zeros(40)
    sizes = {"i": 50, "j": 40}
    assert _cheapest([(x, ["i"]), (y, ["j"]), (y, ["j"])], ["i"], sizes) == (1, 2)
    assert _cheapest([(x, ["i"]), (y, ["j"]), (x, ["i"])], ["j"], sizes) == (0, 2)
