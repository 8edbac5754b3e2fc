"""Chapter function: what a Function may not change, cut, hide or lack."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, raw, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal, positive

VALUES = np.array([1.0, 2.0, 4.0], "float32")


def doubled(array: Any) -> Any:
    """Multiply in place, as a program does that spares memory."""
    array *= 2
    return array


def filled(array: Any) -> Any:
    """Write over all elements."""
    array[...] = 7
    return array * 1


def part(array: Any) -> Any:
    """Write over one element through a view."""
    view = array[:1]
    view[...] = 7
    return array * 1


def added(array: Any) -> Any:
    """Add in place."""
    array += 1
    return array


CHANGES: dict[str, Callable[[Any], Any]] = {
    "*=": doubled,
    "[...] =": filled,
    "a view": part,
    "+=": added,
}


# What backends say of an array that cannot be written into, or not here.
BACKENDS_WORDS = ("read-only", "readonly", "in-place", "inplace", "memory location", "immutable")


def told(call: Callable[[], Any], name: str) -> bool:
    """Make a call; return whether the change was found out, in an error that names the Function."""
    try:
        call()
    except RuntimeError as error:
        message = str(error)
        if name in message:
            assert "\n" not in message.strip()
            return True
        assert any(words in message.lower() for words in BACKENDS_WORDS), (
            f"got {message!r} but should name {name}"
        )
    except (TypeError, ValueError):
        pass
    return False


def assert_says_what_to_do(message: str) -> None:
    """Look for the name of the Function, and for the three ways out."""
    assert "\n" not in message.strip(), f"got {message!r} but should be one line"
    for part in ("Cutting", "ctx.xp", "composite", "once_differentiable"):
        assert part in message, f"got {message!r} but should say {part}"


def changing_forward(nn: Any, change: Callable[[Any], Any], place: int) -> Any:
    """Return a Function ``x * y`` that changes one of its inputs on the way."""

    class Changing(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            inputs = [x, y]
            inputs[place] = change(inputs[place])
            ctx.save_for_backward(*inputs)
            return inputs[0] * inputs[1]

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            x, y = ctx.saved_tensors
            return grad_output * y, grad_output * x

    return Changing.apply


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", CHANGES)
@clause("function-27")
def test_forward_changes_nothing_of_the_caller(nn: Any, name: str, place: int) -> None:
    apply = changing_forward(nn, CHANGES[name], place)
    for recording in (True, False):
        for kind in ("leaf", "intermediate", "constant", "raw array"):
            x, y = tensor(nn, VALUES), tensor(nn, VALUES + 1)
            inputs: list[Any] = [x, y]
            square = nn.ops.square(x)
            if kind == "intermediate":
                inputs[place] = inputs[place] * 1
            elif kind == "constant":
                inputs[place] = inputs[place].detach()
            elif kind == "raw array":
                inputs[place] = raw(nn, VALUES + place)
            said = f"{name} on input {place}, {kind}, recording {recording}"
            with nn.set_grad_enabled(recording):
                if told(partial(apply, *inputs), "Changing"):
                    continue
            exactly(nn, inputs[place], VALUES + place, call=said)
            exactly(nn, x, VALUES, call=said)
            exactly(nn, y, VALUES + 1, call=said)
            nn.ops.sum(square).backward()
            exactly(nn, x.grad, 2 * VALUES, call=f"{said}: another use of x")


@clause("function-27")
def test_forward_changes_nothing_behind_a_view(nn: Any) -> None:
    """The input shares memory with the caller's Tensor and with the array it was made of."""
    apply = changing_forward(nn, doubled, 0)
    whole = normal((2, 3), "float32")
    views: dict[str, Callable[[Any], Any]] = {
        "row": lambda x: x[0],
        "column": lambda x: x.T[1:, 0],
        "reshape": lambda x: x.reshape((6,))[:3],
        "detach": lambda x: x.detach()[1],
        "broadcast": lambda x: nn.ops.broadcast_to(x[0], (2, 3)),
    }
    for name, view_of in views.items():
        array = raw(nn, whole)
        x = nn.from_array(array, requires_grad=True)
        view = view_of(x)
        if told(partial(apply, view, view.detach() * 1), "Changing"):
            continue
        exactly(nn, array, whole, call=f"the raw array behind {name}")
        exactly(nn, x, whole, call=f"the Tensor behind {name}")


