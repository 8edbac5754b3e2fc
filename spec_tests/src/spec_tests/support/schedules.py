"""Optimizers of two groups whose rates a scheduler sets, and what the suite reads of them."""

from typing import Any

from spec_tests.oracle.optimized import (
    EPOCHS,
    RATES,
    SCHEDULED,
    SCHEDULES,
    SEQUENCES,
    Chain,
)

Numbers = list[tuple[float, float]]


def grouped(nn: Any, algorithm: str = "SGD", **more: float) -> Any:
    """Return an optimizer of two groups."""
    groups = [{"params": [nn.Parameter(nn.ones((1,)))], "lr": rate, **more} for rate in RATES]
    return getattr(nn.optim, algorithm)(groups, **SCHEDULED[algorithm])


def chained(nn: Any, optimizer: Any, chain: Chain, **more: int) -> list[Any]:
    """Return the schedulers of a chain, made in its order."""
    lr_scheduler = nn.optim.lr_scheduler
    return [getattr(lr_scheduler, name)(optimizer, **own, **more) for name, own in chain]


def scheduled(nn: Any, optimizer: Any, name: str) -> list[Any]:
    """Return the schedulers of a name, of a chain or a sequence."""
    if name not in SEQUENCES:
        return chained(nn, optimizer, SCHEDULES[name])
    chain, milestones = SEQUENCES[name]
    schedulers = chained(nn, optimizer, chain)
    return [nn.optim.lr_scheduler.SequentialLR(optimizer, schedulers, milestones)]


def numbers_of(optimizer: Any) -> Numbers:
    """Return lr and momentum (the first beta) of each group, which must be Python's numbers."""
    found = []
    for group in optimizer.param_groups:
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        for number in (group["lr"], momentum):
            assert type(number) in {int, float}, f"{number!r} should be a Python number"
        found.append((group["lr"], momentum))
    return found


def walked(optimizer: Any, schedulers: list[Any], steps: int = EPOCHS) -> list[Numbers]:
    """Return the numbers before the first step and after each."""
    numbers = [numbers_of(optimizer)]
    for _ in range(steps):
        for scheduler in schedulers:
            assert scheduler.step() is None
        numbers.append(numbers_of(optimizer))
        lrs = [group["lr"] for group in optimizer.param_groups]
        assert list(schedulers[-1].get_last_lr()) == lrs, "get_last_lr() should be the lr set"
    return numbers
