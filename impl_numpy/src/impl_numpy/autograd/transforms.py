"""Derivatives as functions of functions: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, overload

import numpy as np

from impl_numpy.autograd.modes import enable_grad
from impl_numpy.batched import Batched, asarray
from impl_numpy.checks import check_callable, check_flag, check_items, shown
from impl_numpy.dtypes import is_raw
from impl_numpy.engine import leading, run
from impl_numpy.grad_checks import check_whole
from impl_numpy.memory import follow
from impl_numpy.recording import fit
from impl_numpy.tape import MODE, Node, Source, conjugated, differentiable
from impl_numpy.tensor import Tensor, as_tensor, seeded, wrap
from impl_numpy.trees import tree_aligned, tree_leaves, tree_map, tree_structure


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
) -> tuple[Tensor | None, ...]: ...


def grad(*args: Any, **options: Any) -> Any:
    """Return the function that gives the gradient of `fn`'s scalar result; or gradients of Tensors.

    Parameters
    ----------
    fn : callable
        Takes Tensors, or dicts, lists and tuples of them; returns a Tensor without axes.
    argnums : int or tuple of int
        With respect to which positional arguments; a tuple gives a tuple.
    create_graph : bool
        Make the gradient differentiable. It is so anyway inside another transformation.
    outputs, inputs : Tensor, or list or tuple of them
        In the place of `fn` and `argnums`: `grad(outputs, inputs, grad_outputs=None, *,
        retain_graph=None, create_graph=False, allow_unused=False)` returns a tuple with the
        gradient of the sum of the outputs with respect to each of the inputs. No `grad` is filled.
    grad_outputs : Tensor, or list or tuple of Tensor or None
        What each output is weighted by; may be left out for a scalar.
    retain_graph : bool, optional
        Keep the graph for another backward; by default if `create_graph`.
    allow_unused : bool
        Give None for an input that no output depends on.

    Raises
    ------
    ValueError
        If the result is no scalar; if there are no outputs or inputs, or another number of weights.
    TypeError
        If an argument holds what cannot have a gradient, or the result is no Tensor.
    RuntimeError
        If an output or an input does not require grad, an input is unused, or a weight is of
        another shape or missing.
    """
    if args and isinstance(args[0], (Tensor, list, tuple)):
        return _bound("grad", _of_tensors, args, options)
    return _bound("grad", _of_function, args, options)


def _bound(
    operation: str, call: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    """Call with arguments whose names and number were checked."""
    try:
        given = inspect.signature(call).bind(*args, **options)
    except TypeError as error:
        msg = f"{operation}: {error}"
        raise TypeError(msg) from None
    return call(*given.args, **given.kwargs)


def _of_function(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, create_graph: bool = False
) -> Callable[..., Any]:
    return gradient("grad", fn, argnums, create_graph)


grad.__dict__["__signature__"] = inspect.signature(_of_function)


def _of_tensors(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    create_graph = check_flag("grad", "create_graph", create_graph)
    retain = (
        create_graph if retain_graph is None else check_flag("grad", "retain_graph", retain_graph)
    )
    allow_unused = check_flag("grad", "allow_unused", allow_unused)
    ends = differentiable("grad", "outputs", outputs)
    for x in ends:
        check_whole("grad", x._data)
    named = differentiable("grad", "inputs", inputs)
    weights = _weights(grad_outputs, len(ends))
    roots = [
        (_node_of(x), seeded("grad", x, weight, create_graph))
        for x, weight in zip(ends, weights, strict=True)
    ]
    targets = [_node_of(x) for x in named]
    oldest = max([node.age for node in targets])
    _, met = leading([node for node, _ in roots], frozenset(targets), oldest)
    for k, node in enumerate(targets):
        if node not in met and not allow_unused:
            msg = (
                f"grad: no output depends on inputs[{k}]; with allow_unused=True its gradient is "
                "None"
            )
            raise RuntimeError(msg)
    arrived = run(roots, retain=retain, record=create_graph, targets=targets, exact=True)
    return tuple(
        [
            _owned(arrived.get(node), x) if node in met else None
            for x, node in zip(named, targets, strict=True)
        ]
    )


def _weights(grad_outputs: Any, count: int) -> list[Any]:
    """Return what the outputs are weighted by, one for each."""
    if grad_outputs is None:
        return [None] * count
    several = isinstance(grad_outputs, (list, tuple))
    weights = list(grad_outputs) if several else [grad_outputs]
    if len(weights) != count:
        msg = f"grad: got {len(weights)} grad_outputs for {count} outputs"
        raise ValueError(msg)
    return weights


def _node_of(x: Tensor) -> Node:
    assert x._node is not None
    return x._node


def _owned(g: Any, x: Tensor) -> Tensor:
    """Return a gradient as a Tensor, zeros where none arrived."""
    if g is None:
        return wrap(np.zeros_like(x._data), None)
    g = conjugated(g)
    # A copy, since a rule may give one array to several operands, or the caller's own.
    return (
        wrap(g._data.copy(), g._node)
        if isinstance(g, Tensor)
        else wrap(g.copy() if type(g) is Batched else np.array(g), None)
    )


def gradient(
    operation: str, fn: Callable[..., Any], argnums: int | tuple[int, ...], create_graph: bool
) -> Callable[..., Any]:
    """Do what `grad` does for an operation that has another name."""
    both = _differentiated(operation, fn, argnums, False, create_graph)

    def slope(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return slope


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    create_graph: bool = False,
) -> Callable[..., Any]:
    """Do as `grad` does, but the function gives `(value, gradient)`.

    With `has_aux` `fn` returns `(value, aux)`, and the function gives `((value, aux), gradient)`.
    """
    return _differentiated("value_and_grad", fn, argnums, has_aux, create_graph)


def selection(operation: str, argnums: Any) -> Callable[..., Any]:
    """Return what parts a call into a function of the chosen arguments, and those arguments.

    Parameters
    ----------
    argnums : int or tuple of int
        With respect to which positional arguments there will be derivatives.
    """
    wanted = "an int or a tuple of ints"
    several = (argnums,) if isinstance(argnums, (int, np.integer)) else argnums
    places = check_items(operation, "argnums", several, wanted)
    if not all(isinstance(k, (int, np.integer)) for k in places):
        msg = f"{operation}: argnums must be {wanted}, got {shown(argnums)}"
        raise TypeError(msg)

    def select(
        fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        for k in places:
            if not -len(args) <= k < len(args):
                msg = f"{operation}: argnums {argnums} is out of range for {len(args)} arguments"
                raise ValueError(msg)

        def call(*primals: Any) -> Any:
            replaced = list(args)
            for k, x in zip(places, primals, strict=True):
                replaced[k] = x
            return fn(*replaced, **kwargs)

        return call, tuple(args[k] for k in places)

    return select


def _differentiated(
    operation: str,
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...],
    has_aux: bool,
    create_graph: bool,
) -> Callable[..., Any]:
    create_graph = check_flag(operation, "create_graph", create_graph)
    has_aux = check_flag(operation, "has_aux", has_aux)
    check_callable(operation, "fn", fn)
    single, select = isinstance(argnums, (int, np.integer)), selection(operation, argnums)

    def both(*args: Any, **kwargs: Any) -> Any:
        differentiable = create_graph or MODE.transforms > 0
        call, chosen = select(fn, args, kwargs)
        result, sources = _trace(operation, call, chosen)
        value, aux = _pair(operation, result) if has_aux else (result, None)
        if not isinstance(value, Tensor):
            msg = f"{operation}: the function must return a Tensor, returned {type(value).__name__}"
            raise TypeError(msg)
        if value._data.size != 1:
            msg = f"{operation}: the function must return a scalar, returned shape {value.shape}"
            raise ValueError(msg)
        if value.dtype.kind == "c":
            msg = f"{operation}: the function must return a real number, returned {value.dtype}"
            raise TypeError(msg)  # autograd-49
        seeds = [np.ones(value.shape, value.dtype)]
        gradients = _pull([value], seeds, chosen, sources, differentiable, retain=differentiable)
        if not differentiable:
            value, aux = tree_map(_detached, value), tree_map(_detached, aux)
        slope = gradients[0] if single else gradients
        return ((value, aux) if has_aux else value), slope

    return both


def _pair(operation: str, result: Any) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        got = type(result).__name__
        msg = f"{operation}: with has_aux the function must return a pair, returned {got}"
        raise TypeError(msg)
    return result


def vjp(
    fn: Callable[..., Any], *primals: Any, create_graph: bool = False
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Return the result of `fn(*primals)`, and what pulls a cotangent back to the primals.

    Returns
    -------
    output : Tensor or structure of them
    pull : callable
        Takes a cotangent of the structure of `output`, gives a tuple with one gradient per primal;
        can be called several times.
    """
    return pullback("vjp", fn, primals, create_graph)


