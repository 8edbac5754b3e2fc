"""The comparison from end to end, on a cut-down job, in the interpreter that runs these tests."""

import json
import os
import sys

import numpy as np
import pytest

from spec_tests.compare.__main__ import main
from spec_tests.compare.tasks import Task, run
from spec_tests.compare.workloads import WORKLOADS

QUICK = ["--quick", "--no-suite"]


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A folder of importable modules, for the processes to import from."""
    folder = tmp_path / "modules"
    folder.mkdir()
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return folder


def compare(out, *names):
    """Run the comparison; return its exit status and its report."""
    backends = [word for name in names for word in ("--backend", f"{name}={sys.executable}")]
    status = main([*backends, "--out", str(out), *QUICK])
    return status, json.loads((out / "compare.json").read_text(encoding="utf-8"))


def test_one_implementation(tmp_path, capsys):
    status, report = compare(tmp_path / "report", "impl_numpy")
    assert status == 0, [verdict for verdict in report["verdicts"] if verdict["kept"] is False]
    assert list(report["workloads"]) == [workload.name for workload in WORKLOADS]
    for entries in report["workloads"].values():
        entry = entries["impl_numpy"]
        assert len(entry["losses"]) == 20
        assert np.mean(entry["losses"][-5:]) < np.mean(entry["losses"][:5])
        assert 0 < entry["final_accuracy"] < 1
        assert entry["seconds_per_step"] > 0
        assert entry["peak_bytes"] >= 0
    printed = capsys.readouterr().out
    assert "digits_lstm" in printed
    assert "compare.json" in printed
    assert "trained the same 5 networks" in (tmp_path / "report" / "index.html").read_text("utf-8")


WRONG = """
import types
import impl_numpy
from impl_numpy import *
from impl_numpy import loss

def adam(params, lr):
    return impl_numpy.optim.Adam(params, lr=lr, eps=1e-7)

optim = types.SimpleNamespace(Adam=adam)
"""


def test_a_wrong_optimizer_is_found_out(tmp_path, modules):
    (modules / "impl_wrong.py").write_text(WRONG)
    status, report = compare(tmp_path / "report", "impl_numpy", "impl_wrong")
    assert status == 1
    kept = {verdict["promise"][:17]: verdict["kept"] for verdict in report["verdicts"]}
    assert kept["Losses in float64"] is False
    assert kept["One seed draws th"] is True


CRASHING = """
import os
import signal
import sys

print("the last words", file=sys.stderr, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_crash_is_reported_and_the_others_go_on(tmp_path, modules, capsys):
    (modules / "impl_crashing.py").write_text(CRASHING)
    status, report = compare(tmp_path / "report", "impl_crashing", "impl_numpy")
    assert status == 1
    assert len(report["failures"]) == len(WORKLOADS)
    assert report["failures"][0]["fault"] == "was ended by signal 9"
    assert report["failures"][0]["last_lines"] == "the last words"
    assert all(
        len(trainings["impl_numpy"]["losses"]) == 20 for trainings in report["workloads"].values()
    )
    assert "the last words" in (tmp_path / "report" / "index.html").read_text("utf-8")
    assert "the last words" in capsys.readouterr().out


ONE_BAD_LAYER = """
from impl_numpy import *
from impl_numpy import loss, optim

class LSTM(Module):
    def __init__(self, *sizes, **options):
        raise ArithmeticError("no gates today")
"""


def test_a_workload_that_raises_leaves_the_other_workloads(tmp_path, modules):
    (modules / "impl_halting.py").write_text(ONE_BAD_LAYER)
    status, report = compare(tmp_path / "report", "impl_halting")
    assert status == 1
    failed = {failure["what"] for failure in report["failures"]}
    assert failed == {"digits_lstm", "truecase_lstm"}
    assert "ArithmeticError: no gates today" in report["failures"][0]["last_lines"]
    assert report["workloads"]["digits_gru"]["impl_halting"]["final_accuracy"] > 0
    assert report["workloads"]["digits_lstm"]["impl_halting"]["losses"] == []


def command(tmp_path, program, timeout=60.0):
    return Task("impl_any", "trial", [sys.executable, "-c", program], tmp_path, timeout)


def test_a_process_that_takes_too_long_is_ended(tmp_path):
    program = "import sys, time; print('still here', file=sys.stderr, flush=True); time.sleep(600)"
    outcome = run(command(tmp_path, program, timeout=2.0), lambda message: None)
    assert outcome.fault == "took longer than 2 s and was ended"
    assert outcome.last_lines == "still here"


def test_a_process_that_cannot_start_is_an_outcome(tmp_path):
    task = Task("impl_any", "trial", [str(tmp_path / "absent")], tmp_path, 60.0)
    outcome = run(task, lambda message: None)
    assert outcome.fault.startswith("could not be started")


def test_messages_are_told_apart_from_other_output(tmp_path):
    program = (
        """print('{"event": "step", "done": 3}'); print('{"event" oh'); print('.... [ 45%]')"""
    )
    heard = []
    outcome = run(command(tmp_path, program), heard.append)
    assert outcome.fault == ""
    assert heard == [{"event": "step", "done": 3}, {"event": "percent", "percent": 45}]
    assert (tmp_path / "trial.stdout.txt").read_text() == '{"event" oh\n.... [ 45%]\n'


def test_processes_run_on_one_thread(tmp_path):
    program = "import json, os; print(json.dumps({'event': os.environ['OMP_NUM_THREADS']}))"
    heard = []
    run(command(tmp_path, program), heard.append)
    assert heard == [{"event": "1"}]


def test_a_backend_is_a_name_and_an_interpreter(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--backend", "impl_numpy"])
    assert stopped.value.code == 2
    assert "wanted NAME=PYTHON" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--quick-suite", "impl_jax"], "impl_jax: not among the backends impl_numpy"),
        (["--quick-environment", "XLA_FLAGS"], "wanted VARIABLE=VALUE"),
    ],
)
def test_options_of_a_quick_suite_that_are_refused(capsys, options, said):
    with pytest.raises(SystemExit) as stopped:
        main(["--backend", f"impl_numpy={sys.executable}", *options])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
