"""`einsum`: what a string says is multiplied and summed, two operands at a time."""

import functools
import itertools
import math
import string
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import jax.numpy as jnp

from ..checks import Shape, refuse, refuse_type
from ..dtypes import DType, bool_, promote
from ..recording import Primitive, as_operand, dtype_of, shape_of
from . import formulas as F
from .families import listed

Array = Any
# The letters of an array's axes, in their order.
Part = tuple[str, Array]

# What stands for the axes of `...`: no letters, from the last one on.
_UNNAMED = [chr(0xE000 + place) for place in range(64)]


def _computed(terms: Sequence[str], out: str, dtype: DType, *arrays: Array) -> Array:
    parts = [
        _diagonal(term, array.astype(dtype)) for term, array in zip(terms, arrays, strict=True)
    ]
    while len(parts) > 1:
        pairs = itertools.combinations(range(len(parts)), 2)
        i, j = min(pairs, key=lambda pair: _growth(parts, out, *pair))
        y, x = parts.pop(j), parts.pop(i)
        parts.append(_product(x, y, _wanted(parts, out)))
    term, array = _summed(*parts[0], out)
    return jnp.transpose(array, [term.index(letter) for letter in out])


def _diagonal(term: str, x: Array) -> Part:
    """Return x with one axis for each letter, and without those that `...` stretches."""
    stretched = tuple([axis for axis, letter in enumerate(term) if letter == " "])
    x, term = jnp.squeeze(x, stretched), term.replace(" ", "")
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            first, last = term.index(letter), term.rindex(letter)
            x = jnp.diagonal(x, axis1=first, axis2=last)
            term = term[:first] + term[first + 1 : last] + term[last + 1 :] + letter
    return term, x


def _wanted(parts: Sequence[Part], out: str) -> set[str]:
    return set(out).union(*[term for term, _ in parts])


def _growth(parts: Sequence[Part], out: str, i: int, j: int) -> int:
    """Return how many elements more there are after a product of two."""
    others = [part for at, part in enumerate(parts) if at not in (i, j)]
    sizes = dict(zip(parts[i][0] + parts[j][0], parts[i][1].shape + parts[j][1].shape, strict=True))
    kept = [size for letter, size in sizes.items() if letter in _wanted(others, out)]
    return math.prod(kept) - parts[i][1].size - parts[j][1].size


def _summed(term: str, x: Array, wanted: Collection[str]) -> Part:
    """Return x summed over the axes whose letters nobody wants."""
    axes = tuple([axis for axis, letter in enumerate(term) if letter not in wanted])
    left = "".join([letter for letter in term if letter in wanted])
    return left, F.total(x, axes).astype(x.dtype) if axes else x


def _product(first: Part, second: Part, wanted: Collection[str]) -> Part:
    """Return the product of two parts, summed over letters that nobody else wants."""
    s, x = _summed(*first, {*wanted, *second[0]})
    t, y = _summed(*second, {*wanted, *s})
    both = [letter for letter in s if letter in t]
    batch = "".join([letter for letter in both if letter in wanted])
    inner = "".join([letter for letter in both if letter not in wanted])
    rows = "".join([letter for letter in s if letter not in t])
    columns = "".join([letter for letter in t if letter not in s])
    sizes = dict(zip(s + t, x.shape + y.shape, strict=True))
    b, m, k, n = [
        math.prod([sizes[letter] for letter in part]) for part in (batch, rows, inner, columns)
    ]
    x = jnp.transpose(x, [s.index(letter) for letter in batch + rows + inner])
    y = jnp.transpose(y, [t.index(letter) for letter in batch + inner + columns])
    if not inner:
        made = jnp.multiply(*F.stretched(x.reshape(b, m, 1), y.reshape(b, 1, n)))
    elif not batch:
        made = F.product(x.reshape(m, k), y.reshape(k, n))
    elif rows or columns:
        made = F.product(x.reshape(b, m, k), y.reshape(b, k, n))
    else:
        made = F.total(x.reshape(b, k) * y.reshape(b, k), (1,)).astype(x.dtype)
    term = batch + rows + columns
    return term, made.reshape([sizes[letter] for letter in term])


