"""Importing on a machine without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import impl_cupy as nn
from impl_cupy.backend import EMULATED


@pytest.mark.skipif(not EMULATED, reason="there is a GPU, so the import works")
def test_without_the_variable_the_import_fails_and_says_what_to_do() -> None:
    env = {key: value for key, value in os.environ.items() if key != "IMPL_CUPY_EMULATE"}
    command = [sys.executable, "-c", "import impl_cupy"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: impl_cupy needs a CUDA device: ")
    assert "IMPL_CUPY_EMULATE=1" in last


def test_the_device_is_named() -> None:
    device = nn.spec_device()
    assert device["emulated"] is EMULATED
    assert (device["device"] == "CPU emulation, no GPU code ran") is EMULATED
