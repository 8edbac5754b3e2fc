"""The chapter ``optim``: groups that are edited, parameters at rest, and options as NumPy's."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses, to_numpy
from spec_tests.support.optimizers import OPTIONS, give, optimizer_of, start, walk

STATEFUL = [
    "SGD_momentum",
    "SGD_nesterov",
    "Adam_plain",
    "Adam_options",
    "Adam_amsgrad",
    "RMSprop_centered",
    "Adagrad_plain",
]
STEPS = 6


def undisturbed(nn: Any, name: str) -> dict[str, np.ndarray]:
    """Return the values after every step, of an optimizer that nobody edits."""
    parameters = start(nn, "float32")
    walk(nn, optimizer_of(nn, name, parameters.values()), parameters, "float32", range(STEPS))
    return {key: np.array(to_numpy(nn, parameter)) for key, parameter in parameters.items()}


def reverse(nn: Any, optimizer: Any) -> None:
    """Turn the order of the parameters round."""
    optimizer.param_groups[0]["params"].reverse()


def split(nn: Any, optimizer: Any) -> None:
    """Give each parameter a group of its own, the last first."""
    (group,) = optimizer.param_groups
    optimizer.param_groups[:] = [{**group, "params": [p]} for p in reversed(group["params"])]


def put_before(nn: Any, optimizer: Any) -> None:
    """Put a parameter before the others, which has no gradient."""
    optimizer.param_groups[0]["params"].insert(0, nn.Parameter(nn.ones((5,))))


def put_a_group_before(nn: Any, optimizer: Any) -> None:
    """Put a group before the other."""
    stranger = nn.Parameter(nn.ones((5,)))
    optimizer.param_groups.insert(0, {**optimizer.param_groups[0], "params": [stranger]})


def add_a_group(nn: Any, optimizer: Any) -> None:
    """Add a group."""
    optimizer.add_param_group({"params": [nn.Parameter(nn.ones((5,)))]})


EDITS: dict[str, Callable[[Any, Any], None]] = {
    "reversed": reverse,
    "split": split,
    "one put before": put_before,
    "a group put before": put_a_group_before,
    "a group added": add_a_group,
}


@clause("optim-11")
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", STATEFUL)
def test_each_goes_on_with_its_own_state(nn: Any, name: str, edit: str) -> None:
    want = undisturbed(nn, name)
    parameters = start(nn, "float32")
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, "float32", range(3))
    EDITS[edit](nn, optimizer)
    walk(nn, optimizer, parameters, "float32", range(3, STEPS))
    for key, parameter in parameters.items():
        exactly(nn, parameter, want[key], call=f"{name}, {edit}: {key}")


@clause("optim-11")
@pytest.mark.parametrize("name", STATEFUL)
def test_positions_follow_the_groups(nn: Any, name: str) -> None:
    parameters = start(nn, "float32")
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, "float32", range(3))
    before = optimizer.state_dict()["state"]
    reverse(nn, optimizer)
    after = optimizer.state_dict()["state"]
    assert set(before) == set(after) == {0, 1}
    for place in (0, 1):
        for entry, value in before[place].items():
            exactly(nn, after[1 - place][entry], to_numpy(nn, value), call=f"{name}: {entry}")


@clause("optim-11")
@pytest.mark.parametrize("name", STATEFUL)
def test_one_that_was_removed(nn: Any, name: str) -> None:
    parameters = start(nn, "float32")
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, "float32", range(3))
    removed = optimizer.param_groups[0]["params"].pop(0)
    held = np.array(to_numpy(nn, removed))
    walk(nn, optimizer, parameters, "float32", range(3, STEPS))
    exactly(nn, removed, held, call="what was removed")
    exactly(nn, parameters["vector"], undisturbed(nn, name)["vector"], call="what was left")
    state = optimizer.state_dict()
    assert state["param_groups"][0]["params"] == [0]
    assert set(state["state"]) == {0}
    assert all(value.shape in {(4,), ()} for value in state["state"][0].values())


@clause("optim-11")
@pytest.mark.parametrize("how", ["frozen", "without a gradient"])
@pytest.mark.parametrize("name", STATEFUL)
def test_one_at_rest_keeps_what_it_has(nn: Any, name: str, how: str) -> None:
    parameters = start(nn, "float32")
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, "float32", range(3))
    resting, moving = parameters["matrix"], {"vector": parameters["vector"]}
    held = np.array(to_numpy(nn, resting))
    state = {k: np.array(to_numpy(nn, v)) for k, v in optimizer.state_dict()["state"][0].items()}
    # A frozen one may still have the gradient of an earlier step.
    if how == "frozen":
        resting.requires_grad_(False)
    else:
        resting.grad = None
    for step in range(3, STEPS):
        moving["vector"].grad = None
        give(nn, moving, "float32", step)
        optimizer.step()
    exactly(nn, resting, held, call=f"{name}: one that is {how}")
    for key, value in optimizer.state_dict()["state"][0].items():
        exactly(nn, value, state[key], call=f"{name}: {key} of one that is {how}")
    exactly(nn, moving["vector"], undisturbed(nn, name)["vector"], call="the other")


@clause("optim-11")
@pytest.mark.parametrize("name", STATEFUL)
def test_one_that_rests_and_goes_on(nn: Any, name: str) -> None:
    parameters = start(nn, "float32")
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, "float32", range(3))
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    optimizer.step()
    optimizer.zero_grad()
    optimizer.step()
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    walk(nn, optimizer, parameters, "float32", range(3, STEPS))
    for key, want in undisturbed(nn, name).items():
        exactly(nn, parameters[key], want, call=f"{name}: {key} that rested")


@clause("optim-11")
@pytest.mark.parametrize("algorithm", ["SGD", "Adam"])
def test_a_group_that_is_added(nn: Any, algorithm: str) -> None:
    one, two, three = (nn.Parameter(nn.tensor([1.0, 2.0])) for _ in range(3))
    optimizer = getattr(nn.optim, algorithm)([one], lr=0.5)
    optimizer.add_param_group({"params": [two], "lr": 0.25})
    optimizer.add_param_group({"params": iter([three])})
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25, 0.5]
    nn.ops.sum(one + two + three).backward()
    optimizer.step()
    rates = (0.5, 0.25, 0.5)
    for parameter, rate in zip((one, two, three), rates, strict=True):
        want = np.array([1, 2]) - rate
        got = to_numpy(nn, parameter)
        assert np.allclose(got, want, atol=1e-6), f"{algorithm}: got {got} but should be {want}"


@clause("optim-11")
@pytest.mark.parametrize("algorithm", ["SGD", "Adam"])
def test_groups_that_are_not_added(nn: Any, algorithm: str) -> None:
    one, two = nn.Parameter(nn.ones((2,))), nn.Parameter(nn.ones((2,)))
    optimizer = getattr(nn.optim, algorithm)([one], lr=0.5)
    wrong: list[tuple[Any, Any]] = [
        ({"params": [one]}, ValueError),
        ({"params": [two, one]}, ValueError),
        ({"params": []}, ValueError),
        ({"params": [two * 2]}, ValueError),
        ({"params": [3.0]}, TypeError),
        ({"params": 5}, TypeError),
        ({"params": [two], "lr": -1.0}, ValueError),
        ({"params": [two], "lr": "fast"}, (TypeError, ValueError)),
        ({"params": [two], "weight_decay": math.nan}, (TypeError, ValueError)),
        ({"lr": 0.5}, (TypeError, ValueError, KeyError)),
        ([two], TypeError),
        (None, TypeError),
        (5, TypeError),
    ]
    for group, error in wrong:
        with refuses(error, algorithm):
            optimizer.add_param_group(group)
        assert len(optimizer.param_groups) == 1
        assert len(optimizer.param_groups[0]["params"]) == 1
    with refuses(ValueError, algorithm):
        getattr(nn.optim, algorithm)([{"params": [one]}, {"params": [two, one]}], lr=0.1)
    nn.ops.sum(two * 2).backward()
    optimizer.step()
    exactly(nn, two, np.ones(2, np.float32), call="a parameter that was not added")


SCALARS: dict[str, Callable[[Any], Any]] = {
    "float64": np.float64,
    "float32": np.float32,
    "longdouble": np.longdouble,
}


def as_scalars(options: dict[str, Any], make: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the options with NumPy's scalars for numbers."""

    def scalar(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(scalar(item) for item in value)
        return np.bool_(value) if isinstance(value, bool) else make(value)

    return {name: scalar(value) for name, value in options.items()}


@clause("optim-12", "tensor-39")
@pytest.mark.sampled(5)
@pytest.mark.parametrize("kind", SCALARS)
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_as_numpy_scalars(nn: Any, name: str, later: bool, kind: str) -> None:
    make = SCALARS[kind]
    options = as_scalars(OPTIONS[name], make)
    # The same numbers as Python's, which float32 may have rounded.
    plain = {
        key: tuple(float(v) for v in value)
        if isinstance(value, tuple)
        else bool(value)
        if isinstance(value, np.bool_)
        else float(value)
        for key, value in options.items()
    }
    results = []
    for given in (options, plain):
        parameters = start(nn, "float32")
        algorithm = getattr(nn.optim, name.partition("_")[0])
        optimizer = algorithm(parameters.values(), **(plain if later else given))
        if later:
            optimizer.param_groups[0].update(given)
        walk(nn, optimizer, parameters, "float32", range(3))
        results.append({key: np.array(to_numpy(nn, p)) for key, p in parameters.items()})
        for parameter in parameters.values():
            assert parameter.dtype == nn.float32, f"{name}: a parameter became {parameter.dtype}"
        for entry in optimizer.state_dict()["state"].values():
            for key, value in entry.items():
                assert value.dtype == nn.float32, f"{name}: {key} became {value.dtype}"
    for key, want in results[1].items():
        exactly(nn, results[0][key], want, call=f"{name} with options of {kind}: {key}")


NO_NUMBERS: dict[str, Any] = {
    "text": "0.1",
    "None": None,
    "nan": math.nan,
    "a complex number": 0.1j,
    "a list": [0.1],
    "an object": object(),
    "NumPy's nan": np.float32("nan"),
    "a boolean": True,
    "NumPy's boolean": np.bool_(1),
    "an array": np.array([0.1, 0.1]),
    "an array of no axes": np.array(0.1),
    "below its bound": -0.5,
}
OPTION_OF = pytest.mark.parametrize(
    ("algorithm", "option"),
    [
        ("SGD", "lr"),
        ("SGD", "momentum"),
        ("SGD", "weight_decay"),
        ("Adam", "lr"),
        ("Adam", "eps"),
        ("Adam", "weight_decay"),
        ("AdamW", "weight_decay"),
        ("RMSprop", "lr"),
        ("RMSprop", "alpha"),
        ("RMSprop", "eps"),
        ("RMSprop", "weight_decay"),
        ("RMSprop", "momentum"),
        ("Adagrad", "lr"),
        ("Adagrad", "lr_decay"),
        ("Adagrad", "weight_decay"),
        ("Adagrad", "initial_accumulator_value"),
        ("Adagrad", "eps"),
    ],
)


@clause("optim-12")
@pytest.mark.sampled(5)
@pytest.mark.parametrize("what", NO_NUMBERS)
@OPTION_OF
def test_options_that_are_no_numbers(nn: Any, algorithm: str, option: str, what: str) -> None:
    wrong = NO_NUMBERS[what]
    shown = (str(wrong), repr(wrong), type(wrong).__name__)
    with refuses((TypeError, ValueError), algorithm, option, shown):
        getattr(nn.optim, algorithm)([nn.Parameter(nn.ones((2,)))], **{option: wrong})


@clause("optim-12")
@pytest.mark.sampled(5)
@pytest.mark.parametrize("what", NO_NUMBERS)
@OPTION_OF
def test_options_that_are_no_numbers_later(nn: Any, algorithm: str, option: str, what: str) -> None:
    wrong = NO_NUMBERS[what]
    shown = (str(wrong), repr(wrong), type(wrong).__name__)
    parameters = [nn.Parameter(nn.ones((2,))) for _ in range(2)]
    optimizer = getattr(nn.optim, algorithm)(parameters[:1], lr=0.03125)
    optimizer.add_param_group({"params": parameters[1:]})
    for count in range(2):
        # Before there is a state, and with one; the second group's option stops the first's step.
        for parameter in parameters:
            nn.ops.sum(parameter * parameter).backward()
        group = optimizer.param_groups[1]
        states = len(optimizer.state_dict()["state"])
        right, group[option] = group[option], wrong
        values = [np.array(to_numpy(nn, parameter)) for parameter in parameters]
        with refuses((TypeError, ValueError), algorithm, option, shown):
            optimizer.step()
        for parameter, value in zip(parameters, values, strict=True):
            exactly(nn, parameter, value, call=f"a parameter after {count} steps and a refusal")
        group[option] = right
        assert len(optimizer.state_dict()["state"]) == states
        optimizer.step()
        for parameter, value in zip(parameters, values, strict=True):
            assert np.all(to_numpy(nn, parameter) < value), f"{option} as it was makes a step"


@clause("optim-12")
@pytest.mark.parametrize("kind", SCALARS)
@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_kept_as_plain_numbers(nn: Any, name: str, kind: str) -> None:
    given = as_scalars(OPTIONS[name], SCALARS[kind])
    optimizer = getattr(nn.optim, name.partition("_")[0])([nn.Parameter(nn.ones((2,)))], **given)
    optimizer.add_param_group({"params": [nn.Parameter(nn.ones((2,)))], **given})
    groups = [dict(group) for group in optimizer.param_groups]
    groups += optimizer.state_dict()["param_groups"]
    # What is set later is a plain number in the state at least.
    optimizer.param_groups[0].update(given)
    groups.append(optimizer.state_dict()["param_groups"][0])
    for group in groups:
        for option in given:
            value = group[option]
            assert isinstance(value, tuple) == (option == "betas"), f"{option} is {value!r}"
            for number in value if isinstance(value, tuple) else (value,):
                assert type(number) in {bool, int, float}, f"{option} is {value!r}"


@clause("optim-12")
@pytest.mark.parametrize(
    "number", range(8), ids=["one", "nan", "text", "a number", "None", "three", "text alone", "2j"]
)
def test_betas_that_are_no_numbers(nn: Any, number: int) -> None:
    wrong: Any = [
        (0.9,),
        (math.nan, 0.9),
        (0.9, "0.9"),
        0.9,
        (None, 0.9),
        (0.9, 0.9, 0.9),
        "ab",
        (0.9, 2j),
    ][number]
    with refuses((TypeError, ValueError), "Adam", "betas"):
        nn.optim.Adam([nn.Parameter(nn.ones((2,)))], betas=wrong)


@clause("optim-12")
@pytest.mark.parametrize("what", ["text", "a complex number", "a list", "an object"])
def test_dampening_that_is_no_number(nn: Any, what: str) -> None:
    with refuses((TypeError, ValueError), "SGD", "dampening"):
        nn.optim.SGD([nn.Parameter(nn.ones((2,)))], momentum=0.5, dampening=NO_NUMBERS[what])


@clause("optim-12")
@pytest.mark.parametrize("wrong", ["yes", [1]], ids=["text", "a list"])
@pytest.mark.parametrize(
    ("algorithm", "option"),
    [
        ("SGD", "nesterov"),
        ("SGD", "maximize"),
        ("Adam", "amsgrad"),
        ("Adam", "maximize"),
        ("Adam", "decoupled_weight_decay"),
        ("AdamW", "amsgrad"),
        ("AdamW", "maximize"),
        ("RMSprop", "centered"),
        ("RMSprop", "maximize"),
        ("Adagrad", "maximize"),
    ],
)
def test_flags_that_are_no_booleans(nn: Any, algorithm: str, option: str, wrong: Any) -> None:
    parameter = nn.Parameter(nn.ones((2,)))
    shown = (str(wrong), type(wrong).__name__)
    with refuses((TypeError, ValueError), algorithm, option, shown):
        getattr(nn.optim, algorithm)([parameter], **{option: wrong})
    optimizer = getattr(nn.optim, algorithm)([parameter])
    nn.ops.sum(parameter * 2).backward()
    right, optimizer.param_groups[0][option] = optimizer.param_groups[0][option], wrong
    with refuses((TypeError, ValueError), algorithm, option, shown):
        optimizer.step()
    exactly(nn, parameter, np.ones(2, np.float32), call=f"a parameter beside {option}={wrong}")
    optimizer.param_groups[0][option] = right
    optimizer.step()
