"""Chapter autograd: constants that are altered after the call that got them."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import raw, tensor, to_numpy
from spec_tests.support.changes import (
    Refusal,
    anything,
    can_write,
    gives_old_or_refuses,
    own_class,
    write,
)
from spec_tests.support.inputs import normal, positive

pytestmark = pytest.mark.sampled(6)

LARGE = 300_000


class Use(NamedTuple):
    """``call(nn, x, c)`` with the constant `old`, which becomes `new` after the call."""

    call: Callable[..., Any]
    old: np.ndarray
    new: np.ndarray
    shape: tuple[int, ...] = (4, 3)


ROWS = (np.array([0, 2, 0]), np.array([3, 1, 1]))
PLACES = (np.array([[0, 1], [2, 0]]), np.array([[3, 3], [1, 2]]))
MASK = (np.array([True, False, True, False]), np.array([False, True, False, True]))
WIDE_MASK = (np.tile(MASK[0][:, None], (1, 3)), np.tile(MASK[1][:, None], (1, 3)))
FACTOR = (positive((4, 3), "float32", seed=7), -3 * positive((4, 3), "float32", seed=8))
COLUMNS = (ROWS[0] % 3, ROWS[1] % 3)
MATRIX = (normal((3, 2), "float32", seed=7), normal((3, 2), "float32", seed=8))
CLASSES = (np.array([0, 2, 1, 1]), np.array([1, 1, 0, 2]))

INDICES = {
    "x[i]": Use(lambda nn, x, c: x[c], *ROWS),
    "x[i] of places": Use(lambda nn, x, c: x[c], *PLACES),
    "x[i, 1]": Use(lambda nn, x, c: x[c, 1], *ROWS),
    "x[i, :2]": Use(lambda nn, x, c: x[c, :2], *ROWS),
    "x[1:, i]": Use(lambda nn, x, c: x[1:, c], *COLUMNS),
    "x[i, i % 3]": Use(lambda nn, x, c: x[c, np.array([0, 1, 2])], *ROWS),
    "x[mask]": Use(lambda nn, x, c: x[c], *MASK),
    "x[mask of all]": Use(lambda nn, x, c: x[c], *WIDE_MASK),
    "x[mask, 1]": Use(lambda nn, x, c: x[c, 1], *MASK),
}
OPERANDS = {
    "take": Use(lambda nn, x, c: nn.ops.take(x, c, axis=0), *ROWS),
    "take, axis 1": Use(lambda nn, x, c: nn.ops.take(x, c, axis=1), *COLUMNS),
    "where": Use(lambda nn, x, c: nn.ops.where(c, x, 2 * x), *WIDE_MASK),
    "where, broadcast": Use(lambda nn, x, c: nn.ops.where(c, x, x * 3), MASK[0][:3], MASK[1][:3]),
    "where, chosen": Use(lambda nn, x, c: nn.ops.where(x > 0, x * x, c), *FACTOR),
    "multiply": Use(lambda nn, x, c: nn.ops.multiply(x, c), *FACTOR),
    "multiply by a mask": Use(lambda nn, x, c: nn.ops.multiply(x, c), *WIDE_MASK),
    "multiply by integers": Use(lambda nn, x, c: nn.ops.multiply(c, x), *ROWS),
    "divide": Use(lambda nn, x, c: nn.ops.divide(x, c), *FACTOR),
    "divide a constant": Use(lambda nn, x, c: nn.ops.divide(c, x), *FACTOR),
    "pow": Use(lambda nn, x, c: nn.ops.pow(nn.ops.abs(x), c), *FACTOR),
    "pow of a constant": Use(lambda nn, x, c: nn.ops.pow(c, x), FACTOR[0], FACTOR[0] * 3),
    "maximum": Use(lambda nn, x, c: nn.ops.maximum(x, c), *FACTOR),
    "minimum": Use(lambda nn, x, c: nn.ops.minimum(c, x), *FACTOR),
    "matmul": Use(lambda nn, x, c: nn.ops.matmul(x, c), *MATRIX),
    "matmul of a constant": Use(lambda nn, x, c: nn.ops.matmul(c, x), FACTOR[0].T, FACTOR[1].T),
    "subtract": Use(lambda nn, x, c: nn.ops.subtract(x, c), *FACTOR),
}
OPERATORS = {
    "x * c": Use(lambda nn, x, c: x * c, *FACTOR),
    "c * x": Use(lambda nn, x, c: c * x, *FACTOR),
    "x / c": Use(lambda nn, x, c: x / c, *FACTOR),
    "c / x": Use(lambda nn, x, c: c / x, *FACTOR),
    "x ** c": Use(lambda nn, x, c: abs(x) ** c, *FACTOR),
    "x @ c": Use(lambda nn, x, c: x @ c, *MATRIX),
    "x + c": Use(lambda nn, x, c: x + c, *FACTOR),
}
MODULES = {
    "Embedding": Use(lambda nn, x, c: embedding(nn, x, c), *ROWS),
    "Embedding of places": Use(lambda nn, x, c: embedding(nn, x, c), *PLACES),
    "cross_entropy": Use(lambda nn, x, c: nn.loss.cross_entropy(x, c), *CLASSES),
    "CrossEntropyLoss": Use(lambda nn, x, c: nn.CrossEntropyLoss(reduction="sum")(x, c), *CLASSES),
    "mse_loss": Use(lambda nn, x, c: nn.loss.mse_loss(x, c), *FACTOR),
    "l1_loss": Use(lambda nn, x, c: nn.loss.l1_loss(x, c, reduction="none"), *FACTOR),
    "Linear": Use(lambda nn, x, c: nn.functional_call(layer(nn), {"weight": x}, c), *FACTOR),
    "LSTM": Use(
        lambda nn, x, c: nn.functional_call(
            recurrent(nn), {"weight_ih_l0": x}, nn.ops.expand_dims(c, 1)
        )[0],
        *FACTOR,
    ),
}


def embedding(nn: Any, x: Any, index: Any) -> Any:
    """Look up in an Embedding with the weight `x`."""
    return nn.functional_call(nn.Embedding(4, 3), {"weight": x}, index)


def layer(nn: Any) -> Any:
    """Return a Linear whose weight has the shape (4, 3)."""
    nn.manual_seed(1)
    return nn.Linear(3, 4)


def recurrent(nn: Any) -> Any:
    """Return an LSTM whose input weight has the shape (4, 3)."""
    nn.manual_seed(1)
    return nn.LSTM(3, 1)


def as_array(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    array = old.copy()
    return array, lambda new: np.copyto(array, new)


def as_strided_array(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    base = np.repeat(old, 2, axis=0)
    return base[::2], lambda new: np.copyto(base, np.repeat(new, 2, axis=0))


def as_frozen_view(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    """A view that cannot be written into, of an array that can."""
    base = old.copy()
    view = base.view()
    view.flags.writeable = False
    return view, lambda new: np.copyto(base, new)


def as_raw(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    """An array that no Tensor has given."""
    array = copy.deepcopy(raw(nn, old))
    return array, lambda new: write(nn, array, new)


def as_written_tensor(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    array = raw(nn, old)
    return nn.from_array(array), lambda new: write(nn, array, new)


def as_wrapped_array(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    """A Tensor around an array that no other Tensor has given."""
    array = copy.deepcopy(raw(nn, old))
    return nn.from_array(array), lambda new: write(nn, array, new)


def as_assigned_tensor(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    constant = nn.tensor(old)

    def change(new: np.ndarray) -> None:
        constant.data = raw(nn, new)

    return constant, change


def as_list(nn: Any, old: np.ndarray) -> tuple[Any, Callable[[np.ndarray], None]]:
    listed = old.tolist()

    def change(new: np.ndarray) -> None:
        listed[:] = new.tolist()

    return listed, change


KINDS = {
    "Tensor around an array": as_wrapped_array,
    "NumPy array": as_array,
    "strided NumPy array": as_strided_array,
    "frozen view of a NumPy array": as_frozen_view,
    "raw array": as_raw,
    "Tensor that is written into": as_written_tensor,
    "Tensor that is assigned to": as_assigned_tensor,
    "list": as_list,
}
NUMPY = tuple(name for name in KINDS if "NumPy" in name)


def kinds(nn: Any, *left_out: str) -> list[str]:
    """Return the kinds of constants, without those that cannot change here."""
    written = ("raw array", "Tensor that is written into", "Tensor around an array")
    fixed = () if can_write(nn) else written
    return [name for name in KINDS if name not in (*left_out, *fixed)]


def slopes(nn: Any, use: Use, kind: str, leaf: bool, change: bool) -> Callable[[], Any]:
    """Make the call, alter the constant, and return what gives the gradient."""
    constant, alter = KINDS[kind](nn, use.old)
    x = tensor(nn, normal(use.shape, "float32"))
    y = use.call(nn, x if leaf else x * 1, constant)
    weight = np.random.default_rng(5).uniform(0.5, 1.5, y.shape).astype("float32")
    total = nn.ops.sum(y * nn.tensor(np.asarray(weight)))
    if change:
        alter(use.new.astype(use.old.dtype))

    def backward() -> Any:
        total.backward()
        return x.grad

    return backward


def examine_constant(nn: Any, name: str, use: Use, kind: str, leaf: bool = True) -> None:
    """Compare the gradient with that of a constant that stays as it was."""
    __tracebackhide__ = True
    # A copy: no raw array that was given out is held while the call is made.
    want = to_numpy(nn, slopes(nn, use, "Tensor that is assigned to", leaf, False)()).copy()
    shapes = (use.old.shape, use.old.T.shape, use.shape)
    backward = slopes(nn, use, kind, leaf, True)
    gives_old_or_refuses(nn, backward, want, Refusal(anything(), shapes), f"{name}, {kind}")


@pytest.mark.parametrize("name", INDICES)
@clause("autograd-25")
def test_indices_belong_to_the_call(nn: Any, name: str) -> None:
    for kind in kinds(nn):
        examine_constant(nn, name, INDICES[name], kind)
        nested = ("list",) if INDICES[name].old.ndim > 1 else ()
        if not (own_class(nn) and kind in (*NUMPY, *nested)):
            examine_constant(nn, f"{name}, no leaf", INDICES[name], kind, leaf=False)


@pytest.mark.parametrize("name", OPERANDS)
@clause("autograd-25")
def test_operands_belong_to_the_call(nn: Any, name: str) -> None:
    for kind in kinds(nn, "list"):
        for leaf in (True, False):
            examine_constant(nn, name, OPERANDS[name], kind, leaf=leaf)


@pytest.mark.parametrize("name", OPERATORS)
@clause("autograd-25")
def test_operands_of_operators_belong_to_the_call(nn: Any, name: str) -> None:
    # With NumPy arrays the operators of a class of the backend's own do what they do.
    left_out = ("list", *(NUMPY if own_class(nn) else ()))
    for kind in kinds(nn, *left_out):
        for leaf in (True, False):
            examine_constant(nn, name, OPERATORS[name], kind, leaf=leaf)


@pytest.mark.parametrize("name", MODULES)
@clause("autograd-25")
def test_what_modules_and_losses_get_belongs_to_the_call(nn: Any, name: str) -> None:
    for kind in kinds(nn, "list", *NUMPY):
        examine_constant(nn, name, MODULES[name], kind)


@pytest.mark.parametrize("name", ["x[i]", "take", "where", "multiply", "cross_entropy"])
@clause("autograd-25")
def test_large_constants_belong_to_the_call(nn: Any, name: str) -> None:
    generator = np.random.default_rng(0)
    old: np.ndarray
    new: np.ndarray
    if name in ("x[i]", "take"):
        old, new = (generator.integers(0, 4, LARGE) for _ in range(2))
    elif name == "cross_entropy":
        old, new = (generator.integers(0, 3, LARGE) for _ in range(2))
    elif name == "where":
        old, new = (generator.uniform(size=(LARGE, 3)) > 0.5 for _ in range(2))
    else:
        old, new = (generator.uniform(1, 2, (LARGE, 3)).astype("float32") for _ in range(2))
    shape = (4, 3) if name in ("x[i]", "take") else (LARGE, 3)
    known = {**INDICES, **OPERANDS, **MODULES}[name]
    use = Use(known.call, old, new, shape)
    left_out = ("list", *(NUMPY if name == "cross_entropy" else NUMPY[1:]))
    for kind in kinds(nn, *left_out):
        examine_constant(nn, f"large {name}", use, kind)


@clause("autograd-25", "autograd-13", needs="double_backward")
@pytest.mark.parametrize("way", ["backward", "grad"])
def test_what_a_recorded_pass_starts_with(nn: Any, way: str) -> None:
    old = np.array([1, -2, 0.5], "float32")
    for kind in kinds(nn, "list", *NUMPY):
        given, alter = KINDS[kind](nn, old)
        x = tensor(nn, np.array([3, 2, 4], "float32"))
        y = x * x * x
        if way == "backward":
            y.backward(given, create_graph=True)
            slope, x.grad = x.grad, None
        else:
            (slope,) = nn.grad(y, (x,), given, create_graph=True)
        alter(-3 * old)

        def backward(slope: Any = slope, x: Any = x) -> Any:
            nn.ops.sum(slope).backward()
            return x.grad

        want = np.array([18, -24, 12], "float32")
        gives_old_or_refuses(nn, backward, want, Refusal(anything(), ((3,),)), f"{way}, {kind}")


@clause("autograd-25")
def test_indices_inside_a_tuple_and_a_list(nn: Any) -> None:
    """The structure around the indices may be altered too."""
    cases: list[tuple[Any, Callable[[Any], Any]]] = [
        ([[0, 2], [1, 1]], lambda index: index[0].__setitem__(0, 3)),
        ([0, 2, 0], lambda index: index.append(1)),
        ([True, False, True, False], lambda index: index.__setitem__(1, True)),
        (([0, 2], [1, 1]), lambda index: index[1].__setitem__(0, 2)),
        ((slice(None), [0, 2]), lambda index: index[1].__setitem__(0, 1)),
    ]
    for index, alter in cases:
        wants: list[np.ndarray] = []
        for change in (False, True):
            x = tensor(nn, normal((4, 3), "float32"))
            own = copy.deepcopy(index)
            y = nn.ops.sum(x[own] ** 2)
            if change:
                alter(own)
            y.backward()
            wants.append(to_numpy(nn, x.grad))
        np.testing.assert_array_equal(wants[1], wants[0], err_msg=f"x[{index}]")
