"""Gradients as functions.

`grad`, `value_and_grad` and `vjp` run on the tape. They work on concrete Tensors and, inside JAX's
transformations, on traced ones alike. `derivatives` is made of the same parts.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import random
from ..checks import (
    check_callable,
    check_cast,
    check_flag,
    check_int,
    check_one_value,
    refuse,
    refuse_type,
)
from ..creation import tensor
from ..dtypes import cast_array, is_inexact, make_array
from ..engine import Engine
from ..ops.elementwise import astype
from ..recording import Operation, as_gradient, as_operand, as_tensors, dtype_of, record
from ..tape import MODE, Traced, constant, recording_set, unreached, unwrap, wrap
from ..tensor import Tensor
from ..trees import aligned, join, map_leaves, split

_IDENTITY = Operation(lambda x: x, "identity", lambda mask: (False,) * len(mask))


@contextmanager
def transforming() -> Iterator[None]:
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


def creates(name: str, create_graph: bool) -> bool:
    """Tell whether results are recorded: if that is asked for, or inside a transformation."""
    return check_flag(name, "create_graph", create_graph) or MODE.depth > 0  # autograd-17


def _enter(name: str, leaf: Any, create: bool) -> Any:
    """Return the Tensor that stands for an argument while its function runs."""
    if not isinstance(leaf, Traced):
        leaf = wrap(as_operand(name, leaf))
    if not is_inexact(leaf._data.dtype):
        return leaf
    if create and leaf._requires_grad:
        # Still tied to the argument, so that the result can be differentiated by it.
        return record(_IDENTITY, (leaf,))
    inner = wrap(unwrap(leaf))
    inner._requires_grad = True
    return inner


class Entered:
    """Arguments with Tensors put in their place that a transformed function is followed from.

    Attributes
    ----------
    inner : list of Tensor
        Those Tensors.
    values : list
        The arguments that hold them.
    """

    def __init__(self, name: str, arguments: Sequence[Any], create: bool) -> None:
        self.inner: list[Any] = []
        self.values: list[Any] = []
        self._forms: list[tuple[Any, int]] = []
        for argument in arguments:
            leaves, form = split(tensor(argument) if isinstance(argument, float) else argument)
            entered = [_enter(name, leaf, create) for leaf in leaves]
            self.values.append(join(form, entered))
            self.inner += entered
            self._forms.append((form, len(entered)))

    def structured(self, grads: Sequence[Any]) -> tuple[Any, ...]:
        """Return what came for each inner Tensor in structures like those of the arguments."""
        rest = iter(grads)
        return tuple(
            [join(form, [next(rest) for _ in range(count)]) for form, count in self._forms]
        )

    def matched(self, fn: Callable[[Any, Any], Iterator[Any]], others: Sequence[Any]) -> list[Any]:
        """Return what `fn` finds in each of `others` by the form of the argument in its place."""
        pairs = zip(self._forms, others, strict=True)
        return [found for (form, _), other in pairs for found in fn(form, other)]


class Chosen(Entered):
    """The arguments of one call that are differentiated by, entered; `args` are all of them."""

    def __init__(
        self, name: str, argnums: int | Sequence[int], args: Sequence[Any], create: bool
    ) -> None:
        nums = _chosen(name, argnums, len(args))
        super().__init__(name, [args[num] for num in nums], create)
        self.args = list(args)
        for num, value in zip(nums, self.values, strict=True):
            self.args[num] = value
        self._single = not isinstance(argnums, Sequence)

    def gradient(self, grads: Sequence[Any]) -> Any:
        """Return the structure of the one argument, or a tuple of those of several."""
        structures = self.structured(grads)
        return structures[0] if self._single else structures


def leave(create: bool, value: Any) -> Any:
    """Return a result, detached unless a graph was asked for."""
    return value if create else wrap(constant(unwrap(value)))


def pulled(
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
        create = creates("value_and_grad", create_graph)
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
    with transforming():
        chosen = Chosen(name, argnums, args, create)
        result = fn(*chosen.args, **kwargs)
        value, aux = _with_aux(name, result) if has_aux else (result, None)
        gradient = chosen.gradient(gradients(name, value, chosen.inner, create))
    value = leave(create, value)
    if not has_aux:
        return value, gradient
    return (value, map_leaves(functools.partial(leave_aux, create), aux)), gradient


def gradients(name: str, value: Any, inner: Sequence[Any], create: bool) -> list[Any]:
    """Return the gradients of a function's scalar result; raise if it is none."""
    data = _scalar(name, value)
    seed = make_array(np.ones(data.shape, data.dtype))
    return pulled([value], [wrap(seed) if create else seed], inner, create, False)


def leave_aux(create: bool, leaf: Any) -> Any:
    """Return a leaf of a structure, a Tensor detached unless a graph was asked for."""
    return leave(create, leaf) if isinstance(leaf, Tensor) else leaf


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
    check_real(name, "the function's result", data.dtype)
    return data


