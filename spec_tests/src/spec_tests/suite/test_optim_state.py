"""The chapter ``optim``: the state of an optimizer, and the parameters that it belongs to."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load, states
from spec_tests.support.assertions import agrees, exactly, raw, refuses, to_numpy
from spec_tests.support.optimizers import OPTIONS, optimizer_of, path_of, start, walk

# Steps that were taken when a state was written; `states` has them.
TAKEN = 4
_ADAM = ["lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "decoupled_weight_decay"]
NAMES = {
    "SGD": ["lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize"],
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "RMSprop": ["lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize"],
    "Adagrad": ["lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "maximize"],
}
ENTRIES = {
    "SGD": {"momentum_buffer"},
    "Adam": {"step", "exp_avg", "exp_avg_sq"},
    "AdamW": {"step", "exp_avg", "exp_avg_sq"},
    "RMSprop": {"step", "square_avg"},
    "Adagrad": {"step", "sum"},
}
# What an option adds to the entries.
ADDED = {
    "Adam_amsgrad": {"max_exp_avg_sq"},
    "RMSprop_centered": {"momentum_buffer", "grad_avg"},
}
# What a state may lack, since it was written without it: it is then at its default.
LATER = ["maximize", "amsgrad", "decoupled_weight_decay"]
FORMS = ["Tensors", "raw arrays", "NumPy arrays", "lists", "lists under strings"]
STATEFUL = [name for name in OPTIONS if name != "SGD_plain"]


def known(writer: str, name: str, dtype: str) -> dict[str, Any]:
    """Return a state as it was written, with positions as ints again and options as they were."""
    stored: dict[str, Any] = copy.deepcopy(states()[writer][name][dtype])
    stored["state"] = {int(key): entries for key, entries in stored["state"].items()}
    return stored


def formed(nn: Any, state: dict[str, Any], form: str, dtype: str) -> dict[str, Any]:
    """Return a state whose arrays have a form that ``load_state_dict`` takes."""
    if form.startswith("lists"):
        return json.loads(json.dumps(state)) if form == "lists under strings" else state
    make = {
        "Tensors": nn.tensor,
        "raw arrays": lambda array: raw(nn, array),
        "NumPy arrays": np.asarray,
    }[form]

    def array(key: str, value: Any) -> Any:
        return make(np.array(value, "float32" if key == "step" else dtype))

    entries = {
        position: {key: array(key, value) for key, value in entry.items() if value is not None}
        for position, entry in state["state"].items()
    }
    return {"state": entries, "param_groups": state["param_groups"]}


def at_step(nn: Any, name: str, dtype: str, steps: int) -> dict[str, Any]:
    """Return Parameters with the values that the reference has after so many steps."""
    path = path_of(name)[dtype]
    return {
        key: nn.Parameter(nn.tensor(path[key][steps - 1].astype(dtype))) for key in start(nn, dtype)
    }


def go_on(nn: Any, optimizer: Any, parameters: Any, name: str, dtype: str, call: str) -> None:
    """Take the steps that are left, and compare each with the reference's."""
    want = path_of(name)[dtype]
    for step in range(TAKEN, 10):
        walk(nn, optimizer, parameters, dtype, range(step, step + 1))
        for key, parameter in parameters.items():
            said = f"{call}, step {step}, {key}"
            agrees(nn, parameter, want[key][step], "optim", call=said, dtype=dtype)


def after(nn: Any, name: str, dtype: str, steps: int = TAKEN) -> tuple[Any, dict[str, Any]]:
    """Return an optimizer that has taken steps, and its parameters."""
    parameters = start(nn, dtype)
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, dtype, range(steps))
    return optimizer, parameters


