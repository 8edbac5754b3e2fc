"""What `ops` calls first: it gives what torch gives, and leaves the unusual to Python."""

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

import impl_torch_ext as nn
from impl_torch_ext.native import calls
from impl_torch_ext.tensor import Leaf

UNARY = ["abs", "negative", "exp", "log", "sqrt", "square", "tanh", "sin", "cos", "sigmoid", "relu"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]
REDUCTIONS = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}
INDICES = [-1, 0, slice(1, 2), slice(None, -1, 2), slice(4, 1), slice(-9, 9), slice(1, None)]
PLACES = torch.arange(40) % 3 - 1


def both(got: Any, want: Any) -> None:
    """Compare values and gradients of two functions of a (5, 4) leaf."""
    values = torch.rand(5, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    leaves = [nn.tensor(values, requires_grad=True), values.clone().requires_grad_()]
    results = [function(leaf) for function, leaf in zip((got, want), leaves, strict=True)]
    assert type(results[0]) is torch.Tensor
    torch.testing.assert_close(*results)
    for result in results:
        (result * torch.arange(result.numel()).reshape(result.shape)).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)
    with torch.no_grad():
        torch.testing.assert_close(got(leaves[0]), want(leaves[1]))


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name: str) -> None:
    both(getattr(calls, name), getattr(torch, name))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_operands(name: str) -> None:
    other = torch.ones(4)
    quick, plain = getattr(calls, name), getattr(torch, name)
    both(lambda x: quick(x, other), lambda x: plain(x, other))
    both(lambda x: quick(other, x), lambda x: plain(other, x))


@pytest.mark.parametrize("number", [2, -0.5])
@pytest.mark.parametrize("name", BINARY[:4])
def test_a_number_beside_a_tensor(name: str, number: float) -> None:
    both(lambda x: getattr(calls, name)(x, number), lambda x: getattr(torch, name)(x, number))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str, axis: int | None, keepdims: bool) -> None:
    axes = (0, 1) if axis is None else axis
    both(
        lambda x: getattr(calls, name)(x, axis, keepdims),
        lambda x: REDUCTIONS[name](x, axes, keepdim=keepdims),
    )


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_functions_along_an_axis(name: str) -> None:
    both(lambda x: getattr(calls, name)(x, -2, 5), lambda x: getattr(torch, name)(x, -2))
    assert getattr(calls, name)(torch.ones(5), 0, 4) is NotImplemented


@pytest.mark.parametrize("index", INDICES)
def test_parts(index: Any) -> None:
    both(lambda x: calls.part(x, index), lambda x: x[index])


@pytest.mark.parametrize("count", [3, 40])
def test_elements_at_integers(count: int) -> None:
    both(lambda x: calls.take(x, PLACES[:count], -1), lambda x: x[:, PLACES[:count]])


def test_what_is_unusual_is_left_to_python() -> None:
    x, whole = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.int64)
    assert calls.exp(whole) is calls.exp(None) is calls.exp(x.half()) is NotImplemented
    assert calls.add(x, x.double()) is calls.add(x, 2**31) is calls.add(2, x) is NotImplemented
    assert calls.add(x, True) is calls.add(x) is calls.maximum(x, 1.0) is NotImplemented
    assert calls.sum(x, 2, False) is calls.sum(x, (0, 1), False) is NotImplemented
    assert calls.sum(x, 0, 1) is calls.max(x[:0], None, False) is NotImplemented
    assert calls.part(x, 2) is calls.part(x, 2**70) is calls.part(x, True) is NotImplemented
    assert calls.part(x, slice(None, None, -1)) is calls.part(x, slice("a")) is NotImplemented
    assert calls.take(x, torch.ones(2), 0) is calls.take(x, whole[0], 2) is NotImplemented


class Asked(Leaf):
    """A leaf that notes what it is asked."""

    names: list[str]

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        cls.names.append(function.__name__)
        return super().__torch_function__(function, types, args, kwargs or {})


def test_classes_and_modes_that_want_to_be_asked_are() -> None:
    Asked.names = []
    x = torch.ones(2).as_subclass(Asked)
    assert calls.exp(x) is NotImplemented
    torch.exp(x)
    assert "exp" in Asked.names

    class Mode(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            seen.append(function.__name__)
            return function(*args, **(kwargs or {}))

    seen: list[str] = []
    with Mode():
        nn.ops.add(nn.ones(2), nn.ones(2))
    assert "add" in seen


def test_a_class_is_asked_by_characters_as_by_name() -> None:
    assert torch.overrides.has_torch_function((torch.ones(2).as_subclass(Asked),))
    assert not torch.overrides.has_torch_function((nn.ones(2), nn.Parameter(nn.ones(2))))
    with pytest.raises(TypeError, match="must be a class"):
        calls.ask_by_characters(nn.ones(2))


def test_errors_name_the_function() -> None:
    x = nn.ones((2, 3))
    with pytest.raises(ValueError, match=r"^add: shapes must broadcast"):
        nn.ops.add(x, nn.ones(4))
    with pytest.raises(IndexError, match=r"^take: indices must be in \[-2, 2\)"):
        nn.ops.take(x, nn.tensor([2]), axis=0)
    with pytest.raises(IndexError, match="out of range"):
        x[2]
