"""Every row, kind and contestant is whole: what one table names is in the other."""

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import impl_numpy as nn
from benchmarks.options import options, rows_of
from benchmarks.peers import ours
from benchmarks.peers.arrays import sequence
from benchmarks.peers.equations import parameters, unrolled
from benchmarks.peers.table import CONTESTANTS, ENVIRONMENTS, OURS, needed
from benchmarks.rows import EXPRESSIONS, GATES, KINDS, NOBODY, ROWS, SGEMM, Row, shrunk

ROOT = Path(__file__).parents[2]
BACKENDS = {"numpy", "cupy", "torch_ext", "jax_vjp"}
PEERS = [who for who in CONTESTANTS if who.role == "peer"]


def test_no_two_rows_have_one_key():
    assert len({row.key for row in ROWS}) == len(ROWS) > 150


def test_every_kind_has_rows_and_every_row_a_kind():
    assert {row.kind for row in ROWS} == set(KINDS)


def test_a_quick_run_asks_for_something_of_every_kind():
    # A build takes minutes.
    assert {row.kind for row in ROWS if row.quick} == set(KINDS) - {"build"}
    assert sum(row.quick for row in ROWS) < len(ROWS) / 4


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.key)
def test_a_row_is_whole(row):
    axes = KINDS[row.kind].axes
    assert not axes or len(row.shape) == len(axes)
    assert all(size > 0 for size in row.shape)
    assert not row.along or row.along in axes
    assert Row.from_dict(json.loads(json.dumps(row.as_dict()))) == row


def test_a_kind_is_compared_with_peers_that_there_are():
    names = {who.name for who in PEERS}
    for kind in KINDS.values():
        assert kind.peers == NOBODY or set(kind.peers) <= names
        assert set(kind.ours) <= set(OURS)


def test_the_implementations_can_do_every_kind():
    makers = {kind.maker for kind in KINDS.values() if kind.maker}
    assert set(ours.makers("impl_numpy")) == makers
    assert set(ours.makers("impl_numpy jit")) < makers


@pytest.mark.parametrize("name", ["impl_numpy", "impl_numpy jit"])
def test_an_implementation_does_the_work_of_every_row(name):
    makers = ours.makers(name)
    done = 0
    for row in ROWS:
        maker = KINDS[row.kind].maker
        if maker not in makers or row.kind in (
            "launches",
            "epoch",
            "growth",
            "memory",
            "states",
            "first",
            "build",
        ):
            continue
        small = row if row.arguments else shrunk(row)
        job = makers[maker](Row.from_dict({**small.as_dict(), "options": row.options}))
        job.call()
        numbers = job.wait()
        numbers = numbers if isinstance(numbers, list) else [numbers]
        assert numbers
        assert all(map(math.isfinite, numbers))
        done += 1
    assert done > 20


@pytest.mark.parametrize("cell", GATES)
def test_the_equations_are_those_of_the_layers(cell):
    row = Row("train", cell, (5, 3, 2, 7))
    ops = SimpleNamespace(tanh=np.tanh, sigmoid=lambda x: 1 / (1 + np.exp(-x)))
    weights = parameters(row)
    x, _ = sequence(row)
    outputs = unrolled(ops, cell, list(x), np.zeros((3, 7), np.float32), weights)
    layer = getattr(nn, cell)(2, 7)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    layer.load_state_dict(dict(zip(names, (weight.T for weight in weights), strict=True)))
    expected = layer(nn.tensor(x))[0].detach().numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(np.stack(outputs), expected, rtol=1e-5, atol=1e-6)


def test_only_an_extension_is_built():
    build = ours.makers("impl_numpy")["build"]
    for name in ("impl_numpy", "impl_torch_ext"):
        with pytest.raises(ours.Unsupported, match="impl_numpy has nothing to build"):
            build(Row("build", name))


def test_launches_are_counted_by_the_emulation_alone():
    with pytest.raises(ours.Unsupported, match="emulation of CuPy"):
        ours.makers("impl_numpy")["launches"](Row("launches", "RNN", (2, 2, 2, 2)))


