"""Derivatives forward, Jacobians and Hessians, made of passes backward.

A pass backward is linear in the gradients that it starts from. So the pass of its record, from the
gradients of the inputs back to those starts, is the derivative forward, at any starts: here zeros,
called weights. It needs no more of a Function than its `forward` and `backward`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_callable, refuse, refuse_type
from ..dtypes import in_x64, is_inexact, make_array
from ..ops import manipulation
from ..ops.elementwise import astype
from ..recording import is_array
from ..tape import Traced, unwrap, wrap
from ..trees import aligned, join, split
from .transforms import (
    Chosen,
    Entered,
    check_real,
    creates,
    gradients,
    leave,
    pulled,
    seed_of,
    transforming,
)

_NOTHING = split(None)[1]


def jvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, Any]:
    """Run `fn` and return ``(output, tangent)``: its derivative in the direction of `tangents`.

    Parameters
    ----------
    fn : callable
        Returns a Tensor or a structure of them.
    primals : tuple or list
        Its arguments, as in `vjp`.
    tangents : tuple or list
        One for each primal, of its structure and shapes. That of an integer or boolean Tensor
        counts for nothing and may be None.
    create_graph : bool
        Whether both results can be differentiated. Inside another transformation they always can.

    Raises
    ------
    ValueError
        If a tangent has another shape or structure, or their number is another.
    TypeError
        If a tangent or a result is no Tensor.
    """
    check_callable("jvp", "fn", fn)
    _check_listed("jvp", primals, tangents)
    create = creates("jvp", create_graph)
    with transforming():
        entered = Entered("jvp", primals, create)
        seeds = _seeds("jvp", entered, tangents, create)
        outputs, form = outputs_of("jvp", fn(*entered.values))
        weights, grads = _linearized(outputs, entered.inner)
        pushed = _pushed(grads, seeds, weights, create, False)
    return join(form, [leave(create, out) for out in outputs]), join(form, pushed)


def linearize(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[..., Any]]:
    """Run `fn` and return ``(output, push)``; ``push(*tangents)`` is the tangent of `jvp`.

    Parameters
    ----------
    fn, *primals
        A function and its arguments, as in `vjp`.
    create_graph : bool
        Whether the output and what `push` returns can be differentiated.

    Returns
    -------
    output
        What `fn` returned.
    push : callable
        It is linear, does not call `fn`, and can be called several times.
    """
    check_callable("linearize", "fn", fn)
    create = creates("linearize", create_graph)
    with transforming():
        entered = Entered("linearize", primals, create)
        outputs, form = outputs_of("linearize", fn(*entered.values))
        weights, grads = _linearized(outputs, entered.inner)

    def push(*tangents: Any) -> Any:
        with transforming():
            seeds = _seeds("linearize", entered, tangents, create)
            return join(form, _pushed(grads, seeds, weights, create, True))

    return join(form, [leave(create, out) for out in outputs]), push


def hvp(
    fn: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    create_graph: bool = False,
) -> tuple[Any, ...]:
    """Return the product of the Hessian of `fn` with the tangents, without the Hessian.

    Parameters
    ----------
    fn : callable
        Its result is a scalar Tensor. It is called once.
    primals, tangents, create_graph
        As for `jvp`.

    Returns
    -------
    tuple
        One structure for each primal.

    Raises
    ------
    ValueError
        If the result of `fn` is no scalar, or the tangents do not fit the primals.
    """
    check_callable("hvp", "fn", fn)
    _check_listed("hvp", primals, tangents)
    create = creates("hvp", create_graph)
    with transforming():
        entered = Entered("hvp", primals, create)
        seeds = _seeds("hvp", entered, tangents, create)
        first = gradients("hvp", fn(*entered.values), entered.inner, True)
        # Forward, not backward once more: a Function's own gradient need not be symmetric.
        weights, grads = _linearized(first, entered.inner)
        return entered.structured(_pushed(grads, seeds, weights, create, False))


def jacrev(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make a function that returns the Jacobian of `fn`, by a pass backward for each result.

    Parameters
    ----------
    fn : callable
        Returns a Tensor or a structure of them.
    argnums : int or sequence of int
        The positional arguments to differentiate by, as for `grad`.
    create_graph : bool
        Whether the result can be differentiated. Inside another transformation it always can.

    Returns
    -------
    callable
        In the place of each Tensor of the result stands a structure like the argument's, of shapes
        ``(*result, *argument)`` and the argument's dtypes; for several `argnums` a tuple of them.

    Raises
    ------
    TypeError
        When called, if `fn` returns something else than Tensors.
    ValueError
        When called, if `argnums` does not fit.
    """
    return _jacobian("jacrev", _backward, fn, argnums, create_graph)


