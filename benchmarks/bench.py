"""Measure row by row: gather who can do it, let them take turns, put the numbers together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.arithmetic import spread
from benchmarks.peers.table import CONTESTANTS, ENVIRONMENTS, Contestant
from benchmarks.players import UNTIMED, CountPlayer, FreshPlayer, TimedPlayer
from benchmarks.processes import Refused, Worker, WorkerEnded, environment_of
from benchmarks.results import Blas, Fact, Failure, Measurement, Results
from benchmarks.rows import KINDS, SGEMM, Row
from benchmarks.summary import measured
from benchmarks.turns import Name, Player, in_turns

__all__ = ["Bench", "Plan"]


@dataclass(frozen=True)
class Plan:
    """What a run is asked for.

    Attributes
    ----------
    environments : mapping
        Interpreters by name of environment.
    missing : mapping
        By name of environment: why there is none.
    ours, peers : sequence of str
        Names of contestants.
    threads : sequence of int
    seconds : float
        For each contestant in each row.
    patience : float
        Seconds of one call above which a contestant is left out of a row.
    limit : float
        Seconds after which a worker that does not answer is ended.
    folder : Path
    """

    environments: Mapping[str, str]
    missing: Mapping[str, str]
    ours: Sequence[str]
    peers: Sequence[str]
    threads: Sequence[int]
    seconds: float
    patience: float
    limit: float
    folder: Path


class Bench:
    """A run: workers that live on, one for each contestant and number of threads.

    Parameters
    ----------
    plan : Plan
    inherited : mapping
        Environment variables.
    table : sequence of Contestant
    """

    def __init__(
        self,
        plan: Plan,
        inherited: Mapping[str, str],
        table: Sequence[Contestant] = CONTESTANTS,
    ) -> None:
        self.plan = plan
        self.inherited = inherited
        self.table = {contestant.name: contestant for contestant in table}
        self.workers: dict[tuple[str, int], Worker] = {}
        self.facts: dict[str, Fact] = {}
        self.missing: dict[str, str] = {}
        self.best: dict[int, str] = {}
        self.started = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()

    def run(
        self,
        rows: Sequence[Row],
        results: Results,
        say: Callable[[Measurement], None] = lambda _: None,
    ) -> None:
        """Measure the rows and put what they give into ``results``."""
        if any(row.flops for row in rows):
            results.blas = self.multiply()
        for row in rows:
            found = self.measure(row)
            results.measurements.append(found)
            say(found)
        results.facts, results.missing = self.facts, self.missing

    def multiply(self) -> list[Blas]:
        """Time one product of matrices in each BLAS, and remember the best."""
        found = []
        for threads in self.plan.threads:
            record = in_turns(self._multiplying(threads, self._blas()), self.plan.seconds)
            rates = {
                name: spread([SGEMM.flops / seconds for seconds in record.values((name, count))])
                for name, count in record.samples
            }
            if rates:
                self.best[threads] = max(rates, key=lambda name: rates[name].median)
            for name, rate in rates.items():
                found.append(Blas(name, threads, rate, name == self.best[threads]))
        return found

    def measure(self, row: Row) -> Measurement:
        """Let everyone who can do a row's work do it in turns."""
        kind = KINDS[row.kind]
        names = self._asked(row)
        threads = self.plan.threads if kind.measure == "time" else self.plan.threads[:1]
        players: list[Player] = []
        failures = []
        for name in ((name, count) for name in names for count in threads):
            try:
                players.append(self._player(name, row))
            except (Refused, WorkerEnded) as error:
                # Whoever cannot be had at all is named once, not in every row.
                if name[0] not in self.missing:
                    failures.append(Failure(*name, str(error)))
        if kind.measure == "time":
            record = in_turns([*self._gauges(row), *players], self.plan.seconds)
        else:
            record = in_turns(players, 0.0, kind.rounds if kind.fresh else 1)
        self._drop()
        failures += [
            Failure(*name, reason)
            for name, reason in record.failures.items()
            if name[0] not in self.missing
        ]
        emulated = [name for name, fact in self.facts.items() if fact.emulated]
        return measured(row, record, failures, self.best, self.plan.ours, emulated)

    def worker(self, name: str, threads: int) -> Worker:
        """Return a contestant's worker, which is started if there is none.

        Raises
        ------
        Refused
            If its environment is missing, or its library cannot be imported.
        WorkerEnded
            If the process ends before it is ready.
        """
        worker = self.workers.get((name, threads))
        if worker is None or worker.process.poll() is not None:
            self.workers[name, threads] = worker = self.start(name, threads)
        return worker

    def start(self, name: str, threads: int) -> Worker:
        """Start a worker, in a working folder of its own; see `worker` for what it raises."""
        if name in self.missing:
            raise Refused(self.missing[name])
        contestant = self.table[name]
        place = next(
            (place for place in contestant.environments if place in self.plan.environments), None
        )
        if place is None:
            reasons = filter(None, map(self.plan.missing.get, contestant.environments))
            self.missing[name] = next(reasons, "its environment was not made")
            raise Refused(self.missing[name])
        self.started += 1
        folder = self.plan.folder / f"{self.started:03}_{name.replace(' ', '_')}_{threads}"
        rows = {environment.name: environment for environment in ENVIRONMENTS}
        variables = environment_of(rows.get(place), threads, folder, self.inherited)
        try:
            worker = Worker(
                contestant, self.plan.environments[place], variables, folder, self.plan.limit
            )
        except (Refused, WorkerEnded) as error:
            # It would end in the same way before every row.
            self.missing[name] = str(error)
            raise
        said = worker.facts
        fact = Fact(*(said[key] for key in ("versions", "device", "emulated", "pools")))
        self.facts.setdefault(name, fact)
        return worker

    def _asked(self, row: Row) -> list[str]:
        """Return who is asked for a row."""
        kind = KINDS[row.kind]
        ours = [name for name in self.plan.ours if not kind.ours or name in kind.ours]
        peers = [name for name in self.plan.peers if not kind.peers or name in kind.peers]
        # Part of importing an implementation is importing what it stands on.
        base = self._blas() if kind.measure == "import" else []
        return [*ours, *peers, *base]

    def _player(self, name: Name, row: Row) -> Player:
        kind = KINDS[row.kind]
        if kind.fresh:
            return FreshPlayer(name, partial(self.start, *name), row)
        worker = self.worker(*name)
        if kind.measure == "count":
            return CountPlayer(name, worker, row, kind.maker)
        if self.facts[name[0]].emulated:
            raise Refused(UNTIMED)
        return TimedPlayer(name, worker, row, kind.maker, self.plan.patience)

    def _blas(self) -> list[str]:
        """Return the BLAS libraries of the environments that there are."""
        return [
            name
            for name, who in self.table.items()
            if who.role == "blas" and set(who.environments) & set(self.plan.environments)
        ]

    def _multiplying(self, threads: int, names: Sequence[str]) -> list[TimedPlayer]:
        """Return players that multiply matrices, those of the names that can be had."""
        players = []
        for name in names:
            # Whoever cannot is in `missing`, which the report shows.
            with suppress(Refused, WorkerEnded):
                worker = self.worker(name, threads)
                players.append(TimedPlayer((name, threads), worker, SGEMM, "sgemm", math.inf))
        return players

    def _gauges(self, row: Row) -> list[TimedPlayer]:
        """Return the best BLAS at each number of threads, where the row's products are known."""
        best = self.best.items() if row.flops else ()
        return [player for count, name in best for player in self._multiplying(count, [name])]

    def _drop(self) -> None:
        """Let the work of all workers go, so that the next row finds the memory free."""
        for worker in self.workers.values():
            if worker.process.poll() is None:
                with suppress(Refused, WorkerEnded):
                    worker.ask("drop")
