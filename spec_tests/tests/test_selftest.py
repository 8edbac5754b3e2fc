"""``spec-tests selftest``: right and wrong implementations, and those that die."""

import json
import subprocess
import sys

import pytest

from spec_tests.selftest.machine import precision_of_products
from spec_tests.selftest.subjects import subjects

pytest.importorskip("impl_numpy", reason="a right implementation is wanted, and it is changed")
SCRIPT = "import sys; from spec_tests.cli import main; sys.exit(main())"
WRONG = """
import impl_numpy
from impl_numpy import *
from impl_numpy import spec_capabilities

class ops:
    def __getattr__(self, name):
        function = getattr(impl_numpy.ops, name)
        return (lambda x: function(x) * (1 + 1e-5)) if name == "tanh" else function

ops = ops()
"""


def selftest(folder, *options):
    command = [sys.executable, "-c", SCRIPT, "selftest", *options, "--json", "out.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    path = folder / "out.json"
    return done, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def test_a_right_implementation(tmp_path):
    done, content = selftest(tmp_path, "--impl", "impl_numpy", "--only", "STM")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = content["implementations"]
    assert found["right"] is True
    assert {o["dtype"] for o in found["outcomes"]} == {"float32", "float64"}
    assert all(0 < outcome["ratio"] < 1 for outcome in found["outcomes"])
    assert found["outcomes"][0]["kernel"] == "LSTMFunction"
    about = found["about"]
    assert about["device"] == "CPU"
    assert about["versions"]["numpy"]
    assert about["threads"]["usable"] >= 1
    assert about["instruction_set"]
    assert about["matmul_precision"]["measured"]["kind"] == "float32"
    for word in ("versions", "processor", "threads", "products", "right on this machine: 2 checks"):
        assert word in done.stdout


def test_a_wrong_function_is_named(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done, content = selftest(tmp_path, "--impl", "wrong", "--only", "ops.tanh")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "WRONG ops.tanh float32: tanh(" in done.stdout
    assert "NOT RIGHT on this machine" in done.stdout
    assert content["implementations"][0]["outcomes"][0]["ratio"] > 1


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (f"{WRONG}\ndef manual_seed(seed):\n    __import__('os')._exit(3)", "died after its start"),
    ],
)
def test_what_cannot_be_checked_is_not_right(tmp_path, source, why):
    (tmp_path / "broken.py").write_text(source)
    done, content = selftest(tmp_path, "--impl", "broken", "--only", "ops.tanh")
    assert done.returncode == 2
    assert content["implementations"][0]["right"] is False
    assert why in content["implementations"][0]["cannot"]


def test_one_that_is_not_right_decides(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0")
    names = ("--impl", "broken", "--impl", "impl_numpy")
    done, _ = selftest(tmp_path, *names, "--only", "ops.tanh")
    assert done.returncode == 1
    assert "broken CANNOT BE CHECKED" in done.stdout


def test_nothing_to_compute_is_no_pass(tmp_path):
    done, _ = selftest(tmp_path, "--impl", "impl_numpy", "--only", "no such thing")
    assert done.returncode == 2
    assert "nothing was computed" in done.stderr


def test_what_there_was_no_time_for_is_told(tmp_path):
    options = ("--impl", "impl_numpy", "--only", "ops.tan", "--seconds", "0")
    done, content = selftest(tmp_path, *options)
    assert done.returncode == 2
    assert "NO TIME for 2 more" in done.stdout
    assert {o["status"] for o in content["implementations"][0]["outcomes"]} == {"left out"}


def test_every_layer_loss_and_function_of_the_tables_is_computed():
    groups = {}
    for subject in subjects():
        groups.setdefault(subject.group, set()).add(subject.key)
    assert groups["recurrent"] == {"nn.RNN_tanh", "nn.RNN_relu", "nn.LSTM", "nn.GRU"}
    assert {"nn.Linear", "nn.MultiheadAttention", "nn.Conv2d"} <= groups["layers"]
    assert {"loss.cross_entropy", "loss.ctc_loss"} <= groups["losses"]
    assert {"ops.linear_recurrence", "ops.matmul", "linalg.svd"} <= groups["functions"]


@pytest.mark.parametrize(("bits", "kind"), [(23, "float32"), (10, "TF32"), (7, "bfloat16")])
def test_the_precision_of_products_is_measured(bits, kind):
    import numpy as np

    import impl_numpy as nn

    class Rounded:
        tensor = staticmethod(nn.tensor)

        class ops:
            @staticmethod
            def matmul(a, b):
                def short(x):
                    whole, power = np.frexp(x.numpy())
                    return np.ldexp(np.round(whole * 2.0 ** (bits + 1)) / 2.0 ** (bits + 1), power)

                return nn.ops.matmul(nn.tensor(short(a)), nn.tensor(short(b)))

    assert precision_of_products(Rounded)["kind"].startswith(kind)
