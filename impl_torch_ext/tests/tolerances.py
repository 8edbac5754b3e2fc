"""How near to each other results must be, by classes and figures of the spec's numerics chapter.

`|x - r| <= tol (|r| + scale)`, scale the largest |r|, tol in machine epsilons of the dtype.
"""

from typing import Any

import torch

EPSILONS = {
    # Optimizer steps in torch's own order: relative to each element alone, without the scale.
    "elementwise": 4,
    # Sums of a few terms: a small layer and few steps, states below 1.
    "reduction": 8,
    # Recurrent layers and their gradients: the error of each step carried on.
    "rnn": 64,
}


def agree(result: Any, expected: Any, tolerance_class: str) -> None:
    """Fail unless every element agrees as the class `tolerance_class` has it."""
    tolerance = EPSILONS[tolerance_class] * torch.finfo(expected.dtype).eps
    scaled = tolerance_class != "elementwise" and expected.numel() > 0
    scale = expected.detach().abs().max().item() if scaled else 0.0
    torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance * scale)
