"""What looks into calls: anomalies, the graph as text, hooks of what is kept, `explain`."""

import sys
from typing import Any

import pytest
import torch

import impl_torch_ext as nn


@pytest.fixture
def zero() -> Any:
    return nn.tensor([0.0, 1.0], requires_grad=True)


def test_what_an_operation_makes_inside_is_no_anomaly() -> None:
    with nn.detect_anomaly():
        nn.loss.binary_cross_entropy(nn.tensor([0.0, 1.0]), nn.tensor([0.0, 1.0]))
        with pytest.raises(RuntimeError, match=r"^LayerNorm: gave .*test_tools.py:\d+$"):
            nn.LayerNorm(2)(nn.tensor([[3e38, -3e38]]))
    assert sys.gettrace() is None


def test_a_tracer_is_there_again_afterwards() -> None:
    def tracer(*_: Any) -> None:
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        with nn.detect_anomaly(), pytest.raises(RuntimeError, match="infinity"):
            nn.ops.log(nn.zeros((1,)))
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)


def test_an_anomaly_in_the_second_run_of_a_checkpoint(zero: Any) -> None:
    def root(x: Any) -> Any:
        return nn.ops.sum(nn.ops.sqrt(x))

    with nn.detect_anomaly():
        y = nn.checkpoint(root, zero)
        with pytest.raises(RuntimeError, match=r"^sqrt: backward gave an infinity"):
            y.backward()
    nn.checkpoint(root, zero).backward()
    assert zero.grad.isinf().tolist() == [True, False]


def test_an_operation_in_place_is_looked_at() -> None:
    with nn.detect_anomaly(), pytest.raises(RuntimeError, match=r"^divide_: gave an infinity"):
        nn.ones((2,)).div_(0)


def test_a_kept_graph_is_looked_at_in_each_pass(zero: Any) -> None:
    with nn.detect_anomaly():
        y = nn.ops.sqrt(zero)
        bad = nn.tensor([1.0, float("nan")])
        y.backward(bad, retain_graph=True)
        with pytest.raises(RuntimeError, match="backward"):
            y.backward(nn.ones((2,)), retain_graph=True)


def test_long_chains_are_freed_after_they_were_looked_at() -> None:
    class Long(nn.Module):
        def forward(self, x: Any) -> Any:
            for _ in range(100_000):
                x = x * 1
            return x

    (row,) = nn.explain(Long(), nn.ones((1,))).rows
    assert row.nodes == 100_000
    with nn.detect_anomaly():
        x = nn.ones((1,), requires_grad=True)
        y = x
        for _ in range(20_000):
            y = y * 1
    assert nn.graph(y).count("multiply") == 20_000
    del y


@pytest.mark.parametrize("names", ["relu", "abs", "index", "concat", "permute_dims", "reshape"])
def test_the_graph_has_the_names_of_ops(names: str) -> None:
    x = nn.ones((2, 3), requires_grad=True)
    made = {
        "relu": lambda: nn.ops.relu(x),
        "abs": lambda: nn.ops.abs(x),
        "index": lambda: x[0],
        "concat": lambda: nn.ops.concat([x, x]),
        "permute_dims": lambda: nn.ops.permute_dims(x, (1, 0)),
        "reshape": lambda: nn.ops.reshape(x, (3, 2)),
    }[names]()
    assert f'label="{names}"' in nn.graph(made)


def test_an_input_that_a_function_gives_no_gradient_has_zeros() -> None:
    class Stopping(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return None

    x = nn.ones((2,), requires_grad=True)
    (slope,) = nn.grad(nn.ops.sum(Stopping.apply(x)), x)
    assert slope.tolist() == [0, 0]


@pytest.mark.parametrize("held", ["the Tensor", "a view", "in a list"])
def test_what_pack_kept_and_was_changed(held: str) -> None:
    pairs: dict[str, Any] = {
        "the Tensor": (lambda t: t, lambda t: t),
        "a view": (lambda t: t.view(-1), lambda t: t),
        "in a list": (lambda t: [t], lambda held: held[0]),
    }
    x, w = nn.ones((3,), requires_grad=True), nn.ones((3,), requires_grad=True)
    with nn.saved_tensors_hooks(*pairs[held]):
        y = nn.ops.sum(x * w)
    nn.init.constant_(x, 7.0)
    with pytest.raises(RuntimeError, match=r"saved_tensors_hooks.*\(3,\)"):
        y.backward()
    assert w.grad is None


def test_explain_leaves_the_counts_of_changes() -> None:
    layer = nn.BatchNorm1d(3)
    versions = [b._version for b in layer.buffers()]
    mean = layer.running_mean.clone()
    nn.explain(layer, nn.ones((2, 3)) * nn.tensor([[1.0], [5.0]]))
    assert [b._version for b in layer.buffers()] == versions
    assert torch.equal(layer.running_mean, mean)
