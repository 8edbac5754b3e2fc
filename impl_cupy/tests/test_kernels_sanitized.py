"""AddressSanitizer sees none of our kernels leave its arrays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cupy_emulation import sanitize
from impl_cupy.backend import EMULATED

pytestmark = pytest.mark.skipif(not EMULATED, reason="watches kernels that g++ compiled")


def test_our_kernels_stay_inside_their_arrays() -> None:
    try:
        sanitize.environment()
    except RuntimeError as error:
        pytest.skip(str(error))
    names = ("test_kernels_emulated.py", "test_kernels_of_training.py")
    paths = [str(Path(__file__).with_name(name)) for name in names]
    command = [sys.executable, "-m", "cupy_emulation.sanitize", "-m", "pytest", "-q"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", *paths],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert "ERROR: AddressSanitizer" not in done.stderr
