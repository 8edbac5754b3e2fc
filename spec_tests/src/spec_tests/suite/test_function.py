"""Chapter function: spellings, inputs, the ctx, and the gradients that backward returns."""

import itertools
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor
from spec_tests.support.inputs import in_double, normal


def scale(nn: Any) -> Any:
    class Scale(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *, factor: float) -> Any:
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * ctx.factor

    return Scale


def relu(nn: Any) -> Any:
    class ReLUF(nn.Function):
        def forward(self, x: Any) -> Any:
            self.save_for_backward(x)
            return self.xp.maximum(x, 0 * x)

        def backward(self, grad_output: Any) -> Any:
            (x,) = self.saved_tensors
            return self.xp.where(x > 0, grad_output, 0 * grad_output)

    return ReLUF


def product(nn: Any) -> Any:
    class Product(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            x, y = ctx.saved_tensors
            return grad_output * y, grad_output * x

    return Product


def returning(nn: Any, make: Any) -> Any:
    """Return a Function ``x + y`` (or ``x`` alone) whose backward returns ``make(ctx, grad)``."""

    class Returning(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any = None, *rest: Any) -> Any:
            return x * 1 if y is None else x + y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return make(ctx, grad_output)

    return Returning


@clause("function-01")
def test_static_spelling(nn: Any, dtype: str) -> None:
    array, weight = normal((2, 3), dtype), normal((2, 3), dtype, seed=1)
    x = tensor(nn, array)
    y = scale(nn).apply(x, factor=3.0)
    assert isinstance(y, nn.Tensor)
    agrees(nn, y, 3 * in_double(array), "elementwise")
    y.backward(nn.tensor(weight))
    agrees(nn, x.grad, 3 * in_double(weight), "gradient")


@clause("function-01")
def test_several_inputs(nn: Any, dtype: str) -> None:
    a, b = normal(3, dtype), normal(3, dtype, seed=1)
    x, y = tensor(nn, a), tensor(nn, b)
    # The operators around the Function show that it is one node of a larger graph.
    nn.ops.sum(product(nn).apply(x * 2, y) * 3).backward()
    agrees(nn, x.grad, 6 * in_double(b), "gradient")
    agrees(nn, y.grad, 6 * in_double(a), "gradient")


@clause("function-02")
def test_instance_spelling(nn: Any, dtype: str) -> None:
    array = np.array([-1.0, 0.5, 2.0], dtype)
    for call in (relu(nn)(), relu(nn).apply):
        x = tensor(nn, array)
        y = call(x)
        assert isinstance(y, nn.Tensor)
        exactly(nn, y, np.array([0.0, 0.5, 2.0]))
        nn.ops.sum(y * y).backward()
        exactly(nn, x.grad, np.array([0.0, 1.0, 4.0]))


@clause("function-02")
def test_instance_keeps_what_init_stored(nn: Any, dtype: str) -> None:
    class Affine(nn.Function):
        def __init__(self, factor: float, shift: float = 0.0) -> None:
            super().__init__()
            self.factor, self.shift = factor, shift

        def forward(self, x: Any) -> Any:
            self.doubled = 2 * self.factor
            return x * self.factor + self.shift

        def backward(self, grad_output: Any) -> Any:
            return grad_output * (self.doubled - self.factor)

    array = normal(3, dtype)
    x = tensor(nn, array)
    y = Affine(4.0, shift=0.5)(x)
    agrees(nn, y, 4 * in_double(array) + 0.5, "elementwise")
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.full(3, 4.0))


@clause("function-03")
def test_an_instance_serves_one_call(nn: Any, dtype: str) -> None:
    first, second = np.array([-1.0, 2.0], dtype), np.array([3.0, -4.0], dtype)
    x, z = tensor(nn, first), tensor(nn, second)
    function = relu(nn)()
    y = function(x)
    with refuses(RuntimeError, "ReLUF", "instance"):
        function(z)
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.array([0.0, 1.0]), call="gradient of the first call")
    assert z.grad is None
    with refuses(RuntimeError, "ReLUF", "instance"):
        function(z)


