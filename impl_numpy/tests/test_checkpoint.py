"""What a checkpoint keeps, what it finds again, and what it notices."""

import gc
import weakref

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.memory import Reads
from impl_numpy.recording import noting
from impl_numpy.tape import MODE

ops = nn.ops


def drawn(*shape: int, seed: int = 0) -> nn.Tensor:
    values = np.random.default_rng(seed).uniform(-1, 1, shape)
    return nn.tensor(values, dtype=nn.float64, requires_grad=True)


class Plus(nn.Function):
    @staticmethod
    def forward(ctx, x, y):
        return x + y

    @staticmethod
    def backward(ctx, grad):
        return grad, grad


def test_reads_are_what_came_from_elsewhere() -> None:
    x, w, b = drawn(3), drawn(3, seed=1), nn.tensor([1.0, 2.0, 3.0], dtype=nn.float64)
    reads = Reads()
    with noting(reads):
        y = ops.tanh(x * w) * nn.ones(3, dtype=nn.float64)
        y = Plus.apply(y.reshape(3, 1)[:, 0], b)
    assert len(reads.kept()) == 4
    del y
    # The ones went with the graph.
    found = {id(memory) for memory in reads.kept()}
    assert found == {id(t._data) for t in (x, w, b)}


def test_only_the_arguments_are_kept() -> None:
    x, mid = drawn(4), []

    def fn(a):
        h = ops.sin(a)
        mid.append(weakref.ref(h._data))
        return ops.sin(h)

    gc.disable()
    try:
        y = nn.checkpoint(fn, x)
        assert mid[0]() is None
        y.sum().backward()
        assert mid[1]() is None
    finally:
        gc.enable()
    np.testing.assert_allclose(x.grad.data, np.cos(np.sin(x.data)) * np.cos(x.data))


def write(w: nn.Tensor) -> None:
    w.data[...] = 5


def replace(w: nn.Tensor) -> None:
    w.data = np.full(3, 5.0)


@pytest.mark.parametrize("change", [write, replace, nn.init.zeros_])
@pytest.mark.parametrize("wants_grad", [True, False])
@pytest.mark.parametrize("function", [lambda a, w: a + w, Plus.apply])
@pytest.mark.parametrize("create_graph", [True, False])
def test_a_change_of_what_no_operation_keeps_is_noticed(
    change, wants_grad, function, create_graph
) -> None:
    x, w = drawn(2, 3), drawn(3, seed=1).requires_grad_(wants_grad)
    w = w if function is not Plus.apply else nn.tensor(np.ones((2, 3)))
    y = nn.checkpoint(lambda a: ops.tanh(function(a, w)), x)
    change(w) if w.ndim == 1 else nn.init.zeros_(w)
    with pytest.raises(RuntimeError, match="backward: checkpoint needs the values"):
        y.sum().backward(create_graph=create_graph)
    assert x.grad is None


def test_what_is_lent_is_watched_anew_by_each() -> None:
    array, x = np.ones(3), drawn(2, 3)
    w = nn.from_array(array)
    call = lambda: nn.checkpoint(lambda a: ops.tanh(a + w), x)  # noqa: E731
    first = call()
    array[...] = 2
    second, third = call(), call()
    with pytest.raises(RuntimeError, match=r"shape \(3,\)"):
        first.sum().backward()
    second.sum().backward()
    np.testing.assert_allclose(x.grad.data, 1 - np.tanh(x.data + 2) ** 2)
    array[...] = 3
    with pytest.raises(RuntimeError, match=r"shape \(3,\)"):
        third.sum().backward()


def test_other_changes_are_no_matter() -> None:
    x, other, constant = drawn(3), drawn(3, seed=1), np.ones(3)
    y = nn.checkpoint(lambda a, c: ops.tanh(a * c), x, constant)
    constant[...] = 7
    write(other)
    replace(other)
    y.sum().backward()
    want = 1 - np.tanh(drawn(3).data) ** 2
    np.testing.assert_allclose(x.grad.data, want)


def test_hooks_run_once() -> None:
    x, seen = drawn(3), []
    mid = x * 1.0
    mid.register_hook(lambda grad: seen.append("outside") or grad * 2)

    def fn(a):
        h = a * a
        h.register_hook(lambda _: seen.append("inside"))
        return h

    nn.checkpoint(fn, mid).sum().backward()
    assert seen == ["inside", "outside"]
    np.testing.assert_allclose(x.grad.data, 4 * x.data)


def test_other_parameters_are_found_again() -> None:
    layer, x = nn.Linear(3, 2, dtype=nn.float64), drawn(4, 3)

    class Checked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return ops.sum(ops.tanh(nn.checkpoint(self.layer, x)))

    model = Checked()
    params = {name: nn.tensor(2 * p.data) for name, p in model.named_parameters()}
    found = nn.grad(lambda p: nn.functional_call(model, p, x))(params)
    weight, bias = params["layer.weight"], params["layer.bias"]
    want = nn.grad(lambda w, b: ops.sum(ops.tanh(x @ w.T + b)), (0, 1))(weight, bias)
    for a, b in zip(found.values(), want, strict=True):
        np.testing.assert_allclose(a.data, b.data)
    assert MODE.within == ()


def test_everything_is_as_before_after_an_error() -> None:
    x, calls = drawn(3), []

    def fn(a):
        calls.append(nn.rand(2).tolist())
        if len(calls) % 2 == 0:
            raise KeyError
        return a * a

    nn.manual_seed(1)
    y = nn.checkpoint(fn, x)
    after = nn.rand(2).tolist()
    with pytest.raises(KeyError):
        y.sum().backward()
    with pytest.raises(KeyError):
        nn.checkpoint(lambda a: fn(a) + fn(a), x)
    assert calls[0] == calls[1] != calls[2] != calls[3]
    assert (MODE.through, MODE.transforms, MODE.recording) == (None, 0, True)
    nn.manual_seed(1)
    assert [nn.rand(2).tolist() for _ in range(4)] == [calls[0], after, *calls[2:]]


def test_a_seed_given_inside_stays_inside() -> None:
    x = drawn(3)

    def fn(a):
        nn.manual_seed(3)
        return a * nn.rand(3, dtype=nn.float64)

    y = nn.checkpoint(fn, x)
    nn.manual_seed(4)
    y.sum().backward()
    here = nn.rand(2).tolist()
    nn.manual_seed(4)
    assert here == nn.rand(2).tolist()


def test_another_result_is_refused() -> None:
    x, sizes = drawn(3), iter([3, 2])
    y = nn.checkpoint(lambda a: a[: next(sizes)] * 1.0, x)
    with pytest.raises(RuntimeError, match="checkpoint: fn must return the same"):
        y.sum().backward()


def test_indices_among_the_arguments_are_watched() -> None:
    x, index = drawn(3), nn.tensor([2, 0])
    y = nn.checkpoint(lambda a, k: ops.sin(a[k]), x, index)
    index.data[...] = 1
    with pytest.raises(RuntimeError, match=r"checkpoint needs the values .* shape \(2,\)"):
        y.sum().backward()
    y = nn.checkpoint(lambda a, k: ops.sin(a[k]), x, array := np.array([2, 0]))
    array[:] = 1
    y.sum().backward()
    np.testing.assert_allclose(x.grad.data, np.cos(x.data) * [1, 0, 1])
