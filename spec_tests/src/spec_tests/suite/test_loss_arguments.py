"""What the losses refuse."""

from collections.abc import Callable
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.assertions import refuses

Pair = tuple[Callable[[], Any], Callable[[], Any]]


def attempts(nn: Any, name: str, module: str, argument: str, value: Any, rest: Any) -> Pair:
    """Return the function's and the Module's call with one argument."""
    options = {argument: value}
    return (
        lambda: getattr(nn.loss, name)(*rest, **options),
        lambda: getattr(nn, module)(**options)(*rest),
    )


@clause("loss-11", "loss-12", "loss-16", "loss-20")
@pytest.mark.parametrize(
    ("name", "module", "argument", "value"),
    [
        ("huber_loss", "HuberLoss", "delta", 0.0),
        ("huber_loss", "HuberLoss", "delta", -0.5),
        ("smooth_l1_loss", "SmoothL1Loss", "beta", -0.5),
        ("cross_entropy", "CrossEntropyLoss", "label_smoothing", -0.25),
        ("cross_entropy", "CrossEntropyLoss", "label_smoothing", 1.25),
        ("triplet_margin_loss", "TripletMarginLoss", "margin", 0.0),
        ("triplet_margin_loss", "TripletMarginLoss", "p", 0.0),
        ("triplet_margin_loss", "TripletMarginLoss", "p", float("inf")),
    ],
)
def test_numbers_out_of_range(nn: Any, name: str, module: str, argument: str, value: float) -> None:
    x = nn.ones((2, 3))
    rest = {"cross_entropy": (x, nn.tensor([0, 1])), "triplet_margin_loss": (x, x, x)}
    for attempt in attempts(nn, name, module, argument, value, rest.get(name, (x, x))):
        with refuses(ValueError, (name, module), argument, value):
            attempt()


@clause("loss-19")
@pytest.mark.parametrize(
    ("name", "module"), [("nll_loss", "NLLLoss"), ("cross_entropy", "CrossEntropyLoss")]
)
def test_weights_of_classes_that_do_not_fit(nn: Any, name: str, module: str) -> None:
    rest = (nn.zeros((2, 3)), nn.tensor([0, 1]))
    for shape in ((4,), (1,), (2, 3), ()):
        for attempt in attempts(nn, name, module, "weight", nn.ones(shape), rest):
            with refuses(ValueError, (name, module), "weight", str(shape), "3"):
                attempt()
    for weight, said in (
        (nn.tensor([1, 2, 3]), "int64"),
        ([1.0, 2.0, 3.0], "list"),
        (2.0, "float"),
    ):
        for attempt in attempts(nn, name, module, "weight", weight, rest):
            with refuses(TypeError, (name, module), "weight", said):
                attempt()


@clause("loss-19")
@pytest.mark.parametrize(
    ("name", "module", "argument"),
    [
        ("binary_cross_entropy", "BCELoss", "weight"),
        ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss", "weight"),
        ("binary_cross_entropy_with_logits", "BCEWithLogitsLoss", "pos_weight"),
    ],
)
def test_binary_weights_that_do_not_fit(nn: Any, name: str, module: str, argument: str) -> None:
    rest = (nn.ones((2, 3)), nn.ones((2, 3)))
    for shape in ((2,), (4, 2, 3), (1, 4)):
        for attempt in attempts(nn, name, module, argument, nn.ones(shape), rest):
            with refuses(ValueError, (name, module), argument, str(shape), "(2, 3)"):
                attempt()
    for weight, said in ((nn.tensor([1, 2, 3]), "int64"), (2.0, "float")):
        for attempt in attempts(nn, name, module, argument, weight, rest):
            with refuses(TypeError, (name, module), argument, said):
                attempt()


@clause("loss-13")
@pytest.mark.parametrize("value", [-0.25, 1.25])
def test_inputs_that_are_no_probabilities(nn: Any, value: float) -> None:
    with refuses(ValueError, "binary_cross_entropy", value):
        nn.loss.binary_cross_entropy(nn.tensor([0.5, value]), nn.ones(2))


