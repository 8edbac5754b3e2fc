"""What a run found, as dataclasses with names; `benchmarks.report` writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.arithmetic import Spread
from benchmarks.machine import Machine
from benchmarks.rows import KINDS, Row

__all__ = ["Blas", "Entry", "Fact", "Failure", "Measurement", "Ratio", "Results"]


@dataclass(frozen=True)
class Entry:
    """One contestant's result in one row.

    Attributes
    ----------
    contestant : str
    threads : int
    value : Spread
        Seconds, bytes or a count.
    cpu : float
        The time of all cores over that of the clock, the median of the rounds.
    rounds : int
    efficiency : Spread or None
        t_min / t, where the row's products are known.
    emulated : bool
        Whether no GPU code ran where it should.
    """

    contestant: str
    threads: int
    value: Spread
    cpu: float
    rounds: int
    efficiency: Spread | None = None
    emulated: bool = False


@dataclass(frozen=True)
class Ratio:
    """The peer's value over ours, from the rounds that both played."""

    ours: str
    peer: str
    threads: int
    value: Spread


@dataclass(frozen=True)
class Failure:
    """Who could not be measured, and why."""

    contestant: str
    threads: int
    reason: str


@dataclass(frozen=True)
class Measurement:
    """What one row gave.

    Attributes
    ----------
    row : Row
    entries : list of Entry
    ratios : list of Ratio
    scaling : dict of Spread
        By contestant: its time with the fewest threads over that with the most.
    failures : list of Failure
    """

    row: Row
    entries: list[Entry]
    ratios: list[Ratio]
    scaling: dict[str, Spread] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def entry(self, contestant: str, threads: int) -> Entry | None:
        """Return a contestant's entry, or None if it has none."""
        for entry in self.entries:
            if (entry.contestant, entry.threads) == (contestant, threads):
                return entry
        return None

    def ratio(self, ours: str, peer: str, threads: int) -> Spread | None:
        """Return one ratio, or None if it was not measured."""
        for found in self.ratios:
            if (found.ours, found.peer, found.threads) == (ours, peer, threads):
                return found.value
        return None

    def failure(self, contestant: str, threads: int) -> str:
        """Return why a contestant has no entry; empty if it was not asked."""
        for failure in self.failures:
            if (failure.contestant, failure.threads) == (contestant, threads):
                return failure.reason
        return ""


@dataclass(frozen=True)
class Blas:
    """How fast one library multiplies matrices."""

    contestant: str
    threads: int
    flops_per_second: Spread
    best: bool


@dataclass(frozen=True)
class Fact:
    """What a contestant says of itself."""

    versions: dict[str, str]
    device: str
    emulated: bool
    pools: list[str]


@dataclass
class Results:
    """What a run found.

    Attributes
    ----------
    machine : Machine
    settings : dict of str
        Environment variables that change which kernels run.
    created : str
        UTC.
    command : str
    threads : list of int
    facts : dict of Fact
        By contestant.
    missing : dict of str
        By contestant: why there is none of it.
    blas : list of Blas
    measurements : list of Measurement
    worse, better : list of str
        What the comparison with the kept result found, in words.
    kept : str
        What it was compared with; empty if nothing was kept for this processor.
    minutes : float
    """

    machine: Machine
    created: str
    command: str
    threads: list[int]
    settings: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    blas: list[Blas] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    worse: list[str] = field(default_factory=list)
    better: list[str] = field(default_factory=list)
    kept: str = ""
    minutes: float = 0.0

    @property
    def slug(self) -> str:
        """The processor as a file's name, and the instruction set that was forced, if one was."""
        forced = self.settings.get("IMPL_TORCH_EXT_TARGET")
        return f"{self.machine.slug}-{forced}" if forced else self.machine.slug

    def of_kind(self, kind: str) -> list[Measurement]:
        """Return the measurements of one kind."""
        return [found for found in self.measurements if found.row.kind == kind]

    def kinds(self) -> Iterator[str]:
        """Yield the kinds that were measured, in the order of the table."""
        present = {found.row.kind for found in self.measurements}
        return (kind for kind in KINDS if kind in present)
