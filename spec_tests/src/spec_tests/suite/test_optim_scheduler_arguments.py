"""The chapter ``optim``: what schedulers refuse."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.oracle.optimized import RATES
from spec_tests.support.assertions import refuses
from spec_tests.support.schedules import grouped, numbers_of

GOOD: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [2, 4]},
    "ExponentialLR": {"gamma": 0.5},
    "LinearLR": {},
    "CosineAnnealingLR": {"T_max": 4},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.5},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 8},
    "ReduceLROnPlateau": {},
}
WRONG: dict[str, dict[str, list[Any]]] = {
    "StepLR": {
        "step_size": [0, -2, 2.5, "two", None],
        "gamma": [-0.5, math.nan, "half", None],
        "last_epoch": [-2, 1.5, "first"],
    },
    "MultiStepLR": {
        "milestones": [5, [1.5], ["two"], [-1], None],
        "gamma": [-0.5, math.nan, "half", None],
        "last_epoch": [-2, 1.5],
    },
    "ExponentialLR": {"gamma": [-0.5, math.nan, "half", None], "last_epoch": [-2, 1.5]},
    "LinearLR": {
        "start_factor": [0, 1.5, -0.5, math.nan, "half"],
        "end_factor": [1.5, -0.5, math.nan, "half"],
        "total_iters": [0, -1, 2.5, "two"],
        "last_epoch": [-2, 1.5],
    },
    "CosineAnnealingLR": {
        "T_max": [0, -1, 2.5, "two", None],
        "eta_min": [-0.5, math.nan, "low"],
        "last_epoch": [-2, 1.5],
    },
    "LambdaLR": {"lr_lambda": [0.5, "half", None, [abs], [abs, 0.5]], "last_epoch": [-2, 1.5]},
    "OneCycleLR": {
        "max_lr": [-1.0, math.nan, "high", None, [1.0], [1.0, "high"]],
        "total_steps": [0, -2, 2.5, "two"],
        "pct_start": [-0.5, 1.5, math.nan, "half"],
        "anneal_strategy": ["cubic", None, 1],
        "base_momentum": [-0.5, 1.0, math.nan, "low", [0.5]],
        "max_momentum": [-0.5, 1.0, math.nan, "high", [0.5]],
        "div_factor": [0, -1.0, math.nan, "many"],
        "final_div_factor": [0, -1.0, math.nan, "many"],
        "last_epoch": [-2, 1.5],
    },
    "ReduceLROnPlateau": {
        "mode": ["least", None, 1],
        "factor": [1.0, 1.5, -0.5, math.nan, "half"],
        "patience": [-1, 1.5, "some"],
        "threshold": [-0.5, math.nan, "low"],
        "threshold_mode": ["relative", None],
        "cooldown": [-1, 1.5, "some"],
        "min_lr": [-0.5, math.nan, "low", [0.5], [0.5, "low"]],
        "eps": [-0.5, math.nan, "low"],
    },
}
ARGUMENTS = [(name, argument) for name, table in WRONG.items() for argument in table]


@clause("optim-25")
@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_arguments_of_schedulers(nn: Any, name: str, argument: str) -> None:
    for wrong in WRONG[name][argument]:
        optimizer = grouped(nn)
        before = [dict(group) for group in optimizer.param_groups]
        with refuses((TypeError, ValueError), name, argument):
            getattr(nn.optim.lr_scheduler, name)(optimizer, **{**GOOD[name], argument: wrong})
        after = [dict(group) for group in optimizer.param_groups]
        assert after == before, f"{name}({argument}={wrong!r}) changed the groups"


@clause("optim-25")
def test_functions_of_the_rate_that_raise(nn: Any) -> None:
    """The first group has its rate by then."""

    def rate(epoch: int) -> float:
        return 1 / (last - epoch)

    for last in (0, 2):
        optimizer = grouped(nn)
        groups = list(optimizer.param_groups)
        before = [dict(group) for group in groups]
        make = partial(nn.optim.lr_scheduler.LambdaLR, optimizer, [lambda e: e + 3.0, rate])
        if last:
            scheduler = make()
            scheduler.step()
            before = [dict(group) for group in optimizer.param_groups]
            make = scheduler.step
        with pytest.raises(ZeroDivisionError):
            make()
        same = zip(optimizer.param_groups, groups, strict=True)
        assert all(group is former for group, former in same)
        after = [dict(group) for group in groups]
        assert after == before, f"a function that raises at epoch {last} changed the groups"
    assert scheduler.last_epoch == 1
    assert scheduler.get_last_lr() == [group["lr"] for group in before]


@clause("optim-25")
@pytest.mark.parametrize("name", GOOD)
def test_what_is_no_optimizer(nn: Any, name: str) -> None:
    for wrong, came in ((None, "None"), (5, "int"), (nn.Parameter(nn.ones(2)), "Parameter")):
        with refuses(TypeError, name, "optimizer", came):
            getattr(nn.optim.lr_scheduler, name)(wrong, **GOOD[name])


@clause("optim-21", "optim-25")
def test_one_cycle_needs_its_length_and_momentum(nn: Any) -> None:
    make = nn.optim.lr_scheduler.OneCycleLR
    short: list[dict[str, Any]] = [{}, {"epochs": 4}, {"steps_per_epoch": 4}]
    for options in short:
        with refuses(ValueError, "OneCycleLR", "total_steps"):
            make(grouped(nn), 1.0, **options)
    wrong: list[dict[str, Any]] = [
        {"epochs": 0, "steps_per_epoch": 4},
        {"epochs": 4, "steps_per_epoch": -1},
        {"epochs": 4, "steps_per_epoch": 0},
        {"epochs": 1.5, "steps_per_epoch": 4},
    ]
    for options in wrong:
        with refuses((TypeError, ValueError), "OneCycleLR", ("epochs", "steps_per_epoch")):
            make(grouped(nn), 1.0, **options)
    adagrad = nn.optim.Adagrad([nn.Parameter(nn.ones((1,)))])
    with refuses(ValueError, "OneCycleLR", "momentum", "Adagrad"):
        make(adagrad, 1.0, 8)
    make(adagrad, 1.0, 8, cycle_momentum=False)
    assert math.isclose(adagrad.param_groups[0]["lr"], 0.04, rel_tol=1e-12)


@clause("optim-21")
def test_one_cycle_ends(nn: Any) -> None:
    optimizer = grouped(nn)
    scheduler = nn.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, 4)
    for _ in range(4):
        scheduler.step()
    before = numbers_of(optimizer)
    for _ in range(2):
        with refuses(ValueError, "OneCycleLR", "total_steps", "4", "5"):
            scheduler.step()
        assert numbers_of(optimizer) == before
        assert scheduler.last_epoch == 4


@clause("optim-22")
def test_what_is_no_metric(nn: Any) -> None:
    optimizer = grouped(nn)
    scheduler = nn.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    scheduler.step(1.0)
    for wrong in ("low", None, [1.0], nn.ones((2,))):
        with refuses((TypeError, ValueError), "ReduceLROnPlateau", "metrics"):
            scheduler.step(wrong)
        assert scheduler.last_epoch == 1
        assert [lr for lr, _ in numbers_of(optimizer)] == list(RATES)


@clause("optim-23", "optim-25")
def test_sequences_that_do_not_fit(nn: Any) -> None:
    schedule = nn.optim.lr_scheduler
    optimizer, other = grouped(nn), grouped(nn)
    one, two = schedule.ExponentialLR(optimizer, 0.5), schedule.StepLR(optimizer, 2)
    stranger = schedule.ExponentialLR(other, 0.5)
    plateau = schedule.ReduceLROnPlateau(optimizer)
    cases: list[tuple[Any, Any, Any, tuple[str, ...]]] = [
        (ValueError, [], [], ("schedulers",)),
        (ValueError, [one, two], [], ("milestones", "2")),
        (ValueError, [one, two], [2, 4], ("milestones", "2")),
        (ValueError, [one, two, one], [4, 2], ("milestones", "[4, 2]")),
        ((TypeError, ValueError), [one, two], [2.5], ("milestones", "2.5")),
        ((TypeError, ValueError), [one, two], ["two"], ("milestones", "two")),
        ((TypeError, ValueError), [one, two], [0], ("milestones", "0")),
        ((TypeError, ValueError), [one, two], 2, ("milestones", "2")),
        (ValueError, [one, plateau], [2], ("ReduceLROnPlateau",)),
        (ValueError, [one, stranger], [2], ("optimizer",)),
        (TypeError, [one, 5], [2], ("schedulers", "int")),
        (TypeError, one, [], ("schedulers",)),
    ]
    for error, schedulers, milestones, fragments in cases:
        with refuses(error, "SequentialLR", *fragments):
            schedule.SequentialLR(optimizer, schedulers, milestones)
        assert (one.last_epoch, two.last_epoch) == (0, 0)
    with refuses(TypeError, "SequentialLR", "optimizer"):
        schedule.SequentialLR(5, [one], [])


STATES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "None": lambda state: None,
    "a list": lambda state: [state],
    "no last_epoch": lambda state: {k: v for k, v in state.items() if k != "last_epoch"},
    "an epoch that is none": lambda state: {**state, "last_epoch": "two"},
    "an entry of another name": lambda state: {**state, "velocity": 1},
    "another number of groups": lambda state: {**state, "_last_lr": [0.5]},
}


@clause("optim-24")
@pytest.mark.parametrize("fault", STATES)
@pytest.mark.parametrize("name", GOOD)
def test_states_that_schedulers_refuse(nn: Any, name: str, fault: str) -> None:
    scheduler = getattr(nn.optim.lr_scheduler, name)(grouped(nn), **GOOD[name])
    before = scheduler.state_dict()
    with refuses((TypeError, ValueError), name):
        scheduler.load_state_dict(STATES[fault](dict(before)))
    assert scheduler.state_dict() == before, f"{fault} changed the state"


@clause("optim-24")
@pytest.mark.parametrize(
    ("own", "other"), [("StepLR", "LinearLR"), ("CosineAnnealingLR", "ReduceLROnPlateau")]
)
def test_the_state_of_another_scheduler(nn: Any, own: str, other: str) -> None:
    first, second = (
        getattr(nn.optim.lr_scheduler, name)(grouped(nn), **GOOD[name]) for name in (own, other)
    )
    for scheduler, state in ((first, second.state_dict()), (second, first.state_dict())):
        before = scheduler.state_dict()
        with refuses((TypeError, ValueError), type(scheduler).__name__):
            scheduler.load_state_dict(state)
        assert scheduler.state_dict() == before
