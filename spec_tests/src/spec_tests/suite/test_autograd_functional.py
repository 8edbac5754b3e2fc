"""Chapter autograd: functions that take and give functions."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import distinct, in_double, normal


def affine(nn: Any, dtype: str) -> Any:
    """Return a Module ``tanh(x @ weight) + bias`` with a scaling buffer and a child."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = nn.Parameter(nn.tensor(normal(2, dtype, seed=1)))
            self.register_buffer("factor", nn.tensor(np.full(2, 2.0, dtype)))

        def forward(self, x: Any) -> Any:
            return x * self.factor + self.bias

    class Affine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(nn.tensor(normal((3, 2), dtype)))
            self.inner = Inner()

        def forward(self, x: Any, *, fail: bool = False) -> Any:
            if fail:
                msg = "asked to fail"
                raise OSError(msg)
            return self.inner(nn.ops.tanh(x @ self.weight))

    return Affine()


@clause("autograd-14")
def test_grad(nn: Any, dtype: str) -> None:
    a, b = normal(3, dtype), normal(3, dtype, seed=1)
    x, y = nn.tensor(a), tensor(nn, b)

    def fn(x: Any, y: Any) -> Any:
        return nn.ops.sum(x * x * y)

    by_x, by_y = 2 * in_double(a) * in_double(b), in_double(a) ** 2
    agrees(nn, nn.grad(fn)(x, y), by_x, "gradient")
    agrees(nn, nn.grad(fn, argnums=1)(x, y), by_y, "gradient")
    both = nn.grad(fn, argnums=(1, 0))(x, y)
    assert type(both) is tuple
    agrees(nn, both[0], by_y, "gradient")
    agrees(nn, both[1], by_x, "gradient")
    assert type(nn.grad(fn, argnums=(0,))(x, y)) is tuple
    assert x.grad is None
    assert y.grad is None
    assert x.requires_grad is False
    assert y.requires_grad is True


@clause("autograd-14")
def test_grad_of_structures(nn: Any, dtype: str) -> None:
    a, b, c = (normal(2, dtype, seed=seed) for seed in range(3))
    params = {"w": nn.tensor(a), "rest": [nn.tensor(b), (nn.tensor(c),)], "unused": nn.tensor(a)}

    def fn(params: Any, factor: float) -> Any:
        first, (second,) = params["rest"]
        return nn.ops.sum(params["w"] * first * second) * factor

    gradients = nn.grad(fn)(params, 2.0)
    assert list(gradients) == ["w", "rest", "unused"]
    assert type(gradients["rest"]) is list
    assert type(gradients["rest"][1]) is tuple
    wide = [in_double(array) for array in (a, b, c)]
    agrees(nn, gradients["w"], 2 * wide[1] * wide[2], "gradient")
    agrees(nn, gradients["rest"][0], 2 * wide[0] * wide[2], "gradient")
    agrees(nn, gradients["rest"][1][0], 2 * wide[0] * wide[1], "gradient")
    exactly(nn, gradients["unused"], np.zeros(2))


@clause("autograd-14", "autograd-22")
def test_integers_in_a_structure_get_zeros(nn: Any, dtype: str) -> None:
    x = normal((3,), dtype)
    state = {"count": nn.tensor([4, 5]), "weight": tensor(nn, x), "mask": nn.tensor(True)}
    gradients = nn.grad(lambda state: nn.ops.sum(state["weight"] * 2))(state)
    assert list(gradients) == ["count", "weight", "mask"]
    exactly(nn, gradients["count"], np.zeros(2, np.int64))
    exactly(nn, gradients["weight"], np.full(3, 2.0))
    exactly(nn, gradients["mask"], np.array(False))


@clause("autograd-14")
def test_grad_wants_a_scalar(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal((2, 3), dtype))
    with refuses(ValueError, "(2, 3)"):
        nn.grad(lambda x: x * 2)(x)
    assert x.grad is None


@clause("autograd-14")
def test_a_scalar_has_one_element(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([[3.0]], dtype))
    exactly(nn, nn.grad(lambda x: x * x)(x), np.array([[6.0]]))


