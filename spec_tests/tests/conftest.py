"""The judge is judged in processes of its own: the plugin is what is under test."""

import pytest

pytest_plugins = ["pytester"]


def pytest_addoption(parser):
    parser.addoption("--fuzz-calls", type=int, default=4000, help="calls that do not fit, each")
    parser.addoption("--fuzz-seed", type=int, default=0, help="decides the calls")


IMPLEMENTATION = """
import numpy as np

__version__ = "1.2.3"
seeds = []


class Tensor:
    def __init__(self, array):
        self.array = np.array(array)
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def detach(self):
        return self

    def numpy(self):
        return self.array


def tensor(data, requires_grad=False):
    return Tensor(data)


def spec_capabilities():
    return {"double_backward": False, "float64": True, "jit": False, "serialization": True}


def manual_seed(seed):
    seeds.append(seed)
"""

CHAPTER = """# demo

### demo-01 Sums are sums
The sum of `x` is its sum.

### demo-02 Second things
*Capability: double_backward.* Are differentiable.
"""


@pytest.fixture
def judge(pytester):
    """Return a function that runs test files on an implementation made for the purpose.

    ``judge(*options, name=source, ...)`` writes each source to a file and runs them all, against
    the chapter `CHAPTER`.
    """
    pytester.makepyfile(fake_impl=IMPLEMENTATION)
    spec = pytester.mkdir("spec")
    (spec / "demo.md").write_text(CHAPTER, encoding="utf-8")

    def run(*options, implementation="fake_impl", **sources):
        pytester.makepyfile(**sources)
        chosen = ["--impl", implementation] if implementation else []
        return pytester.runpytest_subprocess(
            *chosen, "--spec", "spec", "--result", "result.json", "-p", "no:cacheprovider", *options
        )

    return run
