"""Sums of products, as a string of letters says."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from itertools import combinations
from typing import Any, NoReturn, TypeAlias

from impl_numpy.checks import check_string, shown
from impl_numpy.dtypes import Shape, bool_, promoted
from impl_numpy.ops.elementwise import multiply
from impl_numpy.ops.families import meet, registered, reshaped
from impl_numpy.ops.linalg import matmul
from impl_numpy.ops.reduction import sum as summed
from impl_numpy.recording import RULES, unary
from impl_numpy.tensor import Tensor, as_tensor

_NAME = "einsum"
_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")

# What an axis is called: by its letter, or, where it belongs to `...`, by its place from the end.
Labels: TypeAlias = list[str | int]
Sizes: TypeAlias = dict[str | int, int]
# An operand and what its axes are called, each once.
Factor: TypeAlias = tuple[Tensor, Labels]

_FRAME = """Parameters
----------
subscripts : str
    A term of letters for each operand, with commas between them, and behind ``->`` the axes of the
    result; left out, those of ``...`` and the letters that occur once, in alphabetical order. A
    term may have ``...`` for axes without a letter, which broadcast. A letter that a term has twice
    is its diagonal. What the result lacks is summed over.
operands : Tensor or raw array
    All axes of one letter have the same length.

Returns
-------
Tensor, of the common dtype

Raises
------
ValueError
    If the subscripts are not of this form, or do not fit the shapes.
TypeError
    If they are no string, or an operand is no array or of bool."""


@registered(_NAME, "Return the sum of products over axes named by letters.", _FRAME, "numpy.einsum")
def einsum(subscripts: Any, /, *operands: Any) -> Tensor:  # ops-55
    check_string(_NAME, "subscripts", subscripts)
    tensors = [as_tensor(_NAME, x) for x in operands]
    if any([x.dtype == bool_ for x in tensors]):
        msg = f"{_NAME}: operands must be numbers, got bool; cast with astype first"
        raise TypeError(msg)
    shapes = [x.shape for x in tensors]
    terms, wanted = _read(subscripts, shapes)
    sizes = _sizes(subscripts, terms, shapes)
    dtype = promoted(_NAME, *[x.dtype for x in tensors])
    factors = [
        _factor(meet(x, x.shape, dtype), labels, sizes)
        for x, labels in zip(tensors, terms, strict=True)
    ]
    while len(factors) > 1:
        pair = _cheapest(factors, wanted, sizes)
        first, second = [factors[k] for k in pair]
        factors = _others(factors, pair)
        factors.append(_product(first, second, _needed(factors, wanted), sizes))
    x, labels = _without(factors[0], wanted)
    result: Tensor = unary(RULES["permute_dims"], x, (tuple([labels.index(k) for k in wanted]),))
    # A sum of integers is of int64.
    return meet(result, result.shape, dtype)


def _refuse(subscripts: str, shapes: Sequence[Shape], reason: str) -> NoReturn:
    of = " and ".join(map(str, shapes)) or "no operand"
    msg = f"{_NAME}: {reason}, got subscripts {shown(subscripts)} for {of}"
    raise ValueError(msg)


def _read(subscripts: str, shapes: Sequence[Shape]) -> tuple[list[Labels], Labels]:
    """Return what the axes of each operand and of the result are called."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        _refuse(subscripts, shapes, "there must be one term for each operand")
    hidden = [len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True)]
    for term, more in zip([*terms, right], [*hidden, 0], strict=True):
        form = _TERM.fullmatch(term)
        if form is None:
            _refuse(subscripts, shapes, "a term must be of letters, with '...' at most once")
        if more < 0 or (more and form[1] is None):
            _refuse(subscripts, shapes, "a term must name each axis of its operand")
    most = max(hidden)
    letters = "".join(terms).replace(".", "")
    if not arrow:
        right = "..." + "".join(sorted(k for k in letters if letters.count(k) == 1))
    elif most and "..." not in right:
        _refuse(subscripts, shapes, "the result must have '...' where a term has axes there")
    wanted = _labels(right, most)
    if len(set(wanted)) < len(wanted) or not set(right) <= {*letters, "."}:
        _refuse(subscripts, shapes, "the result must have letters of the terms, each once")
    return [_labels(term, more) for term, more in zip(terms, hidden, strict=True)], wanted


