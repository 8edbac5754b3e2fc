"""Chapter autograd: who still holds what."""

import gc
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses

pytestmark = pytest.mark.sampled(4)


@clause("autograd-45", "autograd-01")
def test_a_leaf_that_nobody_else_holds(nn: Any) -> None:
    """Whether its hook is still called is open; the pass goes on to the others."""
    seen: list[Any] = []
    x, other = (nn.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(list(t.grad.numpy())))
    y = (x * other * 3.0).sum()
    del x
    gc.collect()
    y.backward()
    assert seen in ([], [[3.0, 6.0]])
    exactly(nn, other.grad, np.array([3, 6], np.float32))


@clause("autograd-03", "optim-26")
def test_a_gradient_belongs_to_one_leaf(nn: Any, dtype: str) -> None:
    """A sum hands the same gradient to both operands; what is done to one of them stays with it."""
    given = nn.tensor(np.array([3.0, 4.0], dtype))
    x, y = (nn.tensor(np.zeros(2, dtype), requires_grad=True) for _ in range(2))
    (x + y).backward(given)
    nn.optim.clip_grad_norm_([x], 1.0)
    exactly(nn, y.grad, np.array([3, 4], dtype))
    exactly(nn, given, np.array([3, 4], dtype))
    x.grad.data = nn.ops.zeros_like(x.grad).data
    exactly(nn, y.grad, np.array([3, 4], dtype))
    exactly(nn, given, np.array([3, 4], dtype))


@clause("autograd-42")
@pytest.mark.parametrize("recorded", [True, False])
def test_anomalies_of_operands_that_are_cast(nn: Any, recorded: bool) -> None:
    x, zeros = nn.tensor([1.0, 2.0], requires_grad=recorded), nn.tensor([1, 0])
    with nn.detect_anomaly():
        with refuses(RuntimeError, "inf"):
            x / zeros
        with refuses(RuntimeError, "inf"):
            nn.ops.pow(zeros * 1.0, x * 0 - 1)
        assert nn.ops.sum(x * zeros).item() == 1
