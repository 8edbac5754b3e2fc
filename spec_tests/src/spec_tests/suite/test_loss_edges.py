"""The edges of the chapter ``loss``: ends, kinks, NaN, ignored rows, paths that do not exist."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, tensor, to_numpy, within
from spec_tests.support.inputs import in_double, normal, positive, unit

pytestmark = pytest.mark.sampled(6)

NAN, INF = float("nan"), float("inf")
REDUCTIONS = ("mean", "sum", "none")


def value_and_slopes(
    nn: Any, loss: Callable[..., Any], arrays: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a loss and the gradients of its sum."""
    leaves = [tensor(nn, array) for array in arrays]
    value = loss(*leaves)
    value.backward(nn.tensor(np.ones(value.shape, arrays[0].dtype)))
    return to_numpy(nn, value), [to_numpy(nn, leaf.grad) for leaf in leaves]


@clause("loss-13")
def test_ends_of_binary_cross_entropy(nn: Any, dtype: str) -> None:
    p = np.array([0, 0, 1, 1, 0.5, 0, 2.0**-60, 1], dtype)
    t = np.array([0, 1, 0, 1, 0.25, 0.5, 0, 0.25], dtype)
    value, (slope, to_target) = value_and_slopes(
        nn, lambda *leaves: nn.loss.binary_cross_entropy(*leaves, reduction="none"), [p, t]
    )
    x, y = in_double(p), in_double(t)
    with np.errstate(divide="ignore"):
        log, other = (np.maximum(a, -100) for a in (np.log(x), np.log1p(-x)))
    agrees(nn, value[:6], -(y * log + (1 - y) * other)[:6], "reduction", call="at 0 and 1")
    agrees(nn, value[6], -other[6], "reduction", call="log(1 - input) of a tiny input")
    agrees(nn, value[7], np.array(75.0), "reduction", call="at 1")
    want = (x - y) / np.maximum(x * (1 - x), 1e-12)
    for place in range(len(x)):
        call = f"gradient at {x[place]}, target {y[place]}"
        agrees(nn, slope[place], want[place], "gradient", call=call)
    agrees(nn, to_target, other - log, "gradient", call="gradient to the target")


@clause("loss-14")
def test_large_binary_logits(nn: Any, dtype: str) -> None:
    x = np.array([1000, 1000, -1000, -1000, 0, 0, 30, -30, 1000], dtype)
    t = np.array([1, 0, 1, 0, 1, 0.25, 0, 1, 0.5], dtype)
    heavy = np.full(9, 3.0, dtype)
    wide, y = in_double(x), in_double(t)
    odds = np.exp(-np.logaddexp(0, -wide))
    for weight in (1, 3):
        options = {} if weight == 1 else {"pos_weight": nn.tensor(heavy)}
        value, (slope, _) = value_and_slopes(
            nn,
            lambda *leaves, options=options: nn.loss.binary_cross_entropy_with_logits(
                *leaves, reduction="none", **options
            ),
            [x, t],
        )
        losses = weight * y * np.logaddexp(0, -wide) + (1 - y) * np.logaddexp(0, wide)
        agrees(nn, value, losses, "reduction", call=f"logits ±1000, pos_weight {weight}")
        want = (1 - y) * odds - weight * y * np.exp(-np.logaddexp(0, wide))
        agrees(nn, slope, want, "gradient", call=f"its gradient, pos_weight {weight}")
        for place in (0, 3):
            exactly(nn, value[place], np.array(0.0), call="a right logit of ±1000")


@clause("loss-14", needs="double_backward")
def test_binary_logits_of_zero_twice(nn: Any, dtype: str) -> None:
    t = nn.tensor(np.array([1, 0, 0.5, 0], dtype))

    def scalar(x: Any) -> Any:
        return nn.loss.binary_cross_entropy_with_logits(x, t, reduction="sum")

    def total(x: Any) -> Any:
        return nn.ops.sum(nn.grad(scalar, create_graph=True)(x))

    got = nn.grad(total)(nn.tensor(np.array([0, 0, 0, 1000], dtype)))
    agrees(nn, got, np.array([0.25, 0.25, 0.25, 0]), "gradient", call="second derivative at 0")