@clause("autograd-15")
def test_value_and_grad(nn: Any, dtype: str) -> None:
    a, b = normal(3, dtype), normal(3, dtype, seed=1)
    wide_a, wide_b = in_double(a), in_double(b)
    x, y = tensor(nn, a), nn.tensor(b)
    value, slope = nn.value_and_grad(lambda x, y: nn.ops.sum(x * y), argnums=1)(x, y)
    agrees(nn, value, (wide_a * wide_b).sum(), "reduction")
    agrees(nn, slope, wide_a, "gradient")
    assert not value.requires_grad
    assert not slope.requires_grad

    def with_aux(x: Any, y: Any) -> Any:
        z = x * y
        return nn.ops.sum(z), {"z": z, "note": "kept"}

    (value, aux), slopes = nn.value_and_grad(with_aux, argnums=(0, 1), has_aux=True)(x, y)
    agrees(nn, value, (wide_a * wide_b).sum(), "reduction")
    agrees(nn, aux["z"], wide_a * wide_b, "elementwise")
    assert aux["note"] == "kept"
    agrees(nn, slopes[0], wide_b, "gradient")
    agrees(nn, slopes[1], wide_a, "gradient")
    assert x.grad is None


@clause("autograd-16")
def test_vjp(nn: Any, dtype: str) -> None:
    a, b = normal((2, 3), dtype), normal((3, 2), dtype, seed=1)
    wide_a, wide_b = in_double(a), in_double(b)
    x, y = nn.tensor(a), tensor(nn, b)
    output, pull = nn.vjp(lambda x, y: x @ y, x, y)
    agrees(nn, output, wide_a @ wide_b, "matmul")
    assert not output.requires_grad
    for seed in (2, 3):
        g = normal((2, 2), dtype, seed=seed)
        pulled = pull(nn.tensor(g))
        assert type(pulled) is tuple
        agrees(nn, pulled[0], in_double(g) @ wide_b.T, "gradient")
        agrees(nn, pulled[1], wide_a.T @ in_double(g), "gradient")
    assert y.grad is None


@clause("autograd-16")
def test_vjp_of_structures(nn: Any, dtype: str) -> None:
    a, b = normal(3, dtype), normal(3, dtype, seed=1)
    g, h = normal(3, dtype, seed=2), normal(3, dtype, seed=3)
    output, pull = nn.vjp(
        lambda p, y: {"product": p["x"] * y, "rest": [p["x"] * 2]},
        {"x": nn.tensor(a)},
        nn.tensor(b),
    )
    agrees(nn, output["product"], in_double(a) * in_double(b), "elementwise")
    agrees(nn, output["rest"][0], 2 * in_double(a), "elementwise")
    slopes = pull({"product": nn.tensor(g), "rest": [nn.tensor(h)]})
    want = in_double(g) * in_double(b) + 2 * in_double(h)
    agrees(nn, slopes[0]["x"], want, "gradient")
    agrees(nn, slopes[1], in_double(g) * in_double(a), "gradient")


