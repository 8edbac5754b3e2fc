"""Every kernel of the losses and optimizers as they call it, at sizes that fill no block.

`test_kernels_sanitized` runs this file again with AddressSanitizer watching the arrays' ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_kernels_emulated import FOLDER, check_gradient, draw, kernels_of

import cupy_emulation
import impl_cupy as nn
from impl_cupy.backend import EMULATED, cp

pytestmark = pytest.mark.skipif(not EMULATED, reason="counts launches of the emulation")

seen: set[str] = set()


@pytest.fixture(autouse=True)
def note_kernels() -> Any:
    cupy_emulation.reset_launches()
    yield
    seen.update(cupy_emulation.kernel_launches())


@pytest.mark.parametrize("shape", [(1, 2), (5, 7), (257, 3), (2, 300)], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction: str, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    x = nn.tensor(draw(rng, *shape), requires_grad=True)
    target = nn.tensor(draw(rng, *shape))
    classes = nn.tensor(rng.integers(0, shape[1], shape[0]))
    weights = nn.tensor(rng.uniform(0.5, 2, shape[1]))
    ignored = 0 if shape[0] > 1 else -100
    for loss in (
        lambda: nn.ops.sum(nn.loss.mse_loss(x, target, reduction=reduction)),
        lambda: nn.ops.sum(nn.loss.l1_loss(x, target, reduction=reduction)),
        lambda: nn.ops.sum(nn.loss.cross_entropy(x, classes, reduction=reduction)),
        lambda: nn.ops.sum(
            nn.loss.cross_entropy(
                x, classes, weights, ignored, label_smoothing=0.25, reduction=reduction
            )
        ),
    ):
        check_gradient(loss, [x], rng)
    single = nn.tensor(x.data.astype(cp.float32), requires_grad=True)
    nn.ops.sum(nn.loss.cross_entropy(single, classes, reduction=reduction)).backward()
    assert single.grad.data.dtype == cp.float32


ELEMENTS: dict[str, dict[str, Any]] = {
    "huber_loss": {"delta": 0.75},
    "smooth_l1_loss": {"beta": 0.75},
    "binary_cross_entropy": {},
    "binary_cross_entropy_with_logits": {},
    "kl_div": {},
    "kl_div of logarithms": {"log_target": True},
}


@pytest.mark.parametrize("shape", [(1,), (3, 7), (2, 257)], ids=str)
@pytest.mark.parametrize("name", ELEMENTS)
def test_losses_of_elements(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(17)
    loss, options = getattr(nn.loss, name.partition(" ")[0]), ELEMENTS[name]
    arrays = [rng.uniform(0.1, 0.9, shape) for _ in range(2)]
    leaves = [nn.tensor(array, requires_grad=True) for array in arrays]
    check_gradient(lambda: loss(*leaves, reduction="sum", **options), leaves, rng)
    singles = [nn.tensor(array.astype(np.float32), requires_grad=True) for array in arrays]
    loss(*singles, reduction="sum", **options).backward()
    assert all(leaf.grad.data.dtype == cp.float32 for leaf in singles)


@pytest.mark.parametrize("width", [1, 33])
def test_losses_of_rows(width: int) -> None:
    rng = np.random.default_rng(18)
    rows = [nn.tensor(draw(rng, 3, width), requires_grad=True) for _ in range(3)]
    for p in (1.0, 2.0, 3.0):
        check_gradient(lambda p=p: nn.loss.triplet_margin_loss(*rows, 9.0, p), rows, rng)


@pytest.mark.parametrize("sizes", [(1, 0), (5, 2), (40, 18)], ids=str)
@pytest.mark.parametrize("classes", [2, 40])
def test_losses_of_sequences(sizes: tuple[int, int], classes: int) -> None:
    """A warp has 32 lanes, and states, classes and sequences more or fewer."""
    rng = np.random.default_rng(19)
    steps, longest = sizes
    array = draw(rng, steps, 10, classes)
    targets = nn.tensor(rng.integers(1, classes, (10, longest)))
    lengths = [max(steps - n % 2, 1) for n in range(10)]
    counts = [longest if n % 3 else longest // 2 for n in range(10)]
    for dtype in ("float64", "float32"):
        x = nn.tensor(array.astype(dtype), requires_grad=True)

        def loss(x: Any = x) -> Any:
            return nn.loss.ctc_loss(x, targets, lengths, counts, zero_infinity=True)

        if dtype == "float64":
            check_gradient(loss, [x], rng)
        else:
            loss().backward()
            assert x.grad.data.dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (3, 7), (257,), (0, 3)], ids=str)
def test_optimizers(shape: tuple[int, ...], dtype: str) -> None:
    rng = np.random.default_rng(7)
    for make in (
        lambda p: nn.optim.SGD(p, lr=0.1),
        lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, dampening=0.1),
        lambda p: nn.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: nn.optim.Adam(p, lr=0.1, weight_decay=0.01, amsgrad=True),
        lambda p: nn.optim.AdamW(p, lr=0.1, maximize=True),
        lambda p: nn.optim.RMSprop(p, lr=0.1),
        lambda p: nn.optim.RMSprop(p, lr=0.1, momentum=0.9, eps=0.5, centered=True),
        lambda p: nn.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.1),
    ):
        parameter = nn.Parameter(nn.tensor(draw(rng, *shape, dtype=np.dtype(dtype))))
        optimizer = make([parameter])
        for _ in range(3):
            optimizer.zero_grad()
            nn.ops.sum(parameter * parameter).backward()
            optimizer.step()
        assert parameter.data.dtype == dtype
        assert cp.isfinite(parameter.data).all()


def test_every_kernel_of_training_has_run() -> None:
    """Must stay the last test of the file."""
    names = ("loss", "optim", "pointwise_loss")
    all_of_them = kernels_of([FOLDER / f"{name}.cu" for name in names])
    assert len(all_of_them) > 10
    assert all_of_them - seen == set()