@clause("loss-04", "loss-16")
def test_large_logits_with_options(nn: Any, dtype: str) -> None:
    logits = np.array([[1000, -1000, 0], [-1000, 1000, 999]], dtype)
    weight, target = np.array([0.5, 1.0, 2.0], dtype), np.array([[0.5, 0.25, 0], [1, 0, 1]], dtype)
    wide = in_double(logits)
    shifted = wide - 1000
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    for given, hot in ((np.array([1, 1]), np.eye(3)[[1, 1]]), (target, in_double(target))):
        shares = in_double(weight) * (0.75 * hot + 0.25 / 3)
        if given.dtype.kind == "i":
            shares = 0.75 * in_double(weight) * hot + 0.25 / 3 * in_double(weight)
        value, (slope,) = value_and_slopes(
            nn,
            lambda x, given=given: nn.loss.cross_entropy(
                x,
                nn.tensor(given),
                nn.tensor(weight),
                label_smoothing=0.25,
                reduction="none",
            ),
            [logits],
        )
        agrees(nn, value, -(shares * logs).sum(axis=1), "reduction", call="logits ±1000")
        want = np.exp(logs) * shares.sum(axis=1, keepdims=True) - shares
        agrees(nn, slope, want, "gradient", call="gradient at logits ±1000")


@clause("loss-15")
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_all_targets_ignored(nn: Any, dtype: str, name: str) -> None:
    options = [{}, {"label_smoothing": 0.25}] if name == "cross_entropy" else [{}]
    targets = nn.tensor(np.full(4, -100))
    for reduction, want in (("mean", NAN), ("sum", 0.0)):
        for option in options:
            value, (slope,) = value_and_slopes(
                nn,
                lambda x, option=option, reduction=reduction: getattr(nn.loss, name)(
                    x, targets, reduction=reduction, **option
                ),
                [normal((4, 3), dtype)],
            )
            call = f"{name}, all ignored, {reduction}, {option}"
            exactly(nn, value, np.array(want), call=call)
            exactly(nn, slope, np.zeros((4, 3)), call=f"gradient of {call}")


@clause("loss-15")
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
def test_ignored_rows_count_for_nothing(nn: Any, dtype: str, name: str) -> None:
    """NaN and infinities in ignored rows reach neither the value nor the gradient."""
    clean, targets = normal((4, 3), dtype), nn.tensor(np.array([0, 2, 1, -7]))
    weight = nn.tensor(np.array([0.5, 2.0, 1.5], dtype))
    for number in (NAN, INF, -INF):
        spoilt = clean.copy()
        spoilt[3] = [number, 1.0, number]
        for reduction in REDUCTIONS:
            results = [
                value_and_slopes(
                    nn,
                    lambda x, reduction=reduction: getattr(nn.loss, name)(
                        x, targets, weight, ignore_index=-7, reduction=reduction
                    ),
                    [array],
                )
                for array in (clean, spoilt)
            ]
            (kept, (slope,)), (got, (got_slope,)) = results
            call = f"{name}, {number} in an ignored row, {reduction}"
            exactly(nn, got, kept, call=call)
            exactly(nn, got_slope, slope, call=f"gradient of {call}")
            exactly(nn, got_slope[3], np.zeros(3), call=f"gradient of {call}")


@clause("loss-10")
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(
    "name",
    [
        "huber_loss",
        "smooth_l1_loss",
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "kl_div",
    ],
)
def test_nan_stays_in_its_element(nn: Any, dtype: str, name: str, place: int) -> None:
    clean = [unit((3, 4), dtype), unit((3, 4), dtype, seed=1)]
    spoilt = [array.copy() for array in clean]
    spoilt[place][1, 2] = NAN
    for reduction in REDUCTIONS:
        results = [
            value_and_slopes(
                nn,
                lambda *leaves, reduction=reduction: getattr(nn.loss, name)(
                    *leaves, reduction=reduction
                ),
                arrays,
            )
            for arrays in (clean, spoilt)
        ]
        (kept, (slope, _)), (got, (got_slope, _)) = results
        call = f"{name}, NaN in argument {place}, {reduction}"
        if reduction == "none":
            kept = kept.copy()
            kept[1, 2] = NAN
            exactly(nn, got, kept, call=call)
        else:
            assert np.isnan(got), f"{call} should be NaN but is {got}"
        slope = slope.copy()
        if name != "kl_div" or place == 1:
            slope[1, 2] = NAN
        exactly(nn, got_slope, slope, call=f"gradient of {call}")


