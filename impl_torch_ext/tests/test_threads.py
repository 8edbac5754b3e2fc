"""Work is shared among torch's threads, and the results do not depend on their number.

Sizes are in the order T steps, N batch, I input size, H hidden size.
"""

import os
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import impl_torch_ext as nn
from impl_torch_ext.native import build_info, native

SETUP = Path(__file__).parents[1] / "setup.py"
LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
# Samples enough for each thread, too few for that, and one; sizes that are no multiple of a vector.
SIZES = [(3, 64, 40, 128), (4, 21, 30, 90), (5, 3, 17, 200), (6, 1, 20, 300), (40, 1, 33, 70)]

threads_needed = pytest.mark.skipif(
    not build_info()["openmp"], reason="the library was built for one thread, by choice"
)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def step(
    cell: str, sizes: tuple[int, int, int, int], dtype: torch.dtype, ragged: bool = False
) -> list[Tensor]:
    """Return the outputs of a layer and all gradients; `ragged` ones use every option."""
    steps, batch, input_size, hidden_size = sizes
    nn.manual_seed(0)
    options: dict[str, Any] = {"num_layers": 2, "bidirectional": True} if ragged else {}
    if ragged and cell == "lstm":
        options["proj_size"] = hidden_size // 2 + 1
    layer = LAYERS[cell](input_size, hidden_size, **options, dtype=dtype)
    x = nn.randn((steps, batch, input_size), dtype=dtype).requires_grad_()
    widths = (options.get("proj_size", hidden_size), hidden_size)
    shapes = [(4 if ragged else 1, batch, width) for width in widths]
    states = [nn.randn(shape, dtype=dtype).requires_grad_() for shape in shapes]
    lengths = torch.arange(batch) * 7 % (steps + 1) if ragged else None
    hx = tuple(states) if cell == "lstm" else states[0]
    output, last = layer(x, hx, lengths=lengths)
    output.square().sum().backward()
    used = states if cell == "lstm" else states[:1]
    grads = [t.grad for t in (x, *used, *layer.parameters())]
    return [output.detach(), *(last if cell == "lstm" else [last]), *grads]


def choices() -> list[Tensor]:
    """Return the gradients of functions that choose among many elements."""
    nn.manual_seed(0)
    x, y = (nn.randn((400, 500)).requires_grad_() for _ in range(2))
    ops, rows = nn.ops, torch.arange(900) * 7 % 400
    results = [ops.abs(x), ops.clip(x, -0.5, 0.5), ops.maximum(x, y), ops.max(x, axis=1)]
    results += [ops.max(x, axis=0), ops.take(x, rows, axis=0), ops.take(x, rows, axis=1)]
    return [g for result in results for g in torch.autograd.grad(result.square().sum(), x)]


def teams(work: Callable[[], object]) -> dict[int, list[int]]:
    """Return the threads of each team that shared a part of the work."""
    native.record_teams(True)
    work()
    members: dict[int, list[int]] = {}
    for team, count, thread in native.record_teams(False).tolist():
        members.setdefault(team, []).append(thread)
        assert len(members[team]) <= count
    return members


def run(program: str, **environment: str) -> str:
    """Return what a program prints in a process of its own, which must end soon."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@threads_needed
@pytest.mark.parametrize("cell", LAYERS)
def test_a_step_is_shared_by_threads(cell: str) -> None:
    torch.set_num_threads(2)
    used = teams(lambda: step(cell, (20, 64, 64, 64), torch.float32))
    # The steps forward and back, and the gradients of both weights.
    assert sum(len(set(threads)) == 2 for threads in used.values()) >= 3
    assert len({thread for threads in used.values() for thread in threads}) == 2


@threads_needed
@pytest.mark.parametrize("cell", LAYERS)
def test_hidden_units_of_one_sample_are_shared_by_threads(cell: str) -> None:
    torch.set_num_threads(2)
    layer, x = LAYERS[cell](16, 512), nn.randn((4, 1, 16))
    with nn.no_grad():
        used = teams(lambda: layer(x))
    # The last team is that of the steps; before it the weights are packed.
    assert len(set(used[max(used)])) == 2


@threads_needed
@pytest.mark.parametrize("cell", LAYERS)
def test_samples_of_different_lengths_are_shared_by_threads(cell: str) -> None:
    torch.set_num_threads(2)
    used = teams(lambda: step(cell, (20, 64, 64, 64), torch.float32, ragged=True))
    # Two layers and two directions, each with its steps forward and back and its weights.
    assert sum(len(set(threads)) == 2 for threads in used.values()) >= 12


@threads_needed
def test_gradients_of_choices_are_shared_by_threads() -> None:
    torch.set_num_threads(2)
    shared = sum(len(set(threads)) == 2 for threads in teams(choices).values())
    assert shared == len(choices()) - 1  # The maxima along the first axis are one loop.


@threads_needed
def test_little_work_stays_on_one_thread() -> None:
    torch.set_num_threads(2)
    for sizes in ((3, 2, 4, 5), (1, 1, 8, 16)):
        used = teams(lambda sizes=sizes: step("lstm", sizes, torch.float32))
        assert {len(threads) for threads in used.values()} == {1}


def test_one_thread_is_one_thread() -> None:
    torch.set_num_threads(1)
    used = teams(lambda: step("lstm", (20, 64, 64, 64), torch.float32))
    assert {tuple(threads) for threads in used.values()} == {tuple(used[0])}
    assert len(used[0]) == 1


def check_threads(*arguments: Any) -> None:
    """Compare what `step` returns on several threads with what it does on one."""
    torch.set_num_threads(1)
    alone = step(*arguments)
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        for got, wanted in zip(step(*arguments), alone, strict=True):
            assert torch.equal(got, wanted), f"{threads} threads"


@threads_needed
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", LAYERS)
def test_layers_are_equal_bit_for_bit(
    cell: str, sizes: tuple[int, int, int, int], dtype: torch.dtype
) -> None:
    check_threads(cell, sizes, dtype)


@threads_needed
@pytest.mark.parametrize("sizes", [(5, 64, 10, 60), (7, 3, 17, 130)], ids=str)
@pytest.mark.parametrize("cell", LAYERS)
def test_layers_with_every_option_are_equal_bit_for_bit(
    cell: str, sizes: tuple[int, int, int, int]
) -> None:
    check_threads(cell, sizes, torch.float32, True)


@threads_needed
def test_choices_are_equal_bit_for_bit() -> None:
    torch.set_num_threads(1)
    alone = choices()
    for threads in (2, 3, 7):
        torch.set_num_threads(threads)
        for got, wanted in zip(choices(), alone, strict=True):
            assert torch.equal(got, wanted), f"{threads} threads"


LAYER = """
import torch, impl_torch_ext as nn
from impl_torch_ext.native import native
def work():
    nn.manual_seed(0)
    layer = nn.LSTM(64, 64)
    native.record_teams(True)
    # Small enough for torch's own operations to stay on one thread: they hang after a fork.
    output = layer(nn.ones((20, 16, 64)))[0]
    output.sum().backward()
    record = native.record_teams(False)
    return output.detach(), len(record[:, 2].unique())
