"""Chapter autograd: what runs under `vmap`, row by row, and indexing."""

import inspect
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.calls import Call, arguments, calls, module_calls, results
from spec_tests.support.inputs import in_double, normal
from spec_tests.support.mapping import looped

pytestmark = pytest.mark.sampled(4)

# Their shapes depend on values, or their contents are unspecified.
LEFT_OUT = (
    "nonzero",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "empty_like",
)
# Integers that are in order, or lengths, and stay as they are from slice to slice.
AS_THEY_ARE = ("searchsorted", "ctc_loss")


def another(row: Row, array: np.ndarray) -> np.ndarray:
    """Return numbers of the same kind for the other slice: in no other order, or place."""
    if array.dtype.kind in "fc":
        return (array * 0.75).astype(array.dtype)
    return array if row.name in AS_THEY_ARE else np.roll(array, 1)


def asked(row: Row, call: Call) -> bool:
    """Whether the shapes of a call do not depend on its values."""
    kinds = {array.dtype.kind for array in call.arrays()}
    by_values = (row.name == "repeat" and "i" in kinds) or (row.name == "put" and "b" in kinds)
    return bool(kinds) and not by_values and row.name not in LEFT_OUT


def pieces(nn: Any, row: Row, call: Call, function: Any) -> tuple[Any, list[np.ndarray], Any]:
    """Return a call as a function of its Tensors, two slices of each, and their axes."""
    arrays = call.arrays()
    axes = tuple(0 if place % 2 == 0 else -1 for place in range(len(arrays)))
    stacks = [
        np.stack([array, another(row, array)], axis=axis)
        for array, axis in zip(arrays, axes, strict=True)
    ]

    def fn(*tensors: Any) -> Any:
        remaining = iter(tensors)
        positional, options = arguments(nn, call, lambda _: next(remaining))
        return tuple(results(function(*positional, **options)))

    return fn, stacks, axes


def same_as_slices(nn: Any, row: Row, call: Call, function: Any, tolerance: str) -> None:
    """Compare the results under `vmap` with those of the calls on every slice."""
    __tracebackhide__ = True
    fn, stacks, axes = pieces(nn, row, call, function)
    tensors = [nn.tensor(array) for array in stacks]
    got, want = nn.vmap(fn, axes, -1)(*tensors), looped(nn, fn, axes, -1)(*tensors)
    assert len(got) == len(want)
    for x, r in zip(got, want, strict=True):
        reference = to_numpy(nn, r)
        kind = tolerance if reference.dtype.kind in "fc" else "exact"
        text = f"vmap of {call.text}"
        agrees(nn, x, reference, kind, call=text, dtype=reference.dtype.name)


def same_gradients(nn: Any, row: Row, call: Call, function: Any, tolerance: str) -> None:
    """Compare the gradients through `vmap` with those of the calls on every slice."""
    __tracebackhide__ = True
    fn, stacks, axes = pieces(nn, row, call, function)
    slopes = []
    for transform in (nn.vmap, lambda *args: looped(nn, *args)):
        leaves = [tensor(nn, array, array.dtype.kind == "f") for array in stacks]
        values = transform(fn, axes, 0)(*leaves)
        floating = [y for y in values if y.requires_grad]
        total = sum((nn.ops.sum(nn.ops.real(y * nn.ops.conj(y))) for y in floating), nn.zeros(()))
        total.backward()
        slopes.append([leaf.grad for leaf in leaves if leaf.requires_grad])
    for x, r in zip(*slopes, strict=True):
        assert (x is None) is (r is None), f"vmap of {call.text}: {x} but should be {r}"
        if r is not None:
            text = f"gradient of vmap of {call.text}"
            agrees(nn, x, to_numpy(nn, r), tolerance, call=text)


def class_of(row: Row) -> str:
    return str(row.tolerance or "exact")


@pytest.mark.sampled(32)
@clause("autograd-52")
@rows("ops", where=lambda row: bool(row.inputs))
def test_functions(nn: Any, row: Row) -> None:
    examine(nn, row, getattr(nn.ops, row.name), "gradient")


