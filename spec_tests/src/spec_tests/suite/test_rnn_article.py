"""The chapter ``rnn``: the article's Functions, Modules and RNN, as the user writes them."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import exactly, to_numpy
from spec_tests.support.programs import programs_of

pytestmark = pytest.mark.sampled(6)


@pytest.fixture
def article(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the article's programs as they import each other."""
    yield from programs_of("article", monkeypatch)


@clause("rnn-23")
@pytest.mark.parametrize("program", ["mlp", "rnn"])
def test_the_articles_networks_train(nn: Any, article: Any, program: str) -> None:
    losses = article(program).train(nn, steps=5)
    assert len(losses) == 5
    assert all(later < earlier for earlier, later in pairwise(losses))


@clause("rnn-23", needs="float64")
def test_the_articles_functions_have_the_gradients_of_differences(nn: Any, article: Any) -> None:
    functions = article("functions").define(nn)
    random = np.random.default_rng(41)
    x, weight, bias = random.normal(size=(3, 4)), random.normal(size=(2, 4)), np.ones(2)
    check_gradients(nn, lambda a: functions.ReLUF()(a), [x], call="ReLUF")
    check_gradients(
        nn, lambda *a: functions.LinearF()(*a), [x, weight, bias], call="LinearF with a bias"
    )
    for rest in ((), (None,)):
        check_gradients(
            nn,
            lambda *a, rest=rest: functions.LinearF()(*a, *rest),
            [x, weight],
            call="LinearF without a bias",
        )


@clause("rnn-23", needs="float64")
def test_the_articles_modules_have_the_gradients_of_differences(nn: Any, article: Any) -> None:
    random = np.random.default_rng(42)
    mlp = article("mlp").define(nn).MLP(3, 4, 2)
    plain = article("layers").define(nn).Linear(3, 2, bias=False)
    cell = article("rnn").define(nn).RNNCell(2, 3)
    rnn = article("rnn").define(nn).RNN(2, 3)
    state = np.abs(random.normal(size=(2, 3)))
    for module, inputs in (
        (mlp, [random.normal(size=(2, 3))]),
        (plain, [random.normal(size=(2, 3))]),
        (cell, [random.normal(size=(2, 2)), state]),
        (rnn, [random.normal(size=(2, 3, 2))]),
    ):
        wide = module.double()
        names = [name for name, _ in wide.named_parameters()]
        parameters = [np.array(to_numpy(nn, parameter)) for parameter in wide.parameters()]

        def call(*tensors: Any, wide: Any = wide, names: list[str] = names) -> Any:
            count = len(names)
            replaced = dict(zip(names, tensors[:count], strict=True))
            return nn.functional_call(wide, replaced, *tensors[count:])

        check_gradients(nn, call, [*parameters, *inputs], call=type(wide).__name__)


@clause("rnn-23")
def test_the_articles_rnn_returns_its_states(nn: Any, article: Any) -> None:
    model = article("rnn").define(nn).RNN(2, 3)
    states = model(nn.ones((4, 5, 2)))
    assert len(states) == 5
    assert all(state.shape == (4, 3) for state in states)
    h = nn.zeros((4, 3))
    for state in states:
        h = model.cell(nn.ones((4, 2)), h)
        exactly(nn, state, to_numpy(nn, h))
