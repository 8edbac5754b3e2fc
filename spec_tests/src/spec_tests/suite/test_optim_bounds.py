"""Chapter optim: the first step, and steps where nothing is learned of the curvature."""

from typing import Any

import numpy as np

from spec_tests import clause
from spec_tests.support.assertions import agrees


@clause("optim-17")
def test_a_function_without_curvature(nn: Any, dtype: str) -> None:
    """No pair is kept, so H stays 1, and each step but the first goes by lr times the gradient."""
    slope = np.array([3.0, -1.0], dtype)
    x = nn.Parameter(nn.tensor(np.array([1.0, 2.0], dtype)))
    optimizer = nn.optim.LBFGS([x], lr=0.125, max_iter=3, max_eval=9)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.ops.sum(x * nn.tensor(slope))
        loss.backward()
        return loss

    optimizer.step(closure)
    # t = lr min(1, 1 / 4) in the first iteration, and lr in the two others.
    want = np.array([1.0, 2.0]) - 0.125 * (0.25 + 1 + 1) * slope.astype("float64")
    agrees(nn, x, want, "descent", dtype=dtype)
    state = optimizer.state_dict()["state"][0]
    assert state["H_diag"] == 1
    assert list(state["old_dirs"]) == []
