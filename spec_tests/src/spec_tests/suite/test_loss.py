"""The chapter ``loss``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load
from spec_tests.support.assertions import agrees, refuses, tensor, to_numpy

REDUCTIONS = ["mean", "sum", "none"]
CASES = ["classes", "one_sample", "positions"]


def mse(nn: Any, reduction: str) -> Callable[..., Any]:
    """Return the squared error as a function of input and target."""
    return lambda *leaves: nn.loss.mse_loss(*leaves, reduction=reduction)


def cross_entropy(nn: Any, known: dict[str, Any], reduction: str) -> Callable[..., Any]:
    """Return the cross-entropy to the stored classes as a function of the logits."""
    target = nn.tensor(known["target"])
    return lambda logits: nn.loss.cross_entropy(logits, target, reduction=reduction)


def check_gradients_of(nn: Any, loss: Any, known: dict[str, Any], reduction: str) -> None:
    """Compare the gradients with the reference's."""
    leaves = {name: tensor(nn, array) for name, array in known["inputs"].items()}
    value = loss(*leaves.values())
    value.backward(*([nn.tensor(known["cotangent"])] if reduction == "none" else []))
    for name, want in known[reduction]["gradients"].items():
        agrees(nn, leaves[name].grad, want, "gradient", call=f"{reduction}: gradient to {name}")


def check_second(nn: Any, loss: Any, known: dict[str, Any], reduction: str) -> None:
    """Compare the gradients of the sum of the squared gradients with the reference's."""
    inputs = [nn.tensor(array) for array in known["inputs"].values()]
    positions = tuple(range(len(inputs)))

    def scalar(*leaves: Any) -> Any:
        value = loss(*leaves)
        return nn.ops.sum(value * nn.tensor(known["cotangent"])) if reduction == "none" else value

    def squares(*leaves: Any) -> Any:
        first = nn.grad(scalar, argnums=positions, create_graph=True)(*leaves)
        return sum((nn.ops.sum(part * part) for part in first[1:]), nn.ops.sum(first[0] * first[0]))

    second = nn.grad(squares, argnums=positions)(*inputs)
    wants = known[reduction]["second"].items()
    for got, (name, want) in zip(second, wants, strict=True):
        agrees(nn, got, want, "gradient", call=f"{reduction}: second derivative by {name}")


@clause("loss-01")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_mse_loss(nn: Any, dtype: str, reduction: str) -> None:
    known = load("losses")["mse"][dtype]
    inputs = [nn.tensor(array) for array in known["inputs"].values()]
    got = nn.loss.mse_loss(*inputs, reduction=reduction)
    agrees(nn, got, known[reduction]["value"], "reduction", call=f"mse_loss, {reduction}")
    if reduction == "mean":
        agrees(nn, nn.loss.mse_loss(*inputs), known["mean"]["value"], "reduction")


@clause("loss-01")
@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 3), ()])
def test_mse_loss_does_not_broadcast(nn: Any, shape: tuple[int, ...]) -> None:
    with refuses(ValueError, "mse_loss", "(2, 3)", str(shape)):
        nn.loss.mse_loss(nn.zeros((2, 3)), nn.zeros(shape))


@clause("loss-02")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy(nn: Any, dtype: str, case: str, reduction: str) -> None:
    known = load("losses")[f"cross_entropy_{case}"][dtype]
    logits, target = nn.tensor(known["inputs"]["input"]), nn.tensor(known["target"])
    call = f"cross_entropy, {reduction}, input {logits.shape}"
    got = nn.loss.cross_entropy(logits, target, reduction=reduction)
    agrees(nn, got, known[reduction]["value"], "reduction", call=call)
    narrow = nn.tensor(known["target"].astype(np.int32))
    got = nn.loss.cross_entropy(logits, narrow, reduction=reduction)
    agrees(nn, got, known[reduction]["value"], "reduction", call=f"{call}, target int32")
    if reduction == "mean":
        agrees(nn, nn.loss.cross_entropy(logits, target), known["mean"]["value"], "reduction")


@clause("loss-03")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_of_mse_loss(nn: Any, dtype: str, reduction: str) -> None:
    known = load("losses")["mse"][dtype]
    check_gradients_of(nn, mse(nn, reduction), known, reduction)


