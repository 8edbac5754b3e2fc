"""Recording switched on and off, and gradients as functions.

`grad`, `value_and_grad` and `vjp` run on the tape. They work on concrete Tensors and, inside JAX's
transformations, on traced ones alike.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from . import kernels, random
from .creation import tensor
from .engine import Pass, recording
from .structure import join, map_leaves, split
from .tape import MODE, Operation, Traced, constant, is_floating, make, record, unwrap
from .tensor import Tensor

_IDENTITY = Operation(kernels.identity, "identity", kernels.nothing)


class _Switch:
    """A context manager and decorator that holds recording on or off."""

    _flag: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(MODE.enabled)
        MODE.enabled = self._flag

    def __exit__(self, *exc: object) -> None:
        MODE.enabled = self._before.pop()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with recording(self._flag):
                return fn(*args, **kwargs)

        return wrapped


class no_grad(_Switch):
    """Record nothing, for a ``with`` block or a decorated function."""

    _flag = False


class enable_grad(_Switch):
    """Record again, inside `no_grad`."""

    _flag = True


class set_grad_enabled(_Switch):
    """Record as `flag` says, for a ``with`` block or a decorated function."""

    def __init__(self, flag: bool) -> None:
        super().__init__()
        self._flag = bool(flag)


def is_grad_enabled() -> bool:
    """Tell whether this thread records."""
    return MODE.enabled


@contextmanager
def _transforming() -> Iterator[None]:
    """Run a transformed function; if it raises, the generator is as it was."""
    state = random.get_state()
    MODE.depth += 1
    try:
        with recording(True):
            yield
    except BaseException:
        random.set_state(state)
        raise
    finally:
        MODE.depth -= 1


def _chosen(name: str, argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    nums = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for num in nums:
        if not isinstance(num, int) or not -count <= num < count:
            msg = f"{name}: argnums {argnums} does not fit a call with {count} positional arguments"
            raise ValueError(msg)
    return tuple(num % count for num in nums)


def _enter(leaf: Any, create: bool) -> Any:
    """Return the Tensor that stands for an argument while its function runs."""
    if not isinstance(leaf, Traced):
        leaf = tensor(leaf) if isinstance(leaf, np.ndarray) else make(leaf)
    if not is_floating(leaf._data.dtype):
        return leaf
    if create and leaf._requires_grad:
        # Still tied to the argument, so that the result can be differentiated by it.
        return record(_IDENTITY, (leaf,))
    inner = make(unwrap(leaf))
    inner._requires_grad = True
    return inner


def _leave(create: bool, value: Any) -> Any:
    return value if create else make(constant(unwrap(value)))


def _pulled(
    outputs: Any, seeds: Any, inputs: Sequence[Any], create: bool, retain: bool
) -> list[Any]:
    """Return a Tensor for each input: its gradient, or zeros."""
    wanted = [t for t in inputs if t._requires_grad]
    found = iter(Pass(create, retain).toward(outputs, seeds, wanted))
    grads = []
    for inner in inputs:
        grad = next(found) if inner._requires_grad else None
        if grad is None:
            data = unwrap(inner)
            grads.append(make(jax.numpy.asarray(np.zeros(data.shape, data.dtype))))
        else:
            grads.append(grad if create else make(constant(grad)))
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

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        create = create_graph or MODE.depth > 0
        nums = _chosen("grad", argnums, len(args))
        given = list(args)
        forms, inner = [], []
        with _transforming():
            for num in nums:
                leaves, form = split(_as_array(args[num]))
                entered = [_enter(leaf, create) for leaf in leaves]
                given[num] = join(form, entered)
                forms.append((form, len(entered)))
                inner += entered
            result = fn(*given, **kwargs)
            value, aux = result if has_aux else (result, None)
            data = _scalar(value)
            seed = jax.numpy.asarray(np.ones(data.shape, data.dtype))
            grads = _pulled([value], [make(seed) if create else seed], inner, create, False)
        gradients = []
        for form, count in forms:
            gradients.append(join(form, grads[:count]))
            grads = grads[count:]
        gradient = gradients[0] if isinstance(argnums, int) else tuple(gradients)
        value = _leave(create, value)
        if not has_aux:
            return value, gradient
        return (value, map_leaves(functools.partial(_leave_aux, create), aux)), gradient

    return functools.update_wrapper(wrapped, fn, updated=())


def _as_array(value: Any) -> Any:
    return tensor(value) if isinstance(value, float) else value


def _leave_aux(create: bool, leaf: Any) -> Any:
    return _leave(create, leaf) if isinstance(leaf, Tensor) else leaf


def _scalar(value: Any) -> Any:
    if not isinstance(value, Traced):
        msg = f"grad: the function must return a scalar Tensor, got {type(value).__name__}"
        raise TypeError(msg)
    data = unwrap(value)
    if data.size != 1:
        msg = f"grad: the function must return a scalar, got shape {data.shape}"
        raise ValueError(msg)
    return data


def grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make a function that returns the gradient of `fn`'s scalar result; see `value_and_grad`."""
    both = value_and_grad(fn, argnums, create_graph=create_graph)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

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
    create = create_graph or MODE.depth > 0
    with _transforming():
        leaves, form = split(tuple(_as_array(primal) for primal in primals))
        inner = [_enter(leaf, create) for leaf in leaves]
        output = fn(*join(form, inner))
    outputs, output_form = split(output)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        given, given_form = split(cotangent)
        if given_form != output_form:
            msg = "vjp: the cotangent has another structure than the output"
            raise ValueError(msg)
        roots, seeds = [], []
        for out, seed in zip(outputs, given, strict=True):
            if unwrap(out).shape != unwrap(seed).shape:
                msg = (
                    f"vjp: the cotangent has shape {unwrap(seed).shape}, "
                    f"the output has {unwrap(out).shape}"
                )
                raise ValueError(msg)
            if isinstance(out, Traced) and out._requires_grad:
                data = unwrap(seed).astype(out._data.dtype)
                roots.append(out)
                seeds.append((seed if isinstance(seed, Traced) else make(data)) if create else data)
        with _transforming():
            return join(form, _pulled(roots, seeds, inner, create, True))

    shown = join(output_form, [_leave_aux(create, out) for out in outputs])
    return shown, pull
