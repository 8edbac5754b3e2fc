"""The C++ part of impl_torch_ext; everything else about the package stands in pyproject.toml.

IMPL_TORCH_EXT_OPENMP=0 in the environment builds it without threads, by choice.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

import torch
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension, get_cxx_compiler

# Contraction into fused multiply-adds is the default of GCC and said for clang. What else
# -ffast-math allows is not: a NaN has to pass through, and sums keep their order.
# No warning about how vectors are passed: the functions that take them are always inlined.
# Python's own flags ask for debugging information, which takes as long to write as all the rest.
FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"]


def openmp() -> tuple[list[str], list[str]]:
    """Return what the compiler and the linker need for the threads that torch was built with.

    Raises
    ------
    SystemExit
        If torch has threads of OpenMP and the compiler does not: at::parallel_for would be a loop
        on one thread, and nothing would say so.
    """
    if os.environ.get("IMPL_TORCH_EXT_OPENMP", "1") == "0":
        return [], []
    if "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info():
        msg = "torch was built without OpenMP, whose threads the kernels share"
        raise SystemExit(refusal(msg))
    compiler = get_cxx_compiler()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.cpp")
        source.write_text("#include <omp.h>\nint main() { return omp_get_max_threads() == 0; }\n")
        command = [compiler, "-fopenmp", "-c", str(source), "-o", str(source.with_suffix(".o"))]
        probe = subprocess.run(command, capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        msg = f"{compiler} does not compile with -fopenmp: {probe.stderr.strip()}"
        raise SystemExit(refusal(msg))
    return ["-fopenmp"], [loaded_runtime() or "-fopenmp"]


def refusal(reason: str) -> str:
    """Return a message that says how to build without threads."""
    return f"impl_torch_ext: {reason}. IMPL_TORCH_EXT_OPENMP=0 builds it for one thread."


def loaded_runtime() -> str | None:
    """Return the file of the OpenMP runtime that torch brought into this process.

    Linked by its file, the extension asks for that runtime's own name, which wheels change.
    """
    maps = Path("/proc/self/maps")
    text = maps.read_text() if maps.exists() else ""
    files = sorted(set(re.findall(r"/\S*/lib(?:gomp|omp|iomp)\S*\.so\S*", text)))
    return files[0] if len(files) == 1 else None


if __name__ == "__main__":
    compile_flags, link_flags = openmp()
    setup(
        ext_modules=[
            CppExtension(
                "impl_torch_ext._C",
                sorted(str(path) for path in Path("csrc").glob("*.cpp")),
                depends=sorted(str(path) for path in Path("csrc").iterdir()),
                extra_compile_args={"cxx": [*FLAGS, *compile_flags]},
                extra_link_args=link_flags,
            )
        ],
        cmdclass={"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)},
    )