@clause("loss-16")
def test_probabilities_ignore_no_class(nn: Any) -> None:
    x = nn.zeros((2, 3))
    with refuses(ValueError, "cross_entropy", "ignore_index", "1"):
        nn.loss.cross_entropy(x, x, ignore_index=1)
    nn.loss.cross_entropy(x, x, ignore_index=-1)


@clause("loss-17", "loss-05")
def test_batchmean_is_of_kl_div_alone(nn: Any) -> None:
    x = nn.ones((2, 3))
    with refuses(ValueError, "kl_div", "median", "mean", "sum", "none", "batchmean"):
        nn.loss.kl_div(x, x, reduction="median")
    with refuses(ValueError, "mse_loss", "batchmean", "mean", "sum", "none"):
        nn.loss.mse_loss(x, x, reduction="batchmean")


@clause("loss-18")
@pytest.mark.parametrize(
    ("first", "second", "target", "said"),
    [
        ((2, 3), (2, 4), (2,), ("(2, 3)", "(2, 4)")),
        ((2, 3), (3,), (2,), ("(2, 3)", "(3,)")),
        ((2, 3), (2, 3), (3,), ("(2, 3)", "(3,)")),
        ((2, 3), (2, 3), (), ("(2, 3)", "()")),
        ((3,), (3,), (3,), ("(3,)",)),
    ],
)
def test_cosine_shapes(nn: Any, first: Any, second: Any, target: Any, said: Any) -> None:
    with refuses(ValueError, "cosine_embedding_loss", *said):
        nn.loss.cosine_embedding_loss(nn.ones(first), nn.ones(second), nn.ones(target))


@clause("loss-20")
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("shape", [(3,), (2, 4), (1, 3)])
def test_triplet_shapes(nn: Any, place: int, shape: tuple[int, ...]) -> None:
    rows = [nn.ones(shape if k == place else (2, 3)) for k in range(3)]
    with refuses(ValueError, "triplet_margin_loss", "(2, 3)", str(shape)):
        nn.loss.triplet_margin_loss(*rows)


CTC: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "blank above": ({"blank": 4}, ValueError, ("blank", "4")),
    "blank below": ({"blank": -1}, ValueError, ("blank", "-1")),
    "label": ({"targets": [[1, 4], [2, 1]]}, ValueError, ("4",)),
    "long input": ({"input_lengths": [6, 4]}, ValueError, ("6", "5")),
    "long target": ({"target_lengths": [3, 1]}, ValueError, ("3", "2")),
    "negative input": ({"input_lengths": [-2, 4]}, ValueError, ("-2",)),
    "negative target": ({"target_lengths": [-2, 2]}, ValueError, ("-2",)),
    "few inputs": ({"input_lengths": [5]}, ValueError, ("input_lengths", "1", "2")),
    "few targets": ({"target_lengths": [2]}, ValueError, ("target_lengths", "1", "2")),
    "rows": ({"targets": [[1, 2]]}, ValueError, ("targets", "(1, 2)", "2")),
    "concatenated": ({"targets": [1, 2]}, ValueError, ("targets", "2", "3")),
    "floating targets": ({"targets": [[1.0, 2.0], [2.0, 1.0]]}, TypeError, ("float32",)),
    "floating lengths": ({"input_lengths": [5.0, 4.0]}, TypeError, ("input_lengths", "float32")),
}


@clause("loss-21")
@pytest.mark.parametrize("case", CTC)
def test_sequences_that_do_not_fit(nn: Any, case: str) -> None:
    changed, kind, said = CTC[case]
    good = {"targets": [[1, 2], [2, 1]], "input_lengths": [5, 4], "target_lengths": [2, 1]}
    blank = changed.get("blank", 0)
    given = {key: nn.tensor(changed.get(key, value)) for key, value in good.items()}
    with refuses(kind, "ctc_loss", *said):
        nn.loss.ctc_loss(nn.zeros((5, 2, 4)), **given, blank=blank)


@clause("loss-21", "loss-08")
@pytest.mark.parametrize("shape", [(4,), (5, 2, 4, 1), ()])
def test_shapes_of_log_probs(nn: Any, shape: tuple[int, ...]) -> None:
    with refuses(ValueError, "ctc_loss", "log_probs", str(shape)):
        nn.loss.ctc_loss(nn.zeros(shape), nn.tensor([1]), (1,), (1,))
