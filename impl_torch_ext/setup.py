"""The C++ part of impl_torch_ext; everything else about the package stands in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

# Contraction into fused multiply-adds is the default of GCC and said for clang. What else
# -ffast-math allows is not: a NaN has to pass through, and sums keep their order.
# No warning about how vectors are passed: the functions that take them are always inlined.
FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"]

setup(
    ext_modules=[
        CppExtension(
            "impl_torch_ext._C",
            sorted(str(path) for path in Path("csrc").glob("*.cpp")),
            depends=sorted(str(path) for path in Path("csrc").iterdir()),
            extra_compile_args={"cxx": FLAGS},
        )
    ],
    cmdclass={"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)},
)
