"""Sums of products that a string describes, two operands at a time."""

import math
from collections.abc import Iterable
from itertools import combinations
from typing import Any, TypeAlias

import torch
from torch import Tensor

from impl_torch_ext.checks import check_tensor, shapes_of, shown
from impl_torch_ext.dtypes import bool_
from impl_torch_ext.ops.families import listed, operands
from impl_torch_ext.ops.products import product

__all__ = ["einsum"]

# An axis of `...` has its place from the end for a label, any other axis its letter.
Label: TypeAlias = str | int
Term: TypeAlias = tuple[Tensor, list[Label]]


@listed(
    {
        "subscripts": "str\nLetters for the axes of each operand, as in 'ij,jk->ik'.",
        "*operands": "Tensor, any shape",
    },
    "Tensor, the axes behind '->'",
    {
        "ValueError": "If the subscripts do not fit the operands, or no operand came.",
        "TypeError": "If an operand is no Tensor or boolean, or `subscripts` no string.",
    },
    "numpy.einsum",
)
def einsum(subscripts: str, /, *operands: Tensor) -> Tensor:
    """Return the products of elements at equal letters, summed over those that the result lacks."""
    tensors = _checked(subscripts, operands)
    labels, output = _labels(subscripts, tensors)
    _check_sizes(subscripts, tensors, labels)
    longer = {
        label
        for x, names in zip(tensors, labels, strict=True)
        for size, label in zip(x.shape, names, strict=True)
        if size != 1
    }
    terms = [_simple(x, names, longer) for x, names in zip(tensors, labels, strict=True)]
    while len(terms) > 1:
        pairs = combinations(range(len(terms)), 2)
        # torch.compile follows neither `min` with a key nor generators in `math.prod`.
        i, j = sorted(pairs, key=lambda pair: _cost(terms, pair))[0]
        second, first = terms.pop(j), terms.pop(i)
        kept = {*output, *(label for _, names in terms for label in names)}
        terms.append(_contracted(first, second, kept))
    x, names = _summed(terms[0], output)
    return x.permute([names.index(label) for label in output])


def _checked(subscripts: Any, given: tuple[Any, ...]) -> list[Tensor]:
    """Return the operands in one dtype, or raise."""
    if not isinstance(subscripts, str):
        msg = f"einsum: subscripts must be a str, got {type(subscripts).__name__}"
        raise TypeError(msg)
    if not given:
        msg = f"einsum: at least one operand must follow subscripts {shown(subscripts)}, got none"
        raise ValueError(msg)
    tensors = [check_tensor("einsum", x, "each operand") for x in operands("einsum", *given)]
    dtype = tensors[0].dtype
    for x in tensors:
        if x.dtype is bool_:
            msg = f"einsum: operands must be of numbers, got {x.dtype}"
            raise TypeError(msg)
        dtype = torch.promote_types(dtype, x.dtype)
    return [x.to(dtype) for x in tensors]


def _refuse(subscripts: str, tensors: list[Tensor], wanted: str) -> ValueError:
    came = f"{' '.join(subscripts.split())!r} for shapes {shapes_of(*tensors)}"
    return ValueError(f"einsum: {wanted}, got {came}")


