"""Products of any number of arrays, summed over what the result does not name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from impl_cupy.checks import check_kinds, check_text, shown
from impl_cupy.ops.families import written
from impl_cupy.recording import as_tensor, as_tensors
from impl_cupy.tape import handles
from impl_cupy.tensor import Tensor

Label = str
"""A letter; or of an axis of ``...`` its place, counted from the last, as digits."""
Labels = tuple[Label, ...]
_DOTS = "..."


@written("the page of numpy.einsum")
def einsum(subscripts: str, /, *operands: Any) -> Tensor:
    """Multiply arrays, and sum over the letters that the result does not name.

    Two at a time are multiplied, first those whose product is smallest, as matrices where a letter
    is summed over.

    Parameters
    ----------
    subscripts : str
        A term of letters for each operand, with commas between, ``...`` for the axes that it does
        not name, and behind ``->`` those of the result; without it the axes of ``...``, then the
        letters that occur once, in alphabetical order.
    *operands : Tensor or raw array
        At least one. Axes of one letter have the same length; those of ``...`` broadcast.

    Returns
    -------
    Tensor, the axes that the result names

    Raises
    ------
    TypeError
        If `subscripts` is no str, or an operand no array or boolean.
    ValueError
        That names the subscripts and the shapes, if they do not fit.
    """
    check_text("einsum", "subscripts", subscripts)
    for operand in operands:
        check_kinds("einsum", as_tensor("einsum", operand), "iufc")
    arrays = list(as_tensors("einsum", operands))
    terms, result, sizes = _Reader(subscripts, [array.shape for array in arrays]).read()
    parts = [_reduced(*part, sizes) for part in zip(arrays, terms, strict=True)]
    while len(parts) > 1:
        one, two = _cheapest([term for _, term in parts], result, sizes)
        second, first = parts.pop(two), parts.pop(one)
        kept = set(result).union(*[term for _, term in parts])
        parts.append(_multiplied(first, second, kept, sizes))
    array, term = _summed(*parts[0], set(result))
    return handles.permute_dims(array, tuple(term.index(label) for label in result))


class _Reader:
    """Reads subscripts beside the operands' shapes."""

    def __init__(self, subscripts: str, shapes: Sequence[tuple[int, ...]]) -> None:
        self.subscripts = subscripts
        self.shapes = shapes

    def read(self) -> tuple[list[Labels], Labels, dict[Label, int]]:
        """Return the labels of each operand's axes, those of the result's, and their lengths."""
        left, *right = self.subscripts.replace(" ", "").split("->")
        texts = left.split(",")
        if len(texts) != len(self.shapes):
            self.refuse(f"have a term for each of {len(self.shapes)} operands")
        if len(right) > 1:
            self.refuse("have one -> at most")
        terms = [self._term(*part) for part in zip(texts, self.shapes, strict=True)]
        sizes = self._sizes(terms)
        dots = sorted({label for term in terms for label in term if label.isdigit()}, key=int)
        hidden = tuple(reversed(dots))
        if right:
            return terms, self._result(right[0], hidden, sizes), sizes
        letters = left.replace(".", "").replace(",", "")
        once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        return terms, (*hidden, *once), sizes

    def refuse(self, wanted: str) -> NoReturn:
        shapes = " and ".join(map(str, self.shapes))
        msg = f"einsum: subscripts must {wanted}, got {shown(self.subscripts)} for shapes {shapes}"
        raise ValueError(msg)

    def _split(self, text: str) -> tuple[Labels, bool, Labels]:
        """Return the letters before and behind ``...``, and whether it is there."""
        before, dots, behind = text.partition(_DOTS)
        letters = before + behind
        if not (letters.isascii() and letters.isalpha()) and letters:
            self.refuse("hold letters, commas, ->, and ... once in a term")
        return tuple(before), bool(dots), tuple(behind)

    def _term(self, text: str, shape: tuple[int, ...]) -> Labels:
        before, has_dots, behind = self._split(text)
        hidden = len(shape) - len(before) - len(behind)
        if hidden < 0 or (hidden and not has_dots):
            self.refuse(f"name the {len(shape)} axes of shape {shape} in {text!r}")
        return (*before, *map(str, reversed(range(hidden))), *behind)

    def _sizes(self, terms: Sequence[Labels]) -> dict[Label, int]:
        sizes: dict[Label, int] = {}
        for term, shape in zip(terms, self.shapes, strict=True):
            for label, size in zip(term, shape, strict=True):
                known = sizes.setdefault(label, size)
                if label.isdigit() and 1 in (known, size):
                    sizes[label] = size if known == 1 else known
                elif known != size:
                    axes = "the axes of ..." if label.isdigit() else f"all axes of {label!r}"
                    self.refuse(f"give {axes} lengths that fit, not {known} and {size}")
        return sizes

    def _result(self, text: str, hidden: Labels, sizes: dict[Label, int]) -> Labels:
        before, has_dots, behind = self._split(text)
        letters = before + behind
        if len(set(letters)) != len(letters) or not sizes.keys() >= set(letters):
            self.refuse("name in the result letters of the operands, each once")
        if hidden and not has_dots:
            self.refuse("have ... in the result, as in the operands")
        return before + hidden + behind