@clause("autograd-17")
def test_transformations_nest(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    x = nn.tensor(a)
    t = np.tanh(in_double(a))
    u = 1 - t * t

    def fn(x: Any) -> Any:
        return nn.ops.sum(nn.ops.tanh(x))

    slope = nn.grad(fn)
    agrees(nn, slope(x), u, "gradient")
    assert not slope(x).requires_grad
    curvature = nn.grad(lambda x: nn.ops.sum(slope(x)))
    agrees(nn, curvature(x), -2 * t * u, "gradient", call="grad of grad of tanh")
    assert not curvature(x).requires_grad
    third = nn.grad(lambda x: nn.ops.sum(curvature(x)))
    agrees(nn, third(x), u * (4 * t * t - 2 * u), "gradient", call="third derivative of tanh")

    def pulled(x: Any) -> Any:
        value, inner = nn.value_and_grad(fn)(x)
        _, pull = nn.vjp(nn.ops.tanh, x)
        return value + nn.ops.sum(inner * inner) + nn.ops.sum(pull(x)[0])

    want = u + 2 * u * (-2 * t * u) + u + in_double(a) * (-2 * t * u)
    agrees(nn, nn.grad(pulled)(x), want, "gradient", call="value_and_grad and vjp inside grad")


@clause("autograd-17")
def test_transformations_with_create_graph(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    wide = in_double(a)

    def fn(x: Any) -> Any:
        return nn.ops.sum(x * x * x)

    x = tensor(nn, a)
    slope = nn.grad(fn, create_graph=True)(x)
    assert slope.requires_grad
    nn.ops.sum(slope).backward()
    agrees(nn, x.grad, 6 * wide, "gradient", call="grad")

    x = tensor(nn, a)
    value, slope = nn.value_and_grad(fn, create_graph=True)(x)
    assert value.requires_grad
    (value + nn.ops.sum(slope)).backward()
    agrees(nn, x.grad, 3 * wide**2 + 6 * wide, "gradient", call="value_and_grad")

    x = tensor(nn, a)
    _, pull = nn.vjp(lambda x: x * x, x, create_graph=True)
    nn.ops.sum(pull(x)[0]).backward()
    agrees(nn, x.grad, 4 * wide, "gradient", call="vjp")


@clause("autograd-18")
def test_closures_are_constants(nn: Any, dtype: str) -> None:
    a, b = normal(3, dtype), normal(3, dtype, seed=1)
    x, outside = nn.tensor(a), tensor(nn, b)
    between = outside * 2

    def fn(x: Any) -> Any:
        return nn.ops.sum(x * outside * between)

    want = 2 * in_double(b) ** 2
    agrees(nn, nn.grad(fn)(x), want, "gradient", call="grad")
    agrees(nn, nn.value_and_grad(fn)(x)[1], want, "gradient", call="value_and_grad")
    _, pull = nn.vjp(fn, x)
    agrees(nn, pull(nn.tensor(np.array(1.0, dtype)))[0], want, "gradient", call="vjp")
    assert outside.grad is None
    nn.ops.sum(between).backward()
    exactly(nn, outside.grad, np.full(3, 2.0))


@clause("autograd-19")
def test_functional_call(nn: Any, dtype: str) -> None:
    module = affine(nn, dtype)
    x = nn.tensor(normal((4, 3), dtype, seed=2))
    own = {name: value.numpy().copy() for name, value in module.state_dict().items()}
    weight, factor = normal((3, 2), dtype, seed=3), normal(2, dtype, seed=4)
    got = nn.functional_call(
        module, {"weight": nn.tensor(weight), "inner.factor": nn.tensor(factor)}, x
    )
    hidden = np.tanh(in_double(x.numpy()) @ in_double(weight))
    want = hidden * in_double(factor) + in_double(own["inner.bias"])
    agrees(nn, got, want, "matmul")
    with pytest.raises(OSError, match="asked to fail"):
        nn.functional_call(module, {"weight": nn.tensor(weight)}, x, fail=True)
    with refuses(KeyError, "inner.absent", "Affine"):
        nn.functional_call(module, {"weight": nn.tensor(weight), "inner.absent": x}, x)
    for wrong in ("text", None, [1.0], 2.0):
        with refuses(TypeError, "functional_call", "inner.factor", type(wrong).__name__):
            nn.functional_call(module, {"weight": nn.tensor(weight), "inner.factor": wrong}, x)
    for name, value in module.state_dict().items():
        exactly(nn, value, own[name], call=f"{name} after the calls")
    assert isinstance(module.weight, nn.Parameter)
    assert [name for name, _ in module.named_parameters()] == ["weight", "inner.bias"]


@clause("autograd-19")
def test_functional_call_leaves_shared_modules_and_buffers(nn: Any) -> None:
    class Counting(nn.Module):
        calls: Any

        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(2, 2)
            self.other = self.one
            self.register_buffer("calls", nn.tensor(0.0))

        def forward(self, x: Any) -> Any:
            self.calls = self.calls + 1
            return self.other(self.one(x))

    module = Counting()
    weight, bias = module.one.weight, module.one.bias
    x = nn.ones((1, 2))
    want = to_numpy(nn, bias)
    got = nn.functional_call(module, {"one.weight": nn.zeros((2, 2))}, x)
    exactly(nn, got, want[None])
    nn.functional_call(module, dict(module.state_dict()), x)
    assert module.one.weight is weight
    assert module.one.bias is bias
    exactly(nn, module.calls, np.array(0, np.float32))


@clause("autograd-19")
def test_functional_call_with_both_names_of_one_parameter(nn: Any) -> None:
    """Each place has what its own name says; one that is not named follows the other."""
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[1].weight = module[0].weight
    first, second = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])
    values = {"0.weight": first, "1.weight": second}
    params = {name: nn.tensor(value.astype("float32")) for name, value in values.items()}
    got = nn.functional_call(module, params, nn.tensor(np.eye(2, dtype="float32")))
    exactly(nn, got, first.T @ second.T, dtype="float32")
    for name, value in values.items():
        got = nn.functional_call(
            module, {name: params[name]}, nn.tensor(np.eye(2, dtype="float32"))
        )
        exactly(nn, got, value.T @ value.T, dtype="float32", call=name)


