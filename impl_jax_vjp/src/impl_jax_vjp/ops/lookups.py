"""Lookups by arrays of integers, as formulas, and how the gradients of equal indices are added.

JAX adds the gradients of equal indices one after the other into one number, whose error grows with
their count (ops-25). Here a lookup has a second form, which finds the same elements in steps: from
the array to groups, from groups to slots, from slots to the result. Its transpose, which JAX
derives, adds the other way: what meets in one slot, the slots of a group, the groups of an index.
Memory and time stay linear, nothing is sorted, and derivatives of every order are JAX's own.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..dtypes import is_inexact

Array = Any
Template = tuple[tuple[str, Any], ...]

# So many equal indices are added one after the other: the bound of ops-25 has room for 24.
FEW = 24
# An index met more often has groups of `_SLOTS` slots, one group for each 64 times it is met: 8
# meet in a slot on average.
_SLOTS = 8
_MET_BY_GROUP = 64
# Groups are added within blocks of 32, and the ends of blocks again, until 48 are left. Of these
# and of the 32 half is 0 where all belong to one index.
_BLOCK = 32
_LAST = 48


def counter(size: int) -> Any:
    """Return the dtype in which places along an axis are counted.

    Mostly int32: code that a user compiles without JAX's x64 mode has nothing wider inside.
    """
    return jnp.int32 if size < 2**31 else jnp.int64


def missing(dtype: Any) -> Any:
    """Return what a lookup out of range gives: NaN, or the integer that is farthest from 0."""
    # ops-29
    if is_inexact(dtype):
        return np.nan
    if dtype.kind == "u":
        return np.iinfo(dtype).max
    return False if dtype.kind == "b" else np.iinfo(dtype).min


def places(indices: Array, size: int, negative: bool = True) -> Array:
    """Return indices counted from 0 along an axis, and `size` for those out of range.

    Parameters
    ----------
    negative : bool
        Whether negative indices count from the end; if not, they are out of range.
    """
    counted = indices
    if jnp.issubdtype(indices.dtype, jnp.signedinteger):
        # Wide enough for the sum, whatever the dtype of the indices.
        counted = indices.astype(jnp.promote_types(indices.dtype, counter(size)))
        counted = jnp.where(counted < 0, counted + size if negative else size, counted)
        counted = jnp.where(counted < 0, size, counted)
    elif size > np.iinfo(indices.dtype).max:
        return indices.astype(counter(size))
    return jnp.minimum(counted, np.asarray(size, counted.dtype)).astype(counter(size))


def take(axis: int, often: bool | None, x: Array, indices: Array) -> Array:
    """Return the elements of x at `indices`, whose shape takes the place of `axis`.

    `often` is that of `gather`.
    """
    return gather(along(axis), often, x, indices)


def along(axis: int) -> Template:
    """Return the template of a lookup along an axis."""
    return ((("slice", (None, None, None)),) * axis) + (("array", 0),)


def beside(axis: int, shape: tuple[int, ...], indices: Array) -> tuple[Template, list[Array]]:
    """Return the template and keys of indices of as many axes, which stand for those along one."""
    keys = []
    for at, size in enumerate(shape):
        # Where the array has one element for several, it is met at each.
        rest = np.arange(size).reshape([-1 if a == at else 1 for a in range(len(shape))])
        keys.append(indices if at == axis else jnp.asarray(rest))
    return tuple([("array", at) for at in range(len(shape))]), keys


def gather(template: Template, often: bool | None, x: Array, *indices: Array) -> Array:
    """Select by integer arrays; an index out of range finds what `missing` says.

    Parameters
    ----------
    template : tuple
        What each key is: ``("array", place)``, ``("slice", (start, stop, step))`` or ``("new",
        None)``.
    often : bool or None
        Whether an index may stand there more than `FEW` times; None if that is not known.
    """
    known = _known(template, x.shape, indices)
    if often is False or not is_inexact(x.dtype):
        return _select(template, x, *known)
    return _select_often(template, often, x, *known)


def found_shape(template: Template, shape: tuple[int, ...], indices: Any) -> tuple[int, ...]:
    """Return the shape of what `gather` returns."""
    sizes = iter(shape)
    others = []
    for word, value in template:
        size = 1 if word == "new" else next(sizes)
        if word != "array":
            others.append(size if word == "new" else len(range(*slice(*value).indices(size))))
    first = _first(template)
    common = np.broadcast_shapes(*[index.shape for index in indices])
    return (*others[:first], *common, *others[first:], *sizes)


def add(template: Template, often: bool | None, x: Array, values: Array, *indices: Array) -> Array:
    """Return x with values added where `gather` finds elements; out of range nothing is added.

    Parameters
    ----------
    values : array
        Of the shape that `gather` returns, and of the dtype of x.
    """
    known = _known(template, x.shape, indices)
    # The transpose of the lookup has its care. Integers need none.
    careful = often if is_inexact(x.dtype) else False

    def look(array: Array) -> Array:
        return _select_by_rows(template, careful, array, known)

    return x + jax.linear_transpose(look, x)(values)[0]


def put(template: Template, x: Array, values: Array, *indices: Array) -> Array:
    """Return x with values where `gather` finds elements; out of range nothing is put.

    Where one is found several times the last value stays. `values` are as for `add`.
    """
    known = _known(template, x.shape, indices)
    slices, order, box = _turned(template, x)
    sizes, rest = box.shape[: len(known)], box.shape[len(known) :]
    at = _flat(known, sizes)
    first = _first(template)
    values = jnp.moveaxis(values, range(first, first + at.ndim), range(at.ndim))
    rows = box.reshape(math.prod(sizes), *rest)
    rows = _put_rows(rows, at.reshape(-1), values.reshape(at.size, *rest))
    box = jnp.transpose(rows.reshape(box.shape), np.argsort(order))
    whole = all([part == slice(None) for part in slices])
    return box if whole else x.at[slices].set(box, unique_indices=True)


def _put_rows(x: Array, at: Array, values: Array) -> Array:
    """Return x, shape (M, ...), with values (n, ...) at indices (n,), which are M for none."""
    size, count = len(x), len(at)
    turn = jnp.arange(count, dtype=counter(size + count))
    last = jnp.full(size, -1, turn.dtype).at[at].max(turn, mode="drop")
    # All others go beyond the end, each to a place of its own: XLA may write in any order.
    at = jnp.where(_pick(last, at) == turn, at.astype(turn.dtype), size + turn)
    return x.at[at].set(values, mode="drop", unique_indices=True)


def _known(template: Template, shape: tuple[int, ...], indices: Sequence[Array]) -> list[Array]:
    """Return the indices of each axis that has some, counted from 0."""
    axes = [axis for axis, word in enumerate(_words(template)) if word == "array"]
    arrays = [value for word, value in template if word == "array"]
    return [places(indices[a], shape[axis]) for a, axis in zip(arrays, axes, strict=True)]


def _words(template: Template) -> list[str]:
    """Return what is done to each axis of the array."""
    return [word for word, _ in template if word != "new"]


def _select(template: Template, x: Array, *known: Array) -> Array:
    arrays = iter(known)
    key: list[Any] = []
    for word, value in template:
        if word == "array":
            key.append(next(arrays))
        else:
            key.append(slice(*value) if word == "slice" else None)
    return x.at[tuple(key)].get(mode="fill", fill_value=missing(x.dtype))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _select_often(template: Template, _often: bool | None, x: Array, *known: Array) -> Array:
    return _select(template, x, *known)


@_select_often.defjvp
def _select_often_jvp(
    template: Template, often: bool | None, primals: Sequence[Array], tangents: Sequence[Array]
) -> tuple[Array, Array]:
    x, *known = primals
    out = _select_often(template, often, x, *known)
    return out, _select_by_rows(template, often, tangents[0], known)


def _select_by_rows(
    template: Template, often: bool | None, x: Array, known: Sequence[Array]
) -> Array:
    """Return what `_select` does, of rows; where an index is out of range stands 0."""
    _, _, x = _turned(template, x)
    sizes, others = x.shape[: len(known)], x.shape[len(known) :]
    rows = x.reshape(math.prod(sizes), *others)
    at = _flat(known, sizes)
    found = rows_at(often, rows, at.reshape(-1))
    rest = iter(others)
    shape = [1 if word == "new" else next(rest) for word, _ in template if word != "array"]
    shape += rest
    found = found.reshape(*at.shape, *shape)
    first = _first(template)
    return jnp.moveaxis(found, range(at.ndim), range(first, first + at.ndim))


def _turned(template: Template, x: Array) -> tuple[tuple[slice, ...], list[int], Array]:
    """Return the slices, the order that has the axes with indices first, and x in both."""
    words = _words(template)
    key = [slice(*value) if word == "slice" else slice(None) for word, value in template]
    slices = tuple([s for s, (word, _) in zip(key, template, strict=True) if word != "new"])
    chosen = [axis for axis, word in enumerate(words) if word == "array"]
    order = chosen + [axis for axis in range(x.ndim) if axis not in chosen]
    return slices, order, jnp.transpose(x[slices], order)


def _flat(known: Sequence[Array], sizes: Sequence[int]) -> Array:
    """Return the places in C order of indices along several axes, their product if out of range."""
    total = int(np.prod(sizes))
    flat: Any = 0
    inside: Any = True
    for at, size in zip(jnp.broadcast_arrays(*known), sizes, strict=True):
        flat = flat * size + at.astype(counter(total))
        inside = inside & (at < size)
    return jnp.where(inside, flat, total)


def _first(template: Template) -> int:
    """Return the axis of the result where the axes of the index arrays begin, as in NumPy."""
    at = [place for place, (word, _) in enumerate(template) if word == "array"]
    return at[0] if at[-1] - at[0] == len(at) - 1 else 0


def rows_at(often: bool | None, x: Array, at: Array) -> Array:
    """Return rows of x, shape (M, ...), at indices (n,), or 0 where these are M.

    The transpose adds by pairs if `often`, in a row if not, and looks itself if that is None.
    """
    if often is False or len(at) <= FEW:
        return _pick(x, at)
    met = jnp.zeros(len(x), jnp.int32).at[at].add(1, mode="drop")
    if often:
        return _by_groups(x, at, met)
    return lax.cond(jnp.any(met > FEW), _by_groups, lambda x, at, _: _pick(x, at), x, at, met)


def _pick(x: Array, at: Array) -> Array:
    return x.at[at].get(mode="fill", fill_value=0, wrap_negative_indices=False)


def _by_groups(x: Array, at: Array, met: Array) -> Array:
    """Return rows at indices, by way of groups where an index is met often."""
    count = len(at) // (FEW + 1)
    groups = jnp.where(met > FEW, (met + _MET_BY_GROUP - 1) // _MET_BY_GROUP, 0)
    ends = jnp.cumsum(groups)
    owner = jnp.searchsorted(ends, jnp.arange(count, dtype=ends.dtype), side="right", method="scan")
    of_groups = _by_blocks(x, owner.astype(jnp.int32))
    slots = jnp.repeat(of_groups, _SLOTS, axis=0)
    mine = _pick(groups, at)
    first = (_pick(ends, at) - mine).astype(counter(len(x) + len(slots))) * _SLOTS
    # Scattered, so that no order of the indices brings many of one kind to one slot.
    some = _hashed(len(at)) % jnp.maximum(mine * _SLOTS, 1).astype(jnp.uint32)
    place = jnp.where(mine > 0, first + some.astype(first.dtype), at + len(slots))
    return _pick(jnp.concatenate([slots, x]), place)


def _hashed(count: int) -> Array:
    """Return numbers without order, uint32, one for each place (MurmurHash3's last steps)."""
    h = jnp.arange(count, dtype=jnp.uint32) * np.uint32(0x9E3779B9)
    h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


def _by_blocks(x: Array, owner: Array) -> Array:
    """Return rows at indices (m,) that are sorted.

    Within a block, the first index and the last may stand in other blocks too: their rows come
    from a lookup of these two for each block. The others stand in this block alone.
    """
    if len(owner) <= _LAST:
        return _pick(x, owner)
    of = jnp.pad(owner, (0, -len(owner) % _BLOCK), constant_values=len(x)).reshape(-1, _BLOCK)
    ends = _by_blocks(x, of[:, :: _BLOCK - 1].reshape(-1)).reshape(len(of), 2, *x.shape[1:])
    is_first = of == of[:, :1]
    is_last = (of == of[:, -1:]) & ~is_first
    inner = _pick(x, jnp.where(is_first | is_last, len(x), of))
    row = (..., *[None] * (x.ndim - 1))
    rows = jnp.where(is_last[row], ends[:, 1:], inner)
    rows = jnp.where(is_first[row], ends[:, :1], rows)
    return rows.reshape(-1, *x.shape[1:])[: len(owner)]