def _labels(term: str, hidden: int) -> Labels:
    before, dots, after = term.partition("...")
    return [*before, *(range(-hidden, 0) if dots else ()), *after]


def _sizes(subscripts: str, terms: Sequence[Labels], shapes: Sequence[Shape]) -> Sizes:
    """Return the length of each axis; those of `...` broadcast."""
    sizes: Sizes = {}
    for labels, shape in zip(terms, shapes, strict=True):
        for label, n in zip(labels, shape, strict=True):
            known = sizes.setdefault(label, n)
            if isinstance(label, int) and 1 in (known, n):
                sizes[label] = n if known == 1 else known
            elif known != n:
                _refuse(subscripts, shapes, "axes of one name must have one length")
    return sizes


def _factor(x: Tensor, labels: Labels, sizes: Sizes) -> Factor:
    """Return an operand without axes to be stretched, and with diagonals for repeated letters."""
    if any([n != sizes[label] for n, label in zip(x.shape, labels, strict=True)]):
        labels = [label for n, label in zip(x.shape, labels, strict=True) if n == sizes[label]]
        x = reshaped(x, tuple([sizes[label] for label in labels]))
    while len(set(labels)) < len(labels):
        letter = next(label for label in labels if labels.count(label) > 1)
        first = labels.index(letter)
        second = labels.index(letter, first + 1)
        others = [k for k in range(len(labels)) if k not in (first, second)]
        x = unary(RULES["permute_dims"], x, ((first, second, *others),))
        # Of a square in a row, each element of the diagonal is so far from the one before.
        x = reshaped(x, (x.shape[0] ** 2, *x.shape[2:]))[:: x.shape[0] + 1]
        labels = [letter, *[labels[k] for k in others]]
    return x, labels


def _needed(factors: Sequence[Factor], wanted: Labels) -> set[str | int]:
    return set(wanted).union(*[labels for _, labels in factors])


def _others(factors: list[Factor], pair: tuple[int, int]) -> list[Factor]:
    return [factor for k, factor in enumerate(factors) if k not in pair]


def _cheapest(factors: list[Factor], wanted: Labels, sizes: Sizes) -> tuple[int, int]:
    """Return the places of the two whose product has the fewest elements beyond theirs."""

    def growth(pair: tuple[int, int]) -> int:
        (x, one), (y, other) = [factors[k] for k in pair]
        kept = _needed(_others(factors, pair), wanted).intersection([*one, *other])
        return math.prod([sizes[k] for k in kept]) - x.size - y.size

    return min(combinations(range(len(factors)), 2), key=growth)


def _without(factor: Factor, needed: Collection[str | int]) -> Factor:
    """Return an operand summed over the axes that nobody needs."""
    x, labels = factor
    axes = tuple([k for k, label in enumerate(labels) if label not in needed])
    if not axes:
        return factor
    return summed(x, axis=axes), [label for label in labels if label in needed]


def _product(first: Factor, second: Factor, needed: Collection[str | int], sizes: Sizes) -> Factor:
    """Return the product of two operands, summed over the axes of both that nobody else needs."""
    first = _without(first, {*needed, *second[1]})
    second = _without(second, {*needed, *first[1]})
    both = [k for k in first[1] if k in second[1]]
    stacked = [k for k in both if k in needed]
    inner = [k for k in both if k not in needed]
    rows = [k for k in first[1] if k not in both]
    columns = [k for k in second[1] if k not in both]
    stacks = [stacked] if stacked else []
    tall = _grouped(first, [*stacks, rows, inner], sizes)
    wide = _grouped(second, [*stacks, inner, columns], sizes)
    whole = matmul(tall, wide) if inner else multiply(tall, wide)
    labels = [*stacked, *rows, *columns]
    return reshaped(whole, tuple([sizes[k] for k in labels])), labels


def _grouped(factor: Factor, groups: list[Labels], sizes: Sizes) -> Tensor:
    """Return an operand with one axis for each group of its axes."""
    x, labels = factor
    order = tuple([labels.index(k) for group in groups for k in group])
    x = unary(RULES["permute_dims"], x, (order,))
    return reshaped(x, tuple([math.prod([sizes[k] for k in group]) for group in groups]))
