"""Chapter function: second derivatives, the namespace, portable and fused Functions."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor
from spec_tests.support.inputs import distinct, in_double, normal, positive

pytestmark = pytest.mark.sampled(6)

STANDARD = """
asarray zeros ones full arange zeros_like ones_like abs add subtract multiply divide negative pow
exp log sqrt square tanh sin cos sign maximum minimum clip where astype equal not_equal less
less_equal greater greater_equal logical_and logical_or logical_not isnan isfinite sum mean max min
argmax matmul matrix_transpose reshape permute_dims expand_dims squeeze broadcast_to concat stack
take float32 float64 int32 int64 bool
""".split()


class Tanh:
    """Saves the result, as hand-written code does."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = ctx.xp.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        (y,) = ctx.saved_tensors
        return grad_output * (1 - y * y)


class Bell:
    """``exp(-x*x)``: saves an intermediate that is neither input nor result, and the result."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        doubled = 2 * x
        y = ctx.xp.exp(-x * x)
        ctx.save_for_backward(doubled, y)
        return y * 1

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        doubled, y = ctx.saved_tensors
        return -grad_output * doubled * y


class SquareFirst:
    """``sin(x*x)``: saves the square and, as a free attribute, the cosine of it."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        square = x * x
        ctx.save_for_backward(x, None, square)
        ctx.slope = ctx.xp.cos(square)
        return ctx.xp.sin(square)

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        x, _, square = ctx.saved_tensors
        return grad_output * ctx.slope * 2 * x + 0 * square


class Gate:
    """``tanh(x*y)`` and ``exp(x) * y``: two inputs, two outputs, intermediates of both."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, factor: Any) -> Any:
        bent = ctx.xp.tanh(x * y)
        grown = ctx.xp.exp(x)
        ctx.factor = factor
        ctx.save_for_backward(x, y, bent, grown)
        return factor * bent, grown * y

    @staticmethod
    def backward(ctx: Any, grad_bent: Any, grad_grown: Any) -> Any:
        x, y, bent, grown = ctx.saved_tensors
        inner = ctx.factor * grad_bent * (1 - bent * bent)
        return inner * y + grad_grown * grown * y, inner * x + grad_grown * grown, None


class Reduced:
    """Broadcasts, reduces and multiplies matrices: ``sum_j tanh(x @ w + b)_ij``, column means."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, b: Any) -> Any:
        xp = ctx.xp
        hidden = xp.tanh(xp.matmul(x, w) + b)
        ctx.save_for_backward(x, w, hidden)
        return xp.sum(hidden, axis=1), xp.mean(hidden, axis=0)

    @staticmethod
    def backward(ctx: Any, grad_sum: Any, grad_mean: Any) -> Any:
        x, w, hidden = ctx.saved_tensors
        xp = ctx.xp
        total = xp.expand_dims(grad_sum, axis=1) + grad_mean / x.shape[0]
        inner = total * (1 - hidden * hidden)
        return (
            xp.matmul(inner, xp.matrix_transpose(w)),
            xp.matmul(xp.matrix_transpose(x), inner),
            xp.sum(inner, axis=0),
        )


SAVING: dict[str, tuple[type, list[Any]]] = {
    "tanh": (Tanh, [distinct((2, 2))]),
    "bell": (Bell, [distinct((2, 2))]),
    "square first": (SquareFirst, [distinct((2, 2))]),
    "gate": (Gate, [distinct(2), positive(2, seed=1), 1.5]),
    "reduced": (Reduced, [normal((2, 2)), normal((2, 2), seed=1), normal(2, seed=2)]),
}


def applied(nn: Any, plain: Any, spelling: str) -> Any:
    """Make a Function of a plain class in one of three spellings; return what applies it."""
    if spelling == "as_function":
        return nn.as_function(plain).apply
    if spelling == "static":
        function: Any = type(plain.__name__, (plain, nn.Function), {})
        return function.apply

    class Instance(nn.Function):
        def forward(self, *inputs: Any) -> Any:
            return plain.forward(self, *inputs)

        def backward(self, *grads: Any) -> Any:
            return plain.backward(self, *grads)

    return lambda *inputs: Instance()(*inputs)


def fused_square(nn: Any, calls: list[str]) -> Any:
    class FusedSquare(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *, factor: float) -> Any:
            if isinstance(x, nn.Tensor) and x.requires_grad:
                msg = "forward cannot run on Tensors"
                raise RuntimeError(msg)
            ctx.factor = factor
            ctx.save_for_backward(x)
            return factor * x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            if isinstance(grad_output, nn.Tensor) and grad_output.requires_grad:
                msg = "backward cannot run on Tensors"
                raise RuntimeError(msg)
            (x,) = ctx.saved_tensors
            return 2 * ctx.factor * x * grad_output

        @staticmethod
        def composite(x: Any, *, factor: float) -> Any:
            calls.append("composite")
            return nn.ops.multiply(factor, nn.ops.square(x))

    return FusedSquare