@clause("loss-10")
@pytest.mark.parametrize("name", ["huber_loss", "smooth_l1_loss"])
def test_infinite_errors_of_linear_losses(nn: Any, dtype: str, name: str) -> None:
    inputs = np.array([INF, -INF, 1.0, 2.0, 3.0], dtype)
    targets = np.array([1.0, 1.0, INF, -INF, 2.75], dtype)
    option, end = ({"delta": 0.5}, 0.5) if name == "huber_loss" else ({"beta": 0.5}, 1.0)
    value, (slope, _) = value_and_slopes(
        nn,
        lambda *leaves: getattr(nn.loss, name)(*leaves, reduction="none", **option),
        [inputs, targets],
    )
    small = (0.03125, 0.25) if name == "huber_loss" else (0.0625, 0.5)
    exactly(nn, value, np.array([INF, INF, INF, INF, small[0]]), call=name)
    exactly(nn, slope, np.array([end, -end, -end, end, small[1]]), call=f"gradient of {name}")


@clause("loss-12", "loss-11")
def test_equal_elements(nn: Any, dtype: str) -> None:
    x = normal((3, 4), dtype)
    for name, option in (
        ("smooth_l1_loss", {"beta": 0.0}),
        ("smooth_l1_loss", {}),
        ("huber_loss", {}),
    ):
        value, slopes = value_and_slopes(
            nn,
            lambda *leaves, name=name, option=option: getattr(nn.loss, name)(
                *leaves, reduction="none", **option
            ),
            [x, x],
        )
        for got in (value, *slopes):
            exactly(nn, np.abs(got), np.zeros((3, 4)), call=f"{name} of equals, {option}")


def of_rows(nn: Any, name: str) -> Callable[..., Any]:
    """Return a loss of rows as a function of its inputs."""
    if name == "triplet_margin_loss":
        return lambda *rows: nn.loss.triplet_margin_loss(*rows, margin=4.0, reduction="none")
    target = nn.tensor(np.array([1, -1, 1, -1]))
    return lambda *rows: nn.loss.cosine_embedding_loss(*rows, target, -1.0, reduction="none")


@clause("loss-10")
@pytest.mark.parametrize("name", ["cosine_embedding_loss", "triplet_margin_loss"])
def test_nan_stays_in_its_row_of_inputs(nn: Any, dtype: str, name: str) -> None:
    count = 3 if name == "triplet_margin_loss" else 2
    clean = [normal((4, 3), dtype, seed=seed) for seed in range(count)]
    kept, slopes = value_and_slopes(nn, of_rows(nn, name), clean)
    for place in range(count):
        for row in (1, 2):
            spoilt = [array.copy() for array in clean]
            spoilt[place][row, 1] = NAN
            got, got_slopes = value_and_slopes(nn, of_rows(nn, name), spoilt)
            want = kept.copy()
            want[row] = NAN
            exactly(nn, got, want, call=f"{name}, NaN in input {place}, row {row}")
            for before, after in zip(slopes, got_slopes, strict=True):
                others = [other for other in range(4) if other != row]
                exactly(nn, after[others], before[others], call=f"gradient of {name}")


@clause("loss-18")
def test_cosine_of_zeros(nn: Any, dtype: str) -> None:
    first, second = np.zeros((4, 3), dtype), np.zeros((4, 3), dtype)
    second[1:3] = [1.0, 2.0, 2.0]
    target = np.array([1.0, 1.0, 0.0, -1.0], dtype)
    value, slopes = value_and_slopes(
        nn,
        lambda *leaves: nn.loss.cosine_embedding_loss(
            *leaves, nn.tensor(target), -0.5, reduction="none"
        ),
        [first, second],
    )
    exactly(nn, value, np.array([1.0, 1.0, 0.0, 0.5]), call="cosine of zeros, targets 1, 1, 0, -1")
    want = np.zeros((4, 3))
    want[1] = -np.array([1, 2, 2]) / (1e-6 * np.sqrt(9 + 1e-12))
    agrees(nn, slopes[0], want, "gradient", call="gradient to zeros")
    exactly(nn, np.abs(slopes[1]), np.zeros((4, 3)), call="gradient to the other")


