"""Chapter autograd: derivatives forward, Jacobians and Hessians."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.programs import programs_of

pytestmark = pytest.mark.sampled(6)

JACOBIANS = ("jacrev", "jacfwd", "jacobian")


class Pair(NamedTuple):
    """A structure with names."""

    first: Any
    second: Any


def squared(nn: Any) -> Any:
    """Return a Function with a forward and a backward, and nothing else."""

    class Squared(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * grad_output

    return Squared


def once(nn: Any) -> Any:
    """Return a Function whose backward says that it is the last."""

    class Once(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 3

        @staticmethod
        @nn.once_differentiable
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 3

    return Once


@clause("autograd-34", "autograd-35", needs="double_backward")
def test_jvp_and_linearize(nn: Any, dtype: str) -> None:
    a, b = normal((2, 3), dtype), normal((3, 2), dtype, seed=1)
    u, v = normal((2, 3), dtype, seed=2), normal((3, 2), dtype, seed=3)
    wide_a, wide_b, wide_u, wide_v = (in_double(array) for array in (a, b, u, v))
    product = wide_a @ wide_b
    slope = 1 - np.tanh(product) ** 2

    def fn(x: Any, y: Any) -> Any:
        return nn.ops.tanh(x @ y)

    x, y = nn.tensor(a), tensor(nn, b)
    output, tangent = nn.jvp(fn, (x, y), (nn.tensor(u), nn.tensor(v)))
    agrees(nn, output, np.tanh(product), "matmul")
    agrees(nn, tangent, slope * (wide_u @ wide_b + wide_a @ wide_v), "gradient", call="jvp")
    assert not output.requires_grad
    assert not tangent.requires_grad
    assert y.grad is None
    calls = []

    def counted(x: Any, y: Any) -> Any:
        calls.append(1)
        return fn(x, y)

    output, push = nn.linearize(counted, x, y)
    made = len(calls)
    agrees(nn, output, np.tanh(product), "matmul")
    for factor in (1.0, -2.0, 0.0):
        scaled = nn.tensor((u * factor).astype(dtype))
        want = slope * (factor * wide_u @ wide_b + wide_a @ wide_v)
        agrees(nn, push(scaled, nn.tensor(v)), want, "gradient", call="push")
    assert len(calls) == made


@clause("autograd-34", needs="double_backward")
def test_jvp_of_structures(nn: Any, dtype: str) -> None:
    a, b, u, v = (normal(3, dtype, seed=seed) for seed in range(4))

    def fn(params: Any, pair: Any) -> Any:
        return {
            "product": params["w"] * pair.first,
            "rest": [nn.ops.sum(params["w"]), (params["count"] + 1,)],
            "free": nn.ones((2,), dtype=getattr(nn, dtype)),
        }

    primals = [{"w": nn.tensor(a), "count": nn.tensor([4])}, Pair(nn.tensor(b), nn.tensor(True))]
    for nothing in (None, nn.tensor([7])):
        tangents = ({"w": nn.tensor(u), "count": nothing}, Pair(nn.tensor(v), None))
        output, tangent = nn.jvp(fn, primals, tangents)
        assert list(tangent) == list(output) == ["product", "rest", "free"]
        want = in_double(u) * in_double(b) + in_double(a) * in_double(v)
        agrees(nn, tangent["product"], want, "gradient")
        agrees(nn, tangent["rest"][0], in_double(u).sum(), "gradient")
        exactly(nn, tangent["rest"][1][0], np.zeros(1, np.int64))
        exactly(nn, tangent["free"], np.zeros(2))
        exactly(nn, output["rest"][1][0], np.array([5]))


@clause("autograd-34", "autograd-35", "autograd-37", "autograd-16", needs="double_backward")
def test_keys_in_another_order(nn: Any, dtype: str) -> None:
    a, b, u, v = (normal(3, dtype, seed=seed) for seed in range(4))
    wide = [in_double(array) for array in (a, b, u, v)]
    primal = {"a": nn.tensor(a), "b": nn.tensor(b)}
    tangent = {"b": nn.tensor(v), "a": nn.tensor(u)}

    def product(p: Any) -> Any:
        return p["a"] * p["a"] * p["b"]

    want = 2 * wide[0] * wide[1] * wide[2] + wide[0] ** 2 * wide[3]
    agrees(nn, nn.jvp(product, (primal,), (tangent,))[1], want, "gradient", call="jvp")
    push = nn.linearize(product, primal)[1]
    agrees(nn, push(tangent), want, "gradient", call="push")
    (got,) = nn.hvp(lambda p: nn.ops.sum(product(p)), (primal,), (tangent,))
    by_a = 2 * wide[1] * wide[2] + 2 * wide[0] * wide[3]
    assert list(got) == ["a", "b"]
    agrees(nn, got["a"], by_a, "gradient", call="hvp")
    agrees(nn, got["b"], 2 * wide[0] * wide[2], "gradient", call="hvp")
    _, pull = nn.vjp(lambda p: {"a": 2 * p["a"], "b": 3 * p["b"]}, primal)
    (pulled,) = pull(tangent)
    agrees(nn, pulled["a"], 2 * wide[2], "gradient", call="pull")
    agrees(nn, pulled["b"], 3 * wide[3], "gradient", call="pull")


@clause("autograd-34", needs=("double_backward", "float64"))
def test_a_tangent_is_cast(nn: Any) -> None:
    x = nn.tensor(np.array([0.5, 2.0], np.float32))
    direction = nn.tensor(np.array([1.0, 3.0]))
    _, tangent = nn.jvp(lambda x: x * 2, (x,), (direction,))
    exactly(nn, tangent, np.array([2.0, 6.0], np.float32))
    _, tangent = nn.jvp(lambda x: nn.ops.astype(x, nn.float64) * 2, (x,), (direction,))
    exactly(nn, tangent, np.array([2.0, 6.0]))
    product = nn.hvp(lambda x: nn.ops.sum(x * x), (x,), (direction,))[0]
    exactly(nn, product, np.array([2.0, 6.0], np.float32))


@clause("autograd-34", "function-17", needs="double_backward")
def test_jvp_through_functions(nn: Any, dtype: str) -> None:
    a, u = normal(3, dtype), normal(3, dtype, seed=1)
    apply = squared(nn).apply
    _, tangent = nn.jvp(lambda x: apply(x) * x, (nn.tensor(a),), (nn.tensor(u),))
    agrees(nn, tangent, 3 * in_double(a) ** 2 * in_double(u), "gradient")
    last = once(nn).apply
    with refuses(RuntimeError, "once_differentiable", "Once"):
        nn.jvp(last, (nn.tensor(a),), (nn.tensor(u),))


@clause("autograd-34", "rnn-01", needs="double_backward")
def test_jvp_of_a_recurrent_layer(nn: Any) -> None:
    """Of both sides of a pairing, and so of the same size: <w, J u> = <J^T w, u>."""
    x, u = normal((2, 2, 3), "float32"), normal((2, 2, 3), "float32", seed=1)
    w = normal((2, 2, 2), "float32", seed=2)
    for kind in ("RNN", "GRU", "LSTM"):
        nn.manual_seed(3)
        layer = getattr(nn, kind)(3, 2)

        def fn(x: Any, layer: Any = layer) -> Any:
            return layer(x)[0]

        output, tangent = nn.jvp(fn, (nn.tensor(x),), (nn.tensor(u),))
        _, pull = nn.vjp(fn, nn.tensor(x))
        pulled = in_double(to_numpy(nn, pull(nn.tensor(w))[0]))
        terms = in_double(w) * in_double(to_numpy(nn, tangent))
        assert output.shape == tangent.shape == w.shape
        size = np.abs(terms).sum() + np.abs(pulled * in_double(u)).sum()
        difference = abs(terms.sum() - (pulled * in_double(u)).sum())
        assert difference <= 64 * np.finfo(np.float32).eps * size, kind
        assert np.abs(terms).sum() > 0


@clause("autograd-34", "autograd-35", "autograd-37", needs="double_backward")
def test_what_is_no_tangent(nn: Any) -> None:
    x, y = nn.ones((2, 3)), nn.ones((2,))

    def fn(x: Any, *rest: Any) -> Any:
        return nn.ops.sum(x["x"] if isinstance(x, dict) else x)

    ways: dict[str, Callable[..., Any]] = {
        "jvp": lambda primals, tangents: nn.jvp(fn, primals, tangents),
        "linearize": lambda primals, tangents: nn.linearize(fn, *primals)[1](*tangents),
        "hvp": lambda primals, tangents: nn.hvp(fn, primals, tangents),
    }
    for name, way in ways.items():
        with refuses(ValueError, name, str((2, 3)), str((2,))):
            way((x,), (y,))
        with refuses(ValueError, name, "2", "1"):
            way((x, y), (x,))
        with refuses(ValueError, name, "structure"):
            way(({"x": x},), (x,))
        for wrong in (None, 1.0, "a"):
            with refuses(TypeError, name, "tangent"):
                way((x,), (wrong,))
    for name in ("jvp", "hvp"):
        for wrong in (x, None, 5):
            with refuses(TypeError, name, "tangents"):
                getattr(nn, name)(fn, (x,), wrong)
            with refuses(TypeError, name, "primals"):
                getattr(nn, name)(fn, wrong, (x,))
        with refuses(TypeError, name, "int"):
            getattr(nn, name)(lambda x: 5, (x,), (x,))


@pytest.mark.parametrize("name", JACOBIANS)
@clause("autograd-36", needs="double_backward")
def test_jacobians(nn: Any, dtype: str, name: str) -> None:
    a, b = normal((2, 3), dtype), normal(3, dtype, seed=1)
    x, y = nn.tensor(a), tensor(nn, b)
    transform = getattr(nn, name)

    def fn(x: Any, y: Any, *, factor: float = 1.0) -> Any:
        return x * x * y * factor

    eye = np.einsum("ik,jl->ijkl", np.eye(2), np.eye(3))
    by_x = eye * (2 * in_double(a) * in_double(b))[:, :, None, None]
    by_y = np.einsum("ij,jl->ijl", in_double(a) ** 2, np.eye(3))
    got = transform(fn)(x, y)
    agrees(nn, got, by_x, "gradient", call=name)
    assert not got.requires_grad
    both = transform(fn, argnums=(1, -2))(x, y, factor=2.0)
    assert type(both) is tuple
    agrees(nn, both[0], 2 * by_y, "gradient", call=name)
    agrees(nn, both[1], 2 * by_x, "gradient", call=name)
    assert y.grad is None


@pytest.mark.parametrize("name", JACOBIANS)
@clause("autograd-36", needs="double_backward")
def test_jacobians_of_structures(nn: Any, dtype: str, name: str) -> None:
    a, b = normal(2, dtype), normal(3, dtype, seed=1)
    argument = {"pair": Pair(nn.tensor(a), [nn.tensor(b)]), "count": nn.tensor([[7]])}

    def fn(argument: Any) -> Any:
        first, (second,) = argument["pair"]
        return nn.ops.sum(first) * second, {"count": argument["count"], "square": first * first}

    product, rest = getattr(nn, name)(fn)(argument)
    assert list(product) == list(rest["count"]) == list(rest["square"]) == ["pair", "count"]
    assert type(product["pair"]) is Pair
    assert type(product["pair"].second) is list
    wide_a, wide_b = in_double(a), in_double(b)
    agrees(nn, product["pair"].first, np.outer(wide_b, np.ones(2)), "gradient")
    agrees(nn, product["pair"].second[0], wide_a.sum() * np.eye(3), "gradient")
    agrees(nn, rest["square"]["pair"].first, 2 * np.diag(wide_a), "gradient")
    exactly(nn, rest["square"]["pair"].second[0], np.zeros((2, 3)))
    exactly(nn, product["count"], np.zeros((3, 1, 1), np.int64))
    exactly(nn, rest["count"]["pair"].first, np.zeros((1, 1, 2)))


@pytest.mark.parametrize("name", JACOBIANS)
@clause("autograd-36", needs="double_backward")
def test_jacobians_at_the_edges(nn: Any, dtype: str, name: str) -> None:
    transform, kind = getattr(nn, name), getattr(nn, dtype)
    scalar = nn.tensor(np.array(3.0, dtype))
    exactly(nn, transform(lambda x: x * x)(scalar), np.array(6.0))
    empty = nn.zeros((0, 2), dtype=kind)
    exactly(nn, transform(lambda x: x * 2)(empty), np.zeros((0, 2, 0, 2)))
    exactly(nn, transform(lambda x: nn.ops.sum(x))(empty), np.zeros((0, 2)))
    exactly(nn, transform(lambda x: empty * x)(scalar), np.zeros((0, 2)))
    outside = tensor(nn, np.ones(2, dtype))
    exactly(nn, transform(lambda x: outside * x)(scalar), np.ones(2))
    exactly(nn, transform(lambda x: outside * 2)(scalar), np.zeros(2))
    assert outside.grad is None
    operation = "jacfwd" if name == "jacfwd" else "jacrev"
    with refuses(TypeError, operation):
        transform(lambda x: 5)(scalar)
    with refuses(ValueError, operation, "argnums"):
        transform(lambda x: x, argnums=1)(scalar)


@pytest.mark.parametrize("name", JACOBIANS)
@clause("autograd-36", "autograd-17", needs="double_backward")
def test_jacobians_nest(nn: Any, dtype: str, name: str) -> None:
    a = normal(2, dtype)
    wide, transform = in_double(a), getattr(nn, name)
    want = np.zeros((2, 2, 2))
    want[0, 0, 0], want[1, 1, 1] = 6 * wide
    got = transform(transform(lambda x: x * x * x))(nn.tensor(a))
    agrees(nn, got, want, "gradient", call=f"{name} of {name}")
    total = nn.grad(lambda x: nn.ops.sum(transform(lambda x: x * x * x)(x)))(nn.tensor(a))
    agrees(nn, total, 6 * wide, "gradient", call=f"grad of {name}")
    x = tensor(nn, a)
    nn.ops.sum(transform(lambda x: x * x * x, create_graph=True)(x)).backward()
    agrees(nn, x.grad, 6 * wide, "gradient", call=f"backward of {name}")
    _, tangent = nn.jvp(
        transform(lambda x: x * x), (nn.tensor(a),), (nn.ones((2,), dtype=getattr(nn, dtype)),)
    )
    agrees(nn, tangent, 2 * np.eye(2), "gradient", call=f"jvp of {name}")


@clause("autograd-37", needs="double_backward")
def test_hessian_and_hvp(nn: Any, dtype: str) -> None:
    a, b = normal(2, dtype), normal(3, dtype, seed=1)
    u, v = normal(2, dtype, seed=2), normal(3, dtype, seed=3)
    wide_a, wide_b, wide_u, wide_v = (in_double(array) for array in (a, b, u, v))

    def fn(params: Any, y: Any) -> Any:
        x = params["x"]
        return nn.ops.sum(x * x * x) * nn.ops.sum(y * y)

    aa = 6 * np.diag(wide_a) * (wide_b**2).sum()
    ab = np.outer(3 * wide_a**2, 2 * wide_b)
    bb = 2 * np.eye(3) * (wide_a**3).sum()
    params, y = {"x": nn.tensor(a)}, tensor(nn, b)
    agrees(nn, nn.hessian(fn)(params, y)["x"]["x"], aa, "gradient")
    of_x, of_y = nn.hessian(fn, argnums=(0, 1))(params, y)
    agrees(nn, of_x["x"][0]["x"], aa, "gradient")
    agrees(nn, of_x["x"][1], ab, "gradient")
    agrees(nn, of_y[0]["x"], ab.T, "gradient")
    agrees(nn, of_y[1], bb, "gradient")
    calls = []

    def counted(params: Any, y: Any) -> Any:
        calls.append(1)
        return fn(params, y)

    got = nn.hvp(counted, (params, y), ({"x": nn.tensor(u)}, nn.tensor(v)))
    assert type(got) is tuple
    assert len(calls) == 1
    agrees(nn, got[0]["x"], aa @ wide_u + ab @ wide_v, "gradient")
    agrees(nn, got[1], ab.T @ wide_u + bb @ wide_v, "gradient")
    assert not got[1].requires_grad
    assert y.grad is None
    with refuses(ValueError, "hessian", str((3,))):
        nn.hessian(lambda y: y * 2)(y)
    with refuses(ValueError, "hvp", str((3,))):
        nn.hvp(lambda y: y * 2, (y,), (nn.tensor(v),))
    assert y.grad is None


@clause("autograd-37", "autograd-17", needs="double_backward")
def test_hessians_nest_and_take_integers(nn: Any, dtype: str) -> None:
    a = normal(2, dtype)
    x, wide = nn.tensor(a), in_double(a)

    def cubes(x: Any) -> Any:
        return nn.ops.sum(x * x * x)

    ones = nn.ones((2,), dtype=getattr(nn, dtype))
    want = np.full(2, 6.0)
    agrees(nn, nn.grad(lambda x: nn.ops.sum(nn.hessian(cubes)(x)))(x), want, "gradient")
    agrees(nn, nn.grad(lambda x: nn.ops.sum(nn.hvp(cubes, (x,), (ones,))[0]))(x), want, "gradient")
    leaf = tensor(nn, a)
    nn.ops.sum(nn.hvp(cubes, (leaf,), (ones,), create_graph=True)[0]).backward()
    agrees(nn, leaf.grad, want, "gradient", call="hvp with create_graph")
    agrees(nn, nn.jvp(lambda x: nn.grad(cubes)(x), (x,), (ones,))[1], 6 * wide, "gradient")
    state = {"x": x, "count": nn.tensor([1, 2, 3])}
    table = nn.hessian(lambda state: cubes(state["x"]))(state)
    agrees(nn, table["x"]["x"], 6 * np.diag(wide), "gradient")
    exactly(nn, table["x"]["count"], np.zeros((2, 3), np.int64))
    exactly(nn, table["count"]["x"], np.zeros((3, 2)))
    product = nn.hvp(lambda state: cubes(state["x"]), (state,), ({"x": ones, "count": None},))
    agrees(nn, product[0]["x"], 6 * wide, "gradient")
    exactly(nn, product[0]["count"], np.zeros(3, np.int64))
    exactly(nn, nn.hvp(lambda x: nn.ops.sum(x * 3), (x,), (ones,))[0], np.zeros(2))


@clause("autograd-34", "autograd-36", "autograd-37", needs=("double_backward", "jit"))
def test_under_jit(nn: Any, dtype: str) -> None:
    a = normal(2, dtype)
    x, wide = nn.tensor(a), in_double(a)
    tangent = nn.jit(lambda x: nn.jvp(lambda x: x * x, (x,), (x,))[1])(x)
    agrees(nn, tangent, 2 * wide**2, "gradient", call="jvp")
    for name in ("jacrev", "jacfwd"):
        got = nn.jit(getattr(nn, name)(lambda x: x * x))(x)
        agrees(nn, got, 2 * np.diag(wide), "gradient", call=name)
    got = nn.jit(nn.hessian(lambda x: nn.ops.sum(x * x * x)))(x)
    agrees(nn, got, 6 * np.diag(wide), "gradient", call="hessian")


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/derivatives`."""
    yield from programs_of("derivatives", monkeypatch)


