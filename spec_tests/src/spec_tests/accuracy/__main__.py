"""``spec-tests accuracy --impl MODULE --out FILE``: how far one implementation is from float64."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spec_tests.accuracy.measure import measured
from spec_tests.judge.written import ACCURACY
from spec_tests.selftest.machine import about

__all__ = ["main"]

_EXAMPLES = """examples:
  spec-tests accuracy --impl impl_numpy --out report/accuracy/impl_numpy.json
  spec-tests matrix report/clauses/*.json --accuracy report/accuracy/*.json \\
      --html report/matrix.html
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure an implementation and print its least accurate functions.

    Returns
    -------
    int
        0, or 2 where nothing could be measured or written.
    """
    parser = argparse.ArgumentParser(
        prog="spec-tests accuracy",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--impl", required=True, metavar="MODULE", help="its importable name")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--only", default="", metavar="TEXT", help="functions with this in the key")
    known = parser.parse_args(argv)
    started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    try:
        nn = importlib.import_module(known.impl)
    except ImportError as error:
        print(f"accuracy: {known.impl} cannot be imported: {error}", file=sys.stderr)
        return 2
    found = measured(nn, known.only)
    if not found["functions"]:
        print(f"accuracy: no function has {known.only!r} in its key", file=sys.stderr)
        return 2
    content = {
        **ACCURACY.head(),
        "implementation": known.impl,
        "about": about(known.impl, nn),
        "started": started,
        "command": ["spec-tests", "accuracy", *(sys.argv[1:] if argv is None else argv)],
        **found,
    }
    print("\n".join(_lines(content)))
    if known.out:
        try:
            known.out.parent.mkdir(parents=True, exist_ok=True)
            known.out.write_text(json.dumps(content) + "\n", encoding="utf-8")
        except OSError as error:
            print(f"{known.out}: cannot be written: {error.strerror}", file=sys.stderr)
            return 2
    return 0


def _lines(content: dict[str, Any]) -> list[str]:
    """Return what a terminal shows: the ten functions with the largest errors, then the layers."""
    functions = {key: one for key, one in content["functions"].items() if "ulp" in one}
    worst = sorted(functions, key=lambda key: -functions[key]["ulp"][1])[:10]
    lines = [f"{content['implementation']} on {content['about']['device']}, float32"]
    lines += [f"{'':24} {'median':>9} {'99.9%':>9} {'largest':>9}  units in the last place"]
    lines += [
        f"{key:24} {one[0]:9.2f} {one[1]:9.2f} {one[2]:9.2f}"
        for key, one in ((key, functions[key]["ulp"]) for key in worst)
    ]
    lines += [f"and {len(functions) - len(worst)} functions with smaller ones"]
    for name, rows in content["lengths"].items():
        for what, errors in rows.items():
            told = ", ".join(f"{error:g}" for error in errors)
            lines.append(f"{name} {what}, over {content['steps']} steps: {told} eps")
    missed = [key for key, one in content["functions"].items() if "why" in one]
    lines += [f"{key}: {content['functions'][key]['why']}" for key in missed]
    return lines


if __name__ == "__main__":
    sys.exit(main())