def bits(nn: Any, value: Any) -> Any:
    """Return a state with each array as its dtype, shape and bytes."""
    if isinstance(value, dict):
        return {key: bits(nn, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [bits(nn, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    array = np.array(to_numpy(nn, value))
    return array.dtype.name, array.shape, array.tobytes()


def held(nn: Any, optimizer: Any) -> Any:
    """Return everything that an optimizer holds, bit for bit."""
    groups = [
        [(id(parameter), bits(nn, parameter)) for parameter in group["params"]]
        for group in optimizer.param_groups
    ]
    return bits(nn, optimizer.state_dict()), groups


@clause("optim-09")
@pytest.mark.parametrize("name", OPTIONS)
def test_the_form_of_the_state(nn: Any, dtype: str, name: str) -> None:
    optimizer, _ = after(nn, name, dtype)
    got, want = optimizer.state_dict(), known("torch.optim", name, dtype)
    algorithm = name.partition("_")[0]
    assert set(got) == {"state", "param_groups"}
    (group,), (wanted,) = got["param_groups"], want["param_groups"]
    assert set(group) >= {*NAMES[algorithm], "params"}
    for option in [*NAMES[algorithm], "params"]:
        plain = list(group[option]) if isinstance(group[option], tuple) else group[option]
        assert plain == wanted[option], f"{name}: {option} is {group[option]}"
    entries = {position: entry for position, entry in got["state"].items() if entry}
    wanted_entries = {} if name == "SGD_plain" else want["state"]
    assert set(entries) == set(wanted_entries)
    assert all(type(position) is int for position in entries)
    for position, entry in entries.items():
        assert set(entry) == ENTRIES[algorithm] | ADDED.get(name, set()), (
            f"{name}: entries {set(entry)}"
        )
        for key, value in entry.items():
            assert isinstance(value, nn.Tensor), f"{name}: {key} is {type(value).__name__}"
            assert not value.requires_grad
            call = f"{name}: {key} of parameter {position}"
            if key == "step":
                exactly(nn, value, np.array(4.0), dtype="float32", call=call)
            else:
                reference = np.array(wanted_entries[position][key], np.float64)
                agrees(nn, value, reference, "optim", call=call)


@clause("optim-09")
def test_positions_are_counted_over_the_groups(nn: Any) -> None:
    one, two, three = (nn.Parameter(nn.ones((count,))) for count in (1, 2, 3))
    groups = [{"params": [one], "lr": 0.5}, {"params": [three, two]}]
    optimizer = nn.optim.Adam(groups, lr=0.25)
    nn.ops.sum(two * 2).backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert [group["params"] for group in state["param_groups"]] == [[0], [1, 2]]
    assert [group["lr"] for group in state["param_groups"]] == [0.5, 0.25]
    assert [key for key, entry in state["state"].items() if entry] == [2]
    assert tuple(state["state"][2]["exp_avg"].shape) == (2,)


@clause("optim-09")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", OPTIONS)
def test_what_others_wrote_is_read(nn: Any, dtype: str, name: str, form: str) -> None:
    for writer in [writer for writer, known_names in states().items() if name in known_names]:
        parameters = at_step(nn, name, dtype, TAKEN)
        optimizer = getattr(nn.optim, name.partition("_")[0])(parameters.values(), lr=7.0)
        optimizer.load_state_dict(formed(nn, known(writer, name, dtype), form, dtype))
        go_on(nn, optimizer, parameters, name, dtype, f"{name} of {writer} as {form}")


@clause("optim-09")
@pytest.mark.parametrize("name", STATEFUL)
def test_a_state_stays_as_it_was_loaded(nn: Any, name: str) -> None:
    optimizer, parameters = after(nn, name, "float32")
    state = optimizer.state_dict()
    before = bits(nn, state)
    twins = {key: nn.Parameter(nn.tensor(own.detach())) for key, own in parameters.items()}
    other = optimizer_of(nn, name, twins.values())
    other.load_state_dict(state)
    walk(nn, other, twins, "float32", range(TAKEN, 10))
    assert held(nn, optimizer)[0] == before, "the steps of one optimizer changed another's state"


WRONG_ENTRIES: dict[str, Any] = {
    "another shape": np.ones((2, 3)),
    "another number of axes": np.ones(6),
    "text": "text",
    "an object": object(),
    "a list of None": [[None, None]] * 3,
    "a list of text": [["a", "b"]] * 3,
    "complex numbers": np.ones((3, 2), np.complex64),
    "dates": np.full((3, 2), "2020-01-01", "datetime64[D]"),
    "an array of objects": np.full((3, 2), None, object),
    "a number": 1.5,
    "ragged lists": [[1.0, 2.0], [3.0]],
}


def last_of(state: dict[str, Any]) -> str:
    """Return the name of an array among the entries of a parameter."""
    names = ("momentum_buffer", "exp_avg_sq", "sum")
    return next(name for name in names if name in state["state"][0])


def enter(value: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what puts a value in the place of an array."""
    return lambda state: state["state"][0].update({last_of(state): value})


def leave_out(option: str) -> Callable[[dict[str, Any]], Any]:
    """Return what takes an option out of the first group."""
    return lambda state: state["param_groups"][0].pop(option)


# What makes a good state wrong, in place.
FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{name: enter(value) for name, value in WRONG_ENTRIES.items()},
    "an entry of another name": lambda s: s["state"][0].update({"velocity": 1.0}),
    "an entry under another name": lambda s: s["state"][0].update(
        {"velocity": s["state"][0].pop(last_of(s))}
    ),
    "a position too far": lambda s: s["state"].update({7: s["state"].pop(1)}),
    "a negative position": lambda s: s["state"].update({-1: s["state"].pop(1)}),
    "a position that is none": lambda s: s["state"].update({"first": s["state"].pop(1)}),
    "an entry that is no dict": lambda s: s["state"].update({1: [1.0]}),
    "a group without lr": leave_out("lr"),
    "a group without weight_decay": leave_out("weight_decay"),
    "a group without params": leave_out("params"),
    "a group that is no dict": lambda s: s.update(param_groups=[3]),
    "lr that is no number": lambda s: s["param_groups"][0].update(lr="fast"),
    "too few parameters": lambda s: s["param_groups"][0].update(params=[0]),
    "no state": lambda s: s.pop("state"),
    "no groups": lambda s: s.pop("param_groups"),
    "groups that are no list": lambda s: s.update(param_groups=3),
    "a state that is no dict": lambda s: s.update(state=[1, 2]),
}
SAID = {
    "another shape": ("(2, 3)", "(3, 2)"),
    "another number of axes": ("(6,)", "(3, 2)"),
    "text": ("str",),
    "complex numbers": ("complex64",),
    "an entry of another name": ("velocity",),
    "an entry under another name": ("velocity",),
    "a position too far": ("7",),
    "a negative position": ("-1",),
    "a position that is none": ("first",),
    "a group without lr": ("lr",),
    "a group without weight_decay": ("weight_decay",),
    "a group without params": ("params",),
    "lr that is no number": ("lr", "fast"),
    "no state": ("state",),
    "no groups": ("param_groups",),
}


@clause("optim-10")
@pytest.mark.sampled(5)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    "name", ["SGD_momentum", "Adam_options", "RMSprop_centered", "Adagrad_plain"]
)
def test_states_that_are_refused(nn: Any, name: str, fault: str) -> None:
    optimizer, parameters = after(nn, name, "float32")
    wrong = known("torch.optim", name, "float32")
    FAULTS[fault](wrong)
    before = held(nn, optimizer)
    with refuses((ValueError, TypeError), name.partition("_")[0], *SAID.get(fault, ())):
        optimizer.load_state_dict(wrong)
    assert held(nn, optimizer) == before, f"{fault} has changed the optimizer"
    go_on(nn, optimizer, parameters, name, "float32", f"{name} after {fault}")


@clause("optim-10")
def test_what_is_no_state(nn: Any) -> None:
    optimizer, _ = after(nn, "Adam_plain", "float32")
    before = held(nn, optimizer)
    wrong: Any
    for wrong, came in ((None, "None"), ([1, 2], "list"), (5, "int"), ("text", "str")):
        with refuses((ValueError, TypeError), "Adam", came):
            optimizer.load_state_dict(wrong)
        assert held(nn, optimizer) == before


OTHERS = [
    ("SGD_momentum", "Adam"),
    ("Adam_plain", "SGD"),
    ("AdamW_plain", "RMSprop"),
    ("RMSprop_plain", "Adagrad"),
    ("Adagrad_plain", "AdamW"),
]


@clause("optim-10")
@pytest.mark.parametrize(("own", "other"), OTHERS)
def test_the_state_of_another_algorithm(nn: Any, own: str, other: str) -> None:
    optimizer, _ = after(nn, own, "float32")
    stranger, _ = after(nn, "SGD_momentum" if other == "SGD" else f"{other}_plain", "float32")
    fresh, _ = after(nn, f"{other}_plain", "float32", 0)
    before = held(nn, optimizer)
    for state in (stranger.state_dict(), fresh.state_dict()):
        with refuses((ValueError, TypeError), own.partition("_")[0]):
            optimizer.load_state_dict(state)
        assert held(nn, optimizer) == before


@clause("optim-10", needs="float64")
@pytest.mark.parametrize("name", STATEFUL)
def test_a_state_of_another_dtype_is_cast(nn: Any, name: str) -> None:
    for source, target in (("float64", "float32"), ("float32", "float64")):
        optimizer, _ = after(nn, name, source)
        parameters = {
            key: nn.Parameter(nn.tensor(array.astype(target)))
            for key, array in load("optimizers")["given"][source]["start"].items()
        }
        other = optimizer_of(nn, name, parameters.values())
        other.load_state_dict(optimizer.state_dict())
        for position, entry in other.state_dict()["state"].items():
            for key, value in entry.items():
                mine = to_numpy(nn, optimizer.state_dict()["state"][position][key])
                want = "float32" if key == "step" else target
                exactly(nn, value, mine.astype(want), dtype=want, call=f"{name}: {key}")
        for parameter in parameters.values():
            nn.ops.sum(parameter * 2).backward()
        other.step()
        for parameter in parameters.values():
            assert parameter.dtype == getattr(nn, target), f"{name}: {source} into {target}"


@clause("optim-11", "module-11", needs="float64")
@pytest.mark.parametrize("name", STATEFUL)
def test_training_goes_on_in_another_dtype(nn: Any, name: str) -> None:
    """As with a state that is loaded into parameters of that dtype."""
    for source, target in (("float64", "float32"), ("float32", "float64")):
        optimizer, parameters = after(nn, name, source)
        module = nn.Module()
        twins = {}
        for key, parameter in parameters.items():
            module.register_parameter(key, parameter)
            twins[key] = nn.Parameter(nn.tensor(to_numpy(nn, parameter).astype(target)))
        other = optimizer_of(nn, name, twins.values())
        other.load_state_dict(optimizer.state_dict())
        module.to(getattr(nn, target))
        for each, own in ((optimizer, parameters), (other, twins)):
            walk(nn, each, own, target, range(TAKEN, TAKEN + 2))
        for key, parameter in parameters.items():
            said = f"{name}, {source} to {target}: {key}"
            agrees(nn, parameter, to_numpy(nn, twins[key]), "optim", dtype=target, call=said)
        for entry in optimizer.state_dict()["state"].values():
            kinds = {key: to_numpy(nn, held).dtype.name for key, held in entry.items()}
            kinds.pop("step", None)
            assert set(kinds.values()) == {target}, f"{name}, {source} to {target}: {kinds}"


@clause("optim-10")
@pytest.mark.parametrize("name", ["SGD_momentum", "Adam_plain"])
def test_options_that_torch_alone_has(nn: Any, name: str) -> None:
    options = ["foreach", "differentiable", "fused", "capturable", "newer"]
    for option in options if name == "Adam_plain" else [*options, "amsgrad"]:
        for off in (False, None):
            optimizer, parameters = after(nn, name, "float32")
            state = known("torch.optim", name, "float32")
            state["param_groups"][0][option] = off
            optimizer.load_state_dict(state)
            go_on(nn, optimizer, parameters, name, "float32", f"{name} with {option}={off}")
        optimizer, _ = after(nn, name, "float32")
        before = held(nn, optimizer)
        state["param_groups"][0][option] = True
        with refuses((ValueError, TypeError), name.partition("_")[0], option):
            optimizer.load_state_dict(state)
        assert held(nn, optimizer) == before


@clause("optim-10")
@pytest.mark.parametrize("name", ["SGD_momentum", "Adam_options", "AdamW_plain"])
def test_options_that_came_later(nn: Any, name: str) -> None:
    state = known("torch.optim", name, "float32")
    for option in LATER:
        state["param_groups"][0].pop(option, None)
    parameters = at_step(nn, name, "float32", TAKEN)
    optimizer = getattr(nn.optim, name.partition("_")[0])(parameters.values(), lr=7.0)
    optimizer.load_state_dict(state)
    go_on(nn, optimizer, parameters, name, "float32", f"{name} of a state without {LATER}")


@clause("optim-09", "optim-13")
def test_states_of_both_adams(nn: Any) -> None:
    """The state says how the decay acts in Adam; AdamW's is its own whatever the state says."""
    name = "AdamW_plain"
    for maker, decoupled in (("Adam", True), ("AdamW", True), ("AdamW", False)):
        parameters = at_step(nn, name, "float32", TAKEN)
        state = known("torch.optim", name, "float32")
        state["param_groups"][0]["decoupled_weight_decay"] = decoupled
        optimizer = getattr(nn.optim, maker)(parameters.values())
        optimizer.load_state_dict(state)
        assert optimizer.param_groups[0]["decoupled_weight_decay"] is True
        go_on(nn, optimizer, parameters, name, "float32", f"{maker} of {name}, {decoupled}")


@clause("optim-28")
@pytest.mark.parametrize(
    ("name", "options", "entries"),
    [
        ("Adam_plain", {"amsgrad": True}, {"max_exp_avg_sq"}),
        ("RMSprop_plain", {"momentum": 0.5, "centered": True}, {"momentum_buffer", "grad_avg"}),
        ("SGD_plain", {"momentum": 0.5}, {"momentum_buffer"}),
    ],
)
def test_buffers_that_are_asked_for_later(
    nn: Any, name: str, options: dict[str, Any], entries: set[str]
) -> None:
    """An option that is turned on, in the groups or in a state, starts what it lacks."""
    set_later, parameters = after(nn, name, "float32")
    loaded, twins = after(nn, name, "float32")
    state = loaded.state_dict()
    state["param_groups"][0].update(options)
    loaded.load_state_dict(state)
    set_later.param_groups[0].update(options)
    for optimizer, own in ((set_later, parameters), (loaded, twins)):
        walk(nn, optimizer, own, "float32", range(TAKEN, TAKEN + 2))
        found = optimizer.state_dict()["state"][0]
        assert set(found) == ENTRIES[name.partition("_")[0]] | entries, f"{name}: {set(found)}"
    for key, parameter in parameters.items():
        exactly(nn, twins[key], to_numpy(nn, parameter), call=f"{name} with {options}: {key}")
    if name.startswith("SGD"):
        given = load("optimizers")["given"]["float32"]["gradients"]["vector"].astype(np.float64)
        want = given[TAKEN] * 0.5 + given[TAKEN + 1]
        buffer = set_later.state_dict()["state"][1]["momentum_buffer"]
        agrees(nn, buffer, want, "optim", dtype="float32", call="the buffer after two steps")
    if name.startswith("Adam"):
        held_now = set_later.state_dict()["state"][1]
        most, last = (to_numpy(nn, held_now[key]) for key in ("max_exp_avg_sq", "exp_avg_sq"))
        assert np.all(most >= last), "max_exp_avg_sq is below exp_avg_sq"
