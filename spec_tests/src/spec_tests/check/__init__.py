"""Checks of a user's own Functions: `check` for everything, `check_gradients` for gradients."""

from spec_tests.check.differences import check_gradients, gradients
from spec_tests.check.held import UncheckedError, WrongFunctionError, check
from spec_tests.check.run import Report, Verdict, examine

__all__ = [
    "Report",
    "UncheckedError",
    "Verdict",
    "WrongFunctionError",
    "check",
    "check_gradients",
    "examine",
    "gradients",
]
