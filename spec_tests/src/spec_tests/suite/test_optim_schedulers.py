"""The chapter ``optim``: schedulers of the learning rate."""

import copy
import inspect
import json
import math
import warnings
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load
from spec_tests.oracle.optimized import (
    EPOCHS,
    PLATEAUS,
    RATES,
    RESUMED,
    RESUMPTIONS,
    SCHEDULES,
    SEQUENCES,
    metrics,
)
from spec_tests.support.assertions import agrees, exactly, to_numpy
from spec_tests.support.schedules import chained, grouped, numbers_of, scheduled, walked

CYCLES = [name for name in SCHEDULES if name.startswith("OneCycleLR")]
OTHERS = [name for name in SCHEDULES if name not in CYCLES]


def same(nn: Any, got: Any, want: Any, call: str) -> None:
    """Compare rates, group by group, in float64."""
    got, want = np.asarray(got, np.float64), np.asarray(want)
    for place in range(want.shape[1]):
        said = f"{call}, group {place}"
        agrees(nn, got[:, place], want[:, place], "optim", dtype="float64", call=said)


@clause("optim-20")
@pytest.mark.parametrize("name", OTHERS)
def test_rates(nn: Any, name: str) -> None:
    optimizer = grouped(nn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = walked(optimizer, scheduled(nn, optimizer, name))
    same(nn, got, load("optim")["schedules"]["SGD"][name], name)


@clause("optim-21")
@pytest.mark.parametrize("algorithm", ["SGD", "Adam"])
@pytest.mark.parametrize("name", CYCLES)
def test_one_cycle(nn: Any, name: str, algorithm: str) -> None:
    """The rate has a cycle, and momentum or the first beta the opposite one."""
    optimizer = grouped(nn, algorithm)
    got = walked(optimizer, scheduled(nn, optimizer, name))
    same(nn, got, load("optim")["schedules"][algorithm][name], f"{name} of {algorithm}")
    for group in optimizer.param_groups:
        if algorithm == "Adam":
            assert isinstance(group["betas"], tuple)
            assert group["betas"][1] == 0.75


@clause("optim-23")
@pytest.mark.parametrize("name", SEQUENCES)
def test_one_scheduler_after_the_other(nn: Any, name: str) -> None:
    optimizer = grouped(nn)
    (sequence,) = scheduled(nn, optimizer, name)
    assert sequence.last_epoch == 0
    got = walked(optimizer, [sequence])
    assert sequence.last_epoch == EPOCHS
    same(nn, got, load("optim")["schedules"]["SGD"][name], name)


@clause("optim-20")
def test_what_a_scheduler_holds(nn: Any) -> None:
    optimizer = grouped(nn)
    scheduler = nn.optim.lr_scheduler.LinearLR(optimizer)
    assert scheduler.optimizer is optimizer
    assert scheduler.last_epoch == 0
    assert list(scheduler.base_lrs) == list(RATES)
    assert [group["initial_lr"] for group in optimizer.param_groups] == list(RATES)
    assert list(scheduler.get_last_lr()) == [group["lr"] for group in optimizer.param_groups]
    scheduler.step()
    assert scheduler.last_epoch == 1
    # A second one starts from the same initial rates, and what `lr` is now.
    before = numbers_of(optimizer)
    other = nn.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    assert list(other.base_lrs) == list(RATES)
    assert numbers_of(optimizer) == before
    # Each step takes what stands in the group, whoever set it.
    optimizer.param_groups[1]["lr"] = 3.0
    other.step()
    assert optimizer.param_groups[1]["lr"] == 1.5


@clause("optim-20")
def test_the_optimizer_obeys(nn: Any) -> None:
    parameter = nn.Parameter(nn.tensor([1.0, 2.0]))
    optimizer = nn.optim.SGD([parameter], lr=0.5)
    scheduler = nn.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        nn.ops.sum(parameter).backward()
        assert optimizer.step(lambda: 7) == 7
        scheduler.step()
    exactly(nn, parameter, np.array([0.125, 1.125], np.float32), call="rates 0.5, 0.25, 0.125")


@clause("optim-20")
@pytest.mark.parametrize("name", RESUMPTIONS)
def test_a_scheduler_that_starts_later(nn: Any, name: str) -> None:
    optimizer = grouped(nn, initial_lr=1.0)
    schedulers = chained(nn, optimizer, SCHEDULES[name], last_epoch=RESUMED)
    assert schedulers[0].last_epoch == RESUMED + 1
    assert list(schedulers[0].base_lrs) == [1.0, 1.0]
    same(nn, walked(optimizer, schedulers), load("optim")["resumptions"][name], name)


@clause("optim-20")
def test_initial_rates_are_needed_to_start_later(nn: Any) -> None:
    for name in RESUMPTIONS:
        for epoch in (0, RESUMED):
            optimizer = grouped(nn)
            with pytest.raises(KeyError, match="initial_lr") as caught:
                chained(nn, optimizer, SCHEDULES[name], last_epoch=epoch)
            assert name.partition("_")[0] in str(caught.value)
            assert [group["lr"] for group in optimizer.param_groups] == list(RATES)


@clause("optim-20")
def test_rates_of_a_function(nn: Any) -> None:
    """It is called with the epoch, an int, once for each group and step."""
    called: list[Any] = []

    def factor(epoch: Any) -> Any:
        called.append(epoch)
        return np.float64(0.5) ** epoch

    optimizer = grouped(nn)
    scheduler = nn.optim.lr_scheduler.LambdaLR(optimizer, factor)
    scheduler.step()
    assert called == [0, 0, 1, 1]
    assert all(type(epoch) is int for epoch in called)
    assert [lr for lr, _ in numbers_of(optimizer)] == [0.25, 0.125]


@clause("optim-22")
@pytest.mark.parametrize("name", PLATEAUS)
def test_plateaus(nn: Any, name: str) -> None:
    options = PLATEAUS[name]
    optimizer = grouped(nn)
    scheduler = nn.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    assert scheduler.last_epoch == 0
    want = load("optim")["plateaus"][name]
    for step, number in enumerate(metrics(options.get("mode", "min"))):
        told = [number, np.float64(number), nn.tensor(number)][step % 3]
        if step == 15:
            # The state goes on in another scheduler, and in JSON.
            state = json.loads(json.dumps(scheduler.state_dict()))
            scheduler = nn.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max")
            scheduler.load_state_dict(state)
        assert scheduler.step(told) is None
        got = [lr for lr, _ in numbers_of(optimizer)]
        assert list(scheduler.get_last_lr()) == got
        call = f"ReduceLROnPlateau {options}, step {step}, told {number}"
        agrees(nn, np.array(got), want[step], "optim", dtype="float64", call=call)
    assert scheduler.last_epoch == EPOCHS


RESUMABLE = [*OTHERS, *CYCLES, *SEQUENCES]


@clause("optim-24")
@pytest.mark.parametrize("name", RESUMABLE)
def test_schedulers_go_on_from_a_state(nn: Any, name: str) -> None:
    want = load("optim")["schedules"]["SGD"][name]
    optimizer = grouped(nn)
    schedulers = scheduled(nn, optimizer, name)
    walked(optimizer, schedulers, 15)
    states = [scheduler.state_dict() for scheduler in schedulers]
    before = copy.deepcopy(states)
    groups = optimizer.state_dict()
    text = json.dumps(states)
    for optimizer_first in (True, False):
        other = grouped(nn)
        others = scheduled(nn, other, name)
        if optimizer_first:
            other.load_state_dict(groups)
        for scheduler, state in zip(others, json.loads(text), strict=True):
            scheduler.load_state_dict(state)
        if not optimizer_first:
            other.load_state_dict(groups)
        assert [list(scheduler.get_last_lr()) for scheduler in others] == [
            list(scheduler.get_last_lr()) for scheduler in schedulers
        ]
        same(nn, walked(other, others, EPOCHS - 15), want[15:], f"{name} that goes on")
    assert states == before, "the steps of another scheduler changed a state"


@clause("optim-24")
def test_what_schedulers_put_into_groups_is_saved(nn: Any) -> None:
    optimizer = grouped(nn)
    nn.optim.lr_scheduler.OneCycleLR(optimizer, 2.0, 32)
    state = json.loads(json.dumps(optimizer.state_dict()))
    for group in state["param_groups"]:
        for key, want in (
            ("initial_lr", 0.08),
            ("max_lr", 2.0),
            ("min_lr", 0.08 / 1e4),
            ("base_momentum", 0.85),
            ("max_momentum", 0.95),
        ):
            assert math.isclose(group[key], want, rel_tol=1e-12), f"{key} is {group[key]}"
    other = grouped(nn)
    other.load_state_dict(state)
    assert [group["max_lr"] for group in other.param_groups] == [2.0, 2.0]


LEFT_OUT = ("optimizer", "lr_lambda", "epochs", "steps_per_epoch", "schedulers")
MADE: dict[str, tuple[Any, ...]] = {
    "StepLR": (2,),
    "MultiStepLR": ([2, 4],),
    "ExponentialLR": (0.5,),
    "LinearLR": (),
    "CosineAnnealingLR": (4,),
    "OneCycleLR": (2.0, None, 2, 4),
    "ReduceLROnPlateau": (),
}


@clause("optim-24")
@pytest.mark.parametrize("name", MADE)
def test_every_state_has_the_same_entries(nn: Any, name: str) -> None:
    make = getattr(nn.optim.lr_scheduler, name)
    scheduler = make(grouped(nn), *MADE[name])
    state = scheduler.state_dict()
    wanted = {*inspect.signature(make).parameters} - {*LEFT_OUT}
    wanted |= {"last_epoch", "_last_lr"}
    plateau = {"best", "num_bad_epochs", "cooldown_counter"}
    wanted |= plateau if name == "ReduceLROnPlateau" else {"base_lrs"}
    assert set(state) == wanted
    # A number for all groups, or one for each.
    count = len(state["_last_lr"])
    for key in {"max_lr", "base_momentum", "max_momentum", "min_lr"} & set(state):
        first = state[key][0] if isinstance(state[key], list) else state[key]
        for form in (first, [first] * count):
            scheduler.load_state_dict(state | {key: form})
        again = scheduler.state_dict()
        assert set(again) == wanted


@clause("optim-24")
def test_options_are_in_the_state(nn: Any) -> None:
    optimizer = grouped(nn)
    scheduler = nn.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    scheduler.step()
    state = scheduler.state_dict()
    assert state["last_epoch"] == 1
    assert state["step_size"] == 2
    assert state["gamma"] == 0.5
    assert list(state["_last_lr"]) == list(RATES)
    assert list(state["base_lrs"]) == list(RATES)
    other = nn.optim.lr_scheduler.StepLR(grouped(nn), 9, 0.125)
    other.load_state_dict(state)
    other.step()
    assert other.get_last_lr() == [rate / 2 for rate in RATES]
    assert other.last_epoch == 2
    text = json.dumps(nn.optim.lr_scheduler.LambdaLR(grouped(nn), lambda epoch: 0.5).state_dict())
    assert "lambda>" not in text, "the function of LambdaLR should not be saved"
    assert to_numpy(nn, optimizer.param_groups[0]["params"][0]).shape == (1,)
