"""Gradients as functions.

`grad`, `value_and_grad` and `vjp` run on the tape. They work on concrete Tensors and, inside JAX's
transformations, on traced ones alike.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from ..checks import check_callable, check_int, refuse_type
from ..creation import tensor
from ..dtypes import cast_array, is_floating, make_array
from ..engine import Engine
from ..recording import Operation, as_operand, record
from ..tape import MODE, Traced, constant, recording_set, unwrap, wrap
from ..tensor import Tensor
from ..trees import join, map_leaves, split

_IDENTITY = Operation(lambda x: x, "identity", lambda mask: (False,) * len(mask))


@contextmanager
def _transforming() -> Iterator[None]:
    """Run a transformed function; if it raises, the generator is as it was."""
    state = random.get_state()
    MODE.depth += 1
    try:
        with recording_set(True):
            yield
    except BaseException:
        random.set_state(state)
        raise
    finally:
        MODE.depth -= 1


def _chosen(name: str, argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    listed = argnums if isinstance(argnums, Sequence) else (argnums,)
    nums = [check_int(name, "argnums", num) for num in listed]
    for num in nums:
        if not -count <= num < count:
            msg = f"{name}: argnums {argnums} does not fit a call with {count} positional arguments"
            raise ValueError(msg)
    return tuple(num % count for num in nums)


def _enter(name: str, leaf: Any, create: bool) -> Any:
    """Return the Tensor that stands for an argument while its function runs."""
    if not isinstance(leaf, Traced):
        leaf = wrap(as_operand(name, leaf))
    if not is_floating(leaf._data.dtype):
        return leaf
    if create and leaf._requires_grad:
        # Still tied to the argument, so that the result can be differentiated by it.
        return record(_IDENTITY, (leaf,))
    inner = wrap(unwrap(leaf))
    inner._requires_grad = True
    return inner


def _leave(create: bool, value: Any) -> Any:
    return value if create else wrap(constant(unwrap(value)))


def _pulled(
    outputs: Any, seeds: Any, inputs: Sequence[Any], create: bool, retain: bool
) -> list[Any]:
    """Return a Tensor for each input: its gradient, or zeros."""
    wanted = [t for t in inputs if t._requires_grad]
    pulled = iter(Engine(create, retain).gradients(outputs, seeds, wanted))
    grads = []
    for inner in inputs:
        grad = next(pulled) if inner._requires_grad else None
        if grad is None:
            data = unwrap(inner)
            grads.append(wrap(make_array(np.zeros(data.shape, data.dtype))))
        else:
            grads.append(grad if create else wrap(constant(grad)))
    return grads


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Make a function that returns ``(value, gradient)`` of `fn`.

    Parameters
    ----------
    fn : callable
        Its result is a scalar Tensor, or ``(scalar, aux)`` with `has_aux`.
    argnums : int or sequence of int
        The positional arguments to differentiate by: Tensors, or dicts, lists, tuples and Modules
        of them, nested.
    has_aux : bool
        Whether `fn` returns something beside its value; the result is then
        ``((value, aux), gradient)``.
    create_graph : bool
        Whether the results can be differentiated. Inside another transformation they always can.

    Returns
    -------
    callable
        The gradient has the structure of the argument; for several `argnums` it is a tuple.

    Raises
    ------
    ValueError
        When called, if the result of `fn` is no scalar, or `argnums` does not fit.
    """
    check_callable("value_and_grad", "fn", fn)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        create = create_graph or MODE.depth > 0
        return _differentiated("value_and_grad", fn, argnums, has_aux, create, args, kwargs)

    return functools.update_wrapper(wrapped, fn, updated=())


