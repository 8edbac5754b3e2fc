"""The chapter ``rnn``: layers above one another, directions, dropout, projection.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden, ``P`` what is projected.
"""

import inspect
import itertools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.oracle.configurations import CELLS, Configuration, configurations
from spec_tests.support.assertions import agrees, exactly, refuses, same_signature, tensor, to_numpy
from spec_tests.support.configured import made, seen, twice
from spec_tests.support.recurrent import applications, call_layer, weighted

pytestmark = pytest.mark.sampled(6)

T, N, I, H, P = 4, 3, 3, 3, 2  # noqa: E741 - the letters of the chapter
LAYERS = {"RNN": 1, "LSTM": 4, "GRU": 3}
GROUPS = [
    (cell, layers, both, cut)
    for cell, layers, both, cut in itertools.product(CELLS, (1, 2, 3), (False, True), (False, True))
]


def group(cell: str, layers: int, both: bool, cut: bool) -> list[Configuration]:
    """Return the configurations of one cell, number of layers, directions, with lengths or not."""
    return [
        each
        for each in configurations()
        if (each.cell, each.num_layers, each.bidirectional) == (cell, layers, both)
        and (each.lengths is not None) == cut
    ]


def described(configuration: Configuration) -> str:
    """Return how a configuration's layer is made and called."""
    name, options = configuration.constructor
    return f"{name}({options}), {configuration.layout}, lengths {configuration.lengths}"


@clause("rnn-06")
@pytest.mark.parametrize("name", LAYERS)
def test_signatures(nn: Any, name: str) -> None:
    rows = [
        "input_size, hidden_size, num_layers=1",
        *(["nonlinearity='tanh'"] if name == "RNN" else []),
        "bias=True, batch_first=False, dropout=0.0, bidirectional=False",
        *(["proj_size=0"] if name == "LSTM" else []),
        "*, dtype=None",
    ]
    wanted = eval(f"lambda {', '.join(rows)}: None")
    same_signature(getattr(nn, name), inspect.signature(wanted))


@clause("rnn-06", "rnn-16")
@pytest.mark.parametrize("cell", ["LSTM", "LSTM_projected", "GRU", "RNN_relu"])
def test_parameters_and_initial_values(nn: Any, dtype: str, cell: str) -> None:
    for layers, both, bias in itertools.product((1, 3), (False, True), (True, False)):
        wanted = Configuration(0, cell, layers, both, bias, "time first", 0.0, None)
        name, options = wanted.constructor
        nn.manual_seed(31)
        layer = getattr(nn, name)(I, H, dtype=getattr(nn, dtype), **options)
        draws, k = Draws(31), 1 / math.sqrt(H)
        found = dict(layer.named_parameters())
        assert {key: tuple(p.shape) for key, p in found.items()} == wanted.parameters
        assert list(found) == list(wanted.parameters)
        for key, parameter in found.items():
            exactly(nn, parameter, draws.uniform(wanted.parameters[key], -k, k, dtype), call=key)
        if not bias:
            assert layer.bias_ih_l0 is None
            assert getattr(layer, f"bias_hh_l{layers - 1}" + "_reverse" * both) is None
        for key, value in options.items():
            assert getattr(layer, key) == value
        assert (layer.input_size, layer.hidden_size) == (I, H)


@clause("rnn-06")
def test_repr_shows_what_is_not_usual(nn: Any) -> None:
    assert repr(nn.GRU(3, 4)) == "GRU(3, 4)"
    assert repr(nn.LSTM(3, 4, 2, dropout=0.5)) == "LSTM(3, 4, num_layers=2, dropout=0.5)"
    every = nn.LSTM(3, 4, 2, False, True, 0.5, True, 2)
    assert repr(every) == (
        "LSTM(3, 4, proj_size=2, num_layers=2, bias=False, batch_first=True, dropout=0.5, "
        "bidirectional=True)"
    )
    both = nn.RNN(3, 4, 2, "relu", bidirectional=True)
    assert repr(both) == "RNN(3, 4, num_layers=2, bidirectional=True, nonlinearity=relu)"


@clause("rnn-29", "rnn-30", "rnn-31", "rnn-32", "rnn-33", "rnn-35")
@pytest.mark.sampled(104)
@pytest.mark.parametrize(("cell", "layers", "both", "cut"), GROUPS)
def test_configurations(nn: Any, dtype: str, cell: str, layers: int, both: bool, cut: bool) -> None:
    for configuration in group(cell, layers, both, cut):
        got, want = seen(nn, configuration, dtype)
        for key, array in want.items():
            call, options = f"{described(configuration)}: {key}", configuration.options
            agrees(nn, got[key], array, "rnn", call=call, options=options)


def check_twice(nn: Any, dtype: str, *options: Any) -> None:
    """Compare the second derivatives of the configurations that have them."""
    for configuration in group(*options):
        if configuration.penalised:
            got, want = twice(nn, configuration, dtype)
            for key, array in want.items():
                call = f"{described(configuration)}: {key}"
                of = [f"{option}, second" for option in configuration.options]
                agrees(nn, got[key], array, "rnn", call=call, dtype=dtype, options=of)


