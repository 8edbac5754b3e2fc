"""The chapter ``rnn``: the table of options, cell by cell."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.options import Cell
from spec_tests.support.assertions import agrees, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.optional import (
    ENDS,
    SEED,
    Case,
    H,
    I,
    Leaves,
    N,
    T,
    module_of,
    of_equations,
    of_module,
)
from spec_tests.support.recurrent import squares

pytestmark = pytest.mark.sampled(4)

# How many batches `vmap` takes at once.
B = 2


def dtype_of(nn: Any) -> str:
    """Return the widest dtype that there is."""
    return "float64" if nn.spec_capabilities().get("float64") else "float32"


def leaves_of(nn: Any, case: Case) -> Leaves:
    """Return input, states and parameters as Tensors, by name."""
    return {name: nn.tensor(a.astype(dtype_of(nn))) for name, a in case.drawn().items()}


def both(nn: Any, case: Case) -> tuple[Callable[[Leaves], Leaves], Callable[[Leaves], Leaves]]:
    """Return the Module's function of the leaves, and that of the equations."""
    call = of_module(nn, case, module_of(nn, case, dtype_of(nn)))

    def seeded(leaves: Leaves) -> Leaves:
        # What is drawn between layers is drawn by the call alone.
        nn.manual_seed(SEED)
        return call(leaves)

    return seeded if case.option == "dropout" else call, of_equations(nn, case)


def score_of(nn: Any, call: Callable[[Leaves], Leaves]) -> Callable[[Leaves], tuple[Any, Leaves]]:
    """Return a scalar to which all outputs contribute, beside them."""

    def score(leaves: Leaves) -> tuple[Any, Leaves]:
        outputs = call(leaves)
        terms = []
        for seed, value in enumerate(outputs.values()):
            weights = normal(tuple(value.shape), dtype_of(nn), seed=70 + seed)
            terms.append(nn.ops.sum(value * nn.tensor(weights)))
        return sum(terms[1:], terms[0]), outputs

    return score


def compare(nn: Any, got: Any, want: Any, what: str) -> None:
    """Compare what comes by name."""
    assert set(got) == set(want)
    for name, value in want.items():
        array = to_numpy(nn, value.detach())
        call = f"{what}: {name}"
        agrees(nn, got[name].detach(), array, "rnn", call=call, dtype=dtype_of(nn))


def compare_gradients(nn: Any, case: Case) -> None:
    """Compare values and gradients of the Module with those of the equations."""
    found = []
    for call in both(nn, case):
        slope = nn.value_and_grad(score_of(nn, call), has_aux=True)
        (_, outputs), gradient = slope(leaves_of(nn, case))
        found.append((outputs, gradient))
    for what, got, want in zip(("value", "gradient"), *found, strict=True):
        compare(nn, got, want, f"{case}, {what}")


@clause("rnn-59")
@pytest.mark.sampled(10)
@pytest.mark.options("values")
def test_values(nn: Any, cell: Cell) -> None:
    case = Case(cell.layer, cell.option)
    leaves = leaves_of(nn, case)
    got, want = (call(leaves) for call in both(nn, case))
    compare(nn, got, want, f"{case}")


@clause("rnn-59")
@pytest.mark.sampled(40)
@pytest.mark.options("gradients")
def test_gradients(nn: Any, cell: Cell) -> None:
    compare_gradients(nn, Case(cell.layer, cell.option))


@clause("rnn-59")
@pytest.mark.sampled(30)
@pytest.mark.options("lengths")
def test_with_lengths(nn: Any, cell: Cell) -> None:
    compare_gradients(nn, Case(cell.layer, cell.option, lengths=True))


@clause("rnn-59")
@pytest.mark.sampled(30)
@pytest.mark.options("resets")
def test_with_resets(nn: Any, cell: Cell) -> None:
    compare_gradients(nn, Case(cell.layer, cell.option, lengths=True, resets=True))


@clause("rnn-59", needs="double_backward")
@pytest.mark.sampled(90)
@pytest.mark.options("second")
def test_second_derivatives(nn: Any, cell: Cell) -> None:
    case = Case(cell.layer, cell.option)
    found = []
    for call in both(nn, case):
        slope = nn.grad(lambda leaves, call=call: score_of(nn, call)(leaves)[0], create_graph=True)
        penalty = nn.grad(lambda leaves, slope=slope: squares(nn, [slope(leaves)["x"]]))
        found.append(penalty(leaves_of(nn, case)))
    compare(nn, found[0], found[1], f"{case}, second derivative")


@clause("rnn-59", needs="jit")
@pytest.mark.sampled(20)
@pytest.mark.options("jit")
def test_compiled(nn: Any, cell: Cell) -> None:
    case = Case(cell.layer, cell.option)
    leaves = leaves_of(nn, case)
    call, _ = both(nn, case)
    slope = nn.value_and_grad(score_of(nn, call), has_aux=True)
    (_, wanted), slopes = slope(leaves)
    nn.manual_seed(SEED)
    (_, outputs), gradient = nn.jit(slope)(leaves)
    compare(nn, outputs, wanted, f"{case}, compiled")
    compare(nn, gradient, slopes, f"{case}, compiled gradient")


