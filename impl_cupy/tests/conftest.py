"""Every test draws the same numbers, and every run says what device it ran on."""

from __future__ import annotations

import pytest

import impl_cupy as nn
from impl_cupy.backend import DEVICE, EMULATED


@pytest.fixture(autouse=True)
def one_seed() -> None:
    nn.manual_seed(0)


def pytest_report_header() -> str:
    return f"impl_cupy: {DEVICE}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if EMULATED:
        terminalreporter.write_line(f"impl_cupy: {DEVICE}")
