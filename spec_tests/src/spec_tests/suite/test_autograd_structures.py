"""Chapter autograd: structures of the classes that `collections` has."""

from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, tensor
from spec_tests.support.inputs import in_double, normal

Plain = namedtuple("Plain", ["z", "a"])


class Params(NamedTuple):
    """A named tuple with a default and a method."""

    weight: Any
    bias: Any = None

    def doubled(self) -> Any:
        """Return twice the weight."""
        return self.weight * 2


def ordered(x: Any, y: Any) -> Any:
    return OrderedDict([("z", x), ("a", y)])


def defaulting(x: Any, y: Any) -> Any:
    return defaultdict(list, {"z": x, "a": y})


def without_factory(x: Any, y: Any) -> Any:
    return defaultdict(None, {"z": x, "a": y})


def numbering(x: Any, y: Any) -> Any:
    # A factory that no copy has: it must be this very object.
    return defaultdict(FACTORY, {"z": x, 3: y})


def FACTORY() -> float:
    """Return what a missing key is worth."""
    return 0.5


MAKERS: dict[str, Callable[[Any, Any], Any]] = {
    "OrderedDict": ordered,
    "defaultdict": defaulting,
    "defaultdict without a factory": without_factory,
    "defaultdict of a function": numbering,
    "namedtuple": Plain,
    "NamedTuple": Params,
    "dict": lambda x, y: {"z": x, "a": y},
}


def values(structure: Any) -> list[Any]:
    """Return what a dict or a tuple holds, in order."""
    return list(structure.values()) if isinstance(structure, dict) else list(structure)


def same_form(got: Any, want: Any) -> None:
    """Compare classes, keys in order, and default factories."""
    assert type(got) is type(want), f"got {type(got).__name__}, not {type(want).__name__}"
    if isinstance(want, dict):
        assert list(got) == list(want)
    if isinstance(want, defaultdict):
        assert got.default_factory is want.default_factory


@pytest.mark.parametrize("name", MAKERS)
@clause("autograd-33", "autograd-14")
def test_gradients_in_structures(nn: Any, dtype: str, name: str) -> None:
    a, b = normal(3, dtype), normal(3, dtype, seed=1)
    make = MAKERS[name]

    def fn(structure: Any, factor: float) -> Any:
        same_form(structure, make(None, None))
        first, second = values(structure)
        return nn.ops.sum(first * first * second) * factor

    arguments = make(nn.tensor(a), nn.tensor(b))
    wants = (6 * in_double(a) * in_double(b), 3 * in_double(a) ** 2)
    slopes = nn.grad(fn)(arguments, 3.0)
    value, also = nn.value_and_grad(fn)(arguments, 3.0)
    _, pull = nn.vjp(lambda structure: fn(structure, 3.0), arguments)
    (pulled,) = pull(nn.tensor(np.array(1.0, dtype)))
    for how, got in (("grad", slopes), ("value_and_grad", also), ("vjp", pulled)):
        same_form(got, arguments)
        for slope, want in zip(values(got), wants, strict=True):
            agrees(nn, slope, want, "gradient", call=f"{how} of {name}")
    assert not value.requires_grad
    same_form(arguments, make(None, None))


@pytest.mark.parametrize("outer", MAKERS)
@clause("autograd-33")
def test_structures_in_structures(nn: Any, dtype: str, outer: str) -> None:
    array = normal(3, dtype)
    for inner in MAKERS:
        make, within = MAKERS[outer], MAKERS[inner]
        arguments = make([nn.tensor(array)], within(nn.tensor(array), (nn.tensor(array),)))

        def fn(structure: Any, within: Any = within) -> Any:
            (first,), deep = values(structure)
            same_form(deep, within(None, None))
            second, (third,) = values(deep)
            return nn.ops.sum(first + 2 * second + 3 * third)

        got = nn.grad(fn)(arguments)
        same_form(got, arguments)
        (first,), deep = values(got)
        same_form(deep, values(arguments)[1])
        second, (third,) = values(deep)
        for slope, want in ((first, 1.0), (second, 2.0), (third, 3.0)):
            exactly(nn, slope, np.full(3, want), call=f"{inner} in {outer}")


@clause("autograd-33")
def test_a_default_is_made_inside(nn: Any, dtype: str) -> None:
    """A missing key is made in the function's own dict, and not in the caller's."""
    arguments = defaultdict(FACTORY, {"x": nn.tensor(normal(3, dtype))})
    got = nn.grad(lambda params: nn.ops.sum(params["x"]) * params["missing"])(arguments)
    assert list(arguments) == ["x"]
    assert list(got) == ["x"]
    assert got["another"] == FACTORY()
    exactly(nn, got["x"], np.full(3, 0.5))


@clause("autograd-33")
def test_methods_and_defaults_of_named_tuples(nn: Any, dtype: str) -> None:
    arguments = Params(tensor(nn, normal(3, dtype)))
    got = nn.grad(lambda params: nn.ops.sum(params.doubled()))(arguments)
    assert type(got) is Params
    exactly(nn, got.weight, np.full(3, 2.0))
    exactly(nn, got.doubled(), np.full(3, 4.0))
    assert arguments.weight.grad is None


@clause("autograd-33")
def test_unused_and_integer_entries(nn: Any, dtype: str) -> None:
    x = nn.tensor(normal(3, dtype))
    for make in MAKERS.values():
        arguments = make(x, nn.tensor([1, 2]))
        got = nn.grad(lambda s: nn.ops.sum(values(s)[0] * 2))(arguments)
        same_form(got, arguments)
        exactly(nn, values(got)[0], np.full(3, 2.0))
        exactly(nn, values(got)[1], np.zeros(2, np.int64))
        got = nn.grad(lambda s: nn.ops.sum(x))(arguments)
        exactly(nn, values(got)[0], np.zeros(3))


@clause("autograd-33", needs="double_backward")
def test_second_derivatives_in_structures(nn: Any, dtype: str) -> None:
    array = normal(3, dtype)
    for name, make in MAKERS.items():

        def fn(s: Any) -> Any:
            first, second = values(s)
            return nn.ops.sum(first * first * second)

        def of_slopes(s: Any) -> Any:
            slopes = nn.grad(fn)(s)
            same_form(slopes, s)
            return nn.ops.sum(values(slopes)[0])

        arguments = make(nn.tensor(array), nn.tensor(array))
        got = nn.grad(of_slopes)(arguments)
        same_form(got, arguments)
        for slope in values(got):
            agrees(nn, slope, 2 * in_double(array), "gradient", call=name)