def _reduced(array: Any, term: Labels, sizes: dict[Label, int]) -> tuple[Any, Labels]:
    """Take the diagonal where a label comes twice, and drop axes that broadcast."""
    for label in term:
        while term.count(label) > 1:
            first = term.index(label)
            second = term.index(label, first + 1)
            rest = [axis for axis in range(len(term)) if axis not in (first, second)]
            size = sizes[label]
            array = handles.permute_dims(array, (*rest, first, second))
            array = array.reshape((*array.shape[:-2], size * size))[..., :: size + 1]
            term = (*[term[axis] for axis in rest], label)
    thin = tuple(axis for axis, label in enumerate(term) if array.shape[axis] != sizes[label])
    if thin:
        array = handles.squeeze(array, thin)
        term = tuple(label for axis, label in enumerate(term) if axis not in thin)
    return array, term


def _cheapest(terms: Sequence[Labels], result: Labels, sizes: dict[Label, int]) -> tuple[int, int]:
    """Return which two have the smallest product, the first such two."""

    def size(pair: tuple[int, int]) -> int:
        others = [term for place, term in enumerate(terms) if place not in pair]
        kept = set(result).union(*others)
        both = {*terms[pair[0]], *terms[pair[1]]}
        return math.prod(sizes[label] for label in both & kept)

    pairs = itertools.combinations(range(len(terms)), 2)
    return next(iter(pairs)) if len(terms) == 2 else min(pairs, key=size)


def _summed(array: Any, term: Labels, kept: set[Label]) -> tuple[Any, Labels]:
    """Sum over what is not kept; integers keep their dtype."""
    axes = tuple(axis for axis, label in enumerate(term) if label not in kept)
    if not axes:
        return array, term
    array = handles.sum(array, axis=axes, dtype=array.dtype)
    return array, tuple(label for label in term if label in kept)


def _ordered(array: Any, term: Labels, order: Sequence[Label]) -> Any:
    if term == tuple(order):
        return array
    return handles.permute_dims(array, tuple(term.index(label) for label in order))


def _multiplied(
    first: tuple[Any, Labels], second: tuple[Any, Labels], kept: set[Label], sizes: dict[Label, int]
) -> tuple[Any, Labels]:
    """Multiply two arrays, and sum over what only they have and is not kept."""
    a, one = _summed(*first, kept | set(second[1]))
    b, two = _summed(*second, kept | set(one))
    rows = tuple(label for label in one if label not in two)
    columns = tuple(label for label in two if label not in one)
    both = tuple(label for label in one if label in two and label in kept)
    inner = tuple(label for label in one if label in two and label not in kept)

    def shape(*groups: Labels) -> tuple[int, ...]:
        return tuple(math.prod(sizes[label] for label in group) for group in groups)

    if not inner:
        a = _ordered(a, one, (*both, *rows))
        b = _ordered(b, two, (*both, *columns))
        a = a.reshape((*a.shape, *[1] * len(columns)))
        b = b.reshape((*b.shape[: len(both)], *[1] * len(rows), *b.shape[len(both) :]))
        return a * b, (*both, *rows, *columns)
    a = _ordered(a, one, (*both, *rows, *inner)).reshape(shape(both, rows, inner))
    b = _ordered(b, two, (*both, *inner, *columns)).reshape(shape(both, inner, columns))
    labels = (*both, *rows, *columns)
    return handles.matmul(a, b).reshape(tuple(sizes[label] for label in labels)), labels
