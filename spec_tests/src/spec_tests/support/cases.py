"""Every differentiable operator, with inputs where it is smooth."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from spec_tests.support.inputs import distinct, normal, positive


class Case(NamedTuple):
    """``call(nn, *tensors)`` is differentiated with respect to each of `inputs`."""

    call: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]


_PAIR = (positive((2, 2)), positive((2, 2), seed=1))
_STRETCHED = (positive((2, 1)), positive(2, seed=1))
_APART = (distinct((2, 2)), distinct((2, 2), seed=1)[::-1] * 0.8)
_MASK = np.array([[True, False], [False, True]])
_ROWS = np.array([1, 0, 1])


def _function(name: str, *inputs: np.ndarray, **options: Any) -> Case:
    return Case(lambda nn, *tensors: getattr(nn.ops, name)(*tensors, **options), inputs)


def _operator(apply: Callable[..., Any], *inputs: np.ndarray) -> Case:
    return Case(lambda nn, *tensors: apply(*tensors), inputs)


OPERATORS = {
    "x + y": _operator(operator.add, *_STRETCHED),
    "x - y": _operator(operator.sub, *_STRETCHED),
    "x * y": _operator(operator.mul, *_STRETCHED),
    "x / y": _operator(operator.truediv, *_STRETCHED),
    "x ** y": _operator(operator.pow, *_STRETCHED),
    "x ** 2": _operator(lambda x: x**2, _APART[0]),
    "x ** 2.5": _operator(lambda x: x**2.5, _PAIR[0]),
    "1.5 / x": _operator(lambda x: 1.5 / x, _PAIR[0]),
    "1.5 - x * x": _operator(lambda x: 1.5 - x * x, _PAIR[0]),
    "x @ y": _operator(operator.matmul, normal((2, 3)), normal((3, 2), seed=1)),
    "x @ y, stacks": _operator(operator.matmul, normal((2, 1, 2)), normal((2, 2), seed=1)),
    "x @ x": _operator(lambda x: x @ x, normal(3)),
    "-x": _operator(lambda x: -x * x, normal(3)),
    "abs(x)": _operator(lambda x: abs(x) * x, distinct(3)),
    "x.T": _operator(lambda x: x.T @ x, normal((2, 2))),
    "x.mT": _operator(lambda x: x.mT * x, normal((2, 2))),
    "x[1:]": _operator(lambda x: x[1:] * x[:-1], normal(3)),
    "x[:, 0]": _operator(lambda x: x[:, 0] * x[1], normal((2, 2))),
    "x[[1, 0, 1]]": _operator(lambda x: x[[1, 0, 1]] ** 2, normal(2)),
    "x[[0, 1], [1, 1]]": _operator(lambda x: x[[0, 1], [1, 1]] ** 2, normal((2, 2))),
    "x[mask]": Case(lambda nn, x: x[nn.tensor(_MASK)] ** 2, (normal((2, 2)),)),
    "x.reshape": _operator(lambda x: x.reshape((4,)) ** 2, normal((2, 2))),
    "x.sum(axis=0)": _operator(lambda x: x.sum(axis=0) ** 2, normal((2, 2))),
    "x.mean()": _operator(lambda x: x.mean() ** 2, normal((2, 2))),
    "x.amax(axis=1)": _operator(lambda x: x.amax(axis=1) ** 2, distinct((2, 2))),
    "x.min()": _operator(lambda x: x.min() ** 2, distinct((2, 2))),
}

# Calls that the rows of the chapter ops do not write.
FUNCTIONS = {
    "pow by a number": Case(lambda nn, x: nn.ops.pow(x, 3), (_APART[0],)),
    "pow of a number": Case(lambda nn, x: nn.ops.pow(1.5, x), (_APART[0],)),
    "matmul of vectors": _function("matmul", normal(3), normal(3, seed=1)),
}