def _labels(subscripts: str, tensors: list[Tensor]) -> tuple[list[list[Label]], list[Label]]:
    """Return the labels of the axes of each operand, and of the result, or raise."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise _refuse(subscripts, tensors, f"subscripts must have {len(tensors)} terms")
    hidden = 0
    for term, x in zip(terms, tensors, strict=True):
        letters = _letters(subscripts, tensors, term)
        if len(letters) > x.ndim or (len(letters) < x.ndim and "..." not in term):
            raise _refuse(subscripts, tensors, "each term must name the axes of its operand")
        if "..." in term:
            hidden = max(hidden, x.ndim - len(letters))
    labels = [_spread(term, x.ndim) for term, x in zip(terms, tensors, strict=True)]
    once = sorted(c for c in {*left} if c.isalpha() and left.count(c) == 1)
    result = right if arrow else "..." + "".join(once)
    named = _letters(subscripts, tensors, result)
    if len({*named}) < len(named) or not {*named} <= {*left}:
        raise _refuse(subscripts, tensors, "the result must name letters of the terms once each")
    if hidden and "..." not in result:
        raise _refuse(subscripts, tensors, "the result must have the axes of '...'")
    return labels, _spread(result, len(named) + hidden)


def _letters(subscripts: str, tensors: list[Tensor], term: str) -> str:
    """Return the letters of a term, which may have one ``...`` besides, or raise."""
    letters = term.replace("...", "", 1)
    if letters and not (letters.isascii() and letters.isalpha()):
        raise _refuse(subscripts, tensors, "terms must be of letters and at most one '...' each")
    return letters


def _spread(term: str, ndim: int) -> list[Label]:
    """Return a label for each of `ndim` axes."""
    before, _, after = term.partition("...")
    return [*before, *range(len(before) + len(after) - ndim, 0), *after]


def _check_sizes(subscripts: str, tensors: list[Tensor], labels: list[list[Label]]) -> None:
    """Raise a ValueError if axes of one letter differ, or those of ``...`` do not broadcast."""
    sizes: dict[Label, int] = {}
    for x, names in zip(tensors, labels, strict=True):
        for size, label in zip(x.shape, names, strict=True):
            known = sizes.setdefault(label, size)
            if isinstance(label, int) and known == 1:
                sizes[label] = size
            elif known != size and not (isinstance(label, int) and size == 1):
                wanted = (
                    f"axes of {label!r} must have equal lengths"
                    if isinstance(label, str)
                    else "axes of '...' must broadcast"
                )
                raise _refuse(subscripts, tensors, wanted)


def _simple(x: Tensor, names: list[Label], longer: set[Label]) -> Term:
    """Return the diagonal over letters that come twice, without the axes that are stretched."""
    for place in reversed(range(x.ndim)):
        if isinstance(names[place], int) and x.shape[place] == 1 and names[place] in longer:
            x, names = x.squeeze(place), names[:place] + names[place + 1 :]
    for label in {*names}:
        while names.count(label) > 1:
            first = names.index(label)
            second = names.index(label, first + 1)
            x = x.diagonal(0, first, second)
            names = [n for i, n in enumerate(names) if i not in (first, second)] + [label]
    return x, names


def _cost(terms: list[Term], pair: tuple[int, int]) -> tuple[int, int]:
    """Return how many products the elements of two terms make, and how many sums are left."""
    sizes: dict[Label, int] = {}
    for i in pair:
        x, names = terms[i]
        sizes.update(zip(names, x.shape, strict=True))
    others = {label for i, term in enumerate(terms) if i not in pair for label in term[1]}
    kept = math.prod([size for label, size in sizes.items() if label in others])
    return math.prod([*sizes.values()]), kept


def _summed(term: Term, kept: Iterable[Label]) -> Term:
    """Return the sums over the labels that are not kept."""
    x, names = term
    places = [i for i, label in enumerate(names) if label not in kept]
    if places:
        x = x.sum(places, dtype=x.dtype)
    return x, [label for label in names if label in kept]


def _contracted(first: Term, second: Term, kept: set[Label]) -> Term:
    """Return the product of two terms, summed over the labels that are not kept."""
    a, left = _summed(first, kept.union(second[1]))
    b, right = _summed(second, kept.union(first[1]))
    both = [label for label in left if label in right]
    batch = [label for label in both if label in kept]
    inner = [label for label in both if label not in kept]
    rows, columns = ([n for n in names if n not in both] for names in (left, right))
    size = dict(zip([*left, *right], [*a.shape, *b.shape], strict=True))

    def grouped(x: Tensor, names: list[Label], *groups: list[Label]) -> Tensor:
        order = [names.index(label) for group in groups for label in group]
        lengths = [math.prod([size[label] for label in group]) for group in groups]
        return x.permute(order).reshape(lengths)

    if not inner:
        result = grouped(a, left, batch, rows, []) * grouped(b, right, batch, [], columns)
    elif not batch:
        result = product(grouped(a, left, rows, inner), grouped(b, right, inner, columns))
    elif rows or columns:
        result = torch.bmm(
            grouped(a, left, batch, rows, inner), grouped(b, right, batch, inner, columns)
        )
    else:  # By pairs, and quicker than as many products of a row and a column.
        result = (grouped(a, left, batch, inner) * grouped(b, right, batch, inner)).sum(
            1, dtype=a.dtype
        )
    names = [*batch, *rows, *columns]
    return result.reshape([size[label] for label in names]), names
