"""Chapter function: Tensors in other places than positional ones, and methods that are missing."""

from collections import ChainMap, OrderedDict, UserDict, deque, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses, tensor
from spec_tests.support.inputs import normal

Pair = namedtuple("Pair", ["first", "second"])


@dataclass(eq=False)
class Record:
    """An argument with fields."""

    first: Any
    second: Any = None


def first_tensor(nn: Any, value: Any) -> Any:
    """Return the number that scales, wherever it stands in what `forward` got."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, Record):
        value = [value.first, value.second]
    if isinstance(value, list | tuple | deque | set | frozenset):
        found = [first_tensor(nn, item) for item in value]
        return next((item for item in found if item is not None), None)
    if isinstance(value, nn.Tensor):
        return value.data
    return value if hasattr(value, "shape") else None


def scaled(nn: Any) -> Any:
    class Scaled(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, *others: Any, **config: Any) -> Any:
            factor = first_tensor(nn, [others, config])
            ctx.save_for_backward(factor)
            ctx.count = len(others)
            return x * factor

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (factor,) = ctx.saved_tensors
            return (grad_output * factor, *([None] * ctx.count))

    return Scaled


# How a Tensor is hidden, and what the message says of the place.
KEYWORDS: dict[str, Any] = {
    "keyword": lambda t: {"factor": t},
    "list in a keyword": lambda t: {"factor": [t]},
    "dict in a keyword": lambda t: {"factor": {"a": {"b": t}}},
    "tuple in a keyword": lambda t: {"other": 1, "factor": (None, (t, 2))},
    "named tuple in a keyword": lambda t: {"factor": Pair(1, t)},
}
POSITIONS: dict[str, Any] = {
    "list": lambda t: [t],
    "tuple": lambda t: (1, t),
    "dict": lambda t: {"a": t},
    "list of lists": lambda t: [[1], [2, [t]]],
    "dict in a tuple": lambda t: ("x", {"a": [t]}),
    "ordered dict": lambda t: OrderedDict(a=1, b=t),
    "named tuple": lambda t: Pair(t, 1),
    "tuple deep inside": lambda t: [[[[[[(t,)]]]]]],
    "set": lambda t: {t},
    "frozen set in a list": lambda t: [frozenset([t])],
    "deque": lambda t: deque([1, t]),
    "chain of dicts": lambda t: ChainMap({"a": 1}, {"b": t}),
    "dict of the user": lambda t: UserDict(a=t),
    "view of a dict": lambda t: MappingProxyType({"a": [t]}),
    "dataclass": lambda t: Record(1, t),
    "dataclass in a dict": lambda t: {"a": Record([t])},
}


@pytest.mark.parametrize("name", KEYWORDS)
@clause("function-29")
def test_tensors_in_keywords(nn: Any, name: str) -> None:
    function = scaled(nn)
    x, factor = tensor(nn, normal(3, "float32")), tensor(nn, np.full(3, 2.0, "float32"))
    with refuses(TypeError, "Scaled", "factor"):
        function.apply(x, **KEYWORDS[name](factor))
    with refuses(TypeError, "Scaled", "factor"):
        # The result of an operation is no better than a leaf.
        function.apply(x.detach(), **KEYWORDS[name](factor * 1))
    config = KEYWORDS[name](factor.detach())
    nn.ops.sum(function.apply(x, **config)).backward()
    exactly(nn, x.grad, np.full(3, 2.0, "float32"), call=f"{name}, a constant")
    with nn.no_grad():
        y = function.apply(x, **KEYWORDS[name](factor))
    exactly(nn, y, 2 * normal(3, "float32"), call=f"{name}, not recorded")


@pytest.mark.parametrize("name", POSITIONS)
@clause("function-29")
def test_tensors_inside_arguments(nn: Any, name: str) -> None:
    function = scaled(nn)
    x, factor = tensor(nn, normal(3, "float32")), tensor(nn, np.full(3, 2.0, "float32"))
    for others, place in (((POSITIONS[name](factor),), "1"), ((0, POSITIONS[name](factor)), "2")):
        with refuses(TypeError, "Scaled", place):
            function.apply(x, *others)
    nn.ops.sum(function.apply(x, POSITIONS[name](factor.detach()))).backward()
    exactly(nn, x.grad, np.full(3, 2.0, "float32"), call=f"{name}, a constant")
    with nn.no_grad():
        y = function.apply(x, POSITIONS[name](factor))
    exactly(nn, y, 2 * normal(3, "float32"), call=f"{name}, not recorded")
    exactly(nn, factor.detach(), np.full(3, 2.0, "float32"))
    assert factor.grad is None


@clause("function-29")
def test_the_refusal_says_what_to_do(nn: Any) -> None:
    x, factor = tensor(nn, normal(3, "float32")), nn.Parameter(nn.ones((3,)))
    with refuses(TypeError, "Scaled", "factor", ("by itself", "positional", "position")):
        scaled(nn).apply(x, factor=factor)
    with refuses(TypeError, "Scaled", ("by itself", "positional", "position")):
        scaled(nn).apply(x, [factor])


@clause("function-29")
def test_an_argument_that_holds_itself(nn: Any) -> None:
    """A structure with a cycle has no bottom, and is no reason to search for ever."""
    circle: list[Any] = [np.full(3, 2.0, "float32")]
    circle.append(circle)
    seen: list[Any] = []

    class Taking(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, other: Any) -> Any:
            seen.append(other)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 2, None

    x = tensor(nn, normal(3, "float32"))
    try:
        nn.ops.sum(Taking.apply(x, circle)).backward()
    except (TypeError, ValueError) as error:
        # An implementation that takes structures apart may refuse one that has no end.
        message = str(error)
    else:
        message = "Taking"
        exactly(nn, x.grad, np.full(3, 2.0, "float32"))
    assert "Taking" in message


def on_instance(nn: Any, hide: Any) -> Any:
    class Stored(nn.Function):
        def __init__(self, factor: Any) -> None:
            super().__init__()
            self.stored = hide(factor)

        def forward(self, x: Any) -> Any:
            factor = first_tensor(nn, self.stored)
            self.save_for_backward(factor)
            return x * factor

        def backward(self, grad_output: Any) -> Any:
            (factor,) = self.saved_tensors
            return grad_output * factor

    return Stored


@pytest.mark.parametrize("name", ["itself", *(name for name in POSITIONS if "named" not in name)])
@clause("function-29")
def test_tensors_on_the_instance(nn: Any, name: str) -> None:
    hide = POSITIONS.get(name, lambda t: [t][0])
    stored = on_instance(nn, hide)
    x, factor = tensor(nn, normal(3, "float32")), tensor(nn, np.full(3, 2.0, "float32"))
    with refuses(TypeError, "Stored", "stored"):
        stored(factor)(x)
    with refuses(TypeError, "Stored", "stored"):
        stored(factor * 1)(x)
    with refuses(TypeError, "Stored", "stored"):
        stored(nn.Parameter(factor.detach()))(x.detach())
    nn.ops.sum(stored(factor.detach())(x)).backward()
    exactly(nn, x.grad, np.full(3, 2.0, "float32"), call="a constant on the instance")
    with nn.no_grad():
        y = stored(factor)(x)
    exactly(nn, y, 2 * normal(3, "float32"), call="not recorded")


@clause("function-29")
def test_functions_of_plain_classes(nn: Any) -> None:
    class Plain:
        @staticmethod
        def forward(ctx: Any, x: Any, *, factor: Any = None) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 2

    x, factor = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32"))
    with refuses(TypeError, "Plain", "factor"):
        nn.as_function(Plain).apply(x, factor=factor)


@clause("function-30")
def test_a_function_without_forward(nn: Any) -> None:
    class Hollow(nn.Function):
        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output

    class Instance(nn.Function):
        def backward(self, grad_output: Any) -> Any:
            return grad_output

    x = tensor(nn, normal(3, "float32"))
    for call, name in ((Hollow.apply, "Hollow"), (lambda x: Instance()(x), "Instance")):
        for argument in (x, x.detach()):
            with refuses(NotImplementedError, name, "forward"):
                call(argument)
        with nn.no_grad(), refuses(NotImplementedError, name, "forward"):
            call(x)


@clause("function-30")
def test_a_function_without_backward(nn: Any) -> None:
    class Oneway(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    class Instance(nn.Function):
        def forward(self, x: Any) -> Any:
            return x * 2

    for call, name in ((Oneway.apply, "Oneway"), (lambda x: Instance()(x), "Instance")):
        x = tensor(nn, normal(3, "float32"))
        exactly(nn, call(x.detach()), 2 * normal(3, "float32"))
        y = call(x)
        exactly(nn, y, 2 * normal(3, "float32"), call="the value is there")
        with refuses(NotImplementedError, name, "backward"):
            nn.ops.sum(y).backward()
        assert x.grad is None
        with refuses(NotImplementedError, name, "backward"):
            nn.grad(lambda x, call=call: nn.ops.sum(call(x)))(x)


@clause("function-30", needs="double_backward")
def test_a_function_without_backward_under_create_graph(nn: Any) -> None:
    class Oneway(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

    x = tensor(nn, normal(3, "float32"))
    with refuses(NotImplementedError, "Oneway", "backward"):
        nn.ops.sum(Oneway.apply(x)).backward(create_graph=True)
    assert x.grad is None


def listing(nn: Any, count: int) -> Any:
    """Return a Function ``x + 2 y`` whose backward returns a list of `count` gradients."""

    class Listing(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + 2 * y

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return [grad_output, grad_output * 2, None, grad_output][:count]

    return Listing.apply


@clause("function-30")
def test_backward_may_return_a_list(nn: Any, dtype: str) -> None:
    x, y = tensor(nn, normal(3, dtype)), tensor(nn, normal(3, dtype, seed=1))
    nn.ops.sum(listing(nn, 2)(x, y)).backward()
    exactly(nn, x.grad, np.ones(3))
    exactly(nn, y.grad, np.full(3, 2.0))


@pytest.mark.parametrize("count", [0, 1, 4])
@clause("function-30", "function-11")
def test_a_list_counts_by_its_length(nn: Any, count: int) -> None:
    x, y = tensor(nn, normal(3, "float32")), tensor(nn, normal(3, "float32", seed=1))
    loss = nn.ops.sum(listing(nn, count)(x, y))
    with refuses(ValueError, "Listing", "2", count):
        loss.backward()
    assert x.grad is None
    assert y.grad is None


@clause("function-30")
def test_a_list_for_one_input(nn: Any, dtype: str) -> None:
    class Listing(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 3

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return [grad_output * 3]

    x = tensor(nn, normal(3, dtype))
    nn.ops.sum(Listing.apply(x)).backward()
    exactly(nn, x.grad, np.full(3, 3.0))
