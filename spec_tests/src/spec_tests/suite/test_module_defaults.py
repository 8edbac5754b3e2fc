"""Chapter module: what an argument is when it is left out."""

from typing import Any

import pytest

from spec_tests import clause


def nested(nn: Any) -> Any:
    """Return a Module with a parameter and a buffer of its own, and with some in a child."""
    module = nn.Module()
    module.child = nn.BatchNorm1d(2)
    module.weight = nn.Parameter(nn.ones((2,)))
    module.register_buffer("count", nn.zeros((1,)))
    return module


@clause("module-20")
def test_children_are_asked_too(nn: Any) -> None:
    module = nested(nn)
    own, all_of_them = ["count"], [name for name, _ in module.named_buffers()]
    assert [name for name, _ in module.named_buffers(recurse=False)] == own
    assert len(all_of_them) > len(own)
    assert len(list(module.buffers())) == len(all_of_them)
    assert len(list(module.buffers(False))) == len(own)
    parameters = [name for name, _ in module.named_parameters()]
    assert set(parameters) == {"weight", "child.weight", "child.bias"}
    assert len(list(module.parameters())) == len(parameters)
    assert len(list(module.parameters(False))) == 1


HOOKS = (
    "register_forward_pre_hook",
    "register_forward_hook",
    "register_full_backward_pre_hook",
    "register_full_backward_hook",
)


@clause("module-21", "module-22")
@pytest.mark.parametrize("register", HOOKS)
def test_hooks_run_in_the_order_in_which_they_came(nn: Any, register: str) -> None:
    module, ran = nn.Linear(2, 1), []
    for name in ("first", "second", "third"):
        getattr(module, register)(lambda *given, name=name: ran.append(name))
    getattr(module, register)(lambda *given: ran.append("before"), prepend=True)
    module(nn.tensor([[1.0, 2.0]], requires_grad=True)).sum().backward()
    assert ran == ["before", "first", "second", "third"]
