"""Gradients of functions: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, NoReturn

from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, check_callable, check_flag, type_name
from impl_cupy.engine import Pass, edges_of, seed_of
from impl_cupy.function_node import Alias
from impl_cupy.random import RestoredOnError
from impl_cupy.recording import as_tensor
from impl_cupy.slices import (
    by_slices,
    counted_levels,
    deepest,
    dressed,
    levels_of,
    refuse_value,
    spread,
    stripped,
)
from impl_cupy.tape import Edge, Recording, edge_of, state, vmapped, wrap
from impl_cupy.tensor import Tensor
from impl_cupy.trees import flatten, mapped, rebuilt


def _grad(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    return gradient_of("grad", fn, argnums, create_graph)


@functools.wraps(_grad, assigned=())
def grad(*args: Any, **kwargs: Any) -> Any:
    """Make the function that gives the gradient of `fn`'s scalar result, or give that of Tensors.

    ``grad(fn, argnums=0, create_graph=False)`` is of a function, and ``grad(outputs, inputs,
    grad_outputs=None, *, retain_graph=None, create_graph=False, allow_unused=False)``, where the
    first argument is a Tensor or a list or tuple of them, of a recorded graph.

    Parameters
    ----------
    fn : callable
        From Tensors, or dicts, lists and tuples of them, to a Tensor with one element.
    argnums : int or tuple of int
        Which arguments to differentiate with respect to.
    create_graph : bool
        Whether the gradient can be differentiated; always so inside another transformation of
        functions.
    outputs, inputs : Tensor, or list or tuple of them
        Gradients are those of the sum of the outputs with respect to each of the inputs.
    grad_outputs : Tensor, or list or tuple with one, or None for a scalar, for each output
        What each output is weighted by.
    retain_graph : bool or None
        Whether the graph can be run again; None for what `create_graph` is.
    allow_unused : bool
        Whether the gradient of an input that no output depends on is None; else it is refused.

    Returns
    -------
    callable or tuple
        Of the same arguments, to the gradient in the argument's structure, a tuple of them for
        several `argnums`. Inputs that `fn` does not use get zeros. It raises ValueError if the
        result is no scalar. Of Tensors: one gradient for each input; no `grad` is filled.

    Raises
    ------
    RuntimeError
        If an output or input does not require grad, an input is not used, a gradient does not fit
        its output, or the graph was freed.
    ValueError
        If there are no outputs or inputs, or another number of `grad_outputs`.
    TypeError
        If what must be a Tensor, or be called, is something else.
    """
    if args and isinstance(args[0], (Tensor, list, tuple)):
        return _of_tensors(*args, **kwargs)
    if args and not callable(args[0]):
        msg = (
            "grad: the first argument must be a function, a Tensor or a list or tuple of them, "
            f"got {type_name(args[0])}"
        )
        raise TypeError(msg)
    return _grad(*args, **kwargs)


def _of_tensors(
    outputs: Any,
    inputs: Any = None,
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    create_graph = check_flag("grad", "create_graph", create_graph)
    allow_unused = check_flag("grad", "allow_unused", allow_unused)
    retain = create_graph
    if retain_graph is not None:
        retain = check_flag("grad", "retain_graph", retain_graph) or create_graph
    if vmapped and deepest(outputs, inputs, grad_outputs):
        refuse_value("grad")
    starts = edges_of("grad", "outputs", "output", outputs)
    targets = edges_of("grad", "inputs", "input", inputs)
    values = [outputs] if isinstance(outputs, Tensor) else outputs
    given = grad_outputs if isinstance(grad_outputs, (list, tuple)) else [grad_outputs]
    if grad_outputs is None:
        given = [None] * len(values)
    if len(given) != len(values):
        msg = f"grad: there are {len(values)} outputs, got {len(given)} grad_outputs"
        raise ValueError(msg)
    seeds = [seed_of("grad", v._data, own) for v, own in zip(values, given, strict=True)]
    roots: list[tuple[Edge, Any]] = [
        (edge, seed if create_graph else seed._data)
        for edge, seed in zip(starts, seeds, strict=True)
    ]
    found = Pass(recorded=create_graph, retain=retain).named(
        "grad", roots, targets, allow_unused=allow_unused
    )
    sources = [inputs] if isinstance(inputs, Tensor) else inputs
    return tuple(
        [
            _finished(own, source, create_graph) if is_reached else None
            for (is_reached, own), source in zip(found, sources, strict=True)
        ]
    )


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


def gradient_of(
    name: str, fn: Callable[..., Any], argnums: int | tuple[int, ...], create_graph: bool
) -> Callable[..., Any]:
    """Make what `grad` makes; its errors name the operation `name`."""
    both = _both(name, fn, argnums, False, create_graph)

    @functools.wraps(fn)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


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
        recorded = is_recorded(name, create_graph)
        followed, arguments = follow(name, args, positions)
        with transforming():
            result = fn(*arguments, **kwargs)
        value, aux = result if has_aux else (result, None)
        check_scalar(name, value)
        ones = wrap(cp.ones(value.shape, dtype=value.dtype))
        gradients = pull_back([value], [ones], chain(*followed), recorded, retain=recorded)
        grads = in_place_of([args[position] for position in positions], followed, gradients)
        shown = (value, aux) if has_aux else value
        if not recorded:
            shown = mapped(Tensor.detach, shown)
        return shown, (grads if isinstance(argnums, tuple) else grads[0])

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
    recorded = is_recorded("vjp", create_graph)
    followed, arguments = follow("vjp", primals, range(len(primals)))
    with transforming():
        output = fn(*arguments)
    results = results_of("vjp", output)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cotangents = list(beside("vjp", "a cotangent", output, cotangent))
        _check_cotangents(results, cotangents)
        gradients = pull_back(results, cotangents, chain(*followed), recorded, retain=True)
        return in_place_of(primals, followed, gradients)

    return (output if recorded else mapped(Tensor.detach, output)), pull


def is_recorded(name: str, create_graph: bool) -> bool:
    """Tell whether a transformation's results can be differentiated (autograd-17)."""
    return check_flag(name, "create_graph", create_graph) or state.transformations > 0


