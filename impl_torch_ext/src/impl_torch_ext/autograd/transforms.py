"""Derivatives of Python functions."""

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, overload

import torch
from torch import Tensor

from impl_torch_ext.autograd.graph import depends_on
from impl_torch_ext.autograd.levels import Levels, levels, lowered, raised, tracked
from impl_torch_ext.autograd.modes import entered
from impl_torch_ext.checks import check_flag, check_function, check_int, check_tensor, shown
from impl_torch_ext.dtypes import is_inexact
from impl_torch_ext.trees import aligned, detach, tree_flatten, tree_map, tree_unflatten

__all__ = [
    "Arguments",
    "check_real",
    "check_scalar",
    "followed",
    "grad",
    "gradients",
    "pull_back",
    "track",
    "transformation",
    "value_and_grad",
    "vjp",
]


@overload
def grad(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]: ...


@overload
def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]: ...


def grad(*args: Any, **options: Any) -> Any:
    """Return a function that computes the gradient of `fn`'s scalar result, or gradients.

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

    Notes
    -----
    `grad(outputs, inputs, grad_outputs=None, *, retain_graph=None, create_graph=False,
    allow_unused=False)`, where the first argument is a Tensor or a list or tuple of them, returns
    a tuple: the gradient of the sum of the outputs, each weighted by its `grad_outputs`, with
    respect to each input, of its shape and dtype. No `grad` is filled. `retain_graph` is by default
    what `create_graph` is. An input that no output depends on raises a RuntimeError, or with
    `allow_unused` has None. An output or input that does not require grad raises a RuntimeError,
    none of them, or another number of `grad_outputs`, a ValueError.
    """
    if args and isinstance(args[0], Tensor | list | tuple):
        return _grad_of_tensors(*args, **options)  # autograd-41
    return _grad_of_function(*args, **options)


