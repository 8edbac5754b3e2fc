"""What the families make of the rows."""

import inspect
import pickle

import pytest

import impl_torch_ext as nn

FUNCTIONS = sorted(name for name in nn.ops.__all__ if callable(getattr(nn.ops, name)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_its_name_and_a_whole_docstring(name: str) -> None:
    function = getattr(nn.ops, name)
    assert (function.__name__, function.__qualname__) == (name, name)
    assert pickle.loads(pickle.dumps(function)) is function
    document = inspect.getdoc(function)
    assert document is not None
    summary = document.splitlines()[0]
    assert summary.startswith("Return ")
    assert summary.endswith(".")
    for section in ("Parameters", "Returns", "Raises", "Notes"):
        assert f"\n{section}\n{'-' * len(section)}\n" in document


@pytest.mark.parametrize("module", [nn.ops, nn.init, nn.loss, nn.optim])
def test_completion_shows_what_is_public(module: object) -> None:
    assert sorted(dir(module)) == sorted(module.__all__)  # type: ignore[attr-defined]
