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

WRONG = """
import sys
import impl_numpy
from faults import apply

apply({name!r}, impl_numpy)
sys.modules[__name__] = impl_numpy
"""


def run(directory, module, files):
    command = [sys.executable, "-m", "pytest", "--pyargs"]
    command += [f"spec_tests.suite.{file}" for file in files]
    command += ["--impl", module, "--result", "result.json", "-q", "-p", "no:cacheprovider"]
    places = os.pathsep.join([str(directory), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    result = directory / "result.json"
    assert result.is_file(), done.stdout + done.stderr
    return done, json.loads(result.read_text(encoding="utf-8"))["clauses"]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(tmp_path, name):
    fault = FAULTS[name]
    (tmp_path / "wrong_impl.py").write_text(WRONG.format(name=name), encoding="utf-8")
    done, clauses = run(tmp_path, "wrong_impl", fault.files)
    failed = [number for number, verdict in clauses.items() if verdict["status"] == "failed"]
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert set(fault.clauses) <= set(failed), f"only {failed} failed"
    # A fault in one place must not bring everything down: that would prove nothing.
    assert len(failed) < len(clauses), f"all of {failed} failed"


def test_without_a_fault_the_same_files_pass(tmp_path):
    files = sorted({file for fault in FAULTS.values() for file in fault.files})
    done, clauses = run(tmp_path, "impl_numpy", files)
    assert {n: v["why"] for n, v in clauses.items() if v["status"] != "passed"} == {}
    assert done.returncode == 0


def test_there_are_enough_faults():
    assert len(FAULTS) >= 18
    chapters = {number.partition("-")[0] for fault in FAULTS.values() for number in fault.clauses}
    assert len(chapters) == 17
