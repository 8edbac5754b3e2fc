"""The chapter ``init``: truncated, orthogonal, sparse and fixed values; the state of the stream."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.support.assertions import agrees, exactly, raw, refuses, to_numpy


def filled(nn: Any, shape: tuple[int, ...], dtype: str = "float32") -> Any:
    """Return a Parameter for an initialiser to fill."""
    return nn.Parameter(nn.tensor(np.full(shape, 9, dtype)))


@clause("init-11")
def test_the_state_is_that_of_the_text(nn: Any) -> None:
    for seed in (0, 3, 2**63):
        draws = Draws(seed)
        nn.manual_seed(seed)
        state = nn.get_rng_state()
        assert isinstance(state, nn.Tensor)
        exactly(nn, state, draws.state(), call="a new seed")
        for count in (1, 4, 6):
            nn.rand((count,))
            draws.units(count)
            exactly(nn, nn.get_rng_state(), draws.state(), call=f"{count} more")


@clause("init-11")
@pytest.mark.parametrize("kind", ["Tensor", "raw array", "NumPy array"])
def test_a_state_is_taken_up(nn: Any, kind: str) -> None:
    draws = Draws(2**64 - 1)
    draws.units(6)
    state = draws.state()
    given = {"Tensor": nn.tensor, "raw array": lambda x: raw(nn, x), "NumPy array": np.array}[kind]
    nn.manual_seed(4)
    assert nn.set_rng_state(given(state)) is None
    exactly(nn, nn.get_rng_state(), state)
    exactly(nn, nn.rand((3,)), draws.uniform((3,), 0.0, 1.0, "float32"))
    exactly(nn, nn.randn((3,)), draws.normal((3,), 0.0, 1.0, "float32"))


@clause("init-11")
def test_a_state_stays_as_it_was_taken(nn: Any) -> None:
    nn.manual_seed(4)
    state = nn.get_rng_state()
    before = to_numpy(nn, state).copy()
    first = to_numpy(nn, nn.rand((3,))).copy()
    for _ in range(2):
        nn.set_rng_state(state)
        exactly(nn, nn.rand((3,)), first)
        exactly(nn, state, before)
    given = np.array(before)
    nn.set_rng_state(given)
    given[...] = 0
    exactly(nn, nn.rand((3,)), first)


@clause("init-11", needs="serialization")
def test_a_state_is_saved_and_loaded(nn: Any, tmp_path: Path) -> None:
    nn.manual_seed(2**63)
    nn.rand((3,))
    nn.save({"generator": nn.get_rng_state()}, tmp_path / "state.safetensors")
    want = to_numpy(nn, nn.rand((3,))).copy()
    nn.set_rng_state(nn.load(tmp_path / "state.safetensors")["generator"])
    exactly(nn, nn.rand((3,)), want)


@clause("init-11")
def test_states_that_are_refused(nn: Any) -> None:
    draws = Draws(5)
    nn.manual_seed(5)
    good = draws.state()
    late, early = good.copy(), good.copy()
    late[-1], early[-1] = 5, -1
    for state, error, fragment in (
        (None, TypeError, "None"),
        ("state", TypeError, "str"),
        ({"state": 1}, TypeError, "dict"),
        (good.astype(np.int32), TypeError, "int32"),
        (good.astype(np.float32), TypeError, "float32"),
        (good[:10], ValueError, "(10,)"),
        (good.reshape(11, 1), ValueError, "(11, 1)"),
        (late, ValueError, "5"),
        (early, ValueError, "-1"),
    ):
        with refuses(error, "set_rng_state", fragment):
            nn.set_rng_state(state)
        exactly(nn, nn.get_rng_state(), good)
    exactly(nn, nn.rand((2,)), draws.uniform((2,), 0.0, 1.0, "float32"))


# mean, std, a and b: normal candidates, uniform ones about 0, and both tails.
TRUNCATED = [
    (0.0, 1.0, -2.0, 2.0),
    (0.5, 0.25, -2.0, 1.0),
    (0.0, 1.0, -0.5, 1.5),
    (0.0, 2.0, 0.0, 5.0),
    (0.0, 1.0, 0.0, 2.25),
    (0.0, 1.0, 3.0, 1000.0),
    (0.0, 1.0, 0.5, 200.0),
    (1.0, 0.5, -1000.0, -1.0),
    (1.0, 1.0, 0.75, 0.75),
    (0.0, 1e-3, 40.0, 41.0),
]


@clause("init-12", "init-05")
def test_truncated_normal_numbers(nn: Any, dtype: str) -> None:
    draws = Draws(12)
    nn.manual_seed(12)
    for bounds in TRUNCATED:
        parameter = filled(nn, (5, 3), dtype)
        assert nn.init.trunc_normal_(parameter, *bounds) is parameter
        call = f"trunc_normal_ of {bounds}"
        exactly(nn, parameter, draws.truncated((5, 3), bounds, dtype), call=call)
        got = to_numpy(nn, parameter).astype(np.float64)
        assert np.all((got >= bounds[2]) & (got <= bounds[3])), call
        assert parameter.is_leaf
        assert parameter.requires_grad
    bounds = (0.25, 1.5, -1.0, 4.0)
    drawn = nn.init.trunc_normal_(filled(nn, (5, 3), dtype), mean=0.25, std=1.5, a=-1.0, b=4.0)
    exactly(nn, drawn, draws.truncated((5, 3), bounds, dtype))
    drawn = nn.init.trunc_normal_(filled(nn, (5, 3), dtype))
    exactly(nn, drawn, draws.truncated((5, 3), TRUNCATED[0], dtype))
    nn.init.trunc_normal_(filled(nn, (0, 3), dtype))
    exactly(nn, nn.get_rng_state(), draws.state())


@clause("init-12")
def test_truncated_normal_numbers_are_so_distributed(nn: Any) -> None:
    nn.manual_seed(13)
    count = 4096
    for a, b in ((-2.0, 2.0), (-0.5, 1.5), (2.0, 50.0)):
        x = np.sort(to_numpy(nn, nn.init.trunc_normal_(nn.zeros((count,)), a=a, b=b)))
        low, high = (math.erf(end / math.sqrt(2)) for end in (a, b))
        below = np.array([math.erf(float(v) / math.sqrt(2)) for v in x])
        distance = np.abs((below - low) / (high - low) - (np.arange(count) + 0.5) / count)
        assert distance.max() < 2 / math.sqrt(count), f"between {a} and {b}"


@clause("init-13", "init-05")
def test_orthogonal(nn: Any, dtype: str) -> None:
    draws = Draws(14)
    nn.manual_seed(14)
    for shape, gain in (((3, 3), 1), ((5, 3), 1.5), ((2, 3, 2), 0.5), ((1, 4), 1), ((4, 1), 0)):
        parameter = filled(nn, shape, dtype)
        assert nn.init.orthogonal_(parameter, gain) is parameter
        call = f"orthogonal_ of {shape}"
        exactly(nn, parameter, draws.orthogonal(shape, gain, dtype), call=call)
        flat = to_numpy(nn, parameter).reshape(shape[0], -1)
        gram = flat @ flat.T if len(flat) < flat.shape[1] else flat.T @ flat
        agrees(nn, gram, gain**2 * np.eye(len(gram)), "matmul", call=call)
        assert parameter.is_leaf
    drawn = nn.init.orthogonal_(filled(nn, (3, 3), dtype), gain=2.0)
    exactly(nn, drawn, draws.orthogonal((3, 3), 2.0, dtype))
    for shape in ((0, 3), (3, 0)):
        nn.init.orthogonal_(filled(nn, shape, dtype))
    exactly(nn, nn.get_rng_state(), draws.state())


@clause("init-14")
def test_eye(nn: Any, dtype: str) -> None:
    nn.manual_seed(5)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    for shape in ((3, 3), (2, 4), (4, 2), (0, 3)):
        parameter = filled(nn, shape, dtype)
        assert nn.init.eye_(parameter) is parameter
        exactly(nn, parameter, np.eye(*shape, dtype=dtype))
    exactly(nn, nn.init.eye_(nn.tensor([[7, 7], [7, 7]])), np.eye(2, dtype=np.int64))
    exactly(nn, nn.get_rng_state(), state)


@clause("init-14")
def test_dirac(nn: Any, dtype: str) -> None:
    nn.manual_seed(5)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    for shape, groups in (
        ((3, 2, 3), 1),
        ((2, 3, 4), 1),
        ((4, 2, 3, 2), 2),
        ((6, 1, 1, 3), 3),
        ((2, 2, 2, 3, 5), 1),
    ):
        parameter = filled(nn, shape, dtype)
        assert nn.init.dirac_(parameter, groups) is parameter
        want = np.zeros(shape, dtype)
        each = shape[0] // groups
        for group in range(groups):
            for d in range(min(each, shape[1])):
                want[(group * each + d, d, *(size // 2 for size in shape[2:]))] = 1
        exactly(nn, parameter, want, call=f"dirac_ of {shape}, groups={groups}")
    exactly(nn, nn.init.dirac_(filled(nn, (1, 1, 1), dtype)), np.ones((1, 1, 1), dtype))
    counts = nn.init.dirac_(nn.tensor([[[7, 7]]]), groups=1)
    exactly(nn, counts, np.array([[[0, 1]]]))
    exactly(nn, nn.get_rng_state(), state)


@clause("init-14")
def test_a_convolution_with_dirac_passes_its_input_on(nn: Any) -> None:
    weight = to_numpy(nn, nn.init.dirac_(nn.zeros((2, 2, 3))))
    x = np.arange(8.0).reshape(2, 4)
    padded = np.pad(x, ((0, 0), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=1)
    assert np.array_equal(np.einsum("oik,itk->ot", weight, windows), x)


@clause("init-15", "init-05")
def test_sparse(nn: Any, dtype: str) -> None:
    draws = Draws(15)
    nn.manual_seed(15)
    for shape, sparsity, std in (
        ((5, 3), 0.4, 0.01),
        ((4, 2), 0.3, 2.0),
        ((3, 3), 0, 0.5),
        ((3, 3), 1, 0.5),
        ((1, 4), 0.1, 1.0),
    ):
        parameter = filled(nn, shape, dtype)
        assert nn.init.sparse_(parameter, sparsity, std) is parameter
        call = f"sparse_ of {shape}, {sparsity}"
        exactly(nn, parameter, draws.sparse(shape, sparsity, std, dtype), call=call)
        zeros = (to_numpy(nn, parameter) == 0).sum(axis=0)
        assert set(zeros.tolist()) == {math.ceil(sparsity * shape[0])}, call
    drawn = nn.init.sparse_(filled(nn, (5, 3), dtype), sparsity=0.5)
    exactly(nn, drawn, draws.sparse((5, 3), 0.5, 0.01, dtype))
    for shape in ((0, 3), (3, 0)):
        nn.init.sparse_(filled(nn, shape, dtype), 0.5)
    exactly(nn, nn.get_rng_state(), draws.state())


@clause("init-07")
@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d", "selu"])
def test_gains_of_more(nn: Any, name: str) -> None:
    gain = nn.init.calculate_gain
    assert gain(name) == (3 / 4 if name == "selu" else 1)
    draws = Draws(16)
    nn.manual_seed(16)
    bound = gain(name) * math.sqrt(3 / 5)
    drawn = nn.init.kaiming_uniform_(nn.zeros((3, 5)), nonlinearity=name)
    exactly(nn, drawn, draws.uniform((3, 5), -bound, bound, "float32"))
    if name != "selu":
        assert gain(name.replace("conv", "conv_transpose")) == 1


NAN, INF = math.nan, math.inf
UNFIT: list[tuple[str, tuple[int, ...], dict[str, Any], type[Exception], str]] = [
    *[
        ("trunc_normal_", (2, 3), {name: bad}, ValueError, name)
        for name in ("mean", "std", "a", "b")
        for bad in (NAN, INF)
    ],
    ("trunc_normal_", (2, 3), {"std": 0.0}, ValueError, "std"),
    ("trunc_normal_", (2, 3), {"std": -1.0}, ValueError, "std"),
    ("trunc_normal_", (2, 3), {"a": 1.0, "b": 0.5}, ValueError, "a"),
    ("trunc_normal_", (2, 3), {"std": 1e-300, "b": 1e300}, ValueError, "b"),
    ("trunc_normal_", (2, 3), {"mean": "0"}, TypeError, "mean"),
    ("orthogonal_", (3,), {}, ValueError, "(3,)"),
    ("orthogonal_", (), {}, ValueError, "()"),
    ("orthogonal_", (2, 3), {"gain": NAN}, ValueError, "gain"),
    ("orthogonal_", (2, 3), {"gain": -1.0}, ValueError, "gain"),
    ("eye_", (3,), {}, ValueError, "(3,)"),
    ("eye_", (2, 2, 2), {}, ValueError, "(2, 2, 2)"),
    ("dirac_", (2, 3), {}, ValueError, "(2, 3)"),
    ("dirac_", (1, 1, 1, 1, 1, 1), {}, ValueError, "(1, 1, 1, 1, 1, 1)"),
    ("dirac_", (3, 2, 1), {"groups": 2}, ValueError, "groups"),
    ("dirac_", (3, 2, 1), {"groups": 0}, ValueError, "groups"),
    ("dirac_", (3, 2, 1), {"groups": 1.0}, TypeError, "groups"),
    ("sparse_", (3,), {"sparsity": 0.5}, ValueError, "(3,)"),
    ("sparse_", (2, 2, 2), {"sparsity": 0.5}, ValueError, "(2, 2, 2)"),
    ("sparse_", (2, 3), {"sparsity": 1.5}, ValueError, "sparsity"),
    ("sparse_", (2, 3), {"sparsity": -0.5}, ValueError, "sparsity"),
    ("sparse_", (2, 3), {"sparsity": NAN}, ValueError, "sparsity"),
    ("sparse_", (2, 3), {"sparsity": 0.5, "std": -1.0}, ValueError, "std"),
]


@clause("init-05", "init-12", "init-13", "init-14", "init-15")
def test_what_is_refused_changes_nothing(nn: Any) -> None:
    nn.manual_seed(5)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    for name, shape, options, error, fragment in UNFIT:
        x = nn.ones(shape)
        with refuses(error, name, fragment):
            getattr(nn.init, name)(x, **options)
        exactly(nn, x, np.ones(shape, np.float32), call=f"{name} after its refusal")
    whole = nn.tensor([[7, 8]])
    for name, rest in (("trunc_normal_", ()), ("orthogonal_", ()), ("sparse_", (0.5,))):
        with refuses(TypeError, name, "int64"):
            getattr(nn.init, name)(whole, *rest)
        with refuses(TypeError, name):
            getattr(nn.init, name)([[1.0]], *rest)
    exactly(nn, whole, np.array([[7, 8]]))
    exactly(nn, nn.get_rng_state(), state)
