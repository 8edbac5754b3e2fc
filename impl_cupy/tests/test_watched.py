"""Who is told of what is computed and recorded: nobody outside a block, and no other thread's."""

import pytest

import impl_cupy as nn
from impl_cupy import tape


def blocks() -> list[object]:
    return [nn.detect_anomaly(), nn.saved_tensors_hooks(lambda t: t, lambda t: t)]


def test_nothing_is_watched_after_a_block() -> None:
    for block in blocks():
        with block:
            assert len(tape.watched) == 1
        with pytest.raises(ZeroDivisionError), block:
            nn.ones((1,)) / (1 // 0)
        assert tape.watched == []
    with pytest.raises(ValueError, match="Linear"):
        nn.explain(nn.Linear(2, 2), nn.ones((3,)))
    assert tape.watched == []
    assert (tape.state.anomalies, tape.state.packing, tape.state.calls) == (None,) * 3


def test_a_node_of_a_packed_operation_is_another_class_alone() -> None:
    x = nn.ones((3,), requires_grad=True)
    plain = nn.ops.tanh(x)
    with nn.saved_tensors_hooks(lambda t: t, lambda t: t):
        packed = nn.ops.tanh(x)
    assert type(plain.grad_fn) is not type(packed.grad_fn)
    assert repr(plain.grad_fn) == repr(packed.grad_fn) == "<tanh>"
