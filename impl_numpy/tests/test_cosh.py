"""The slopes of tanh and of the sigmoid need cosh, which NumPy does not vectorise everywhere."""

import os
import subprocess
import sys

import numpy as np
import pytest

from impl_numpy.ops.elementwise import cosh_by_exp

DISABLED = "X86_V4 AVX512_ICL AVX512_SPR AVX512F AVX512CD AVX512_SKX"


@pytest.mark.parametrize("largest", [1e-3, 1.0, 5.0, 88.0])
def test_by_exp_has_the_digits(largest) -> None:
    x = np.random.default_rng(0).uniform(-largest, largest, 100_000).astype(np.float32)
    got, wanted = cosh_by_exp(x), np.cosh(x.astype(np.float64))
    assert got.dtype == np.float32
    assert np.max(np.abs(got / wanted - 1)) <= 6 * np.finfo(np.float32).eps


def test_by_exp_at_the_ends() -> None:
    x = np.array([0, -0.0, 200, -200, np.inf, -np.inf, np.nan], np.float32)
    room = np.empty_like(x)
    with np.errstate(all="ignore"):
        result = cosh_by_exp(x, room)
    assert result is room
    np.testing.assert_array_equal(room, np.array([1, 1, *[np.inf] * 4, np.nan], np.float32))
    assert cosh_by_exp(np.array(0, np.float32)) == 1


@pytest.mark.parametrize("disabled", ["", DISABLED])
def test_slopes_on_either_processor(disabled) -> None:
    program = """
import numpy as np
import impl_numpy as nn

for shape in [(), (3,), (40, 40)]:
    values = np.random.default_rng(0).uniform(-9, 9, shape).astype("float32")
    grads = []
    for dtype in ("float32", "float64"):
        x = nn.tensor(values.astype(dtype), requires_grad=True)
        nn.ops.sum(nn.ops.sigmoid(x)).backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=2e-6)
layer, other = nn.LSTM(3, 5), nn.LSTM(3, 5, dtype="float64")
wide = {k: v.numpy().astype("float64") for k, v in layer.state_dict().items()}
other.load_state_dict({k: nn.tensor(v) for k, v in wide.items()})
values = np.random.default_rng(0).uniform(-3, 3, (4, 2, 3)).astype("float32")
for one in (layer, other):
    nn.ops.sum(one(nn.tensor(values.astype(one.weight_ih_l0.dtype)))[0]).backward()
for a, b in zip(layer.parameters(), other.parameters(), strict=True):
    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=2e-5, atol=2e-6)
"""
    variables = {**os.environ, "NPY_DISABLE_CPU_FEATURES": disabled}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