@clause("rnn-17", "rnn-35")
@pytest.mark.sampled(26)
@pytest.mark.parametrize(
    ("cell", "layers", "both", "cut"), [group for group in GROUPS if group[1] == 2]
)
def test_second_derivatives(
    nn: Any, dtype: str, cell: str, layers: int, both: bool, cut: bool
) -> None:
    check_twice(nn, dtype, cell, layers, both, cut)


@clause("rnn-17", "rnn-35", needs="float64")
@pytest.mark.sampled(26)
@pytest.mark.parametrize(
    ("cell", "layers", "both", "cut"), [group for group in GROUPS if group[1] != 2]
)
def test_second_derivatives_of_one_layer_and_of_three(
    nn: Any, cell: str, layers: int, both: bool, cut: bool
) -> None:
    check_twice(nn, "float64", cell, layers, both, cut)


@clause("rnn-07", "rnn-08", "rnn-09", "rnn-29")
@pytest.mark.parametrize("cell", CELLS)
def test_states_left_out_are_zeros(nn: Any, cell: str) -> None:
    configuration = Configuration(0, cell, 2, True, True, "time first", 0.0, (4, 0, 2))
    layer = made(nn, configuration, "float32")
    x = nn.tensor(configuration.drawn()["x"].astype("float32"))
    zeros = [nn.zeros(shape) for shape in configuration.states.values()]
    state = tuple(zeros) if len(zeros) > 1 else zeros[0]
    for options in ({}, {"lengths": configuration.lengths}):
        want = call_layer(layer, x, state, **options)
        for key, value in call_layer(layer, x, **options).items():
            exactly(nn, value, to_numpy(nn, want[key]), call=f"{cell}: {key}", dtype="float32")


@clause("rnn-35")
def test_there_are_many_configurations() -> None:
    assert len(configurations()) >= 400
    assert all(any(own.penalised for own in group(*each)) for each in GROUPS)
    assert sum(each.penalised for each in configurations()) >= 100
    assert {each.layout for each in configurations() if each.lengths and each.dropout} == {
        "time first",
        "batch first",
        "one sample",
    }


