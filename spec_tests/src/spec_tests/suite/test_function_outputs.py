"""Chapter function: outputs, layouts, state, and what is released."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor
from spec_tests.support.inputs import in_double, normal


def twins(nn: Any, seen: list[Any], *, materialize: bool = True, mark: bool = False) -> Any:
    """Return a Function of one input with the outputs 2 x (3,) and the sum of x ()."""

    class Twins(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(materialize)
            first, second = x * 2, ctx.xp.sum(x)
            if mark:
                ctx.mark_non_differentiable(second)
            return first, second

        @staticmethod
        def backward(ctx: Any, grad_first: Any, grad_second: Any) -> Any:
            seen.append((grad_first, grad_second))
            total = 0
            if grad_first is not None:
                total = total + 2 * grad_first
            if grad_second is not None:
                total = total + ctx.xp.broadcast_to(grad_second, (3,))
            return total

    return Twins


def saving(nn: Any, references: list[Any]) -> Any:
    class Saving(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = ctx.xp.tanh(x)
            references.append(weakref.ref(y))
            ctx.save_for_backward(y)
            return y * 1

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (y,) = ctx.saved_tensors
            return grad_output * (1 - y * y)

    return Saving


def outer(nn: Any) -> Any:
    class Outer(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.save_for_backward(x, y)
            return ctx.xp.matmul(x, y)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            x, y = ctx.saved_tensors
            xp = ctx.xp
            return (
                xp.matmul(grad_output, xp.matrix_transpose(y)),
                xp.matmul(xp.matrix_transpose(x), grad_output),
            )

    return Outer


@clause("function-14")
def test_several_outputs(nn: Any, dtype: str) -> None:
    seen: list[Any] = []
    x = tensor(nn, normal(3, dtype))
    result = twins(nn, seen).apply(x)
    assert type(result) is tuple
    first, second = result
    assert isinstance(first, nn.Tensor)
    assert isinstance(second, nn.Tensor)
    exactly(nn, first, 2 * normal(3, dtype))
    agrees(nn, second, in_double(normal(3, dtype)).sum(), "reduction")
    # first is used twice, so that its two gradients must meet before backward runs once.
    (nn.ops.sum(first) + nn.ops.sum(first * 3) + second * 5).backward()
    exactly(nn, x.grad, np.full(3, 13.0))
    assert len(seen) == 1
    exactly(nn, seen[0][0], np.full(3, 4.0))
    exactly(nn, seen[0][1], np.full((), 5.0))


@clause("function-01", "function-07")
def test_tensors_that_are_returned_and_saved(nn: Any, dtype: str) -> None:
    """They count as their raw arrays."""

    class Tripled(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            kept = nn.from_array(x * 1)
            ctx.save_for_backward(kept, None)
            return kept * 3, x

        @staticmethod
        def backward(ctx: Any, grad_output: Any, other: Any) -> Any:
            kept, nothing = ctx.saved_tensors
            assert nothing is None
            ctx.kept = kept
            return nn.from_array(grad_output * 3 + other)

    x = tensor(nn, normal(3, dtype))
    first, second = Tripled.apply(x)
    exactly(nn, first.detach(), 3 * normal(3, dtype))
    exactly(nn, second.detach(), normal(3, dtype))
    assert first.requires_grad
    assert second.requires_grad
    nn.ops.sum(first + second * 2).backward()
    exactly(nn, x.grad, np.full(3, 5.0))


@clause("function-01")
@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("what", ["nested lists", "a dict", "a number", "text", "a NumPy array"])
def test_what_is_no_array_is_not_returned(nn: Any, what: str, place: str) -> None:
    ones = np.ones(3, "float32")
    value: Any = {
        "nested lists": [[1.0] * 3],
        "a dict": {"x": raw(nn, ones)},
        "a number": 1.0,
        "text": "x",
        # Where NumPy's arrays are the raw ones, a list of them is none.
        "a NumPy array": [[ones]] if isinstance(raw(nn, ones), np.ndarray) else ones,
    }[what]

    class Odd(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return value if place == "forward" else x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return value

    x = tensor(nn, normal(3, "float32"))
    with refuses((TypeError, ValueError), "Odd"):
        nn.ops.sum(Odd.apply(x)).backward()
    assert x.grad is None


@clause("function-14")
def test_unused_outputs_get_zeros(nn: Any, dtype: str) -> None:
    for used, want in ((0, 2.0), (1, 1.0)):
        seen: list[Any] = []
        x = tensor(nn, normal(3, dtype))
        result = twins(nn, seen).apply(x)
        nn.ops.sum(result[used]).backward()
        exactly(nn, seen[0][0], np.full(3, float(used == 0)))
        exactly(nn, seen[0][1], np.full((), float(used == 1)))
        exactly(nn, x.grad, np.full(3, want))


@clause("function-14")
def test_a_tuple_of_one_output(nn: Any, dtype: str) -> None:
    class Single(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return (x * 2,)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 2

    x = tensor(nn, normal(3, dtype))
    result = Single.apply(x)
    assert type(result) is tuple
    assert len(result) == 1
    nn.ops.sum(result[0]).backward()
    exactly(nn, x.grad, np.full(3, 2.0))


@clause("function-15")
def test_set_materialize_grads(nn: Any, dtype: str) -> None:
    for used in (0, 1):
        seen: list[Any] = []
        x = tensor(nn, normal(3, dtype))
        result = twins(nn, seen, materialize=False).apply(x)
        nn.ops.sum(result[used]).backward()
        assert seen[0][1 - used] is None
        assert seen[0][used] is not None
        exactly(nn, x.grad, np.full(3, 2.0 if used == 0 else 1.0))


@clause("function-16")
def test_mark_non_differentiable(nn: Any, dtype: str) -> None:
    seen: list[Any] = []
    x = tensor(nn, normal(3, dtype))
    first, second = twins(nn, seen, mark=True).apply(x)
    assert first.requires_grad
    assert not second.requires_grad
    nn.ops.sum(first * second.detach()).backward()
    assert len(seen[0]) == 2
    agrees(nn, x.grad, np.full(3, 2 * in_double(normal(3, dtype)).sum()), "gradient")


def drops_a_marked_output(nn: Any, transform: Any) -> None:
    """Apply a Function, and ask whether the output that nobody has any more is gone."""
    references = []

    class Marking(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            second = ctx.xp.sum(x, keepdims=True)
            references.append(weakref.ref(second))
            ctx.mark_non_differentiable(second)
            return x * 2, second

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            return first * 2

    x = tensor(nn, normal((2, 3), "float32"))
    first, second = transform(Marking.apply)(x)
    del second
    gc.collect()
    assert references[-1]() is None, "the graph of the first output should not hold the second"
    nn.ops.sum(first).backward()
    exactly(nn, x.grad, np.full((2, 3), 2.0, "float32"))


@clause("function-26")
def test_a_marked_output_is_not_held_by_the_others(nn: Any) -> None:
    drops_a_marked_output(nn, lambda apply: apply)


@clause("autograd-53", "function-26")
def test_a_marked_output_is_not_held_under_vmap(nn: Any) -> None:
    drops_a_marked_output(nn, nn.vmap)


@clause("function-16")
def test_outputs_that_are_not_floating(nn: Any, dtype: str) -> None:
    class Sorted(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, x > 0, ctx.xp.astype(x, ctx.xp.int64)

        @staticmethod
        def backward(ctx: Any, grad_output: Any, *ignored: Any) -> Any:
            return grad_output * 2

    x = tensor(nn, normal(3, dtype))
    y, positive, whole = Sorted.apply(x)
    assert y.requires_grad
    assert not positive.requires_grad
    assert not whole.requires_grad
    nn.ops.sum(y).backward()
    exactly(nn, x.grad, np.full(3, 2.0))


@clause("function-16")
def test_mark_dirty_is_refused(nn: Any) -> None:
    class Dirty(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output

    with refuses(RuntimeError, "mark_dirty", ("modify", "modified")):
        Dirty.apply(tensor(nn, normal(3, "float32")))


@clause("function-22")
def test_two_forwards_before_one_backward(nn: Any, dtype: str) -> None:
    a, b = normal((2, 2), dtype), normal((2, 2), dtype, seed=1)
    ones = np.ones((2, 2), dtype)
    for order in ((0, 1), (1, 0)):
        function = outer(nn)
        x, y = tensor(nn, a), tensor(nn, b)
        results = [function.apply(x, nn.tensor(ones)), function.apply(nn.tensor(ones), y)]
        for position in order:
            results[position].backward(nn.tensor(ones))
        exactly(nn, x.grad, np.full((2, 2), 2.0), call=f"first call, order {order}")
        exactly(nn, y.grad, np.full((2, 2), 2.0), call=f"second call, order {order}")


@clause("function-22")
def test_attributes_are_those_of_the_call(nn: Any, dtype: str) -> None:
    class Scaled(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *, factor: float) -> Any:
            ctx.factor = factor
            ctx.kept = x * factor
            return x * factor

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * ctx.factor + 0 * ctx.kept

    array = normal(3, dtype)
    for order in ((0, 1), (1, 0)):
        leaves = [tensor(nn, array), tensor(nn, array)]
        factors = (2.0, 5.0)
        pairs = zip(leaves, factors, strict=True)
        results = [Scaled.apply(leaf, factor=factor) for leaf, factor in pairs]
        for position in order:
            nn.ops.sum(results[position]).backward()
        for leaf, factor in zip(leaves, factors, strict=True):
            exactly(nn, leaf.grad, np.full(3, factor), call=f"factor {factor}, order {order}")


@clause("function-22")
def test_instances_do_not_share_state(nn: Any, dtype: str) -> None:
    class Power(nn.Function):
        def __init__(self, power: int) -> None:
            super().__init__()
            self.power = power

        def forward(self, x: Any) -> Any:
            self.slope = self.power * x ** (self.power - 1)
            return x**self.power

        def backward(self, grad_output: Any) -> Any:
            return grad_output * self.slope

    array = normal(3, dtype)
    x = tensor(nn, array)
    square, cube = Power(2)(x), Power(3)(x)
    nn.ops.sum(square).backward()
    agrees(nn, x.grad, 2 * in_double(array), "gradient")
    nn.ops.sum(cube).backward()
    agrees(nn, x.grad, 2 * in_double(array) + 3 * in_double(array) ** 2, "gradient")


@clause("function-23")
def test_awkward_cotangents(nn: Any, dtype: str) -> None:
    a, b = normal((2, 3), dtype), normal((3, 4), dtype, seed=1)
    big = normal((4, 8), dtype, seed=2)
    cotangents = {
        "broadcast": nn.ops.broadcast_to(nn.tensor(big[0, 0]), (2, 4)),
        "broadcast row": nn.ops.broadcast_to(nn.tensor(big[0, :4]), (2, 4)),
        "transposed": nn.tensor(big[:, :2].copy()).T,
        "sliced": nn.tensor(big)[1::2, ::2],
        "sliced and transposed": nn.tensor(big)[:, 1::4].T,
    }
    for name, cotangent in cotangents.items():
        grad = cotangent.detach()
        values = in_double(grad.numpy())
        for call in (outer(nn).apply, nn.ops.matmul):
            x, y = tensor(nn, a), tensor(nn, b)
            call(x, y).backward(grad)
            agrees(nn, x.grad, values @ in_double(b).T, "gradient", call=f"{name}, first input")
            agrees(nn, y.grad, in_double(a).T @ values, "gradient", call=f"{name}, second input")


@clause("function-23")
def test_cotangents_that_operations_make(nn: Any, dtype: str) -> None:
    a, b = normal((2, 3), dtype), normal((3, 4), dtype, seed=1)
    full = np.ones((2, 4))
    every_other = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    first_row = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    ends: list[tuple[str, Any, np.ndarray]] = [
        ("sum", lambda z: z.sum(), full),
        ("mean", lambda z: z.mean(axis=0).sum(), full / 2),
        ("transpose", lambda z: z.T[::2].sum(), every_other),
        ("index", lambda z: z[0].sum(), first_row),
    ]
    for name, reduce, values in ends:
        x, y = tensor(nn, a), tensor(nn, b)
        reduce(outer(nn).apply(x, y)).backward()
        agrees(nn, x.grad, values @ in_double(b).T, "gradient", call=f"{name}, first input")
        agrees(nn, y.grad, in_double(a).T @ values, "gradient", call=f"{name}, second input")


@clause("function-23")
def test_awkward_inputs(nn: Any, dtype: str) -> None:
    big = normal((6, 8), dtype)
    b, weight = normal((3, 2), dtype, seed=1), normal((4, 2), dtype, seed=2)
    inputs = {
        "transposed": (nn.tensor(big[:3, :4].copy()).T, big[:3, :4].T),
        "sliced": (nn.tensor(big)[:4, ::3], big[:4, ::3]),
        "broadcast": (nn.ops.broadcast_to(nn.tensor(big[0, :3]), (4, 3)), big[[0, 0, 0, 0], :3]),
    }
    for name, (source, values) in inputs.items():
        x = nn.from_array(source.data, requires_grad=True)
        y = tensor(nn, b)
        z = outer(nn).apply(x, y)
        agrees(nn, z, in_double(values) @ in_double(b), "matmul", call=name)
        z.backward(nn.tensor(weight))
        want = in_double(weight) @ in_double(b).T
        agrees(nn, x.grad, want, "gradient", call=f"{name}, first input")
        want = in_double(values).T @ in_double(weight)
        agrees(nn, y.grad, want, "gradient", call=f"{name}, second input")


@clause("function-24")
def test_forward_may_return_its_input(nn: Any, dtype: str) -> None:
    class Same(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 3

    array = normal(3, dtype)
    x = tensor(nn, array)
    y = Same.apply(x)
    assert y is not x
    assert not y.is_leaf
    assert x.is_leaf
    assert x.requires_grad
    assert x.grad_fn is None
    exactly(nn, y, array)
    nn.ops.sum(y + x).backward()
    exactly(nn, x.grad, np.full(3, 4.0))


@clause("function-24")
def test_forward_may_return_its_inputs_exchanged(nn: Any, dtype: str) -> None:
    class Exchange(nn.Function):
        def forward(self, x: Any, y: Any) -> Any:
            return y, x

        def backward(self, grad_first: Any, grad_second: Any) -> Any:
            return grad_second * 2, grad_first * 5

    x, y = tensor(nn, normal(3, dtype)), nn.tensor(normal(3, dtype, seed=1))
    first, second = Exchange.apply(x, y)
    assert not y.requires_grad
    exactly(nn, first, normal(3, dtype, seed=1))
    exactly(nn, second, normal(3, dtype))
    (nn.ops.sum(first) + nn.ops.sum(second)).backward()
    exactly(nn, x.grad, np.full(3, 2.0))
    assert y.grad is None


@clause("function-25")
def test_outputs_require_grad_only_where_something_does(nn: Any, dtype: str) -> None:
    function = saving(nn, [])
    array = normal(3, dtype)
    assert function.apply(tensor(nn, array)).requires_grad
    assert function.apply(tensor(nn, array) * 2).requires_grad
    plain = [function.apply(nn.tensor(array)), function.apply(raw(nn, array))]
    with nn.no_grad():
        plain.append(function.apply(tensor(nn, array)))
    for y in plain:
        assert isinstance(y, nn.Tensor)
        assert not y.requires_grad
        assert y.is_leaf
        assert y.grad_fn is None


@clause("function-25")
def test_nothing_is_kept_where_nothing_requires_grad(nn: Any, dtype: str) -> None:
    references: list[Any] = []
    function = saving(nn, references)
    kept = [function.apply(nn.tensor(normal(3, dtype)))]
    with nn.no_grad():
        kept.append(function.apply(tensor(nn, normal(3, dtype))))
    gc.collect()
    assert len(kept) == 2
    assert [reference() is None for reference in references] == [True] * len(references)


@clause("function-26")
def test_saved_arrays_are_released_with_the_graph(nn: Any, dtype: str) -> None:
    for end in ("backward", "drop"):
        references: list[Any] = []
        x = tensor(nn, normal(3, dtype))
        y = saving(nn, references).apply(x)
        assert references
        if end == "backward":
            nn.ops.sum(y).backward()
        else:
            del y
        gc.collect()
        alive = [reference for reference in references if reference() is not None]
        assert not alive, f"{len(alive)} of {len(references)} arrays are held after {end}"


@clause("autograd-53", "function-26")
def test_saved_arrays_are_released_with_the_graph_under_vmap(nn: Any, dtype: str) -> None:
    references: list[Any] = []
    y = nn.vmap(saving(nn, references).apply)(tensor(nn, normal((2, 3), dtype)))
    nn.ops.sum(y).backward()
    gc.collect()
    assert references
    assert all(reference() is None for reference in references)