@clause("loss-18", "loss-10")
def test_cosine_of_other_targets(nn: Any, dtype: str) -> None:
    """The loss is 0 for them, beside NaN too, and the others are as ever."""
    first, second = normal((6, 3), dtype), normal((6, 3), dtype, seed=1)
    first[3, 1] = second[4, 0] = NAN
    first[5, 1] = INF
    target = np.array([2.0, 0.0, NAN, 0.0, -2.0, 0.5], dtype)
    for several in (target, np.where(np.isnan(target), 0, target).astype("int64")):
        value, slopes = value_and_slopes(
            nn,
            lambda *leaves, t=several: nn.loss.cosine_embedding_loss(
                *leaves, nn.tensor(t), -0.5, reduction="none"
            ),
            [first, second],
        )
        exactly(nn, value, np.zeros(6), call=f"targets {several}")
        for slope in slopes:
            exactly(nn, np.abs(slope[:3]), np.zeros((3, 3)), call=f"targets {several}")


@clause("loss-20")
def test_triplets_of_equal_rows(nn: Any, dtype: str) -> None:
    anchor = np.round(normal((4, 3), dtype) * 64) / 64
    negative = anchor + np.array([3.0, 0.0, 4.0], dtype)
    value, (first, second, third) = value_and_slopes(
        nn,
        lambda *rows: nn.loss.triplet_margin_loss(
            *rows, margin=6.0, eps=2.0**-10, reduction="none"
        ),
        [anchor, anchor, negative],
    )
    eps = 2.0**-10
    away = in_double(anchor) - in_double(negative) + eps
    far = np.sqrt((away**2).sum(axis=1, keepdims=True))
    agrees(nn, value, 6 + np.sqrt(3) * eps - far[:, 0], "reduction", call="anchor = positive")
    near = np.full((4, 3), 1 / np.sqrt(3))
    for got, want in ((first, near - away / far), (second, -near), (third, away / far)):
        agrees(nn, got, want, "gradient", call="gradient where anchor = positive")


