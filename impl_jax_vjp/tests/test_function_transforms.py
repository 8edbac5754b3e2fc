"""One Function under JAX's transformations, eagerly, and on the tape inside a trace."""

import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import agree

import impl_jax_vjp as nn


class Product(nn.Function):
    """x * y * z, each gradient only where it is wanted."""

    seen: ClassVar[list[tuple[bool, ...]]] = []

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, z: Any) -> Any:
        Product.seen.append(ctx.needs_input_grad)
        ctx.save_for_backward(x, y, z)
        return x * y * z

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        Product.seen.append(ctx.needs_input_grad)
        x, y, z = ctx.saved_tensors
        at_x, at_y, at_z = ctx.needs_input_grad
        return (
            grad * y * z if at_x else None,
            grad * x * z if at_y else None,
            grad * x * y if at_z else None,
        )


class Tanh(nn.Function):
    """tanh with its output saved, as an instance; the slope is scaled so that our rule is seen."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def forward(self, x: Any) -> Any:
        y = self.xp.tanh(x)
        self.save_for_backward(y)
        return y

    def backward(self, grad: Any) -> Any:
        (y,) = self.saved_tensors
        return self.scale * grad * (1 - y * y)


def apply_tanh(x: Any, scale: float = 1.0) -> Any:
    return Tanh(scale)(nn.from_array(jnp.asarray(x))).data


X = np.linspace(-1.5, 1.5, 6)
SLOPE = 1 - np.tanh(X) ** 2


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("compile_", [False, True])
def test_needs_input_grad_is_what_jax_differentiates(
    flags: tuple[bool, ...], compile_: bool
) -> None:
    arrays = [jnp.array(X + i) for i in range(3)]
    chosen = tuple(i for i, flag in enumerate(flags) if flag)

    def loss(*xs: Any) -> Any:
        return Product.apply(*map(nn.from_array, xs)).data.sum()

    Product.seen.clear()
    if not chosen:
        (jax.jit(loss) if compile_ else loss)(*arrays)
        assert Product.seen == [(False, False, False)]
        return
    gradient = jax.grad(loss, argnums=chosen)
    result = (jax.jit(gradient) if compile_ else gradient)(*arrays)
    assert set(Product.seen) == {flags}
    for i, grad in zip(chosen, result, strict=True):
        expected = np.prod([a for j, a in enumerate(arrays) if j != i], axis=0)
        agree(grad, expected, "elementwise")


@pytest.mark.parametrize("flags", list(itertools.product([False, True], repeat=3)))
def test_needs_input_grad_on_the_tape(flags: tuple[bool, ...]) -> None:
    xs = [nn.tensor(X + i, requires_grad=flag) for i, flag in enumerate(flags)]
    Product.seen.clear()
    y = Product.apply(*xs)
    assert Product.seen == [flags]
    if any(flags):
        y.sum().backward()
        assert Product.seen == [flags, flags]
    assert [x.grad is not None for x in xs] == list(flags)


def test_our_rule_is_obeyed_by_every_transformation() -> None:
    def single(x: Any) -> Any:
        return apply_tanh(x, 2.0)

    agree(jax.vmap(single)(X), np.tanh(X), "gradient")
    for gradient in (jax.grad(single), jax.jit(jax.grad(single)), jax.grad(jax.jit(single))):
        agree(jax.vmap(gradient)(X), 2 * SLOPE, "gradient")
        agree([gradient(x) for x in X], 2 * SLOPE, "gradient")
    rows = jax.vmap(jax.grad(lambda x: single(x).sum()))(np.stack([X, X]))
    agree(rows, 2 * np.stack([SLOPE, SLOPE]), "gradient")


def test_scan() -> None:
    def chain(x: Any) -> Any:
        def step(h: Any, _: None) -> Any:
            h = apply_tanh(h)
            return h, h

        return jax.lax.scan(step, x, None, length=4)[0]

    def plain(x: Any) -> Any:
        for _ in range(4):
            x = jnp.tanh(x)
        return x

    agree(jax.jit(chain)(X), plain(X), "gradient")
    result = jax.grad(lambda x: chain(x).sum())(X)
    agree(result, jax.grad(lambda x: plain(x).sum())(X), "rnn")


def test_scan_carries_tensors() -> None:
    def step(h: nn.Tensor, _: None) -> Any:
        return Tanh()(h), h.sum()

    last, sums = jax.lax.scan(step, nn.tensor(X), None, length=3)
    assert isinstance(last, nn.Tensor)
    assert isinstance(sums, nn.Tensor)
    agree(last.numpy(), np.tanh(np.tanh(np.tanh(X))), "gradient")


def test_higher_derivatives_under_jax() -> None:
    ours: Any = apply_tanh
    plain: Any = jnp.tanh
    for _ in range(3):
        ours, plain = jax.grad(ours), jax.grad(plain)
        for wrap in (lambda f: f, jax.jit):
            agree(wrap(ours)(0.4), plain(0.4), "rnn")
        agree(jax.vmap(ours)(X), jax.vmap(plain)(X), "rnn")


def test_tape_and_jax_agree_on_third_derivatives() -> None:
    x = nn.tensor(0.4, dtype=nn.float64, requires_grad=True)
    y = Tanh()(x)
    plain: Any = jnp.tanh
    for _ in range(3):
        y.backward(create_graph=True)
        y, x.grad = x.grad, None
        plain = jax.grad(plain)
        agree(y.item(), plain(0.4), "rnn")


def test_backward_inside_a_trace() -> None:
    @jax.jit
    def gradient(v: Any) -> Any:
        x = nn.from_array(v, requires_grad=True)
        Tanh(2.0)(x).sum().backward()
        return x.grad

    result = gradient(X)
    assert isinstance(result, nn.Tensor)
    agree(result.numpy(), 2 * SLOPE, "gradient")


def test_jax_differentiates_the_tape() -> None:
    def penalty(v: Any) -> Any:
        x = nn.from_array(v, requires_grad=True)
        y = Tanh()(x)
        y.sum().backward(create_graph=True)
        return (x.grad * x.grad + y).sum().data

    def plain(v: Any) -> Any:
        return ((1 - jnp.tanh(v) ** 2) ** 2 + jnp.tanh(v)).sum()

    for wrap in (lambda f: f, jax.jit):
        result = wrap(jax.grad(penalty))(X)
        agree(result, jax.grad(plain)(X), "rnn")


def test_a_detached_gradient_is_constant_to_jax_too() -> None:
    def loss(v: Any) -> Any:
        x = nn.from_array(v, requires_grad=True)
        y = Tanh()(x)
        y.sum().backward()
        return (x.grad * y.detach() + y).sum().data

    agree(jax.grad(loss)(X), SLOPE, "gradient")


class Attributes(nn.Function):
    """Multiplies by what it keeps on the ctx: an array, a nest of arrays, numbers, a string."""

    @staticmethod
    def forward(ctx: Any, x: Any, *, factor: float) -> Any:
        ctx.double = 2 * x
        ctx.nest = {"rows": [x, 3.0], "name": "cube"}
        ctx.factor = factor
        return factor * x**3

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        assert ctx.nest["name"] == "cube"
        x, three = ctx.nest["rows"]
        return grad * ctx.factor * three * x * ctx.double / 2


def test_attributes_that_are_arrays_are_leaves() -> None:
    def cube(v: Any) -> Any:
        return Attributes.apply(nn.from_array(v), factor=0.5).data.sum()

    expected = 1.5 * X**2
    agree(jax.jit(jax.grad(cube))(jnp.array(X)), expected, "gradient")
    second = jax.grad(lambda v: jax.grad(cube)(v).sum())(jnp.array(X))
    agree(second, 3 * X, "gradient")
    x = nn.tensor(X, requires_grad=True)
    Attributes.apply(x, factor=0.5).sum().backward()
    agree(x.grad.numpy(), expected, "gradient")


class Unhashable(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.lookup = {1, 2}
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * max(ctx.lookup)


def test_an_attribute_that_cannot_be_hashed() -> None:
    with pytest.raises(TypeError, match=r"Unhashable: ctx\.lookup holds a set"):
        jax.grad(lambda v: Unhashable.apply(nn.from_array(v)).data.sum())(jnp.array(X))
    x = nn.tensor(X, requires_grad=True)
    Unhashable.apply(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full(6, 2.0))


class Halves(nn.Function):
    """Two outputs and an integer one; None reaches backward where nothing was used."""

    materialize = True

    @classmethod
    def make(cls, materialize: bool) -> Any:
        return type("Halves", (cls,), {"materialize": materialize, "got": []})

    def forward(self, x: Any) -> Any:
        self.set_materialize_grads(self.materialize)
        return x * 0.5, x * 2.0, x.astype(nn.int64)

    def backward(self, *grads: Any) -> Any:
        self.got.append([None if g is None else (g.shape, str(g.dtype)) for g in grads])
        known = [0 if g is None else f * g for f, g in zip((0.5, 2.0), grads[:2], strict=True)]
        return known[0] + known[1]


@pytest.mark.parametrize("materialize", [True, False])
def test_unused_outputs(materialize: bool) -> None:
    shape = (6,)
    used = (shape, "float64")
    unused = [used, (shape, "int64")] if materialize else [None, None]
    for run in ("tape", "jax"):
        halves = Halves.make(materialize)
        if run == "tape":
            x = nn.tensor(X, requires_grad=True)
            outputs = halves()(x)
            assert [o.requires_grad for o in outputs] == [True, True, False]
            outputs[0].sum().backward()
            result = x.grad.numpy()
        else:
            result = jax.grad(lambda v, h=halves: h()(nn.from_array(v))[0].data.sum())(jnp.array(X))
        np.testing.assert_array_equal(result, np.full(6, 0.5))
        assert halves.got == [[used, *unused]]


def test_errors_of_backward_are_raised_under_jax_too() -> None:
    class Wrong(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x * y

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad, grad[:2]

    def loss(x: Any, y: Any) -> Any:
        return Wrong.apply(nn.from_array(x), nn.from_array(y)).data.sum()

    with pytest.raises(ValueError, match=r"Wrong: the gradient of input 1 has shape \(2,\)"):
        jax.grad(loss, argnums=(0, 1))(jnp.array(X), jnp.array(X))
    np.testing.assert_array_equal(jax.grad(loss)(jnp.array(X), jnp.array(X)), np.ones(6))


class Once(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @nn.once_differentiable
    def backward(ctx: Any, grad: Any) -> Any:
        return 2 * grad * ctx.saved_tensors[0]


def test_once_differentiable_under_jax() -> None:
    def square(v: Any) -> Any:
        return Once.apply(nn.from_array(v)).data.sum()

    v = jnp.array(X)
    agree(jax.jit(jax.grad(square))(v), 2 * X, "elementwise")
    with pytest.raises(RuntimeError, match="Once: backward is once_differentiable"):
        jax.grad(lambda v: jax.grad(square)(v).sum())(v)


class Fused(nn.Function):
    """Its forward hides from JAX how it depends on x: only the composite can be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        hidden = jax.lax.stop_gradient(x)
        ctx.save_for_backward(hidden)
        return hidden**3

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return jax.lax.stop_gradient(3 * ctx.saved_tensors[0] ** 2) * grad

    @staticmethod
    def composite(x: Any) -> Any:
        return x**3


