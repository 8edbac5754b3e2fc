"""An implementation that lacks every capability: what needs one is unsupported, never passed."""

import json
import os
import subprocess
import sys

import pytest

from spec_tests.judge import clauses

pytest.importorskip("impl_numpy", reason="the capabilities are taken from impl_numpy")

BARE = """
import sys
import impl_numpy

lacking = dict.fromkeys(impl_numpy.spec_capabilities(), False)


def spec_capabilities():
    return lacking


def refusing(name):
    def function(x, /):
        raise TypeError(f"{name}: there are no complex dtypes, got {type(x).__name__}")

    # As they are pickled (module-16).
    function.__module__, function.__qualname__ = impl_numpy.ops.linalg.__name__, name
    return function


impl_numpy.spec_capabilities = spec_capabilities
# Whose results are complex also of real matrices (linalg-04).
for name in ("eig", "eigvals"):
    setattr(impl_numpy.ops.linalg, name, refusing(name))
sys.modules[__name__] = impl_numpy
"""
# Tests of clauses without a capability, for which the clause alone would not say enough.
HALVES = (
    "test_the_namespace_of_tensors_has_the_standard_names",
    "test_composite",
    "test_composite_of_several_outputs",
    "test_once_differentiable_refuses_a_second_time",
    "test_gradients_of_a_pulled_cotangent",
)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    (folder / "bare_impl.py").write_text(BARE, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--pyargs", "spec_tests.suite", "-q"]
    command += ["--impl", "bare_impl", "--result", "result.json", "-p", "no:cacheprovider"]
    # Each test is asked, if not with each of its cases.
    command += ["--quick"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_nothing_fails(bare):
    assert bare["complete"] is True
    assert bare["counts"]["failed"] == 0


def test_clauses_of_a_capability_are_unsupported(bare):
    statuses = {number: verdict["status"] for number, verdict in bare["clauses"].items()}
    marked = [number for number, clause in clauses.read().items() if clause.capability]
    assert marked
    assert {statuses[number] for number in marked} == {"unsupported"}
    left_out = {skip["test"] for skip in bare["skips"] if skip["outcome"] == "unsupported"}
    asked = {test for number in marked for test in bare["clauses"][number]["tests"]}
    assert asked <= left_out


def test_so_are_the_halves_of_other_clauses(bare):
    left_out = {skip["test"].partition("::")[2].partition("[")[0] for skip in bare["skips"]}
    assert set(HALVES) <= left_out


def test_nothing_is_left_out_but_for_a_capability(bare):
    assert {skip["outcome"] for skip in bare["skips"]} == {"unsupported"}