@pytest.mark.sampled(16)
@clause("autograd-52")
@rows("linalg", where=lambda row: row.family != "same")
def test_functions_of_matrices(nn: Any, row: Row) -> None:
    examine(nn, row, getattr(nn.ops.linalg, row.name), "gradient")


@pytest.mark.sampled(6)
@clause("autograd-52", needs="complex")
@rows("fft")
def test_transforms(nn: Any, row: Row) -> None:
    examine(nn, row, getattr(nn.ops.fft, row.name), "gradient")


@pytest.mark.sampled(6)
@clause("autograd-52")
@rows("loss")
def test_losses(nn: Any, row: Row) -> None:
    examine(nn, row, getattr(nn.loss, row.name), "gradient")


@clause("autograd-52")
@rows("loss")
def test_losses_of_one_target_for_all(nn: Any, row: Row) -> None:
    for call in calls(row, "float32"):
        if not all(array.dtype.kind == "f" for array in call.arrays()):
            fn, stacks = with_the_same_integers(nn, row, call, getattr(nn.loss, row.name))
            tensors = [nn.tensor(array) for array in stacks]
            got, want = (transform(fn)(*tensors) for transform in (nn.vmap, partial(looped, nn)))
            text = f"vmap of {call.text} with its integers for all slices"
            agrees(nn, got, to_numpy(nn, want), class_of(row), call=text, dtype="float32")


def with_the_same_integers(nn: Any, row: Row, call: Call, function: Any) -> tuple[Any, list[Any]]:
    """Return a call as a function of its floating Tensors, and two slices of each."""

    def fn(*tensors: Any) -> Any:
        given = iter(tensors)

        def filled(array: np.ndarray) -> Any:
            return next(given) if array.dtype.kind == "f" else nn.tensor(array)

        positional, options = arguments(nn, call, filled)
        return function(*positional, **options)

    floating = [array for array in call.arrays() if array.dtype.kind == "f"]
    return fn, [np.stack([array, another(row, array)]) for array in floating]


def examine(nn: Any, row: Row, function: Any, tolerance: str) -> None:
    """Ask for the values of a row's calls, and for the gradients of the first."""
    __tracebackhide__ = True
    chosen = [call for call in calls(row, "float32") if asked(row, call)]
    for call in chosen:
        same_as_slices(nn, row, call, function, class_of(row))
    if chosen and row.gradient in (None, "yes") and chosen[0].floating():
        same_gradients(nn, row, chosen[0], function, tolerance)


@pytest.mark.sampled(9)
@clause("autograd-52", "autograd-51")
@rows("nn", where=lambda row: bool(row.inputs))
def test_layers(nn: Any, row: Row) -> None:
    """The values of every call, and the gradients to the parameters of the first."""
    for place, (constructor, call) in enumerate(module_calls(row, "float32")):
        nn.manual_seed(3)
        module = getattr(nn, row.name)(*constructor.arguments, **constructor.options).eval()

        def function(*args: Any, module: Any = module, **options: Any) -> Any:
            value = module(*args, **options)
            return tuple(y for y in results(value) if y is not None)

        same_as_slices(nn, row, call, function, class_of(row))
        if place == 0 and list(module.parameters()):
            slopes_of_parameters(nn, row, call, module, function)


def slopes_of_parameters(nn: Any, row: Row, call: Call, module: Any, function: Any) -> None:
    """Compare the gradients to the parameters that two slices share."""
    __tracebackhide__ = True
    fn, stacks, axes = pieces(nn, row, call, function)
    found = []
    for transform in (nn.vmap, lambda *args: looped(nn, *args)):
        module.zero_grad()
        values = transform(fn, axes, 0)(*[nn.tensor(array) for array in stacks])
        nn.ops.sum(values[0] * values[0]).backward()
        found.append([to_numpy(nn, p.grad) for p in module.parameters()])
    for got, want in zip(*found, strict=True):
        agrees(nn, got, want, "gradient", call=f"parameters of {row.name} through vmap")


