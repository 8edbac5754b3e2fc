"""Derivatives of Python functions."""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_flag, check_function, check_int, shown
from impl_torch_ext.trees import detach, tree_flatten, tree_map, tree_unflatten

__all__ = ["grad", "value_and_grad", "vjp"]


def grad(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the gradient of `fn`'s scalar result.

    Parameters
    ----------
    fn : callable
        Takes Tensors, or nested dicts, lists and tuples of them.
    argnums : int or tuple of int
        The arguments to differentiate with respect to.
    create_graph : bool
        Whether the gradient can be differentiated. Inside another transformation it always can.

    Returns
    -------
    callable
        Takes what `fn` takes and returns a gradient of the argument's structure (a tuple of them
        for a tuple), zeros where `fn` does not use an input.
    """
    both = _with_gradient("grad", fn, argnums, create_graph=create_graph)

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
    """Return a function that computes `fn`'s result and its gradient.

    Parameters
    ----------
    fn, argnums, create_graph
        As for `grad`.
    has_aux : bool
        Whether `fn` returns `(value, aux)`, of which only `value` is differentiated.

    Returns
    -------
    callable
        Returns `(value, gradient)`, or `((value, aux), gradient)`.
    """
    return _with_gradient("value_and_grad", fn, argnums, has_aux, create_graph)


def _with_gradient(
    caller: str,
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...],
    has_aux: bool = False,
    create_graph: bool = False,
) -> Callable[..., Any]:
    check_function(caller, "fn", fn)
    name = getattr(fn, "__name__", type(fn).__name__)
    several = isinstance(argnums, tuple | list)
    numbers: Any = argnums if several else (argnums,)
    places = [check_int(caller, "argnums", i) for i in numbers]
    has_aux = check_flag(caller, "has_aux", has_aux)
    create_graph = check_flag(caller, "create_graph", create_graph)

    @functools.wraps(fn)
    def both(*args: Any, **kwargs: Any) -> Any:
        with _transformation(create_graph) as recorded:
            positions = [_argument(name, args, i) for i in places]
            tracked = [_track(args[i], recorded) for i in positions]
            # Before the call, which may add to the dicts that it gets.
            leaves, structure = tree_flatten(tracked)
            arguments = list(args)
            for i, replacement in zip(positions, tracked, strict=True):
                arguments[i] = replacement
            result = fn(*arguments, **kwargs)
            value, aux = _pair(caller, name, result) if has_aux else (result, None)
            _check_scalar(name, value)
            gradient = tree_unflatten(
                _pull([value], [None], leaves, recorded, retain=recorded), structure
            )
        if not recorded:
            value, aux = detach(value), detach(aux)
        return ((value, aux) if has_aux else value), (tuple(gradient) if several else gradient[0])

    return both


def vjp(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[[Any], Any]]:
    """Evaluate `fn` and return the map from cotangents of its output to gradients.

    Parameters
    ----------
    fn : callable
    *primals
        Its arguments: Tensors, or structures of them.
    create_graph : bool
        As for `grad`.

    Returns
    -------
    output
        What `fn` returned.
    pull : callable
        Takes a cotangent of the structure of `output` and returns a tuple with one gradient per
        primal. It can be called several times.
    """
    check_function("vjp", "fn", fn)
    with _transformation(check_flag("vjp", "create_graph", create_graph)) as recorded:
        tracked = [_track(primal, recorded) for primal in primals]
        leaves, primal_structure = tree_flatten(tracked)
        output = fn(*tracked)
    outputs, structure = tree_flatten(output)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        seeds, seed_structure = tree_flatten(cotangent)
        if seed_structure != structure:
            msg = (
                f"vjp: the cotangent must have the structure of the output, {shown(structure)}, "
                f"got {shown(seed_structure)}"
            )
            raise ValueError(msg)
        for y, seed in zip(outputs, seeds, strict=True):
            _check_cotangent(y, seed)
        with torch.enable_grad():
            gradients = _pull(outputs, seeds, leaves, recorded, retain=True)
        return tuple(tree_unflatten(gradients, primal_structure))

    return (output if recorded else detach(output)), pull


class _State(threading.local):
    depth = 0


_state = _State()


@contextmanager
def _transformation(create_graph: bool) -> Iterator[bool]:
    """Enter a transformation, recording; yield whether its results keep their history."""
    recorded = create_graph or _state.depth > 0
    _state.depth += 1
    try:
        with torch.enable_grad():
            yield recorded
    finally:
        _state.depth -= 1


def _argument(name: str, args: tuple[Any, ...], i: int) -> int:
    if not -len(args) <= i < len(args):
        msg = (
            f"grad: argnums {i} is out of range, {name} was called with {len(args)} positional "
            "arguments"
        )
        raise ValueError(msg)
    return i % len(args)


def _track(argument: Any, recorded: bool) -> Any:
    """Replace each floating Tensor by another one, so that closures over it stay constants."""

    def leaf(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return x
        # An alias keeps the way to the caller's Tensor, for derivatives of the result.
        return x.view_as(x) if recorded and x.requires_grad else x.detach().requires_grad_()

    return tree_map(leaf, argument)


def _pull(
    outputs: Sequence[Any],
    seeds: Sequence[Any],
    leaves: Sequence[Any],
    recorded: bool,
    retain: bool,
) -> list[Any]:
    """Return the gradient at each leaf, zeros where nothing reaches it."""
    pairs = [
        (y, g)
        for y, g in zip(outputs, seeds, strict=True)
        if isinstance(y, Tensor) and y.requires_grad
    ]
    wanted = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]
    gradients: Sequence[Tensor | None] = [None] * len(wanted)
    if pairs and wanted:
        gradients = torch.autograd.grad(
            [y for y, _ in pairs],
            wanted,
            [g for _, g in pairs],
            retain_graph=retain,
            create_graph=recorded,
            allow_unused=True,
        )
    at = {id(x): g for x, g in zip(wanted, gradients, strict=True)}
    return [
        x
        if not isinstance(x, Tensor)
        else torch.zeros_like(x)
        if (g := at.get(id(x))) is None
        else g
        for x in leaves
    ]


def _pair(caller: str, name: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple | list) or len(result) != 2:
        msg = f"{caller}: with has_aux {name} must return (value, aux), got {shown(result)}"
        raise TypeError(msg)
    return result[0], result[1]


def _check_cotangent(y: Any, seed: Any) -> None:
    if not isinstance(y, Tensor):
        return
    if seed is not None and not isinstance(seed, Tensor):
        msg = f"vjp: the cotangent must hold Tensors, got {type(seed).__name__}"
        raise TypeError(msg)
    if seed is None and y.requires_grad and y.numel() != 1:
        msg = f"vjp: the cotangent must have shape {tuple(y.shape)}, got None"
        raise ValueError(msg)
    if seed is not None and y.shape != seed.shape:
        msg = f"vjp: the cotangent must have shape {tuple(y.shape)}, got {tuple(seed.shape)}"
        raise ValueError(msg)


def _check_scalar(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        msg = f"grad: {name} must return a scalar Tensor, got {type(value).__name__}"
        raise TypeError(msg)
    if value.numel() != 1:  # autograd-14
        msg = f"grad: {name} must return a scalar, got shape {tuple(value.shape)}"
        raise ValueError(msg)
