"""What functions make of NaN and infinities: the table of ``ops-27``, as data.

Every element of the result is given the gradient 2, so that one that passes is told from 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NAN, INF = float("nan"), float("inf")
ARRIVES = 2.0


@dataclass(frozen=True)
class Edge:
    """``call(ops, *arrays)`` gives `value`; ARRIVES sends back `gradients`, one an input.

    Attributes
    ----------
    tolerance : str
        The class of the value and of the gradients.
    """

    call: Callable[..., Any]
    inputs: tuple[Any, ...]
    value: Any
    gradients: tuple[Any, ...]
    tolerance: str = "exact"


def unary(
    name: str, x: list[float], value: list[float], gradient: list[float], tolerance: str = "exact"
) -> Edge:
    """Return the edge of a function of one array; `gradient` is in units of what arrives."""
    arrived = [ARRIVES * slope for slope in gradient]
    return Edge(lambda ops, a: getattr(ops, name)(a), (x,), value, (arrived,), tolerance)


def clipped(x: list[float], value: list[float], gradient: list[float], **bounds: float) -> Edge:
    """Return the edge of ``clip`` between bounds."""
    arrived = [ARRIVES * slope for slope in gradient]
    return Edge(lambda ops, a: ops.clip(a, **bounds), (x,), value, (arrived,))


def binary(name: str, x: Any, y: Any, value: Any, to_x: Any, to_y: Any) -> Edge:
    """Return the edge of a function of two arrays; gradients are in units of what arrives."""
    arrived = tuple((ARRIVES * np.array(slope)).tolist() for slope in (to_x, to_y))
    return Edge(lambda ops, a, b: getattr(ops, name)(a, b), (x, y), value, arrived)


def reduced(
    name: str, x: Any, value: Any, gradient: Any, tolerance: str = "exact", **o: Any
) -> Edge:
    """Return the edge of a function along axes; `gradient` is in units of what arrives."""
    arrived = (ARRIVES * np.array(gradient)).tolist()
    return Edge(lambda ops, a: getattr(ops, name)(a, **o), (x,), value, (arrived,), tolerance)


def beside_number(name: str, number: float, x: Any, value: Any, gradient: Any) -> Edge:
    """Return the edge of a function of an array and a Python number."""
    arrived = (ARRIVES * np.array(gradient)).tolist()
    return Edge(lambda ops, a: getattr(ops, name)(a, number), (x,), value, (arrived,))


_ROWS = [[1.0, NAN, 3.0, NAN], [1.0, 2.0, 2.0, 0.0], [NAN, NAN, NAN, NAN], [-INF, 0.0, INF, 1.0]]
_FALL = [[-value for value in row] for row in _ROWS]
_SHARES = [[0.0, 0.5, 0.0, 0.5], [0.0, 0.5, 0.5, 0.0], [0.25] * 4, [0.0, 0.0, 1.0, 0.0]]
_MIXED = [NAN, INF, -INF, 0.5, -2.0]

SELECTIONS = {
    "relu": unary("relu", _MIXED, [NAN, INF, 0.0, 0.5, 0.0], [1, 1, 0, 1, 0]),
    "clip": clipped(_MIXED, [NAN, 1.0, -1.0, 0.5, -1.0], [1, 0, 0, 1, 0], min=-1.0, max=1.0),
    "clip from below": clipped(_MIXED, [NAN, INF, -1.0, 0.5, -1.0], [1, 1, 0, 1, 0], min=-1.0),
    "clip from above": clipped(_MIXED, [NAN, 1.0, -INF, 0.5, -2.0], [1, 0, 1, 1, 1], max=1.0),
    "clip to infinite bounds": clipped(
        _MIXED, [NAN, INF, -INF, 0.5, -2.0], [1, 1, 1, 1, 1], min=-INF, max=INF
    ),
    "clip from nan": clipped([INF, -INF, 0.5, -2.0], [NAN] * 4, [0.0] * 4, min=NAN, max=1.0),
    "clip to nan": clipped([INF, -INF, 0.5, -2.0], [NAN] * 4, [0.0] * 4, min=-1.0, max=NAN),
    "clip from nan alone": clipped([0.5, -2.0], [NAN] * 2, [0.0] * 2, min=NAN),
    "clip to nan alone": clipped([0.5, -2.0], [NAN] * 2, [0.0] * 2, max=NAN),
    "clip by arrays": Edge(
        lambda ops, a: ops.clip(a, ops.full_like(a, -1.0), ops.full_like(a, 1.0)),
        (_MIXED,),
        [NAN, 1.0, -1.0, 0.5, -1.0],
        ([ARRIVES, 0.0, 0.0, ARRIVES, 0.0],),
    ),
    "abs": unary("abs", _MIXED, [NAN, INF, INF, 0.5, 2.0], [NAN, 1, -1, 1, -1]),
    "sign": unary("sign", _MIXED, [NAN, 1.0, -1.0, 1.0, -1.0], [0, 0, 0, 0, 0]),
    "maximum": binary(
        "maximum",
        [NAN, 1.0, INF, -INF, NAN, INF, -INF, NAN],
        [1.0, NAN, NAN, NAN, NAN, INF, 0.0, INF],
        [NAN, NAN, NAN, NAN, NAN, INF, 0.0, NAN],
        [1, 0, 0, 0, 0.5, 0.5, 0, 1],
        [0, 1, 1, 1, 0.5, 0.5, 1, 0],
    ),
    "minimum": binary(
        "minimum",
        [NAN, 1.0, INF, -INF, NAN, -INF, INF, NAN],
        [1.0, NAN, NAN, NAN, NAN, -INF, 0.0, -INF],
        [NAN, NAN, NAN, NAN, NAN, -INF, 0.0, NAN],
        [1, 0, 0, 0, 0.5, 0.5, 0, 1],
        [0, 1, 1, 1, 0.5, 0.5, 1, 0],
    ),
    "maximum that broadcasts": binary(
        "maximum",
        [[NAN], [0.0]],
        [1.0, NAN, -1.0],
        [[NAN, NAN, NAN], [1.0, NAN, 0.0]],
        [[2.5], [1]],
        [1, 1.5, 0],
    ),
    "minimum that broadcasts": binary(
        "minimum",
        [[NAN], [0.0]],
        [1.0, NAN, -1.0],
        [[NAN, NAN, NAN], [0.0, NAN, -1.0]],
        [[2.5], [1]],
        [0, 1.5, 1],
    ),
    "maximum with a number": beside_number("maximum", 1.0, [NAN, 0.0], [NAN, 1.0], [1, 0]),
    "maximum with nan": beside_number("maximum", NAN, [NAN, 0.0, INF], [NAN] * 3, [0.5, 0, 0]),
    "minimum with nan": beside_number("minimum", NAN, [NAN, 0.0, -INF], [NAN] * 3, [0.5, 0, 0]),
    "max": reduced("max", _ROWS, [NAN, 2.0, NAN, INF], _SHARES, axis=1),
    "max, axis kept": reduced(
        "max", _ROWS, [[NAN], [2.0], [NAN], [INF]], _SHARES, axis=-1, keepdims=True
    ),
    "max along the first": reduced(
        "max", np.array(_ROWS).T.tolist(), [NAN, 2.0, NAN, INF], np.array(_SHARES).T, axis=0
    ),
    "max of all": reduced("max", [[NAN, 7.0], [INF, NAN]], NAN, [[0.5, 0], [0, 0.5]]),
    "max over two axes": reduced(
        "max",
        [[[NAN, 7.0], [1.0, 2.0]], [[INF, NAN], [2.0, 0.0]]],
        [NAN, 2.0],
        [[[0.5, 0], [0, 0.5]], [[0, 0.5], [0.5, 0]]],
        axis=(0, 2),
    ),
    "max of infinities": reduced("max", [-INF, -INF], -INF, [0.5, 0.5]),
    "min": reduced("min", _FALL, [NAN, -2.0, NAN, -INF], _SHARES, axis=1),
    "min along the first": reduced(
        "min", np.array(_FALL).T.tolist(), [NAN, -2.0, NAN, -INF], np.array(_SHARES).T, axis=0
    ),
    "min of all": reduced("min", [[NAN, 7.0], [INF, NAN]], NAN, [[0.5, 0], [0, 0.5]]),
    "min of infinities": reduced("min", [INF, INF], INF, [0.5, 0.5]),
    "where": Edge(
        lambda ops, x, y: ops.where(np.array([True, False, True, False]), x, y),
        ([NAN, NAN, 1.0, 2.0], [1.0, 2.0, NAN, NAN]),
        [NAN, 2.0, 1.0, NAN],
        ([2, 0, 2, 0], [0, 2, 0, 2]),
    ),
    "take": Edge(
        lambda ops, x: ops.take(x, np.array([1, 3, 1])),
        ([NAN, 1.0, INF, NAN],),
        [1.0, NAN, 1.0],
        ([0, 4, 0, 2],),
    ),
}

_SUM = [[NAN, 1.0], [INF, -1.0], [2.0, 1.0], [INF, -INF]]
REDUCTIONS = {
    "sum": reduced("sum", _SUM, [NAN, INF, 3.0, NAN], [[1, 1]] * 4, axis=1),
    "sum along the first": reduced(
        "sum", np.array(_SUM).T.tolist(), [NAN, INF, 3.0, NAN], np.ones((2, 4)), axis=0
    ),
    "mean": reduced("mean", _SUM, [NAN, INF, 1.5, NAN], [[0.5, 0.5]] * 4, axis=1),
    "cumulative_prod": reduced(
        "cumulative_prod",
        [[2.0, NAN, 3.0], [2.0, 3.0, NAN], [1.0, 2.0, 3.0]],
        [[2.0, NAN, NAN], [2.0, 6.0, NAN], [1.0, 2.0, 6.0]],
        [[NAN, 8, NAN], [NAN, NAN, 6], [9, 4, 2]],
        "reduction",
        axis=1,
    ),
}

# p and 1 - p of two numbers that lie 1 apart.
_P = 1 / (1 + np.exp(-1.0))
_Q = 1 - _P
_LOGITS = [[1.0, NAN, 2.0], [1.0, INF, 2.0], [-INF, -INF, -INF], [1.0, -INF, 2.0], [INF, INF, 0.0]]
_GONE, _LOST = [NAN] * 3, [NAN] * 2
SOFTENED = {
    "softmax": reduced(
        "softmax",
        _LOGITS,
        [_GONE, _GONE, _GONE, [_Q, 0.0, _P], _GONE],
        [_GONE, _GONE, _GONE, [0, 0, 0], _GONE],
        "reduction",
    ),
    "log_softmax": reduced(
        "log_softmax",
        [[1.0, NAN], [1.0, INF], [-INF, -INF], [1.0, 2.0], [INF, INF]],
        [_LOST, _LOST, _LOST, [np.log(_Q), np.log(_P)], _LOST],
        [_LOST, _LOST, _LOST, [1 - 2 * _Q, 1 - 2 * _P], _LOST],
        "reduction",
    ),
    "logsumexp": reduced(
        "logsumexp",
        _LOGITS,
        [NAN, INF, -INF, 2 - np.log(_P), INF],
        [_GONE, _GONE, _GONE, [_Q, 0, _P], _GONE],
        "reduction",
    ),
    "logsumexp along the first": reduced(
        "logsumexp",
        np.array(_LOGITS).T.tolist(),
        [NAN, INF, -INF, 2 - np.log(_P), INF],
        np.array([_GONE, _GONE, _GONE, [_Q, 0, _P], _GONE]).T,
        "reduction",
        axis=0,
    ),
    "logsumexp over all": reduced(
        "logsumexp",
        [[1.0, -INF], [-INF, 2.0]],
        2 - np.log(_P),
        [[_Q, 0], [0, _P]],
        "reduction",
        axis=None,
    ),
}

FORMULAS = {
    "exp": unary("exp", [NAN, INF, -INF], [NAN, INF, 0.0], [NAN, INF, 0.0]),
    "log": unary(
        "log", [NAN, 0.0, -1.0, INF, -2.0], [NAN, -INF, NAN, INF, NAN], [NAN, INF, -1, 0, -0.5]
    ),
    "sqrt": unary("sqrt", [NAN, -1.0, INF, 0.0], [NAN, NAN, INF, 0.0], [NAN, NAN, 0, INF]),
    "square": unary("square", [NAN, INF, -INF], [NAN, INF, INF], [NAN, INF, -INF]),
    "tanh": unary("tanh", [NAN, INF, -INF], [NAN, 1.0, -1.0], [NAN, 0, 0]),
    "sigmoid": unary("sigmoid", [NAN, INF, -INF], [NAN, 1.0, 0.0], [NAN, 0, 0]),
    "sin": unary("sin", [NAN, INF, -INF], [NAN] * 3, [NAN] * 3),
    "cos": unary("cos", [NAN, INF, -INF], [NAN] * 3, [NAN] * 3),
    "negative": unary("negative", [NAN, INF], [NAN, -INF], [-1, -1]),
    "divide": binary(
        "divide",
        [1.0, 0.0, -1.0, INF, 1.0],
        [0.0, 0.0, 0.0, INF, INF],
        [INF, NAN, -INF, NAN, 0.0],
        [INF, INF, INF, 0, 0],
        [-INF, NAN, INF, NAN, 0],
    ),
    "add": binary("add", [NAN, INF, INF], [1.0, -INF, 1.0], [NAN, NAN, INF], [1] * 3, [1] * 3),
    "multiply": binary(
        "multiply", [NAN, INF, 0.0], [1.0, 0.0, INF], [NAN, NAN, NAN], [1, 0, INF], [NAN, INF, 0]
    ),
}
