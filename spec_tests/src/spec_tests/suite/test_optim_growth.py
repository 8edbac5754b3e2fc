"""The chapter ``optim``: groups that come after the scheduler."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.assertions import refuses

# Those that have what a further group needs, with the factor of each epoch from 1.
FACTORS: dict[str, tuple[Callable[[Any, Any], Any], list[float]]] = {
    "StepLR": (lambda s, o: s.StepLR(o, 2), [1, 0.1, 1, 0.1]),
    "MultiStepLR": (lambda s, o: s.MultiStepLR(o, [3, 3]), [1, 1, 0.01, 1]),
    "ExponentialLR": (lambda s, o: s.ExponentialLR(o, 0.5), [0.5] * 4),
    "LinearLR": (
        lambda s, o: s.LinearLR(o, 0.25, 1.0, total_iters=3),
        [0.5 / 0.25, 0.75 / 0.5, 1 / 0.75, 1],
    ),
    "CosineAnnealingLR": (
        lambda s, o: s.CosineAnnealingLR(o, 8),
        [
            (1 + math.cos(math.pi * e / 8)) / (1 + math.cos(math.pi * (e - 1) / 8))
            for e in range(1, 5)
        ],
    ),
    "ReduceLROnPlateau": (
        lambda s, o: s.ReduceLROnPlateau(o, factor=0.5, patience=0),
        [1, 0.5, 0.5, 0.5],
    ),
    "SequentialLR": (
        lambda s, o: s.SequentialLR(
            o, [s.ExponentialLR(o, 0.5), s.ExponentialLR(o, 0.1)], milestones=[9]
        ),
        [0.5] * 4,
    ),
}
# Those that have nothing for a further group.
REFUSING: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda epoch: 1 / (epoch + 1)),
    "LambdaLR of a list": lambda s, o: s.LambdaLR(o, [lambda epoch: 1 / (epoch + 1)] * 2),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 1.0, total_steps=10),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=0, min_lr=[0.01, 0.02]),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LambdaLR(o, lambda epoch: 0.5), s.ExponentialLR(o, 0.5)], milestones=[5]
    ),
}


def optimizer_of(nn: Any) -> Any:
    """Return one of two groups, of 0.5 and 0.25."""
    groups = [{"params": [nn.Parameter(nn.ones((2,)))], "lr": lr} for lr in (0.5, 0.25)]
    return nn.optim.SGD(groups, lr=0.1, momentum=0.9)


def go(scheduler: Any) -> None:
    """Take a step, with a number that does not get better where one is wanted."""
    scheduler.step(*([1.0] if type(scheduler).__name__ == "ReduceLROnPlateau" else []))


def rates(optimizer: Any) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


@clause("optim-29")
@pytest.mark.parametrize("name", list(FACTORS))
def test_a_later_group_goes_on_from_its_own_rate(nn: Any, name: str) -> None:
    make, factors = FACTORS[name]
    optimizer = optimizer_of(nn)
    scheduler = make(nn.optim.lr_scheduler, optimizer)
    go(scheduler)
    optimizer.add_param_group({"params": [nn.Parameter(nn.ones((3,)))], "lr": 2.0})
    wanted = rates(optimizer)
    for factor in factors[1:]:
        wanted = [rate * factor for rate in wanted]
        go(scheduler)
        assert rates(optimizer) == pytest.approx(wanted, rel=1e-12)
        assert scheduler.get_last_lr() == rates(optimizer)
        assert all(type(rate) is float for rate in rates(optimizer))
    assert optimizer.param_groups[2]["initial_lr"] == 2.0
    if name != "ReduceLROnPlateau":
        assert scheduler.base_lrs == [0.5, 0.25, 2.0]
    # What it holds now is a state of three groups.
    again = make(nn.optim.lr_scheduler, optimizer)
    again.load_state_dict(scheduler.state_dict())
    assert again.state_dict() == scheduler.state_dict()


@clause("optim-29")
def test_a_later_group_has_its_initial_rate(nn: Any) -> None:
    schedulers, optimizer = nn.optim.lr_scheduler, optimizer_of(nn)
    cosine = schedulers.CosineAnnealingLR(optimizer, 2)
    go(cosine)
    added = {"params": [nn.Parameter(nn.ones((3,)))], "lr": 2.0, "initial_lr": 8.0}
    optimizer.add_param_group(added)
    go(cosine)
    assert rates(optimizer) == pytest.approx([0, 0, 0], abs=1e-15)
    go(cosine)
    assert rates(optimizer) == pytest.approx([0.25, 0.125, 4.0], rel=1e-12)
    optimizer = optimizer_of(nn)
    parts = [schedulers.ExponentialLR(optimizer, 0.5), schedulers.ExponentialLR(optimizer, 0.1)]
    sequence = schedulers.SequentialLR(optimizer, parts, milestones=[1])
    optimizer.add_param_group({"params": [nn.Parameter(nn.ones((3,)))], "lr": 2.0})
    go(sequence)
    assert rates(optimizer) == pytest.approx([0.5, 0.25, 2.0], rel=1e-12)
    go(sequence)
    assert rates(optimizer) == pytest.approx([0.05, 0.025, 0.2], rel=1e-12)


@clause("optim-29")
@pytest.mark.parametrize("given", [0.03, [0.03, 0.03]])
def test_a_later_group_has_the_least_rate_of_the_others(nn: Any, given: Any) -> None:
    optimizer = optimizer_of(nn)
    plateau = nn.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=given)
    optimizer.add_param_group({"params": [nn.Parameter(nn.ones((3,)))], "lr": 0.2})
    for _ in range(2):
        go(plateau)
    assert rates(optimizer) == pytest.approx([0.05, 0.03, 0.03], rel=1e-12)


def refused(nn: Any, scheduler: Any, name: str, numbers: tuple[int, int]) -> None:
    """Check that a step is refused, and changes neither the groups nor the scheduler."""
    optimizer = scheduler.optimizer
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    before = copy.deepcopy(groups), scheduler.state_dict()
    with refuses(ValueError, name, *map(str, numbers)):
        go(scheduler)
    groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
    assert (groups, scheduler.state_dict()) == before


@clause("optim-29", "errors-06")
@pytest.mark.parametrize("case", list(REFUSING))
def test_a_scheduler_that_has_nothing_for_a_later_group(nn: Any, case: str) -> None:
    name = {"SequentialLR": "LambdaLR"}.get(case, case.partition(" ")[0])
    optimizer = optimizer_of(nn)
    scheduler = REFUSING[case](nn.optim.lr_scheduler, optimizer)
    go(scheduler)
    optimizer.add_param_group({"params": [nn.Parameter(nn.ones((3,)))], "lr": 2.0})
    refused(nn, scheduler, name, (2, 3))
    optimizer.param_groups.pop()
    go(scheduler)
    assert scheduler.get_last_lr() == rates(optimizer)


@clause("optim-29", "errors-06")
@pytest.mark.parametrize("case", [*FACTORS, "OneCycleLR", "LambdaLR"])
def test_a_group_that_was_taken_away(nn: Any, case: str) -> None:
    optimizer = optimizer_of(nn)
    make = FACTORS[case][0] if case in FACTORS else REFUSING[case]
    scheduler = make(nn.optim.lr_scheduler, optimizer)
    go(scheduler)
    optimizer.param_groups.pop()
    name = {"SequentialLR": "ExponentialLR"}.get(case, case)
    refused(nn, scheduler, name, (2, 1))