_einsum = Primitive(_computed, "einsum")


@functools.lru_cache(maxsize=1024)
def _plan(subscripts: str, shapes: tuple[Shape, ...]) -> tuple[tuple[str, ...], str]:
    """Return the letters of each operand's axes, blank for what is stretched, and of the result's.

    Raises
    ------
    ValueError
        If the subscripts are none, or the shapes do not fit them.
    """
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        _refuse(subscripts, shapes, "of one term for each operand")
    terms = [_named(subscripts, shapes, *pair) for pair in zip(terms, shapes, strict=True)]
    sizes: dict[str, int] = {}
    for letter, size in zip("".join(terms), itertools.chain(*shapes), strict=True):
        known = sizes.setdefault(letter, size)
        if known != size and letter in _UNNAMED and 1 in (known, size):
            sizes[letter] = size if known == 1 else known
        elif known != size:
            _refuse(subscripts, shapes, "such that all axes of one letter are of one length")
    unnamed = sorted([letter for letter in sizes if letter in _UNNAMED], reverse=True)
    if arrow:
        out = _named(subscripts, shapes, right, None, len(unnamed))
    else:
        once = [letter for letter in sizes if "".join(terms).count(letter) == 1]
        out = "".join([*unnamed, *sorted(set(once) - set(unnamed))])
    if len(set(out)) != len(out) or not set(unnamed) <= set(out) <= set(sizes):
        _refuse(subscripts, shapes, "of a result that has `...` and each of its letters once")
    stretched = [
        "".join(
            [
                " " if letter in _UNNAMED and size != sizes[letter] else letter
                for letter, size in zip(term, shape, strict=True)
            ]
        )
        for term, shape in zip(terms, shapes, strict=True)
    ]
    return tuple(stretched), out


def _named(
    subscripts: str, shapes: tuple[Shape, ...], term: str, shape: Shape | None, unnamed: int = 0
) -> str:
    """Return a term with a name for each axis of `...`: those that the shape has, or `unnamed`."""
    letters = term.replace("...", "", 1)
    if not set(letters) <= set(string.ascii_letters):
        _refuse(subscripts, shapes, "terms of letters and at most one `...` each")
    if shape is not None:
        unnamed = len(shape) - len(letters)
        if unnamed < 0 or (unnamed and letters == term):
            _refuse(subscripts, shapes, "terms of a letter for each axis, or `...`")
    return term.replace("...", "".join(_UNNAMED[:unnamed][::-1]))


def _refuse(subscripts: str, shapes: tuple[Shape, ...], wanted: str) -> NoReturn:
    got = f"{subscripts!r} for shapes {' and '.join(map(str, shapes))}"
    refuse("einsum", "subscripts", wanted, got)


@listed(
    "subscripts : str\n    A term for each operand, with commas between: a letter for each axis,\n"
    "    `...` for axes without a name; behind `->` the axes of the result.\n"
    "*operands : Tensor or raw array\n    At least one.",
    "the axes behind `->`",
    "ValueError\n    If the subscripts are none of this form, or the shapes do not fit them.\n"
    "TypeError\n    If `subscripts` is no string, or an operand is no array or of booleans.",
    "page of numpy.einsum",
)
def einsum(subscripts: str, /, *operands: Any) -> Any:
    """Return the products of elements, summed over the letters that the result lacks."""  # ops-55
    if not isinstance(subscripts, str):
        refuse_type("einsum", "subscripts", "a string", subscripts)
    arrays = [as_operand("einsum", operand) for operand in operands]
    if not arrays:
        refuse("einsum", "operands", "at least one array", "none")
    dtypes = [dtype_of(array) for array in arrays]
    if bool_ in dtypes:  # tensor-40
        msg = "einsum: booleans must be converted to numbers first, got dtype bool"
        raise TypeError(msg)
    terms, out = _plan(subscripts, tuple([shape_of(array) for array in arrays]))
    return _einsum(
        arrays, terms, out, functools.reduce(functools.partial(promote, "einsum"), dtypes)
    )