def _grad_of_function(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    both = _with_gradient("grad", fn, argnums, create_graph=create_graph)

    @functools.wraps(fn)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def _grad_of_tensors(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    outputs, inputs = _listed("output", outputs), _listed("input", inputs)
    create_graph = check_flag("grad", "create_graph", create_graph)
    allow_unused = check_flag("grad", "allow_unused", allow_unused)
    if retain_graph is not None:
        retain_graph = check_flag("grad", "retain_graph", retain_graph)
    found = torch.autograd.grad(
        outputs,
        inputs,
        _weights(outputs, grad_outputs),
        retain_graph=create_graph if retain_graph is None else retain_graph,
        create_graph=create_graph,
        allow_unused=True,
    )
    if allow_unused:
        return found
    return tuple(
        _reached(i, x, outputs) if g is None else g
        for i, (x, g) in enumerate(zip(inputs, found, strict=True))
    )


def _reached(place: int, x: Tensor, outputs: list[Tensor]) -> Tensor:
    """Return zeros for an input that a Function gave no gradient; raise if none depends on it."""
    if depends_on(outputs, x):
        return torch.zeros_like(x)
    msg = (
        f"grad: no output depends on input {place} of shape {tuple(x.shape)}; allow_unused=True "
        "gives None for its gradient"
    )
    raise RuntimeError(msg)


def _listed(what: str, tensors: Any) -> list[Tensor]:
    """Return one or several Tensors that require grad as a list."""
    items = [tensors] if isinstance(tensors, Tensor) else tensors
    if not isinstance(items, list | tuple):
        msg = (
            f"grad: the {what}s must be a Tensor or a list or tuple of them, got "
            f"{type(tensors).__name__}"
        )
        raise TypeError(msg)
    if not items:
        msg = f"grad: there must be an {what}, got none"
        raise ValueError(msg)
    for i, x in enumerate(items):
        check_tensor("grad", x, f"{what} {i}")
    for i, x in enumerate(items):
        if not x.requires_grad:
            msg = f"grad: {what} {i} of shape {tuple(x.shape)} does not require grad"
            raise RuntimeError(msg)
    return [*items]


def _weights(outputs: list[Tensor], given: Any) -> list[Tensor | None]:
    """Return a weight for each output, None for a scalar's 1."""
    weights = (
        [None] * len(outputs)
        if given is None
        else [*given]
        if isinstance(given, list | tuple)
        else [given]
    )
    if len(weights) != len(outputs):
        count = len(outputs)
        msg = f"grad: there must be as many grad_outputs as outputs, {count}, got {len(weights)}"
        raise ValueError(msg)
    for i, (y, g) in enumerate(zip(outputs, weights, strict=True)):
        if g is None:
            if y.numel() != 1 or y.is_complex():
                wanted = f"dtype {y.dtype}" if y.numel() == 1 else f"shape {tuple(y.shape)}"
                msg = (
                    "grad: a gradient is implicit for a real scalar alone, got none for output "
                    f"{i} of {wanted}"
                )
                raise RuntimeError(msg)
            continue
        check_tensor("grad", g, f"grad_outputs {i}")
        if g.shape != y.shape:
            msg = f"grad: grad_outputs {i} must have shape {tuple(y.shape)}, got {tuple(g.shape)}"
            raise RuntimeError(msg)
        if g.is_complex() and not y.is_complex():
            msg = f"grad: grad_outputs {i} must have dtype {y.dtype}, got {g.dtype}"
            raise TypeError(msg)
    return weights


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
    arguments = Arguments(caller, fn, argnums)
    has_aux = check_flag(caller, "has_aux", has_aux)
    create_graph = check_flag(caller, "create_graph", create_graph)

    @functools.wraps(fn)
    def both(*args: Any, **kwargs: Any) -> Any:
        with transformation(create_graph) as recorded:
            replaced, leaves, structure = arguments.track(args, recorded)
            result = fn(*replaced, **kwargs)
            value, aux = _pair(caller, arguments.name, result) if has_aux else (result, None)
            check_scalar("grad", arguments.name, value)
            check_real(caller, "result", value)
            gradient = tree_unflatten(
                pull_back([value], [None], leaves, recorded, retain=recorded), structure
            )
        if not recorded:
            value, aux = detach(value), detach(aux)
        return ((value, aux) if has_aux else value), gradient

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
    with transformation(check_flag("vjp", "create_graph", create_graph)) as recorded:
        arguments = [track(primal, recorded) for primal in primals]
        leaves, primal_structure = tree_flatten(arguments)
        output, at = fn(*arguments), levels()
    outputs, structure = tree_flatten(output)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        seeds, seed_structure = tree_flatten(aligned(cotangent, output))
        if seed_structure != structure:
            msg = (
                f"vjp: the cotangent must have the structure of the output, {shown(structure)}, "
                f"got {shown(seed_structure)}"
            )
            raise ValueError(msg)
        for y, seed in zip(outputs, seeds, strict=True):
            _check_cotangent(y, seed)
        with torch.enable_grad():
            found = pull_back(outputs, seeds, leaves, recorded, True, at)
        return tuple(tree_unflatten(found, primal_structure))

    return (output if recorded else detach(output)), pull


class _State(threading.local):
    depth = 0


_state = _State()


def transformation(create_graph: bool) -> AbstractContextManager[bool]:
    """Enter a transformation, recording; give whether its results keep their history."""
    return entered(partial(_deeper, create_graph))


@contextmanager
def _deeper(create_graph: bool) -> Iterator[bool]:
    recorded = create_graph or _state.depth > 0
    _state.depth += 1
    try:
        with torch.enable_grad():
            yield recorded
    finally:
        _state.depth -= 1


class Arguments:
    """The arguments of a function with respect to which a transformation differentiates.

    Parameters
    ----------
    caller : str
        The transformation.
    fn : callable
    argnums : int or tuple of int
    """

    def __init__(self, caller: str, fn: Callable[..., Any], argnums: int | tuple[int, ...]) -> None:
        check_function(caller, "fn", fn)
        self.caller = caller
        self.name = getattr(fn, "__name__", type(fn).__name__)
        self._several = isinstance(argnums, tuple | list)
        numbers: Any = argnums if self._several else (argnums,)
        self._places = [check_int(caller, "argnums", i) for i in numbers]

    def track(self, args: tuple[Any, ...], recorded: bool) -> tuple[list[Any], list[Any], Any]:
        """Return all arguments, and the leaves and the structure of those that are tracked."""
        positions = [self._position(args, i) for i in self._places]
        replaced = tuple(track(args[i], recorded) for i in positions)
        # Before the call, which may add to the dicts that it gets.
        leaves, structure = tree_flatten(replaced if self._several else replaced[0])
        arguments = list(args)
        for i, replacement in zip(positions, replaced, strict=True):
            arguments[i] = replacement
        return arguments, leaves, structure

    def _position(self, args: tuple[Any, ...], i: int) -> int:
        if not -len(args) <= i < len(args):
            msg = (
                f"{self.caller}: argnums {i} is out of range, {self.name} was called with "
                f"{len(args)} positional arguments"
            )
            raise ValueError(msg)
        return i % len(args)


def track(argument: Any, recorded: bool) -> Any:
    """Replace each Tensor that has gradients by another, so that closures over it stay constant."""
    at = levels()

    def leaf(x: Any) -> Any:
        if not isinstance(x, Tensor) or not is_inexact(x.dtype):
            return x
        whole = lowered(x, at)
        # An alias keeps the way to the caller's Tensor, for derivatives of the result.
        alias = recorded and whole.requires_grad
        return raised(whole.view_as(whole) if alias else tracked(whole.detach()), at)

    return tree_map(leaf, argument)


def followed(y: Any) -> bool:
    """Return whether derivatives of `y` can be taken."""
    return isinstance(y, Tensor) and lowered(y, levels()).requires_grad


def pull_back(
    outputs: Sequence[Any],
    seeds: Sequence[Any],
    leaves: Sequence[Any],
    recorded: bool,
    retain: bool,
    at: Levels | None = None,
) -> list[Any]:
    """Return the gradient at each leaf, zeros where nothing reaches it."""
    found = gradients(outputs, seeds, leaves, recorded, retain, at)
    return [
        x if not isinstance(x, Tensor) else torch.zeros_like(x) if g is None else g
        for x, g in zip(leaves, found, strict=True)
    ]


def gradients(
    outputs: Sequence[Any],
    seeds: Sequence[Any],
    leaves: Sequence[Any],
    recorded: bool,
    retain: bool,
    at: Levels | None = None,
) -> list[Tensor | None]:
    """Return the gradient at each leaf, None where nothing reaches it.

    `at` are the levels of `vmap` at which the leaves are tracked, if they are not those of now.
    """
    at = levels() if at is None else at
    pairs = [
        (
            whole,
            None if g is None and not at else lowered(torch.ones_like(y) if g is None else g, at),
        )
        for y, g in zip(outputs, seeds, strict=True)
        if isinstance(y, Tensor) and (whole := lowered(y, at)).requires_grad
    ]
    wholes = [lowered(x, at) if isinstance(x, Tensor) else None for x in leaves]
    wanted = [x for x in wholes if x is not None and x.requires_grad]
    if not pairs or not wanted:
        return [None] * len(leaves)
    found = torch.autograd.grad(
        [y for y, _ in pairs],
        wanted,
        [g for _, g in pairs],
        retain_graph=retain,
        create_graph=recorded,
        allow_unused=True,
    )
    reached = {id(x): g for x, g in zip(wanted, found, strict=True) if g is not None}
    every = [None if x is None else reached.get(id(x)) for x in wholes]
    return [None if g is None else raised(g, at) for g in every]


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
    if seed is None and followed(y) and y.numel() != 1:
        msg = f"vjp: the cotangent must have shape {tuple(y.shape)}, got None"
        raise ValueError(msg)
    if seed is not None and y.shape != seed.shape:
        msg = f"vjp: the cotangent must have shape {tuple(y.shape)}, got {tuple(seed.shape)}"
        raise ValueError(msg)
    if seed is not None and seed.is_complex() and not y.is_complex():
        msg = f"vjp: the cotangent must have dtype {y.dtype}, got {seed.dtype}"
        raise TypeError(msg)


def check_real(caller: str, what: str, *values: Any) -> None:
    """Raise a TypeError if one of the values is a complex Tensor."""
    for value in values:
        if isinstance(value, Tensor) and value.is_complex():  # autograd-49
            msg = f"{caller}: each {what} must be real, got dtype {value.dtype}; take real and imag"
            raise TypeError(msg)


def check_scalar(caller: str, name: str, value: Any) -> None:
    """Raise if what the function `name` returned is no Tensor with one element."""
    if not isinstance(value, Tensor):
        msg = f"{caller}: {name} must return a scalar Tensor, got {type(value).__name__}"
        raise TypeError(msg)
    if value.numel() != 1:  # autograd-14
        msg = f"{caller}: {name} must return a scalar, got shape {tuple(value.shape)}"
        raise ValueError(msg)
