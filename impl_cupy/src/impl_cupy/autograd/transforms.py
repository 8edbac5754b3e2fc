"""Gradients of functions: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, check_callable, type_name
from impl_cupy.engine import Pass
from impl_cupy.function_node import Alias
from impl_cupy.random import RestoredOnError
from impl_cupy.recording import as_tensor
from impl_cupy.tape import Edge, Recording, edge_of, state, wrap
from impl_cupy.tensor import Tensor
from impl_cupy.trees import flatten, mapped, rebuilt


def grad(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make the function that gives the gradient of `fn`'s scalar result.

    Parameters
    ----------
    fn : callable
        From Tensors, or dicts, lists and tuples of them, to a Tensor with one element.
    argnums : int or tuple of int
        Which arguments to differentiate with respect to.
    create_graph : bool
        Whether the gradient can be differentiated; always so inside another transformation.

    Returns
    -------
    callable
        Of the same arguments, to the gradient in the argument's structure, a tuple of them for
        several `argnums`. Inputs that `fn` does not use get zeros. It raises ValueError if the
        result is no scalar.
    """
    both = _both("grad", fn, argnums, False, create_graph)

    @functools.wraps(fn)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Make the function that gives `fn`'s scalar result and its gradient.

    Parameters
    ----------
    fn, argnums, create_graph
        As for `grad`.
    has_aux : bool
        Whether `fn` returns ``(value, aux)``; the result is ``((value, aux), gradient)`` then.

    Returns
    -------
    callable
        To ``(value, gradient)``. The value is detached unless a graph was asked for.
    """
    return _both("value_and_grad", fn, argnums, has_aux, create_graph)


def _both(
    name: str,
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...],
    has_aux: bool,
    create_graph: bool,
) -> Callable[..., Any]:
    check_callable(name, "fn", fn)
    positions = as_ints(name, "argnums", argnums)

    @functools.wraps(fn)
    def both(*args: Any, **kwargs: Any) -> Any:
        recorded = create_graph or state.transformations > 0
        args_list = list(args)
        followed: list[list[Tensor]] = []
        for position in positions:
            if not -len(args) <= position < len(args):
                msg = f"{name}: argnums {position} is out of range for {len(args)} arguments"
                raise ValueError(msg)
            leaves, shell = _follow(name, args[position])
            followed.append(leaves)
            args_list[position] = rebuilt(shell, leaves)
        with _transforming():
            result = fn(*args_list, **kwargs)
        value, aux = result if has_aux else (result, None)
        _check_scalar(name, value)
        ones = wrap(cp.ones(value.shape, dtype=value.dtype))
        flat = [leaf for leaves in followed for leaf in leaves]
        gradients = iter(_pull([value], [ones], flat, recorded, retain=recorded))
        grads = []
        for position, leaves in zip(positions, followed, strict=True):
            grads.append(rebuilt(args[position], [next(gradients) for _ in leaves]))
        shown = (value, aux) if has_aux else value
        if not recorded:
            shown = mapped(Tensor.detach, shown)
        return shown, (tuple(grads) if isinstance(argnums, tuple) else grads[0])

    return both


def vjp(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Run `fn` and make the function that pulls a cotangent of its output back.

    Parameters
    ----------
    fn : callable
        From Tensors (or structures of them) to a Tensor or a structure of them.
    *primals : Tensor or structure of Tensors
    create_graph : bool
        Whether the results can be differentiated; always so inside another transformation.

    Returns
    -------
    output : Tensor or structure of Tensors
    pull : callable
        ``pull(cotangent)``, of the output's structure, gives a tuple with one gradient per primal.
        It can be called several times.
    """
    check_callable("vjp", "fn", fn)
    recorded = create_graph or state.transformations > 0
    pairs = [_follow("vjp", primal) for primal in primals]
    with _transforming():
        output = fn(*(rebuilt(shell, leaves) for leaves, shell in pairs))
    results = flatten(output)
    for result in results:
        if not isinstance(result, Tensor):
            msg = f"vjp: the function must return Tensors, got {type_name(result)}"
            raise TypeError(msg)
    flat = [leaf for leaves, _ in pairs for leaf in leaves]

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cotangents = flatten(cotangent)
        _check_cotangents(results, cotangents)
        gradients = iter(_pull(results, cotangents, flat, recorded, retain=True))
        return tuple(rebuilt(shell, [next(gradients) for _ in leaves]) for leaves, shell in pairs)

    return (output if recorded else mapped(Tensor.detach, output)), pull


@contextmanager
def _transforming() -> Iterator[None]:
    state.transformations += 1
    try:
        with RestoredOnError(), Recording(True):
            yield
    finally:
        state.transformations -= 1


def _follow(name: str, argument: Any) -> tuple[list[Tensor], Any]:
    """Give Tensors of an argument's values that nothing else has: only they are followed."""
    leaves = []
    for leaf in flatten(argument):
        value = as_tensor(name, leaf) if isinstance(leaf, cp.ndarray) else leaf
        if not isinstance(value, Tensor):
            msg = f"{name}: an argument must hold Tensors only, got {type_name(leaf)}"
            raise TypeError(msg)
        floating = value.dtype.kind == "f"
        leaves.append(Alias.of(value) if value.requires_grad else wrap(value._data, floating))
    return leaves, argument


def _pull(
    results: Sequence[Tensor],
    cotangents: Sequence[Tensor],
    inputs: Sequence[Tensor],
    recorded: bool,
    retain: bool,
) -> list[Tensor]:
    roots: list[tuple[Edge, Any]] = []
    for result, cotangent in zip(results, cotangents, strict=True):
        edge = edge_of(result)
        if edge is not None:
            roots.append((edge, cotangent if recorded else cotangent._data))
    edges = [edge_of(source) for source in inputs]
    targets = [edge for edge in edges if edge is not None]
    grads = iter(Pass(recorded=recorded, retain=retain).gradients(roots, targets))
    # Integers have no edge, and so the gradient zero.
    return [
        _finished(next(grads) if edge is not None else None, source, recorded)
        for edge, source in zip(edges, inputs, strict=True)
    ]


def _finished(grad: Any, source: Tensor, recorded: bool) -> Tensor:
    if grad is None:
        return wrap(cp.zeros(source.shape, dtype=source.dtype))
    return grad if recorded else wrap(cp.array(grad, copy=True, order="C"))


def _check_scalar(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        msg = f"{name}: the function must return a scalar Tensor, got {type_name(value)}"
        raise TypeError(msg)
    if value.size != 1:
        msg = f"{name}: the function must return a scalar, got shape {value.shape}; sum it, say"
        raise ValueError(msg)
    if value.dtype.kind != "f":
        msg = f"{name}: the function must return a floating scalar, got dtype {value.dtype.name}"
        raise TypeError(msg)


def _check_cotangents(results: Sequence[Tensor], cotangents: Sequence[Any]) -> None:
    if len(cotangents) != len(results):
        msg = (
            f"vjp: the cotangent must hold {len(results)} Tensors like the output, "
            f"got {len(cotangents)}"
        )
        raise ValueError(msg)
    for own, result in zip(cotangents, results, strict=True):
        if not isinstance(own, Tensor):
            msg = f"vjp: a cotangent must be a Tensor, got {type_name(own)}"
            raise TypeError(msg)
        if own.shape != result.shape:
            msg = f"vjp: the cotangent must have the output's shape {result.shape}, got {own.shape}"
            raise ValueError(msg)
        if own.dtype != result.dtype:
            msg = f"vjp: the cotangent must have dtype {result.dtype.name}, got {own.dtype.name}"
            raise TypeError(msg)