@clause("autograd-19")
def test_functional_call_with_grad(nn: Any, dtype: str) -> None:
    module = affine(nn, dtype)
    x = nn.tensor(normal((4, 3), dtype, seed=2))
    params = {name: parameter.detach() for name, parameter in module.named_parameters()}

    def loss(params: Any) -> Any:
        y = nn.functional_call(module, params, x)
        return nn.ops.sum(y * y)

    gradients = nn.grad(loss)(params)
    assert all(parameter.grad is None for parameter in module.parameters())
    y = module(x)
    nn.ops.sum(y * y).backward()
    assert set(gradients) == {"weight", "inner.bias"}
    for name, parameter in module.named_parameters():
        agrees(nn, gradients[name], in_double(to_numpy(nn, parameter.grad)), "gradient", call=name)


@clause("autograd-20")
def test_jit(nn: Any, dtype: str) -> None:
    a, b = normal((2, 3), dtype), normal(3, dtype, seed=1)

    def fn(params: Any, x: Any) -> Any:
        return {"y": nn.ops.tanh(params["w"] * x), "rest": [nn.ops.sum(x)]}

    compiled = nn.jit(fn)
    for seed in (2, 3):
        c = normal((2, 3), dtype, seed=seed)
        got = compiled({"w": nn.tensor(b)}, nn.tensor(c))
        want = np.tanh(in_double(b) * in_double(c))
        agrees(nn, got["y"], want, "elementwise")
        agrees(nn, got["rest"][0], in_double(c).sum(), "reduction")
    again = compiled({"w": nn.tensor(b)}, nn.tensor(a))
    assert isinstance(again["y"], nn.Tensor)


@clause("autograd-20")
def test_jit_of_a_gradient(nn: Any, dtype: str) -> None:
    a = normal(3, dtype)
    slope = nn.jit(nn.grad(lambda x: nn.ops.sum(x * nn.ops.exp(x))))
    wide = in_double(a)
    for factor in (1.0, 0.5):
        x = nn.tensor((a * factor).astype(dtype))
        scaled = in_double((a * factor).astype(dtype))
        agrees(nn, slope(x), np.exp(scaled) * (1 + scaled), "gradient")
    agrees(nn, slope(nn.tensor(a)), np.exp(wide) * (1 + wide), "gradient")


@clause("autograd-16", "autograd-17", needs=("float64", "double_backward"))
def test_gradients_of_a_pulled_cotangent(nn: Any) -> None:
    def pulled(x: Any, g: Any) -> Any:
        _, pull = nn.vjp(lambda x: nn.ops.tanh(x) * x, x, create_graph=True)
        return pull(g)[0]

    check_gradients(nn, pulled, [distinct(2), distinct(2, seed=1)], call="pull(g) by x and g")
