"""Rows of gradients added to the rows that they were looked up from, in one order each time."""

from __future__ import annotations

from impl_cupy.backend import cp
from impl_cupy.launch import launch
from impl_cupy.tensor import RawArray


def scatter_rows(values: RawArray, rows: RawArray, count: int, skipped: int = -1) -> RawArray:
    """Add each row of `values` to the row of the result that `rows` names.

    Parameters
    ----------
    values : cupy.ndarray, shape (lookups, width), floating
    rows : cupy.ndarray, shape (lookups,), int
        ``0 <= row < count``.
    count : int
        Rows of the result.
    skipped : int
        A row that gets nothing; -1 for none.

    Returns
    -------
    cupy.ndarray, shape (count, width)
    """
    lookups, width = values.shape
    out = cp.zeros((count, width), dtype=values.dtype)
    if values.size:
        rows = rows.astype("int64", copy=False)
        order = cp.argsort(rows)
        launch(
            "scatter",
            "scatter_rows",
            values.dtype,
            lookups * width,
            cp.ascontiguousarray(values),
            order,
            rows[order],
            out,
            lookups,
            width,
            skipped,
        )
    return out
