"""The check as tests call it: what is wrong is an `AssertionError`."""

from typing import Any

from spec_tests.check.report import text
from spec_tests.check.run import Report, examine


class WrongFunctionError(AssertionError):
    """A Function is wrong; the message is the report."""


class UncheckedError(RuntimeError):
    """A Function could not be checked; the message says why."""


def check(function: Any, given: Any = None, **options: Any) -> Report:
    """Hold a Function to every property; return the report where it is right.

    Parameters
    ----------
    function, given, **options
        As in `examine`.

    Raises
    ------
    WrongFunctionError
        An `AssertionError` that names the properties, with a script for each that fails alike.
    UncheckedError
        If it could not be checked.
    """
    __tracebackhide__ = True
    report = examine(function, given, **options)
    if report.status == 1:
        raise WrongFunctionError(text(report))
    if report.status == 2:
        raise UncheckedError(text(report))
    return report
