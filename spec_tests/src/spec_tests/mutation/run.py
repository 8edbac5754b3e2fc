"""One run on one implementation: record, mutants, answers, a line of results for each."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from spec_tests.mutation import kept, score
from spec_tests.mutation import record as recording
from spec_tests.mutation.choose import Choice
from spec_tests.mutation.client import Client
from spec_tests.mutation.mutants import ROOMS
from spec_tests.mutation.plan import Planned, plan, texts_of
from spec_tests.mutation.progress import Progress

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
        ``"python"``, ``"cuda"``.
    rooms : tuple of str
        Whose Python files are changed; ``all`` for all.
    seconds : float
        The time of the tests that a mutant is given to, as recorded.
    minutes : float
        No mutant is begun after these; 0 for no limit.
    again : bool
        Ask survivors of earlier runs again, as when tests were added.
    suite : tuple of str
        Options of `record`: pytest's, such as ``--quick``, and ``--tests=FOLDER``.
    list : Path
        The equivalent mutants.
    """

    out: Path
    sample: int = 460
    seed: int = 1
    kinds: tuple[str, ...] = ("python",)
    rooms: tuple[str, ...] = tuple(ROOMS)
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
    source = _recorded(implementation, python, file, options.suite)
    record = recording.read(file)
    path = options.out / f"{implementation}.jsonl"
    done = _done(path, implementation)
    choice = Choice(record, options.seconds)
    started = time.monotonic()
    everything = {**texts_of(source, "python", ["all"]), **texts_of(source, "cuda", ["all"])}
    for entry in kept.unknown(entries, everything):
        print(f"{options.list.name}: {entry.file} has no line {entry.was!r}", file=sys.stderr)
    wanted: list[tuple[str, Planned]] = []
    for kind in options.kinds:
        texts = texts_of(source, kind, options.rooms)
        drawn = plan(texts, kind, options.seed, choice)
        wanted += [(kind, one) for one in islice(_once(drawn), options.sample)]
    left = [
        (kind, one)
        for kind, one in wanted
        if one.mutant.id not in done
        or (options.again and done[one.mutant.id]["status"] == "survived")
    ]
    trusted = [result["by"] for result in done.values() if result["by"]]
    client = Client(python, implementation, file, source, trusted) if left else None
    progress = Progress(implementation, len(left), sys.stderr)
    try:
        with path.open("a", encoding="utf-8") as lines:
            for kind, one in left:
                if options.minutes and time.monotonic() - started > 60 * options.minutes:
                    progress.say(f"{implementation}: {options.minutes:g} minutes are over")
                    break
                result = _result(kind, one, client, entries)
                lines.write(json.dumps(result, ensure_ascii=False) + "\n")
                lines.flush()
                done[result["id"]] = result
                progress.step(result["status"] == "survived")
    finally:
        progress.end()
        if client:
            client.close()
        content = _content(implementation, options, record, wanted, done, entries)
        text = json.dumps(content, indent=1, ensure_ascii=False)
        (options.out / f"{implementation}.json").write_text(text + "\n", encoding="utf-8")
    return content


def _once(planned: Iterable[Planned]) -> Iterable[Planned]:
    """Yield mutants without those that are the same as one before, or no change at all."""
    seen: set[str] = set()
    for one in planned:
        if one.mutant.was != one.mutant.now and one.mutant.id not in seen:
            seen.add(one.mutant.id)
            yield one


def _recorded(implementation: str, python: str, file: Path, suite: Sequence[str]) -> Path:
    """Bring the record up to date; return the package's folder."""
    command = [python, "-m", "spec_tests.mutation.record", "--impl", implementation]
    made = subprocess.run([*command, "--out", str(file), *suite], stdout=subprocess.PIPE, text=True)
    if made.returncode:
        msg = f"mutation: {implementation}: no record of what its tests run: {' '.join(command)}"
        raise RuntimeError(msg)
    print(made.stdout.strip().splitlines()[-1], file=sys.stderr)
    about = recording.read(file).about
    return Path(about["source"])


def _done(path: Path, implementation: str) -> dict[str, dict[str, Any]]:
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


def _result(
    kind: str, one: Planned, client: Client | None, entries: Sequence[kept.Equivalent]
) -> dict[str, Any]:
    mutant, start = one.mutant, time.monotonic()
    about = {
        "id": mutant.id,
        "implementation": client.implementation if client else "",
        "kind": kind,
        "file": mutant.file,
        "line": mutant.lines[0],
        "function": mutant.function,
        "operator": mutant.operator,
        "was": mutant.was,
        "now": mutant.now,
        "reach": len(one.tests),
    }
    if any(entry.fits(about) for entry in entries):
        answer = {"status": "equivalent", "by": "", "why": "", "asked": 0}
    else:
        assert client is not None
        answer = client.ask({mutant.file: mutant.text}, one.tests)
    return {**about, **answer, "seconds": round(time.monotonic() - start, 2)}


def _content(
    implementation: str,
    options: Options,
    record: recording.Record,
    wanted: Sequence[tuple[str, Planned]],
    done: dict[str, dict[str, Any]],
    entries: Sequence[kept.Equivalent],
) -> dict[str, Any]:
    found = [dict(done[one.mutant.id]) for _, one in wanted if one.mutant.id in done]
    for result in found:
        # An entry that was made after the run counts too.
        if any(entry.fits(result) for entry in entries):
            result["status"] = "equivalent"
    about = {
        "implementation": implementation,
        "sample": options.sample,
        "seed": options.seed,
        "rooms": list(options.rooms),
        "seconds_of_tests": options.seconds,
        "sources": record.about["sources"],
        "tests": len(record.tests),
        "complete": len(found) == len(wanted),
        "seconds": round(sum(result["seconds"] for result in found), 1),
    }
    return score.as_dict(about, found)