@clause("loss-17")
def test_divergence_from_zeros(nn: Any, dtype: str) -> None:
    x, t = normal((3, 4), dtype), unit((3, 4), dtype)
    t[1] = 0
    leaf = tensor(nn, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = nn.loss.kl_div(leaf, nn.tensor(t), reduction="none")
        nn.loss.kl_div(leaf.detach(), nn.tensor(t))
    exactly(nn, np.abs(to_numpy(nn, value)[1]), np.zeros(4), call="kl_div from a target of 0")
    value.backward(nn.tensor(np.ones((3, 4), dtype)))
    agrees(nn, leaf.grad, -in_double(t), "gradient", call="gradient of kl_div")


# Sequences of 5, 4 and 3 steps; the second has no path, as 3, 3 takes three steps.
LABELS = np.array([[1, 2, 3], [3, 3, 1], [2, 1, 1]])


def ctc(nn: Any, steps: list[int], sizes: list[int], **options: Any) -> Callable[..., Any]:
    """Return the loss of `LABELS` as a function of ``log_probs``."""
    labels, steps, sizes = (nn.tensor(np.array(given)) for given in (LABELS, steps, sizes))
    return lambda x: nn.loss.ctc_loss(x, labels, steps, sizes, **options)


@clause("loss-21")
def test_sequences_without_a_path(nn: Any, dtype: str) -> None:
    x, lengths = normal((5, 3, 4), dtype), ([5, 2, 3], [3, 2, 1])
    value, (slope,) = value_and_slopes(nn, ctc(nn, *lengths, reduction="none"), [x])
    exactly(nn, value[1], np.array(INF), call="no path")
    assert np.isfinite(value[[0, 2]]).all(), "the others should stay finite"
    for reduction in ("mean", "sum"):
        exactly(nn, ctc(nn, *lengths, reduction=reduction)(nn.tensor(x)), np.array(INF))
    options: dict[str, Any] = {"reduction": "none", "zero_infinity": True}
    zeroed, (want,) = value_and_slopes(nn, ctc(nn, *lengths, **options), [x])
    exactly(nn, zeroed, np.array([value[0], 0, value[2]]), call="zero_infinity")
    exactly(nn, want[:, 1], np.zeros((5, 4)), call="gradient with zero_infinity")
    agrees(nn, slope[:, [0, 2]], in_double(want[:, [0, 2]]), "rnn", call="gradient of the others")
    exactly(nn, want[3:, 2], np.zeros((2, 4)), call="gradient beyond the input's length")


@clause("loss-10", "loss-21")
def test_nan_stays_in_its_sequence(nn: Any, dtype: str) -> None:
    clean, lengths = normal((5, 3, 4), dtype), ([5, 4, 3], [3, 2, 0])
    kept, (slope,) = value_and_slopes(nn, ctc(nn, *lengths, reduction="none"), [clean])
    spoilt = clean.copy()
    spoilt[2, 1] = NAN
    spoilt[3:, 2] = NAN  # Beyond its length, where it harms nothing.
    got, (got_slope,) = value_and_slopes(nn, ctc(nn, *lengths, reduction="none"), [spoilt])
    want = kept.copy()
    want[1] = NAN
    exactly(nn, got, want, call="ctc_loss, NaN in one sequence and beyond another")
    exactly(nn, got_slope[:, [0, 2]], slope[:, [0, 2]], call="gradient of the others")


@clause("loss-21")
def test_certain_paths(nn: Any, dtype: str) -> None:
    """Logarithms of 0 and 1: one path alone is possible."""
    x = np.full((5, 3, 4), -INF, dtype)
    paths = np.array([[1, 1, 2, 3, 3], [3, 0, 3, 3, 0], [0, 0, 0, 1, 2]])
    for n, path in enumerate(paths):
        x[np.arange(5), n, path] = -0.5
    value, (slope,) = value_and_slopes(nn, ctc(nn, [5, 4, 3], [3, 2, 0], reduction="none"), [x])
    agrees(nn, value, np.array([2.5, 2.0, 1.5]), "rnn", call="one possible path")
    want = np.zeros((5, 3, 4))
    for n, (path, length) in enumerate(zip(paths, (5, 4, 3), strict=True)):
        want[np.arange(length), n, path[:length]] = -1
    agrees(nn, slope, want, "rnn", call="gradient of one possible path")


@clause("loss-21")
def test_long_sequences(nn: Any, dtype: str) -> None:
    """Labels have as many paths as there are stretches that they can fill."""
    steps, sizes = np.array([100, 60, 80, 99, 70]), np.array([1, 0, 16, 17, 35])
    # Between labels that are the same a blank must stand.
    labels = np.tile([1, 2], (5, 18))
    labels[3] = 1
    x = np.full((100, 5, 3), -3, dtype)

    def loss(x: Any) -> Any:
        given = (nn.tensor(lengths) for lengths in (labels, steps, sizes))
        return nn.loss.ctc_loss(x, *given, reduction="none")

    value, (slope,) = value_and_slopes(nn, loss, [x])
    places = steps + sizes - np.array([0, 0, 0, 16, 0])
    paths = [math.comb(int(n), 2 * int(size)) for n, size in zip(places, sizes, strict=True)]
    want = 3.0 * steps - np.array([math.log(count) for count in paths])
    agrees(nn, value, want, "rnn", call=f"{steps} steps, {sizes} labels")
    want = np.where(np.arange(100)[:, None] < steps, -1.0, 0.0)
    within(nn, slope.sum(axis=2), want, 0.02, call="gradient, summed over the classes")


@clause("loss-10", "loss-21")
def test_nan_of_a_label_far_on(nn: Any, dtype: str) -> None:
    clean, places = normal((7, 3, 70), dtype), [31, 32, 69]
    labels, steps, sizes = nn.tensor(np.array([places] * 3)), (7, 7, 7), (3, 3, 2)

    def losses(x: np.ndarray) -> Any:
        return nn.loss.ctc_loss(nn.tensor(x), labels, steps, sizes, reduction="none")

    kept = to_numpy(nn, losses(clean))
    for place in (0, *places):
        spoilt, want = clean.copy(), kept.copy()
        spoilt[3, 1, place] = want[1] = NAN
        exactly(nn, losses(spoilt), want, call=f"ctc_loss, NaN at label {place}")


@clause("loss-22")
def test_reductions_of_nothing(nn: Any, dtype: str) -> None:
    labels = np.zeros(0, np.int64)
    empty = {name: np.zeros(shape, dtype) for name, shape in (("flat", (0, 4)), ("rows", (0, 3)))}
    given: dict[str, list[np.ndarray]] = {
        "mse_loss": [empty["flat"]] * 2,
        "l1_loss": [empty["flat"]] * 2,
        "huber_loss": [empty["flat"]] * 2,
        "smooth_l1_loss": [empty["flat"]] * 2,
        "binary_cross_entropy": [empty["flat"]] * 2,
        "binary_cross_entropy_with_logits": [empty["flat"]] * 2,
        "kl_div": [empty["flat"]] * 2,
        "nll_loss": [empty["rows"], labels],
        "cross_entropy": [empty["rows"], labels],
        "cosine_embedding_loss": [empty["rows"], empty["rows"], labels],
        "triplet_margin_loss": [empty["rows"]] * 3,
    }
    for name, arrays in given.items():
        elements = arrays[0].shape == (0, 4)
        wants = {"mean": NAN, "sum": 0.0} | ({"batchmean": NAN} if name == "kl_div" else {})
        for reduction in (*wants, "none"):
            leaf, others = tensor(nn, arrays[0]), [nn.tensor(array) for array in arrays[1:]]
            value = getattr(nn.loss, name)(leaf, *others, reduction=reduction)
            call = f"{name} of nothing, {reduction}"
            if reduction == "none":
                exactly(nn, value, np.zeros((0, 4) if elements else (0,)), call=call)
                value = nn.ops.sum(value)
            else:
                exactly(nn, value, np.array(wants[reduction]), call=call)
            value.backward()
            exactly(nn, leaf.grad, arrays[0], call=f"gradient of {call}")


@clause("loss-19")
def test_weights_are_buffers(nn: Any, dtype: str) -> None:
    first, second = positive(3, dtype), positive(3, dtype, seed=1)
    x, t = normal((4, 3), dtype), np.array([0, 2, 1, 1])
    for name in ("NLLLoss", "CrossEntropyLoss"):
        module = getattr(nn, name)(nn.tensor(first), reduction="none")
        assert list(module.state_dict()) == ["weight"], name
        assert [key for key, _ in module.named_buffers()] == ["weight"], name
        assert not list(module.parameters()), name
        before = to_numpy(nn, module(nn.tensor(x), nn.tensor(t)))
        module.load_state_dict({"weight": second})
        got = module(nn.tensor(x), nn.tensor(t))
        want = in_double(before) * (in_double(second) / in_double(first))[t]
        agrees(nn, got, want, "reduction", call=f"{name} with another weight")
    both = nn.BCEWithLogitsLoss(nn.tensor(first), pos_weight=nn.tensor(second))
    assert list(both.state_dict()) == ["weight", "pos_weight"]
    assert list(nn.BCELoss(nn.tensor(first)).state_dict()) == ["weight"]
    for plain in (nn.NLLLoss(), nn.CrossEntropyLoss(), nn.BCELoss(), nn.BCEWithLogitsLoss()):
        assert plain.weight is None
        assert not list(plain.state_dict())
    assert nn.BCEWithLogitsLoss().pos_weight is None


@clause("loss-19", needs="float64")
def test_weights_are_converted(nn: Any) -> None:
    module = nn.CrossEntropyLoss(nn.tensor(positive(3, "float32")))
    module.to(nn.float64)
    assert module.weight.dtype == nn.float64
    value = module(nn.tensor(normal((4, 3), "float64")), nn.tensor(np.array([0, 2, 1, 1])))
    assert value.dtype == nn.float64
