"""Derivatives forward, and whole matrices of them: `jvp`, `linearize`, Jacobians, Hessians.

All are made of pullbacks and gradients. What pulls cotangents back is linear in them, so its own
pullback pushes tangents forward.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from impl_numpy import ops
from impl_numpy.autograd.transforms import gradient, pullback, selection
from impl_numpy.checks import check_callable, check_flag, check_keeps, check_real, shown
from impl_numpy.dtypes import is_raw
from impl_numpy.tensor import Tensor, as_tensor, wrap
from impl_numpy.trees import tree_aligned, tree_leaves, tree_map, tree_rebuilt, tree_structure

Argnums = int | tuple[int, ...]


def jvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, Any]:
    """Return the result of `fn(*primals)`, and its derivative in the direction of the tangents.

    Parameters
    ----------
    fn : callable
        Takes Tensors, or structures of them, and returns such.
    primals, tangents : tuple or list
        A tangent has the structure and shapes of its primal; None stands for that of integers.
    create_graph : bool
        Make both differentiable. They are so anyway inside another transformation.

    Raises
    ------
    ValueError
        If a tangent has another shape or structure, or there are more or fewer of them.
    TypeError
        If a tangent is neither a Tensor nor a raw array.
    RuntimeError
        If a Function on the way is `once_differentiable`.
    """
    primals = _several("jvp", "primals", primals)
    _directions("jvp", primals, _several("jvp", "tangents", tangents))
    output, push = _linearize("jvp", fn, primals, create_graph)
    return output, push(*tangents)


def linearize(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[..., Any]]:
    """Return the result of `fn(*primals)`, and what pushes tangents of the primals forward.

    Returns
    -------
    output : Tensor or structure of them
    push : callable
        Takes one tangent per primal and gives that of `output`; can be called several times.
    """
    return _linearize("linearize", fn, primals, create_graph)


def jacrev(
    fn: Callable[..., Any], argnums: Argnums = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Return the function that gives the Jacobian of `fn`, row by row, backward from its results.

    Parameters
    ----------
    fn : callable
        Takes Tensors, or structures of them, and returns such.
    argnums : int or tuple of int
        With respect to which positional arguments; a tuple gives a tuple.
    create_graph : bool
        Make the result differentiable. It is so anyway inside another transformation.

    Returns
    -------
    callable
        It gives `fn`'s result with each Tensor replaced by a structure like the argument's, whose
        Tensors have the shape of the result, then that of the argument.
    """
    return _jacobian("jacrev", _rows, fn, argnums, create_graph)


