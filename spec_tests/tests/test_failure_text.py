"""What is printed of a failure, and whether the script in it fails alike."""

import subprocess
import sys

import pytest

FAILING = """
import numpy as np
import pytest
from spec_tests import clause
from spec_tests.support.assertions import agrees, tensor

FACTORS = {"twice": lambda x: 2 * x, "thrice": lambda x: 3 * x}


def doubled(nn, dtype):
    return tensor(nn, np.arange(6.0).reshape(2, 3).astype(dtype) * 2)


@clause("demo-01")
def test_double(nn, dtype):
    y = doubled(nn, dtype)
    agrees(nn, y, np.arange(6.0).reshape(2, 3) * 3, "elementwise", call="double(x (2, 3))")


@pytest.fixture
def base():
    return 5


@pytest.mark.parametrize("shape", [(2, 3)])
@pytest.mark.parametrize("factor", FACTORS.values(), ids=FACTORS)
@clause("demo-01")
def test_table(nn, tmp_path, factor, shape, base):
    assert tmp_path.is_dir()
    assert shape == (2, 3)
    assert factor(base) == 10, "not ten"


@pytest.mark.parametrize(
    ("kind", "make"), [("plain", object), pytest.param("made", lambda: 7, id="made")]
)
@clause("demo-01")
def test_listed(nn, kind, make):
    assert make() == 8, kind


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
@clause("demo-01")
def test_not_finite(nn, shape, odd):
    assert odd == 1, "not finite"


@pytest.mark.parametrize(("factor", "name"), [(make, name) for name, make in FACTORS.items()])
@clause("demo-01")
def test_in_every_dtype(nn, dtype, factor, name):
    assert factor(5) == 10, f"{name} is not ten"


@pytest.fixture
def folder(monkeypatch, base):
    monkeypatch.setenv("DEMO", str(base))
    yield "open"
    monkeypatch.delenv("DEMO")


@clause("demo-01")
def test_of_a_fixture(nn, folder):
    import os

    assert os.environ["DEMO"] == "6", f"{folder} but not six"


@clause("demo-01")
def test_crash(nn):
    nn.no_such_name(1)
"""


def script(run):
    """Take the script out of what was printed: it starts at the import, ends at the call."""
    lines = run.stdout.str().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("import fake_impl as nn"))
    last = next(i for i, line in enumerate(lines) if i > first and line.startswith("test_"))
    return "\n".join(lines[first : last + 1])


def test_a_failure_says_all(judge):
    run = judge("-k", "double and float32", test_demo=FAILING)
    run.stdout.fnmatch_lines(
        [
            "demo-01 Sums are sums",
            "The sum of `x` is its sum.",
            "implementation: fake_impl",
            "double(x (2, 3)): got 10.0 but should be 15.0 at index (1, 2): * times the tolerance; "
            "5 of 6 elements disagree (class elementwise, float32)",
            "got *",
            "should be *",
            "call: agrees(nn, y, *",
            "with *y (2, 3) float32*",
            "to reproduce:",
        ]
    )
    run.stdout.fnmatch_lines(["FAILED test_demo.py::test_double* - *double(x (2, 3))*"])


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        ("double and float32", "got 10.0 but should be 15.0"),
        ("double and float64", "got 10.0 but should be 15.0"),
        ("table and thrice", "not ten"),
        ("listed and made", "made"),
        # Each NaN counts as a parameter of its own.
        ("not_finite and nan and shape1", "not finite"),
        ("every_dtype and float64 and thrice", "thrice is not ten"),
        ("fixture", "open but not six"),
        ("crash", "has no attribute 'no_such_name'"),
    ],
)
def test_the_script_fails_alike(judge, pytester, selection, reason):
    run = judge("-k", selection, test_demo=FAILING)
    run.assert_outcomes(failed=1)
    assert reason in run.stdout.str()
    text = script(run)
    assert "from spec_tests import clause" not in text
    alone = subprocess.run(
        [sys.executable, "-c", text], cwd=pytester.path, capture_output=True, text=True, check=False
    )
    assert alone.returncode == 1
    assert reason in alone.stderr
    assert "NameError" not in alone.stderr


def test_the_result_file_says_why(judge, pytester):
    judge("-k", "crash or (double and float32)", test_demo=FAILING)
    text = (pytester.path / "result.json").read_text(encoding="utf-8")
    assert "test_demo.py::test_crash: AttributeError: module 'fake_impl'" in text
    assert "test_demo.py::test_double[float32]: double(x (2, 3)): got 10.0" in text
