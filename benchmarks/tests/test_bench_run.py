"""A run of toys: who cannot work is reported, and everyone else is measured."""

import pytest
from conftest import toy

from benchmarks.bench import Bench
from benchmarks.machine import machine
from benchmarks.players import UNTIMED, TimedPlayer
from benchmarks.results import Results
from benchmarks.rows import Row
from benchmarks.terminal import said

ROW = Row("train", "working", (2, 2, 2, 2))


def test_ours_and_a_peer(bench_of):
    found = bench_of(toy("mine", role="ours"), toy("other"), threads=(1, 2)).measure(ROW)
    assert [(entry.contestant, entry.threads) for entry in found.entries] == [
        ("mine", 1),
        ("mine", 2),
        ("other", 1),
        ("other", 2),
    ]
    assert {(r.ours, r.peer, r.threads) for r in found.ratios} == {
        ("mine", "other", 1),
        ("mine", "other", 2),
    }
    assert set(found.scaling) == {"mine", "other"}
    assert found.failures == []
    assert all(entry.rounds >= 5 for entry in found.entries)
    assert all(entry.efficiency is None for entry in found.entries)


def test_one_that_dies_among_others(bench_of):
    bench = bench_of(toy("mine", role="ours"), toy("mortal", "leaving late"))
    for _ in range(2):
        found = bench.measure(ROW)
        assert [entry.contestant for entry in found.entries] == ["mine"]
        assert found.failure("mortal", 1).startswith("ended with exit status 3")
        assert found.ratios == []
    assert bench.missing == {}


def test_one_that_cannot(bench_of):
    found = bench_of(toy("mine", role="ours"), toy("other", "refusing")).measure(ROW)
    assert found.failure("other", 1) == "Unsupported: no such cell"
    assert found.entry("mine", 1).rounds >= 5


def test_one_that_is_not_installed(bench_of):
    away, nowhere = toy("away", place="there"), toy("nowhere", library="nowhere")
    bench = bench_of(toy("mine", role="ours"), away, nowhere, missing={"there": "pip said no"})
    for _ in range(2):
        found = bench.measure(ROW)
        assert found.failures == []
        assert [entry.contestant for entry in found.entries] == ["mine"]
    assert bench.missing["away"] == "pip said no"
    assert set(bench.missing) == {"away", "nowhere"}
    assert "ModuleNotFoundError" in bench.missing["nowhere"]


def test_one_that_takes_too_long(bench_of):
    found = bench_of(toy("mine", role="ours"), patience=-1.0).measure(ROW)
    assert found.entries == []
    assert found.failure("mine", 1).startswith("left out, as one call takes")


def test_threads_that_work_together_have_a_longer_lead():
    class Quick:
        asked = ()

        def ask(self, do, **request):
            self.asked = (*self.asked, request)
            return {"wall": 1e-3 * request.get("calls", 1), "cpu": 0.0}

    leads = []
    for threads in (1, 2):
        player = TimedPlayer(("mine", threads), Quick(), ROW, "train", 1.0)
        player.turn()
        assert player.calls == 20
        leads.append(player.worker.asked[-1]["lead"])
    assert 0 < leads[0] < leads[1]


def test_counts_take_one_round(bench_of):
    found = bench_of(toy("impl_cupy", role="ours"), toy("other"), threads=(1, 2)).measure(
        Row("launches", "RNN", (10, 1, 1, 1))
    )
    assert [(e.value.median, e.rounds, e.threads) for e in found.entries] == [(21.0, 1, 1)]


@pytest.mark.parametrize("kind", ["import", "first", "memory"])
def test_fresh_processes(kind, bench_of):
    bench = bench_of(toy("mine", role="ours"), toy("numpy", role="blas", library="string"))
    found = bench.measure(Row(kind, "working", (2,) * 4))
    names = ["mine", "numpy"] if kind == "import" else ["mine"]
    assert [entry.contestant for entry in found.entries] == names
    assert {entry.rounds for entry in found.entries} == {3}
    assert bench.workers == {}
    assert bench.started == 3 * len(names)


def test_times_of_an_emulation_are_refused(bench_of, tmp_path):
    text = "def spec_device():\n    return {'device': 'paper', 'emulated': True}\n"
    (tmp_path / "emulated.py").write_text(text)
    bench = bench_of(toy("impl_cupy", role="ours", library="emulated"))
    bench.inherited["PYTHONPATH"] += f":{tmp_path}"
    for kind in ("train", "import", "memory"):
        found = bench.measure(Row(kind, "working", (2,) * 4))
        assert found.entries == []
        assert found.failure("impl_cupy", 1) == UNTIMED
    counted = bench.measure(Row("launches", "RNN", (1, 1, 1, 1)))
    entry = counted.entry("impl_cupy", 1)
    assert (entry.value.median, entry.emulated) == (3, True)
    assert any("CPU emulation, no GPU code ran" in line for line in said(counted))


def test_efficiency_is_gauged_in_the_same_rounds(bench_of, monkeypatch):
    blas = toy("numpy", role="blas")
    blas = type(blas)("numpy", "benchmarks.peers.blas", "json", ("here",), "numpy", "blas")
    bench = bench_of(toy("mine", "working", role="ours"), blas)
    results = Results(machine(), "now", "command", [1])
    bench.run([Row("train", "GRU", (2, 2, 2, 2))], results)
    (multiplied,) = results.blas
    assert multiplied.best
    assert multiplied.flops_per_second.median > 1e8
    (found,) = results.measurements
    assert [entry.contestant for entry in found.entries] == ["mine"]
    assert found.entry("mine", 1).efficiency.median > 0
    assert found.ratios == []
    assert set(results.facts) == {"mine", "numpy"}


def test_workers_end_with_the_run(bench_of):
    bench = bench_of(toy("mine", role="ours"))
    with bench:
        bench.measure(ROW)
        (worker,) = bench.workers.values()
        assert worker.process.poll() is None
    assert worker.process.poll() is not None
    assert isinstance(bench, Bench)