# Functions of so many operands that have three axes, called without what may be left out.
SHORT = dict.fromkeys(
    "sum mean max min prod all any count_nonzero var std norm logsumexp softmax log_softmax sort "
    "argsort flip diff unstack tril triu matrix_transpose linalg.vector_norm linalg.matrix_norm "
    "linalg.trace linalg.diagonal fft.fft fft.rfft fft.fftn fft.rfftn fft.fftshift".split(),
    1,
)
SHORT |= dict.fromkeys(
    "tensordot linalg.tensordot vecdot matmul linalg.cross linear_recurrence".split(), 2
)


@clause("autograd-52", needs="complex")
@pytest.mark.parametrize("name", SHORT)
def test_defaults_beside_several_axes(nn: Any, name: str) -> None:
    function = operator.attrgetter(name)(nn.ops)
    tensors = [nn.tensor(normal((3,) * 4, "float32", seed=seed)) for seed in range(SHORT[name])]
    axes = (0, -1)[: SHORT[name]]

    def fn(*operands: Any) -> Any:
        return tuple(results(function(*operands)))

    for got, want in zip(nn.vmap(fn, axes)(*tensors), looped(nn, fn, axes)(*tensors), strict=True):
        reference = to_numpy(nn, want)
        kind = "matmul" if reference.dtype.kind in "fc" else "exact"
        agrees(nn, got, reference, kind, call=name, dtype=reference.dtype.name)


def is_along(row: Row) -> bool:
    return bool(row.inputs) and "axis" in row.signature.parameters


@clause("autograd-52", "autograd-57")
@rows("ops", where=is_along)
def test_axes_that_a_slice_does_not_have(nn: Any, row: Row) -> None:
    call = next(call for call in calls(row, "float32") if asked(row, call))
    parameters = row.signature.parameters
    before = call.arguments
    if parameters["axis"].kind is not inspect.Parameter.KEYWORD_ONLY:
        before = before[: list(parameters).index("axis")]
    for axis in (9, -9):
        bad = Call(f"{row.name} with axis={axis}", before, call.options | {"axis": axis})
        fn, stacks, axes = pieces(nn, row, bad, getattr(nn.ops, row.name))
        with refuses((ValueError, IndexError), row.name, axis, call.arrays()[0].shape):
            nn.vmap(fn, axes)(*map(nn.tensor, stacks))


@clause("autograd-52", "ops-44", "linalg-21")
@pytest.mark.parametrize("name", ["vecdot", "linalg.vecdot", "linalg.cross"])
def test_axes_that_count_from_the_front(nn: Any, name: str) -> None:
    function = operator.attrgetter(name)(nn.ops)
    x, y = nn.ones((2, 3, 4)), nn.ones((2, 3, 1, 4))
    for axis in (0, 1):
        with refuses(ValueError, name.split(".")[-1], axis, "(3, 4)", "(3, 1, 4)"):
            nn.vmap(lambda x, y, axis=axis: function(x, y, axis=axis))(x, y)


def needs_more(row: Row) -> bool:
    """Whether a function wants more than the array that comes first."""
    needed = [p for p in row.signature.parameters.values() if p.default is p.empty]
    first = row.inputs and row.inputs[0].split("(")[0]
    return len(needed) > 1 and first in ("normal", "positive", "distinct", "regular")


@clause("autograd-52", "autograd-57")
@rows("ops", where=needs_more)
def test_operands_that_are_left_out(nn: Any, row: Row) -> None:
    lacks_an_operand(nn, row, getattr(nn.ops, row.name))


@clause("autograd-52", "autograd-57")
@rows("linalg", where=lambda row: row.family != "same" and needs_more(row))
def test_operands_that_are_left_out_in_linalg(nn: Any, row: Row) -> None:
    lacks_an_operand(nn, row, getattr(nn.ops.linalg, row.name))