def changing_backward(nn: Any, change: Callable[[Any], Any]) -> Any:
    """Return a Function ``2 x`` that changes the gradient that arrives."""

    class Changing(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return change(grad_output) * 1

    return Changing.apply


def siblings(nn: Any, apply: Any, x: Any, y: Any) -> dict[str, Any]:
    """Return graphs in which the gradient of a Function's result goes another way too."""
    z = tensor(nn, VALUES)
    return {
        "x + y": nn.ops.sum(apply(x) + y),
        "y + x": nn.ops.sum(y + apply(x)),
        "y - x": nn.ops.sum(y - apply(x)),
        "times": nn.ops.sum((apply(x) + y) * z),
        "concat": nn.ops.sum(nn.ops.concat([apply(x), y]) * 1),
        "stack": nn.ops.sum(nn.ops.stack([y, apply(x)]) * 1),
        "reshape": nn.ops.sum(nn.ops.reshape(apply(x), (3, 1)) + nn.ops.reshape(y, (3, 1))),
    }


@pytest.mark.parametrize("name", CHANGES)
@clause("function-27")
def test_backward_changes_no_gradient_that_goes_another_way(nn: Any, name: str) -> None:
    apply = changing_backward(nn, CHANGES[name])
    plain = changing_backward(nn, lambda grad: grad)
    for graph in siblings(nn, plain, tensor(nn, VALUES), tensor(nn, VALUES)):
        slopes = []
        for used in (plain, apply):
            x, y = tensor(nn, VALUES), tensor(nn, VALUES)
            loss = siblings(nn, used, x, y)[graph]
            before = to_numpy(nn, loss).copy()
            if told(partial(loss.backward, retain_graph=True), "Changing"):
                continue
            exactly(nn, loss, before)
            slopes.append(y.grad)
        if len(slopes) == 2 and slopes[1] is not None:
            exactly(nn, slopes[1], to_numpy(nn, slopes[0]), call=f"{name}, {graph}: y's gradient")


@pytest.mark.parametrize("name", CHANGES)
@clause("function-27")
def test_backward_changes_no_gradient_that_is_kept(nn: Any, name: str) -> None:
    """The gradient given to backward, what a hook saw, `retain_grad`, and a leaf's own."""
    apply = changing_backward(nn, CHANGES[name])
    x, y = tensor(nn, VALUES), tensor(nn, VALUES)
    given = nn.tensor(VALUES + 5)
    seen: list[Any] = []
    if told(lambda: apply(x).backward(given), "Changing"):
        return
    exactly(nn, given, VALUES + 5, call="the gradient that was given")

    result = apply(x) + y
    result.register_hook(seen.append)
    result.retain_grad()
    if told(lambda: result.backward(given), "Changing"):
        return
    if seen:
        exactly(nn, seen[0], VALUES + 5, call="what the hook saw")
    if result.grad is not None:
        exactly(nn, result.grad, VALUES + 5, call="what retain_grad kept")
    if y.grad is not None:
        exactly(nn, y.grad, VALUES + 5, call="the gradient of the sibling")
        before = to_numpy(nn, y.grad).copy()
        third = tensor(nn, VALUES)
        if not told(lambda: apply(third).backward(y.grad), "Changing"):
            exactly(nn, y.grad, before, call="a grad that is given to another backward")


def with_two(nn: Any, make: Callable[[Any], Any]) -> Any:
    """Return a Function of two inputs whose backward returns ``make(grad)``."""

    class Pair(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return make(grad_output)

    return Pair.apply


@clause("function-27")
def test_one_array_as_the_gradient_of_two_inputs(nn: Any) -> None:
    """What accumulates in one place is not seen in the other."""
    apply = with_two(nn, lambda grad: (grad, grad))
    x, y = tensor(nn, VALUES), tensor(nn, VALUES)
    given = nn.tensor(VALUES)
    for _ in range(2):
        apply(x, y).backward(given)
    nn.ops.sum(x * 3).backward()
    exactly(nn, x.grad, 2 * VALUES + 3)
    exactly(nn, y.grad, 2 * VALUES)
    exactly(nn, given, VALUES)


@pytest.mark.parametrize("where", ["saved_tensors", "attribute", "an input", "a saved view"])
@pytest.mark.parametrize("name", CHANGES)
@clause("function-27")
def test_what_was_saved_is_not_changed(nn: Any, name: str, where: str) -> None:
    class Changing(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            slope = x * 3
            kept = {"an input": x, "a saved view": ctx.xp.reshape(slope, (1, 3))[0]}.get(
                where, slope
            )
            if where == "attribute":
                ctx.slope = kept
            else:
                ctx.save_for_backward(kept)
            return x * slope

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            slope = ctx.slope if where == "attribute" else ctx.saved_tensors[0]
            return grad_output * CHANGES[name](slope)

    x = tensor(nn, VALUES)
    y = nn.ops.sum(Changing.apply(x))
    slopes = []
    for time in ("first", "second"):
        x.grad = None
        if told(lambda: y.backward(retain_graph=True), "Changing"):
            return
        exactly(nn, x, VALUES, call=f"the input after the {time} backward")
        slopes.append(x.grad)
    if slopes[0] is not None and slopes[1] is not None:
        exactly(nn, slopes[1], to_numpy(nn, slopes[0]), call=f"{name} on {where}: the second one")


@clause("function-27")
def test_a_result_that_is_changed_after_forward(nn: Any) -> None:
    """A Function that returns its input gives the caller no way to write into it."""

    class Same(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output

    change = changing_forward(nn, doubled, 0)
    x = tensor(nn, VALUES)
    if not told(lambda: change(Same.apply(x), tensor(nn, VALUES)), "Changing"):
        exactly(nn, x, VALUES)


CUTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "from_array": lambda nn, ctx, x: nn.from_array(of_tensor(nn, x).data),
    "tensor": lambda nn, ctx, x: nn.tensor(x),
    "detach": lambda nn, ctx, x: of_tensor(nn, x).detach(),
    "data": lambda nn, ctx, x: of_tensor(nn, x).data,
    "detach().numpy()": lambda nn, ctx, x: raw(nn, of_tensor(nn, x).detach().numpy()),
    "numpy()": lambda nn, ctx, x: raw(nn, numpy_of(nn, x)),
    "item": lambda nn, ctx, x: of_tensor(nn, ctx.xp.sum(x)).item(),
    "float": lambda nn, ctx, x: float(ctx.xp.sum(x)),
    "no_grad": lambda nn, ctx, x: under_no_grad(nn, x),
    "Parameter": lambda nn, ctx, x: nn.Parameter(x).detach(),
    "item of what arrives": lambda nn, ctx, x: ctx.xp.sum(x).item(),
    "tolist of what arrives": lambda nn, ctx, x: raw(nn, np.asarray(x.tolist(), "float32")),
    "np.asarray": lambda nn, ctx, x: raw(nn, array_of(nn, x)),
    "a condition": lambda nn, ctx, x: x * 1 if bool(ctx.xp.sum(x)) else -x,
    "a place": lambda nn, ctx, x: x * (1 + 0 * int(ctx.xp.argmax(x))),
}
# Those that give a number, where the others give an array.
NUMBERS = ("item", "float", "item of what arrives")


def of_tensor(nn: Any, x: Any) -> Any:
    """Return what a Function gets, as a Tensor."""
    return x if isinstance(x, nn.Tensor) else nn.tensor(x)


def numpy_of(nn: Any, x: Any) -> Any:
    return x.numpy() if isinstance(x, nn.Tensor) else to_numpy(nn, x)


def array_of(nn: Any, x: Any) -> Any:
    return np.asarray(x) if isinstance(x, nn.Tensor) else to_numpy(nn, x)


def under_no_grad(nn: Any, x: Any) -> Any:
    with nn.no_grad():
        return x * 1


def raw_again(nn: Any, value: Any, like: Any) -> Any:
    """Return a cut value in the form that the arrays around it have."""
    if isinstance(value, nn.Tensor) and not isinstance(like, nn.Tensor):
        return value.data
    return value


def cutting(nn: Any, cut: str, place: str) -> Any:
    """Return ``x^3``, or ``x^2 sum(x)`` of a number, that cuts in forward or in backward."""
    number = cut in NUMBERS

    def through(ctx: Any, x: Any) -> Any:
        return raw_again(nn, CUTS[cut](nn, ctx, x), x)

    class Cutting(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            factor = through(ctx, x) if place == "forward" else x
            ctx.save_for_backward(x)
            ctx.kept = factor if place == "forward" else None
            return x * x * (ctx.xp.sum(x) if number else x)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            factor = ctx.kept if place == "forward" else through(ctx, x)
            if number:
                own = grad_output * 2 * x * factor
                return own + ctx.xp.sum(grad_output * x * x)
            return grad_output * 3 * x * factor

    return Cutting


def second_derivative(cut: str, wide: np.ndarray) -> np.ndarray:
    """Return the gradient of the sum of the first derivative's elements."""
    if cut not in NUMBERS:
        return 6 * wide
    # d/dx_k sum_i (2 x_i S + Q), with S the sum and Q the sum of squares.
    size = wide.size
    return np.asarray(2 * wide.sum() + 2 * wide.sum() + size * 2 * wide)


@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("cut", CUTS)
@clause("function-28")
def test_a_function_cannot_cut_its_graph(nn: Any, cut: str, place: str) -> None:
    array = positive(3, "float32")
    wide = in_double(array)
    function = cutting(nn, cut, place)
    first = 3 * wide**2
    if cut in NUMBERS:
        first = 2 * wide * wide.sum() + (wide**2).sum()
    x = tensor(nn, array)
    nn.ops.sum(function.apply(x)).backward()
    agrees(nn, x.grad, first, "gradient", call=f"{cut} in {place}", dtype="float32")

    def twice(x: Any) -> Any:
        slope = nn.grad(lambda x: nn.ops.sum(function.apply(x)), create_graph=True)(x)
        return nn.grad(lambda x: nn.ops.sum(slope_of(nn, function, x)))(x), slope

    try:
        second, slope = twice(nn.tensor(array))
    except RuntimeError as error:
        assert_says_what_to_do(str(error))
        return
    agrees(nn, slope, first, "gradient", call=f"{cut} in {place}, first", dtype="float32")
    want = second_derivative(cut, wide)
    agrees(nn, second, want, "gradient", call=f"{cut} in {place}, second", dtype="float32")


def slope_of(nn: Any, function: Any, x: Any) -> Any:
    return nn.grad(lambda x: nn.ops.sum(function.apply(x)), create_graph=True)(x)


@pytest.mark.parametrize("place", ["forward", "backward"])
@pytest.mark.parametrize("cut", CUTS)
@clause("function-28")
def test_a_cut_by_backward_with_create_graph(nn: Any, cut: str, place: str) -> None:
    array = positive(3, "float32")
    function = cutting(nn, cut, place)
    x = tensor(nn, array)
    try:
        nn.ops.sum(function.apply(x)).backward(create_graph=True)
        slope, before = x.grad, to_numpy(nn, x.grad).copy()
        nn.ops.sum(slope).backward()
    except RuntimeError as error:
        assert_says_what_to_do(str(error))
        return
    want = second_derivative(cut, in_double(array))
    got = to_numpy(nn, x.grad) - before
    agrees(nn, got, want, "gradient", call=f"{cut} in {place}", dtype="float32")


@pytest.mark.parametrize("place", ["forward", "backward"])
@clause("function-28")
def test_a_whole_number_is_read_out_of_no_graph(nn: Any, place: str) -> None:
    """`int` jumps where its argument is whole, so no second derivative of it is right here."""

    class Cutting(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            ctx.number = int(ctx.xp.sum(x)) if place == "forward" else None
            return x * x

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            number = ctx.number if place == "forward" else int(ctx.xp.sum(x))
            return grad_output * x * number

    x = tensor(nn, VALUES)
    nn.ops.sum(Cutting.apply(x)).backward()
    exactly(nn, x.grad, 7 * VALUES)
    with pytest.raises(RuntimeError) as caught:
        nn.grad(lambda x: nn.ops.sum(slope_of(nn, Cutting, x)))(tensor(nn, VALUES))
    assert_says_what_to_do(str(caught.value))


@clause("function-28")
def test_what_needs_no_gradient_may_be_read(nn: Any) -> None:
    """A constant of the Function is no part of the graph that is cut."""

    class Scaled(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, factor: Any) -> Any:
            number = float(np.asarray(to_numpy(nn, factor)).sum())
            ctx.number = number
            ctx.save_for_backward(x)
            return x * x * number

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * ctx.number * x * grad_output, None

    array = normal(3, "float32")
    x = tensor(nn, array)
    nn.ops.sum(Scaled.apply(x, nn.tensor([1.0, 2.0]))).backward(create_graph=True)
    agrees(nn, x.grad, 6 * in_double(array), "gradient", dtype="float32")
    before = to_numpy(nn, x.grad).copy()
    nn.ops.sum(x.grad).backward()
    exactly(nn, to_numpy(nn, x.grad) - before, np.full(3, 6.0, "float32"))
