"""What a process tells the one that started it: a JSON object a line, on standard output."""

from __future__ import annotations

import json
import time
from typing import Any

__all__ = ["Reporter", "say"]

INTERVAL = 0.2


def say(event: str, **fields: Any) -> None:
    """Print one message."""
    print(json.dumps({"event": event, **fields}), flush=True)


class Reporter:
    """Says which step a training is at, a few times a second at most.

    Parameters
    ----------
    workload : str
    stage : str
        A word for a person: the dtype, or ``"shadow 3"``.
    steps : int
    weight : int
        Work in one step, in units that all workloads share.
    """

    def __init__(self, workload: str, stage: str, steps: int, weight: int) -> None:
        self.fields = {"workload": workload, "stage": stage, "steps": steps}
        self.steps = steps
        self.weight = weight
        self.said = 0
        self.when = 0.0

    def step(self, done: int) -> None:
        """Take note that ``done`` steps are done."""
        now = time.monotonic()
        if done < self.steps and now - self.when < INTERVAL:
            return
        say("step", done=done, units=(done - self.said) * self.weight, **self.fields)
        self.said, self.when = done, now
