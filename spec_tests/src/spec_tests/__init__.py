"""The specification, and the tests that hold an implementation to it."""

from spec_tests.judge.clauses import SPEC_VERSION, clause

__all__ = ["SPEC_VERSION", "clause"]
