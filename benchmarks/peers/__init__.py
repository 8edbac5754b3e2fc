"""Who is measured: `table` has a row for each, with its pins; each module here makes its work.

A module of this package, other than `table` and those that several share, has ``makers(argument)``,
which returns a maker for each kind of work that its library can do. A maker takes a `Row` and
returns a `Job`.
"""

__all__: list[str] = []
