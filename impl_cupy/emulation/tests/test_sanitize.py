"""AddressSanitizer sees a kernel that leaves its arrays, and sees none that does among ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cupy_emulation import compiler, sanitize

HERE = Path(__file__).parent

try:
    ENVIRONMENT = sanitize.environment()
except RuntimeError as error:
    pytest.skip(str(error), allow_module_level=True)

FAULTY = """
import numpy as np
from cupy_emulation import namespace as cp

code = r'''
extern "C" __global__ void reads(const float *x, float *y, int at) { y[0] = x[at]; }
extern "C" __global__ void writes(const float *x, float *y, int at) { y[at] = x[0]; }
extern "C" __global__ void shared(const float *x, float *y, int at) {
  extern __shared__ float part[];
  if (threadIdx.x == 0) part[at] = x[0];
  __syncthreads();
  y[0] = part[at];
}
extern "C" __global__ void misaligned(const float *x, float *y, int at) {
  y[0] = *reinterpret_cast<const float *>(reinterpret_cast<const char *>(x) + at);
}
'''
kernel = cp.RawModule(code=code).get_function("{name}")
x = cp.ones({size}, cp.float32)
kernel((1,), (2,), (x, x.copy(), np.int32({at})), shared_mem={size} * 4)
print("finished")
"""


def run(name: str, size: int, at: int) -> subprocess.CompletedProcess[str]:
    code = FAULTY.replace("{name}", name).replace("{size}", str(size)).replace("{at}", str(at))
    return subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["reads", "writes", "shared"])
def test_the_last_element_is_fine_and_the_next_is_not(name: str) -> None:
    inside, outside = run(name, 7, 6), run(name, 7, 7)
    assert inside.returncode == 0, inside.stderr
    assert "finished" in inside.stdout
    assert outside.returncode != 0
    assert "finished" not in outside.stdout
    assert "AddressSanitizer: heap-buffer-overflow" in outside.stderr
    assert f"in {name} " in outside.stderr


def test_what_lies_before_an_array_is_guarded() -> None:
    done = run("writes", 5, -1)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr


def test_misaligned_accesses_are_seen() -> None:
    assert run("misaligned", 5, 4).returncode == 0
    done = run("misaligned", 5, 2)
    assert done.returncode != 0
    assert "misaligned address" in done.stderr


def test_the_sanitizer_must_be_preloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_EMULATION_SANITIZE", "address")
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    with pytest.raises(RuntimeError, match=r"cupy_emulation\.sanitize"):
        compiler.sanitizing()
    monkeypatch.setenv("CUPY_EMULATION_SANITIZE", "everything")
    with pytest.raises(RuntimeError, match="everything"):
        compiler.sanitizing()


def watched(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of `sanitize` as from a shell that sets nothing."""
    return subprocess.run(
        [sys.executable, "-m", "cupy_emulation.sanitize", *arguments],
        env={**ENVIRONMENT, "LD_PRELOAD": "", "CUPY_EMULATION_SANITIZE": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_report_is_not_lost_in_pytests_capture(tmp_path: Path) -> None:
    body = FAULTY.replace("{name}", "writes").replace("{size}", "7").replace("{at}", "7")
    test = tmp_path / "test_faulty.py"
    test.write_text("def test_faulty():\n    " + f"exec({body!r}, {{}})\n")
    done = watched("-m", "pytest", "-q", "-p", "no:cacheprovider", str(test))
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
    assert "in writes " in done.stderr


def test_the_kernels_of_these_tests_stay_inside_their_arrays() -> None:
    path = str(HERE / "test_rawkernel.py")
    done = watched("-m", "pytest", "-q", "-p", "no:cacheprovider", path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "ERROR: AddressSanitizer" not in done.stderr
