"""The C++ part of impl_torch_ext; everything else about the package stands in pyproject.toml."""

from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension

FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"]
NAMES = ["bindings", "sequence", "panels", "outer", "relu", "rnn_tanh", "rnn_lstm", "rnn_gru"]

setup(
    ext_modules=[
        CppExtension(
            "impl_torch_ext._C",
            [f"csrc/{name}.cpp" for name in NAMES],
            extra_compile_args={"cxx": FLAGS},
        )
    ],
    cmdclass={"build_ext": BuildExtension.with_options(no_python_abi_suffix=True)},
)
