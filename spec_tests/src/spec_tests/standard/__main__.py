"""Run the public suite, or show results.

``python -m spec_tests.standard run --suite FOLDER --impl MODULE --out FOLDER [pytest's options]``
runs it in this environment and writes ``MODULE.json``; ``python -m spec_tests.standard table --out
FOLDER MODULE ...`` prints the results that are there, and ends with 1 if one of them is not what
the list of expected failures says.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from spec_tests.judge.environment import device_of, versions_of
from spec_tests.standard.expectations import LIST, expected_of, judge
from spec_tests.standard.outcomes import is_complete, read
from spec_tests.standard.result import as_dict, findings, table
from spec_tests.standard.run import check_suite, lacking_dtypes, run, version_of

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="spec_tests.standard", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="run the suite on an implementation")
    running.add_argument("--suite", required=True, type=Path, help="the clone of the suite")
    running.add_argument("--impl", required=True, metavar="MODULE", help="its importable name")
    showing = commands.add_parser("table", help="show results")
    showing.add_argument("impl", nargs="+", metavar="MODULE", help="whose results")
    for command in (running, showing):
        command.add_argument("--out", required=True, type=Path, help="the folder of results")
        command.add_argument("--list", type=Path, default=LIST, help="the expected failures")
    known, rest = parser.parse_known_args(arguments)
    if known.command == "table" and rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        if known.command == "table":
            return _show(known.out, known.impl)
        check_suite(known.suite)
        return _run(known, rest)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def _run(known: argparse.Namespace, options: Sequence[str]) -> int:
    # A list that cannot be read is told before the run, not after it.
    expected = expected_of(known.impl, known.list)
    module = importlib.import_module(known.impl)
    without = lacking_dtypes(module.spec_capabilities())
    start = time.perf_counter()
    report = run(known.suite.resolve(), known.impl, options, without)
    outcomes, complete = read(report), is_complete(report)
    verdict = judge(outcomes, expected, complete)
    about = {
        "implementation": known.impl,
        **device_of(module),
        "versions": {**versions_of(known.impl), "hypothesis": version("hypothesis")},
        "suite": version_of(known.suite),
        "options": list(options),
        "without_dtypes": without,
        "complete": complete,
        "seconds": round(time.perf_counter() - start, 1),
    }
    content = as_dict(outcomes, verdict, about)
    known.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (known.out / f"{known.impl}.json").write_text(text + "\n", encoding="utf-8")
    return _show(known.out, [known.impl])


def _show(folder: Path, names: Sequence[str]) -> int:
    results = [json.loads((folder / f"{n}.json").read_text(encoding="utf-8")) for n in names]
    print(table(results))
    for line in [line for result in results for line in findings(result)]:
        print(line)
    return 0 if all(result["kept"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
