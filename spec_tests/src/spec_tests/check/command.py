"""``spec-tests check TARGET``."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from spec_tests.check.properties import AGREEMENT, PROPERTIES
from spec_tests.check.report import as_json, text
from spec_tests.check.run import examine

_AGREE = "the backends give the same numbers"
_EXAMPLES = """
examples:
  spec-tests check cube.py:Cube
      inputs are looked for by Hypothesis, on every implementation that is installed
  spec-tests check cube.py:Cube --inputs "float64(N,3), float64(3)" --impl impl_numpy
      sizes with names may be anything; the same name is the same size
  spec-tests check mine.py:Log --inputs "float64(N) in [0.1, 2]"
      where the numbers lie
  spec-tests check mine.py:Pick --inputs "float64(4), int64(N) in [0, 3], const float64(N), axis=0"
      `const`: no gradient is wanted; name=value: configuration
  spec-tests check package.module:MyTorchFunction --inputs "float64(N)" --only second,linked
  spec-tests check jax_rules.py:safe_norm --inputs "float64(N)" --json report.json
  spec-tests check "examples/article/functions.py:define(nn).ReLUF" --inputs "float64(N,3)"
      `define(nn)` is called with each implementation, and returns what has the class

exit status: 0 right, 1 wrong, 2 could not be checked
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    names = "\n".join(f"  {p.name:<13} {p.asks}" for p in PROPERTIES)
    made = argparse.ArgumentParser(
        prog="spec-tests check",
        description="Check a Function of your own: derivatives, and manners in a program.",
        epilog=f"properties:\n{names}\n  {AGREEMENT:<13} {_AGREE}\n{_EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "target",
        metavar="TARGET",
        help="file.py:Class or package.module:Class: a portable class, a Function of an "
        "implementation, a torch.autograd.Function, or a JAX function with a derivative of its own",
    )
    made.add_argument("--inputs", metavar="WORDS", help="such as 'float64(N,3), float64(3)'")
    made.add_argument(
        "--impl", action="append", default=[], metavar="MODULE", help="run on it; may be repeated"
    )
    made.add_argument("--only", default="", metavar="NAMES", help="these properties, with commas")
    made.add_argument("--skip", default="", metavar="NAMES", help="all but these properties")
    made.add_argument("--batch", default="", metavar="NAME", help="this size counts examples")
    made.add_argument("--seed", type=int, default=0, metavar="N", help="decides the numbers")
    made.add_argument(
        "--json", metavar="FILE", help="write the report there; - for standard output"
    )
    made.add_argument(
        "--notes", action="store_true", help="print what was found for all properties"
    )
    made.add_argument("--no-scripts", action="store_true", help="leave out the failing examples")
    return made


def main(argv: Sequence[str]) -> int:
    """Check what the command line names; return the exit status."""
    options = parser().parse_args(list(argv))
    impl = [name for names in options.impl for name in names.split(",") if name]
    try:
        report = examine(
            options.target,
            options.inputs,
            impl=impl,
            only=options.only,
            skip=options.skip,
            batch=options.batch,
            seed=options.seed,
        )
    except ValueError as error:
        print(f"spec-tests check: {error}", file=sys.stderr)
        return 2
    if options.json == "-":
        print(json.dumps(as_json(report), indent=2))
        return report.status
    if options.json:
        Path(options.json).write_text(
            json.dumps(as_json(report), indent=2) + "\n", encoding="utf-8"
        )
    print(text(report, scripts=not options.no_scripts, notes=options.notes))
    return report.status
