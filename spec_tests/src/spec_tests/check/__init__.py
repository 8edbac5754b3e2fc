"""Checks of gradients against differences, for the suite and for a user's own Functions."""

from spec_tests.check.differences import check_gradients, gradients

__all__ = ["check_gradients", "gradients"]