@clause("rnn-18")
@pytest.mark.parametrize("cell", CELLS)
def test_one_function_for_each_layer_and_direction(
    nn: Any, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = getattr(nn.rnn, f"{cell.partition('_')[0]}Function")
    applied = applications(function, monkeypatch)
    for layers, both, ends in ((2, False, None), (2, True, None), (3, True, (4, 0, 2))):
        configuration = Configuration(0, cell, layers, both, True, "time first", 0.0, ends)
        applied.clear()
        layer = made(nn, configuration, "float32")
        x = tensor(nn, configuration.drawn()["x"].astype("float32"))
        layer(x) if ends is None else layer(x, lengths=ends)
        assert len(applied) == layers * (1 + both)


@clause("rnn-31")
@pytest.mark.parametrize("name", LAYERS)
def test_dropout_draws_its_masks_between_layers(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H, 3, dropout=0.5, batch_first=True)
    x = nn.ones((N, T, I))
    nn.manual_seed(5)
    first, _ = layer(x)
    used = 2 * N * T * H
    exactly(nn, nn.init.uniform_(nn.zeros(7)), Draws(5).units(used + 7)[used:].astype("float32"))
    nn.manual_seed(5)
    again, _ = layer(x)
    exactly(nn, again, to_numpy(nn, first))
    other, _ = layer(x)
    assert not np.array_equal(to_numpy(nn, other), to_numpy(nn, first))


@clause("rnn-31")
@pytest.mark.parametrize("name", LAYERS)
def test_dropout_draws_nothing_where_it_drops_nothing(nn: Any, name: str) -> None:
    make = getattr(nn, name)
    layers = [make(I, H, 2, dropout=0.5).eval(), make(I, H, 2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layers.append(make(I, H, dropout=0.5))
    for layer in layers:
        nn.manual_seed(6)
        layer(nn.ones((T, N, I)))
        exactly(nn, nn.init.uniform_(nn.zeros(5)), Draws(6).units(5).astype("float32"))


@clause("rnn-31")
@pytest.mark.parametrize("name", LAYERS)
def test_dropout_of_everything(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H, 2, dropout=1.0)
    x, zeros = tensor(nn, np.full((T, N, I), 3.0, "float32")), nn.zeros((T, N, I))
    output, _ = layer(x)
    alone = getattr(nn, name)(H, H)
    alone.load_state_dict(
        {key.replace("l1", "l0"): p for key, p in layer.state_dict().items() if "l1" in key}
    )
    agrees(nn, output, to_numpy(nn, alone(nn.zeros((T, N, H)))[0]), "rnn", dtype="float32")
    nn.ops.sum(output).backward()
    exactly(nn, x.grad, to_numpy(nn, zeros))


@pytest.mark.sampled(12)
@clause("rnn-19")
@pytest.mark.parametrize("cell", ["RNN_tanh", "GRU", "LSTM_projected"])
@pytest.mark.parametrize(("steps", "batch"), [(0, 2), (3, 0)])
@pytest.mark.parametrize("cut", [False, True])
def test_zero_sizes(nn: Any, cell: str, steps: int, batch: int, cut: bool) -> None:
    configuration = Configuration(0, cell, 2, True, True, "time first", 0.0, None)
    layer = made(nn, configuration, "float32")
    width = configuration.out
    sizes = {"h": width, "c": H} if cell.startswith("LSTM") else {"h": width}
    given = {
        key: np.arange(4 * batch * size, dtype="float32").reshape(4, batch, size)
        for key, size in sizes.items()
    }
    leaves = {key: tensor(nn, array) for key, array in given.items()}
    x = tensor(nn, np.zeros((steps, batch, I), "float32"))
    states = tuple(leaves.values())
    options = {"lengths": [0] * batch} if cut else {}
    outputs = call_layer(layer, x, states if len(states) > 1 else states[0], **options)
    assert outputs["output"].shape == (steps, batch, 2 * width)
    ones = {key: np.ones(array.shape, "float32") for key, array in outputs.items()}
    weighted(nn, outputs, ones).backward()
    for key, leaf in leaves.items():
        exactly(nn, outputs[f"{key}_n"], given[key])
        exactly(nn, leaf.grad, np.ones_like(given[key]))
    if x.grad is not None:
        exactly(nn, x.grad, np.zeros((steps, batch, I), "float32"))


@contextmanager
def at_most(more: int) -> Iterator[None]:
    """Let this process take no more than so many bytes beside what it has."""
    resource = pytest.importorskip("resource", reason="memory is limited on Unix alone")
    held = Path("/proc/self/statm")
    if not held.exists():
        pytest.skip("the system does not tell what the process has")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(held.read_text("ascii").split()[0])
    wanted = pages * resource.getpagesize() + more
    limits = [limit for limit in (wanted, soft) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@clause("rnn-20")
@pytest.mark.parametrize("name", LAYERS)
def test_more_layers_than_memory_holds(nn: Any, name: str) -> None:
    with at_most(1 << 29), refuses(ValueError, name, 2**62):
        getattr(nn, name)(I, H, num_layers=2**62)


@clause("rnn-20")
@pytest.mark.parametrize("name", LAYERS)
def test_options_that_do_not_fit(nn: Any, name: str) -> None:
    make = getattr(nn, name)
    for wrong in (0, -1):
        with refuses(ValueError, name, "num_layers", wrong):
            make(I, H, wrong)
    for odd in (1.5, "2", True, None):
        with refuses(TypeError, name, "num_layers"):
            make(I, H, odd)
    for share in (-0.1, 1.5, math.nan):
        with refuses(ValueError, name, "dropout", share):
            make(I, H, 2, dropout=share)
    for odd in ("0.5", None, True):
        with refuses(TypeError, name, "dropout"):
            make(I, H, 2, dropout=odd)
    with refuses((TypeError, ValueError), name, "bidirectional"):
        make(I, H, bidirectional="yes")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make(I, H, dropout=0.5)
    assert [each.category for each in caught] == [UserWarning]
    assert name in str(caught[0].message)
    assert "dropout" in str(caught[0].message)
    if name == "LSTM":
        for wrong in (-1, H, H + 1):
            with refuses(ValueError, "LSTM", "proj_size", wrong):
                make(I, H, proj_size=wrong)
        for odd in (1.0, "1", True):
            with refuses(TypeError, "LSTM", "proj_size"):
                make(I, H, proj_size=odd)
    else:
        with pytest.raises(TypeError, match="proj_size"):
            make(I, H, proj_size=1)


@clause("rnn-20")
@pytest.mark.parametrize("name", LAYERS)
def test_states_that_do_not_fit_the_options(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H, 2, bidirectional=True)
    x = nn.zeros((T, N, I))
    fits = nn.zeros((4, N, H))
    for wrong in ((1, N, H), (2, N, H), (4, N, H + 1), (4, H)):
        state = nn.zeros(wrong)
        with refuses(ValueError, name, "h0", str((4, N, H)), str(wrong)):
            layer(x, (state, fits) if name == "LSTM" else state)
    if name == "LSTM":
        projected = nn.LSTM(I, H, proj_size=P)
        with refuses(ValueError, "LSTM", "h0", str((1, N, P)), str((1, N, H))):
            projected(x, (nn.zeros((1, N, H)), nn.zeros((1, N, H))))
        with refuses(ValueError, "LSTM", "c0", str((1, N, H)), str((1, N, P))):
            projected(x, (nn.zeros((1, N, P)), nn.zeros((1, N, P))))


@clause("rnn-21", "rnn-29")
@pytest.mark.parametrize("cell", CELLS)
def test_frozen_layers_get_no_gradient(nn: Any, cell: str) -> None:
    numbers = (each for each in configurations() if not each.dropout)
    configuration = next(
        each for each in numbers if each.cell == cell and each.num_layers == 2 and each.lengths
    )
    got, want = seen(nn, configuration, "float32", frozen="_l0")
    for key, array in want.items():
        if "_l0" in key:
            assert got[key] is None
        else:
            agrees(nn, got[key], array, "rnn", call=f"{cell}: {key}", dtype="float32")