def pullback(
    operation: str, fn: Callable[..., Any], primals: Sequence[Any], create_graph: bool
) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Do what `vjp` does for an operation that has another name."""
    check_callable(operation, "fn", fn)
    create_graph = check_flag(operation, "create_graph", create_graph)
    inside = create_graph or MODE.transforms > 0
    output, sources = _trace(operation, fn, primals)
    results = tree_leaves(output)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cotangent = tree_aligned(cotangent, output)
        seeds = tree_leaves(cotangent)
        if tree_structure(cotangent) != tree_structure(output):
            msg = f"{operation}: the cotangent must have the structure of the output"
            raise ValueError(msg)
        for out, seed in zip(results, seeds, strict=True):
            if not isinstance(out, Tensor):
                continue
            if not isinstance(seed, Tensor) and not is_raw(seed):
                msg = (
                    f"{operation}: the cotangent must be a Tensor or a raw array, got {shown(seed)}"
                )
                raise TypeError(msg)
            if out.shape != seed.shape:
                msg = f"{operation}: the cotangent must have shape {out.shape}, got {seed.shape}"
                raise ValueError(msg)
            if seed.dtype.kind == "c" and out.dtype.kind != "c":
                msg = f"{operation}: the cotangent of {out.dtype} must be real, got {seed.dtype}"
                raise TypeError(msg)
        differentiable = create_graph or MODE.transforms > 0
        return _pull(results, seeds, primals, sources, differentiable, retain=True)

    return (output if inside else tree_map(_detached, output)), pull


@contextmanager
def _transforming() -> Iterator[None]:
    MODE.transforms += 1
    try:
        with enable_grad():
            yield
    finally:
        MODE.transforms -= 1


def _trace(
    operation: str, fn: Callable[..., Any], primals: Sequence[Any]
) -> tuple[Any, list[Node]]:
    """Call `fn` on stand-ins for the primals; the stand-ins' nodes are where gradients end."""
    sources: list[Node] = []

    def stand_in(x: Any) -> Any:
        if x is None:
            return None
        if not isinstance(x, Tensor) and not is_raw(x):
            msg = f"{operation}: only Tensors and raw arrays have gradients, got {type(x).__name__}"
            raise TypeError(msg)
        array = as_tensor(operation, x)._data
        if array.dtype.kind not in "fc":
            return follow(wrap(array, None))
        sources.append(Source(x._node if isinstance(x, Tensor) else None))
        return follow(wrap(array, sources[-1]))

    stand_ins = [tree_map(stand_in, x) for x in primals]
    with _transforming():
        return fn(*stand_ins), sources


def _pull(
    results: Sequence[Any],
    seeds: Sequence[Any],
    primals: Sequence[Any],
    sources: Sequence[Node],
    differentiable: bool,
    *,
    retain: bool,
) -> tuple[Any, ...]:
    """Return gradients in the structure of the primals; zeros where none arrived."""
    roots = []
    for out, seed in zip(results, seeds, strict=True):
        if isinstance(out, Tensor) and out._node is not None:
            tensor = as_tensor("vjp", seed)
            if out.dtype.kind == "c":
                tensor = conjugated(fit(tensor, out.shape, out.dtype))
            roots.append((out._node, tensor if differentiable else tensor._data))
    arrived = run(roots, retain=retain, record=differentiable, targets=sources) if sources else {}
    remaining = iter(sources)

    def slope(x: Any) -> Any:
        if x is None:
            return None
        array = x._data if isinstance(x, Tensor) else asarray(x)
        g = arrived.get(next(remaining)) if array.dtype.kind in "fc" else None
        return _owned(g, wrap(array, None))

    return tuple(tree_map(slope, x) for x in primals)


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x
