"""Say in every run of these tests what device it ran on, so that none passes for a GPU's."""

from __future__ import annotations

import pytest

from impl_cupy.backend import DEVICE, EMULATED


def pytest_report_header() -> str:
    return f"impl_cupy: {DEVICE}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if EMULATED:
        terminalreporter.write_line(f"impl_cupy: {DEVICE}")
