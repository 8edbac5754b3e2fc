"""The table of the chapter nn, row by row, against the stored results of torch.nn."""

import inspect
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.oracle.modules import ModuleCase, cases, stored
from spec_tests.support.assertions import agrees, raw, refuses, same_signature, to_numpy
from spec_tests.support.calls import arguments, filled, results

pytestmark = pytest.mark.sampled(4)


def has_results(row: Row) -> bool:
    return any(case.key in stored() for case in cases(row))


def has_derivatives(row: Row) -> bool:
    return any(_slopes(stored()[case.key], "") for case in cases(row) if case.key in stored())


def takes_dtype(row: Row) -> bool:
    return "dtype" in row.signature.parameters


def _slopes(known: dict[str, Any], order: str) -> list[str]:
    start = f"{order}gradient to "
    return [name.removeprefix(start) for name in known if name.startswith(start)]


def made(nn: Any, case: ModuleCase, dtype: str) -> Any:
    """Return the Module of a case, with the parameters and buffers of its results."""
    module = created(nn, case, dtype)
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    numbers = case.parameters(shapes)
    kinds = {"f": dtype, "i": "int64"}
    module.load_state_dict({k: a.astype(kinds[a.dtype.kind]) for k, a in numbers.items()})
    return module


def created(nn: Any, case: ModuleCase, dtype: str) -> Any:
    """Return the Module of a case as its constructor leaves it."""
    options = dict(case.constructor.options)
    if takes_dtype(case.row):
        options["dtype"] = getattr(nn, dtype)
    return getattr(nn, case.row.name)(*case.constructor.arguments, **options)


