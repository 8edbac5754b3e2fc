"""Every run says that no GPU was there."""

from __future__ import annotations

import pytest

DEVICE = "cupy_emulation: CPU emulation, no GPU code ran"


def pytest_report_header() -> str:
    return DEVICE


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(DEVICE)