@clause("autograd-38", "autograd-37", needs="double_backward")
def test_curvature_along_training(nn: Any, programs: Callable[[str], Any]) -> None:
    curvature = programs("curvature")
    by_products, by_hessian = curvature.check(nn)
    agrees(nn, np.float32(by_products), by_hessian, "rnn", dtype="float32")
    (_, first, _), (_, last, _) = curvature.train(nn, curvature.EVERY)
    assert last < first / 2


@clause("autograd-38", "function-19", needs="double_backward")
def test_the_gradient_of_a_fixed_point(nn: Any, programs: Callable[[str], Any]) -> None:
    fixed_point = programs("fixed_point")
    apply = nn.as_function(fixed_point.FixedPoint).apply
    x, w, z = fixed_point.problem(nn)
    got = nn.grad(lambda x, w: nn.ops.sum(apply(x, w) ** 2), argnums=(0, 1))(x, w)
    # In float64: u = 2 z + (u (1 - z^2)) W^T, of which the gradients are those of one step.
    wide, root = in_double(to_numpy(nn, w)), in_double(to_numpy(nn, x))
    solution = np.zeros_like(root)
    for _ in range(200):
        solution = np.tanh(solution @ wide + root)
    slope, pulled = 1 - solution**2, 2 * solution
    for _ in range(200):
        pulled = 2 * solution + (pulled * slope) @ wide.T
    agrees(nn, z, solution, "rnn", dtype="float32")
    agrees(nn, got[0], pulled * slope, "rnn", dtype="float32")
    agrees(nn, got[1], solution.T @ (pulled * slope), "rnn", dtype="float32")
    losses = fixed_point.learn(nn, 20)
    assert losses[-1] < losses[0] / 10