"""


@threads_needed
@pytest.mark.parametrize("threads", ["1", "2"])
def test_omp_num_threads_is_heard(threads: str) -> None:
    # torch takes no more threads from there than there are processors.
    wanted = str(min(int(threads), len(os.sched_getaffinity(0))))
    program = LAYER + "print(work()[1], torch.get_num_threads())"
    assert run(program, OMP_NUM_THREADS=threads).split() == [wanted, wanted]


@threads_needed
def test_set_num_threads_is_heard_over_omp_num_threads() -> None:
    program = LAYER + "torch.set_num_threads(2); print(work()[1])"
    assert run(program, OMP_NUM_THREADS="1").strip() == "2"


@threads_needed
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_the_child_of_a_fork_goes_on_with_one_thread() -> None:
    program = """
import os, signal
torch.set_num_threads(2)
wanted, threads = work()
assert threads == 2
child = os.fork()
if child == 0:
    signal.alarm(60)  # It must not wait for ever, whatever happens to its parent.
    got, threads = work()
    os._exit(0 if threads == 1 and torch.equal(got, wanted) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), work()[1])
"""
    assert run(LAYER + program).split() == ["0", "2"]


@threads_needed
def test_threads_of_the_user_have_teams_of_their_own() -> None:
    torch.set_num_threads(2)
    nn.manual_seed(0)
    layers = [kind(40, 64, dtype=torch.float64) for kind in LAYERS.values()]
    x = nn.randn((20, 32, 40), dtype=torch.float64)
    wanted = [layer(x)[0].detach() for layer in layers]
    start = threading.Barrier(len(layers))

    def work(i: int) -> set[int]:
        start.wait()
        threads: set[int] = set()
        for _ in range(20):
            used = teams(lambda: results[i].append(torch.equal(layers[i](x)[0], wanted[i])))
            threads.update(thread for team in used.values() for thread in team)
        return threads

    results: list[list[bool]] = [[] for _ in layers]
    with ThreadPoolExecutor(len(layers)) as callers:
        threads = list(callers.map(work, range(len(layers))))
    assert results == [[True] * 20] * len(layers)
    assert [len(own) for own in threads] == [2] * len(layers)
    assert len(set().union(*threads)) == 2 * len(layers)


@threads_needed
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system has no /proc")
def test_one_openmp_runtime_is_loaded() -> None:
    """Two would each keep threads, and each count on having the processors alone."""
    program = "import impl_torch_ext; print(open('/proc/self/maps').read())"
    files = set(re.findall(r"/\S*/lib(?:gomp|omp|iomp)\S*\.so\S*", run(program)))
    assert len(files) == 1
    assert "/torch" in files.pop()


def test_a_compiler_without_openmp_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'unknown option -fopenmp' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.delenv("IMPL_TORCH_EXT_OPENMP", raising=False)
    openmp = runpy.run_path(str(SETUP), run_name="not a build")["openmp"]
    with pytest.raises(SystemExit, match="unknown option -fopenmp") as caught:
        openmp()
    assert "IMPL_TORCH_EXT_OPENMP=0" in str(caught.value)
    monkeypatch.setenv("IMPL_TORCH_EXT_OPENMP", "0")
    assert openmp() == ([], [])


def test_a_torch_without_openmp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMPL_TORCH_EXT_OPENMP", raising=False)
    info = "ATen parallel backend: native thread pool"
    monkeypatch.setattr(torch.__config__, "parallel_info", lambda: info)
    openmp = runpy.run_path(str(SETUP), run_name="not a build")["openmp"]
    with pytest.raises(SystemExit, match="torch was built without OpenMP"):
        openmp()
