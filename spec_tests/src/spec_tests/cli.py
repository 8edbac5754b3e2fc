"""The console script ``spec-tests``."""

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence

from spec_tests.fuzz import fuzz
from spec_tests.judge.clauses import read


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite, make calls that do not fit, list the clauses, compare or change packages.

    ``spec-tests run --impl MODULE [pytest's options]``, ``spec-tests fuzz --impl MODULE [--calls N]
    [--seed N] [--only TEXT]``, ``spec-tests clauses [CHAPTER ...]``, ``spec-tests compare ...``,
    ``spec-tests mutation MODULE ...``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # What follows these is another program's, so argparse must not see its options.
    if arguments[:1] in (["compare"], ["mutation"]):
        program = importlib.import_module(f"spec_tests.{arguments[0]}.__main__")
        return int(program.main(arguments[1:]) or 0)
    parser = argparse.ArgumentParser(prog="spec-tests", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run the suite on an implementation")
    run.add_argument("--impl", required=True, metavar="MODULE", help="its importable name")
    calls = commands.add_parser("fuzz", help="make calls that do not fit (errors-07)")
    calls.add_argument("--impl", required=True, metavar="MODULE", help="its importable name")
    calls.add_argument("--calls", type=int, default=4000, metavar="N", help="how many")
    calls.add_argument("--seed", type=int, default=0, metavar="N", help="decides the calls")
    calls.add_argument(
        "--only", default="", metavar="TEXT", help="operations with this in the name"
    )
    listing = commands.add_parser("clauses", help="list the clauses of the specification")
    listing.add_argument("chapter", nargs="*", help="only these chapters")
    commands.add_parser("compare", help="compare implementations")
    commands.add_parser("mutation", help="change implementations: does the suite find it?")
    known, rest = parser.parse_known_args(arguments)
    if known.command == "run":
        return _run(known.impl, rest)
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if known.command == "fuzz":
        return _fuzz(known)
    return _list(known.chapter)


def _run(implementation: str, rest: Sequence[str]) -> int:
    suite = (
        [] if any(name.startswith("spec_tests.suite") for name in rest) else ["spec_tests.suite"]
    )
    command = [sys.executable, "-m", "pytest", "--pyargs", *suite, "--impl", implementation, *rest]
    # pytest rewrites the asserts of a plugin only in a process that has not yet imported it.
    return subprocess.run(command, check=False).returncode


def _fuzz(options: argparse.Namespace) -> int:
    module = importlib.import_module(options.impl)
    try:
        findings = fuzz(module, options.calls, options.seed, options.only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for finding in findings:
        print(finding)
    print(f"{options.impl}: {options.calls} calls, {len(findings)} kinds break errors-07")
    return bool(findings)


def _list(chapters: Sequence[str]) -> int:
    for clause in read().values():
        if not chapters or clause.id.partition("-")[0] in chapters:
            capability = f"  [{clause.capability}]" if clause.capability else ""
            print(f"{clause.id}  {clause.title}{capability}")
    return 0