def jacfwd(
    fn: Callable[..., Any], argnums: Argnums = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Do as `jacrev` does, column by column, forward from the arguments."""
    return _jacobian("jacfwd", _columns, fn, argnums, create_graph)


def jacobian(
    fn: Callable[..., Any], argnums: Argnums = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Do what `jacrev` does; messages have both names."""
    return _jacobian("jacobian (jacrev)", _rows, fn, argnums, create_graph)


def hessian(
    fn: Callable[..., Any], argnums: Argnums = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Return the function that gives the second derivatives of `fn`'s scalar result.

    It is `jacobian` of `grad`, by the same arguments, and takes and gives what those do.
    """
    slope = gradient("hessian", fn, argnums, False)
    return _jacobian("hessian", _rows, slope, argnums, create_graph)


def hvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, ...]:
    """Return the Hessian of `fn`'s scalar result times the tangents, one structure per primal.

    Parameters and errors are those of `jvp`.

    Raises
    ------
    ValueError
        Also if the result is no scalar.
    """
    primals = _several("hvp", "primals", primals)
    directions = _directions("hvp", primals, _several("hvp", "tangents", tangents))
    places = tuple(range(len(primals)))
    slope = gradient("hvp", fn, places, False)

    def along(*primals: Any) -> Tensor:
        pairs = zip(tree_leaves(slope(*primals)), directions, strict=True)
        parts = [
            ops.sum(ops.real(g * ops.conj(direction)))
            for g, direction in pairs
            if direction is not None
        ]
        return functools.reduce(operator.add, parts) if parts else wrap(np.zeros(()), None)

    return gradient("hvp", along, places, create_graph)(*primals)


def _linearize(
    operation: str, fn: Callable[..., Any], primals: Sequence[Any], create_graph: bool
) -> tuple[Any, Callable[..., Any]]:
    check_callable(operation, "fn", fn)
    create_graph = check_flag(operation, "create_graph", create_graph)
    output, pull = pullback(operation, fn, primals, create_graph)
    _results(operation, output)
    zeros = tree_map(_zeros, output)
    _, transposed = pullback(operation, pull, (zeros,), create_graph)

    def push(*tangents: Any) -> Any:
        directions = _directions(operation, primals, tangents)
        filled = [
            _zeros(x) if t is None else t
            for x, t in zip(tree_leaves(list(primals)), directions, strict=True)
        ]
        return transposed(tree_rebuilt(tuple(primals), filled))[0]

    return output, push


def _directions(operation: str, primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """Return the tangents' leaves, checked and cast; None stands for that of integers."""
    if len(tangents) != len(primals):
        msg = f"{operation}: got {len(tangents)} tangents for {len(primals)} primals"
        raise ValueError(msg)
    tangents = tree_aligned(tangents, primals)
    if tree_structure(list(tangents)) != tree_structure(list(primals)):
        msg = f"{operation}: the tangents must have the structure of the primals"
        raise ValueError(msg)
    pairs = zip(tree_leaves(list(primals)), tree_leaves(list(tangents)), strict=True)
    return [_direction(operation, x, t) for x, t in pairs]


def _several(operation: str, name: str, value: Any) -> list[Any]:
    if not isinstance(value, (tuple, list)):
        # A Tensor has parts too.
        msg = f"{operation}: {name} must be a tuple or a list, got {shown(value)}"
        raise TypeError(msg)
    return list(value)


def _direction(operation: str, x: Any, tangent: Any) -> Any:
    if x is not None:
        _check(operation, "primal", x)
    if not _is_floating(x):
        return None
    _check(operation, "tangent", tangent)
    if tangent.shape != x.shape:
        msg = f"{operation}: a tangent must have shape {x.shape}, got {tangent.shape}"
        raise ValueError(msg)
    # These refuse other dtypes by this operation's name.
    tangent = as_tensor(operation, tangent)
    check_keeps(operation, tangent.dtype, x.dtype)
    return ops.astype(tangent, x.dtype)


def _check(operation: str, name: str, value: Any) -> None:
    if not isinstance(value, Tensor) and not is_raw(value):
        msg = f"{operation}: a {name} must be a Tensor or a raw array, got {shown(value)}"
        raise TypeError(msg)


def _jacobian(
    operation: str,
    blocks: Callable[..., list[list[Any]]],
    fn: Callable[..., Any],
    argnums: Argnums,
    create_graph: bool,
) -> Callable[..., Any]:
    """Return a function that puts the blocks, one for each result and argument, into structures."""
    check_callable(operation, "fn", fn)
    create_graph = check_flag(operation, "create_graph", create_graph)
    select = selection(operation, argnums)

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        call, chosen = select(fn, args, kwargs)
        # Checked first, and the results where they come: no matrix of real numbers (autograd-49).
        check_real(operation, *[x.dtype for x in tree_leaves(chosen) if hasattr(x, "dtype")])
        output, found = blocks(operation, call, chosen, create_graph)
        single = isinstance(argnums, (int, np.integer))
        parts = [tree_rebuilt(chosen, row) for row in found]
        return tree_rebuilt(output, [part[0] if single else part for part in parts])

    return jacobian


def _rows(operation: str, fn: Any, primals: tuple[Any, ...], create_graph: bool) -> Any:
    output, pull = pullback(operation, fn, primals, create_graph)
    outs, ins = _results(operation, output), tree_leaves(primals)
    check_real(operation, *[out.dtype for out in outs])
    found = []
    for j, out in enumerate(outs):
        rows = [tree_leaves(pull(tree_rebuilt(output, seeds))) for seeds in _units(outs, j)]
        found.append([_block([row[k] for row in rows], out, x, 0) for k, x in enumerate(ins)])
    return output, found


def _columns(operation: str, fn: Any, primals: tuple[Any, ...], create_graph: bool) -> Any:
    output, push = _linearize(operation, fn, primals, create_graph)
    outs, ins = _results(operation, output), tree_leaves(primals)
    check_real(operation, *[out.dtype for out in outs])
    pushed = [
        [tree_leaves(push(*tree_rebuilt(primals, parts))) for parts in _units(ins, k)]
        for k in range(len(ins))
    ]
    found = [
        [_block([part[j] for part in pushed[k]], out, x, -1) for k, x in enumerate(ins)]
        for j, out in enumerate(outs)
    ]
    return output, found


def _results(operation: str, output: Any) -> list[Tensor]:
    outs = tree_leaves(output)
    for out in outs:
        if not isinstance(out, Tensor):
            msg = f"{operation}: the function must return Tensors, returned {type(out).__name__}"
            raise TypeError(msg)
    return outs


def _units(leaves: Sequence[Any], place: int) -> Iterator[list[Any]]:
    """Yield zeros like the leaves with a one in turn at each element of one of them."""
    x = leaves[place]
    if not _is_floating(x):
        return
    for k in range(math.prod(x.shape)):
        unit = np.zeros(math.prod(x.shape), x.dtype)
        unit[k] = 1
        yield [
            wrap(unit.reshape(x.shape), None) if j == place else _zeros(leaf)
            for j, leaf in enumerate(leaves)
        ]


def _block(parts: list[Any], out: Tensor, x: Any, axis: int) -> Any:
    if x is None:
        return None
    shape = (*out.shape, *x.shape)
    if not (parts and _is_floating(out) and _is_floating(x)):
        return wrap(np.zeros(shape, x.dtype), None)
    return ops.reshape(ops.astype(ops.stack(parts, axis=axis), x.dtype), shape)


def _zeros(x: Any) -> Any:
    return None if x is None else wrap(np.zeros(x.shape, x.dtype), None)


def _is_floating(x: Any) -> bool:
    return x is not None and bool(x.dtype.kind in "fc")
