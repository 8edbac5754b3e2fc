"""NVRTC, which needs no GPU, compiles every kernel file for each generation of NVIDIA GPUs.

The sources get the options that CuPy adds. The newest NVRTC knows no longer the oldest GPUs: what
it knows of `WANTED` is compiled, and that is at least two of them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import impl_cupy
from cupy_emulation.compiler import expanded
from cupy_emulation.sourcetext import kernel_names
from impl_cupy import launch

cupy = pytest.importorskip("cupy", reason="NVRTC is reached through an installed CuPy")
carray = pytest.importorskip("cupy._core._carray")
kernel = pytest.importorskip("cupy._core._kernel")
nvrtc = cupy.cuda.nvrtc
try:
    VERSION = nvrtc.getVersion()
except RuntimeError as error:
    pytest.skip(f"no libnvrtc (nvidia-cuda-nvrtc-cu12 has it): {error}", allow_module_level=True)

WANTED = (70, 80, 90, 100)
# Where CuPy finds what the kernels that it writes itself include.
INCLUDE = Path(cupy.__file__).parent / "_core" / "include"
HEADERS = [
    f"-I{folder}"
    for folder in (
        INCLUDE,
        *(INCLUDE / "cupy" / "_cccl" / part for part in ("libcudacxx", "cub", "thrust")),
    )
]
FOLDER = Path(impl_cupy.__file__).parent / "kernels"
POINTWISE = sorted(FOLDER.glob("pointwise*.cu"))
KERNELS = sorted(set(FOLDER.glob("*.cu")) - set(POINTWISE))
POINTWISE_TEXT = "".join(path.read_text(encoding="utf-8") for path in POINTWISE)
FUNCTIONS = re.findall(launch._TEMPLATE.format(name=r"(\w+)"), POINTWISE_TEXT)


# The dtypes of what stands for a function's template's type, by its name.
_REAL = ("float32", "float64")
_WHOLE = tuple(f"{sign}int{size}" for sign in ("", "u") for size in (8, 16, 32, 64))
WORDS = {"Index": ("int32", "int64"), "Integer": _WHOLE, "Real": _REAL, "Number": _WHOLE + _REAL}
WORDS["Element"] = ("bool", *WORDS["Number"])


def architectures() -> list[int]:
    """Return those of `WANTED` that this NVRTC knows, and its newest if older than the last."""
    known = nvrtc.getSupportedArchs()
    newest = [max(known)] if max(known) < WANTED[-1] else []
    return [wanted for wanted in WANTED if wanted in known] + newest


def compiled(code: str, architecture: int, *options: str) -> bytes:
    """Return the cubin of a source; the compiler's log is the error's text."""
    return compiled_with_log(code, architecture, *options)[0]


def compiled_with_log(code: str, architecture: int, *options: str) -> tuple[bytes, str]:
    """Return the cubin of a source, and what the compiler had to say."""
    program = nvrtc.createProgram(code, "kernel.cu", [], [])
    target = f"--gpu-architecture=sm_{architecture}"
    try:
        nvrtc.compileProgram(program, (target, "--std=c++17", "-ftz=true", *options))
    except nvrtc.NVRTCError as error:
        msg = nvrtc.getProgramLog(program)
        raise AssertionError(msg) from error
    return bytes(nvrtc.getCUBIN(program)), nvrtc.getProgramLog(program)


def generated(name: str, word: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what CuPy makes of a pointwise function on contiguous arrays: all that NVRTC gets.

    `word` is the dtype of what the function takes of its template's type.
    """
    monkeypatch.setattr(launch, "cp", cupy)
    made = launch.pointwise.__wrapped__(name)
    given = [np.dtype(p.dtype or word) for p in (*made.in_params, *made.out_params)]
    types = made._decide_params_type(tuple(given[: made.nin]), ())[2]
    arrays = [kernel._ArgInfo(1, cupy.ndarray, dtype, 1, True, True) for dtype in given]
    indexer = kernel._ArgInfo(2, carray.Indexer, None, 1, True, True)
    code = kernel._get_elementwise_kernel_code(
        (*arrays, indexer), types, made.params, made.operation, made.name, made.preamble
    )
    return f"#include <cupy/carray.cuh>\n{code}"


def names_in(cubin: bytes) -> set[str]:
    """Return the kernels of a cubin, an ELF file with one section of code for each."""
    return {part.decode() for part in cubin.split(b"\0") if part.startswith(b".text.")}


def test_there_are_kernels_and_architectures() -> None:
    assert KERNELS
    assert len(architectures()) >= 2
    assert 90 in architectures()


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
@pytest.mark.parametrize("architecture", architectures())
def test_a_kernel_file_compiles(path: Path, architecture: int) -> None:
    code = path.read_text(encoding="utf-8")
    names = kernel_names(expanded(code))
    assert names, f"{path.name} has no kernel"
    assert names_in(compiled(code, architecture)) == {f".text.{name}" for name in names}


def spills(log: str) -> dict[str, int]:
    """Return by kernel how many bytes of registers and stack ptxas put into memory."""
    found = re.findall(r"properties for (\w+)\n.*?(\d+) bytes stack.*?(\d+) .*?(\d+) ", log)
    return {name: sum(map(int, counts)) for name, *counts in found}


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: path.name)
@pytest.mark.parametrize("architecture", [80, 90])
def test_no_kernel_spills_registers(path: Path, architecture: int) -> None:
    code = path.read_text(encoding="utf-8")
    _, log = compiled_with_log(code, architecture, "--ptxas-options=-v")
    assert spills(log) == dict.fromkeys(kernel_names(expanded(code)), 0)


def test_a_spill_is_found() -> None:
    code = """
    extern "C" __global__ void crowded(const float *x, float *y, int n) {
        float held[64];
        for (int i = 0; i < 64; ++i) held[i] = x[i * n + threadIdx.x];
        for (int i = 0; i < n; ++i) held[i % 64] += held[(i * 7) % 64];
        for (int i = 0; i < 64; ++i) y[i * n + threadIdx.x] = held[i];
    }
    """
    _, log = compiled_with_log(code, 90, "--ptxas-options=-v")
    assert spills(log)["crowded"] > 0


def test_every_pointwise_function_has_been_found() -> None:
    assert len(FUNCTIONS) == POINTWISE_TEXT.count(">\n__device__ inline ") > 10


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function[2])
@pytest.mark.parametrize("architecture", [80, 90])
def test_a_pointwise_function_compiles(
    function: tuple[str, ...], architecture: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter, _, name, _ = function
    for word in WORDS[letter]:
        code = generated(name, word, monkeypatch)
        assert names_in(compiled(code, architecture, *HEADERS)) == {f".text.pointwise_{name}"}


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ('extern "C" __global__ void k(float *x) { x[0] = y; }', "undefined"),
        ('#include <stdint.h>\nextern "C" __global__ void k(float *x) {}', "stdint"),
        ('extern "C" __global__ void k(float *x) { std::sqrt(x[0]); }', "std"),
    ],
)
def test_a_mistake_in_a_kernel_is_caught(code: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        compiled(code, 90)


def test_a_missing_kernel_is_caught() -> None:
    code = 'extern "C" __global__ void there(float *x) { x[0] = 1; }'
    assert names_in(compiled(code, 90)) == {".text.there"}
    assert kernel_names(expanded(code + "\n__global__ void other() {}")) == ["there", "other"]
