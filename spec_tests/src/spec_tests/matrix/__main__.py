"""``spec-tests matrix FILE...``: one table of what several implementations do."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spec_tests.accuracy import merge as accuracy
from spec_tests.compare import reading as comparison
from spec_tests.judge.written import BENCHMARK
from spec_tests.matrix.merge import Matrix, merge, read
from spec_tests.matrix.text import as_dict, as_text

_EXAMPLES = """examples:
  spec-tests matrix report/clauses/*.json
  spec-tests matrix report/clauses/*.json --html report/matrix.html
  spec-tests matrix report/clauses/*.json --accuracy report/accuracy/*.json \\
      --training report/compare.json --memory report/bench.json --html report/matrix.html
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of the result files, or write it as a page.

    Returns
    -------
    int
        0 if all of the runs are complete and nothing in them failed, else 1; 2 where a file cannot
        be used.
    """
    options = _options(argv)
    try:
        results = [read(path) for path in options.file]
        matrix = merge(results)
        if options.html:
            _write(
                options.html,
                matrix,
                results,
                measured=[accuracy.read(path) for path in options.accuracy],
                training=comparison.read(options.training) if options.training else None,
                memory=BENCHMARK.read(options.memory) if options.memory else None,
            )
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(as_dict(matrix), indent=1, ensure_ascii=False))
    elif not options.html:
        print(as_text(matrix))
    return int(bool(matrix.faults()))


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="spec-tests matrix",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="+", type=Path, help="what --result wrote")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument(
        "--html",
        type=Path,
        metavar="PAGE",
        help="write one page that needs nothing else; takes spec-tests[compare]",
    )
    parser.add_argument(
        "--accuracy",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="what `spec-tests accuracy` wrote, for the page",
    )
    parser.add_argument(
        "--training",
        type=Path,
        metavar="FILE",
        help="compare.json of `nox -s compare`, for the page: loss curves, accuracy, time, memory",
    )
    parser.add_argument(
        "--memory",
        type=Path,
        metavar="FILE",
        help="bench.json of `nox -s bench`, for the page: memory over the length of a sequence",
    )
    options = parser.parse_args(argv)
    for name in ("accuracy", "training", "memory"):
        if getattr(options, name) and not options.html:
            parser.error(f"--{name} is for the page: --html PAGE")
    return options


def _write(path: Path, matrix: Matrix, results: Sequence[dict[str, Any]], **parts: Any) -> None:
    try:
        from spec_tests.matrix.page import as_page
    except ModuleNotFoundError as error:
        msg = f"--html needs {error.name}: pip install 'spec-tests[compare]'"
        raise ValueError(msg) from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_page(matrix, results, **parts), encoding="utf-8")
    except OSError as error:
        msg = f"{path}: cannot be written: {error.strerror}"
        raise ValueError(msg) from None
    print(f"{path}: {', '.join(matrix.runs)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
