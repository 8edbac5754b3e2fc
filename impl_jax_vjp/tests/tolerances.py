"""How near to each other results must be, by classes and figures of the spec's numerics chapter.

A figure is relative to the expected element alone, in machine epsilons of its dtype; none is added
for the scale of an array, so these are narrower than the suite's.
"""

from typing import Any

import numpy as np

EPSILONS = {
    # A few roundings and a function good to 4 ULP.
    "elementwise": 4,
    # A backward pass of a few operations, or inner products of at most 64 terms.
    "gradient": 16,
    # Steps, layers or orders of derivative, the error of each carried on.
    "rnn": 64,
    # Optimizer steps, each a few roundings.
    "optim": 64,
}
# Central differences, step 6e-6, of functions of order 1.
DIFFERENCE = 1e-8


def agree(result: Any, expected: Any, tolerance: str) -> None:
    """Fail unless every element agrees as the class of tolerance has it."""
    expected = np.asarray(expected)
    eps = np.finfo(expected.dtype).eps
    rtol = DIFFERENCE if tolerance == "difference" else EPSILONS[tolerance] * eps
    np.testing.assert_allclose(np.asarray(result), expected, rtol=rtol)
