"""Derivatives forward, Jacobians and Hessians."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.autograd.levels import levels, lowered, raised, tracked
from impl_torch_ext.autograd.transforms import (
    Arguments,
    check_real,
    check_scalar,
    followed,
    gradients,
    pull_back,
    track,
    transformation,
)
from impl_torch_ext.checks import check_flag, check_function, check_tensor, shown
from impl_torch_ext.dtypes import is_inexact
from impl_torch_ext.trees import aligned, detach, tree_flatten, tree_unflatten

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "linearize"]


def jvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, Any]:
    """Evaluate `fn` and its derivative in one direction.

    Parameters
    ----------
    fn : callable
    primals : tuple or list
        Its arguments: Tensors, or structures of them.
    tangents : tuple or list
        The direction: of each primal a Tensor of its shape, or a structure of them.
    create_graph : bool
        Whether the derivative can be differentiated. Inside another transformation it always can.

    Returns
    -------
    output
        What `fn` returned.
    tangent
        The derivative, of the structure of `output`.
    """
    check_function("jvp", "fn", fn)
    _check_several("jvp", primals, tangents)
    with transformation(check_flag("jvp", "create_graph", create_graph)) as recorded:
        leaves, primal_structure = tree_flatten(track(tuple(primals), recorded))
        directions = _directions("jvp", leaves, primal_structure, tuple(tangents), recorded)
        output = fn(*tree_unflatten(leaves, primal_structure))
        outputs, structure = _outputs("jvp", fn, output)
        tangent = _Linear(outputs, leaves).push(directions, recorded, retain=recorded)
    return (output if recorded else detach(output)), tree_unflatten(tangent, structure)


def linearize(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[..., Any]]:
    """Evaluate `fn` and return the map from tangents of its arguments to those of its output.

    Parameters
    ----------
    fn : callable
    *primals
        Its arguments: Tensors, or structures of them.
    create_graph : bool
        As for `jvp`.

    Returns
    -------
    output
        What `fn` returned.
    push : callable
        Takes one tangent per primal and returns the derivative in that direction, of the structure
        of `output`. It can be called several times.
    """
    check_function("linearize", "fn", fn)
    with transformation(check_flag("linearize", "create_graph", create_graph)) as recorded:
        leaves, primal_structure = tree_flatten(track(primals, recorded))
        output = fn(*tree_unflatten(leaves, primal_structure))
        outputs, structure = _outputs("linearize", fn, output)
        linear = _Linear(outputs, leaves)

    def push(*tangents: Any) -> Any:
        _check_number("linearize", len(primals), tangents)
        with torch.enable_grad():
            directions = _directions("linearize", leaves, primal_structure, tangents, recorded)
            return tree_unflatten(linear.push(directions, recorded, retain=True), structure)

    return (output if recorded else detach(output)), push


def jacrev(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian of `fn`, backward from each result.

    Parameters
    ----------
    fn : callable
        Takes Tensors, or nested dicts, lists and tuples of them, and returns such.
    argnums : int or tuple of int
        The arguments to differentiate with respect to.
    create_graph : bool
        Whether the Jacobian can be differentiated. Inside another transformation it always can.

    Returns
    -------
    callable
        Takes what `fn` takes and returns `fn`'s result, each Tensor of it replaced by a structure
        like the argument's (a tuple of them for a tuple), whose Tensors have the shape of the
        result followed by that of the argument.
    """
    return _jacobian("jacrev", _rows, fn, argnums, create_graph)


