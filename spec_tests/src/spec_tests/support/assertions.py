"""What tests assert: agreement by the tolerances of ``numerics.md``, equality, and refusals."""

import inspect
from collections.abc import Iterable
from types import TracebackType
from typing import Any

import numpy as np

from spec_tests.judge.clauses import tolerances
from spec_tests.support.inputs import in_double

_SHOWN = 6
_expected_dtype: str | None = None
_ratios: dict[tuple[str, str], float] = {}
_errors: dict[tuple[str, str], float] = {}


def agrees(
    nn: Any,
    got: Any,
    want: Any,
    tolerance: str,
    *,
    call: str = "",
    dtype: str | None = None,
    options: Iterable[str] = (),
) -> None:
    """Compare a result with its reference by a class of ``numerics.md``.

    Parameters
    ----------
    nn : module
        The implementation.
    got : Tensor, raw array, NumPy array or number
        The result. Its dtype decides the column of the table.
    want : array_like
        The reference, in float64 or complex128 as a rule. Its shape must be that of the result.
    tolerance : str
        The class: ``"elementwise"``, ``"rnn"``, ...
    call : str
        What was called, with shapes; it stands in the message.
    dtype : str, optional
        The dtype that the result must have. By default that of the test's ``dtype`` fixture or,
        in a test without it, that of `want`; that of `want` always where `want` is no float.
    options : iterable of str
        What the error is noted under, in the result file, in units of eps (of the scale that the
        tolerance has).

    Raises
    ------
    AssertionError
        With what came, what should have come, the worst element and its error in units of the
        tolerance, which is its attribute `ratio`.
    """
    __tracebackhide__ = True
    x, r = _same_form(nn, got, want, call, dtype)
    if r.dtype.kind not in "fc":
        ratio = np.where(x == r, 0.0, np.inf)
        bound = "exact"
    else:
        column = np.finfo(x.dtype).dtype.name
        figure = tolerances()[tolerance].get(column)
        if figure is None:
            msg = f"{_prefix(call)}class {tolerance} has no figure for {column}"
            raise AssertionError(msg)
        ratio = _error_in_tolerances(in_double(x), in_double(r), figure)
        worst = float(np.max(ratio, initial=0.0))
        # What disagrees is told by itself, and may be wrong on purpose.
        if worst <= 1:
            note_ratios({tolerance: {column: worst}})
            units = worst * figure / float(np.finfo(x.dtype).eps)
            note_errors({option: {column: units} for option in options})
        bound = f"class {tolerance}, {column}"
    if np.any(ratio > 1):
        error = AssertionError(_disagreement(x, r, ratio, bound, call))
        error.ratio = float(np.max(ratio))  # type: ignore[attr-defined]
        raise error


def within(
    nn: Any, got: Any, want: Any, allowed: Any, *, call: str = "", dtype: str | None = None
) -> None:
    """Compare a result with its reference by a bound of its own.

    Parameters
    ----------
    nn, got, want, call, dtype
        As in `agrees`.
    allowed : array_like
        The largest error of each element; its shape broadcasts to that of `want`.
    """
    __tracebackhide__ = True
    x, r = _same_form(nn, got, want, call, dtype)
    x, r = in_double(x), in_double(r)
    same = (x == r) | (np.isnan(x) & np.isnan(r))
    inexact = np.isfinite(r) & np.isfinite(x) & ~same
    ratio = np.where(same, 0.0, np.inf)
    bounds = np.broadcast_to(np.asarray(allowed, np.float64), r.shape)
    with np.errstate(divide="ignore", over="ignore"):
        ratio[inexact] = np.abs(x[inexact] - r[inexact]) / bounds[inexact]
    if np.any(ratio > 1):
        raise AssertionError(_disagreement(x, r, ratio, "a bound of its own", call))


def exactly(nn: Any, got: Any, want: Any, *, call: str = "", dtype: str | None = None) -> None:
    """Compare a result with its reference by the class ``exact``; arguments as in `agrees`."""
    __tracebackhide__ = True
    agrees(nn, got, want, "exact", call=call, dtype=dtype)