@pytest.mark.sampled(12)
@pytest.mark.parametrize("spelling", ["static", "instance", "as_function"])
@pytest.mark.parametrize("name", SAVING)
@clause("function-17", needs="float64")
def test_second_derivatives(nn: Any, name: str, spelling: str) -> None:
    plain, inputs = SAVING[name]
    apply = applied(nn, plain, spelling)
    arrays = [value for value in inputs if isinstance(value, np.ndarray)]
    constants = inputs[len(arrays) :]
    call = f"{name}, {spelling}"
    check_gradients(
        nn, lambda *tensors: apply(*tensors, *constants), arrays, second_order=True, call=call
    )


@pytest.mark.parametrize("spelling", ["static", "instance", "as_function"])
@clause("function-17")
def test_second_derivative_by_backward(nn: Any, dtype: str, spelling: str) -> None:
    apply = applied(nn, Tanh, spelling)
    array = normal(4, dtype)
    t = np.tanh(in_double(array))
    x = tensor(nn, array)
    nn.ops.sum(apply(x)).backward(create_graph=True)
    first = x.grad
    agrees(nn, first, 1 - t * t, "gradient", call="first derivative of tanh")
    # The penalty on the gradient is differentiated, which adds to the gradient that is there.
    nn.ops.sum(first * first).backward()
    penalty = 2 * (1 - t * t) * (-2 * t * (1 - t * t))
    agrees(nn, x.grad, 1 - t * t + penalty, "gradient", call="gradient of the penalty")


@pytest.mark.parametrize("spelling", ["static", "instance", "as_function"])
@clause("function-17")
def test_third_derivatives(nn: Any, dtype: str, spelling: str) -> None:
    array = positive(3, dtype)
    wide = in_double(array)
    t = np.tanh(wide)
    u = 1 - t * t
    bell = np.exp(-wide * wide)
    for plain, want in (
        (Tanh, u * (4 * t * t - 2 * u)),
        (Bell, bell * (12 * wide - 8 * wide**3)),
    ):
        derivative = applied(nn, plain, spelling)
        for _ in range(3):
            derivative = nn.grad(summed(nn, derivative))
        x = nn.tensor(array)
        agrees(nn, derivative(x), want, "gradient", call=f"third derivative of {plain.__name__}")


def summed(nn: Any, function: Any) -> Any:
    return lambda x: nn.ops.sum(function(x))


@clause("function-17", needs="float64")
def test_functions_of_functions(nn: Any) -> None:
    bell, tanh = nn.as_function(Bell).apply, nn.as_function(Tanh).apply
    check_gradients(
        nn, lambda x: tanh(bell(x) * x) + bell(tanh(x)), [distinct(3)], second_order=True
    )


