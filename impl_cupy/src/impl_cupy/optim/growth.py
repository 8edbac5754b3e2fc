"""What schedulers do when their optimizer has more groups than at the last step (optim-29)."""

from __future__ import annotations

from typing import Any

from impl_cupy.optim.optimizer import plain_option


def meet_groups(*schedulers: Any) -> None:
    """Take up the groups that are new.

    Raises
    ------
    ValueError
        If a group is gone, or a scheduler has nothing for a new one; nothing is changed then.
    """
    for scheduler in schedulers:
        count, got = len(scheduler._last_lr), len(scheduler.optimizer.param_groups)
        if got < count or (got > count and not _takes_more(vars(scheduler))):
            name = type(scheduler).__name__
            msg = f"{name}: there must be {count} groups, as at its last step, got {got}"
            raise ValueError(msg)
    for scheduler in schedulers:
        for group in scheduler.optimizer.param_groups[len(scheduler._last_lr) :]:
            first = group.setdefault("initial_lr", group["lr"])
            scheduler._last_lr.append(plain_option(group["lr"]))
            if "base_lrs" in vars(scheduler):
                scheduler.base_lrs.append(plain_option(first))
            if isinstance(vars(scheduler).get("min_lr"), list):
                scheduler.min_lr.append(scheduler.min_lr[0])


def _takes_more(options: dict[str, Any]) -> bool:
    least = options.get("min_lr")
    is_same = not isinstance(least, list) or len(set(least)) == 1
    return is_same and not {"lr_lambda", "max_lr"} & set(options)