def _differentiated(
    name: str,
    fn: Callable[..., Any],
    argnums: int | Sequence[int],
    has_aux: bool,
    create: bool,
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Any:
    """Return ``(value, gradient)``, or ``((value, aux), gradient)``, of one call."""
    arguments = list(args)
    forms, inner = [], []
    with _transforming():
        for num in _chosen(name, argnums, len(args)):
            leaves, form = split(_as_array(args[num]))
            entered = [_enter(name, leaf, create) for leaf in leaves]
            arguments[num] = join(form, entered)
            forms.append((form, len(entered)))
            inner += entered
        result = fn(*arguments, **kwargs)
        value, aux = _with_aux(name, result) if has_aux else (result, None)
        data = _scalar(name, value)
        seed = make_array(np.ones(data.shape, data.dtype))
        grads = _pulled([value], [wrap(seed) if create else seed], inner, create, False)
    gradients = []
    for form, count in forms:
        gradients.append(join(form, grads[:count]))
        grads = grads[count:]
    gradient = gradients[0] if isinstance(argnums, int) else tuple(gradients)
    value = _leave(create, value)
    if not has_aux:
        return value, gradient
    return (value, map_leaves(functools.partial(_leave_aux, create), aux)), gradient


def _as_array(value: Any) -> Any:
    return tensor(value) if isinstance(value, float) else value


def _leave_aux(create: bool, leaf: Any) -> Any:
    return _leave(create, leaf) if isinstance(leaf, Tensor) else leaf


def _with_aux(name: str, result: Any) -> Sequence[Any]:
    if not isinstance(result, tuple | list) or len(result) != 2:
        refuse_type(name, "the function's result with has_aux", "a pair (scalar, aux)", result)
    return result


def _scalar(name: str, value: Any) -> Any:
    if not isinstance(value, Traced):
        msg = f"{name}: the function must return a scalar Tensor, got {type(value).__name__}"
        raise TypeError(msg)
    data = unwrap(value)
    if data.size != 1:
        msg = f"{name}: the function must return a scalar, got shape {data.shape}"
        raise ValueError(msg)
    return data


def grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make a function that returns the gradient of `fn`'s scalar result; see `value_and_grad`."""
    check_callable("grad", "fn", fn)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        create = create_graph or MODE.depth > 0
        return _differentiated("grad", fn, argnums, False, create, args, kwargs)[1]

    return functools.update_wrapper(wrapped, fn, updated=())


def vjp(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Run `fn` and return ``(output, pull)``.

    Parameters
    ----------
    fn : callable
        Returns a Tensor or a structure of them.
    *primals
        Its arguments, as in `value_and_grad`.
    create_graph : bool
        Whether the output and what `pull` returns can be differentiated.

    Returns
    -------
    output
        What `fn` returned.
    pull : callable
        Takes a cotangent of the output's structure and returns a tuple with one gradient for each
        primal. It can be called several times.
    """
    check_callable("vjp", "fn", fn)
    create = create_graph or MODE.depth > 0
    with _transforming():
        leaves, form = split(tuple(_as_array(primal) for primal in primals))
        inner = [_enter("vjp", leaf, create) for leaf in leaves]
        output = fn(*join(form, inner))
    outputs, output_form = split(output)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cotangents, form_came = split(cotangent)
        if form_came != output_form:
            msg = "vjp: the cotangent has another structure than the output"
            raise ValueError(msg)
        roots, seeds = _seeds(outputs, cotangents, create)
        with _transforming():
            return join(form, _pulled(roots, seeds, inner, create, True))

    shown = join(output_form, [_leave_aux(create, out) for out in outputs])
    return shown, pull


def _seeds(
    outputs: Sequence[Any], cotangents: Sequence[Any], create: bool
) -> tuple[list[Any], list[Any]]:
    """Return the outputs that require grad, and the gradients to start from there."""
    roots, seeds = [], []
    for out, cotangent in zip(outputs, cotangents, strict=True):
        data = unwrap(cotangent)
        if unwrap(out).shape != data.shape:
            shape = unwrap(out).shape
            msg = f"vjp: the cotangent must have the output's shape {shape}, got {data.shape}"
            raise ValueError(msg)
        if isinstance(out, Traced) and out._requires_grad:
            cotangent = as_operand("vjp: pull", cotangent)
            data = cast_array(unwrap(cotangent), out._data.dtype)
            tensor = cotangent if isinstance(cotangent, Traced) else wrap(data)
            roots.append(out)
            seeds.append(tensor if create else data)
    return roots, seeds
