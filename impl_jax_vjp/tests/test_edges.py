"""Corners of the API where what NumPy or JAX do is not what is wanted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save as serialize
from tolerances import agree

import impl_jax_vjp as nn


@pytest.mark.parametrize("make", [nn.zeros, nn.ones, nn.empty, nn.eye, nn.rand, nn.randn])
def test_a_constructor_takes_none_for_its_default(make: Callable[..., Any]) -> None:
    assert make(2, dtype=None).dtype == nn.float32


@pytest.mark.parametrize(
    "layer",
    [nn.Linear, nn.Embedding, nn.RNNCell, nn.LSTMCell, nn.GRUCell, nn.RNN, nn.LSTM, nn.GRU],
)
def test_a_layer_takes_none_for_its_default(layer: Callable[..., Any]) -> None:
    assert {p.dtype for p in layer(2, 2, dtype=None).parameters()} == {nn.float32}


def test_a_module_is_not_converted_to_none() -> None:
    with pytest.raises(TypeError, match="to: dtype must be float32 or float64, got None"):
        nn.Linear(1, 1).to(None)


@pytest.mark.parametrize("dtype", ["float16"])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("tensor", lambda raw: nn.tensor(raw)),
        ("tensor", lambda raw: nn.tensor([1], dtype=raw.dtype)),
        ("tensor", lambda raw: nn.tensor(jnp.array(raw))),
        ("from_array", lambda raw: nn.from_array(jnp.array(raw))),
        ("Parameter", lambda raw: nn.Parameter(raw)),
        ("zeros", lambda raw: nn.zeros(1, dtype=raw.dtype)),
        ("full", lambda raw: nn.full(1, 2, dtype=raw.dtype)),
        ("arange", lambda raw: nn.arange(1, dtype=raw.dtype)),
        ("randn", lambda raw: nn.randn(1, dtype=raw.dtype)),
        ("astype", lambda raw: nn.ops.astype(nn.zeros(1), raw.dtype)),
        ("Linear", lambda raw: nn.Linear(1, 1, dtype=raw.dtype)),
    ],
)
def test_a_dtype_that_there_is_not_raises(
    name: str, make: Callable[[Any], Any], dtype: str
) -> None:
    with pytest.raises(TypeError, match=f"({name}|tensor): dtype must be .*, got {dtype}"):
        make(np.ones(1, dtype))


def test_a_number_beyond_int64_raises() -> None:
    with pytest.raises(ValueError, match="tensor: each number must be one that int64 holds"):
        nn.tensor(2**63)
    assert nn.tensor(2**63, dtype=nn.float64).item() == 2.0**63


def test_other_arrays_are_converted_where_a_dtype_is_given() -> None:
    assert nn.tensor(np.ones(1, "uint8"), dtype=nn.int64).dtype == nn.int64


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int16"])
def test_files_hold_the_five_dtypes(tmp_path: Path, dtype: str) -> None:
    path = tmp_path / "file"
    raw = {"w": np.ones(2, dtype)}
    with pytest.raises(TypeError, match=f"save: 'w': dtype must be .*, got {dtype}"):
        nn.save(raw, path)
    assert not path.exists()
    path.write_bytes(serialize(raw))
    with pytest.raises(TypeError, match=f"load: 'w' in .*file': dtype must be .*, got {dtype}"):
        nn.load(path)


def test_data_of_a_leaf_that_requires_grad_stays_floating() -> None:
    leaf = nn.tensor([1.0], requires_grad=True)
    with pytest.raises(
        ValueError, match="data: the dtype of a leaf that requires grad must be float32"
    ):
        leaf.data = nn.tensor([1]).data
    with pytest.raises(TypeError, match="data: dtype must be"):
        leaf.data = np.ones(1, "float16")
    assert leaf.dtype == nn.float32
    leaf.data = nn.tensor([2.0], dtype=nn.float64).data
    assert leaf.tolist() == [2.0]


def _second(x: float, y: float) -> list[list[float]]:
    """Return the second derivatives of ``x ** y``, by rows."""
    pair = [nn.tensor(v, dtype=nn.float64, requires_grad=True) for v in (x, y)]
    (pair[0] ** pair[1]).backward(create_graph=True)
    rows = []
    for first in [t.grad for t in pair]:
        for t in pair:
            t.grad = None
        first.backward(retain_graph=True)
        rows.append([t.grad.item() for t in pair])
    return rows


def test_second_derivatives_of_a_power_whose_exponent_is_zero() -> None:
    log = float(np.log(2.0))
    np.testing.assert_allclose(_second(2.0, 0.0), [[0, 0.5], [0.5, log**2]], rtol=1e-14)
    np.testing.assert_allclose(_second(0.0, 2.0), [[2, 0], [0, 0]])
    np.testing.assert_allclose(_second(0.0, 0.0), np.zeros((2, 2)))


@pytest.mark.parametrize("zero", [0, 0.0, nn.tensor(0.0), nn.tensor([0.0] * 6)])
def test_the_power_zero_is_flat_everywhere(zero: Any) -> None:
    x = nn.tensor([0.0, 1e-40, -2.0, 3.0, np.inf, np.nan], requires_grad=True)
    y = nn.ops.pow(x, zero)
    nn.ops.sum(y).backward()
    assert y.tolist() == [1.0] * 6
    assert x.grad.tolist() == [0.0] * 6


def test_a_square_is_flat_at_zero() -> None:
    x = nn.tensor([0.0, 3.0], requires_grad=True)
    nn.ops.sum(nn.ops.pow(x, nn.tensor(2.0))).backward()
    assert x.grad.tolist() == [0.0, 6.0]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("hook", "error", "message"),
    [
        (lambda g: g[0], ValueError, r"must give shape \(2, 3\), got \(3,\)"),
        (lambda g: nn.ops.astype(g, nn.float64), TypeError, "must give dtype float32, got float64"),
        (lambda g: 1.0, TypeError, "must give a Tensor or None, got float"),
    ],
)
def test_what_a_hook_gives_must_fit(
    hook: Callable[[Any], Any], error: type[Exception], message: str, create_graph: bool
) -> None:
    x = nn.ones((2, 3), requires_grad=True)
    for hooked in (lambda: x, lambda: x * 2):
        y = hooked()
        handle = y.register_hook(hook)
        with pytest.raises(error, match=f"register_hook: the hook {message}"):
            nn.ops.sum(y * y).backward(create_graph=create_graph)
        handle.remove()
        assert x.grad is None


@pytest.mark.parametrize("cls", [np.float16, np.float32, np.float64])
def test_floating_scalars_of_numpy_are_numbers(cls: Callable[[float], Any]) -> None:
    assert nn.tensor([cls(1), 2]).dtype == nn.float32
    for dtype in (nn.float32, nn.float64):
        x = nn.tensor([1.0], dtype=dtype)
        results = [
            x * cls(2),
            cls(2) * x,
            x / cls(2),
            x ** cls(3),
            cls(2) - x,
            nn.ops.add(x, cls(2)),
        ]
        assert {y.dtype for y in results} == {dtype}
    assert (nn.tensor([1]) * cls(2)).dtype == nn.float32


@pytest.mark.parametrize("cls", [np.uint8, np.int16, np.int32, np.int64])
def test_whole_scalars_of_numpy_are_numbers(cls: Callable[[int], Any]) -> None:
    assert nn.tensor([cls(1), 2]).dtype == nn.int64
    for dtype in (nn.float32, nn.float64, nn.int32, nn.int64):
        x = nn.tensor([3], dtype=dtype)
        assert {y.dtype for y in (x * cls(2), cls(2) * x, x ** cls(2))} == {dtype}
    assert nn.ops.where(nn.tensor([True]), cls(1), cls(2)).dtype == nn.int64


def test_a_scalar_of_numpy_keeps_its_digits_in_float64() -> None:
    assert nn.tensor([np.float64(0.1)], dtype=nn.float64).item() == 0.1
    assert (nn.tensor([1.0], dtype=nn.float64) * np.float64(0.1)).item() == 0.1


def test_the_condition_of_where_is_boolean() -> None:
    with pytest.raises(TypeError, match="where: the condition must be of booleans, got dtype int"):
        nn.ops.where(nn.tensor([1, 0]), nn.tensor([1.0, 1.0]), nn.tensor([2.0, 2.0]))


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize(
    "key",
    [
        lambda flag: flag,
        lambda flag: (slice(None), flag),
        lambda flag: (Ellipsis, flag, None),
        lambda flag: (1, flag),
        lambda flag: (flag, slice(None), [0, 2, 1]),
        lambda flag: (slice(None), flag, [1]),
    ],
)
def test_a_mask_without_axes_indexes_as_in_numpy(key: Callable[[Any], Any], flag: bool) -> None:
    values = np.arange(6.0).reshape(2, 3)
    x = nn.tensor(values, requires_grad=True)
    for mask in (flag, np.bool_(flag), nn.tensor(flag)):
        try:
            wanted = values[key(flag)]
        except IndexError:
            with pytest.raises(IndexError):
                x[key(mask)]
            continue
        result = x[key(mask)]
        np.testing.assert_array_equal(result.detach().numpy(), wanted, strict=True)
    nn.ops.sum(x[flag]).backward()
    assert x.grad.tolist() == [[float(flag)] * 3] * 2


@pytest.mark.parametrize("values", [["a"], ["2020-01-01"], [None]])
def test_an_array_that_jax_lacks_is_refused_by_the_name_of_the_call(values: list[Any]) -> None:
    array = np.array(values, "datetime64[D]" if values[0] and len(values[0]) > 1 else None)
    traced = nn.jit(lambda x: x)
    calls = [lambda: traced(array), lambda: traced({"x": array}), lambda: nn.jit(lambda: array)()]
    for call in calls:
        with pytest.raises(TypeError, match=r"^jit.*must be of numbers or booleans, got dtype"):
            call()


def test_what_can_be_read_once_is_no_argument_of_jit() -> None:
    with pytest.raises(TypeError, match=r"jit.*must be one that can be read again, got generator"):
        nn.jit(lambda x, factors: x * sum(factors))(nn.ones(2), (i for i in range(3)))
    value, gradient = nn.value_and_grad(lambda x, factors: x * sum(factors))(
        nn.tensor(1.0), iter([1, 2])
    )
    assert (value.item(), gradient.item()) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        *[(name, (3, 2), (2, 3)) for name in ("RNNCell", "LSTMCell", "GRUCell")],
        *[(name, (3, 2), (2, 1, 3)) for name in ("RNN", "LSTM", "GRU")],
        ("Linear", (3, 2), (1, 3)),
        ("LayerNorm", (3,), (1, 3)),
    ],
)
def test_a_parameter_of_another_shape_is_refused(
    name: str, sizes: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    layer = getattr(nn, name)(*sizes)
    for path, parameter in layer.named_parameters():
        for wrong in ((1,) * parameter.ndim, (1, *parameter.shape), (*parameter.shape, 1)):
            with pytest.raises(ValueError, match=rf"^{name}: .* must be of shape .* got shape"):
                nn.functional_call(layer, {path: nn.ones(wrong)}, nn.ones(shape))


def test_a_recorded_gradient_of_parts_is_put_together_once() -> None:
    x = nn.tensor(np.arange(1.0, 51.0), requires_grad=True)
    sum((part**4 for part in x), nn.tensor(0.0, dtype=nn.float64)).backward(create_graph=True)
    # Were each part an array of 50, the work would grow with the square.
    assert len(x.grad._node.targets) == 50

    def total(x: Any) -> Any:
        return sum((part**4 for part in x[:3]), x[0] * 0) + (x * x * x).sum()

    derivative: Callable[..., Any] = total
    array = np.arange(1.0, 6.0)
    first = np.array([1, 1, 1, 0, 0])
    expected = [
        4 * array**3 * first + 3 * array**2,
        12 * array**2 * first + 6 * array,
        24 * array * first + 6,
        24.0 * first,
    ]
    for wanted in expected:
        gradient = nn.grad(derivative)
        agree(gradient(nn.tensor(array)).numpy(), wanted, "gradient")

        def derivative(x: Any, gradient: Any = gradient) -> Any:
            return gradient(x).sum()
