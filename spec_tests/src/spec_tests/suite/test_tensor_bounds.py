"""Chapter tensor: arrays without axes, of which a backend makes numbers."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses

pytestmark = pytest.mark.sampled(4)


@clause("tensor-08")
@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_what_is_computed_from_data_is_assigned(nn: Any, shape: tuple[int, ...]) -> None:
    """Arithmetic on raw arrays gives raw arrays, of any number of axes."""
    x = nn.tensor(np.full(shape, 1.5, np.float32), requires_grad=True)
    x.data = x.data * 2
    exactly(nn, x, np.full(shape, 3, np.float32))
    x.data = x.data - x.data / 2
    exactly(nn, x, np.full(shape, 1.5, np.float32))
    assert x.requires_grad


@clause("tensor-12")
def test_what_an_operation_made_stays_in_the_graph(nn: Any) -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    assert y.requires_grad_() is y
    with refuses(RuntimeError, ("leaf", "leaves")):
        y.requires_grad_(False)
    assert y.requires_grad
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.array([2, 2], np.float32))
