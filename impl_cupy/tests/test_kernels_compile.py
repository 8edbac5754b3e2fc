"""NVRTC, which needs no GPU, compiles every kernel file for each generation of NVIDIA GPUs.

The sources get the options that CuPy adds. The newest NVRTC knows no longer the oldest GPUs: what
it knows of `WANTED` is compiled, and that is at least two of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import impl_cupy
from cupy_emulation.compiler import expanded
from cupy_emulation.sourcetext import kernel_names

cupy = pytest.importorskip("cupy", reason="NVRTC is reached through an installed CuPy")
nvrtc = cupy.cuda.nvrtc
try:
    VERSION = nvrtc.getVersion()
except RuntimeError as error:
    pytest.skip(f"no libnvrtc (nvidia-cuda-nvrtc-cu12 has it): {error}", allow_module_level=True)

WANTED = (70, 80, 90, 100)
KERNELS = sorted((Path(impl_cupy.__file__).parent / "kernels").glob("*.cu"))


def architectures() -> list[int]:
    """Return those of `WANTED` that this NVRTC knows, and its newest if older than the last."""
    known = nvrtc.getSupportedArchs()
    newest = [max(known)] if max(known) < WANTED[-1] else []
    return [wanted for wanted in WANTED if wanted in known] + newest


def compiled(code: str, architecture: int) -> bytes:
    """Return the cubin of a source; the compiler's log is the error's text."""
    program = nvrtc.createProgram(code, "kernel.cu", [], [])
    try:
        nvrtc.compileProgram(
            program, (f"--gpu-architecture=sm_{architecture}", "--std=c++17", "-ftz=true")
        )
    except nvrtc.NVRTCError as error:
        msg = nvrtc.getProgramLog(program)
        raise AssertionError(msg) from error
    return bytes(nvrtc.getCUBIN(program))


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