@clause("loss-03")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradients_of_cross_entropy(nn: Any, dtype: str, case: str, reduction: str) -> None:
    known = load("losses")[f"cross_entropy_{case}"][dtype]
    check_gradients_of(nn, cross_entropy(nn, known, reduction), known, reduction)


@clause("loss-03", needs="double_backward")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_second_derivatives_of_mse_loss(nn: Any, dtype: str, reduction: str) -> None:
    known = load("losses")["mse"][dtype]
    check_second(nn, mse(nn, reduction), known, reduction)


@clause("loss-03", needs="double_backward")
@pytest.mark.parametrize(("case", "reduction"), [("classes", "mean"), ("positions", "none")])
def test_second_derivatives_of_cross_entropy(
    nn: Any, dtype: str, case: str, reduction: str
) -> None:
    known = load("losses")[f"cross_entropy_{case}"][dtype]
    check_second(nn, cross_entropy(nn, known, reduction), known, reduction)


@clause("loss-04")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_large_logits(nn: Any, dtype: str, reduction: str) -> None:
    known = load("losses")["cross_entropy_large"][dtype]
    loss = cross_entropy(nn, known, reduction)
    got = loss(nn.tensor(known["inputs"]["input"]))
    agrees(nn, got, known[reduction]["value"], "reduction", call=f"logits ±1000, {reduction}")
    check_gradients_of(nn, loss, known, reduction)


@clause("loss-05")
def test_unknown_reductions(nn: Any) -> None:
    logits, target = nn.zeros((2, 3)), nn.tensor([0, 1])
    attempts: list[Callable[[], Any]] = [
        lambda: nn.loss.mse_loss(logits, logits, reduction="median"),
        lambda: nn.loss.cross_entropy(logits, target, reduction="median"),
        lambda: nn.MSELoss(reduction="median")(logits, logits),
        lambda: nn.CrossEntropyLoss(reduction="median")(logits, target),
    ]
    for attempt in attempts:
        with refuses(ValueError, "median", "mean", "sum", "none"):
            attempt()


@clause("loss-05")
@pytest.mark.parametrize(
    ("shape", "wrong"), [((2, 3), (3,)), ((2, 3), ()), ((3,), (3,)), ((2, 3, 4), (2, 3))]
)
def test_targets_of_the_wrong_shape(
    nn: Any, shape: tuple[int, ...], wrong: tuple[int, ...]
) -> None:
    with refuses(ValueError, "cross_entropy", str(shape), str(wrong)):
        nn.loss.cross_entropy(nn.zeros(shape), nn.zeros(wrong, dtype=nn.int64))


@clause("loss-05")
def test_floating_targets(nn: Any) -> None:
    for target in (nn.zeros((2,)), nn.zeros((2, 3))):
        with refuses(TypeError, "cross_entropy", "float32"):
            nn.loss.cross_entropy(nn.zeros((2, 3)), target)


@clause("loss-05")
@pytest.mark.parametrize("index", [3, -1])
def test_classes_out_of_range(nn: Any, index: int) -> None:
    with refuses((ValueError, IndexError), "cross_entropy", str(index), "3"):
        nn.loss.cross_entropy(nn.zeros((2, 3)), nn.tensor([1, index]))


@clause("loss-06")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_modules_agree_with_functions(nn: Any, dtype: str, reduction: str) -> None:
    known = load("losses")["mse"][dtype]
    pair = [nn.tensor(array) for array in known["inputs"].values()]
    want = to_numpy(nn, nn.loss.mse_loss(*pair, reduction=reduction))
    agrees(nn, nn.MSELoss(reduction=reduction)(*pair), want, "reduction", call="MSELoss")
    target = nn.tensor([0, 3, 1])
    want = to_numpy(nn, nn.loss.cross_entropy(pair[0], target, reduction=reduction))
    got = nn.CrossEntropyLoss(reduction=reduction)(pair[0], target)
    agrees(nn, got, want, "reduction", call="CrossEntropyLoss")
    assert isinstance(nn.MSELoss(), nn.Module)
    assert isinstance(nn.CrossEntropyLoss(), nn.Module)
    mean = to_numpy(nn, nn.loss.mse_loss(*pair))
    agrees(nn, nn.MSELoss()(*pair), mean, "reduction", call="MSELoss")
