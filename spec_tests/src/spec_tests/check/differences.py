"""Gradients against central differences in float64."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spec_tests.support.assertions import agrees, to_numpy

STEP = 6e-6
Pairs = list[tuple[Any, np.ndarray]]


def gradients(
    fn: Callable[..., float], arrays: Sequence[np.ndarray], *, step: float = STEP
) -> list[np.ndarray]:
    """Differentiate a scalar function of NumPy arrays by central differences.

    Parameters
    ----------
    fn : callable
        ``fn(*arrays)`` returns a number.
    arrays : sequence of numpy.ndarray, dtype float64
        Where the derivatives are taken; they are not changed.
    step : float
        The distance ``h`` in ``(f(x + h) - f(x - h)) / (2 h)``.

    Returns
    -------
    list of numpy.ndarray
        One gradient for each array, of its shape.
    """
    points = [np.array(array, dtype=np.float64) for array in arrays]
    slopes = []
    for point in points:
        slope = np.zeros_like(point)
        for index in np.ndindex(*point.shape):
            middle = point[index]
            point[index] = middle + step
            above = fn(*[array.copy() for array in points])
            point[index] = middle - step
            below = fn(*[array.copy() for array in points])
            point[index] = middle
            slope[index] = (above - below) / (2 * step)
        slopes.append(slope)
    return slopes


def check_gradients(
    nn: Any,
    fn: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    *,
    second_order: bool = False,
    seed: int = 0,
    call: str = "",
) -> None:
    """Compare an implementation's gradients with differences, by the class ``difference``.

    Parameters
    ----------
    nn : module
        The implementation.
    fn : callable
        A function of Tensors that returns a Tensor or a tuple of them: your own Function's
        ``apply``, a Module, any expression. It must be smooth near `arrays`.
    arrays : sequence of numpy.ndarray
        The inputs, taken in float64. Every one is differentiated.
    second_order : bool
        Whether gradients of gradients are compared too, and the gradients with ``create_graph``.
    seed : int
        Seed of the random cotangents with which results are summed to a scalar.
    call : str
        What is checked; it stands in the message.

    Raises
    ------
    AssertionError
        That names the order and the input whose gradient is wrong.
    """
    __tracebackhide__ = True
    points = [np.asarray(array, dtype=np.float64) for array in arrays]
    rng = np.random.default_rng(seed)
    outputs = _as_tuple(fn(*[nn.tensor(point) for point in points]))
    cotangents = [_weights(rng, tuple(output.shape)) for output in outputs]

    def scalar(*tensors: Any) -> Any:
        return _weighted_sum(nn, _as_tuple(fn(*tensors)), cotangents)

    orders = {"first": _first(nn, scalar, points)}
    if second_order:
        # Differences of gradients that are recorded do not tell whether these are right themselves.
        everything = tuple(range(len(points)))
        tensors = [nn.tensor(point) for point in points]
        recorded = nn.grad(scalar, argnums=everything, create_graph=True)(*tensors)
        wanted = [want for _, want in orders["first"]]
        orders["recorded first"] = list(zip(recorded, wanted, strict=True))
        orders["second"] = _second(nn, scalar, points, rng)
    for order, pairs in orders.items():
        for position, (got, want) in enumerate(pairs):
            place = f"{call} {order} derivative by input {position}".strip()
            agrees(nn, got, want, "difference", call=place, dtype="float64")


def _first(nn: Any, scalar: Callable[..., Any], points: list[np.ndarray]) -> Pairs:
    """Return the gradients of ``backward``, each with the one that differences give."""
    leaves = [nn.tensor(point, requires_grad=True) for point in points]
    scalar(*leaves).backward()
    got = [
        np.zeros_like(point) if leaf.grad is None else leaf.grad
        for leaf, point in zip(leaves, points, strict=True)
    ]
    return list(zip(got, gradients(_number(nn, scalar), points), strict=True))


def _second(
    nn: Any, scalar: Callable[..., Any], points: list[np.ndarray], rng: np.random.Generator
) -> Pairs:
    """Return the gradients of the gradients' weighted sum, with those that differences give."""
    everything = tuple(range(len(points)))
    directions = [_weights(rng, point.shape) for point in points]

    def slope(*tensors: Any) -> Any:
        first = nn.grad(scalar, argnums=everything, create_graph=True)(*tensors)
        return _weighted_sum(nn, first, directions)

    got = nn.grad(slope, argnums=everything)(*[nn.tensor(point) for point in points])
    return list(zip(got, gradients(_number(nn, slope), points), strict=True))


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    # asarray, as NumPy gives a number for the shape ().
    return np.asarray(rng.uniform(0.5, 1.5, shape), dtype=np.float64)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _weighted_sum(nn: Any, tensors: Sequence[Any], weights: Sequence[np.ndarray]) -> Any:
    terms = [
        nn.ops.sum(tensor * nn.tensor(weight))
        for tensor, weight in zip(tensors, weights, strict=True)
    ]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _number(nn: Any, fn: Callable[..., Any]) -> Callable[..., float]:
    def evaluate(*arrays: np.ndarray) -> float:
        return float(to_numpy(nn, fn(*[nn.tensor(array) for array in arrays])))

    return evaluate