def looking(nn: Any, missing: dict[str, list[str]]) -> Any:
    """Return a Function that notes which names its namespaces lack."""

    class Looking(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            missing["forward"] = [name for name in STANDARD if not hasattr(ctx.xp, name)]
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            missing["backward"] = [name for name in STANDARD if not hasattr(ctx.xp, name)]
            return grad_output * 2

    return Looking


@clause("function-18")
def test_the_namespace_has_the_standard_names(nn: Any, dtype: str) -> None:
    missing: dict[str, list[str]] = {}
    x = tensor(nn, normal(3, dtype))
    nn.ops.sum(looking(nn, missing).apply(x)).backward()
    assert missing == {"forward": [], "backward": []}


@clause("function-18", needs="double_backward")
def test_the_namespace_of_tensors_has_the_standard_names(nn: Any, dtype: str) -> None:
    missing: dict[str, list[str]] = {}
    x = tensor(nn, normal(3, dtype))
    nn.ops.sum(looking(nn, missing).apply(x)).backward(create_graph=True)
    assert missing == {"forward": [], "backward": []}


@clause("function-18")
def test_the_namespace_fits_raw_arrays(nn: Any, dtype: str) -> None:
    array = normal((2, 3), dtype)
    seen: dict[str, Any] = {}

    class Using(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            xp = ctx.xp
            floating = getattr(xp, dtype)
            seen["results"] = [
                xp.sum(x, axis=0, keepdims=True),
                xp.concat([x, x], axis=1),
                xp.stack([x, x]),
                xp.permute_dims(x, (1, 0)),
                xp.where(x > 0, x, xp.zeros_like(x)),
                xp.astype(x > 0, floating),
                xp.take(x, xp.asarray([1, 0]), axis=0),
                xp.full((2,), 1.5, dtype=floating),
                xp.expand_dims(x, axis=1),
                xp.clip(x, -0.5, 0.5),
                xp.broadcast_to(x, (2, 2, 3)),
                xp.argmax(x, axis=1),
            ]
            return xp.reshape(x, (6,))

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return ctx.xp.reshape(grad_output, (2, 3))

    Using.apply(nn.tensor(array))
    number = array.dtype.type
    wanted = [
        array.sum(axis=0, keepdims=True),
        np.concatenate([array, array], axis=1),
        np.stack([array, array]),
        array.T,
        np.maximum(array, 0),
        (array > 0).astype(dtype),
        array[::-1],
        np.full(2, 1.5, dtype),
        array[:, None],
        np.clip(array, number(-0.5), number(0.5)),
        np.broadcast_to(array, (2, 2, 3)),
        array.argmax(axis=1),
    ]
    kind_of_raw = type(raw(nn, array))
    for position, (got, want) in enumerate(zip(seen["results"], wanted, strict=True)):
        assert isinstance(got, kind_of_raw), f"result {position} is a {type(got).__name__}"
        agrees(nn, got, want, "reduction", call=f"result {position}")


@clause("function-19")
def test_as_function(nn: Any, dtype: str) -> None:
    before = dict(vars(Tanh))
    function = nn.as_function(Tanh)
    assert issubclass(function, nn.Function)
    assert function.__name__ == "Tanh"
    assert function.__doc__ == Tanh.__doc__
    assert dict(vars(Tanh)) == before
    array = normal(3, dtype)
    for applied in (function, nn.as_function(Tanh)):
        x = tensor(nn, array)
        y = applied.apply(x)
        assert isinstance(y, nn.Tensor)
        t = np.tanh(in_double(array))
        agrees(nn, y, t, "elementwise")
        nn.ops.sum(y).backward()
        agrees(nn, x.grad, 1 - t * t, "gradient")


@pytest.mark.parametrize("missing", ["forward", "backward"])
@clause("function-19")
def test_as_function_names_what_is_missing(nn: Any, missing: str) -> None:
    there = {"forward", "backward"} - {missing}
    plain = type("Half", (), {name: vars(Tanh)[name] for name in there})
    with refuses(TypeError, "as_function", "Half", missing):
        nn.as_function(plain)


@clause("function-20")
def test_fused_forward_and_backward(nn: Any, dtype: str) -> None:
    array = normal(3, dtype)
    wide = in_double(array)
    x = tensor(nn, array)
    y = fused_square(nn, []).apply(x, factor=3.0)
    agrees(nn, y, 3 * wide * wide, "elementwise")
    nn.ops.sum(y).backward()
    agrees(nn, x.grad, 6 * wide, "gradient", call="first derivative")


@clause("function-20", needs="double_backward")
def test_composite(nn: Any, dtype: str) -> None:
    calls: list[str] = []
    array = normal(3, dtype)
    wide = in_double(array)
    x = tensor(nn, array)
    nn.ops.sum(fused_square(nn, calls).apply(x, factor=3.0)).backward(create_graph=True)
    first = x.grad
    agrees(nn, first, 6 * wide, "gradient", call="first derivative, create_graph")
    nn.ops.sum(first * first).backward()
    assert calls, "composite was not called for the second derivative"
    agrees(nn, x.grad, 6 * wide + 72 * wide, "gradient", call="second derivative")


@clause("function-20", needs=("float64", "double_backward"))
def test_composite_of_several_outputs(nn: Any) -> None:
    class Pair(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x, y)
            return x * y, ctx.xp.sum(x)

        @staticmethod
        def backward(ctx: Any, grad_product: Any, grad_sum: Any) -> Any:
            x, y = ctx.saved_tensors
            return grad_product * y + grad_sum, grad_product * x

        @staticmethod
        def composite(x: Any, y: Any) -> Any:
            return nn.ops.multiply(x, y), nn.ops.sum(x)

    inputs = [distinct(2), positive(2, seed=1)]
    check_gradients(nn, lambda x, y: Pair.apply(x * x, y), inputs, second_order=True)


def once(nn: Any) -> Any:
    """Return the square as a Function whose gradient has no derivative."""

    class Once(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @nn.once_differentiable
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * grad_output

    return Once


@clause("function-21")
def test_once_differentiable(nn: Any, dtype: str) -> None:
    array = normal(3, dtype)
    x = tensor(nn, array)
    nn.ops.sum(once(nn).apply(x)).backward()
    agrees(nn, x.grad, 2 * in_double(array), "gradient")


@clause("function-21", needs="double_backward")
def test_once_differentiable_refuses_a_second_time(nn: Any, dtype: str) -> None:
    array = normal(3, dtype)
    x = tensor(nn, array)
    nn.ops.sum(once(nn).apply(x)).backward(create_graph=True)
    first = x.grad
    agrees(nn, first, 2 * in_double(array), "gradient", call="first derivative, create_graph")
    with refuses(RuntimeError, "Once", "once_differentiable"):
        nn.ops.sum(first * first).backward()
    exactly(nn, x.detach(), array)