def same_signature(function: Any, wanted: inspect.Signature) -> None:
    """Compare the names, kinds and defaults of parameters."""
    __tracebackhide__ = True
    empty = inspect.Parameter.empty
    plain = [
        parameter.replace(annotation=empty)
        for parameter in inspect.signature(function).parameters.values()
    ]
    got = inspect.Signature(plain)
    # repr tells 0 from 0.0 and False, which are equal.
    assert str(got) == str(wanted), f"got the signature {got} but should be {wanted}"


class refuses:
    """Context manager: the block must raise a one-line error that says what it should.

    Parameters
    ----------
    types : type or tuple of types
        The exception, or several of which one must come.
    *fragments : object
        What the message must contain (as ``str``, whatever its case). A tuple of *str* is a
        choice: one of them is enough. To look for a shape, give ``str(shape)``.

    Attributes
    ----------
    message : str
        What the exception said, once the block is left.
    """

    def __init__(
        self, types: type[BaseException] | tuple[type[BaseException], ...], *fragments: object
    ) -> None:
        self.types = types if isinstance(types, tuple) else (types,)
        self.fragments = fragments
        self.message = ""

    def __enter__(self) -> "refuses":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        __tracebackhide__ = True
        wanted = " or ".join(error_class.__name__ for error_class in self.types)
        if error is None:
            msg = f"got no exception but should be {wanted}"
            raise AssertionError(msg)
        if not isinstance(error, self.types):
            if not isinstance(error, Exception):
                return False
            msg = f"got {type(error).__name__}({error}) but should be {wanted}"
            raise AssertionError(msg) from error
        # str(KeyError) is the repr of the message.
        plain = isinstance(error, KeyError) and len(error.args) == 1
        self.message = str(error.args[0]) if plain else str(error)
        fault = _fault_of_message(self.message, self.fragments)
        if fault:
            msg = f"got {type(error).__name__}({self.message!r}) but {fault}"
            raise AssertionError(msg) from error
        return True


def to_numpy(nn: Any, value: Any) -> np.ndarray:
    """Bring a Tensor, a raw array, a NumPy array or a number to NumPy, whatever its history.

    Raises
    ------
    AssertionError
        For None, as where a gradient is missing.
    """
    __tracebackhide__ = True
    if value is None:
        msg = "got None but should be an array"
        raise AssertionError(msg)
    if isinstance(value, nn.Tensor):
        return np.asarray(value.detach().numpy())
    if isinstance(value, np.ndarray | np.generic | bool | int | float | complex | list | tuple):
        return np.asarray(value)
    return np.asarray(nn.from_array(value).numpy())


def raw(nn: Any, array: np.ndarray) -> Any:
    """Return a raw array of the implementation with the values and dtype of a NumPy array."""
    return nn.tensor(np.asarray(array)).data


def address(array: Any) -> int:
    """Return where a raw array lies, in whatever way its backend says so."""
    for name in ("data_ptr", "unsafe_buffer_pointer"):
        if hasattr(array, name):
            return int(getattr(array, name)())
    for name in ("__cuda_array_interface__", "__array_interface__"):
        if hasattr(array, name):
            return int(getattr(array, name)["data"][0])
    return int(array.data.ptr)


def tensor(nn: Any, array: np.ndarray, requires_grad: bool = True) -> Any:
    """Return a leaf Tensor with the values and dtype of a NumPy array."""
    return nn.tensor(np.asarray(array), requires_grad=requires_grad)


def own(nn: Any) -> bool:
    """Whether Tensor is a class of the implementation's own, not its backend's."""
    return bool(nn.Tensor.__module__.partition(".")[0] == nn.__name__.partition(".")[0])


def rounded(array: Any, dtype: str) -> np.ndarray:
    """Return `array` as a NumPy array of `dtype`.

    A reference takes ``rounded(x, dtype).astype(np.float64)``, so that it has the same inputs.
    """
    return np.asarray(array).astype(dtype)


def expect_dtype(dtype: str | None) -> None:
    """Say which dtype the results of the present test have where nothing else is said."""
    global _expected_dtype
    _expected_dtype = dtype


def note_ratios(table: dict[str, dict[str, float]]) -> None:
    """Note errors in units of the tolerance, by class and dtype."""
    _note(_ratios, table)


