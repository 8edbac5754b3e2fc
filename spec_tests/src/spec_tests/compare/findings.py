"""What a comparison finds, by name; ``compare.json`` holds the fields in this order.

Everything that is kept by implementation, by workload or by pair is a dict with those names as
keys; a pair reads ``"a ~ b"``. A number that there is none of is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Agreement",
    "ClauseCounts",
    "Details",
    "Differences",
    "Divergence",
    "FailedClause",
    "Failure",
    "FinalDistances",
    "FunctionVerdict",
    "Implementation",
    "InitialValues",
    "Provenance",
    "Reference",
    "Report",
    "Training",
    "UlpSummary",
    "Verdict",
]


@dataclass(frozen=True)
class ClauseCounts:
    """How many clauses of the specification an implementation keeps."""

    passed: int | None
    failed: int | None
    unsupported: int | None


@dataclass(frozen=True)
class FailedClause:
    """A clause that an implementation does not keep, with the reason."""

    id: str
    title: str
    why: str


@dataclass(frozen=True)
class FunctionVerdict:
    """Whether a function of the chapters' tables passed, failed or is unsupported, and why."""

    status: str
    why: str


@dataclass(frozen=True)
class Implementation:
    """What an implementation says of itself, and its clauses; `quick` if by some of the cases."""

    versions: dict[str, str]
    device: str
    emulated: bool
    quick: bool
    clauses: ClauseCounts


@dataclass(frozen=True)
class Training:
    """One training in float32, as programs read it: losses of each step, and what it took."""

    losses: list[float]
    final_accuracy: float | None
    seconds_per_step: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class Details:
    """What the page shows of a training beside `Training`."""

    held_out_loss: float | None
    seconds_quartiles: list[float]
    first_step_seconds: float | None
    float64_losses: list[float]
    float64_seconds_per_step: float | None
    float64_accuracy: float | None


@dataclass(frozen=True)
class Reference:
    """The reference's training, and how far rounding may lead from it at each step."""

    versions: dict[str, str]
    losses: list[float]
    allowance: list[float]
    final_accuracy: float | None
    held_out_loss: float | None


@dataclass(frozen=True)
class UlpSummary:
    """ULP distances between two sets of parameters: over all elements, and whether bits differ."""

    max: int | None
    median: float | None
    identical: bool


@dataclass(frozen=True)
class InitialValues:
    """Parameters drawn from the seed, beside those that most implementations drew."""

    identical: bool | None
    ulp: dict[str, UlpSummary]


@dataclass(frozen=True)
class FinalDistances:
    """Distances between final float32 parameters: to the reference's, and of each pair."""

    to_reference: dict[str, UlpSummary]
    pairs: dict[str, UlpSummary]


@dataclass(frozen=True)
class Differences:
    """Largest relative differences of losses in one dtype, and which of them is the largest."""

    pairs: dict[str, float]
    to_reference: dict[str, float]
    largest: float | None
    between: str | None


@dataclass(frozen=True)
class Divergence:
    """Where a curve leaves the reference (None: nowhere), and the allowance that it used."""

    first_step: int | None
    share_of_allowance: float


@dataclass(frozen=True)
class Agreement:
    """How far the implementations are from the reference and from each other, in one workload."""

    steps: int
    float32: Differences
    float64: Differences
    initial: dict[str, InitialValues]
    final_ulp: FinalDistances
    divergence: dict[str, Divergence]

    def losses(self, dtype: str) -> Differences:
        """Return the differences of the losses in ``"float32"`` or ``"float64"``."""
        return self.float32 if dtype == "float32" else self.float64


@dataclass(frozen=True)
class Failure:
    """A process that did not do its work."""

    owner: str
    what: str
    fault: str
    last_lines: str


@dataclass(frozen=True)
class Verdict:
    """A promise, whether it was kept (None: not asked), and the figure that decides it."""

    promise: str
    kept: bool | None
    detail: str


@dataclass(frozen=True)
class Provenance:
    """When, where and from what a report was made."""

    created: str
    minutes: float
    machine: str
    command: str
    processes_at_once: int
    environment: dict[str, str]
    data: dict[str, Any]
    peak_bytes_is: str


@dataclass
class Report:
    """Everything that the report says.

    Attributes
    ----------
    implementations : dict of Implementation, by implementation
    workloads : dict of dict of Training, by workload and implementation
    reference : dict of Reference, by workload
    agreement : dict of Agreement, by workload
    details : dict of dict of Details, by workload and implementation
    failed_clauses : dict of list of FailedClause, by implementation
    functions : dict of dict of FunctionVerdict, by function, as in ``ops.tanh``, and implementation
    failures : list of Failure
    verdicts : list of Verdict
    provenance : Provenance or None
    """

    implementations: dict[str, Implementation] = field(default_factory=dict)
    workloads: dict[str, dict[str, Training]] = field(default_factory=dict)
    reference: dict[str, Reference] = field(default_factory=dict)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    details: dict[str, dict[str, Details]] = field(default_factory=dict)
    failed_clauses: dict[str, list[FailedClause]] = field(default_factory=dict)
    functions: dict[str, dict[str, FunctionVerdict]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    provenance: Provenance | None = None

    def function_counts(self, implementation: str) -> dict[str, int]:
        """Return how many functions passed, failed and are unsupported in an implementation."""
        statuses = [
            verdicts[implementation].status
            for verdicts in self.functions.values()
            if implementation in verdicts
        ]
        return {status: statuses.count(status) for status in ("passed", "failed", "unsupported")}

    def failed_functions(self, implementation: str) -> dict[str, str]:
        """Return the functions that failed in an implementation, with the reason."""
        return {
            function: verdicts[implementation].why
            for function, verdicts in self.functions.items()
            if implementation in verdicts and verdicts[implementation].status == "failed"
        }