@clause("function-04")
def test_forward_and_backward_see_raw_arrays(nn: Any, dtype: str) -> None:
    outside = tensor(nn, normal(3, dtype, seed=1))
    seen: list[Any] = []
    recorded: list[bool] = []

    class Watching(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            seen.append(x)
            recorded.append((outside * 2).requires_grad)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            seen.append(grad_output)
            recorded.append((outside * 2).requires_grad)
            return grad_output * 2

    x = tensor(nn, normal(3, dtype))
    nn.ops.sum(Watching.apply(x)).backward()
    exactly(nn, x.grad, np.full(3, 2.0))
    separate = not isinstance(raw(nn, np.zeros(1)), nn.Tensor)
    assert len(seen) >= 2
    for argument in seen:
        assert not (separate and isinstance(argument, nn.Tensor)), type(argument)
        assert not getattr(argument, "requires_grad", False)
    assert not any(recorded), "an operation inside forward or backward was recorded"
    assert (outside * 2).requires_grad


@clause("function-05")
def test_inputs_that_are_no_tensors(nn: Any, dtype: str) -> None:
    seen: list[tuple[Any, ...]] = []

    class Mixed(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, nothing: Any, number: Any, text: Any, pair: Any) -> Any:
            seen.append((nothing, number, text, pair))
            ctx.number = number
            return x * number

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * ctx.number, None, grad_output, None, None

    x = tensor(nn, normal(3, dtype))
    y = Mixed.apply(x, None, 2.5, "text", (1, "two"))
    assert seen[0] == (None, 2.5, "text", (1, "two"))
    assert type(seen[0][1]) is float
    assert type(seen[0][3]) is tuple
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.full(3, 2.5))


@clause("function-05")
def test_raw_arrays_are_constants(nn: Any, dtype: str) -> None:
    a, b = normal(3, dtype), normal(3, dtype, seed=1)
    x = tensor(nn, a)
    y = product(nn).apply(x, raw(nn, b))
    agrees(nn, y, in_double(a) * in_double(b), "elementwise")
    nn.ops.sum(y).backward()
    agrees(nn, x.grad, b, "gradient")
    both = product(nn).apply(raw(nn, a), raw(nn, b))
    assert isinstance(both, nn.Tensor)
    assert not both.requires_grad


@clause("function-06")
def test_keywords_are_configuration(nn: Any, dtype: str) -> None:
    seen: list[dict[str, Any]] = []

    class Configured(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, **config: Any) -> Any:
            seen.append(config)
            return x * config["factor"]

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return (grad_output * 3.0,)

    config = {"factor": 3.0, "axes": (0, (1, 2)), "mode": "same", "missing": None}
    x = tensor(nn, normal(3, dtype))
    y = Configured.apply(x, **config)
    assert seen[0] == config
    assert type(seen[0]["factor"]) is float
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.full(3, 3.0))