def forget_ratios() -> None:
    """Forget the errors seen so far."""
    _ratios.clear()


def largest_ratios() -> dict[str, dict[str, float]]:
    """Return the largest error of what agreed, in units of the tolerance, by class and dtype."""
    return _by_name(_ratios)


def note_errors(table: dict[str, dict[str, float]]) -> None:
    """Note errors in units of eps, by option and dtype."""
    _note(_errors, table)


def largest_errors() -> dict[str, dict[str, float]]:
    """Return the largest error seen so far in units of eps, by option and dtype."""
    return _by_name(_errors)


def _note(known: dict[tuple[str, str], float], table: dict[str, dict[str, float]]) -> None:
    for name, row in table.items():
        for column, figure in row.items():
            known[name, column] = max(figure, known.get((name, column), 0.0))


def _by_name(known: dict[tuple[str, str], float]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for (name, column), figure in sorted(known.items()):
        table.setdefault(name, {})[column] = figure
    return table


def _same_form(
    nn: Any, got: Any, want: Any, call: str, dtype: str | None
) -> tuple[np.ndarray, np.ndarray]:
    __tracebackhide__ = True
    x, r = to_numpy(nn, got), to_numpy(nn, want)
    wanted = dtype or _expected(r.dtype.kind) or r.dtype.name
    if isinstance(got, bool | int | float | complex):
        x = x.astype(wanted) if x.dtype.kind == np.dtype(wanted).kind else x
    if x.shape != r.shape:
        msg = f"{_prefix(call)}got shape {x.shape} but should be {r.shape}"
        raise AssertionError(msg)
    if x.dtype.name != wanted:
        msg = f"{_prefix(call)}got dtype {x.dtype.name} but should be {wanted}"
        raise AssertionError(msg)
    return x, r


def _expected(kind: str) -> str | None:
    if kind == "c" and _expected_dtype:
        return {"float32": "complex64", "float64": "complex128"}[_expected_dtype]
    return _expected_dtype if kind == "f" else None


def _error_in_tolerances(x: np.ndarray, r: np.ndarray, tolerance: float) -> np.ndarray:
    finite = np.isfinite(r)
    scale = float(np.max(np.abs(r[finite]), initial=0.0))
    same = (x == r) | (np.isnan(x) & np.isnan(r))
    comparable = finite & np.isfinite(x)
    ratio = np.where(same, 0.0, np.inf)
    inexact = comparable & ~same
    error = np.abs(x[inexact] - r[inexact])
    allowed = tolerance * (np.abs(r[inexact]) + scale)
    with np.errstate(divide="ignore", over="ignore"):
        ratio[inexact] = error / allowed
    return ratio


def _disagreement(x: np.ndarray, r: np.ndarray, ratio: np.ndarray, bound: str, call: str) -> str:
    worst = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
    place = f" at index {tuple(int(i) for i in worst)}" if x.ndim else ""
    times = float(ratio[worst])
    size = f"{times:.3g} times the tolerance" if np.isfinite(times) else "beyond any tolerance"
    count = f"{int(np.sum(ratio > 1))} of {x.size} elements disagree ({bound})"
    lines = [
        f"{_prefix(call)}got {x[worst]!s} but should be {r[worst]!s}{place}: {size}; {count}",
    ]
    if x.ndim:
        lines += [f"got       {_short(x)}", f"should be {_short(r)}"]
    return "\n".join(lines)


def _short(array: np.ndarray) -> str:
    indent = " " * len("should be ")
    return np.array2string(array, threshold=24, edgeitems=3, precision=_SHOWN, prefix=indent)


def _prefix(call: str) -> str:
    return f"{call}: " if call else ""


def _fault_of_message(message: str, fragments: tuple[object, ...]) -> str:
    if not message.strip():
        return "should say what is wrong"
    if "\n" in message.strip():
        return "should be one line"
    for fragment in fragments:
        choice = fragment if isinstance(fragment, tuple) else (str(fragment),)
        if not any(str(text).lower() in message.lower() for text in choice):
            return f"should contain {' or '.join(repr(str(text)) for text in choice)}"
    return ""
