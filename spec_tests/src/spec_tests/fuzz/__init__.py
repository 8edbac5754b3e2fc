"""Seeded calls of everything public with arguments that do not fit: what comes back must be said.

The rule is that of ``errors-07``: a call works, or raises one of the documented kinds of exception,
in one line that names the operation. ``spec-tests fuzz --impl your_module --calls 100000`` asks it.
"""

from spec_tests.fuzz.run import Finding, fuzz

__all__ = ["Finding", "fuzz"]
