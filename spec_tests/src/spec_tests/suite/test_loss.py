"""The chapter ``loss``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal

pytestmark = pytest.mark.sampled(4)

REDUCTIONS = ["mean", "sum", "none"]
# The losses of input and target of one shape.
ELEMENTS = (
    "mse_loss",
    "l1_loss",
    "huber_loss",
    "smooth_l1_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
)
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


@clause("loss-01", "loss-07", "loss-11", "loss-12", "loss-13", "loss-14", "loss-17")
@pytest.mark.parametrize("shape", [(3,), (2, 1), (1, 3), ()])
def test_targets_are_not_broadcast(nn: Any, shape: tuple[int, ...]) -> None:
    for name in ELEMENTS:
        with refuses(ValueError, name, "(2, 3)", str(shape)):
            getattr(nn.loss, name)(nn.zeros((2, 3)), nn.zeros(shape))


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
    for name in ("cross_entropy", "nll_loss"):
        with refuses(ValueError, name, str(shape), str(wrong)):
            getattr(nn.loss, name)(nn.zeros(shape), nn.zeros(wrong, dtype=nn.int64))


@clause("loss-05")
def test_floating_targets(nn: Any) -> None:
    for target in (nn.zeros((2,)), nn.zeros((3, 2))):
        with refuses(TypeError, "cross_entropy", "float32"):
            nn.loss.cross_entropy(nn.zeros((2, 3)), target)
    with refuses(TypeError, "nll_loss", "float32"):
        nn.loss.nll_loss(nn.zeros((2, 3)), nn.zeros((2,)))


@clause("loss-05")
@pytest.mark.parametrize("index", [3, -1])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_classes_out_of_range(nn: Any, name: str, index: int) -> None:
    loss = getattr(nn.loss, name)
    with refuses((ValueError, IndexError), name, str(index), "3"):
        loss(nn.zeros((2, 3)), nn.tensor([1, index]))
    with refuses((ValueError, IndexError), name, "-100", "3"):
        loss(nn.zeros((2, 3)), nn.tensor([1, -100]), ignore_index=index)


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


NAN, INF = float("nan"), float("inf")


@clause("loss-10")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("place", ["input", "target"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_nan_stays_where_it_is(nn: Any, dtype: str, name: str, place: str, reduction: str) -> None:
    clean = {"input": normal((3, 4), dtype), "target": normal((3, 4), dtype, seed=1)}
    spoilt = {key: array.copy() for key, array in clean.items()}
    spoilt[place][1, 2] = NAN
    results, slopes = [], []
    for arrays in (clean, spoilt):
        x = tensor(nn, arrays["input"])
        value = getattr(nn.loss, name)(x, nn.tensor(arrays["target"]), reduction=reduction)
        value.backward(nn.tensor(np.full(value.shape, 2.0, dtype)))
        results.append(to_numpy(nn, value))
        slopes.append(to_numpy(nn, x.grad))
    for kept, got in (results, slopes) if reduction == "none" else (slopes,):
        want = kept.copy()
        want[1, 2] = NAN
        exactly(nn, got, want, call=f"{name}, NaN in {place}, {reduction}")
    assert reduction == "none" or np.isnan(results[1])


@clause("loss-10")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_infinite_errors(nn: Any, dtype: str, name: str, reduction: str) -> None:
    inputs = np.array([INF, -INF, 1.0, 2.0, 3.0], dtype)
    targets = np.array([1.0, 1.0, INF, -INF, 2.0], dtype)
    x = tensor(nn, inputs)
    value = getattr(nn.loss, name)(x, nn.tensor(targets), reduction=reduction)
    want = np.array([INF, INF, INF, INF, 1.0]) if reduction == "none" else np.array(INF)
    exactly(nn, value, want, call=f"{name}, {reduction}")
    value.backward(nn.tensor(np.full(value.shape, 1.0, dtype)))
    share = 1 / 5 if reduction == "mean" else 1
    signs = np.array([1.0, -1.0, -1.0, 1.0, 1.0])
    slope = signs if name == "l1_loss" else signs * np.array([INF, INF, INF, INF, 2])
    agrees(nn, x.grad, slope * share, "elementwise", call=f"gradient of {name}, {reduction}")


def gradient_of_rows(nn: Any, logits: np.ndarray, targets: np.ndarray, reduction: str) -> Any:
    """Return the value of ``cross_entropy`` and its gradient, to which 2 arrives."""
    x = tensor(nn, logits)
    value = nn.loss.cross_entropy(x, nn.tensor(targets), reduction=reduction)
    value.backward(nn.tensor(np.full(value.shape, 2.0, logits.dtype)))
    return to_numpy(nn, value), to_numpy(nn, x.grad)


@clause("loss-10")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_stays_in_its_row_of_logits(nn: Any, dtype: str, place: int, reduction: str) -> None:
    logits, targets = normal((4, 3), dtype), np.array([2, 0, 1, 1])
    value, slope = gradient_of_rows(nn, logits, targets, reduction)
    spoilt = logits.copy()
    spoilt[1, place] = NAN
    got, got_slope = gradient_of_rows(nn, spoilt, targets, reduction)
    if reduction == "none":
        want = value.copy()
        want[1] = NAN
        exactly(nn, got, want, call="cross_entropy with NaN in a row")
    else:
        assert np.isnan(got)
    want = slope.copy()
    want[1] = NAN
    exactly(nn, got_slope, want, call=f"gradient of cross_entropy, {reduction}")


@clause("loss-10")
def test_nan_stays_in_its_position(nn: Any, dtype: str) -> None:
    logits, targets = normal((2, 3, 4), dtype), np.array([[2, 0, 1, 1], [0, 0, 2, 1]])
    value, slope = gradient_of_rows(nn, logits, targets, "none")
    logits[1, 0, 2] = NAN
    got, got_slope = gradient_of_rows(nn, logits, targets, "none")
    value, slope = value.copy(), slope.copy()
    value[1, 2] = NAN
    slope[1, :, 2] = NAN
    exactly(nn, got, value, call="cross_entropy with NaN at a position")
    exactly(nn, got_slope, slope, call="gradient of cross_entropy with NaN at a position")


@clause("loss-10")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_logits_of_minus_infinity(nn: Any, dtype: str, reduction: str) -> None:
    logits = np.array([[1.0, -INF, 2.0], [0.0, -INF, -INF], [1.0, 2.0, -INF]], dtype)
    targets = np.array([2, 0, 2])
    odds = np.exp(in_double(logits) - 2)
    odds /= odds.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        want = -np.log(odds[np.arange(3), targets])
    got, slope = gradient_of_rows(nn, logits, targets, reduction)
    if reduction == "none":
        agrees(nn, got, want, "reduction", call="cross_entropy with -inf")
        assert got[2] == INF
    else:
        exactly(nn, got, np.array(INF), call=f"cross_entropy with -inf, {reduction}")
    each = 2 * (odds - np.eye(3)[targets]) / (3 if reduction == "mean" else 1)
    agrees(nn, slope, each, "gradient", call=f"gradient of cross_entropy with -inf, {reduction}")
    gone = np.isinf(logits) & (np.arange(3) != targets[:, None])
    exactly(nn, slope[gone], np.zeros(int(gone.sum())), call="gradient at -inf")
    two = gradient_of_rows(nn, logits[:2], targets[:2], reduction)[0]
    agrees(
        nn,
        two,
        {"none": want[:2], "sum": want[:2].sum(), "mean": want[:2].mean()}[reduction],
        "reduction",
        call=f"rows without it stay finite, {reduction}",
    )


@clause("loss-10")
def test_modules_and_infinities(nn: Any) -> None:
    x = tensor(nn, np.array([[INF, 0.0], [NAN, 1.0]], np.float32))
    for module, want in (
        (nn.L1Loss(reduction="none"), [[1, 0], [NAN, 1]]),
        (nn.MSELoss(reduction="none"), [[INF, 0], [NAN, 2]]),
    ):
        x.grad = None
        value = module(x, nn.zeros((2, 2)))
        value.backward(nn.ones((2, 2)))
        exactly(nn, x.grad, np.array(want, np.float32), call=repr(module))