def test_composite_under_jax_and_on_the_tape() -> None:
    def cube(v: Any) -> Any:
        return Fused.apply(nn.from_array(v)).data.sum()

    v = jnp.array(X)
    agree(jax.grad(cube)(v), 3 * X**2, "gradient")
    second = jax.grad(lambda v: (jax.grad(cube)(v) ** 2).sum())
    agree(jax.jit(second)(v), 36 * X**3, "rnn")
    x = nn.tensor(X, requires_grad=True)
    Fused.apply(x).sum().backward(create_graph=True)
    grad, x.grad = x.grad, None
    (grad * grad).sum().backward()
    agree(x.grad.numpy(), 36 * X**3, "rnn")


def test_ops_have_the_specified_subgradients_under_jax() -> None:
    def gradient(fn: Any, at: float) -> float:
        return float(jax.grad(lambda v: fn(nn.from_array(jnp.asarray(v))).data)(at))

    assert gradient(nn.ops.abs, 0.0) == 0
    assert gradient(nn.ops.relu, 0.0) == 0
    assert gradient(lambda x: nn.ops.maximum(x, 1.0), 1.0) == 0.5
    assert gradient(lambda x: nn.ops.clip(x, -1.0, 1.0), 1.0) == 1
    assert gradient(lambda x: x**0, 0.0) == 0
    assert gradient(nn.ops.sqrt, 0.0) == np.inf


def test_a_compiled_class_gives_the_same() -> None:
    class Compiled(Product):
        compiled = True

    def second(cls: Any) -> list[Any]:
        xs = [nn.tensor(X + i, requires_grad=i != 1) for i in range(3)]
        cls.apply(*xs).sum().backward(create_graph=True)
        total = (xs[0].grad * xs[2].grad).sum()
        for x in xs:
            x.grad = None
        total.backward()
        return [x.grad for x in xs]

    # The gradients are y z and x y, so that of their product is y² z and x y².
    for cls in (Product, Compiled, Compiled):
        at_x, at_y, at_z = second(cls)
        assert at_y is None
        agree(at_x.numpy(), (X + 1) ** 2 * (X + 2), "rnn")
        agree(at_z.numpy(), X * (X + 1) ** 2, "rnn")
