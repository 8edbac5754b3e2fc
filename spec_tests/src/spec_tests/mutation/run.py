"""One run on one implementation: record, mutants, answers, a line of results for each."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spec_tests.mutation import kept, score
from spec_tests.mutation import record as recording
from spec_tests.mutation.choose import Choice
from spec_tests.mutation.client import Client
from spec_tests.mutation.compiled import Extension, sources_of
from spec_tests.mutation.mutants import ROOMS, Drawn
from spec_tests.mutation.plan import Plan, Planned, texts_of
from spec_tests.mutation.progress import Progress
from spec_tests.mutation.workers import share

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What a run is asked for.

    Attributes
    ----------
    out : Path
        The folder of results: ``impl_x.jsonl`` grows by a line for each mutant, ``impl_x.json`` is
        what they come to, ``impl_x.npz`` is the record.
    sample, seed : int
        How many mutants of each kind, and what decides them.
    kinds : tuple of str
        ``"python"``, ``"cuda"``, ``"cpp"``.
    project : Path
        For ``"cpp"``: the folder with `setup.py`; left out, that of a package in ``src``.
    rooms : tuple of str
        Whose Python files are changed; ``all`` for all.
    processes : int
        How many run at once.
    seconds : float
        The time of the tests that a mutant is given to, as recorded.
    minutes : float
        No mutant is begun after these; 0 for no limit.
    again : bool
        Ask survivors of earlier runs again, as when tests were added.
    suite : tuple of str
        Options of `recorder`: pytest's, such as ``--quick``, and ``--tests=FOLDER``.
    list : Path
        The equivalent mutants.
    """

    out: Path
    sample: int = 460
    seed: int = 1
    kinds: tuple[str, ...] = ("python",)
    rooms: tuple[str, ...] = tuple(ROOMS)
    project: Path | None = None
    processes: int = 1
    seconds: float = 30.0
    minutes: float = 0.0
    again: bool = False
    suite: tuple[str, ...] = ()
    list: Path = field(default=kept.LIST)


def run(implementation: str, python: str, options: Options) -> dict[str, Any]:
    """Do what is left of a sample and return the content of the result file, which is written.

    Parameters
    ----------
    implementation : str
        The importable name.
    python : str
        The interpreter of its environment.
    options : Options
        What is asked for.

    Raises
    ------
    KeyboardInterrupt
        After what is finished has been written.
    RuntimeError
        If the record or the server cannot be made.
    """
    entries = kept.read(implementation, options.list)
    file = options.out / f"{implementation}.npz"
    source = _recorded(implementation, python, file, options)
    everything = {**texts_of(source, "python", ["all"]), **texts_of(source, "cuda", ["all"])}
    for entry in kept.unknown(entries, everything):
        print(f"{options.list.name}: {entry.file} has no line {entry.was!r}", file=sys.stderr)
    one = _Run(implementation, options, recording.read(file), source, entries)
    try:
        one.work(python, file)
    finally:
        content = one.content()
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (options.out / f"{implementation}.json").write_text(text + "\n", encoding="utf-8")
    return content


def _recorded(implementation: str, python: str, file: Path, options: Options) -> Path:
    """Bring the record up to date; return the package's folder."""
    command = [python, "-m", "spec_tests.mutation.recorder", "--impl", implementation]
    command += ["--out", str(file), f"--processes={options.processes}", *options.suite]
    made = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if made.returncode:
        msg = f"mutation: {implementation}: no record of what its tests run: {' '.join(command)}"
        raise RuntimeError(msg)
    print(made.stdout.strip().splitlines()[-1], file=sys.stderr)
    return Path(recording.read(file).about["source"])


