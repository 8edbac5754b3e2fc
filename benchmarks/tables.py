"""The report's tables and figures, made of results; the template gives them their looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.arithmetic import Spread, exponent, geometric_mean, times_linear
from benchmarks.peers.table import OURS
from benchmarks.players import EMULATED
from benchmarks.plots import ratio_figure
from benchmarks.results import Entry, Measurement, Results
from benchmarks.rows import KINDS
from spec_tests.compare.plots import data_uri, growth_figure
from spec_tests.compare.verdicts import in_digits

__all__ = ["Image", "Section", "Table", "means", "sections"]

# Kinds whose rows are told apart by the cell, and judged by it.
BY_CELL = ("train", "inference", "cell", "second")


@dataclass(frozen=True)
class Cell:
    """What stands in a table: a number in words, what is small below it, and whether it is good."""

    text: str
    below: str = ""
    good: bool | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    caption: str
    head: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Image:
    """A figure as the page holds it: its bytes, the text in its place, and what stands below."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Section:
    """What the page shows of one kind."""

    key: str
    title: str
    words: str
    images: list[Image]
    tables: list[Table]
    details: list[Table]
    failures: list[str] = field(default_factory=list)


def sections(results: Results) -> list[Section]:
    """Return a section for each kind that was measured."""
    return [_section(results, kind) for kind in results.kinds()]


def means(results: Results) -> Table:
    """Return the smallest and the mean ratio of each implementation to each peer, by kind."""
    rows = []
    for kind, name in _groups(results):
        found = [m for m in results.of_kind(kind) if name in ("", m.row.name)]
        for threads in results.threads:
            for ours in _present(found, True):
                ratios = {peer: _medians(found, ours, peer, threads) for peer in _peers(results)}
                cells = [_mean_cell(values) for values in ratios.values()]
                if any(ratios.values()):
                    label = Cell(f"{KINDS[kind].title}{': ' if name else ''}{name}")
                    rows.append([label, Cell(ours), Cell(str(threads)), *cells])
    caption = "Peers' times over ours: geometric mean over the rows, and the smallest"
    return Table(caption, ["work", "implementation", "threads", *_peers(results)], rows)


def _groups(results: Results) -> Iterator[tuple[str, str]]:
    for kind in results.kinds():
        found = results.of_kind(kind)
        if any(measurement.ratios for measurement in found):
            names = dict.fromkeys(m.row.name for m in found) if kind in BY_CELL else [""]
            yield from ((kind, name) for name in names)


def _medians(found: Sequence[Measurement], ours: str, peer: str, threads: int) -> list[float]:
    ratios = (measurement.ratio(ours, peer, threads) for measurement in found)
    return [ratio.median for ratio in ratios if ratio]


def _mean_cell(values: list[float]) -> Cell:
    if not values:
        return Cell("–")
    return Cell(f"{geometric_mean(values):.2f}", f"min {min(values):.2f}", min(values) >= 1)


def _present(found: Sequence[Measurement], ours: bool) -> list[str]:
    """Return the implementations, or the others, that have an entry, in the order of entries."""
    names = dict.fromkeys(entry.contestant for m in found for entry in m.entries)
    return [name for name in names if (name in OURS) == ours]


def _peers(results: Results) -> list[str]:
    return list(dict.fromkeys(ratio.peer for m in results.measurements for ratio in m.ratios))


def _section(results: Results, kind: str) -> Section:
    found = results.of_kind(kind)
    what = KINDS[kind]
    images = list(_growth_images(results, kind))
    if not images and what.measure == "time":
        images = list(_ratio_images(results, found))
    return Section(
        key=kind,
        title=what.title,
        words=what.words,
        images=images,
        tables=[_ours(results, found, name) for name in _present(found, True)]
        + ([_linear(found)] if kind == "growth" else [])
        + ([_powers(found)] if what.measure == "peak" else []),
        details=[_everyone(found, threads) for threads in results.threads if found],
        failures=_failures(found),
    )


def _ours(results: Results, found: Sequence[Measurement], ours: str) -> Table:
    """Return the table of one implementation: what it takes, how well it does, and the ratios."""
    kind = KINDS[found[0].row.kind]
    several = len(results.threads) > 1 and kind.measure == "time"
    peers = dict.fromkeys(ratio.peer for m in found for ratio in m.ratios if ratio.ours == ours)
    gauged = any(entry.efficiency for m in found for entry in m.entries)
    rows = []
    for measurement in found:
        for threads in results.threads:
            entry = measurement.entry(ours, threads)
            if entry is None:
                continue
            row = [Cell(measurement.row.label), Cell(measurement.row.sizes), Cell(str(threads))]
            row.append(_value(entry.value, kind.scale))
            if gauged:
                row.append(_two(entry.efficiency))
            if kind.measure == "time":
                row.append(Cell(f"{entry.cpu:.2f}"))
            if several:
                row.append(_two(measurement.scaling.get(ours)))
            row += [_ratio(measurement.ratio(ours, peer, threads)) for peer in peers]
            rows.append(row)
    head = ["", ", ".join(kind.axes), "threads", kind.unit]
    head += ["efficiency"] * gauged + ["CPU / wall"] * (kind.measure == "time")
    head += ["fewest / most threads"] * several + list(peers)
    entries = (entry for m in found for entry in m.entries if entry.contestant == ours)
    mark = f" ({EMULATED})" if any(entry.emulated for entry in entries) else ""
    return Table(f"{ours}{mark}", head, rows)


