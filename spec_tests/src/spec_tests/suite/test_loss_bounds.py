"""Chapter loss: the first argument that is refused, and shapes that no others hide."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(4)


@clause("loss-05")
@pytest.mark.parametrize("target", [3, 4, 9, -1, -7])
def test_classes_that_are_none(nn: Any, target: int) -> None:
    x = nn.tensor(normal((2, 3), "float32"))
    for name in ("cross_entropy", "nll_loss"):
        with refuses((ValueError, IndexError), name, target):
            getattr(nn.loss, name)(x, nn.tensor([1, target]))


@clause("loss-21")
@pytest.mark.parametrize("sizes", [(2, 1, 2), (1, 1, 1), (3, 0, 1, 2), (4,)])
def test_labels_one_after_the_other(nn: Any, dtype: str, sizes: tuple[int, ...]) -> None:
    """They mean what rows of them mean, however many rows there are and however long."""
    steps, rows, most = 9, len(sizes), max(sizes)
    x = nn.ops.log_softmax(nn.tensor(normal((steps, rows, 5), dtype)), axis=-1)
    labels = np.arange(rows * most).reshape(rows, most) % 4 + 1
    together = np.concatenate([row[:size] for row, size in zip(labels, sizes, strict=True)])
    lengths = (steps,) * rows
    options = {"reduction": "none"}
    padded = nn.loss.ctc_loss(x, nn.tensor(labels), lengths, sizes, **options)
    joined = nn.loss.ctc_loss(x, nn.tensor(together), lengths, sizes, **options)
    exactly(nn, joined, padded.detach().numpy(), call=f"ctc_loss, target_lengths {sizes}")


@clause("loss-17")
def test_a_batch_without_an_axis(nn: Any, dtype: str) -> None:
    """It counts as one sample."""
    x, t = (nn.tensor(np.array(value, dtype)) for value in (-0.5, 0.25))
    mean = nn.loss.kl_div(x, t, reduction="batchmean")
    exactly(nn, mean, nn.loss.kl_div(x, t, reduction="sum").numpy())
