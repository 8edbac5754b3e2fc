"""Groups under schedulers: further ones, and what remains of them after an error (optim-29)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["admit", "groups_kept"]

# Options of which a scheduler has one for each group, and none for a further one.
_FIXED = ("lr_lambda", "max_lr")


def admit(*schedulers: Any) -> None:
    """Let schedulers know the groups that were added since they were made.

    Raises
    ------
    ValueError
        If there are fewer groups than one knows, or it has no option for more; nothing has changed
        then.
    """
    added = [(scheduler, _added(scheduler)) for scheduler in schedulers]
    for scheduler, groups in added:
        for group in groups:
            group.setdefault("initial_lr", group["lr"])
        rates = {"_last_lr": "lr", "base_lrs": "initial_lr"}
        for name in rates.keys() & vars(scheduler).keys():
            getattr(scheduler, name).extend(float(group[rates[name]]) for group in groups)
        least = getattr(scheduler, "min_lr", [])
        least += least[:1] * len(groups)


def _added(scheduler: Any) -> list[dict[str, Any]]:
    """Return the groups that are new to a scheduler."""
    groups, before = scheduler.optimizer.param_groups, len(scheduler._last_lr)
    fixed = any(hasattr(scheduler, option) for option in _FIXED)
    if len({*getattr(scheduler, "min_lr", [])}) > 1:
        fixed = True
    if len(groups) < before or (len(groups) > before and fixed):
        name = type(scheduler).__name__
        msg = f"{name}: param_groups must be the {before} it has, got {len(groups)}"
        raise ValueError(msg)
    added: list[dict[str, Any]] = groups[before:]
    return added


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
