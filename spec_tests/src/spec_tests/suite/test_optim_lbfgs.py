"""The chapter ``optim``: LBFGS."""

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load
from spec_tests.oracle.optimized import DESCENTS, FUNCTIONS, STARTS
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy

PLAIN = [name for name, (_, options, _) in DESCENTS.items() if "line_search_fn" not in options]
SEARCHED = [name for name in DESCENTS if name not in PLAIN]
# Where a search takes few trials, float32 has the same iterates.
SHORT = ["rosenbrock_searched", "rosenbrock_searched_at_once"]
# Entries of a state: flat arrays, lists of them, lists of numbers, numbers, counts.
ARRAYS, LISTS = ["d", "prev_flat_grad"], ["old_dirs", "old_stps"]
NUMBERS, COUNTS = ["t", "H_diag", "prev_loss"], ["func_evals", "n_iter"]


def scene(nn: Any, dtype: str, name: str) -> tuple[Any, list[Any], Callable[[], Any]]:
    """Return the optimizer of a descent at its start, the parameters and the closure."""
    function, options, _ = DESCENTS[name]
    parameters = [nn.Parameter(nn.tensor(array.astype(dtype))) for array in STARTS[function]]
    optimizer = nn.optim.LBFGS(parameters, **options)
    return optimizer, parameters, closure_of(nn, dtype, name, optimizer, parameters)


def closure_of(
    nn: Any, dtype: str, name: str, optimizer: Any, parameters: list[Any]
) -> Callable[[], Any]:
    def constant(array: np.ndarray) -> Any:
        return nn.tensor(array.astype(dtype))

    def closure() -> Any:
        optimizer.zero_grad()
        loss = FUNCTIONS[DESCENTS[name][0]](nn.ops.sum, constant, *parameters)
        loss.backward()
        return loss

    return closure


def go_on(nn: Any, dtype: str, name: str, own: tuple[Any, ...], steps: range) -> None:
    """Take steps, and compare iterates, what is returned and the counts with the reference's."""
    optimizer, parameters, closure = own
    want = load("optim")["descents"][name]
    for step in steps:
        returned = optimizer.step(closure)
        call = f"{name}, step {step}"
        # The losses approach 0; they are compared beside the first.
        losses = np.array([float(to_numpy(nn, returned)), want["returned"][0]])
        reference = want["returned"][[step, 0]]
        agrees(
            nn,
            losses.astype(dtype),
            reference,
            "descent",
            dtype=dtype,
            call=f"{call}, what is returned",
        )
        for place, parameter in enumerate(parameters):
            reference = want[f"iterate{place}"][step]
            agrees(
                nn, parameter, reference, "descent", dtype=dtype, call=f"{call}, parameter {place}"
            )
        if dtype == "float64":
            state = optimizer.state_dict()["state"][0]
            counts = (state["n_iter"], state["func_evals"])
            assert counts == tuple(want["counts"][step]), f"{call}: iterations and calls {counts}"


@clause("optim-17")
@pytest.mark.parametrize("name", PLAIN)
def test_iterates(nn: Any, dtype: str, name: str) -> None:
    go_on(nn, dtype, name, scene(nn, dtype, name), range(DESCENTS[name][2]))


@clause("optim-18", needs="float64")
@pytest.mark.parametrize("name", SEARCHED)
def test_iterates_with_a_line_search(nn: Any, name: str) -> None:
    go_on(nn, "float64", name, scene(nn, "float64", name), range(DESCENTS[name][2]))


@clause("optim-18")
@pytest.mark.parametrize("name", SHORT)
def test_iterates_with_a_short_search(nn: Any, name: str) -> None:
    go_on(nn, "float32", name, scene(nn, "float32", name), range(DESCENTS[name][2]))


@clause("optim-17")
def test_parameters_without_gradients(nn: Any) -> None:
    """They count as zeros: the parameter stays, and takes part when it has a gradient."""
    one, idle = nn.Parameter(nn.tensor([1.0, 2.0])), nn.Parameter(nn.tensor([3.0]))
    optimizer = nn.optim.LBFGS([one, idle], lr=0.5, max_iter=2)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.ops.sum(one * one)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert np.all(np.abs(to_numpy(nn, one)) < [1.0, 2.0])
    exactly(nn, idle, np.array([3], np.float32), call="a parameter without a gradient")
    state = optimizer.state_dict()["state"][0]
    assert tuple(state["prev_flat_grad"].shape) == (3,)


