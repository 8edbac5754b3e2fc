"""Those who take turns: workers that live on, and processes that are started for one sample."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.processes import Refused, Worker
from benchmarks.rows import KINDS, Row
from benchmarks.turns import Name, Sample

__all__ = ["EMULATED", "UNTIMED", "CountPlayer", "FreshPlayer", "TimedPlayer"]

EMULATED = "CPU emulation, no GPU code ran"
UNTIMED = f"{EMULATED}: its times and memory mean nothing"

# A turn is many calls where one is too short for the clock and for the caches of others to matter.
TURN_SECONDS = 0.02
MOST_CALLS = 5000
# What comes first in a turn and does not count: caches fill, and threads that slept are spread over
# the cores, which begin on one of them and are moved by the system only some time later.
LEAD_ALONE, LEAD_TOGETHER = 0.01, 0.1
# Calls that take longer than this, in seconds, hardly notice.
LONG = 0.2


class TimedPlayer:
    """A worker that does a row's work for about `TURN_SECONDS` a turn.

    Parameters
    ----------
    name : tuple of str and int
    worker : Worker
    row : Row
    maker : str
    patience : float
        Seconds of one call above which it is left out.

    Raises
    ------
    Refused
        If it cannot do the work, or takes too long.
    """

    def __init__(self, name: Name, worker: Worker, row: Row, maker: str, patience: float) -> None:
        self.name = name
        self.worker = worker
        worker.ask("make", maker=maker, row=row.as_dict())
        seconds = self._seconds(1)
        if seconds > patience:
            msg = f"left out, as one call takes {seconds:.1f} s"
            raise Refused(msg)
        seconds = self._seconds(1 if seconds > TURN_SECONDS / 10 else 10)
        lead = LEAD_ALONE if name[1] == 1 else LEAD_TOGETHER
        self.lead = lead if seconds < LONG else 0.0
        self.calls = max(1, min(MOST_CALLS, round(TURN_SECONDS / seconds)))

    def turn(self) -> Sample:
        """Return the seconds of one call, the mean over the turn."""
        answer = self.worker.ask("run", calls=self.calls, lead=self.lead)
        return Sample(answer["wall"] / self.calls, answer["cpu"] / answer["wall"])

    def _seconds(self, calls: int) -> float:
        return float(self.worker.ask("run", calls=calls)["wall"]) / calls


class FreshPlayer:
    """A process started for each turn: what it costs to import, to build, to remember.

    Parameters
    ----------
    name : tuple of str and int
    start : callable
        Returns a new Worker.
    row : Row
        Its kind says what is measured.
    """

    def __init__(self, name: Name, start: Callable[[], Worker], row: Row) -> None:
        self.name = name
        self.start = start
        self.row = row

    def turn(self) -> Sample:
        """Start the process, ask it once, end it."""
        kind = KINDS[self.row.kind]
        worker = self.start()
        try:
            if worker.facts["emulated"]:
                raise Refused(UNTIMED)
            if kind.measure == "import":
                return Sample(worker.facts["import"])
            asked = {"maker": kind.maker, "row": self.row.as_dict()}
            if kind.measure == "first":
                return Sample(worker.ask("make", **asked)["first"])
            return Sample(worker.ask("peak", **asked)["value"])
        finally:
            worker.close()


class CountPlayer:
    """A worker whose work returns a number.

    Parameters
    ----------
    name : tuple of str and int
    worker : Worker
    row : Row
    maker : str
    """

    def __init__(self, name: Name, worker: Worker, row: Row, maker: str) -> None:
        self.name = name
        self.worker = worker
        worker.ask("make", maker=maker, row=row.as_dict())

    def turn(self) -> Sample:
        """Return the number."""
        return Sample(self.worker.ask("count")["value"])
