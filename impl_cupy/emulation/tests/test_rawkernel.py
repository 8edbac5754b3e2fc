"""Kernels of the emulation: the text that a GPU gets, run over the whole grid."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cupy_emulation import kernel_launches, launches, reset_launches
from cupy_emulation import namespace as cp
from cupy_emulation.compiler import cache_directory
from cupy_emulation.sourcetext import has_barriers, kernel_names

SOURCE = r"""
// __global__ void in_a_comment(float *x) {}
template <typename Real>
__device__ __forceinline__ Real twice(Real x) { return x + x; }

extern "C" __global__ void __launch_bounds__(256) scale(const float *__restrict__ x, float *y,
                                                        const int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = twice(x[i]);
}

#define DEFINE(Real)                                                            \
  extern "C" __global__ void fill_##Real(Real *y, Real value, long long n) {    \
    for (long long i = threadIdx.x; i < n; i += blockDim.x) y[i] = value;       \
  }
DEFINE(float)
DEFINE(double)

template <typename T, int N>
__global__ void add(T *x) { x[threadIdx.x] += N; }

extern "C" __global__ void where_am_i(int *out) {
  int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  int threads = blockDim.x * blockDim.y * blockDim.z;
  int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * threads + thread] += 1 + block * threads + thread;
}

extern "C" __global__ void kinds(bool b, unsigned char u1, short i2, unsigned u4, size_t u8,
                                 double f8, const bool *mask, void *any, double *out) {
  out[0] = b + u1 + i2 + u4 + u8 + f8 + mask[0];
}

extern "C" __global__ void count(int *total, const int *places) {
  atomicAdd(&total[places[threadIdx.x]], 1);
}
"""

WAITING = r"""
extern "C" __global__ void block_sum(const float *x, float *out, int n) {
  extern __shared__ float part[];
  __shared__ int finished;
  int t = threadIdx.x;
  part[t] = t < n ? x[t] : 0.0f;
  __syncthreads();
  for (int step = blockDim.x / 2; step > 0; step /= 2) {
    if (t < step) part[t] += part[t + step];
    __syncthreads();
  }
  if (t == 0) finished = 1;
  __syncthreads();
  if (t == blockDim.x - 1) out[blockIdx.x] = part[0] * finished;
}

extern "C" __global__ void warp_sum(const int *x, int *out) {
  int sum = x[threadIdx.x];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  if (threadIdx.x % 32 == 0) out[threadIdx.x / 32] = sum;
}