def jacfwd(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make a function that returns the Jacobian, by a pass forward for each number; see `jacrev`.

    It takes less time where the results are more than the numbers differentiated by.
    """
    return _jacobian("jacfwd", _forward, fn, argnums, create_graph)


jacobian = jacrev


def hessian(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make a function that returns the second derivatives of `fn`'s scalar result.

    Parameters
    ----------
    fn, argnums, create_graph
        As for `grad`.

    Returns
    -------
    callable
        The `jacobian` of the gradient, by the same arguments.

    Raises
    ------
    ValueError
        When called, if the result of `fn` is no scalar, or `argnums` does not fit.
    """
    check_callable("hessian", "fn", fn)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        create = creates("hessian", create_graph)
        with transforming():
            chosen = _real_arguments("hessian", Chosen("hessian", argnums, args, create))
            first = gradients("hessian", fn(*chosen.args, **kwargs), chosen.inner, True)
            table = _backward(first, chosen.inner, create)
            return chosen.gradient([chosen.gradient(row) for row in table])

    return functools.update_wrapper(wrapped, fn, updated=())


def _jacobian(
    name: str,
    direction: Callable[..., list[list[Any]]],
    fn: Callable[..., Any],
    argnums: int | Sequence[int],
    create_graph: bool,
) -> Callable[..., Any]:
    check_callable(name, "fn", fn)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        create = creates(name, create_graph)
        with transforming():
            chosen = _real_arguments(name, Chosen(name, argnums, args, create))
            outputs, form = outputs_of(name, fn(*chosen.args, **kwargs))
            for out in outputs:
                check_real(name, "the function's result", out._data.dtype)
            table = direction(outputs, chosen.inner, create)
            return join(form, [chosen.gradient(row) for row in table])

    return functools.update_wrapper(wrapped, fn, updated=())


def _real_arguments(name: str, chosen: Chosen) -> Chosen:
    """Return the arguments; raise `TypeError` if one of them is complex."""
    for inner in chosen.inner:
        check_real(name, "what is differentiated by", inner._data.dtype)
    return chosen


def _backward(outputs: Sequence[Any], inner: Sequence[Any], create: bool) -> list[list[Any]]:
    """Return the Jacobian of each output by each inner Tensor, from passes backward."""
    table = []
    for out in outputs:
        rows = _passes(out, inner, create)
        shape = unwrap(out).shape
        table.append(
            [
                _zeros(shape, t) if r is None else manipulation.reshape(r, shape + unwrap(t).shape)
                for r, t in zip(rows, inner, strict=True)
            ]
        )
    return table


def _forward(outputs: Sequence[Any], inner: Sequence[Any], create: bool) -> list[list[Any]]:
    """Return the same from passes forward."""
    weights, grads = _linearized(outputs, inner)
    by_input = [_passes(grad, weights, create) for grad in grads]
    return [
        [_as_columns(c[place], out, t) for c, t in zip(by_input, inner, strict=True)]
        for place, out in enumerate(outputs)
    ]


def _as_columns(column: Any, out: Any, inner: Any) -> Any:
    """Return tangents, one for each number of an inner Tensor, as a Jacobian."""
    shape, data = unwrap(out).shape, unwrap(inner)
    if column is None:
        return _zeros(shape, inner)
    last = manipulation.permute_dims(column, (*range(1, len(shape) + 1), 0))
    return astype(manipulation.reshape(last, shape + data.shape), data.dtype, copy=False)


def _zeros(shape: tuple[int, ...], inner: Any) -> Any:
    data = unwrap(inner)
    return wrap(make_array(np.zeros(shape + data.shape, data.dtype)))


def _passes(root: Any, wanted: Sequence[Any], create: bool) -> list[Any]:
    """Return the gradients of each element of a Tensor, one after the other on a new axis.

    None stands where nothing depends on it, or there is nothing.
    """
    data = unwrap(root)
    if not (root._requires_grad and data.size):
        return [None] * len(wanted)
    live = [t for t in wanted if t._requires_grad]
    passes = [pulled([root], [seed], live, create, True) for seed in _basis(data, create)]
    columns = (_stacked(column, create) for column in zip(*passes, strict=True))
    return [next(columns) if t._requires_grad else None for t in wanted]


def _basis(data: Any, create: bool) -> Iterator[Any]:
    """Yield what is 1 in one place and 0 elsewhere, for each place of an array."""
    for place in range(data.size):
        one = np.zeros(data.shape, data.dtype)
        one.flat[place] = 1
        yield wrap(make_array(one)) if create else make_array(one)


@in_x64
def _stacked(column: Sequence[Any], create: bool) -> Any:
    if create:
        return manipulation.stack(list(column))
    arrays = [t._data for t in column]
    if any(isinstance(array, jax.core.Tracer) for array in arrays):
        return wrap(jnp.stack(arrays))
    # On the host: JAX would compile for each number of them.
    return wrap(make_array(np.stack([np.asarray(array) for array in arrays])))


def _linearized(outputs: Sequence[Any], inner: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Return the weights of the outputs, and the gradients of the inner Tensors with a history."""
    weights = []
    for out in outputs:
        data = unwrap(out)
        weight = wrap(make_array(np.zeros(data.shape, data.dtype)))
        weight._requires_grad = out._requires_grad
        weights.append(weight)
    return weights, pulled(outputs, weights, inner, True, True)


def _pushed(
    grads: Sequence[Any], seeds: Sequence[Any], weights: Sequence[Any], create: bool, retain: bool
) -> list[Any]:
    """Return the tangents of the outputs."""
    live = [(g, s) for g, s in zip(grads, seeds, strict=True) if g._requires_grad]
    return pulled([g for g, _ in live], [s for _, s in live], weights, create, retain)


def _check_listed(name: str, primals: Any, tangents: Any) -> None:
    for argument, value in (("primals", primals), ("tangents", tangents)):
        if not isinstance(value, tuple | list):
            refuse_type(name, argument, "a tuple or a list", value)


def _seeds(name: str, entered: Entered, tangents: Sequence[Any], create: bool) -> list[Any]:
    """Return what a pass forward starts from, for each inner Tensor; raise if it cannot."""
    count = len(entered.values)
    if len(tangents) != count:
        refuse(name, "the number of tangents", f"that of the primals, {count}", len(tangents))

    def found(form: Any, tangent: Any) -> Iterator[Any]:
        leaves, came = split(aligned(tangent, form))
        return _match(name, form, came, iter(leaves))

    return [
        _seed(name, tangent, inner, create)
        for tangent, inner in zip(entered.matched(found, tangents), entered.inner, strict=True)
    ]


def _match(name: str, form: Any, came: Any, leaves: Iterator[Any]) -> Iterator[Any]:
    """Yield what stands in a tangent's form where the primal's form has its Tensors."""
    kind, came_kind = form[0], came[0]
    if kind == "leaf" and (came_kind in ("leaf", "static") or came == _NOTHING):
        yield next(leaves) if came_kind == "leaf" else None if came == _NOTHING else came[2]
        return
    if kind == "static" and (came_kind == "static" or came == _NOTHING):
        return
    # All but the children says which structure it is.
    place = 3 if kind == "dict" else 2
    if "leaf" in (kind, came_kind) or "static" in (kind, came_kind) or form[:2] != came[:2]:
        refuse(name, "each tangent", "of the structure of its primal", "another structure")
    if len(form[place]) != len(came[place]) or (kind == "dict" and form[2] != came[2]):
        refuse(name, "each tangent", "of the structure of its primal", "another structure")
    for child, child_came in zip(form[place], came[place], strict=True):
        yield from _match(name, child, child_came, leaves)


def _seed(name: str, tangent: Any, inner: Any, create: bool) -> Any:
    """Return a tangent as the engine starts from it, None for that of integers."""
    data = unwrap(inner)
    floating = is_inexact(data.dtype)
    if tangent is None and not floating:
        return None
    if not is_array(tangent):
        refuse_type(name, "each tangent", "a Tensor or a raw array", tangent)
    shape = unwrap(tangent).shape
    if shape != data.shape:
        refuse(name, "a tangent", f"of the shape of its primal, {data.shape}", shape)
    return seed_of(name, tangent, data.dtype, create) if floating else None


def outputs_of(name: str, result: Any) -> tuple[list[Any], Any]:
    """Return the Tensors that a function returned, and their structure; raise if it has others."""
    leaves, form = split(result)
    for wrong in (leaf for leaf in leaves if not isinstance(leaf, Traced)):
        refuse_type(name, "the function's result", "a Tensor or a structure of them", wrong)
    for wrong in _rest(form):
        refuse_type(name, "the function's result", "a Tensor or a structure of them", wrong)
    return leaves, form


def _rest(form: Any) -> Iterator[Any]:
    """Yield what of a structure is neither container nor Tensor nor array, None too."""
    if form[0] == "static" or form == _NOTHING:
        yield None if form == _NOTHING else form[2]
    elif form[0] != "leaf":
        for child in form[3] if form[0] == "dict" else form[2]:
            yield from _rest(child)
