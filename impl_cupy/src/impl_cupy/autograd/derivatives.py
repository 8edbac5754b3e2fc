"""Derivatives forward, Jacobians and Hessians.

A pullback is linear in its cotangents, and recorded like anything else. Its own pullback, from the
gradients to the cotangents, pushes tangents forward, through Functions too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from impl_cupy import ops
from impl_cupy.autograd.transforms import (
    beside,
    check_scalar,
    follow,
    gradient_of,
    in_place_of,
    is_recorded,
    pull_back,
    results_of,
    transforming,
)
from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, check_callable, type_name
from impl_cupy.recording import as_tensor, cast
from impl_cupy.slices import full_like
from impl_cupy.tape import Recording, edge_of, wrap
from impl_cupy.tensor import Tensor
from impl_cupy.trees import mapped, rebuilt


def jvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, Any]:
    """Run `fn` and give the derivative of its output in one direction.

    Parameters
    ----------
    fn : callable
        From Tensors (or structures of them) to a Tensor or a structure of them.
    primals : tuple or list
        The arguments.
    tangents : tuple or list
        The direction: like `primals`, with None or anything for integers and booleans.
    create_graph : bool
        Whether the results can be differentiated; always so inside another transformation.

    Returns
    -------
    output, tangent : Tensor or structure of Tensors
        Both of the same structure, shapes and dtypes.
    """
    check_callable("jvp", "fn", fn)
    _check_sequences("jvp", primals, tangents)
    recorded = is_recorded("jvp", create_graph)
    followed, arguments = follow("jvp", primals, range(len(primals)))
    directions = _directions("jvp", primals, followed, tangents, recorded)
    with transforming():
        output = fn(*arguments)
    results = _results("jvp", output)
    weights, pulled = _pulled(results, followed)
    pushed = pull_back(pulled, directions, weights, recorded, retain=True)
    return _shown(output, recorded), rebuilt(output, pushed)


def linearize(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[..., Any]]:
    """Run `fn` and make the function that pushes tangents of its arguments forward.

    Parameters
    ----------
    fn, create_graph
        As for `jvp`.
    *primals : Tensor or structure of Tensors

    Returns
    -------
    output : Tensor or structure of Tensors
    push : callable
        ``push(*tangents)`` gives the output's tangent, as `jvp` does. It can be called several
        times, and does not call `fn`.
    """
    check_callable("linearize", "fn", fn)
    recorded = is_recorded("linearize", create_graph)
    followed, arguments = follow("linearize", primals, range(len(primals)))
    with transforming():
        output = fn(*arguments)
    results = _results("linearize", output)
    weights, pulled = _pulled(results, followed)

    def push(*tangents: Any) -> Any:
        directions = _directions("linearize", primals, followed, tangents, recorded)
        return rebuilt(output, pull_back(pulled, directions, weights, recorded, retain=True))

    return _shown(output, recorded), push


def jacrev(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make the function that gives the Jacobian of `fn`: one pass back for each result's element.

    Parameters
    ----------
    fn : callable
        From Tensors (or structures of them) to a Tensor or a structure of them.
    argnums : int or tuple of int
        Which arguments to differentiate with respect to.
    create_graph : bool
        Whether the Jacobian can be differentiated; always so inside another transformation.

    Returns
    -------
    callable
        Of the same arguments, to `fn`'s result with a structure like the argument (a tuple of them
        for several `argnums`) in each Tensor's place, of the result's shape and the argument's.
    """
    return _jacobian("jacrev", fn, argnums, create_graph, _by_rows)


