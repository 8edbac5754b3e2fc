"""One implementation in a process of its own: what it gave for every subject."""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from spec_tests.judge import expectations, tables
from spec_tests.judge.clauses import read
from spec_tests.selftest.machine import about
from spec_tests.selftest.subjects import Subject, subjects
from spec_tests.support import assertions

__all__ = ["outcomes"]


def outcomes(
    name: str, nn: Any, only: str = "", seconds: float = math.inf
) -> Iterator[dict[str, Any]]:
    """Yield ``{key, group, dtype, status, ratio, kernel, why, seconds}`` of every subject.

    Parameters
    ----------
    name : str
        The implementation's importable name.
    nn : module
        The implementation.
    only : str
        What the keys of the subjects have in them.
    seconds : float
        No subject is begun after so many.

    Yields
    ------
    dict
        `status` is ``right``, ``wrong``, ``raised``, ``unsupported``, ``xfailed`` or ``left out``
        (there was no time for it); `ratio` the largest error in units of the tolerance.
    """
    listed = expectations.find(nn)
    listed.check_names(list(read()), list(tables.read()))
    until = time.perf_counter() + seconds
    wide = bool(nn.spec_capabilities().get("float64"))
    for subject in subjects():
        if only not in subject.key:
            continue
        lacks = listed.of("unsupported", "", (), [subject.key])
        if lacks or subject.missing(nn):
            why = lacks.reason if lacks else f"{name} has no {subject.key}"
            yield _outcome(subject, "", "unsupported", why=why)
            continue
        if time.perf_counter() > until:
            yield _outcome(subject, "", "left out")
            continue
        kernel = _kernel(nn, subject)
        # Functions of single arrays are those of the suite in either dtype; one tells the machine.
        dtypes = ["float32"] if subject.group == "functions" or not wide else ["float32", "float64"]
        for dtype in dtypes:
            found = _run(nn, subject, dtype, kernel)
            if found["status"] != "right" and listed.of("xfail", "", (), [subject.key]):
                found["status"] = "xfailed"
            yield found


def _run(nn: Any, subject: Subject, dtype: str, kernel: str) -> dict[str, Any]:
    assertions.expect_dtype(dtype)
    assertions.forget_ratios()
    nn.manual_seed(0)
    start = time.perf_counter()
    status, why, ratio = "right", "", 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            subject.run(nn, dtype)
    except AssertionError as error:
        status, why, ratio = "wrong", str(error), getattr(error, "ratio", 0.0)
        ratio = ratio if math.isfinite(ratio) else 0.0
    except Exception as error:  # whatever a foreign implementation raises
        status, why = "raised", f"{type(error).__name__}: {' '.join(str(error).split())}"
    ratios = [ratio, *(x for row in assertions.largest_ratios().values() for x in row.values())]
    seconds = round(time.perf_counter() - start, 4)
    return _outcome(subject, dtype, status, max(ratios), kernel, why, seconds)


def _outcome(
    subject: Subject,
    dtype: str,
    status: str,
    ratio: float = 0.0,
    kernel: str = "",
    why: str = "",
    seconds: float = 0.0,
) -> dict[str, Any]:
    return {
        "key": subject.key,
        "group": subject.group,
        "dtype": dtype,
        "status": status,
        "ratio": ratio,
        "kernel": kernel,
        "why": why,
        "seconds": seconds,
    }


def _kernel(nn: Any, subject: Subject) -> str:
    """Return what runs forward, in the implementation's own words (module-30); "" if unknown."""
    if subject.call is None or not hasattr(nn, "explain"):
        return ""
    try:
        module, positional, options = subject.call(nn)
        return str(nn.explain(module, *positional, **options).rows[0].kernel)
    except Exception:  # the run itself will tell what is wrong
        return ""


def main(arguments: Sequence[str], out: TextIO) -> int:
    """Write a line of JSON on the machine, and one on each subject."""
    name, only, seconds = arguments
    try:
        nn = importlib.import_module(name)
    except Exception as error:  # one line for the user, whatever it is
        why = f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(json.dumps({"implementation": name, "cannot": why}), file=out, flush=True)
        return 1
    print(json.dumps({"implementation": name, "about": about(name, nn)}), file=out, flush=True)
    for outcome in outcomes(name, nn, only, float(seconds)):
        print(json.dumps(outcome), file=out, flush=True)
    print(json.dumps({"end": True}), file=out, flush=True)
    return 0


if __name__ == "__main__":
    # What a backend prints must not come between the lines.
    lines, sys.stdout = sys.stdout, sys.stderr
    sys.exit(main(sys.argv[1:], lines))
