"""Chapter loss: the first argument that is refused, and shapes that no others hide."""

from math import comb
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, refuses, tensor
from spec_tests.support.inputs import in_double, normal

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


@clause("loss-21")
def test_a_sequence_alone(nn: Any, dtype: str) -> None:
    """Without an axis of the batch, its label as `11`, `1-` and `-1`."""
    x = normal((2, 3), dtype)
    got = nn.loss.ctc_loss(nn.tensor(x), nn.tensor([1, 2]), nn.tensor(2), (1,), reduction="none")
    paths = sum(np.exp(in_double(x)[[0, 1], path].sum()) for path in ([1, 1], [1, 0], [0, 1]))
    agrees(nn, got, -np.log(paths), "rnn", call="ctc_loss of one sequence")


@clause("loss-20")
def test_a_triplet_alone(nn: Any, dtype: str) -> None:
    """Without an axis of the batch, and with a p above 2."""
    rows = [normal((5,), dtype, seed=k) for k in range(3)]
    options = {"margin": 9.0, "p": 3.0, "eps": 0.25}
    got = nn.loss.triplet_margin_loss(*map(nn.tensor, rows), **options)
    x, *others = map(in_double, rows)
    near, far = (np.sum(np.abs(x - y + 0.25) ** 3) ** (1 / 3) for y in others)
    agrees(nn, got, 9 + near - far, "reduction", call="triplet_margin_loss of one triplet")


@clause("loss-15", "loss-16")
def test_any_integer_is_ignored(nn: Any) -> None:
    x = normal((2, 3), "float32")
    for index in (255, -(2**40)):
        target = nn.tensor(np.array([1, index]))
        got = nn.loss.nll_loss(nn.tensor(x), target, ignore_index=index)
        exactly(nn, got, -x[0, 1], call=f"ignore_index={index}")


@clause("loss-12", needs="double_backward")
def test_without_a_bend_there_is_no_second_derivative(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([-0.5, 0.0, 2.0], dtype))
    loss = nn.loss.smooth_l1_loss(x, nn.zeros(3, dtype=x.dtype), "sum", 0.0)
    (slope,) = nn.grad(loss, [x], create_graph=True)
    nn.ops.sum(slope * x).backward()
    exactly(nn, x.grad, np.array([-1, 0, 1.0]), call="slope, and no second derivative times x")


@clause("loss-17")
def test_a_batch_without_an_axis(nn: Any, dtype: str) -> None:
    """It counts as one sample."""
    x, t = (nn.tensor(np.array(value, dtype)) for value in (-0.5, 0.25))
    mean = nn.loss.kl_div(x, t, reduction="batchmean")
    exactly(nn, mean, nn.loss.kl_div(x, t, reduction="sum").numpy())


def visits(steps: int, size: int) -> np.ndarray:
    """Return how many of the paths are in each state at each step, no label coming twice."""
    ways = [[0] * (2 * size + 1) for _ in range(steps)]
    ways[0][:2] = [1, 1]
    for t in range(1, steps):
        for s in range(2 * size + 1):
            first = s - 2 if s % 2 else s - 1
            ways[t][s] = sum(ways[t - 1][max(first, 0) : s + 1])
    # A path that is read backwards is one too.
    back = [row[::-1] for row in ways[::-1]]
    whole = ways[-1][-1] + ways[-1][-2]
    assert whole == comb(steps + size, 2 * size)
    return np.array(
        [
            [a * b / whole for a, b in zip(*rows, strict=True)]
            for rows in zip(ways, back, strict=True)
        ]
    )


@clause("loss-21", "loss-03")
def test_long_targets_of_many_classes(nn: Any, dtype: str) -> None:
    """Where all symbols are as likely the paths are counted."""
    steps, sizes, classes = (50, 40), (20, 17), 45
    x = tensor(nn, np.full((50, 2, classes), -2, dtype))
    labels = np.stack([np.arange(20) * 2 + 3, 44 - np.arange(20)])
    loss = nn.loss.ctc_loss(x, nn.tensor(labels), steps, sizes, blank=1, reduction="none")
    counts = [comb(t + size, 2 * size) for t, size in zip(steps, sizes, strict=True)]
    want = [2 * t - np.log(float(count)) for t, count in zip(steps, counts, strict=True)]
    agrees(nn, loss.detach(), np.array(want), "rnn", call="ctc_loss")
    loss.backward(nn.tensor(np.array([1, 2], dtype)))
    slope = np.zeros((50, 2, classes))
    for n, (t, size) in enumerate(zip(steps, sizes, strict=True)):
        found = visits(t, size)
        slope[:t, n, 1] = -(n + 1) * found[:, ::2].sum(axis=1)
        slope[:t, n, labels[n, :size]] = -(n + 1) * found[:, 1::2]
    agrees(nn, x.grad, slope, "rnn", call="gradient of ctc_loss")


@clause("loss-21", "loss-10")
@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_on_the_only_path(nn: Any, dtype: str, place: int) -> None:
    x, labels = normal((3, 2, 4), dtype), np.array([[1, 2, 3], [3, 1, 2]])
    x[place, 1, labels[1, place]] = np.nan
    loss = nn.loss.ctc_loss(nn.tensor(x), nn.tensor(labels), (3, 3), (3, 3), reduction="none")
    want = [-sum(in_double(x)[[0, 1, 2], 0, labels[0]]), np.nan]
    agrees(nn, loss, np.array(want), "rnn", call=f"ctc_loss, NaN in step {place}")


@clause("loss-02", "loss-15", "loss-03", needs=("float64", "double_backward"))
def test_weights_may_be_negative(nn: Any) -> None:
    targets, weight = nn.tensor([0, 1, 2]), nn.tensor(np.array([0.5, -1.5, 0.0]))

    def both(x: Any) -> Any:
        smooth = nn.loss.cross_entropy(x, targets, weight, reduction="none", label_smoothing=0.25)
        return smooth, nn.loss.nll_loss(x * x, targets, weight, reduction="none")

    x = normal((3, 3), "float64")
    check_gradients(nn, both, [x], second_order=True, call="losses with a negative weight")
    want = -np.array([0.5, -1.5, 0.0]) * np.diag(x) ** 2
    agrees(nn, both(nn.tensor(x))[1], want, "reduction", call="nll_loss", dtype="float64")