def given(
    nn: Any, case: ModuleCase, dtype: str, *, requires_grad: bool
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the arguments of the call, and the floating Tensors among them by name."""
    leaves: dict[str, Any] = {}

    def make(array: np.ndarray) -> Any:
        if array.dtype.kind != "f":
            return nn.tensor(array)
        name = f"input {len(leaves)}"
        leaves[name] = nn.tensor(array.astype(dtype), requires_grad=requires_grad)
        return leaves[name]

    positional, options = arguments(nn, case.call, make)
    return positional, options, leaves


def weighted(nn: Any, case: ModuleCase, values: list[Any], known: dict[str, Any]) -> Any:
    """Return the sum of the floating results, each with its weights."""
    total = 0
    for place, value in enumerate(values):
        if known[f"output {place}"].size and value.dtype in (nn.float32, nn.float64):
            weights = case.cotangent(tuple(value.shape), place)
            dtype = to_numpy(nn, value).dtype
            total = total + nn.ops.sum(value * nn.tensor(weights.astype(dtype)))
    return total


def compare(
    nn: Any, case: ModuleCase, dtype: str, values: list[Any], known: dict[str, Any]
) -> None:
    """Compare the results of a call with the stored ones."""
    for place, value in enumerate(values):
        want = known[f"output {place}"]
        if value.dtype not in (nn.float32, nn.float64):
            want = want.astype(np.int64)
        text = f"{case.key}, output {place}"
        agrees(nn, value, want, str(case.row.tolerance), call=text, dtype=None)


def shown(known: dict[str, Any]) -> str:
    return str(known["repr"]).replace("NonDynamicallyQuantizableLinear", "Linear")


@clause("nn-09")
@rows("nn")
def test_signatures_of_modules(nn: Any, row: Row) -> None:
    same_signature(getattr(nn, row.name), row.signature)
    assert issubclass(getattr(nn, row.name), nn.Module), f"nn.{row.name} should be a Module"


@clause("nn-12")
@rows("nn")
def test_signatures_of_calls(nn: Any, row: Row) -> None:
    assert row.call is not None
    forward = inspect.signature(getattr(nn, row.name).forward)
    _, *rest = forward.parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in rest]
    got = str(inspect.Signature(plain))
    assert got == str(row.call), f"forward of {row.name} takes {got} but should take {row.call}"


@clause("nn-09", "module-05", "module-15")
@rows("nn", where=has_results)
def test_what_modules_keep_and_show(nn: Any, row: Row) -> None:
    for case in cases(row):
        module, known = created(nn, case, "float32"), stored()[case.key]
        for what in ("parameters", "buffers"):
            named = getattr(module, f"named_{what}")()
            got = {name: list(tensor.shape) for name, tensor in named}
            assert list(got.items()) == list(known[what].items()), f"{what} of {case.key}: {got}"
        assert repr(module) == shown(known), f"{case.key}: {module!r} should be {shown(known)}"
        for name, want in known["attributes"].items():
            kept = getattr(module, name)
            kept = list(kept) if isinstance(kept, tuple) else kept
            assert kept == want, f"{case.key}: attribute {name} is {kept} but should be {want}"


@pytest.mark.sampled(8)
@clause("nn-12")
@rows("nn", where=has_results)
def test_values_and_gradients(nn: Any, dtype: str, row: Row) -> None:
    for case in cases(row):
        known = stored()[case.key]
        module = made(nn, case, dtype)
        positional, options, leaves = given(nn, case, dtype, requires_grad=True)
        values = [value for value in results(module(*positional, **options)) if value is not None]
        compare(nn, case, dtype, values, known)
        wanted = _slopes(known, "")
        if wanted:
            weighted(nn, case, values, known).backward()
        leaves |= dict(module.named_parameters())
        for name in wanted:
            slope, want = leaves[name].grad, known[f"gradient to {name}"]
            text = f"{case.key}, gradient to {name}"
            got = np.zeros(want.shape, dtype) if slope is None else slope
            agrees(nn, got, want, "gradient", call=text)
        for name, tensor in module.state_dict().items():
            want = known.get(f"after {name}")
            if want is not None:
                kind = "reduction" if tensor.dtype in (nn.float32, nn.float64) else "exact"
                want = want if kind == "reduction" else want.astype(np.int64)
                agrees(nn, tensor, want, kind, call=f"{case.key}, {name} after the call")


@pytest.mark.sampled(12)
@clause("nn-12", needs=("float64", "double_backward"))
@rows("nn", where=has_derivatives)
def test_second_derivatives(nn: Any, row: Row) -> None:
    kind = "rnn" if row.name == "MultiheadAttention" else "gradient"
    for case in cases(row):
        known = stored()[case.key]
        module = made(nn, case, "float64")
        parameters = dict(module.named_parameters())
        _, _, leaves = given(nn, case, "float64", requires_grad=False)
        names = _slopes(known, "second ")

        def total(*tensors: Any, case: ModuleCase = case, module: Any = module) -> Any:
            remaining = iter(tensors)
            positional, options = filled(nn, case.call, remaining)
            own = dict(zip(dict(module.named_parameters()), remaining, strict=True))
            values = results(nn.functional_call(module, own, *positional, **options))
            there = [value for value in values if value is not None]
            return weighted(nn, case, there, stored()[case.key])

        points = [*leaves.values(), *(p.detach() for p in parameters.values())]
        positions = tuple(range(len(points)))

        def squares(*tensors: Any, total: Any = total, positions: Any = positions) -> Any:
            slopes = nn.grad(total, argnums=positions, create_graph=True)(*tensors)
            return sum((nn.ops.sum(s * s) for s in slopes), nn.zeros((), dtype=nn.float64))

        found = nn.grad(squares, argnums=positions)(*points)
        for name, got in zip(names, found, strict=True):
            want, text = known[f"second gradient to {name}"], f"second gradient to {name}"
            agrees(nn, got, want, kind, call=f"{case.key}, {text}")


@clause("nn-12", "nn-26")
@rows("nn", where=has_results)
def test_evaluation_raw_arrays_and_names(nn: Any, row: Row) -> None:
    assert row.call is not None
    for case in list(cases(row))[-2:]:
        known = stored()[case.key]
        module = made(nn, case, "float32").eval()
        if "evaluated 0" in known:
            known = {"output 0": known["evaluated 0"]}

        def as_raw(array: np.ndarray) -> Any:
            return raw(nn, array.astype("float32") if array.dtype.kind == "f" else array)

        positional, options = arguments(nn, case.call, as_raw)
        named = row.call.bind(*positional, **options).arguments
        before = {k: to_numpy(nn, v).copy() for k, v in module.named_buffers()}
        values = [value for value in results(module(**named)) if value is not None]
        for place, value in enumerate(values):
            want = known[f"output {place}"]
            text, kind = f"{case.key} of raw arrays", str(row.tolerance)
            if value.dtype == nn.float32:
                agrees(nn, value, want, kind, call=text, dtype="float32")
            else:
                agrees(nn, value, want.astype(np.int64), "exact", call=text)
        for name, buffer in module.named_buffers():
            assert np.array_equal(before[name], to_numpy(nn, buffer)), f"{case.key}: {name} changed"


@clause("nn-09")
@rows("nn", where=takes_dtype)
def test_dtypes_of_parameters_are_floating(nn: Any, row: Row) -> None:
    case = next(cases(row))
    nn.manual_seed(3)
    before = to_numpy(nn, nn.rand((2,)))
    nn.manual_seed(3)
    with refuses(TypeError, row.name, "int64"):
        created(nn, case, "int64")
    after = to_numpy(nn, nn.rand((2,)))
    assert np.array_equal(before, after), f"{row.name}(dtype=int64) drew numbers"


@clause("nn-03", "nn-12")
@rows("nn", where=takes_dtype)
def test_another_dtype_is_refused(nn: Any, row: Row) -> None:
    case = next(cases(row))
    floating = bool(case.call.floating())
    module = made(nn, case, "float32")
    if not dict(module.named_parameters()) or not floating:
        return
    positional, options, _ = given(nn, case, "float64", requires_grad=False)
    with refuses(TypeError, row.name, "float32", "float64"):
        module(*positional, **options)
