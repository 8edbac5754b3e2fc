"""Check the installed implementations on this machine, each in a process of its own.

``spec-tests selftest [--impl MODULE ...] [--only TEXT] [--seconds N] [--json FILE] [--verbose]``
computes every layer, loss, optimizer and function of the tables that an implementation has, with
gradients, holds it to float64 by the tolerances of the chapter numerics, and names the device, the
instruction set, the precision of products, the threads and the versions. The exit status is 0 where
all is right, 1 where something is not, 2 where there is nothing to check.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from spec_tests.selftest.report import COMPUTED, about_lines, group_lines, verdict_line

__all__ = ["installed", "main"]

# The entry points by which a distribution says that it has an implementation.
GROUP = "spec_tests.implementations"
_OURS = ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp")


def installed() -> list[str]:
    """Return the importable names of the implementations in this environment."""
    others = sorted(point.value for point in entry_points(group=GROUP))
    names = [*(name for name in _OURS if importlib.util.find_spec(name)), *others]
    return list(dict.fromkeys(names))


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="spec-tests selftest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--impl", action="append", metavar="MODULE", help="only these")
    parser.add_argument("--only", default="", metavar="TEXT", help="what has this in its name")
    parser.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        metavar="N",
        help="begin nothing after so many for each implementation; what is fused comes first, and "
        "inf is for all (default: 30, which is too little only where much must be compiled)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to FILE")
    parser.add_argument("--verbose", action="store_true", help="a line for each thing computed")
    known = parser.parse_args(arguments)
    names = known.impl or installed()
    if not names:
        print("no implementation is installed here; name one with --impl", file=sys.stderr)
        return 2
    results = [_check(name, known) for name in names]
    if known.json:
        text = json.dumps({"format": 1, "implementations": results}, indent=1)
        known.json.write_text(text + "\n", encoding="utf-8")
    computed = [o for result in results for o in result["outcomes"] if o["status"] in COMPUTED]
    if not computed:
        print("nothing was computed", file=sys.stderr)
        return 2
    return 0 if all(result["right"] for result in results) else 1


def _check(name: str, known: argparse.Namespace) -> dict[str, Any]:
    """Run one implementation and show what comes; return its part of the JSON file."""
    start = time.perf_counter()
    result: dict[str, Any] = {"implementation": name, "about": {}, "outcomes": [], "cannot": ""}
    ended = False
    for line in _lines(name, known.only, known.seconds):
        ended = ended or "end" in line
        if "about" in line:
            result["about"] = line["about"]
            print("\n".join(about_lines(name, line["about"])), flush=True)
        elif "status" in line:
            result["outcomes"].append(line)
            if line["status"] in ("wrong", "raised"):
                print(f"  {line['status'].upper()} {line['key']} {line['dtype']}: {line['why']}")
        elif "cannot" in line:
            result["cannot"] = line["cannot"]
    if not ended and not result["cannot"]:
        done = [outcome["key"] for outcome in result["outcomes"]]
        result["cannot"] = f"the process died after {done[-1] if done else 'its start'}"
    result["seconds"] = round(time.perf_counter() - start, 1)
    bad = [outcome for outcome in result["outcomes"] if outcome["status"] in ("wrong", "raised")]
    result["right"] = not bad and not result["cannot"]
    print("\n".join([*group_lines(result["outcomes"], known.verbose), verdict_line(result), ""]))
    return result


def _lines(name: str, only: str, seconds: float) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "spec_tests.selftest.worker", name, only, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
