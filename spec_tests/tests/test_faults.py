"""Implementations with one deliberate fault fail, by the clause that names the fault."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import every

FAULTS = every()
pytest.importorskip("impl_numpy", reason="the faults are made in impl_numpy")

# Of the tests of a clause that is not the fault's, one in so many is run.
OTHERS = 8
WRONG = """
import sys
import impl_numpy
from faults import apply

apply({name!r}, impl_numpy)
sys.modules[__name__] = impl_numpy
"""
CHOSEN = """
from collections import Counter

from spec_tests.judge.marks import clauses_of


def pytest_collection_modifyitems(items):
    seen = Counter()
    kept = []
    for item in items:
        numbers = clauses_of(item)
        if {clauses!r}.intersection(numbers) or any(seen[n] % {every} == 0 for n in numbers):
            kept.append(item)
        seen.update(numbers)
    items[:] = kept
"""


@pytest.fixture(scope="session")
def suite():
    """Return a function that runs files of the suite on a module, in a process of its own."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": str(here), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(here / "forking.py")]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def run(folder, module, files, *options):
            # Where nothing is drawn, importing hypothesis takes longer than many of the files do.
            arguments = ["-p", "no:hypothesispytest", "--pyargs"]
            arguments += [f"spec_tests.suite.{file}" for file in files]
            arguments += ["--impl", module, "--result", "result.json", "-q"]
            arguments += ["-p", "no:cacheprovider", "--tb=native", *options]
            print(json.dumps([str(folder), arguments]), file=process.stdin, flush=True)
            status = int(process.stdout.readline())
            result = folder / "result.json"
            assert result.is_file(), (folder / "output.txt").read_text(encoding="utf-8")
            return status, json.loads(result.read_text(encoding="utf-8"))["clauses"]

        yield run


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(suite, tmp_path, name):
    fault = FAULTS[name]
    (tmp_path / "wrong_impl.py").write_text(WRONG.format(name=name), encoding="utf-8")
    chosen = CHOSEN.format(clauses=set(fault.clauses), every=OTHERS)
    (tmp_path / "chosen.py").write_text(chosen, encoding="utf-8")
    status, clauses = suite(tmp_path, "wrong_impl", fault.files, "-p", "chosen")
    failed = [number for number, verdict in clauses.items() if verdict["status"] == "failed"]
    assert status == pytest.ExitCode.TESTS_FAILED
    assert set(fault.clauses) <= set(failed), f"only {failed} failed"
    # A fault in one place must not bring everything down: that would prove nothing.
    assert len(failed) < len(clauses), f"all of {failed} failed"


def test_without_a_fault_the_same_files_pass(suite, tmp_path):
    files = sorted({file for fault in FAULTS.values() for file in fault.files})
    status, clauses = suite(tmp_path, "impl_numpy", files, "--quick")
    assert {n: v["why"] for n, v in clauses.items() if v["status"] != "passed"} == {}
    assert status == pytest.ExitCode.OK


def test_there_are_enough_faults():
    assert len(FAULTS) >= 18
    chapters = {number.partition("-")[0] for fault in FAULTS.values() for number in fault.clauses}
    assert len(chapters) == 17