@contextmanager
def transforming() -> Iterator[None]:
    """Record, for the function that is transformed, in whatever mode its caller is."""
    state.transformations += 1
    try:
        with RestoredOnError(), Recording(True):
            yield
    finally:
        state.transformations -= 1


def follow(
    name: str, args: Sequence[Any], positions: Sequence[int]
) -> tuple[list[list[Tensor]], list[Any]]:
    """Put Tensors that nothing else has in the place of some arguments': only they are followed.

    Returns
    -------
    followed : list of list of Tensor
        By position.
    arguments : list
    """
    arguments = list(args)
    followed = []
    for position in positions:
        if not -len(args) <= position < len(args):
            msg = f"{name}: argnums {position} is out of range for {len(args)} arguments"
            raise ValueError(msg)
        leaves = [_followed(name, leaf) for leaf in flatten(args[position])]
        followed.append(leaves)
        arguments[position] = rebuilt(args[position], leaves)
    return followed, arguments


def _followed(name: str, leaf: Any) -> Tensor:
    value = as_tensor(name, leaf) if isinstance(leaf, cp.ndarray) else leaf
    if not isinstance(value, Tensor):
        msg = f"{name}: an argument must hold Tensors only, got {type_name(leaf)}"
        raise TypeError(msg)
    if state.levels:
        # Each slice has a gradient of its own.
        with Recording(True):
            value = spread(value, state.levels)
    return Alias.of(value) if value.requires_grad else wrap(value._data, value.dtype.kind in "fc")


def in_place_of(
    structures: Sequence[Any], followed: Sequence[Sequence[Tensor]], values: Sequence[Any]
) -> tuple[Any, ...]:
    """Put one value in the place of each Tensor that is followed."""
    rest = iter(values)
    return tuple(
        rebuilt(structure, [next(rest) for _ in leaves])
        for structure, leaves in zip(structures, followed, strict=True)
    )


def results_of(name: str, output: Any) -> list[Tensor]:
    """List the Tensors that a function returned, and refuse what is none."""
    results = flatten(output)
    for result in results:
        if not isinstance(result, Tensor):
            msg = f"{name}: the function must return Tensors, got {type_name(result)}"
            raise TypeError(msg)
    return results


def pull_back(
    results: Sequence[Tensor],
    cotangents: Sequence[Any],
    inputs: Iterable[Tensor],
    recorded: bool,
    retain: bool,
) -> list[Tensor]:
    """Pull cotangents of results back to inputs; those of results without history are not read."""
    sources = list(inputs)
    if vmapped and deepest(results, cotangents, sources):
        return _pull_slices(results, cotangents, sources, recorded, retain)
    roots: list[tuple[Edge, Any]] = []
    for result, cotangent in zip(results, cotangents, strict=True):
        edge = edge_of(result)
        if edge is not None:
            roots.append((edge, cotangent if recorded else cotangent._data))
    edges = [edge_of(source) for source in sources]
    targets = [edge for edge in edges if edge is not None]
    grads = iter(Pass(recorded=recorded, retain=retain).gradients(roots, targets))
    # Integers have no edge, and so the gradient zero.
    return [
        _finished(next(grads) if edge is not None else None, source, recorded)
        for edge, source in zip(edges, sources, strict=True)
    ]