def jacfwd(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian of `fn`, forward from each argument.

    Parameters and result are those of `jacrev`; it costs less where arguments have fewer elements
    than results.
    """
    return _jacobian("jacfwd", _columns, fn, argnums, create_graph)


def jacobian(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the Jacobian of `fn`: `jacrev` by another name."""
    return _jacobian("jacobian (jacrev)", _rows, fn, argnums, create_graph)


def hessian(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Return a function that computes the second derivatives of `fn`'s scalar result.

    Parameters
    ----------
    fn, argnums, create_graph
        As for `grad`.

    Returns
    -------
    callable
        Takes what `fn` takes and returns the `jacobian` of its `grad`.
    """
    arguments = Arguments("hessian", fn, argnums)
    create_graph = check_flag("hessian", "create_graph", create_graph)

    @functools.wraps(fn)
    def table(*args: Any, **kwargs: Any) -> Any:
        with transformation(create_graph) as recorded:
            replaced, leaves, structure = arguments.track(args, recorded)
            check_real("hessian", "argument", *leaves)
            value = fn(*replaced, **kwargs)
            check_scalar("hessian", arguments.name, value)
            check_real("hessian", "result", value)
            slopes = pull_back([value], [None], leaves, recorded=True, retain=True)
            blocks = _rows(slopes, leaves, recorded)
            return tree_unflatten([tree_unflatten(row, structure) for row in blocks], structure)

    return table


def hvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, ...]:
    """Return the product of the Hessian of `fn`'s scalar result with `tangents`.

    Parameters
    ----------
    fn, primals, tangents, create_graph
        As for `jvp`.

    Returns
    -------
    tuple
        One structure per primal, like it.
    """
    check_function("hvp", "fn", fn)
    _check_several("hvp", primals, tangents)
    with transformation(check_flag("hvp", "create_graph", create_graph)) as recorded:
        leaves, structure = tree_flatten(track(tuple(primals), recorded))
        directions = _directions("hvp", leaves, structure, tuple(tangents), recorded)
        value = fn(*tree_unflatten(leaves, structure))
        check_scalar("hvp", getattr(fn, "__name__", type(fn).__name__), value)
        check_real("hvp", "result", value)
        slopes = pull_back([value], [None], leaves, recorded=True, retain=True)
        product = pull_back(slopes, directions, leaves, recorded, retain=recorded)
    return tuple(tree_unflatten(product, structure))


class _Linear:
    """The derivative of `outputs` with respect to `leaves`, as a map from tangents to tangents.

    The pullback is linear in its cotangents, wherever it is taken; its own pullback, from the
    gradients to the cotangents, is what pushes tangents forward.
    """

    def __init__(self, outputs: Sequence[Any], leaves: Sequence[Any]) -> None:
        self._at = at = levels()
        self._cotangents = [
            raised(tracked(torch.zeros_like(lowered(y, at))), at) if followed(y) else None
            for y in outputs
        ]
        self._zeros_like = [
            y if cotangent is None else cotangent
            for y, cotangent in zip(outputs, self._cotangents, strict=True)
        ]
        self._pulled = gradients(outputs, self._cotangents, leaves, recorded=True, retain=True)

    def push(self, tangents: Sequence[Tensor | None], recorded: bool, retain: bool) -> list[Any]:
        """Return the tangent of each output for one of each leaf, of which None is zeros."""
        return [
            y if not isinstance(y, Tensor) else torch.zeros_like(y) if t is None else t
            for y, t in zip(self._zeros_like, self.moved(tangents, recorded, retain), strict=True)
        ]

    def moved(
        self, tangents: Sequence[Tensor | None], recorded: bool, retain: bool
    ) -> list[Tensor | None]:
        """Return what `push` does, and None where nothing moves."""
        pulled = [
            None if tangent is None else g
            for g, tangent in zip(self._pulled, tangents, strict=True)
        ]
        return gradients(pulled, tangents, self._cotangents, recorded, retain, self._at)

    def moves(self, k: int) -> bool:
        """Whether an output may depend on leaf `k`."""
        return self._pulled[k] is not None


def _jacobian(
    caller: str,
    blocks_of: Callable[[Sequence[Any], Sequence[Any], bool], list[list[Any]]],
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...],
    create_graph: bool,
) -> Callable[..., Any]:
    arguments = Arguments(caller, fn, argnums)
    create_graph = check_flag(caller, "create_graph", create_graph)

    @functools.wraps(fn)
    def table(*args: Any, **kwargs: Any) -> Any:
        with transformation(create_graph) as recorded:
            replaced, leaves, structure = arguments.track(args, recorded)
            check_real(caller, "argument", *leaves)
            outputs, output_structure = _outputs(caller, fn, fn(*replaced, **kwargs))
            check_real(caller, "result", *outputs)
            blocks = blocks_of(outputs, leaves, recorded)
        return tree_unflatten([tree_unflatten(row, structure) for row in blocks], output_structure)

    return table


def _rows(outputs: Sequence[Any], leaves: Sequence[Any], recorded: bool) -> list[list[Any]]:
    """Return the Jacobian of each output by each leaf, a pass backward for each row."""
    blocks = []
    for y in outputs:
        rows = (
            [gradients([y], [unit], leaves, recorded, retain=True) for unit in _units(y)]
            if followed(y)
            else []
        )
        blocks.append([_block(y, x, [row[k] for row in rows], 0) for k, x in enumerate(leaves)])
    return blocks


def _columns(outputs: Sequence[Any], leaves: Sequence[Any], recorded: bool) -> list[list[Any]]:
    """Return the Jacobian of each output by each leaf, a pass forward for each column."""
    linear = _Linear(outputs, leaves)
    blocks: list[list[Any]] = [[] for _ in outputs]
    for k, x in enumerate(leaves):
        columns = []
        for unit in _units(x) if linear.moves(k) else ():
            tangents = [unit if i == k else None for i in range(len(leaves))]
            columns.append(linear.moved(tangents, recorded, retain=True))
        for i, y in enumerate(outputs):
            blocks[i].append(_block(y, x, [column[i] for column in columns], -1))
    return blocks


def _units(x: Tensor) -> Iterator[Tensor]:
    for i in range(x.numel()):
        unit = torch.zeros(x.numel(), dtype=x.dtype, device=x.device)
        unit[i] = 1
        yield unit.reshape(x.shape)


def _block(y: Any, x: Any, parts: Sequence[Tensor | None], axis: int) -> Any:
    """Return the Jacobian of `y` by `x`, of rows for axis 0 and of columns for -1."""
    for item in (y, x):
        if not isinstance(item, Tensor):
            return item  # As in what `grad` returns.
    shape = y.shape + x.shape
    if all(part is None for part in parts):
        return torch.zeros(shape, dtype=x.dtype, device=x.device)
    like = torch.zeros(x.shape if axis == 0 else y.shape, dtype=x.dtype, device=x.device)
    stacked = torch.stack([like if part is None else part.to(x.dtype) for part in parts], axis)
    return stacked.reshape(shape)


def _outputs(caller: str, fn: Callable[..., Any], output: Any) -> tuple[list[Any], Any]:
    outputs, structure = tree_flatten(output)
    for y in outputs:
        if not isinstance(y, Tensor):
            name = getattr(fn, "__name__", type(fn).__name__)
            msg = (
                f"{caller}: {name} must return a Tensor or a structure of them, got "
                f"{type(y).__name__}"
            )
            raise TypeError(msg)
    return outputs, structure


def _check_several(caller: str, primals: Any, tangents: Any) -> None:
    for what, items in (("primals", primals), ("tangents", tangents)):
        if not isinstance(items, tuple | list):
            msg = f"{caller}: {what} must be a tuple or a list, got {type(items).__name__}"
            raise TypeError(msg)
    _check_number(caller, len(primals), tangents)


def _check_number(caller: str, wanted: int, tangents: Sequence[Any]) -> None:
    if len(tangents) != wanted:
        msg = f"{caller}: there must be one tangent per primal, {wanted}, got {len(tangents)}"
        raise ValueError(msg)


def _directions(
    caller: str, leaves: Sequence[Any], structure: Any, tangents: tuple[Any, ...], recorded: bool
) -> list[Tensor | None]:
    """Return the tangent of each leaf in the leaf's dtype, None where none counts."""
    given, given_structure = tree_flatten(aligned(tangents, tree_unflatten(leaves, structure)))
    if given_structure != structure:
        msg = (
            f"{caller}: the tangents must have the structure of the primals, {shown(structure)}, "
            f"got {shown(given_structure)}"
        )
        raise ValueError(msg)
    return [_direction(caller, x, t, recorded) for x, t in zip(leaves, given, strict=True)]


def _direction(caller: str, x: Any, tangent: Any, recorded: bool) -> Tensor | None:
    if not isinstance(x, Tensor) or not is_inexact(x.dtype):
        return None
    if not (x.is_complex() and isinstance(tangent, Tensor) and tangent.is_complex()):
        check_tensor(caller, tangent, "each tangent")
    if tangent.shape != x.shape:
        msg = (
            f"{caller}: the tangent must have the shape of its primal, {tuple(x.shape)}, got "
            f"{tuple(tangent.shape)}"
        )
        raise ValueError(msg)
    return (tangent if recorded else tangent.detach()).to(x.dtype)
