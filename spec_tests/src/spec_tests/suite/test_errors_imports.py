"""Chapter errors: what importing and calling leaves as it was, seen from a process of its own."""

from pathlib import Path
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.imports import backend_of
from spec_tests.support.processes import answer_of

PROGRAM = """
from spec_tests.support.imports import observed
print("answer:", json.dumps(observed(*sys.argv[2:])))
"""
PATTERN = """
import importlib, threading, numpy as np
nn = importlib.import_module(sys.argv[2])
seen = []
def work():
    seen.append(np.geterr())
    seen.append(nn.tensor(1.5, dtype=nn.float32).tolist())
    seen.append(np.geterr())
np.seterr(all="raise")
before = np.geterr()
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
print("answer:", json.dumps([seen[0] == seen[2] == before, seen[3] == seen[5]]))
"""


@pytest.mark.sampled(3)
@pytest.mark.parametrize("wide", ["", "64 bits"], ids=["as it comes", "64 bits"])
@clause("errors-08")
def test_nothing_else_is_changed(nn: Any, implementation: str, tmp_path: Path, wide: str) -> None:
    """By the import, and by calls; `wide` is the program's choice of the backend's default."""
    imported, called = answer_of(PROGRAM, implementation, backend_of(nn), str(tmp_path), wide)
    assert imported == [], f"importing {implementation} changed {'; '.join(imported)}"
    assert called == [], f"calls of {implementation} changed {'; '.join(called)}"


@clause("errors-08")
def test_a_thread_keeps_its_own_error_state(implementation: str) -> None:
    assert answer_of(PATTERN, implementation) == [True, True]
