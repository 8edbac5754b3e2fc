"""Groups under schedulers: those that came later (optim-29), and all of them after an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def take_up(*schedulers: Any) -> None:
    """Give schedulers what they hold by group for the groups that have come since.

    Raises
    ------
    ValueError
        If there are fewer groups, or one has no option for one more; nothing has changed then.
    """
    fresh = [(one, _known(one)) for one in schedulers]
    for one, known in fresh:
        groups = one.optimizer.param_groups[known:]
        for group in groups:
            group.setdefault("initial_lr", group["lr"])
        one._last_lr = [*one._last_lr[:known], *[group["lr"] for group in groups]]
        if hasattr(one, "base_lrs"):
            one.base_lrs = [*one.base_lrs, *[group["initial_lr"] for group in groups]]
        if isinstance(getattr(one, "min_lr", None), list):
            one.min_lr = [*one.min_lr, *one.min_lr[:1] * len(groups)]


def _known(scheduler: Any) -> int:
    """Return how many groups a scheduler knows, if it can go on with those that there are."""
    known, there = len(scheduler._last_lr), len(scheduler.optimizer.param_groups)
    owner, least = type(scheduler).__name__, getattr(scheduler, "min_lr", None)
    bound = owner in ("LambdaLR", "OneCycleLR") or (isinstance(least, list) and len({*least}) > 1)
    if there < known or (there > known and bound):
        msg = f"{owner}: the optimizer must have the {known} groups it had, got {there}"
        raise ValueError(msg)
    return known


@contextmanager
def groups_kept(groups: list[dict[str, Any]]) -> Iterator[None]:
    """Leave parameter groups as they were where the block raises (optim-25)."""
    before = [(group, {**group}) for group in groups]
    try:
        yield
    except BaseException:
        for group, former in before:
            group.clear()
            group.update(former)
        raise
