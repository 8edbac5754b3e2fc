"""Which array library is chosen, and what is said when none can be."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from cupy_emulation import namespace
from impl_cupy import backend


class CUDARuntimeError(RuntimeError):
    """Stands for CuPy's own."""


def cupy_with(device_count: Any) -> Any:
    """Return as much of CuPy as the choice looks at."""
    properties = {"name": b"A GPU"}
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=device_count,
        getDeviceProperties=lambda number: properties,
    )
    cuda = SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0))
    return SimpleNamespace(__version__="14.0", cuda=cuda)


def no_driver() -> int:
    msg = "cudaErrorInsufficientDriver: CUDA driver version\nis insufficient"
    raise CUDARuntimeError(msg)


MISSING = {
    "no CuPy": (None, "CuPy cannot be imported"),
    "no driver": (cupy_with(no_driver), "CUDA driver version is insufficient"),
    "no device": (cupy_with(lambda: 0), "cudaGetDeviceCount returned 0"),
}


@pytest.mark.parametrize("case", MISSING)
def test_without_a_device_the_import_fails_in_one_line(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, reason = MISSING[case]
    monkeypatch.setitem(sys.modules, "cupy", module)
    for value in ("", "0"):
        monkeypatch.setenv("IMPL_CUPY_EMULATE", value)
        with pytest.raises(ImportError, match=reason) as caught:
            backend.choose()
        assert "IMPL_CUPY_EMULATE=1" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", MISSING)
def test_the_emulation_is_taken_when_asked_for(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", MISSING[case][0])
    monkeypatch.setenv("IMPL_CUPY_EMULATE", "1")
    assert backend.choose() == (namespace, True, "CPU emulation, no GPU code ran")


def test_a_missing_emulation_is_said_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setitem(sys.modules, "cupy_emulation.namespace", None)
    monkeypatch.setenv("IMPL_CUPY_EMULATE", "1")
    with pytest.raises(ImportError, match=r"pip install \./impl_cupy/emulation") as caught:
        backend.choose()
    assert "\n" not in str(caught.value)


def test_a_device_goes_before_the_emulation(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = cupy_with(lambda: 1)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setenv("IMPL_CUPY_EMULATE", "1")
    assert backend.choose() == (cupy, False, "A GPU")
