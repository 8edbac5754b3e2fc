"""The generator goes back to where it was, its buffer too: the particulars of `random`."""

from __future__ import annotations

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy import random


def draw_and_fail() -> None:
    nn.rand(7)
    raise LookupError


def test_a_failed_call_leaves_every_word_of_the_state() -> None:
    for drawn in range(1, 10):
        nn.manual_seed(3)
        nn.rand(drawn)
        before = nn.get_rng_state().numpy().copy()
        with pytest.raises(LookupError), random.RestoredOnError():
            draw_and_fail()
        np.testing.assert_array_equal(nn.get_rng_state().numpy(), before)


def test_a_mark_counts_from_a_state_with_words_left_in_its_buffer() -> None:
    nn.manual_seed(3)
    nn.rand(6)
    state = nn.get_rng_state()
    want = nn.rand(12).numpy()
    for drawn in range(1, 10):
        nn.set_rng_state(state)
        nn.rand(drawn)
        start = random.mark()
        nn.rand(5)
        with random.DrawnAgain(start):
            got = nn.rand(3).numpy()
        np.testing.assert_array_equal(got, want[drawn : drawn + 3])
