"""What `vmap` stands for: the calls on every slice, and their results stacked."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

Axes = int | None | tuple[int | None, ...]


def looped(nn: Any, fn: Callable[..., Any], in_axes: Axes = 0, out_axes: int = 0) -> Any:
    """Return what calls `fn` on every slice and stacks the results, with operations of `nn`.

    Parameters
    ----------
    nn : module
        The implementation.
    fn : callable
        Of Tensors and structures of them.
    in_axes : int, None or tuple
        One axis for all arguments, or one for each and for all that is in it.
    out_axes : int
        The place of the new axis in every result.
    """

    def call(*args: Any) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        cut = [list(slices(tree, axis)) for tree, axis in zip(args, axes, strict=True)]
        size = max(len(parts) for parts in cut)
        even = [parts if len(parts) == size else parts * size for parts in cut]
        results = [fn(*parts) for parts in zip(*even, strict=True)]
        return stacked(nn, results, out_axes)

    return call


def slices(tree: Any, axis: int | None) -> Iterator[Any]:
    """Yield the slices of a structure, or with None the structure itself, once."""
    if axis is None:
        yield tree
        return
    for place in range(first(tree).shape[axis]):
        yield over(tree, partial(cut, axis=axis, place=place))


def cut(x: Any, axis: int, place: int) -> Any:
    """Return one slice of a Tensor."""
    return x[(slice(None),) * (axis % x.ndim) + (place,)]


def stacked(nn: Any, results: list[Any], axis: int) -> Any:
    """Return results of the same form as one, stacked."""
    leaves = [list(every(result)) for result in results]
    joined = iter([nn.ops.stack(list(parts), axis=axis) for parts in zip(*leaves, strict=True)])
    return over(results[0], lambda _: next(joined))


def over(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return a structure with `change` made of every leaf."""
    if isinstance(tree, dict):
        made = copy.copy(tree)
        made.update((key, over(part, change)) for key, part in tree.items())
        return made
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*[over(part, change) for part in tree])
    if isinstance(tree, list | tuple):
        return type(tree)(over(part, change) for part in tree)
    return change(tree)


def every(tree: Any) -> Iterator[Any]:
    """Yield the leaves of a structure, in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        for part in tree:
            yield from every(part)
    else:
        yield tree


def first(tree: Any) -> Any:
    """Return the first leaf of a structure."""
    return next(every(tree))