def jacfwd(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make what `jacrev` makes, with one pass forward for each element of the arguments."""
    return _jacobian("jacfwd", fn, argnums, create_graph, _by_columns)


def jacobian(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make what `jacrev` makes.

    Parameters
    ----------
    fn, argnums, create_graph
        As for `jacrev`.

    Returns
    -------
    callable
    """
    return _jacobian("jacobian (jacrev)", fn, argnums, create_graph, _by_rows)


def hessian(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make the function that gives the second derivatives of `fn`'s scalar result.

    Parameters
    ----------
    fn, argnums, create_graph
        As for `grad`.

    Returns
    -------
    callable
        The `jacobian` of `fn`'s `grad`, by the same arguments.
    """
    gradient = gradient_of("hessian", fn, argnums, create_graph)
    return _jacobian("hessian", gradient, argnums, create_graph, _by_rows)


def hvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, ...]:
    """Give the product of the Hessian of `fn`'s scalar result with tangents of its arguments.

    Parameters
    ----------
    fn, primals, tangents, create_graph
        As for `jvp`.

    Returns
    -------
    tuple
        One structure per primal.
    """
    check_callable("hvp", "fn", fn)
    _check_sequences("hvp", primals, tangents)
    recorded = is_recorded("hvp", create_graph)
    followed, arguments = follow("hvp", primals, range(len(primals)))
    directions = _directions("hvp", primals, followed, tangents, recorded)
    with transforming():
        value = fn(*arguments)
    check_scalar("hvp", value)
    ones = wrap(cp.ones(value.shape, dtype=value.dtype))
    gradients = pull_back([value], [ones], chain(*followed), recorded=True, retain=True)
    # A Hessian is symmetric: pulled back, the tangents give what they give pushed forward.
    products = pull_back(gradients, directions, chain(*followed), recorded, retain=True)
    return in_place_of(primals, followed, products)


def _pulled(
    results: Sequence[Tensor], followed: Sequence[Sequence[Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Pull cotangents of the results back, recorded; return the cotangents and the gradients."""
    weights = [wrap(full_like(r, 0), r.dtype.kind in "fc") for r in results]
    return weights, pull_back(results, weights, chain(*followed), recorded=True, retain=True)


def _jacobian(
    name: str,
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...],
    create_graph: bool,
    table: Callable[..., list[list[Tensor]]],
) -> Callable[..., Any]:
    check_callable(name, "fn", fn)
    positions = as_ints(name, "argnums", argnums)

    @functools.wraps(fn)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        recorded = is_recorded(name, create_graph)
        followed, arguments = follow(name, args, positions)
        with transforming():
            output = fn(*arguments, **kwargs)
        results = _results(name, output)
        for value in chain(results, *followed):
            if value.dtype.kind == "c":
                msg = f"{name}: results and arguments must be real, got dtype {value.dtype.name}"
                raise TypeError(msg)
        with Recording(recorded):
            blocks = table(results, followed, recorded)
        structures = [args[position] for position in positions]
        rows = [in_place_of(structures, followed, row) for row in blocks]
        return rebuilt(output, rows if isinstance(argnums, tuple) else [row[0] for row in rows])

    return jacobian


def _by_rows(
    results: Sequence[Tensor], followed: Sequence[Sequence[Tensor]], recorded: bool
) -> list[list[Tensor]]:
    leaves = list(chain(*followed))
    table = []
    for result in results:
        found = [
            pull_back([result], [one], leaves, recorded, retain=True) for one in _basis(result)
        ]
        columns = zip(*found, strict=True) if found else [()] * len(leaves)
        table.append(
            [_block(result, leaf, rows, axis=0) for leaf, rows in zip(leaves, columns, strict=True)]
        )
    return table


def _by_columns(
    results: Sequence[Tensor], followed: Sequence[Sequence[Tensor]], recorded: bool
) -> list[list[Tensor]]:
    leaves = list(chain(*followed))
    weights, pulled = _pulled(results, followed)
    table: list[list[Tensor]] = [[] for _ in results]
    for leaf, gradient in zip(leaves, pulled, strict=True):
        found = [
            pull_back([gradient], [one], weights, recorded, retain=True) for one in _basis(gradient)
        ]
        rows = zip(*found, strict=True) if found else [()] * len(results)
        for result, columns, blocks in zip(results, rows, table, strict=True):
            blocks.append(_block(result, leaf, columns, axis=-1))
    return table


def _basis(value: Tensor) -> Iterator[Tensor]:
    """Iterate over the unit vectors of a Tensor's space; none if it is a constant."""
    if edge_of(value) is not None:
        shape, dtype = value.shape, value.dtype
        for one in cp.eye(value.size, dtype=dtype):
            yield wrap(one.reshape(shape))


def _block(result: Tensor, leaf: Tensor, parts: Sequence[Tensor], axis: int) -> Tensor:
    """Put the rows or columns of the derivative of a result by a leaf together."""
    shape = (*result.shape, *leaf.shape)
    if not parts:
        return wrap(cp.zeros(shape, dtype=leaf.dtype))
    stacked: Tensor = ops.stack(parts, axis=axis)
    return cast(ops.reshape(stacked, shape), leaf.dtype)


def _results(name: str, output: Any) -> list[Tensor]:
    if output is None:
        msg = f"{name}: the function must return Tensors, got None"
        raise TypeError(msg)
    return results_of(name, output)


def _shown(output: Any, recorded: bool) -> Any:
    return output if recorded else mapped(Tensor.detach, output)


def _check_sequences(name: str, primals: Any, tangents: Any) -> None:
    for argument, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, (tuple, list)):
            msg = f"{name}: {argument} must be a tuple or list, got {type_name(value)}"
            raise TypeError(msg)


def _directions(
    name: str,
    primals: Sequence[Any],
    followed: Sequence[Sequence[Tensor]],
    tangents: Sequence[Any],
    recorded: bool,
) -> list[Tensor | None]:
    """List the tangents of what is followed, in its dtypes; None for integers and booleans."""
    if len(tangents) != len(primals):
        msg = f"{name}: expected {len(primals)} tangents, one per primal, got {len(tangents)}"
        raise ValueError(msg)
    pairs = zip(primals, tangents, strict=True)
    found = [leaf for pair in pairs for leaf in beside(name, "a tangent", *pair)]
    with Recording(recorded):
        return [
            _direction(name, leaf, tangent)
            for leaf, tangent in zip(chain(*followed), found, strict=True)
        ]


def _direction(name: str, leaf: Tensor, tangent: Any) -> Tensor | None:
    floating = leaf.dtype.kind in "fc"
    if tangent is None and not floating:
        return None
    value = as_tensor(name, tangent) if isinstance(tangent, cp.ndarray) else tangent
    if not isinstance(value, Tensor):
        msg = f"{name}: a tangent must be a Tensor, got {type_name(tangent)}"
        raise TypeError(msg)
    if value.shape != leaf.shape:
        msg = f"{name}: a tangent must have its primal's shape {leaf.shape}, got {value.shape}"
        raise ValueError(msg)
    if value.dtype.kind == "c" and leaf.dtype.kind == "f":
        msg = f"{name}: a tangent of {leaf.dtype} must be real, got {value.dtype}"
        raise TypeError(msg)
    return cast(value, leaf.dtype) if floating else None