@clause("function-07")
def test_saved_tensors(nn: Any, dtype: str) -> None:
    kinds: list[Any] = []

    class Saving(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            between = ctx.xp.exp(x)
            y = between * x
            ctx.save_for_backward(x, None, between, y)
            return y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            saved = ctx.saved_tensors
            kinds.append((type(saved), len(saved), saved[1]))
            x, _, between, y = saved
            # y + exp(x) is the derivative of x exp(x); x - x asks for the input without effect.
            return grad_output * (y + between + (x - x))

    array = normal(3, dtype)
    x = tensor(nn, array)
    nn.ops.sum(Saving.apply(x)).backward()
    wide = in_double(array)
    agrees(nn, x.grad, np.exp(wide) * (wide + 1), "gradient")
    assert kinds[0] == (tuple, 4, None)


@pytest.mark.parametrize("item", [1.5, "text", [1.0]], ids=str)
@clause("function-07")
def test_what_cannot_be_saved(nn: Any, item: Any) -> None:
    class Saving(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x, item)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 2

    with refuses(TypeError, "save_for_backward", type(item).__name__):
        Saving.apply(tensor(nn, normal(3, "float32")))


@clause("function-08")
def test_free_attributes(nn: Any, dtype: str) -> None:
    class Attributes(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.factor, ctx.mode, ctx.shape = 2.0, "twice", (3, ("a", None))
            ctx.positive = x > 0
            return x * 2.0

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            assert (ctx.mode, ctx.shape) == ("twice", (3, ("a", None)))
            return ctx.xp.where(ctx.positive, grad_output * ctx.factor, 0 * grad_output)

    x = tensor(nn, np.array([-1.0, 1.0, 2.0], dtype))
    nn.ops.sum(Attributes.apply(x)).backward()
    exactly(nn, x.grad, np.array([0.0, 2.0, 2.0]))


@clause("function-08")
@pytest.mark.parametrize("factors", [[2.0], {2.0}], ids=str)
def test_attributes_that_cannot_be_hashed(nn: Any, dtype: str, factors: Any) -> None:
    class Listing(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.settings = {"factors": factors}
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * max(ctx.settings["factors"])

    x = tensor(nn, normal(3, dtype))
    refusal = ""
    try:
        nn.ops.sum(Listing.apply(x)).backward()
    except (TypeError, ValueError) as error:
        refusal = str(error)
    if refusal:
        assert "settings" in refusal
    else:
        exactly(nn, x.grad, np.full(3, 2.0))


@pytest.mark.parametrize("wanted", list(itertools.product([False, True], repeat=3)), ids=str)
@clause("function-09")
def test_needs_input_grad(nn: Any, dtype: str, wanted: tuple[bool, ...]) -> None:
    seen: dict[str, list[Any]] = {"forward": [], "backward": []}

    class Asking(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any, number: Any, z: Any) -> Any:
            seen["forward"].append(ctx.needs_input_grad)
            return x + 2 * y + number * z

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            needs = ctx.needs_input_grad
            seen["backward"].append(needs)
            factors = (1.0, 2.0, None, 3.0)
            return tuple(
                grad_output * factor if need else None
                for need, factor in zip(needs, factors, strict=True)
            )

    leaves = [tensor(nn, normal(2, dtype, seed=i), flag) for i, flag in enumerate(wanted)]
    y = Asking.apply(leaves[0], leaves[1] * 1.0, 3.0, leaves[2])
    want = (wanted[0], wanted[1], False, wanted[2])
    assert seen["forward"][0] == want
    assert y.requires_grad == any(wanted)
    if any(wanted):
        nn.ops.sum(y).backward()
        assert seen["backward"][0] == want
    for leaf, flag, factor in zip(leaves, wanted, (1.0, 2.0, 3.0), strict=True):
        if flag:
            exactly(nn, leaf.grad, np.full(2, factor))
        else:
            assert leaf.grad is None


@clause("function-10")
def test_none_means_zero(nn: Any, dtype: str) -> None:
    function = returning(nn, lambda ctx, grad: (None, grad))
    x, y = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
    nn.ops.sum(function.apply(x, y) + 2 * x).backward()
    exactly(nn, x.grad, np.full(3, 2.0), call="input with None and another use")
    exactly(nn, y.grad, np.ones(3))
    x = tensor(nn, normal(3, dtype))
    nn.ops.sum(function.apply(x, y)).backward()
    if x.grad is not None:
        exactly(nn, x.grad, np.zeros(3))


@clause("function-11")
def test_gradients_that_may_be_left_out(nn: Any, dtype: str) -> None:
    x, y = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
    alone = returning(nn, lambda ctx, grad: grad)
    nn.ops.sum(alone.apply(x, None)).backward()
    exactly(nn, x.grad, np.ones(3))
    pair = returning(nn, lambda ctx, grad: (grad, grad * 2))
    nn.ops.sum(pair.apply(x, y, None, None)).backward()
    exactly(nn, y.grad, np.full(3, 2.0))


@pytest.mark.parametrize(
    ("count", "rest"),
    [(1, ()), (3, ()), (2, (2.0,)), (1, (None,)), (0, ())],
    ids=["1 for 2", "3 for 2", "2 for 3, a number last", "1 for 3, None last", "0 for 2"],
)
@clause("function-11")
def test_wrong_number_of_gradients(nn: Any, dtype: str, count: int, rest: tuple[Any, ...]) -> None:
    function = returning(nn, lambda ctx, grad: (grad,) * count)
    x, y = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
    result = nn.ops.sum(function.apply(x, y, *rest))
    # Two are wanted at the least; that the None at the end may be left out can be said or not.
    wanted = (str(2 + len(rest)), "2") if rest == (None,) else str(2 + len(rest))
    with refuses(ValueError, "Returning", wanted, count):
        result.backward()
    assert x.grad is None
    assert y.grad is None


@clause("function-12")
def test_wrong_shape_of_a_gradient(nn: Any, dtype: str) -> None:
    for make, came in (
        (lambda ctx, grad: (grad, grad[:1]), "(1,)"),
        (lambda ctx, grad: (grad, ctx.xp.sum(grad)), "()"),
        (lambda ctx, grad: (grad, ctx.xp.reshape(grad, (3, 1))), "(3, 1)"),
    ):
        x, y = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
        result = nn.ops.sum(returning(nn, make).apply(x, y))
        with refuses(ValueError, "Returning", "1", "(3,)", came):
            result.backward()


@clause("function-13")
def test_wrong_dtype_of_a_gradient(nn: Any, dtype: str) -> None:
    for wrong in {"float32", "float64", "int64"} - {dtype}:
        if wrong == "float64" and not nn.spec_capabilities()["float64"]:
            continue

        def convert(ctx: Any, grad: Any, wrong: str = wrong) -> Any:
            return grad, ctx.xp.astype(grad, getattr(ctx.xp, wrong))

        x, y = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
        result = nn.ops.sum(returning(nn, convert).apply(x, y))
        with refuses(TypeError, "Returning", "1", dtype, wrong):
            result.backward()
