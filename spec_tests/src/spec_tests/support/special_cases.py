"""The special cases of ``ops-37`` and the tables beside it, as data."""

import math

from spec_tests.support.edges import INF, NAN, Edge, beside_number, binary, reduced, unary

HALF = math.pi / 2
_STEPS = [NAN, INF, -INF, -1.5, 2.5]

ELEMENTS: dict[str, Edge] = {
    "positive": unary("positive", [NAN, INF], [NAN, INF], [1, 1]),
    "reciprocal": unary(
        "reciprocal", [0.0, -0.0, INF, NAN], [INF, -INF, 0.0, NAN], [-INF, -INF, 0, NAN]
    ),
    "expm1": unary("expm1", [INF, -INF, NAN], [INF, -1.0, NAN], [INF, 0, NAN]),
    "log1p": unary(
        "log1p", [-1.0, INF, -2.0, NAN], [-INF, INF, NAN, NAN], [INF, 0, -1, NAN], "elementwise"
    ),
    "log2": unary("log2", [0.0, INF, NAN], [-INF, INF, NAN], [INF, 0, NAN]),
    "log10": unary("log10", [0.0, INF, NAN], [-INF, INF, NAN], [INF, 0, NAN]),
    "tan": unary("tan", [INF, -INF, NAN], [NAN] * 3, [NAN] * 3),
    "asin": unary(
        "asin", [1.0, -1.0, 2.0, NAN], [HALF, -HALF, NAN, NAN], [INF, INF, NAN, NAN], "elementwise"
    ),
    "acos": unary("acos", [1.0, 2.0, NAN], [0.0, NAN, NAN], [-INF, NAN, NAN], "elementwise"),
    "atan": unary("atan", [INF, -INF, NAN], [HALF, -HALF, NAN], [0, 0, NAN], "elementwise"),
    "sinh": unary("sinh", [INF, -INF, NAN], [INF, -INF, NAN], [INF, INF, NAN]),
    "cosh": unary("cosh", [INF, -INF, NAN], [INF, INF, NAN], [INF, -INF, NAN]),
    "asinh": unary("asinh", [INF, -INF, NAN], [INF, -INF, NAN], [0, 0, NAN]),
    "acosh": unary("acosh", [1.0, INF, 0.5, NAN], [0.0, INF, NAN, NAN], [INF, 0, NAN, NAN]),
    "acosh below -1": unary(
        "acosh", [-2.0, -1.0, -INF], [NAN] * 3, [1 / 3**0.5, -INF, 0], "elementwise"
    ),
    "atanh": unary("atanh", [1.0, -1.0, NAN], [INF, -INF, NAN], [INF, INF, NAN]),
    "ceil": unary("ceil", _STEPS, [NAN, INF, -INF, -1.0, 3.0], [0] * 5),
    "floor": unary("floor", _STEPS, [NAN, INF, -INF, -2.0, 2.0], [0] * 5),
    "trunc": unary("trunc", _STEPS, [NAN, INF, -INF, -1.0, 2.0], [0] * 5),
    "round": unary("round", _STEPS, [NAN, INF, -INF, -2.0, 2.0], [0] * 5),
    "erf": unary("erf", [INF, -INF, NAN], [1.0, -1.0, NAN], [0, 0, NAN]),
    "silu": unary("silu", [INF, -INF, NAN], [INF, 0.0, NAN], [1, 0, NAN]),
    "gelu": unary("gelu", [INF, -INF, NAN], [INF, 0.0, NAN], [1, 0, NAN]),
    "softplus": unary("softplus", [INF, -INF, NAN], [INF, 0.0, NAN], [1, 0, NAN]),
    "leaky_relu": beside_number(
        "leaky_relu", 0.25, [NAN, INF, -INF, 0.0], [NAN, INF, -INF, 0.0], [0.25, 1, 0.25, 0.25]
    ),
    "elu": beside_number(
        "elu", 1.5, [NAN, INF, -INF, 0.0], [NAN, INF, -1.5, 0.0], [NAN, 1, 0, 1.5]
    ),
    "atan2": binary(
        "atan2",
        [0.0, NAN, 1.0],
        [INF, 1.0, NAN],
        [0.0, NAN, NAN],
        [NAN, NAN, NAN],
        [0, NAN, NAN],
    ),
    "hypot": binary("hypot", [0.0, NAN], [0.0, 1.0], [0.0, NAN], [0, NAN], [0, NAN]),
    "logaddexp": binary(
        "logaddexp",
        [-INF, INF, -INF, INF, NAN],
        [0.5, 0.5, -INF, INF, 0.5],
        [0.5, INF, -INF, INF, NAN],
        [0, 1, NAN, NAN, NAN],
        [1, 0, NAN, NAN, NAN],
    ),
    "copysign": binary(
        "copysign",
        [2.0, -2.0, 0.0, INF],
        [-0.0, INF, -1.0, -INF],
        [-2.0, 2.0, -0.0, -INF],
        [-1, -1, 0, -1],
        [0] * 4,
    ),
    "floor_divide": binary(
        "floor_divide",
        [1.0, -1.0, 0.0, INF, -INF, INF, 1.0, -1.0, -1.0, 1.0, NAN, 1.0],
        [0.0, 0.0, 0.0, 2.0, 2.0, INF, INF, -INF, INF, -INF, 1.0, NAN],
        [INF, -INF, NAN, NAN, NAN, NAN, 0.0, 0.0, -1.0, -1.0, NAN, NAN],
        [0] * 12,
        [0] * 12,
    ),
    "remainder": binary(
        "remainder",
        [0.0, INF, 1.0, -1.0, -1.0, 1.0, NAN, 7.0, -7.0, 7.0],
        [0.0, 2.0, INF, -INF, INF, -INF, 1.0, 2.0, 2.0, -2.0],
        [NAN, NAN, 1.0, -1.0, INF, -INF, NAN, 1.0, 1.0, -1.0],
        [1] * 10,
        [NAN, NAN, 0, 0, 1, 1, NAN, -3, 4, 4],
    ),
}
_ROWS = [[1.0, NAN, 3.0], [2.0, 0.0, 1.0]]
AXES: dict[str, Edge] = {
    "std of what is equal": reduced(
        "std", [[2.0, 2.0], [0.0, 4.0]], [0.0, 2.0], [[0, 0], [-0.5, 0.5]], axis=1
    ),
    "norm of 0": reduced(
        "norm", [[0.0, 0.0], [3.0, 4.0]], [0.0, 5.0], [[0, 0], [0.6, 0.8]], "elementwise", axis=1
    ),
    "norm of 1": reduced("norm", [0.0, -2.0, 3.0], 5.0, [0, -1, 1], ord=1),
    "norm that is the largest": reduced("norm", [3.0, -3.0, 1.0], 3.0, [0.5, -0.5, 0], ord=INF),
    "norm that is the smallest": reduced("norm", [3.0, -1.0, 1.0], 1.0, [0, -0.5, 0.5], ord=-INF),
    "norm that counts": reduced("norm", [3.0, 0.0, NAN], 2.0, [0, 0, 0], ord=0),
    "prod with a 0": reduced(
        "prod", [[2.0, 0.0, 3.0], [0.0, 0.0, 5.0]], [0.0, 0.0], [[0, 6, 0], [0, 0, 0]], axis=1
    ),
    "prod with infinity": reduced("prod", [INF, 2.0, 1.0], INF, [2, INF, INF]),
    "cumulative_logsumexp": reduced(
        "cumulative_logsumexp",
        [-INF, -INF, 0.0, -INF],
        [-INF, -INF, 0.0, 0.0],
        [0, 0, 2, 0],
    ),
}
