"""What is computed: each subject is one function, Module or layer, with its float64 reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from spec_tests.judge import tables
from spec_tests.judge.tables import Row
from spec_tests.oracle import load
from spec_tests.oracle.modules import cases as module_cases
from spec_tests.suite import test_linalg_rows, test_loss_rows, test_nn_rows, test_ops_rows
from spec_tests.suite.test_optim import check_path
from spec_tests.suite.test_rnn_sizes import sized
from spec_tests.support.assertions import agrees
from spec_tests.support.calls import as_tensors, calls, evaluate_all, results
from spec_tests.support.recurrence import GATES
from spec_tests.support.recurrent import agree, layer_outcomes

__all__ = ["Subject", "subjects"]

# T, N, I and H: below, at and past the vectors that processors and kernels work on.
_SIZES = ((1, 1, 1, 1), (3, 2, 5, 16), (5, 3, 7, 33))
_OPTIMIZERS = ("SGD_nesterov", "Adam_options")
# Elements of rows of this length fill vectors and blocks and leave a rest.
_LONG = 1027
_ELEMENTWISE = ("unary", "shaped", "binary")


@dataclass(frozen=True)
class Subject:
    """One thing to compute.

    Attributes
    ----------
    key : str
        Its path, as ``"ops.tanh"`` or ``"nn.LSTM"``; ``"nn.RNN_relu"`` is an option of a layer.
    group : str
        ``"recurrent"``, ``"layers"``, ``"losses"``, ``"optimizers"`` or ``"functions"``.
    run : callable
        ``run(nn, dtype)`` raises AssertionError where a value or gradient is wrong.
    call : callable
        ``call(nn)`` gives a Module and the arguments of a call, for its kernel's name; or None.
    """

    key: str
    group: str
    run: Callable[[Any, str], None]
    call: Callable[[Any], tuple[Any, tuple[Any, ...], dict[str, Any]]] | None = None

    def missing(self, nn: Any) -> bool:
        """Tell whether the implementation lacks it."""
        # Modules stand at the top, functions in their namespaces.
        path = self.key.removeprefix("nn.").replace("linalg.", "ops.linalg.")
        if self.group == "recurrent":
            path = path.partition("_")[0]
        for part in path.split("."):
            if not hasattr(nn, part):
                return True
            nn = getattr(nn, part)
        return False


def subjects() -> Iterator[Subject]:
    """Yield everything: what is fused first, then the functions row by row."""
    for name in load("layers"):
        yield Subject(f"nn.{name}", "recurrent", _recurrent(name), _layer(name))
    rows = tables.read().values()
    for row in rows:
        if row.chapter == "nn" and test_nn_rows.has_results(row):
            yield Subject(row.key, "layers", _module(row), _first_call(row))
    for row in rows:
        if row.chapter == "loss":
            yield Subject(row.key, "losses", _loss(row))
    for name in _OPTIMIZERS:
        yield Subject(f"optim.{name.partition('_')[0]}", "optimizers", _optimizer(name))
    for row in rows:
        if row.chapter in ("ops", "linalg") and row.formula is not None and row.inputs:
            yield Subject(row.key, "functions", _function(row))


def _recurrent(name: str) -> Callable[[Any, str], None]:
    def run(nn: Any, dtype: str) -> None:
        for call, got, want in layer_outcomes(nn, name, dtype, "all"):
            agree(nn, call, got, want)
        for sizes in _SIZES if name in GATES else ():
            sized(nn, name, sizes, dtype, f"{name} of sizes T, N, I, H = {sizes}")

    return run


def _layer(name: str) -> Callable[[Any], Any]:
    kind, _, nonlinearity = name.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    return lambda nn: (getattr(nn, kind)(5, 16, **options), (nn.zeros((3, 2, 5)),), {})


def _module(row: Row) -> Callable[[Any, str], None]:
    return lambda nn, dtype: test_nn_rows.test_values_and_gradients(nn, dtype, row)


def _first_call(row: Row) -> Callable[[Any], Any]:
    def call(nn: Any) -> Any:
        case = next(module_cases(row))
        positional, options, _ = test_nn_rows.given(nn, case, "float32", requires_grad=True)
        return test_nn_rows.created(nn, case, "float32"), positional, options

    return call


def _loss(row: Row) -> Callable[[Any, str], None]:
    def run(nn: Any, dtype: str) -> None:
        for case, known in test_loss_rows.of(row, dtype, "mean"):
            test_loss_rows.check(nn, case, known, dtype)

    return run


def _optimizer(name: str) -> Callable[[Any, str], None]:
    return lambda nn, dtype: check_path(nn, dtype, name)


def _function(row: Row) -> Callable[[Any, str], None]:
    of = test_ops_rows if row.chapter == "ops" else test_linalg_rows

    def run(nn: Any, dtype: str) -> None:
        if of is test_linalg_rows and not test_linalg_rows.of_linalg(row):
            return
        of.test_values(nn, dtype, row)
        if of.differentiable(row):
            of.test_gradients(nn, dtype, row)
        if row.family in _ELEMENTWISE:
            _long_rows(nn, dtype, row)

    return run


def _long_rows(nn: Any, dtype: str, row: Row) -> None:
    def longer(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], _LONG) if shape and shape[-1] > 1 else shape

    for call in calls(row, dtype, longer):
        positional, options, _ = as_tensors(nn, call)
        found = results(getattr(nn.ops, row.name)(*positional, **options))
        for got, want in zip(found, evaluate_all(row, call), strict=True):
            kind = call.dtype(dtype) if want.dtype.kind == "f" else None
            text = f"{call.text}, rows of {_LONG}"
            agrees(nn, got, want, str(row.tolerance), call=text, dtype=kind)
