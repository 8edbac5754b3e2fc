"""Schedulers whose optimizer was given more groups (optim-29)."""

from typing import Any

from ..checks import refuse


def grow(*schedulers: Any) -> None:
    """Take the groups that were added into schedulers.

    Raises
    ------
    ValueError
        If groups are missing, or a scheduler has nothing for more; nothing is changed then.
    """
    for scheduler in schedulers:
        count, there = len(scheduler._last_lr), len(scheduler.optimizer.param_groups)
        per_group = hasattr(scheduler, "lr_lambdas") or hasattr(scheduler, "max_lr")
        differs = len({*getattr(scheduler, "min_lr", [])}) > 1
        if there < count or (there > count and (per_group or differs)):
            refuse(type(scheduler).__name__, "param_groups", f"the {count} it knows", there)
    for scheduler in schedulers:
        for group in scheduler.optimizer.param_groups[len(scheduler._last_lr) :]:
            group.setdefault("initial_lr", group["lr"])
            scheduler._last_lr.append(float(group["lr"]))
            for name in {"base_lrs", "min_lr"} & vars(scheduler).keys():
                own = getattr(scheduler, name)
                own.append(own[0] if name == "min_lr" else float(group["initial_lr"]))
