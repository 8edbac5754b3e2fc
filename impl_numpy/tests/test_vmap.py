"""`vmap` of this implementation: arrays of all slices on one tape, and what runs slice by slice."""

import warnings

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy import ops
from impl_numpy.batched import Batched, Level, NotKnown, Unknown, chosen
from impl_numpy.by_slice import each


@pytest.fixture(autouse=True)
def _in_use():
    """What arrays are asked of begins with the first `vmap` of a process, whichever test has it."""
    nn.vmap(lambda x: x)(nn.tensor([0.0]))


def normal(*shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def looped(fn, *stacks):
    return np.stack([fn(*[s[k] for s in stacks]) for k in range(len(stacks[0]))])


class Reads(nn.Function):
    """Cannot run at once."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.sign = 1.0 if float(x.sum()) > 0 else -1.0
        ctx.save_for_backward(x, w)
        return x * x * w * ctx.sign

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return 2 * x * w * g * ctx.sign, x * x * g * ctx.sign


def by_ops(x, w):
    sign = ops.where(ops.sum(x) > 0, 1.0, -1.0)
    return x * x * w * sign


def quietly(fn, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return fn(*args)


DERIVATIVES = {
    "value": lambda fn, x, w: nn.vmap(fn, (0, None))(x, w),
    "grad of shared": lambda fn, x, w: nn.grad(
        lambda w: ops.sum(nn.vmap(fn, (0, None))(x, w) ** 2)
    )(w),
    "samples": lambda fn, x, w: nn.vmap(nn.grad(lambda w, x: ops.sum(fn(x, w) ** 2)), (None, 0))(
        w, x
    ),
    "hessian within": lambda fn, x, w: nn.vmap(
        nn.hessian(lambda w, x: ops.sum(fn(x, w) ** 3)), (None, 0)
    )(w, x),
    "hessian around": lambda fn, x, w: nn.hessian(
        lambda w: ops.sum(nn.vmap(fn, (0, None))(x, w) ** 3)
    )(w),
    "penalty": lambda fn, x, w: nn.grad(
        lambda w: ops.sum(
            nn.vmap(nn.grad(lambda w, x: ops.sum(fn(x, w) ** 3)), (None, 0))(w, x) ** 2
        )
    )(w),
    "twice": lambda fn, x, w: nn.vmap(
        lambda s: nn.vmap(nn.grad(lambda x, w: ops.sum(fn(x * s, w) ** 2)), (0, None))(x, w * s)
    )(nn.tensor(np.array([1.0, -2.0]))),
    "pull": lambda fn, x, w: nn.vmap(nn.vjp(lambda w: fn(x[0], w), w)[1])(
        nn.eye(3, dtype=nn.float64)
    )[0],
    "jvp": lambda fn, x, w: nn.jvp(lambda w: nn.vmap(fn, (0, None))(x, w), (w,), (w,))[1],
    "checkpoint": lambda fn, x, w: nn.grad(
        lambda w: ops.sum(nn.vmap(lambda x: nn.checkpoint(fn, x, w) ** 2)(x))
    )(w),
    "checkpoint around": lambda fn, x, w: nn.grad(
        lambda w: ops.sum(nn.checkpoint(nn.vmap(fn, (0, None)), x, w) ** 2)
    )(w),
    "mapped twice, one gradient": lambda fn, x, w: nn.grad(
        lambda w: ops.sum(nn.vmap(lambda s: nn.vmap(lambda x: fn(x * s, w) ** 2)(x))(x[:2, 0]) ** 2)
    )(w),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_what_runs_by_slices_has_every_derivative(name):
    x, w = nn.tensor(normal(4, 3)), nn.tensor(normal(3, seed=1))
    got = quietly(DERIVATIVES[name], Reads.apply, x, w)
    want = DERIVATIVES[name](by_ops, x, w)
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-10, atol=1e-12)


def test_a_result_without_axis_gets_its_gradient_once():
    w = nn.tensor(normal(3), requires_grad=True)
    x = nn.tensor(normal(4, 3, seed=1))

    def fn(x):
        v = w * 2
        return x * v, v

    y, v = nn.vmap(fn, out_axes=(0, None))(x)
    (ops.sum(y) + ops.sum(v * 5)).backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * x.numpy().sum(0) + 10)


def test_second_derivatives_of_sums_over_slices():
    """What all slices share is differentiated as often as there are slices."""
    x, w = nn.tensor(normal(4, 3)), nn.tensor(normal(3, seed=1), requires_grad=True)
    y = nn.vmap(lambda x: x + w * w * w)(x)
    (first,) = nn.grad(ops.sum(y), [w], create_graph=True)
    np.testing.assert_allclose(first.detach().numpy(), 12 * w.detach().numpy() ** 2)
    ops.sum(first).backward()
    np.testing.assert_allclose(w.grad.numpy(), 24 * w.detach().numpy())


@pytest.mark.parametrize("indexed", [False, True])
def test_what_is_cut_and_used_whole_gets_both_gradients(indexed):
    def of(x):
        def fn(a):
            return a * (x[0] + x[1] + x[2] if indexed else ops.sum(x))

        return ops.sum(nn.vmap(fn)(x)) + (x[0] if indexed else ops.sum(x))

    x = nn.tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)
    want = np.array([13.0, 12.0, 12.0]) if indexed else np.full(3, 13.0)
    np.testing.assert_allclose(nn.grad(of)(x.detach()).numpy(), want)
    np.testing.assert_allclose(nn.hessian(of)(x.detach()).numpy(), np.full((3, 3), 2.0))
    of(x * 1).backward()
    np.testing.assert_allclose(x.grad.numpy(), want)


def test_a_leaf_made_within_gets_the_gradient_of_all_slices():
    made = []

    def fn(x):
        leaf = nn.tensor(np.ones(3), requires_grad=True)
        made.append(leaf)
        return x * leaf

    x = normal(4, 3)
    ops.sum(nn.vmap(fn)(nn.tensor(x))).backward()
    np.testing.assert_allclose(made[0].grad.numpy(), x.sum(0))


KEYS = {
    "slice": (slice(1, None),),
    "apart": ([0, 1], slice(None), [1, 0]),
    "after a slice": (slice(None), [1, 0]),
    "integer and array": (0, slice(None), [2, 1]),
    "new axis": (None, [0, 1], None),
    "ellipsis": (..., [1, 1]),
    "mask": (slice(None), np.array([True, False, True])),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_indices_find_the_axis_of_the_slices(key):
    whole = normal(5, 2, 3, 4)
    key = tuple(np.array(k) if isinstance(k, list) else k for k in key)
    level = Level(5, -1)
    got = chosen(Batched(level, whole), key)
    np.testing.assert_array_equal(got.values, looped(lambda x: x[key], whole))
    leaf = nn.tensor(whole, requires_grad=True)
    weights = normal(*got.shape, seed=3)
    ops.sum(nn.vmap(lambda x: x[key] * weights)(leaf)).backward()
    want = np.zeros(whole.shape)
    for k in range(5):
        np.add.at(want[k], key, weights)
    np.testing.assert_allclose(leaf.grad.numpy(), want)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_put_at_indices_that_are_cut(shared, place):
    places = np.array([[0, 1], [2, 2], [1, 0]])
    whole = normal(3, 3) if shared else normal(3, 3, 3)
    values = normal(3, 2, 3) if place == 0 else normal(3, 3, 2)
    ahead = (slice(None),) * place

    def fn(x, key, v):
        return ops.put(x, (*ahead, key), v)

    axes = (None if shared else 0, 0, 0)
    got = nn.vmap(fn, axes)(nn.tensor(whole), nn.tensor(places), nn.tensor(values))
    for k in range(3):
        want = fn(nn.tensor(whole if shared else whole[k]), places[k], nn.tensor(values[k]))
        np.testing.assert_array_equal(got.numpy()[k], want.numpy())


def test_numpy_is_told_or_refused():
    x = Batched(Level(2, -1), normal(2, 3))
    for attempt in (
        lambda: np.asarray(x),
        lambda: np.zeros(3)[x[:1].astype(int)],
        lambda: np.zeros(3).__setitem__(slice(None), x),
        lambda: np.zeros(3).__iadd__(x),
        lambda: np.add(x, 1, out=np.zeros(3)),
        lambda: np.take(x, [0, 1], 0, np.zeros(2), "clip"),
        lambda: float(x[0]),
        lambda: bool(x[0] > 0),
        lambda: x.tobytes(),
        lambda: np.ascontiguousarray(x),
        lambda: np.unique(x),
        lambda: [1, 2][x[0]],
    ):
        with pytest.raises(Unknown, match="vmap"):
            attempt()
    assert isinstance(x, np.ndarray)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((3,), 1, 3, np.float64, 3)


FUNCTIONS = {
    "median": lambda x: np.median(x, axis=0),
    "interp": lambda x: np.interp(x, [0.0, 1.0], [2.0, 3.0]),
    "outer": lambda x: np.multiply.outer(x[0], x[1]),
    "cov": np.cov,
    "trace": np.trace,
    "kron": lambda x: np.kron(x, np.eye(2)),
    "tensordot": lambda x: np.tensordot(x, np.ones((3, 2)), 1),
    "einsum": lambda x: np.einsum("ij,kj->ik", x, x),
    "where": lambda x: np.where(x > 0, x, 0),
    "roll": lambda x: np.roll(x, 1, axis=0),
    "pad": lambda x: np.pad(x, 1),
    "reshape": lambda x: x.reshape(-1, 1).T,
    "assignment": lambda x: _assigned(x),
    "by a mask": lambda x: _masked(x),
    "clip": lambda x: np.clip(x, -0.5, 0.5),
    "cumsum": lambda x: np.cumsum(x),
    "argmax": lambda x: np.argmax(x),
    "norm": lambda x: np.linalg.norm(x, axis=1),
    "fft": lambda x: np.fft.fft2(x),
    "matmul": lambda x: x @ x.T @ x[:, 0],
    "accumulate": lambda x: np.logaddexp.accumulate(x, 1),
    "stack": lambda x: np.stack([x, np.ones(x.shape)], axis=-1),
}


def _assigned(x):
    y = x.copy()
    y[0] = x[1]
    y[:, 0] += 1
    y[..., 1] = 7
    return y


def _masked(x):
    y = x * 2
    y[y > 0] = -1
    return y


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("deep", [False, True])
def test_functions_of_numpy(name, deep):
    fn = FUNCTIONS[name]
    if deep:
        whole = normal(2, 3, 3, 3)
        got = fn(Batched(Level(2, -2), Batched(Level(3, -1), whole.swapaxes(0, 1))))
        got = got.values.values.swapaxes(0, 1)
        want = np.stack([looped(fn, part) for part in whole])
    else:
        whole = normal(4, 3, 3)
        got, want = fn(Batched(Level(4, -1), whole)).values, looped(fn, whole)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def test_each_sums_nothing_that_is_an_argument():
    w = nn.tensor(normal(3))

    def fn(w, x):
        level = x._data.level
        return ops.sum(each(level, lambda w, x: w * w * x, (w, x), {}))

    x = nn.tensor(normal(4, 3, seed=1))
    got = nn.vmap(nn.grad(fn), (None, 0))(w, x)
    np.testing.assert_allclose(got.numpy(), 2 * w.numpy() * x.numpy())


def test_a_refused_write_undoes_the_others():
    layer = nn.BatchNorm1d(3)
    layer.extra = nn.BatchNorm1d(3)
    x = nn.tensor(normal(2, 5, 3, dtype="float32"))

    def fn(x):
        layer.extra(nn.tensor(normal(5, 3, dtype="float32")))
        return layer(x)

    before = {key: value.numpy().copy() for key, value in layer.state_dict().items()}
    with pytest.raises(NotKnown, match="vmap"):
        nn.vmap(fn)(x)
    for key, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key], err_msg=key)
    nn.vmap(lambda x: (layer.extra(nn.tensor(normal(5, 3, dtype="float32"))), x)[1])(x)
    assert layer.extra.num_batches_tracked.item() == 1


def test_no_slices_of_what_runs_by_slices():
    layer = nn.LSTM(2, 3)
    x = nn.zeros((0, 4, 1, 2))
    y = nn.vmap(lambda x: layer(x)[0])(x)
    assert y.shape == (0, 4, 1, 3)
    ops.sum(y).backward()
    for p in layer.parameters():
        np.testing.assert_array_equal(p.grad.numpy(), np.zeros(p.shape))
    with pytest.raises(ValueError, match="Reads"):
        nn.vmap(Reads.apply)(nn.zeros((0, 3)), nn.zeros((0, 3)))


def test_a_function_that_does_as_much_warns_once():
    class Writes(nn.Function):
        @staticmethod
        def forward(ctx, x):
            out = np.zeros(x.shape)
            out[...] = x
            return out * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = nn.tensor(normal(3, 2), requires_grad=True)
    with pytest.warns(UserWarning, match="Writes.*vmap"):
        y = nn.vmap(Writes.apply)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.vmap(Writes.apply)(x)
    ops.sum(y).backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((3, 2), 2.0))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("both", [False, True])
def test_sequences_with_weights_in_common_run_once(kind, both, monkeypatch):
    layer = getattr(nn, kind)(3, 4, bidirectional=both, dtype=nn.float64)
    x = nn.tensor(normal(5, 6, 2, 3), requires_grad=True)
    function, calls = getattr(nn.rnn, f"{kind}Function"), []
    forward = function.forward

    def counted(ctx, x, *rest, **options):
        calls.append(x.shape)
        return forward(ctx, x, *rest, **options)

    found = []
    for run in (nn.vmap, lambda fn: lambda x: ops.stack([fn(x[k]) for k in range(len(x))])):
        layer.zero_grad()
        x.grad = None
        with monkeypatch.context() as patch:
            if run is nn.vmap:
                patch.setattr(function, "forward", staticmethod(counted))
            y = run(lambda x: layer(x)[0])(x)
        ops.sum(y**3).backward()
        found.append([y.detach(), x.grad, *[p.grad for p in layer.parameters()]])
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-11, atol=1e-12)
    shapes = [shape for shape in calls if isinstance(shape, tuple)]
    assert (6, 10, 3) in shapes
    assert len(shapes) == 2 * (1 + both)


@pytest.mark.parametrize("cut", ["lengths", "marks"])
def test_unroll_where_lengths_or_marks_are_cut(cut):
    cell = nn.GRUCell(2, 3, dtype=nn.float64)
    params = {key: p.detach() for key, p in cell.named_parameters()}
    x = nn.tensor(normal(4, 5, 2, 2))
    lengths = nn.tensor(np.array([[5, 3], [2, 1], [4, 4], [1, 5]]))
    marks = nn.tensor(np.random.default_rng(3).random((4, 5, 2)) < 0.4)
    known = lengths if cut == "lengths" else marks

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x, known):
            options = {"lengths": known} if cut == "lengths" else {"reset_mask": known}
            return nn.rnn.unroll(self.cell, x, nn.zeros((2, 3), dtype=nn.float64), **options)[0]

    whole = Whole()

    def loss(params, x, known):
        named = {f"cell.{key}": value for key, value in params.items()}
        return ops.sum(nn.functional_call(whole, named, x, known) ** 2)

    slope = nn.grad(loss)
    got = nn.vmap(slope, (None, 0, 0))(params, x, known)
    for k in range(4):
        want = slope(params, x[k], known[k])
        for name, value in want.items():
            np.testing.assert_allclose(got[name].numpy()[k], value.numpy(), rtol=1e-10, atol=1e-12)


def test_what_is_made_within_and_is_no_argument_is_refused():
    cell = nn.GRUCell(2, 3, dtype=nn.float64)
    x, ends = nn.tensor(normal(4, 5, 2, 2)), nn.tensor(np.array([[5, 3]] * 4))
    start = nn.zeros((2, 3), dtype=nn.float64)

    def score(w, x, end):
        return ops.sum(nn.rnn.unroll(lambda x, h: cell(x, h) * w, x, start, lengths=end)[0])

    w = nn.tensor(2.0, dtype=nn.float64)
    with pytest.raises(NotKnown, match="vmap"):
        nn.vmap(nn.grad(score), (None, 0, 0))(w, x, ends)
    got = nn.grad(lambda w: ops.sum(nn.vmap(score, (None, 0, 0))(w, x, ends)))(w)
    want = sum(nn.grad(score)(w, x[k], ends[k]).item() for k in range(4))
    np.testing.assert_allclose(got.item(), want)
