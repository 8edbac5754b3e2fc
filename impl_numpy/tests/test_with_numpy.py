"""Tensors next to NumPy: who gives way, what warns, what is refused."""

import re

import numpy as np
import pytest

import impl_numpy as nn


def test_xp_is_numpy_itself() -> None:
    seen = []

    class Look(nn.Function):
        @staticmethod
        def forward(ctx, x):
            seen.append(ctx.xp)
            return x * 1

        @staticmethod
        def backward(ctx, grad):
            seen.append(ctx.xp)
            return grad

    x = nn.ones(2, requires_grad=True)
    nn.ops.sum(Look.apply(x)).backward(create_graph=True)
    assert seen == [np, nn.ops, nn.ops]


@pytest.mark.parametrize("left", [np.ones(2), np.float64(1), np.ones((2, 2))])
def test_numpy_gives_way_on_the_left(left) -> None:
    x = nn.ones(2, dtype=nn.float64, requires_grad=True)
    for y in (left + x, left - x, left * x, left / x, left**x, left == x, left < x):
        assert isinstance(y, nn.Tensor)
    if np.ndim(left):
        assert isinstance(left @ x, nn.Tensor)


def test_asarray_refuses_what_autograd_follows() -> None:
    np.testing.assert_array_equal(np.asarray(nn.ones(2)), np.ones(2))
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(nn.ones(2, requires_grad=True))


def test_dlpack_shares_memory() -> None:
    x = nn.ones(2)
    y = np.from_dlpack(x)
    x.data[0] = 5
    assert y[0] == 5


@pytest.mark.parametrize("exponent", [-1, nn.tensor([1, -2]), np.array([1, -2])])
def test_negative_power_of_integers_is_not_blamed_on_shapes(exponent) -> None:
    with pytest.raises(ValueError, match=r"^pow: integers take no negative exponent"):
        nn.tensor([2, 3]) ** exponent


def test_init_says_which_dtypes_it_takes() -> None:
    with pytest.raises(TypeError, match=r"^init\.uniform_: .*float32 or float64, got int64"):
        nn.init.uniform_(nn.tensor([1, 2]))


def test_grad_must_fit_its_tensor() -> None:
    x = nn.ones((2, 3), requires_grad=True)
    with pytest.raises(ValueError, match=r"\(2, 3\), got \(3,\)"):
        x.grad = nn.ones(3)
    with pytest.raises(TypeError, match="float32, got float64"):
        x.grad = nn.ones((2, 3), dtype=nn.float64)
    with pytest.raises(TypeError, match="got ndarray"):
        x.grad = np.ones((2, 3), np.float32)
    assert x.grad is None
    x.grad = nn.ones((2, 3))
    x.grad = None


@pytest.mark.parametrize("optimizer", [nn.optim.SGD, nn.optim.Adam])
def test_only_leaves_are_optimized(optimizer) -> None:
    with pytest.raises(ValueError, match="can't optimize a Tensor that is no leaf"):
        optimizer([nn.ones(2, requires_grad=True) * 2], lr=0.1)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", "datetime64[s]"])
def test_other_dtypes_are_refused(dtype: str) -> None:
    array = np.ones(2, dtype)
    for make in (nn.tensor, nn.from_array, lambda a: nn.ones(2) * a):
        with pytest.raises(TypeError, match=re.escape(array.dtype.name)):
            make(array)


def test_infinite_results_do_not_warn() -> None:
    x = nn.tensor([0.0, 1.0], requires_grad=True)
    for fn in (nn.ops.sqrt, nn.ops.log, lambda x: 1 / x, lambda x: x**-0.5):
        x.grad = None
        nn.ops.sum(fn(x)).backward()
        assert not np.isfinite(x.grad.data[0])
        assert np.isfinite(x.grad.data[1])
    assert nn.ops.exp(nn.tensor(1000.0)).item() == np.inf


def test_results_without_axes_are_arrays() -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    total = nn.ops.sum(x) * 2
    assert type(total.data) is np.ndarray
    total.backward()
    assert type(x.grad.data) is np.ndarray


def test_gradients_do_not_share_memory() -> None:
    x, y = nn.ones(2, requires_grad=True), nn.ones(2, requires_grad=True)
    seed = nn.ones(2)
    (x + y).backward(seed)
    x.grad.data[0] = 7
    assert y.grad.tolist() == [1.0, 1.0]
    assert seed.tolist() == [1.0, 1.0]


def test_a_stretched_operand_has_the_right_second_derivative() -> None:
    row = nn.tensor([[0.5, 2.0]], dtype=nn.float64, requires_grad=True)
    x = nn.tensor(np.arange(1.0, 7).reshape(3, 2), requires_grad=True)
    nn.ops.sum(x * row * row).backward(create_graph=True)
    slope, row.grad = row.grad, None
    nn.ops.sum(slope * slope).backward()
    sums = x.data.sum(0)
    np.testing.assert_allclose(row.grad.data, [8 * sums**2 * row.data[0]], rtol=1e-14)


def test_embedding_rows_add_up_in_any_order() -> None:
    table = nn.Embedding(5, 3, dtype=nn.float64)
    index = np.array([[4, 0, 4], [-0, 2, 4]])
    weights = np.random.default_rng(0).standard_normal((2, 3, 3))
    nn.ops.sum(table(index) * weights).backward()
    wanted = np.zeros((5, 3))
    np.add.at(wanted, index, weights)
    np.testing.assert_allclose(table.weight.grad.data, wanted, rtol=1e-15)