extern "C" __global__ void early(float *out) {
  if (threadIdx.x >= 3) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

extern "C" __global__ void apart(float *out) {
  if (threadIdx.x % 2) __syncthreads();
  else __syncwarp();
}
"""


@pytest.fixture(scope="module")
def module() -> Any:
    return cp.RawModule(code=SOURCE, name_expressions=("add<float, 3>", "add<int, 4>"))


@pytest.fixture(scope="module")
def waiting() -> Any:
    return cp.RawModule(code=WAITING, options=("-std=c++17", "--use_fast_math"))


def test_a_kernel_runs_over_the_whole_grid(module: Any) -> None:
    x = cp.arange(1000, dtype=cp.float32)
    y = cp.empty_like(x)
    module.get_function("scale")((4,), (256,), (x, y, np.int32(1000)))
    assert (y == 2 * x).all()


def test_three_axes(module: Any) -> None:
    out = cp.zeros(2 * 3 * 4 * 5 * 2 * 3, cp.int32)
    module.get_function("where_am_i")((2, 3, 4), (5, 2, 3), (out,))
    assert (out == cp.arange(1, 721)).all()


def test_macros_and_templates_make_kernels(module: Any) -> None:
    y = cp.zeros(5)
    module.get_function("fill_double")((1,), (2,), (y, 2.5, 5))
    assert y.tolist() == [2.5] * 5
    z = cp.zeros(4, cp.float32)
    module.get_function("add<float, 3>")((1,), (4,), (z,))
    assert z.tolist() == [3.0] * 4
    with pytest.raises(TypeError, match=r"\*i4"):
        module.get_function("add<int, 4>")((1,), (4,), (z,))


def test_a_view_is_passed_by_its_address(module: Any) -> None:
    y = cp.zeros((3, 4), cp.float32)
    module.get_function("fill_float")((1,), (1,), (y[1:], np.float32(7), np.int64(4)))
    assert y.tolist() == [[0] * 4, [7] * 4, [0] * 4]


def test_every_kind_of_parameter(module: Any) -> None:
    out, mask = cp.zeros(1), cp.ones(1, bool)
    numbers = (True, np.uint8(2), np.int16(-3), np.uint32(4), np.uint64(5), 6.5)
    kernel = module.get_function("kinds")
    kernel((1,), (1,), (*numbers, mask, out, out))
    assert out.item() == 1 + 2 - 3 + 4 + 5 + 6.5 + 1
    kernel((1,), (1,), (*numbers[:4], 5, 6.5, mask, None, out))
    assert out.item() == 1 + 2 - 3 + 4 + 5 + 6.5 + 1


@pytest.mark.parametrize(
    "arguments",
    [
        lambda x, y: (x, y, 3),
        lambda x, y: (x, y, 3.0),
        lambda x, y: (x, y, np.float32(3)),
        lambda x, y: (x, y, np.int64(3)),
        lambda x, y: (x, y, np.uint32(3)),
        lambda x, y: (x, y, True),
        lambda x, y: (x, y, None),
        lambda x, y: (x, y, "3"),
        lambda x, y: (x, y, cp.array(3, cp.int32)),
        lambda x, y: (x.astype(cp.float64), y, np.int32(3)),
        lambda x, y: (x.astype(cp.int32), y, np.int32(3)),
        lambda x, y: (x.get(), y, np.int32(3)),
        lambda x, y: (np.float32(1), y, np.int32(3)),
        lambda x, y: (x, y),
        lambda x, y: (x, y, np.int32(3), np.int32(3)),
    ],
)
def test_arguments_must_be_what_parameters_want(module: Any, arguments: Any) -> None:
    x, y = cp.ones(3, cp.float32), cp.zeros(3, cp.float32)
    reset_launches()
    with pytest.raises(TypeError, match="scale"):
        module.get_function("scale")((1,), (3,), arguments(x, y))
    assert kernel_launches() == {}
    assert y.tolist() == [0, 0, 0]


def test_a_python_float_is_no_float32(module: Any) -> None:
    y = cp.zeros(2, cp.float32)
    kernel = module.get_function("fill_float")
    with pytest.raises(TypeError, match=r"argument 1 must be f4 .*, got f8"):
        kernel((1,), (1,), (y, 1.0, 2))
    with pytest.raises(TypeError, match=r"argument 2 must be i8 .*, got i4"):
        kernel((1,), (1,), (y, np.float32(1), np.int32(2)))


@pytest.mark.parametrize(
    ("grid", "block", "shared", "error"),
    [
        ([1], (1,), 0, TypeError),
        ((1,), 32, 0, TypeError),
        ((1.0,), (1,), 0, TypeError),
        ((1,), (1025,), 0, RuntimeError),
        ((1,), (32, 33), 0, RuntimeError),
        ((1,), (1, 1, 65), 0, RuntimeError),
        ((1, 65536), (1,), 0, RuntimeError),
        ((1,), (1,), 48 * 1024 + 1, RuntimeError),
    ],
)
def test_limits_of_a_launch(module: Any, grid: Any, block: Any, shared: int, error: Any) -> None:
    with pytest.raises(error):
        module.get_function("where_am_i")(grid, block, (cp.zeros(1, cp.int32),), shared_mem=shared)


def test_an_empty_grid_counts_as_one_block(module: Any) -> None:
    out = cp.zeros(1, cp.int32)
    module.get_function("where_am_i")((0,), (1,), (out,))
    assert out.item() == 1


def test_unknown_kernels_and_sources_that_do_not_compile(module: Any) -> None:
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="CUDA_ERROR_NOT_FOUND"):
        module.get_function("in_a_comment")
    with pytest.raises(cp.cuda.compiler.CompileException, match=r"kernel\.cu:2"):
        cp.RawModule(code="\nnonsense").compile()
    with pytest.raises(cp.cuda.compiler.CompileException, match="unknown-option"):
        cp.RawModule(code="", options=("--unknown-option",)).compile()
    with pytest.raises(TypeError, match="Exactly one"):
        cp.RawModule()


def test_threads_of_a_block_wait_for_one_another(waiting: Any) -> None:
    x = cp.arange(100, dtype=cp.float32)
    out = cp.zeros(2, cp.float32)
    waiting.get_function("block_sum")((2,), (128,), (x, out, np.int32(100)), shared_mem=512)
    assert out.tolist() == [4950, 4950]


def test_warps_exchange_values(waiting: Any) -> None:
    out = cp.zeros(2, cp.int32)
    waiting.get_function("warp_sum")((1,), (64,), (cp.arange(64, dtype=cp.int32), out))
    assert out.tolist() == [sum(range(32)), sum(range(32, 64))]


def test_threads_that_have_ended_are_not_waited_for(waiting: Any) -> None:
    out = cp.zeros(8, cp.float32)
    waiting.get_function("early")((1,), (8,), (out,))
    assert out.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]


def test_waiting_at_different_barriers_is_an_error(waiting: Any) -> None:
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="different barriers"):
        waiting.get_function("apart")((1,), (4,), (cp.zeros(1, cp.float32),))


def test_threads_run_in_reverse_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """extern "C" __global__ void last(int *x) { x[0] = threadIdx.x + blockIdx.x; }"""
    kernel = cp.RawModule(code=code).get_function("last")
    x = cp.zeros(1, cp.int32)
    kernel((3,), (5,), (x,))
    assert x.item() == 6
    monkeypatch.setenv("CUPY_EMULATION_ORDER", "reverse")
    kernel((3,), (5,), (x,))
    assert x.item() == 0


def test_atomic_functions_and_concurrent_launches(module: Any) -> None:
    kernel = module.get_function("count")
    total, places = cp.zeros(2, cp.int32), cp.array([0, 1, 0, 0], cp.int32)

    def work() -> None:
        for _ in range(100):
            kernel((1,), (4,), (total, places))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert total.tolist() == [1200, 400]


def test_launches_are_counted_by_kernel(module: Any) -> None:
    out = cp.zeros(1, cp.int32)
    reset_launches()
    for _ in range(3):
        module.get_function("where_am_i")((1,), (1,), (out,))
    assert kernel_launches() == {"where_am_i": 3}
    assert launches("raw") == launches() == 3


def test_what_was_compiled_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_EMULATION_CACHE", str(tmp_path / "cache"))
    code = 'extern "C" __global__ void kept(int *x) { x[0] = 1; }'
    cp.RawModule(code=code).compile()
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.suffix == ".so"


def test_the_cache_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUPY_EMULATION_CACHE", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = cache_directory()
    assert own.parent == tmp_path
    assert own.stat().st_mode & 0o077 == 0
    own.chmod(0o777)
    assert cache_directory() != own


def test_reading_the_source() -> None:
    assert kernel_names(SOURCE) == ["scale", "where_am_i", "kinds", "count"]
    assert has_barriers(WAITING)
    assert not has_barriers(SOURCE)
    assert not has_barriers("// __syncthreads() is not needed")
