"""What the blocks and hooks of autograd do to each other here."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.tape import AFTER, MODE, THROUGH, WATCHING


def leaf(*shape):
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return nn.tensor(values, requires_grad=True)


def test_a_checkpoint_whose_arguments_lead_to_each_other_in_a_careful_pass():
    def slope(careful):
        x = leaf(3)
        if careful:
            x.register_post_accumulate_grad_hook(lambda leaf: None)
        y = nn.ops.tanh(x)
        nn.checkpoint(lambda x, y: nn.ops.sum(x * y * y), x, y).backward()
        return x.grad.numpy()

    np.testing.assert_array_equal(slope(True), slope(False))


def test_a_pass_is_plain_again_when_no_leaf_has_hooks():
    x = leaf(3)
    x.register_post_accumulate_grad_hook(lambda leaf: None)
    assert AFTER
    del x
    assert not AFTER


def test_blocks_leave_nothing_behind():
    with nn.detect_anomaly(), nn.saved_tensors_hooks(lambda t: t, lambda t: t):
        assert len(WATCHING) == 2
        nn.ops.sum(leaf(3) * 2).backward()
    assert (WATCHING, THROUGH, MODE.outside) == ([], [], [])
    assert (MODE.check, MODE.pack, MODE.pulling, MODE.through) == (None, None, None, None)


def test_an_anomaly_in_a_checkpoint_and_in_packed_operations():
    x = nn.tensor(np.array([0.0, 1.0]), requires_grad=True)
    with nn.detect_anomaly(), nn.saved_tensors_hooks(lambda t: [t], lambda held: held[0]):
        y = nn.ops.sum(nn.checkpoint(nn.ops.sqrt, x))
        with pytest.raises(RuntimeError, match="backward: sqrt got finite numbers and gave inf"):
            y.backward()
    assert x.grad is None


def test_what_a_loss_keeps_beside_its_operands_is_packed():
    kept = []
    x = leaf(5, 4)
    with nn.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        nn.loss.cross_entropy(x, nn.tensor([0, 1, 2, 3, 0]))
    # The exponentials, which lie in a list.
    assert kept.count((5, 4)) == 2


def test_a_hook_that_steps_while_a_packed_node_holds_the_leaf():
    x, w = leaf(3), leaf(3)
    optimizer = nn.optim.SGD([w], lr=1.0)
    w.register_post_accumulate_grad_hook(lambda _: optimizer.step())
    before = w.numpy().copy() if not w.requires_grad else w.detach().numpy().copy()
    with nn.saved_tensors_hooks(lambda t: t, lambda t: t):
        y = nn.ops.sum(nn.ops.tanh(x) * w)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), before / np.cosh(x.detach().numpy()) ** 2)
    np.testing.assert_allclose(w.detach().numpy(), before - np.tanh(x.detach().numpy()))


def test_options_that_are_named_by_explain():
    cases = [
        (nn.BatchNorm1d(3).eval(), "track_running_stats"),
        (nn.Linear(3, 3), "bias"),
        (nn.Embedding(5, 3, scale_grad_by_freq=True), "scale_grad_by_freq"),
        (nn.BCEWithLogitsLoss(weight=nn.ones((3,))), "weight"),
    ]
    for module, name in cases:
        x = nn.tensor([1, 2]) if isinstance(module, nn.Embedding) else nn.ones((2, 3))
        args = (x, x) if isinstance(module, nn.BCEWithLogitsLoss) else (x,)
        (row,) = nn.explain(module, *args).rows
        assert row.path == "composed"
        assert name in row.why


def test_a_hook_that_steps_while_the_values_are_used_as_constants_too():
    x, w = leaf(3), leaf(3)
    constant = w.detach().numpy().copy()
    optimizer = nn.optim.SGD([w], lr=1.0)
    w.register_post_accumulate_grad_hook(lambda _: optimizer.step())
    y = nn.ops.sum(x * w.detach() * w)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), constant**2)


def test_a_freed_branch_that_leads_to_nothing_named_does_no_harm():
    x, head, other = leaf(3), leaf(3), leaf(3)
    trunk = nn.ops.tanh(x)
    nn.ops.sum(trunk * head).backward()
    loss = nn.ops.sum(trunk * other)
    loss.backward(inputs=[other], retain_graph=True)
    np.testing.assert_array_equal(other.grad.numpy(), trunk.detach().numpy())
    with pytest.raises(RuntimeError, match="retain_graph"):
        loss.backward(inputs=[x])