@clause("optim-17")
def test_at_rest_nothing_moves(nn: Any, dtype: str) -> None:
    parameter = nn.Parameter(nn.tensor(np.zeros(2, dtype)))
    optimizer = nn.optim.LBFGS([parameter])
    calls = []

    def closure() -> Any:
        calls.append(1)
        optimizer.zero_grad()
        loss = nn.ops.sum(parameter * parameter)
        loss.backward()
        return loss

    exactly(nn, optimizer.step(closure), np.array(0, dtype))
    assert len(calls) == 1
    exactly(nn, parameter, np.zeros(2, dtype))


@clause("optim-19")
@pytest.mark.parametrize("name", ["quadratic_short_memory", "rosenbrock_searched"])
def test_the_form_of_the_state_of_lbfgs(nn: Any, dtype: str, name: str) -> None:
    optimizer, parameters, closure = scene(nn, dtype, name)
    for _ in range(4):
        optimizer.step(closure)
    state = optimizer.state_dict()
    (group,) = state["param_groups"]
    expected: dict[str, Any] = {"max_eval": 1, "lr": 1, "history_size": 100}
    expected |= {"tolerance_grad": 1e-7, "tolerance_change": 1e-9, "line_search_fn": None}
    expected |= DESCENTS[name][1]
    assert {option: group[option] for option in expected} == expected
    assert group["params"] == [0, 1]
    assert set(state["state"]) == {0}, "the state is that of the first parameter"
    entry = state["state"][0]
    assert {*ARRAYS, *LISTS, *NUMBERS, *COUNTS, "ro"} == set(entry) - {"al"}
    size = (sum(math.prod(parameter.shape) for parameter in parameters),)
    kept = min(3, DESCENTS[name][1].get("history_size", 100))
    for key in LISTS:
        assert isinstance(entry[key], list)
        assert len(entry[key]) == kept, f"{key} has {len(entry[key])} but should have {kept}"
    assert len(entry["ro"]) == kept
    for array in [entry[key] for key in ARRAYS] + [a for key in LISTS for a in entry[key]]:
        assert isinstance(array, nn.Tensor)
        assert tuple(array.shape) == size
        assert array.dtype == getattr(nn, dtype)
    for key in COUNTS:
        assert type(entry[key]) is int
    for number in [entry[key] for key in NUMBERS] + entry["ro"]:
        plain = isinstance(number, int | float)
        assert plain or tuple(number.shape) == (), f"{number!r} should be one number"


def plain(nn: Any, value: Any) -> Any:
    """Return a state as JSON holds it."""
    if isinstance(value, dict):
        return {str(key): plain(nn, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(nn, item) for item in value]
    return to_numpy(nn, value).tolist() if isinstance(value, nn.Tensor) else value


@clause("optim-19")
@pytest.mark.parametrize("form", ["Tensors", "lists"])
@pytest.mark.parametrize("name", ["quadratic_short_memory", "rosenbrock_searched"])
def test_lbfgs_goes_on_from_a_state(nn: Any, dtype: str, name: str, form: str) -> None:
    optimizer, parameters, closure = scene(nn, dtype, name)
    for _ in range(4):
        optimizer.step(closure)
    state = optimizer.state_dict()
    if form == "lists":
        state = json.loads(json.dumps(plain(nn, state)))
    twins = [nn.Parameter(nn.tensor(parameter.detach())) for parameter in parameters]
    other = nn.optim.LBFGS(twins, lr=7.0)
    other.load_state_dict(state)
    go_on(nn, dtype, name, (other, twins, closure_of(nn, dtype, name, other, twins)), range(4, 10))
    for key in COUNTS:
        count = optimizer.state_dict()["state"][0][key]
        assert count == state["state"]["0" if form == "lists" else 0][key], f"{key} has changed"


@clause("optim-19")
@pytest.mark.parametrize("name", ["quadratic_short_memory", "rosenbrock_searched"])
def test_lbfgs_reads_what_torch_wrote(nn: Any, dtype: str, name: str) -> None:
    state = copy.deepcopy(load_state(name))
    optimizer, parameters, _ = scene(nn, dtype, name)
    want = load("optim")["descents"][name]
    parameters = [
        nn.Parameter(nn.tensor(want[f"iterate{place}"][3].astype(dtype))) for place in range(2)
    ]
    optimizer = nn.optim.LBFGS(parameters)
    optimizer.load_state_dict(state)
    closure = closure_of(nn, dtype, name, optimizer, parameters)
    go_on(nn, dtype, name, (optimizer, parameters, closure), range(4, 10))


def load_state(name: str) -> dict[str, Any]:
    """Return the state that torch.optim.LBFGS has after four steps in float64."""
    text = str(load("optim")["states"][name])
    state: dict[str, Any] = json.loads(text)
    return state


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a shape": lambda s: s["state"]["0"].update(d=[1.0, 2.0]),
    "a shape in a list": lambda s: s["state"]["0"]["old_dirs"].append([1.0]),
    "no numbers": lambda s: s["state"]["0"].update(prev_flat_grad=["a"] * 9),
    "a count that is none": lambda s: s["state"]["0"].update(n_iter="four"),
    "another entry": lambda s: s["state"]["0"].update(velocity=1.0),
    "an entry too few": lambda s: s["state"]["0"].pop("prev_loss"),
    "counts alone": lambda s: s["state"].update(
        {"0": {key: s["state"]["0"][key] for key in COUNTS}}
    ),
    "a position": lambda s: s.update(state={"7": s["state"]["0"]}),
    "no history_size": lambda s: s["param_groups"][0].pop("history_size"),
    "too few parameters": lambda s: s["param_groups"][0].update(params=[0]),
}


