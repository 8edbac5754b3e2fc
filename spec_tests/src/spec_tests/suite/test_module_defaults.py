"""Chapter module: what an argument is when it is left out."""

from typing import Any

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
