"""Calls that do not fit get an answer that says so; and the fuzzer can tell."""

import importlib.util
import os
import random
import subprocess
import sys
import types

import pytest

from spec_tests.fuzz import run, values
from spec_tests.fuzz.target import Target

IMPLEMENTATIONS = ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp")


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_calls_that_do_not_fit_say_so(name, tmp_path, pytestconfig):
    spec = importlib.util.find_spec(name)
    # A folder of that name in the working directory is found too, but has no origin.
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed here")
    option = pytestconfig.getoption
    calls = str(option("--fuzz-calls"))
    numbers = ["--calls", calls, "--seed", str(option("--fuzz-seed"))]
    program = "import sys; from spec_tests.cli import main; sys.exit(main())"
    made = subprocess.run(
        [sys.executable, "-c", program, "fuzz", "--impl", name, *numbers],
        capture_output=True,
        text=True,
        check=False,
        # Without a GPU impl_cupy imports only where emulation is asked for.
        env={**os.environ, "IMPL_CUPY_EMULATE": "1"},
        cwd=tmp_path,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert f"{name}: {calls} calls" in made.stdout


def raising(error):
    def operation(*arguments, **options):
        raise error

    return operation


def found(error, monkeypatch, says=("join",)):
    """Return the reasons for which calls of an operation that raises `error` are found."""
    target = Target("join", says, lambda: (raising(error), (1,), {}))
    nn = types.SimpleNamespace(is_grad_enabled=lambda: True)
    monkeypatch.setattr(run, "targets", lambda nn, folder: [target])
    monkeypatch.setattr(run, "pool", lambda nn: [lambda: "spoilt"])
    return [finding.reason for finding in run.fuzz(nn, 5)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TypeError("'int' object is not iterable"), "does not name the operation"),
        (ValueError("join: got\nseveral lines"), "more than one line"),
        (ZeroDivisionError("join: by zero"), "no documented kind"),
        (RecursionError("join: too deep"), "no documented kind"),
        (AssertionError("join"), "no documented kind"),
        (DeprecationWarning("join: an old name"), "no documented kind"),
    ],
)
def test_a_bad_answer_is_found_once(error, reason, monkeypatch):
    (only,) = found(error, monkeypatch)
    assert reason in only


@pytest.mark.parametrize(
    "error",
    [
        TypeError("join: arrays must be Tensors, got int"),
        KeyError("join: no parameter 'x'"),
        FileNotFoundError(2, "no such file: Join"),
        TypeError("_Base.__init__() missing 1 required positional argument: 'dim'"),
    ],
)
def test_a_good_answer_is_none(error, monkeypatch):
    assert found(error, monkeypatch) == []


def test_a_mode_left_behind_is_found(monkeypatch):
    modes = [True]
    target = Target("join", ("join",), lambda: (lambda *a, **k: modes.append(False), (1,), {}))
    nn = types.SimpleNamespace(
        is_grad_enabled=lambda: modes[-1], set_grad_enabled=lambda mode: modes.append(mode)
    )
    monkeypatch.setattr(run, "targets", lambda nn, folder: [target])
    monkeypatch.setattr(run, "pool", lambda nn: [lambda: 2])
    (only,) = run.fuzz(nn, 3)
    assert "recording" in only.reason


def test_the_same_seed_makes_the_same_calls():
    def spoilt(seed):
        draw = random.Random(seed)
        pool = [lambda: None, lambda: "a", lambda: [0]]
        return [values.spoil(draw, pool, (1, (2, 3)), {}, ("axis",)) for _ in range(50)]

    assert spoilt(3) == spoilt(3)
    assert spoilt(3) != spoilt(4)
    # The good call is among none, or nothing would be asked.
    assert all(call != ([1, (2, 3)], {}) for call in spoilt(3))


def test_a_name_that_no_operation_has(monkeypatch):
    monkeypatch.setattr(run, "targets", lambda nn, folder: [Target("join", ("join",), object)])
    with pytest.raises(ValueError, match="no operation has 'jion' in its name"):
        run.fuzz(types.SimpleNamespace(), 5, only="jion")
