"""Order, search and sets."""

from typing import Any, NamedTuple

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.checks import check_choice, check_flag, check_tensor, normalize_axis, shapes_of
from impl_torch_ext.dtypes import bool_, int64
from impl_torch_ext.ops.families import Operand, listed, operands, reduce, with_number
from impl_torch_ext.ops.transcendental import pair
from impl_torch_ext.tensor import index_array
from impl_torch_ext.tracing import each_slice, is_sliced

__all__ = [
    "argmax",
    "argmin",
    "argsort",
    "isin",
    "nonzero",
    "searchsorted",
    "sort",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


def _place(fn: Any) -> Any:
    def place(x: Tensor, **options: Any) -> Tensor:
        result: Tensor = fn(x.to(int64) if x.dtype == bool_ else x, **options)
        return result

    return place


argmax = reduce(
    "argmax", _place(compat.argmax), "the int64 index of the first maximum", single=True
)
argmin = reduce(
    "argmin", _place(compat.argmin), "the int64 index of the first minimum", single=True
)

_ORDER = {
    "x": "Tensor, any shape with an axis",
    "axis": "int",
    "descending": "bool\nWhether the greatest comes first.",
    "stable": "bool\nEqual elements keep their order, whatever it says.",
}
_NO_AXIS = {"ValueError": "If the axis is out of range.", "TypeError": "If `x` is no Tensor."}
_NO_TENSOR = {"TypeError": "If `x` is no Tensor."}


def _sorted(name: str, x: Tensor, axis: int, descending: bool, stable: bool) -> Any:
    place = normalize_axis(name, axis, check_tensor(name, x))
    down = check_flag(name, "descending", descending)
    check_flag(name, "stable", stable)
    return torch.sort(x, dim=place, descending=down, stable=True)  # ops-49


@listed(_ORDER, "Tensor, the shape of `x`", _NO_AXIS)
def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the elements in order along an axis; NaN is greater than any number."""
    values: Tensor = _sorted("sort", x, axis, descending, stable).values
    return values


@listed(_ORDER, "Tensor of dtype int64, the shape of `x`", _NO_AXIS)
def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """Return the places of the elements in the order that `sort` gives them."""
    indices: Tensor = _sorted("argsort", x, axis, descending, stable).indices
    return indices


_check_side = check_choice("left", "right")


@listed(
    {
        "x1": "Tensor, shape (N,), in ascending order",
        "x2": "Tensor, any shape, or number",
        "side": "'left' or 'right'\nBefore or behind elements that are equal.",
        "sorter": "Tensor of integers, shape (N,), optional\nThe order of `x1` if it has none.",
    },
    "Tensor of dtype int64, the shape of `x2`",
    {
        "ValueError": "If `x1` has not one axis, `sorter` another length, or `side` another name.",
        "TypeError": "If an operand is no Tensor, or `sorter` holds no integers.",
    },
)
def searchsorted(
    x1: Tensor, x2: Operand, /, *, side: str = "left", sorter: Tensor | None = None
) -> Tensor:
    """Return the places in `x1` at which the elements of `x2` keep the order."""
    check_tensor("searchsorted", x1, "x1")
    right = _check_side("searchsorted", "side", side) == "right"
    first, sought = _alike("searchsorted", x1, x2)
    if first.ndim != 1:
        msg = f"searchsorted: x1 must have one axis, got shape {tuple(first.shape)}"
        raise ValueError(msg)
    if is_sliced(first, sought, sorter):

        def each(*args: Any) -> Tensor:
            return searchsorted(*args[:2], side=side, sorter=args[2])

        mapped: Tensor = each_slice(each, first, sought, sorter)
        return mapped
    if sorter is not None:
        order = index_array("searchsorted", "sorter", sorter, len(first)).to(int64)
        if order.shape != first.shape:
            msg = (
                "searchsorted: sorter must have the shape of x1, got shapes "
                f"{shapes_of(order, first)}"
            )
            raise ValueError(msg)
        if order.numel() and not 0 <= int(order.min()) <= int(order.max()) < len(first):
            msg = f"searchsorted: sorter must hold places of x1, got {order.tolist()}"
            raise ValueError(msg)
        first = first[order]
    if first.dtype == bool_:
        first, sought = first.to(int64), sought.to(int64)
    if not first.is_floating_point():
        return torch.searchsorted(first.contiguous(), sought.contiguous(), right=right)
    # ops-50: all NaN stand at the end, and torch finds no place among them.
    numbers = int((first == first).sum())
    found = torch.searchsorted(first[:numbers].contiguous(), sought.contiguous(), right=right)
    return torch.where(torch.isnan(sought), len(first) if right else numbers, found)


@listed(
    {
        "x1": "Tensor, any shape, or number",
        "x2": "Tensor, any shape, or number",
        "invert": "bool\nWhether those that are not among them are marked.",
    },
    "Tensor of dtype bool, the shape of `x1`",
    {"TypeError": "If neither operand is a Tensor."},
)
def isin(x1: Operand, x2: Operand, /, *, invert: bool = False) -> Tensor:
    """Return whether each element of `x1` is equal to one of `x2`."""
    opposite = check_flag("isin", "invert", invert)
    first, second = _alike("isin", x1, x2)
    if first.dtype == bool_:
        first, second = first.to(int64), second.to(int64)
    if is_sliced(first, second):
        found = (first.unsqueeze(-1) == second.reshape(-1)).any(-1)
        return ~found if opposite else found
    return torch.isin(first, second.reshape(-1), invert=opposite)


@listed(
    {"x": "Tensor, any shape with an axis"},
    "tuple of Tensors of dtype int64, one for each axis",
    {"ValueError": "If `x` has no axis.", "TypeError": "If `x` is no Tensor."},
)
def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """Return the places of the elements that are not 0, in their order."""
    if check_tensor("nonzero", x).ndim == 0:  # ops-51
        msg = f"nonzero: x must have an axis, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return torch.nonzero(x, as_tuple=True)


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


@listed({"x": "Tensor, any shape"}, "UniqueAll", _NO_TENSOR)
def unique_all(x: Tensor, /) -> UniqueAll:
    """Return the values in ascending order, their first places, whose each is, and how many."""
    return _unique("unique_all", x)


@listed({"x": "Tensor, any shape"}, "UniqueCounts", _NO_TENSOR)
def unique_counts(x: Tensor, /) -> UniqueCounts:
    """Return the values in ascending order, and how often each comes."""
    found = _unique("unique_counts", x)
    return UniqueCounts(found.values, found.counts)


@listed({"x": "Tensor, any shape"}, "UniqueInverse", _NO_TENSOR)
def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """Return the values in ascending order, and which of them each element is."""
    found = _unique("unique_inverse", x)
    return UniqueInverse(found.values, found.inverse_indices)


@listed({"x": "Tensor, any shape"}, "Tensor, shape (number of values,)", _NO_TENSOR)
def unique_values(x: Tensor, /) -> Tensor:
    """Return the values in ascending order, each NaN for itself."""
    return _unique("unique_values", x).values


def _unique(name: str, x: Tensor) -> UniqueAll:
    flat = check_tensor(name, x).detach().reshape(-1)
    order = _order(flat)
    values = flat[order]
    new = torch.ones(len(flat), dtype=bool_)
    new[1:] = values[1:] != values[:-1]  # ops-51: a NaN is equal to none.
    first = torch.nonzero(new).reshape(-1)
    inverse = torch.empty_like(order)
    inverse[order] = torch.cumsum(new, 0) - 1
    counts = torch.diff(first, append=torch.tensor([len(flat)]))
    return UniqueAll(values[first], order[first], inverse.reshape(x.shape), counts)


def _order(x: Tensor) -> Tensor:
    """Return the places of elements in ascending order, complex ones by their real parts first."""
    if not x.is_complex():
        return torch.sort(x, stable=True).indices
    order = torch.sort(x.imag, stable=True).indices
    for key in (x.real, torch.isnan(x)):  # ops-51
        order = order[torch.sort(key[order], stable=True).indices]
    return order


def _alike(name: str, x1: Any, x2: Any) -> tuple[Tensor, Tensor]:
    """Return two operands, of which one may be a number, in the dtype that both compare in."""
    given = operands(name, x1, x2)
    a, b = with_number(name, given[0], given[1], compares=True)
    first, second = pair(a, b)
    return first.detach(), second.detach()
