"""Which tests of the suite ask for a clause or a function: a pytest plugin, and who runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def pytest_collection_finish(session: Any) -> None:
    """Write the tests, cases of one test together, by what they ask for."""
    from spec_tests.judge.marks import clauses_of, functions_of

    asked: dict[str, dict[str, int]] = {}
    for item in session.items:
        test = f"{item.path.stem}::{item.originalname}"
        for key in {*clauses_of(item), *functions_of(item)}:
            cases = asked.setdefault(key, {})
            cases[test] = cases.get(test, 0) + 1
    Path(os.environ["DOCS_COLLECTED"]).write_text(json.dumps(asked), encoding="utf-8")


def collect(implementation: str = "impl_numpy") -> dict[str, dict[str, int]]:
    """Return by clause and function the tests, as ``file::name``, with their numbers of cases."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "collected.json"
        places = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        found = {"DOCS_COLLECTED": str(path), "PYTHONPATH": os.pathsep.join(filter(None, places))}
        command = [sys.executable, "-m", "pytest", "--pyargs", "spec_tests.suite", "-q"]
        command += ["-p", "spec_tests.judge.plugin"] if "spec_tests" not in _plugins() else []
        command += ["--impl", implementation, "--collect-only", "-p", "collected"]
        command += ["-p", "no:cacheprovider"]
        environment = {**os.environ, **found}
        run = subprocess.run(
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        if not path.is_file():
            msg = f"the suite could not be collected: {run.stdout[-2000:]}{run.stderr[-2000:]}"
            raise RuntimeError(msg)
        return dict(json.loads(path.read_text(encoding="utf-8")))


def _plugins() -> set[str]:
    from importlib.metadata import entry_points

    return {point.value.partition(".")[0] for point in entry_points(group="pytest11")}
