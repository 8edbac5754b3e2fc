"""A function that is wrong in one way fails its own verdict, by the clause of that way."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("impl_numpy", reason="the faults are made in impl_numpy")

SINE = """
import sys
import impl_numpy as nn

ops, right, cosine = nn.ops, nn.ops.sin, nn.ops.cos


class Sine(nn.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.sin(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * {slope}


def sin({parameters}):
    return {value}


ops.sin = sin
if {missing}:
    del ops.sin
sys.modules[__name__] = nn
"""
RIGHT = {"parameters": "x, /", "value": "right(x)", "slope": "1", "missing": False}
APPLIED = "Sine.apply(x) if isinstance(x, nn.Tensor) and x.requires_grad else right(x)"
FAULTS = {
    "signature": ({"parameters": "x"}, {"ops-13"}),
    "value": ({"value": "right(x) * 1.0001"}, {"ops-02"}),
    "gradient": ({"value": APPLIED, "slope": "ctx.xp.cos(x) * 1.0001"}, {"ops-03"}),
    # The slope's own derivative is cut off.
    "second derivative": (
        {"value": APPLIED, "slope": "(cosine(nn.as_constant(x)))"},
        {"autograd-13"},
    ),
    "nothing there": ({"missing": True}, {"ops-01", "ops-02", "ops-03"}),
}


def run(directory, changes):
    source = SINE.format(**{**RIGHT, **changes})
    source = source.replace("nn.as_constant(x)", "x.detach() if isinstance(x, nn.Tensor) else x")
    (directory / "wrong_impl.py").write_text(source, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "--pyargs", "spec_tests.suite.test_ops_rows"]
    command += [
        "--impl",
        "wrong_impl",
        "--result",
        "result.json",
        "-q",
        "-k",
        "(sin- or cos- or sin] or cos]) and not asin and not acos and not isin",
    ]
    command += ["-p", "no:cacheprovider"]
    paths = os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    result = Path(directory / "result.json")
    assert result.is_file(), done.stdout + done.stderr
    return done.stdout, json.loads(result.read_text(encoding="utf-8"))


def failing(verdicts):
    return {key for key, verdict in verdicts.items() if verdict["status"] == "failed"}


@pytest.mark.parametrize("name", FAULTS)
def test_one_function_fails(tmp_path, name):
    changes, clauses = FAULTS[name]
    output, result = run(tmp_path, changes)
    assert failing(result["functions"]) == {"ops.sin"}, output
    assert result["functions"]["ops.cos"]["status"] == "passed"
    assert clauses <= failing(result["clauses"]), output
    assert "functions: 1 passed, 1 failed, 0 unsupported" in output
    assert "functions that fail: ops.sin" in output


def test_a_right_function_passes(tmp_path):
    output, result = run(tmp_path, {})
    assert failing(result["functions"]) == set(), output
    assert set(result["functions"]) == {"ops.sin", "ops.cos"}
    verdict = result["functions"]["ops.sin"]
    assert verdict["status"] == "passed"
    assert "test_ops_rows.py::test_values[sin-float32]" in verdict["tests"]


def test_a_row_without_a_test_fails_a_full_run(judge, pytester):
    columns = "| optimizer | step | source | clauses |"
    table = f"{columns}\n| --- | --- | --- | --- |\n| `Plain(params)` | p - g | a page | - |\n"
    (pytester.path / "spec" / "optim.md").write_text(f"# optim\n\n{table}", encoding="utf-8")
    source = """
        from spec_tests import clause

        @clause("demo-01")
        def test_first(nn):
            pass

        @clause("demo-02")
        def test_second(nn):
            pass
        """
    ran = judge(test_demo=source)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["*functions without a test*", "optim.Plain"])
    result = json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))
    assert result["functions"]["optim.Plain"]["why"] == "no test asks for this function"
