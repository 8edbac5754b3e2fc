"""Values that stand where they do not belong, and how a call is spoilt with them."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

# No size between these is asked for: an array of 10**9 elements is valid, and takes the memory.
LARGE = 2**70


def pool(nn: Any) -> list[Callable[[], Any]]:
    """Return makers of values that some argument of some call does not take.

    Parameters
    ----------
    nn : module
        The implementation, whose Tensors, Modules and dtypes are among them.
    """
    return [*_plain(), *_nested(), *_arrays(), *_own(nn)]


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value


def _plain() -> list[Callable[[], Any]]:
    numbers = (0, 1, -1, 3, LARGE, -LARGE, 1.5, -0.5, float("nan"), float("inf"), 1j, True, False)
    others = (None, "", "a", "mean", "0", b"b", ..., NotImplemented, object, int, slice(0, 1))
    scalars = (np.float64(0.5), np.int8(-1), np.uint64(2**63), np.bool_(True), np.complex64(1))
    words = (np.str_("a"), np.datetime64("2020-01-01"))
    constants = [*numbers, *others, *scalars, *words]
    return [
        *map(_always, constants),
        object,
        lambda: max,
        lambda: range(2),
        lambda: iter([1, 2]),
        lambda: (k for k in range(2)),
    ]


def _nested() -> list[Callable[[], Any]]:
    values = (
        "[]",
        "()",
        "{}",
        "set()",
        "[1]",
        "[0]",
        "(0,)",
        "(1,)",
        "(-1,)",
        "(0, 0)",
        "(0, 1)",
        "[None]",
        "(None,)",
        "['a']",
        "[[1.0], [2.0, 3.0]]",
        "[1.5]",
        "(1.5,)",
        "[True]",
        "[object()]",
        "{'a': 1}",
        "{1: 2}",
        "{'params': []}",
        "[[[1]]]",
        "((0, 0), (0, 0))",
        "{'a': None}",
        "[{}]",
        "[()]",
    )
    return [partial(eval, text) for text in values]


def _arrays() -> list[Callable[[], Any]]:
    kinds = "f4 f8 i4 i8 ? i1 u1 u8 f2 c8 c16 U1 O M8[s]".split()
    shapes = ((), (0,), (1,), (2,), (3, 4), (2, 3, 4))
    return [partial(np.zeros, shape, kind) for kind in kinds for shape in shapes]


def _own(nn: Any) -> list[Callable[[], Any]]:
    dtypes = list(nn.ops.__array_namespace_info__().dtypes().values())
    shapes = ((), (0,), (1,), (2,), (3, 4), (2, 3, 4))
    tensors = [partial(nn.zeros, shape, dtype=dtype) for dtype in dtypes for shape in shapes]
    return [
        *tensors,
        *map(_always, dtypes),
        lambda: nn.zeros((3, 4), requires_grad=True),
        lambda: nn.zeros((3, 4), requires_grad=True) * 2,
        lambda: nn.zeros(2).data,
        lambda: nn.Parameter(nn.zeros(2)),
        lambda: nn.Linear(4, 2),
        lambda: nn.ReLU,
        lambda: [nn.zeros(2), nn.zeros((3, 4))],
        lambda: (nn.zeros(2), None),
        lambda: {"a": nn.zeros(2)},
        lambda: nn.Function,
        lambda: nn.no_grad(),
    ]


def spoil(
    draw: random.Random,
    values: list[Callable[[], Any]],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    names: tuple[str, ...],
) -> tuple[list[Any], dict[str, Any]]:
    """Return a call's arguments with one or two of them made wrong.

    Parameters
    ----------
    draw : random.Random
        Decides.
    values : list of callable
        Makers of the values that are put in.
    arguments, options : tuple and dict
        A good call.
    names : tuple of str
        The keywords that the operation takes.
    """
    positional, named = list(arguments), dict(options)
    for _ in range(draw.choice((1, 1, 1, 2))):
        places = [*range(len(positional)), *names]
        act = draw.random()
        if act < 0.03 and positional:
            positional.pop(draw.randrange(len(positional)))
        elif act < 0.06:
            positional.append(draw.choice(values)())
        elif act < 0.08:
            named["no_such_option"] = draw.choice(values)()
        elif places:
            _put(draw, draw.choice(places), draw.choice(values)(), positional, named)
    return positional, named


def _put(
    draw: random.Random, place: Any, value: Any, positional: list[Any], named: dict[str, Any]
) -> None:
    holder: Any = positional if isinstance(place, int) else named
    old = holder[place] if isinstance(place, int) else named.get(place)
    # A structure is spoilt inside as often as it is replaced.
    if draw.random() < 0.5 and isinstance(old, (list, tuple)) and old:
        k = draw.randrange(len(old))
        holder[place] = type(old)([*old[:k], value, *old[k + 1 :]])
    elif draw.random() < 0.5 and isinstance(old, dict) and old:
        holder[place] = {**old, draw.choice(list(old)): value}
    else:
        holder[place] = value