@pytest.mark.parametrize("who", CONTESTANTS, ids=lambda who: who.name)
def test_a_contestant_has_a_module_and_an_environment(who):
    assert (ROOT / f"{who.module.replace('.', '/')}.py").exists()
    places = {environment.name for environment in ENVIRONMENTS} | BACKENDS
    assert set(who.environments) <= places
    assert (who.name in OURS) == (who.role == "ours")


def test_names_of_contestants_and_environments_are_unique():
    assert len({who.name for who in CONTESTANTS}) == len(CONTESTANTS)
    names = [environment.name for environment in ENVIRONMENTS]
    assert len(set(names)) == len(names)
    assert not set(names) & BACKENDS


def test_every_package_is_pinned_and_torch_as_everywhere():
    packages = [
        (environment.name, package)
        for environment in ENVIRONMENTS
        for call in environment.installs
        for package in call
        if not package.startswith("--")
    ]
    tools = {"setuptools>=77", "setuptools<58", "wheel"}
    assert [
        package for _, package in packages if "==" not in package and package not in tools
    ] == []
    (pin,) = {package for _, package in packages if package.startswith("torch")}
    stated = re.search(r'^TORCH = "(.*)"$', (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    assert pin == stated[1]


def test_the_environments_that_names_need():
    assert needed(["impl_numpy", "torch.nn", "torch.compile"]) == ("numpy", "torch")
    with pytest.raises(ValueError, match="'nobody' is not in the table"):
        needed(["nobody"])


@pytest.mark.parametrize("cell", GATES)
def test_operations_are_those_of_the_products(cell):
    steps, batch, inputs, hidden = shape = (5, 3, 2, 7)
    width = GATES[cell] * hidden

    def product(rows, inner, columns):
        return 2 * rows * inner * columns

    forward = product(steps * batch, inputs, width) + steps * product(batch, hidden, width)
    to_inputs = product(steps * batch, width, inputs) + steps * product(batch, width, hidden)
    to_weights = product(width, steps * batch, inputs) + product(width, steps * batch, hidden)
    assert Row("inference", cell, shape).flops == forward
    assert Row("train", cell, shape).flops == forward + to_inputs + to_weights
    assert Row("train", cell, shape).flops == 6 * steps * batch * width * (inputs + hidden)
    assert Row("growth", cell, shape).flops == Row("train", cell, shape).flops
    assert Row("cell", cell, shape).flops == 0


def test_other_work_has_no_count_of_operations():
    assert Row("eager", "matmul", (2, 2)).flops == 0
    assert SGEMM.flops == 2 * 1024**3


def test_a_row_is_named_by_its_small_options():
    row = Row("optimizer", "SGD", (8, 128), options={"momentum": 0.9})
    assert row.key == "optimizer SGD momentum=0.9 8,128"
    row = Row("epoch", "pydoc_gru", options={"workload": {"lr": 1}, "data": "place"})
    assert row.key == "epoch pydoc_gru"


def test_expressions_are_the_eager_rows():
    assert {row.name for row in ROWS if row.kind == "eager"} == set(EXPRESSIONS)


def test_everything_is_chosen_where_nothing_is():
    chosen = options([])
    assert chosen.impl == list(OURS)
    assert chosen.peer == [who.name for who in PEERS]
    assert chosen.threads == [1]
    assert rows_of(chosen) == list(ROWS)


def test_choices():
    words = "--kind train --impl impl_numpy --peer none --threads 2 1 --only LSTM --quick".split()
    chosen = options([*words, "--environment", "numpy=python3", "--missing", "flax=no = sign"])
    assert (chosen.impl, chosen.peer, chosen.threads) == (["impl_numpy"], [], [1, 2])
    assert [row.key for row in rows_of(chosen)] == ["train LSTM 8,32,8,32"]
    assert chosen.environment == {"numpy": "python3"}
    assert chosen.missing == {"flax": "no = sign"}
    assert chosen.seconds < options([]).seconds


@pytest.mark.parametrize(
    "words", [["--kind", "sleep"], ["--threads", "0"], ["--missing", "flax"], ["--peer", "me"]]
)
def test_wrong_choices_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        options(words)
    assert words[0] in capsys.readouterr().err
