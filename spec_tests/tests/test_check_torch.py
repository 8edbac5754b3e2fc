"""`check` on torch's own Functions, those of public reports among them."""

import subprocess
import sys

import pytest

from spec_tests.check import examine

pytest.importorskip("torch", reason="the Functions are torch's")

from checked import torch_functions

# Refusing a second derivative is what the reports' authors chose.
MENDED = ("Report4175Mended", "ReportMlstm16Mended", "OnceDifferentiable")


@pytest.mark.parametrize("name", torch_functions.WRONG)
def test_a_wrong_function_is_rejected_by_its_property(name):
    function, inputs, prop = torch_functions.WRONG[name]
    report = examine(function, inputs, only=f"{prop},second")
    assert prop in report.failed
    script = report.verdicts["torch"][prop].script
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, script + done.stdout + done.stderr
    assert "AssertionError" in done.stderr, script + done.stderr


@pytest.mark.parametrize("name", torch_functions.RIGHT)
def test_a_right_function_is_accepted(name):
    function, inputs = torch_functions.RIGHT[name]
    # A loop over time in Python takes its time; the formulas are asked for at few sizes.
    report = examine(function, inputs, skip="blocks,leaks" if "Mlstm" in name else "")
    assert report.failed == []
    if name in MENDED:
        assert report.verdicts["torch"]["second"].says == "marked once_differentiable"


@pytest.mark.parametrize("name", ["Report104040", "Report58509", "Report4175"])
def test_what_counts_as_constant_is_named(name):
    function, inputs, _ = torch_functions.WRONG[name]
    report = examine(function, inputs, only="first,second,linked")
    says = report.verdicts["torch"]["linked"].says
    assert "for constant" in says
    assert ("ctx.inner" if name == "Report58509" else "saved_tensors[") in says
    assert report.verdicts["torch"]["first"].state == "passed"
