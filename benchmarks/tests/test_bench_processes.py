"""Workers: each way to end is said in words, and what libraries print does no harm."""

import sys

import pytest
from conftest import toy

from benchmarks.peers.table import Environment
from benchmarks.processes import Refused, Worker, WorkerEnded, environment_of
from benchmarks.rows import Row


@pytest.fixture
def worker(tmp_path, inherited):
    """Return a function that starts a worker."""
    started = []

    def start(contestant=None, python=sys.executable, limit=60.0):
        variables = environment_of(None, 1, tmp_path, inherited)
        started.append(Worker(contestant or toy("toy"), python, variables, tmp_path, limit))
        return started[-1]

    yield start
    for one in started:
        one.close()


def make(worker, name, size=2):
    return worker.ask("make", maker="train", row=Row("train", name, (size,) * 4).as_dict())


def test_a_worker_says_what_it_has(worker):
    facts = worker().facts
    assert facts["import"] > 0
    assert facts["makers"] == ["launches", "train"]
    assert facts["versions"]["python"].startswith("3.")
    assert (facts["device"], facts["emulated"]) == ("CPU", False)


def test_work_is_timed(worker):
    one = worker()
    assert make(one, "working")["first"] > 0
    answer = one.ask("run", calls=100)
    assert answer["wall"] > 0
    assert answer["cpu"] >= 0


def test_work_is_counted(worker):
    one = worker()
    one.ask("make", maker="launches", row=Row("launches", "RNN", (10, 1, 1, 1)).as_dict())
    assert one.ask("count") == {"value": 21.0}


def test_memory_is_gauged_beyond_what_tiny_work_took(worker):
    size = 64 * 2**20
    row = Row("memory", "growing", (size,)).as_dict()
    grown = worker().ask("peak", maker="train", row=row)["value"]
    assert size * 0.9 < grown < size * 3


def test_what_a_library_prints_does_no_harm(worker):
    one = worker()
    make(one, "printing")
    assert one.ask("run", calls=2)["wall"] > 0
    assert one.errors.read_text().count("a library says something") == 3


def test_what_leads_in_does_not_count_as_a_call(worker):
    one = worker()
    make(one, "printing")
    one.ask("run", calls=2)
    assert one.errors.read_text().count("says something") == 3
    one.ask("run", calls=2, lead=0.01)
    assert one.errors.read_text().count("says something") > 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("raising", "ValueError: the sizes do not fit"),
        ("refusing", "Unsupported: no such cell"),
    ],
)
def test_work_that_fails_leaves_the_worker_alive(name, reason, worker):
    one = worker()
    with pytest.raises(Refused, match=reason):
        make(one, name)
    assert make(one, "working")["first"] > 0


def test_work_that_nobody_makes(worker):
    with pytest.raises(Refused, match="has no cell"):
        worker().ask("make", maker="cell", row=Row("cell", "working").as_dict())


@pytest.mark.parametrize(
    ("name", "reason"),
    [("leaving", "ended with exit status 3"), ("killing", "was ended by signal 9")],
)
def test_a_worker_that_dies_is_reported(name, reason, worker):
    one = worker()
    with pytest.raises(WorkerEnded, match=reason):
        make(one, name)
    with pytest.raises(WorkerEnded, match=reason):
        one.ask("drop")


def test_a_worker_that_hangs_is_ended(worker):
    one = worker()
    one.limit = 0.2
    with pytest.raises(WorkerEnded, match=r"took longer than 0.2 s and was ended"):
        make(one, "hanging")
    assert one.process.poll() is not None


def test_a_library_that_is_not_there(worker):
    with pytest.raises(Refused, match="ModuleNotFoundError: No module named 'nowhere'"):
        worker(toy("toy", library="nowhere"))


def test_a_folder_is_no_library(worker, tmp_path, inherited):
    (tmp_path / "hollow").mkdir()
    with pytest.raises(Refused, match="only a folder of that name"):
        worker(toy("toy", library="hollow"))


def test_an_interpreter_that_is_not_there(worker, tmp_path):
    with pytest.raises(WorkerEnded, match="could not be started"):
        worker(python=str(tmp_path / "python"))


def test_the_environment_of_a_worker(tmp_path):
    inherited = {
        "OPENBLAS_CORETYPE": "Haswell",
        "PYTHONPATH": "mine",
        "JAX_COMPILATION_CACHE_DIR": "c",
    }
    new = environment_of(None, 2, tmp_path, inherited)
    assert new["OMP_NUM_THREADS"] == new["OPENBLAS_NUM_THREADS"] == "2"
    assert new["PYTHONPATH"].endswith("mine")
    assert not {"OPENBLAS_CORETYPE", "JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"} & set(new)
    old = Environment("old", (), (("KERAS_BACKEND", "jax"),), old_blas=True)
    kept = environment_of(old, 1, tmp_path, inherited)
    assert kept["OPENBLAS_CORETYPE"] == "Haswell"
    assert kept["KERAS_BACKEND"] == "jax"
    assert "intra_op_parallelism_threads=1" in kept["XLA_FLAGS"]
