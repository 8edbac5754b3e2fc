"""Change implementations and see whether the suite alone finds it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from spec_tests.mutation import kept, score
from spec_tests.mutation.mutants import ROOMS
from spec_tests.mutation.run import Options, run

__all__ = ["main"]

EXAMPLES = """
examples:
  spec-tests mutation impl_numpy --sample 100
      100 mutants of the package in this environment
  spec-tests mutation impl_numpy=.nox/numpy/bin/python impl_jax_vjp=.nox/jax_vjp/bin/python
      460 mutants of each, in environments of their own, which need spec_tests and coverage
  spec-tests mutation impl_numpy --sample 100 --again
      the survivors once more, after tests were added
  spec-tests mutation impl_cupy --kind cuda --sample 100
      its kernels
  spec-tests mutation impl_torch_ext --kind cpp --sample 40
      its extension, a build for each
  spec-tests mutation impl_jax_vjp --rooms ops --sample 20 -- -k "ops or linalg"
      only these tests; what stands behind -- goes to pytest
The same command goes on where it was interrupted; a larger sample begins with the smaller one.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status.

    It is 0 when every sample was finished and reaches ``--at-least``, 1 when not, 2 when something
    could not be begun, 130 after Ctrl-C.
    """
    known, rest = _parser().parse_known_args(arguments)
    if rest and rest[0] != "--":
        print(f"mutation: unknown arguments: {' '.join(rest)}", file=sys.stderr)
        return 2
    contents = []
    try:
        for target in known.impl:
            name, _, python = target.partition("=")
            contents.append(run(name, python or sys.executable, _options(known, rest[1:])))
    except KeyboardInterrupt:
        print("\ninterrupted: what is finished is kept, the same command goes on", file=sys.stderr)
        return 130
    except (ModuleNotFoundError, RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    for content in contents:
        text = score.survivors(content)
        (known.out / f"{content['implementation']}.txt").write_text(text + "\n", encoding="utf-8")
        if text and not known.brief:
            print(f"{content['implementation']}, survivors:\n{text}\n")
    table = score.table(contents)
    (known.out / "scores.txt").write_text(table + "\n", encoding="utf-8")
    print(table)
    shares = [one["score"] for content in contents for one in content["scores"].values()]
    low = any(share is not None and share < known.at_least / 100 for share in shares)
    return int(low or not all(content["complete"] for content in contents))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="spec-tests mutation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "impl", nargs="+", metavar="MODULE[=PYTHON]", help="what to change, and its interpreter"
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("report/mutation"), help="the folder of results")
    add("--sample", type=int, default=460, metavar="N", help="mutants of each kind (460)")
    add("--seed", type=int, default=1, metavar="N", help="decides the mutants (1)")
    add(
        "--kind",
        nargs="+",
        choices=("python", "cuda", "cpp"),
        default=["python"],
        help="of which files",
    )
    add("--project", type=Path, metavar="FOLDER", help="with setup.py, of `--kind cpp`")
    add("--rooms", nargs="+", default=ROOMS, metavar="ROOM", help="of which rooms, or `all`")
    add("--processes", type=int, default=1, metavar="N", help="how many run at once (1)")
    add("--seconds", type=float, default=30.0, metavar="S", help="of tests for a mutant (30)")
    add("--minutes", type=float, default=0.0, metavar="M", help="stop after these")
    add("--again", action="store_true", help="ask earlier survivors again")
    add("--quick", action="store_true", help="the suite's --quick, for what compiles")
    add("--tests", type=Path, metavar="FOLDER", help="tests to ask instead of the suite")
    add("--at-least", type=float, default=0.0, metavar="PERCENT", help="exit with 1 below")
    add("--brief", action="store_true", help="print no survivors")
    add("--list", type=Path, default=kept.LIST, help="the equivalent mutants")
    return parser


def _options(known: argparse.Namespace, rest: Sequence[str]) -> Options:
    tests = [f"--tests={known.tests.resolve()}"] if known.tests else []
    return Options(
        out=known.out,
        sample=known.sample,
        seed=known.seed,
        project=known.project and known.project.resolve(),
        kinds=tuple(known.kind),
        rooms=tuple(known.rooms),
        processes=known.processes,
        seconds=known.seconds,
        minutes=known.minutes,
        again=known.again,
        suite=(*tests, *(["--quick"] if known.quick else []), *rest),
        list=known.list,
    )


if __name__ == "__main__":
    sys.exit(main())