class _Run:
    """The sample of one implementation: what is done of it, and what is left."""

    def __init__(
        self,
        implementation: str,
        options: Options,
        record: recording.Record,
        source: Path,
        entries: Sequence[kept.Equivalent],
    ) -> None:
        self.implementation, self.options, self.entries = implementation, options, entries
        self.record, self.source = record, source
        sources = json.dumps(record.about["sources"], sort_keys=True)
        self.digest = hashlib.sha256(sources.encode()).hexdigest()[:16]
        self.path = options.out / f"{implementation}.jsonl"
        self.done = _done(self.path, implementation)
        choice = Choice(record, options.seconds)
        self.project = options.project or source.parents[1]
        self.extension: Extension | None = None
        self.plans = [self.plan(kind, choice) for kind in options.kinds]
        self.lines = self.path.open("a", encoding="utf-8")
        self._writing = threading.Lock()

    def plan(self, kind: str, choice: Choice) -> Plan:
        """Return the mutants of one kind of files."""
        if kind != "cpp":
            texts = texts_of(self.source, kind, self.options.rooms)
            return Plan(texts, kind, self.options.seed, choice)
        texts = sources_of(self.project)
        callers = texts_of(self.source, "python", ["all"])
        return Plan(texts, kind, self.options.seed, choice, callers)

    def changed(self, planned: Planned) -> dict[str, str | Path] | None:
        """Return what takes the place of files of the package; None if it is not built."""
        file, text = planned.mutant.file, planned.mutant.text
        if planned.kind != "cpp":
            return {file: text}
        assert self.extension is not None
        library = self.extension.built({file: text})
        return None if library is None else {library.name: library}

    def sample(self, plan: Plan) -> Iterator[tuple[Drawn, dict[str, Any] | None]]:
        """Yield the changes of a sample with their results, where there are any.

        A change that turned out to be none does not count. One without a result is taken for a
        mutant, until its result is seen to be there when the next one is asked for.
        """
        count = 0
        for drawn in plan.drawn:
            if count >= self.options.sample:
                return
            result = self.done.get(drawn.id)
            if result is None or result["status"] != "none":
                yield drawn, result
                result = self.done.get(drawn.id)
                count += result is None or result["status"] != "none"

    def left(self) -> Iterator[tuple[Drawn, Planned]]:
        """Yield the mutants that are to be asked."""
        for plan in self.plans:
            for drawn, result in self.sample(plan):
                if result and not (self.options.again and result["status"] == "survived"):
                    continue
                planned = plan.make(drawn)
                if planned:
                    yield drawn, planned
                else:
                    self.write({"id": drawn.id, "status": "none", "by": ""})

    def write(self, result: dict[str, Any]) -> None:
        """Keep a result."""
        result = {"implementation": self.implementation, **result}
        with self._writing:
            self.lines.write(json.dumps(result, ensure_ascii=False) + "\n")
            self.lines.flush()
            self.done[result["id"]] = result

    def work(self, python: str, record: Path) -> None:
        """Ask for each mutant that is left."""
        options = self.options
        if "cpp" in options.kinds:
            folder = options.out / f"{self.implementation}.build"
            self.extension = Extension(self.project, python, folder.resolve())
            if self.extension.built({}) is None:
                msg = f"mutation: {self.project}: the extension cannot be built as it is"
                raise RuntimeError(msg)
        there = [result for plan in self.plans for _, result in self.sample(plan)]
        again = ("survived",) if options.again else ()
        total = sum(result is None or result["status"] in again for result in there)
        if not total:
            return
        trusted = {result["by"] for result in self.done.values() if result["by"]}
        broken: set[str] = set()
        clients = [
            Client(python, self.implementation, record, self.source, trusted, broken)
            # There is one build, which mutants have one after the other.
            for _ in range(1 if self.extension else min(options.processes, total))
        ]
        progress = Progress(self.implementation, total, sys.stderr)
        started = time.monotonic()

        def is_over() -> bool:
            return bool(options.minutes and time.monotonic() - started > 60 * options.minutes)

        def ask(client: Client, item: tuple[Drawn, Planned]) -> None:
            result = self.ask(client, *item)
            progress.step(result["status"] == "survived")

        try:
            share(self.left(), clients, ask, is_over)
        finally:
            progress.end()
        if progress.done < total:
            progress.say(f"{self.implementation}: {options.minutes:g} minutes are over")

    def ask(self, client: Client, drawn: Drawn, planned: Planned) -> dict[str, Any]:
        """Give a mutant to its tests, and keep the result."""
        mutant, start = planned.mutant, time.monotonic()
        about = {
            "id": drawn.id,
            "kind": planned.kind,
            "file": mutant.file,
            "line": mutant.lines[0],
            "function": mutant.function,
            "operator": mutant.operator,
            "was": mutant.was,
            "now": mutant.now,
            "above": mutant.above,
            "reach": len(planned.tests),
        }
        if any(entry.fits(about) for entry in self.entries):
            answer = {"status": "equivalent", "by": "", "why": "", "asked": 0}
        elif (changed := self.changed(planned)) is None:
            answer = {"status": "none", "by": "", "why": "", "asked": 0}
        else:
            answer = client.ask(changed, planned.tests)
        result = {**about, **answer, "seconds": round(time.monotonic() - start, 2)}
        self.write(result)
        return result

    def content(self) -> dict[str, Any]:
        """Return the content of the result file."""
        options = self.options
        there = [result for plan in self.plans for _, result in self.sample(plan)]
        found = [dict(result) for result in there if result]
        for result in found:
            # An entry that was made after the run counts too.
            if any(entry.fits(result) for entry in self.entries):
                result["status"] = "equivalent"
        about = {
            "implementation": self.implementation,
            "sample": options.sample,
            "seed": options.seed,
            "rooms": list(options.rooms),
            "seconds_of_tests": options.seconds,
            "sources": self.digest,
            "tests": len(self.record.tests),
            "complete": len(found) == len(there),
            "seconds": round(sum(result["seconds"] for result in found), 1),
        }
        return score.as_dict(about, found)


def _done(path: Path, implementation: str) -> dict[str, dict[str, Any]]:
    """Return the results of a file by mutant; the last one counts."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return {}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        # A run that was killed while it wrote: the next line must not stand behind half a one.
        lines.pop()
        path.write_text("".join(lines), encoding="utf-8")
    results = [json.loads(line) for line in lines]
    return {one["id"]: one for one in results if one["implementation"] == implementation}