@clause("rnn-59", needs="vmap")
@pytest.mark.sampled(80)
@pytest.mark.options("vmap")
def test_gradients_of_several_batches(nn: Any, cell: Cell) -> None:
    case = Case(cell.layer, cell.option)
    others = leaves_of(nn, case)
    x = others.pop("x")
    slices = normal((B, *x.shape), dtype_of(nn), seed=50)
    call, equations = both(nn, case)
    found = [
        nn.grad(lambda own, x, call=each: score_of(nn, call)({"x": x, **own})[0])
        for each in (call, equations)
    ]
    got = nn.vmap(found[0], in_axes=(None, 0))(others, nn.tensor(slices))
    for place, array in enumerate(slices):
        own = {name: slope[place] for name, slope in got.items()}
        compare(nn, own, found[1](others, nn.tensor(array)), f"{case}, slice {place}")


@clause("rnn-59", needs="double_backward")
@pytest.mark.sampled(60)
@pytest.mark.options("jvp")
def test_derivatives_in_a_direction(nn: Any, cell: Cell) -> None:
    case = Case(cell.layer, cell.option)
    leaves = leaves_of(nn, case)
    drawn = enumerate(leaves.items())
    along = {n: nn.tensor(normal(tuple(p.shape), dtype_of(nn), seed=90 + s)) for s, (n, p) in drawn}
    found = [nn.jvp(call, (leaves,), (along,)) for call in both(nn, case)]
    for got, want, what in zip(*found, ("value", "derivative"), strict=True):
        compare(nn, got, want, f"{case}, {what}")


@clause("rnn-59", "rnn-52")
@pytest.mark.options("exchange")
def test_exchanged(nn: Any, cell: Cell) -> None:
    case = Case(cell.layer, cell.option)
    parameters = {name: a for name, a in case.drawn().items() if name != "x"}
    if case.layer == "GRU":
        for name in parameters:
            if name.startswith("bias_hh"):
                parameters[name][2 * H :] = 0.0
    x = nn.tensor(case.drawn()["x"].astype(dtype_of(nn)))
    dtype = dtype_of(nn)
    own = {name: a.astype(dtype) for name, a in parameters.items()}
    layer = module_of(nn, case, dtype)
    layer.load_state_dict(own)
    want = to_numpy(nn, layer(x)[0].detach())
    sizes: dict[str, Any] = {"input_size": I, "hidden_size": H, **case.made}
    sizes["cell"] = case.layer.partition("_")[0]
    for form in forms_of(case):
        there = nn.rnn.convert(own, target=form, **sizes)
        # A form that has biases in any case says so itself.
        said = {name: size for name, size in sizes.items() if (form, name) != ("flax", "bias")}
        back = nn.rnn.convert(there, source=form, **said)
        again = module_of(nn, case, dtype)
        again.load_state_dict({name: back[name] for name in own})
        agrees(nn, again(x)[0].detach(), want, "rnn", call=f"{case} by {form}", dtype=dtype)


def forms_of(case: Case) -> list[str]:
    """Return the forms that have a place for a layer's parameters."""
    forms = ["torch", "cudnn"]
    if case.option != "proj_size":
        forms += ["keras", "onnx", "flax"]
    if case.option != "two of both":
        forms.append("onednn")
    return forms


@clause("rnn-60", needs="double_backward")
def test_a_gradient_penalty_through_a_bidirectional_lstm_with_lengths(nn: Any) -> None:
    case = Case("LSTM", "two of both", lengths=True)
    found = []
    leaves = leaves_of(nn, case)
    past = np.arange(T)[:, None] >= np.array(ENDS)
    for waste, call in zip((np.nan, 0.0), both(nn, case), strict=True):
        array = np.where(past[..., None], waste, to_numpy(nn, leaves["x"])).astype(dtype_of(nn))
        penalty = nn.value_and_grad(penalty_of(nn, call))
        value, slopes = penalty({**leaves, "x": nn.tensor(array)})
        found.append({"penalty": value, **slopes})
    compare(nn, found[0], found[1], "gradient penalty")
    assert not to_numpy(nn, found[0]["x"])[past].any()
    assert to_numpy(nn, found[0]["weight_hh_l1_reverse"]).any()


def penalty_of(nn: Any, call: Callable[[Leaves], Leaves]) -> Callable[[Leaves], Any]:
    """Return how far the norms of the gradients to each sequence are from 1."""

    def penalty(leaves: Leaves) -> Any:
        def score(x: Any) -> Any:
            output = call({**leaves, "x": x})["output"]
            return nn.ops.sum(output * nn.tensor(normal((T, N, 2 * H), dtype_of(nn), seed=5)))

        slope = nn.grad(score, create_graph=True)(leaves["x"])
        norms = nn.ops.sqrt(nn.ops.sum(slope * slope, axis=(0, 2)))
        return nn.ops.mean((norms - 1) ** 2)

    return penalty
