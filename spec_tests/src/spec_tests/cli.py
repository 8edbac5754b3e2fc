"""The console script ``spec-tests``."""

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence

from spec_tests.fuzz import fuzz
from spec_tests.judge.clauses import SPEC_VERSION, read
from spec_tests.judge.environment import suite_version

# Commands with options of their own: the module whose `main` takes them, and what it does.
_PROGRAMS = {
    "accuracy": ("spec_tests.accuracy.__main__", "measure errors against float64, and speed"),
    "check": ("spec_tests.check.command", "check a Function of your own"),
    "compare": ("spec_tests.compare.__main__", "compare implementations"),
    "explain": ("spec_tests.explain", "print what a clause, a function or a test asks for"),
    "matrix": ("spec_tests.matrix.__main__", "print functions and clauses by implementation"),
    "mutation": ("spec_tests.mutation.__main__", "change implementations: does the suite find it?"),
    "selftest": ("spec_tests.selftest.__main__", "check what is installed, on this machine"),
    "badge": ("spec_tests.badge", "make a badge of a result file"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite, check a Function, make calls that do not fit, or compare implementations.

    ``spec-tests run --impl MODULE [pytest's options]``, ``spec-tests fuzz --impl MODULE [--calls N]
    [--seed N] [--only TEXT]``, ``spec-tests check TARGET``, ``spec-tests clauses [CHAPTER ...]``,
    ``spec-tests compare ...``, ``spec-tests explain NAME ...``,
    ``spec-tests matrix FILE ... [--json]``, ``spec-tests mutation MODULE ...``,
    ``spec-tests selftest [--impl MODULE]``, ``spec-tests badge FILE``, ``spec-tests --version``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # What follows these is another program's, so argparse must not see its options.
    if arguments and arguments[0] in _PROGRAMS:
        program = importlib.import_module(_PROGRAMS[arguments[0]][0])
        return int(program.main(arguments[1:]) or 0)
    parser = argparse.ArgumentParser(prog="spec-tests", description=main.__doc__)
    parser.add_argument("--version", action="version", version=_version())
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
    for name, (_, what) in _PROGRAMS.items():
        commands.add_parser(name, help=what)
    known, rest = parser.parse_known_args(arguments)
    if known.command == "run":
        return _run(known.impl, rest)
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    if known.command == "fuzz":
        return _fuzz(known)
    return _list(known.chapter)


def _version() -> str:
    return f"spec-tests {suite_version() or 'from its sources'}, specification {SPEC_VERSION}"


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
