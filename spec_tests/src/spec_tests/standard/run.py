"""One run of the public suite, in this environment, on one implementation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spec_tests.standard import VERSION

__all__ = ["MAX_EXAMPLES", "check_suite", "lacking_dtypes", "run", "version_of"]

SOURCE = "https://github.com/data-apis/array-api-tests"
MAX_EXAMPLES = 20
# Of an array this many elements at most: what goes wrong goes wrong in few.
MAX_ARRAY_SIZE = "64"
_OPTIONS = (
    *("-q", "--tb=short", "--disable-warnings", "-p", "no:cacheprovider"),
    *("-p", "spec_tests.standard.settings"),
    # The same examples in every run, and no verdict that depends on the machine's speed.
    *("--derandomize", "--disable-deadline", f"--max-examples={MAX_EXAMPLES}"),
)
# The dtypes that an implementation may say it lacks (tensor-37), by capability.
_DTYPES = {
    "complex": ("complex64", "complex128"),
    "wide_unsigned": ("uint16", "uint32", "uint64"),
}
_OMITTED = ("log", "traceback", "streams", "warnings", "keywords")


def check_suite(folder: Path) -> None:
    """Raise unless a folder holds the suite and, in it, the standard that it is made from.

    Raises
    ------
    FileNotFoundError
        It says what is missing and how to get it.
    """
    wanted = ("array_api_tests", "conftest.py", f"array-api/spec/{VERSION}")
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        msg = (
            f"{folder}: has no {', '.join(missing)}; the suite is a clone with its submodule: "
            f"git clone --recurse-submodules {SOURCE} {folder}"
        )
        raise FileNotFoundError(msg)


def version_of(folder: Path) -> str:
    """Return what git calls the state of the clone, or ``unknown`` where it is none."""
    command = ["git", "-C", str(folder), "describe", "--always", "--tags", "--dirty"]
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return made.stdout.strip() or "unknown"


def lacking_dtypes(capabilities: Mapping[str, bool]) -> list[str]:
    """Return the dtypes that are not asked for, as the implementation says that it lacks them."""
    return [
        dtype
        for capability, dtypes in _DTYPES.items()
        if not capabilities.get(capability, True)
        for dtype in dtypes
    ]


def run(
    folder: Path,
    implementation: str,
    options: Sequence[str] = (),
    without: Sequence[str] = (),
) -> dict[str, Any]:
    """Run the suite on ``implementation.ops`` and return the report of pytest-json-report.

    Where pytest could not begin there is one failure in the report, of the suite's ``conftest.py``.

    Parameters
    ----------
    folder : Path
        The clone of the suite.
    implementation : str
        The importable name.
    options : sequence of str, optional
        For pytest. Files of the suite among them are run instead of all.
    without : sequence of str, optional
        Dtypes that the suite does not ask for.
    """
    check_suite(folder)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "report.json"
        targets = [] if any(".py" in option for option in options) else ["array_api_tests"]
        report = ("--json-report", f"--json-report-file={path}")
        omitted = ("--json-report-omit", *_OMITTED)
        command = [sys.executable, "-m", "pytest", *targets, *_OPTIONS, *report, *options, *omitted]
        made = subprocess.run(
            command,
            cwd=folder,
            env=_environment(implementation, scratch, without),
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        sys.stderr.write(made.stderr)
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not content.get("tests") and not content.get("collectors"):
        why = made.stderr or f"pytest ended with {made.returncode}"
        return {"collectors": [{"nodeid": "conftest.py", "outcome": "failed", "longrepr": why}]}
    return dict(content)


def _environment(implementation: str, scratch: str, without: Sequence[str]) -> Mapping[str, str]:
    """Return the variables of the run: nothing is written into the user's folder."""
    return {
        "ARRAY_API_TESTS_MAX_ARRAY_SIZE": MAX_ARRAY_SIZE,
        **os.environ,
        "ARRAY_API_TESTS_MODULE": f"{implementation}.ops",
        "ARRAY_API_TESTS_SKIP_DTYPES": ",".join(without),
        "ARRAY_API_TESTS_VERSION": VERSION,
        "HYPOTHESIS_STORAGE_DIRECTORY": scratch,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