def _pull_slices(
    results: Sequence[Tensor],
    cotangents: Sequence[Any],
    sources: list[Tensor],
    recorded: bool,
    retain: bool,
) -> list[Tensor]:
    """Do the same under `vmap`: in one pass, where what is pulled through has the slices too."""
    pairs = [
        (result, cotangent)
        for result, cotangent in zip(results, cotangents, strict=True)
        if edge_of(result) is not None
    ]
    through = (*sources, *(result for result, _ in pairs))
    known = {level for value in through for level in levels_of(value)}
    others = {level for _, cotangent in pairs for level in levels_of(cotangent)} - known
    if others:

        def pull(*given: Any) -> list[Tensor]:
            return pull_back([pair[0] for pair in pairs], given, sources, recorded, True)

        with Recording(recorded):
            made: list[Tensor] = by_slices(pull, tuple(own for _, own in pairs), {}, max(others))
        return made
    with Recording(recorded):
        wide = [
            (stripped(result), stripped(spread(cotangent, counted_levels(result))))
            for result, cotangent in pairs
            if set(levels_of(cotangent)) <= set(levels_of(result))
        ]
    made = pull_back(
        [pair[0] for pair in wide],
        [pair[1] for pair in wide],
        [stripped(source) for source in sources],
        recorded,
        retain,
    )
    return [dressed(grad, levels_of(source)) for grad, source in zip(made, sources, strict=True)]


def _finished(grad: Any, source: Tensor, recorded: bool) -> Tensor:
    if grad is None:
        return wrap(cp.zeros(source.shape, dtype=source.dtype))
    return grad if recorded else wrap(cp.array(grad, copy=True, order="C"))


def check_scalar(name: str, value: Any) -> None:
    """Refuse a result that has no gradient."""
    if not isinstance(value, Tensor):
        msg = f"{name}: the function must return a scalar Tensor, got {type_name(value)}"
        raise TypeError(msg)
    if value.size != 1:
        msg = f"{name}: the function must return a scalar, got shape {value.shape}; sum it, say"
        raise ValueError(msg)
    if value.dtype.kind != "f":
        msg = f"{name}: the function must return a floating scalar, got dtype {value.dtype.name}"
        raise TypeError(msg)


def beside(name: str, what: str, wanted: Any, given: Any) -> Iterator[Any]:
    """Iterate over what stands in a given structure where Tensors stand in the wanted one.

    Parameters
    ----------
    name, what : str
        The operation, and what is given to it: ``"a tangent"``, ``"a cotangent"``.
    """
    if isinstance(wanted, dict):
        if not isinstance(given, dict) or wanted.keys() != given.keys():
            _refuse_structure(name, what, wanted, given)
        for key, part in wanted.items():
            yield from beside(name, what, part, given[key])
    elif isinstance(wanted, (list, tuple)):
        kind = list if isinstance(wanted, list) else tuple
        if not isinstance(given, kind) or len(wanted) != len(given):
            _refuse_structure(name, what, wanted, given)
        for part, own in zip(wanted, given, strict=True):
            yield from beside(name, what, part, own)
    elif isinstance(given, (dict, list, tuple)) or (wanted is None and given is not None):
        _refuse_structure(name, what, wanted, given)
    elif wanted is not None:
        yield given


def _refuse_structure(name: str, what: str, wanted: Any, given: Any) -> NoReturn:
    def described(value: Any) -> str:
        if isinstance(value, dict):
            return f"{type_name(value)} of the keys {[*value]}"
        if isinstance(value, (list, tuple)):
            return f"{type_name(value)} of {len(value)}"
        return type_name(value)

    if not isinstance(given, (dict, list, tuple, Tensor, cp.ndarray)) and given is not None:
        msg = f"{name}: {what} must be a structure of Tensors, got {type_name(given)}"
        raise TypeError(msg)
    msg = f"{name}: {what} must have the structure of {described(wanted)}, got {described(given)}"
    raise ValueError(msg)


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
