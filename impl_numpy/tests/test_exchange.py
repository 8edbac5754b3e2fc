"""What `convert` does beyond the text: order of entries, layouts in memory, absurd sizes."""

import numpy as np
import pytest

import impl_numpy as nn


def state():
    return nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2).state_dict()


def test_entries_come_in_the_order_of_a_state_dict():
    flat = nn.rnn.convert(state(), target="cudnn")
    back = nn.rnn.convert(
        flat,
        "cudnn",
        cell="LSTM",
        input_size=3,
        hidden_size=4,
        num_layers=2,
        bidirectional=True,
        proj_size=2,
    )
    assert list(back) == list(state())


@pytest.mark.parametrize("lay_out", [np.asfortranarray, lambda x: np.repeat(x, 2, axis=0)[::2]])
def test_the_layout_in_memory_does_not_matter(lay_out):
    arrays = {name: value.numpy() for name, value in state().items()}
    wanted = nn.rnn.convert(arrays, target="cudnn")["weights"]
    laid_out = {name: lay_out(value) for name, value in arrays.items()}
    assert np.array_equal(nn.rnn.convert(laid_out, target="cudnn")["weights"], wanted)


def test_other_byte_order_becomes_the_machines():
    arrays = {name: value.numpy() for name, value in state().items()}
    swapped = {name: array.astype(array.dtype.newbyteorder()) for name, array in arrays.items()}
    for name, array in nn.rnn.convert(swapped).items():
        assert array.dtype.isnative
        assert np.array_equal(array, arrays[name])


def test_more_layers_than_numbers_are_refused_without_counting_them():
    flat = {"weights": np.zeros(10)}
    with pytest.raises(ValueError, match="convert: num_layers must fit weights of cudnn"):
        nn.rnn.convert(flat, "cudnn", cell="RNN", input_size=1, hidden_size=1, num_layers=1 << 50)