def lacks_an_operand(nn: Any, row: Row, function: Any) -> None:
    """Call a function with its first operand alone, which Python's own error tells."""
    call = calls(row, "float32")[0]
    fn, stacks, axes = pieces(nn, row, Call(row.name, call.arguments[:1], {}), function)
    with pytest.raises(TypeError):
        nn.vmap(fn, axes)(*map(nn.tensor, stacks))


KEYS: dict[str, Callable[[Any], Any]] = {
    "an integer": lambda i: 1,
    "slices": lambda i: (slice(None, None, 2), slice(1, None)),
    "an axis": lambda i: (None, ..., 0),
    "a mapped integer": lambda i: i[0],
    "mapped integers": lambda i: i,
    "on the last axis": lambda i: (slice(1, None), i),
    "beside a slice": lambda i: (i, slice(None, 2)),
    "pairs": lambda i: (i, -1 - i),
    "apart": lambda i: (i, None, i),
    "a constant beside": lambda i: (i, np.array([0, 1])),
}


@pytest.mark.parametrize("whole", [True, False], ids=["one array", "an array a slice"])
@pytest.mark.parametrize("name", KEYS)
@clause("autograd-52")
def test_indices_that_are_cut(nn: Any, name: str, whole: bool) -> None:
    x = normal((3, 3) if whole else (2, 3, 3), "float32")
    index = np.array([[0, 2], [2, -3]])
    axes = (None if whole else 0, 0)

    def fn(x: Any, i: Any) -> Any:
        return x[KEYS[name](i)]

    found = []
    for transform in (nn.vmap, lambda *args: looped(nn, *args)):
        leaf = tensor(nn, x)
        value = transform(fn, axes)(leaf, nn.tensor(index))
        nn.ops.sum(value * value).backward()
        found.append((value.detach(), leaf.grad))
    exactly(nn, found[0][0], to_numpy(nn, found[1][0]), call=name)
    agrees(nn, found[0][1], to_numpy(nn, found[1][1]), "gradient", call=name)


@clause("autograd-52")
def test_operators_and_methods(nn: Any, dtype: str) -> None:
    a, b = normal((3, 2, 2), dtype), normal((2, 2), dtype, seed=1)
    wide, other = in_double(a), in_double(b)

    def fn(x: Any, y: Any) -> Any:
        z = 2 * x - y / 3 + (-x) ** 2 - abs(y @ x) + (x > y) * x.T
        return z + x.mT.reshape((4,)).sum() + x.mean(axis=0, keepdims=True) * x.max() - x.min()

    got = nn.vmap(fn, (0, None))(nn.tensor(a), nn.tensor(b))
    want = []
    for x in wide:
        z = 2 * x - other / 3 + x**2 - abs(other @ x) + (x > other) * x.T
        want.append(z + x.sum() + x.mean(axis=0, keepdims=True) * x.max() - x.min())
    agrees(nn, got, np.stack(want), "matmul")


@clause("autograd-52", needs="complex")
def test_complex_slices(nn: Any, dtype: str) -> None:
    name = {"float32": "complex64", "float64": "complex128"}[dtype]
    a, b = normal((3, 2, 2), name), normal((2, 2), dtype, seed=1)
    y = tensor(nn, b)

    def fn(x: Any) -> Any:
        z = x @ (x * y)
        return z, nn.ops.sum(nn.ops.real(z * nn.ops.conj(z)))

    got, sizes = nn.vmap(fn, out_axes=(-1, 0))(nn.tensor(a))
    want = np.stack([x @ (x * in_double(b)) for x in in_double(a)], axis=-1)
    agrees(nn, got.detach(), want, "matmul")
    nn.ops.sum(sizes).backward()
    slope = sum(
        2 * np.real(np.conj(x) * (np.conj(x).T @ (x @ (x * in_double(b))))) for x in in_double(a)
    )
    agrees(nn, y.grad, slope, "gradient")
