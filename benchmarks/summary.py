"""Make a row's numbers of the samples that its rounds gave."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping

from benchmarks.arithmetic import Spread, efficiency, ratio, spread
from benchmarks.results import Entry, Failure, Measurement, Ratio
from benchmarks.rows import SGEMM, Row
from benchmarks.turns import Name, Record

__all__ = ["measured"]


def measured(
    row: Row,
    record: Record,
    failures: list[Failure],
    best: Mapping[int, str],
    ours: Collection[str],
    emulated: Collection[str] = (),
) -> Measurement:
    """Make a measurement of samples.

    Parameters
    ----------
    row : Row
    record : Record
        With the best BLAS among the players, where the row's products are known.
    failures : list of Failure
    best : mapping
        The best BLAS by number of threads.
    ours : collection of str
        The implementations; all other players are their peers.
    emulated : collection of str
        Who runs on an emulation.
    """
    # A BLAS that plays to gauge the machine is no contestant of the row.
    gauges = {(name, threads) for threads, name in best.items()} if row.flops else set()
    played = {
        name: record.values(name)
        for name, samples in record.samples.items()
        if samples and name not in gauges
    }
    entries = [
        Entry(
            *name,
            value=spread(values),
            cpu=statistics.median(sample.cpu for sample in record.samples[name]),
            rounds=len(values),
            efficiency=_efficiency(row, record, (best.get(name[1], ""), name[1]), values),
            emulated=name[0] in emulated,
        )
        for name, values in played.items()
    ]
    ratios = [
        Ratio(name, peer, threads, ratio(played[peer, threads], values))
        for (name, threads), values in played.items()
        for peer, count in played
        if name in ours and peer not in ours and count == threads
    ]
    return Measurement(row, entries, ratios, _scaling(played), failures)


def _efficiency(row: Row, record: Record, gauge: Name, seconds: list[float]) -> Spread | None:
    """Return t_min / t by the BLAS that played in the same rounds; None if there was none."""
    if not row.flops or not record.samples.get(gauge):
        return None
    rates = [SGEMM.flops / value for value in record.values(gauge)]
    return efficiency(row.flops, rates, seconds)


def _scaling(played: Mapping[Name, list[float]]) -> dict[str, Spread]:
    """Return each one's time with the fewest threads over that with the most."""
    found = {}
    for name in dict.fromkeys(name for name, _ in played):
        counts = sorted(threads for who, threads in played if who == name)
        if len(counts) > 1:
            found[name] = ratio(played[name, counts[0]], played[name, counts[-1]])
    return found
