"""What a test's marks say that it asks for, and its name in result files."""

import pytest

from spec_tests.judge import properties


def clauses_of(item: pytest.Item) -> list[str]:
    """Return the numbers of the clauses that a test asks for."""
    return [number for mark in item.iter_markers("clause") for number in mark.args]


def functions_of(item: pytest.Item) -> list[str]:
    """Return the keys of the rows that a test asks for."""
    return [key for mark in item.iter_markers("function") for key in mark.args]


def cells_of(item: pytest.Item) -> list[str]:
    """Return the keys of the cells that a test asks for."""
    return [key for mark in item.iter_markers("cell") for key in mark.args]


def asked_of(item: pytest.Item) -> list[tuple[str, str]]:
    """Return the functions and properties that a test asks for."""
    callspec = getattr(item, "callspec", None)
    dtype = callspec.params.get("dtype") if callspec else None
    return [
        (key, name)
        for mark in item.iter_markers("function")
        for key in mark.args
        for name in properties.asked_by(mark.kwargs.get("asks", ()), dtype)
    ]


def name_of(item: pytest.Item) -> str:
    """Return a test's name in result files."""
    # The node id of a file named by --pyargs begins with the `::`.
    return f"{item.path.name}::{item.nodeid.partition('::')[2]}"
