"""What functions of matrices share: checks, operations of several results, solving on the device.

Matrices stand in the last two axes, and the axes before these are a stack of them. CuPy leaves a
matrix that its solvers cannot solve as nonsense and waits for nothing; `solved` and `inverse` are
so too, and gradients use them. Who has to refuse such a matrix (linalg-09) goes through `refusing`,
which costs one look at what the solver reports, and more only where there is something to refuse.

A matrix that holds a NaN or an infinity never reaches a solver of decompositions, some of which
would go on for long: the identity stands in its place, and NaN in that of its results (`guarded`).
Which matrices these are is found and put right on the device, without waiting for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from impl_cupy.backend import cp, cupyx
from impl_cupy.dtypes import parts_of
from impl_cupy.memory import RawArray, note_read, readers
from impl_cupy.recording import OpNode, as_tensor, is_wanted
from impl_cupy.tape import (
    Edges,
    Node,
    Recorded,
    Value,
    at_edge,
    edge_of,
    handles,
    keep,
    observe,
    watched,
    wrap,
)


def as_matrix(name: str, value: Any, *, square: bool = False) -> Any:
    """Return a stack of floating or complex matrices as a Tensor.

    Raises
    ------
    TypeError
        If it is no array, or of integers or booleans (linalg-04).
    ValueError
        That names the shape, if there are fewer than two axes or the last two differ (linalg-06).
    """
    made = as_tensor(name, value)
    check_kind(name, made)
    check_matrix(name, made, square=square)
    return made


def check_kind(name: str, value: Any) -> None:
    """Refuse what is neither floating nor complex.

    Raises
    ------
    TypeError
        That names the dtype.
    """
    if value.dtype.kind not in "fc":
        msg = (
            f"{name}: matrices must be floating or complex, got dtype {value.dtype.name}; use "
            "astype first"
        )
        raise TypeError(msg)


def check_matrix(name: str, value: Any, *, square: bool = False) -> None:
    """Refuse what has fewer than two axes, or last ones that differ.

    Raises
    ------
    ValueError
        That names the shape.
    """
    shape = value.shape
    if len(shape) < 2:
        msg = f"{name}: a matrix must have at least two axes, got shape {shape}"
        raise ValueError(msg)
    if square and shape[-1] != shape[-2]:
        msg = f"{name}: matrices must be square, got shape {shape}"
        raise ValueError(msg)


# Of arrays, raw or Tensors.


def adjoint(xp: Any, x: Any) -> Any:
    """Return the conjugate transposes."""
    turned = xp.matrix_transpose(x)
    return xp.conj(turned) if x.dtype.kind == "c" else turned


def symmetrized(xp: Any, x: Any) -> Any:
    """Return the Hermitian parts."""
    return (x + adjoint(xp, x)) * 0.5


def chain(xp: Any, *factors: Any) -> Any:
    """Return the product of matrices, from the left."""
    first, *others = factors
    for other in others:
        first = xp.matmul(first, other)
    return first


def on_diagonal(xp: Any, values: Any) -> Any:
    """Return matrices with these values on their diagonals, and 0 elsewhere."""
    return xp.expand_dims(values, -1) * xp.eye(values.shape[-1], dtype=values.dtype)


def constant(xp: Any, raw: RawArray) -> Any:
    """Return a raw array as what `xp` computes with."""
    return wrap(raw) if xp is handles.namespace else raw


def raw_of(value: Any) -> RawArray:
    """Return the raw array of a Tensor, or a raw array itself."""
    return value._data if isinstance(value, Recorded) else value


def inverse_where(xp: Any, x: Any, allowed: RawArray) -> Any:
    """Return ``1 / x`` where that is allowed, and 0 elsewhere (linalg-16)."""
    mask = constant(xp, allowed)
    inverted = 1 / xp.where(mask, x, xp.ones_like(x))
    return xp.where(mask, inverted, xp.zeros_like(x))


def tolerance(values: RawArray, size: int) -> RawArray:
    """Return up to what difference the eigen- or singular values of matrices are equal.

    Parameters
    ----------
    values : cupy.ndarray, shape (*, K)
    size : int
        The larger one of rows and columns.

    Returns
    -------
    cupy.ndarray, shape (*, 1)
    """
    eps = float(np.finfo(parts_of(values.dtype)).eps)
    return cp.max(cp.abs(values), axis=-1, keepdims=True) * (8 * size * eps)


def apart(xp: Any, values: Any, near: RawArray) -> Any:
    """Return ``1 / (w_j - w_i)``, 0 for what counts as equal; `values` is real or complex."""
    differences = xp.expand_dims(values, -2) - xp.expand_dims(values, -1)
    allowed = cp.logical_not(cp.abs(raw_of(differences)) <= near[..., None])
    return inverse_where(xp, differences, allowed)


def solve_either(a: Any, b: Any) -> Any:
    """Solve ``a x = b`` for matrices b without refusing anything, raw or on Tensors."""
    if isinstance(a, Recorded) or isinstance(b, Recorded):
        return handles.solve_unchecked(a, b)
    return solved(a, b)


# Of raw arrays.


def solved(a: RawArray, b: RawArray) -> RawArray:
    """Solve ``a x = b`` for stacks that broadcast."""
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*stack, *b.shape[-2:])
    if 0 in shape:
        return cp.zeros(shape, dtype=b.dtype)
    if a.ndim == 2 and b.ndim > 2:
        # One matrix for many right sides is factored once.
        sides = cp.moveaxis(b, -2, 0)
        found = cp.linalg.solve(a, sides.reshape(a.shape[0], -1))
        return cp.moveaxis(found.reshape(sides.shape), 0, -2)
    left = cp.ascontiguousarray(cp.broadcast_to(a, (*stack, *a.shape[-2:])))
    right = cp.ascontiguousarray(cp.broadcast_to(b, shape))
    return cp.linalg.solve(left, right)


def inverse(a: RawArray) -> RawArray:
    """Return inverses."""
    return cp.linalg.inv(a) if a.size else a.copy()


def finite_ones(raw: RawArray, lower: bool) -> RawArray:
    """Tell which matrices hold neither NaN nor infinity, with two axes of length 1.

    Of `lower` ones the lower triangle alone is asked about.
    """
    finite = cp.isfinite(raw)
    if lower:
        finite = cp.logical_or(finite, cp.logical_not(cp.tri(raw.shape[-1], dtype=bool)))
    return cp.all(finite, axis=(-2, -1), keepdims=True)


def guarded(
    function: Callable[[RawArray], Sequence[RawArray]],
    raw: RawArray,
    vectors: Sequence[int] = (),
    *,
    lower: bool = False,
) -> tuple[RawArray, ...]:
    """Apply a decomposition, with NaN for the matrices that are not finite.

    Parameters
    ----------
    function : callable
        From the matrices to its results.
    raw : cupy.ndarray
    vectors : sequence of int
        The places of results that have one axis for each matrix, not two.
    lower : bool
        Whether the function reads the lower triangle alone.
    """
    finite = finite_ones(raw, lower)
    safe = cp.where(finite, raw, cp.eye(*raw.shape[-2:], dtype=raw.dtype))
    results = function(safe)
    return tuple(
        cp.where(finite[..., 0] if place in vectors else finite, part, _nan(part))
        for place, part in enumerate(results)
    )


def _nan(like: RawArray) -> RawArray:
    return cp.full((), math.nan, dtype=like.dtype)


def refusing(
    name: str,
    said: str,
    function: Callable[[], RawArray],
    matrices: RawArray,
    one: Callable[[RawArray], RawArray],
) -> RawArray:
    """Apply a solver; refuse the first matrix that it cannot solve (linalg-09).

    Parameters
    ----------
    name, said : str
        What the error names: the operation, and what is wrong with the matrix.
    function : callable
        Solves for all.
    matrices : cupy.ndarray
        Which it solves for.
    one : callable
        Solves for one of them.

    Raises
    ------
    ValueError
        That gives the index of the first such matrix of a stack.
    """
    try:
        with cupyx.errstate(linalg="raise"):
            return function()
    except np.linalg.LinAlgError:
        pass
    stack = matrices.shape[:-2]
    for index in np.ndindex(*stack):
        try:
            with cupyx.errstate(linalg="raise"):
                one(matrices[index])
        except np.linalg.LinAlgError:
            _refuse(name, said, f"the matrix at {index}" if stack else "the matrix")
    # Solvers of stacks and of one matrix may round a pivot differently.
    _refuse(name, said, f"one of the matrices of shape {matrices.shape}")


def _refuse(name: str, said: str, which: str) -> NoReturn:
    msg = f"{name}: {which} is {said}"
    raise ValueError(msg) from None


def phase(x: RawArray) -> RawArray:
    """Return ``x / abs(x)``, and 1 for 0."""
    size = cp.abs(x)
    return cp.where(size == 0, cp.ones_like(x), x / cp.where(size == 0, cp.ones_like(size), size))


def phases_of(vectors: RawArray) -> RawArray:
    """Return the phase of the first component of largest magnitude of each column, as a row."""
    if not vectors.size:
        return cp.ones((*vectors.shape[:-2], 1, vectors.shape[-1]), dtype=vectors.dtype)
    place = cp.argmax(cp.abs(vectors), axis=-2, keepdims=True)
    return phase(cp.take_along_axis(vectors, place, axis=-2))


def lower_ones(raw: RawArray) -> RawArray:
    """Return Hermitian matrices with the lower triangles, and the real diagonals, of these."""
    below = cp.tril(raw, -1)
    on_it = cp.eye(raw.shape[-1], dtype=bool)
    return below + adjoint(cp, below) + cp.where(on_it, raw.real, cp.zeros_like(raw.real))


class Known:
    """A function whose result has been computed already, which is no constant of its own."""

    __slots__ = ("_made",)

    def __init__(self, made: RawArray) -> None:
        self._made = made

    def __call__(self, *_: Any) -> RawArray:
        """Return the result."""
        return self._made


# Operations of several results.


class SeveralNode(OpNode):
    """One recorded operation of one operand with several outputs.

    Attributes
    ----------
    rule : callable
        ``rule(node, grads)`` gives the gradient; a gradient that did not arrive is None.
    output : tuple of raw arrays
        The results, which every rule uses.
    outputs : int
        How many there are.
    """

    __slots__ = ("outputs",)

    def __init__(
        self,
        name: str,
        edges: Edges,
        rule: Callable[[Any, Sequence[Any]], Any],
        inputs: tuple[RawArray | None],
        results: tuple[RawArray, ...],
        config: Any,
    ) -> None:
        self.outputs = len(results)
        super().__init__(name, edges, rule, inputs, results, config)

    @property
    def results(self) -> tuple[RawArray, ...]:
        """The results."""
        return self.output

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Apply the rule to raw arrays."""
        del retain
        return (self.rule(self, grads),)

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Apply the rule to Tensors."""
        return (self.rule(SeveralView(self, self), grads),)

    def release(self) -> None:
        """Let go of the saved arrays and of the nodes behind."""
        super().release()
        self.inputs, self.output = (None,), ()


class SeveralView:
    """What a rule sees of a `SeveralNode` when the way back is recorded.

    Parameters
    ----------
    node : SeveralNode
        With the arrays.
    maker : Node
        Whose results they are in the graph.
    """

    __slots__ = ("config", "results", "x", "xp")

    def __init__(self, node: SeveralNode, maker: Node) -> None:
        self.xp = handles.namespace
        self.config = node.config
        (edge,) = node.edges or (None,)
        self.x = None if node.x is None or edge is None else at_edge(node.x, edge)
        self.results = tuple(at_edge(raw, (maker, n)) for n, raw in enumerate(node.results))


def record_several(
    name: str,
    function: Callable[[RawArray], Sequence[RawArray]],
    rule: Callable[[Any, Sequence[Any]], Any],
    operand: Any,
    *,
    keep_input: bool = False,
    config: Any = None,
) -> tuple[Any, ...]:
    """Compute an operation of several results, and put it on the tape where that is wanted.

    Parameters
    ----------
    name, config
        As of `recording.record`.
    function : callable
        From the raw operand to the raw results.
    rule : callable
        ``rule(node, grads)`` gives the gradient of the operand.
    operand : Tensor
    keep_input : bool
        Whether the rule uses the operand.

    Returns
    -------
    tuple of Tensor
    """
    raw = operand._data
    results = tuple(function(raw))
    if readers:
        note_read((raw,), results)
    if watched:
        observe(name, function, (raw,), results)
    if not is_wanted((operand,)):
        return tuple(wrap(part) for part in results)
    kept = keep(operand) if keep_input else None
    node = SeveralNode(name, (edge_of(operand),), rule, (kept,), results, config)
    return tuple(at_edge(part, (node, place)) for place, part in enumerate(results))