def _everyone(found: Sequence[Measurement], threads: int) -> Table:
    """Return what everyone took, in one table."""
    kind = KINDS[found[0].row.kind]
    names = [*_present(found, True), *_present(found, False)]
    rows = []
    for measurement in found:
        entries = [measurement.entry(name, threads) for name in names]
        if any(entries):
            numbers = [_number(entry, kind.scale) for entry in entries]
            rows.append([Cell(f"{measurement.row.label} {measurement.row.sizes}"), *numbers])
    return Table(f"{kind.unit}, {threads} threads: median and quartiles", ["", *names], rows)


def _failures(found: Sequence[Measurement]) -> list[str]:
    """Return who could not do what, a line for each reason."""
    rows: dict[tuple[str, str], list[str]] = {}
    for measurement in found:
        for failure in measurement.failures:
            words = f"{measurement.row.label} {measurement.row.sizes}".strip()
            rows.setdefault((failure.contestant, failure.reason), []).append(words)
    return [
        f"{name}: {reason} ({'; '.join(dict.fromkeys(labels))})"
        for (name, reason), labels in rows.items()
    ]


def _linear(found: Sequence[Measurement]) -> Table:
    """Return by how much the last time of each series is above linear growth."""
    rows = []
    for cell, axis, series in _series(found, 1.0):
        for name, (sizes, values) in series.items():
            if len(sizes) > 1:
                times = times_linear(sizes, values)
                ends = f"{sizes[0]:g} to {sizes[-1]:g}"
                rows.append([Cell(cell), Cell(axis), Cell(name), Cell(ends), Cell(f"{times:.2f}")])
    head = ["cell", "axis", "who", "from, to", "times linear growth"]
    return Table("Growth between the ends: 1 is linear, below 1 is less than that", head, rows)


def _powers(found: Sequence[Measurement]) -> Table:
    """Return the power of the size that each series grows with."""
    rows = []
    kind = KINDS[found[0].row.kind]
    for cell, _, series in _series(found, kind.scale):
        for name, (sizes, values) in series.items():
            # Three numbers are fitted; what is below the grain of the measurement is none.
            if len(sizes) > 3 and min(values) > 0:
                power = exponent(sizes, values)
                numbers = ", ".join(in_digits(value) for value in values)
                rows.append([Cell(cell), Cell(name), Cell(numbers), Cell(f"{power:.2f}")])
    steps = ", ".join(str(size) for size in dict.fromkeys(m.row.shape[0] for m in found))
    head = ["cell", "who", f"{kind.unit} at T = {steps}", "p of a + b T^p"]
    return Table(
        "What grows, beside what there is at every T: 1 is linear, 0.5 the square root", head, rows
    )


def _series(
    found: Sequence[Measurement], scale: float
) -> Iterator[tuple[str, str, dict[str, tuple[list[float], list[float]]]]]:
    """Yield cell, axis, and sizes and values by contestant, of the rows that grow along an axis."""
    groups = dict.fromkeys((m.row.name, m.row.along or "T") for m in found)
    for cell, axis in groups:
        rows = [m for m in found if (m.row.name, m.row.along or "T") == (cell, axis)]
        place = KINDS[rows[0].row.kind].axes.index(axis)
        series: dict[str, tuple[list[float], list[float]]] = {}
        for measurement in rows:
            for entry in measurement.entries:
                mode = ", sqrt" if measurement.row.options.get("sqrt") else ""
                name = f"{entry.contestant}{mode}, {entry.threads} threads"
                sizes, values = series.setdefault(name, ([], []))
                sizes.append(measurement.row.shape[place])
                values.append(entry.value.median * scale)
        yield cell, axis, series


def _growth_images(results: Results, kind: str) -> Iterator[Image]:
    if kind != "growth" and KINDS[kind].measure != "peak":
        return
    what = KINDS[kind]
    for cell, axis, series in _series(results.of_kind(kind), what.scale):
        if series:
            alt = f"{what.title} of {cell} in {axis}: " + "; ".join(
                f"{name} {values[0]:.3g} to {values[-1]:.3g} {what.unit}"
                for name, (_, values) in series.items()
            )
            root = any(", sqrt" in name for name in series)
            picture = data_uri(growth_figure(axis, what.unit, series, root=root))
            words = "linear growth" + (", and with the square root" if root else "")
            yield Image(picture, alt, f"{cell}, {axis} growing; dotted: {words}")


def _ratio_images(results: Results, found: Sequence[Measurement]) -> Iterator[Image]:
    """One figure for each number of threads: all implementations over the first peer there is."""
    for threads in results.threads:
        peers = dict.fromkeys(r.peer for m in found for r in m.ratios if r.threads == threads)
        if not peers:
            continue
        peer = next(iter(peers))
        series = {name: [m.ratio(name, peer, threads) for m in found] for name in OURS}
        series = {name: ratios for name, ratios in series.items() if any(ratios)}
        labels = [f"{m.row.label} {m.row.sizes}".strip() for m in found]
        words = f"{peer}'s time over ours, {threads} threads; above 1 is faster than {peer}"
        yield Image(data_uri(ratio_figure(labels, series)), f"Plot of the table: {words}", words)


def _value(value: Spread, scale: float) -> Cell:
    low, high = (in_digits(edge * scale) for edge in (value.low, value.high))
    return Cell(in_digits(value.median * scale), f"{low}–{high}" if low != high else "")


def _number(entry: Entry | None, scale: float) -> Cell:
    if entry is None:
        return Cell("–")
    found = _value(entry.value, scale)
    return Cell(found.text, EMULATED) if entry.emulated else found


def _two(value: Spread | None) -> Cell:
    return Cell("–") if value is None else Cell(f"{value.median:.2f}")


def _ratio(value: Spread | None) -> Cell:
    if value is None:
        return Cell("–")
    return Cell(f"{value.median:.2f}", f"{value.low:.2f}–{value.high:.2f}", value.median >= 1)