def check_real(name: str, what: str, dtype: Any) -> None:
    """Raise `TypeError` that names the dtype if something that must be real is complex."""
    if dtype.kind == "c":  # autograd-49
        msg = f"{name}: {what} must be real, got dtype {dtype}; take real and imag"
        raise TypeError(msg)


def grad(fn: Any, *args: Any, **kwargs: Any) -> Any:
    """Return the gradient of a function as a function, or that of Tensors.

    Called ``grad(fn, argnums=0, create_graph=False)`` it makes a function that returns the gradient
    of `fn`'s scalar result; see `value_and_grad`. Called ``grad(outputs, inputs,
    grad_outputs=None, *, retain_graph=None, create_graph=False, allow_unused=False)`` it runs back
    from Tensors that were computed already.

    Parameters
    ----------
    outputs : Tensor or sequence of Tensor
    inputs : Tensor or sequence of Tensor
        Leaves or intermediates that the gradient is taken with respect to.
    grad_outputs : Tensor or sequence of (Tensor or None), optional
        The weight of each output, of its shape; 1 by default for one element.
    retain_graph : bool, optional
        Keep what the graph saved; by default as `create_graph` says.
    create_graph : bool
        Record the pass, so that the gradients can be differentiated.
    allow_unused : bool
        Whether an input that no output depends on gets None instead of an error.

    Returns
    -------
    callable, or tuple of (Tensor or None)
        A gradient of the shape and dtype of each input. No `grad` is filled.

    Raises
    ------
    RuntimeError
        If an output or input does not require grad, an input is unused, a gradient is missing or
        of another shape, or the graph was freed.
    ValueError
        If there are no outputs or inputs, or another number of `grad_outputs`.
    TypeError
        If something is no Tensor.
    """
    if isinstance(fn, Traced | list | tuple) and not callable(fn):
        return _named(_of_tensors, fn, *args, **kwargs)
    return _named(_of_function, fn, *args, **kwargs)


_signature = functools.cache(inspect.signature)


def _named(form: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call one form of `grad`; what does not fit its signature is refused in the name of that."""
    try:
        _signature(form).bind(*args, **kwargs)
    except TypeError as error:
        msg = f"grad: {error}"
        raise TypeError(msg) from None
    return form(*args, **kwargs)


def _of_tensors(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    retain_graph: Any = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """Return the gradient of Tensors with respect to others."""
    create = check_flag("grad", "create_graph", create_graph)
    retain = create if retain_graph is None else check_flag("grad", "retain_graph", retain_graph)
    unused = check_flag("grad", "allow_unused", allow_unused)
    roots = as_tensors("grad", "outputs", outputs)
    for root in roots:
        check_one_value("grad", unwrap(root))
    wanted = as_tensors("grad", "inputs", inputs)
    several = isinstance(grad_outputs, list | tuple)
    given = list(grad_outputs) if several else [grad_outputs]
    if grad_outputs is None:
        given = [None] * len(roots)
    if len(given) != len(roots):
        refuse("grad", "grad_outputs", f"as many as outputs, {len(roots)}", len(given))
    seeds = [as_gradient("grad", t, g, create) for t, g in zip(roots, given, strict=True)]
    if not unused:
        for place in unreached(roots, wanted):
            msg = (
                f"grad: the outputs do not depend on inputs[{place}]; "
                "with allow_unused=True its gradient is None"
            )
            raise RuntimeError(msg)
    found = Engine(create, retain).gradients(roots, seeds, wanted)
    return tuple([g if g is None or create else wrap(constant(g)) for g in found])


def _of_function(
    fn: Any, argnums: int | Sequence[int] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    """Make a function that returns the gradient of `fn`'s scalar result."""
    check_callable("grad", "fn", fn)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        create = creates("grad", create_graph)
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
    create = creates("vjp", create_graph)
    with transforming():
        entered = Entered("vjp", primals, create)
        output = fn(*entered.values)
    outputs, output_form = split(output)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cotangents, form_came = split(aligned(cotangent, output_form))
        if form_came != output_form:
            msg = "vjp: the cotangent has another structure than the output"
            raise ValueError(msg)
        roots, seeds = _seeds(outputs, cotangents, create)
        with transforming():
            return entered.structured(pulled(roots, seeds, entered.inner, create, True))

    shown = join(output_form, [leave_aux(create, out) for out in outputs])
    return shown, pull


def seed_of(name: str, value: Any, dtype: Any, create: bool) -> Any:
    """Return a cotangent or tangent in the dtype of its Tensor, as the engine starts from it."""
    value = as_operand(name, value)
    check_cast(name, dtype_of(value), dtype)
    if create:
        return (
            astype(value, dtype, copy=False)
            if isinstance(value, Traced)
            else wrap(cast_array(value, dtype))
        )
    return cast_array(unwrap(value), dtype)


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
            roots.append(out)
            seeds.append(seed_of("vjp: pull", cotangent, out._data.dtype, create))
    return roots, seeds