@clause("optim-19")
@pytest.mark.parametrize("fault", FAULTS)
def test_states_that_lbfgs_refuses(nn: Any, fault: str) -> None:
    name = "quadratic_short_memory"
    own = scene(nn, "float32", name)
    state = load_state(name)
    FAULTS[fault](state)
    with refuses((TypeError, ValueError), "LBFGS"):
        own[0].load_state_dict(state)
    values = [to_numpy(nn, parameter) for parameter in own[1]]
    for value, array in zip(values, STARTS["quadratic"], strict=True):
        assert np.array_equal(value, array.astype(np.float32))
    assert not own[0].state_dict()["state"]
    own[0].step(own[2])
    reference = load("optim")["descents"][name]["iterate0"][0]
    agrees(nn, own[1][0], reference, "descent", dtype="float32", call=f"LBFGS after {fault}")


@clause("optim-19")
@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("lr", -0.5),
        ("lr", math.nan),
        ("lr", "fast"),
        ("max_iter", 0),
        ("max_iter", 2.5),
        ("max_eval", 0),
        ("max_eval", "all"),
        ("tolerance_grad", "none"),
        ("tolerance_grad", math.nan),
        ("tolerance_change", None),
        ("history_size", 0),
        ("history_size", None),
        ("line_search_fn", "armijo"),
        ("line_search_fn", 1),
    ],
)
def test_options_of_lbfgs(nn: Any, option: str, wrong: Any) -> None:
    parameter = nn.Parameter(nn.ones((2,)))
    with refuses((TypeError, ValueError), "LBFGS", option, str(wrong)):
        nn.optim.LBFGS([parameter], **{option: wrong})
    optimizer = nn.optim.LBFGS([parameter])
    optimizer.param_groups[0][option] = wrong
    with refuses((TypeError, ValueError), "LBFGS", option, str(wrong)):
        optimizer.step(lambda: nn.ops.sum(parameter))
    exactly(nn, parameter, np.ones(2, np.float32), call="a parameter after no step")


@clause("optim-19")
def test_lbfgs_has_one_group_and_wants_a_closure(nn: Any) -> None:
    one, two = nn.Parameter(nn.ones((2,))), nn.Parameter(nn.ones((2,)))
    with refuses(ValueError, "LBFGS", "group", "2"):
        nn.optim.LBFGS([{"params": [one]}, {"params": [two]}])
    optimizer = nn.optim.LBFGS([{"params": [one], "lr": 0.5}])
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert optimizer.param_groups[0]["max_eval"] == 25
    assert nn.optim.LBFGS([two], max_iter=5).param_groups[0]["max_eval"] == 6
    with refuses(ValueError, "LBFGS", "group"):
        optimizer.add_param_group({"params": [two]})
    assert len(optimizer.param_groups) == 1
    with refuses(TypeError, "LBFGS", "closure", "None"):
        optimizer.step(None)
    for wrong, came in ((None, "None"), ("text", "str"), (nn.ones((2,)), "(2,)")):
        with refuses((TypeError, ValueError), "LBFGS", "closure", (came, type(wrong).__name__)):
            optimizer.step(lambda value=wrong: value)
    exactly(nn, one, np.ones(2, np.float32), call="a parameter after no step")
