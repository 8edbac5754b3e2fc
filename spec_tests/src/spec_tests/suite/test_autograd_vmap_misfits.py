"""Chapter autograd: what a plain call refuses is refused under `vmap` too."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.assertions import raw
from spec_tests.support.inputs import normal
from spec_tests.support.mapping import looped

pytestmark = pytest.mark.sampled(16)

# Of two slices (3, 3), of which there are three: what they lack an axis for could fit all slices.
MISFITS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "operands": lambda nn, x, y: nn.ops.add(x, y[:2]),
    "operands of one": lambda nn, x, y: nn.ops.where(x > 0, x, y[:, :2]),
    "an axis by position": lambda nn, x, y: nn.ops.sum(x, 0),
    "a Tensor for an axis": lambda nn, x, y: nn.ops.mean(x, axis=y),
    "an axis of sum": lambda nn, x, y: nn.ops.sum(x, axis=2),
    "an axis of softmax": lambda nn, x, y: nn.ops.softmax(x, 2),
    "no axis of softmax": lambda nn, x, y: nn.ops.softmax(x, None),
    "an axis of argmax": lambda nn, x, y: nn.ops.argmax(x, axis=-3),
    "an axis of sort": lambda nn, x, y: nn.ops.sort(x, axis=2),
    "an axis of squeeze": lambda nn, x, y: nn.ops.squeeze(x, 0),
    "an axis of two": lambda nn, x, y: nn.ops.cumulative_sum(x),
    "an axis of roll": lambda nn, x, y: nn.ops.roll(x, 1, axis=2),
    "roll without a shift": lambda nn, x, y: nn.ops.roll(x, axis=0),
    "roll with more": lambda nn, x, y: nn.ops.roll(x, 1, 0, axis=0),
    "an axis of repeat": lambda nn, x, y: nn.ops.repeat(x, 2, axis=2),
    "an axis of expand_dims": lambda nn, x, y: nn.ops.expand_dims(x, axis=3),
    "an axis of moveaxis": lambda nn, x, y: nn.ops.moveaxis(x, 0, 2),
    "an axis of permute_dims": lambda nn, x, y: nn.ops.permute_dims(x, (0, 1, 2)),
    "a shape": lambda nn, x, y: nn.ops.reshape(x, (3, 3, 3)),
    "no shape": lambda nn, x, y: nn.ops.reshape(x),
    "a broadcast shape": lambda nn, x, y: nn.ops.broadcast_to(x, (3, 1)),
    "no broadcast shape": lambda nn, x, y: nn.ops.broadcast_to(x),
    "an array more": lambda nn, x, y: nn.ops.concat([x, y[:2]], axis=1),
    "another array": lambda nn, x, y: nn.ops.stack([x, y[:2]]),
    "matmul of a number": lambda nn, x, y: nn.ops.matmul(x, y[0, 0]),
    "matmul by a number": lambda nn, x, y: nn.ops.matmul(x[0, 0], y),
    "matmul": lambda nn, x, y: nn.ops.matmul(x, y[:2]),
    "matmul of one": lambda nn, x, y: nn.ops.matmul(x),
    "einsum": lambda nn, x, y: nn.ops.einsum("ij,jk->ik", x),
    "einsum of other axes": lambda nn, x, y: nn.ops.einsum("ijk,jk->ik", x, y),
    "tensordot of one": lambda nn, x, y: nn.ops.tensordot(x),
    "tensordot of three": lambda nn, x, y: nn.ops.tensordot(x, y, y),
    "axes of tensordot": lambda nn, x, y: nn.ops.tensordot(x, y, axes=3),
    "an axis of vecdot": lambda nn, x, y: nn.ops.vecdot(x, y, axis=-3),
    "take of one": lambda nn, x, y: nn.ops.take(x),
    "take without an axis": lambda nn, x, y: nn.ops.take(x, nn.tensor([0])),
    "take at numbers": lambda nn, x, y: nn.ops.take(x, y[0], axis=0),
    "take_along_axis of one": lambda nn, x, y: nn.ops.take_along_axis(x),
    "take_along_axis": lambda nn, x, y: nn.ops.take_along_axis(x, nn.tensor([0]), axis=0),
    "a recurrence of one": lambda nn, x, y: nn.ops.linear_recurrence(x),
    "a recurrence": lambda nn, x, y: nn.ops.linear_recurrence(x, y[:2]),
    "a recurrence from": lambda nn, x, y: nn.ops.linear_recurrence(x, y, h0=y),
    "values to put": lambda nn, x, y: nn.ops.put(x, slice(None), nn.ones((3, 3, 1))),
    "slices to put": lambda nn, x, y: nn.ops.put(x, 0, y),
    "put without values": lambda nn, x, y: nn.ops.put(x, 0),
    "put behind the end": lambda nn, x, y: nn.ops.put(x, 3, 0.0),
    "an index": lambda nn, x, y: x[3],
    "indices": lambda nn, x, y: x[0, 0, 0],
    "an index array": lambda nn, x, y: x[:, :, nn.tensor([0])],
    "one vector": lambda nn, x, y: nn.ops.linalg.inv(x[0]),
    "no square": lambda nn, x, y: nn.ops.linalg.det(x[:2]),
    "vectors to solve": lambda nn, x, y: nn.ops.linalg.solve(x[0], y[0]),
    "solve": lambda nn, x, y: nn.ops.linalg.solve(x, y[:2]),
    "solve of one": lambda nn, x, y: nn.ops.linalg.solve(x),
    "matrices for outer": lambda nn, x, y: nn.ops.linalg.outer(x, y),
    "an axis of cross": lambda nn, x, y: nn.ops.linalg.cross(x, y[:, :2]),
    "a loss": lambda nn, x, y: nn.loss.mse_loss(x, y[:2]),
    "a raw array": lambda nn, x, y: nn.ops.matmul(x, raw(nn, normal((2, 3), "float32"))),
}


@pytest.mark.parametrize("name", MISFITS)
@clause("autograd-52")
def test_what_a_call_refuses(nn: Any, name: str) -> None:
    x, y = (nn.tensor(normal((3, 3, 3), "float32", seed=seed)) for seed in range(2))
    found = []
    for transform in (looped, lambda nn, fn: nn.vmap(fn)):
        with pytest.raises((TypeError, ValueError, IndexError)) as caught:
            transform(nn, lambda x, y: MISFITS[name](nn, x, y))(x, y)
        found.append(caught)
    want, got = found
    assert got.type is want.type, f"{got.value!r} but should be as {want.value!r}"
    operation = re.match(r"[\w.]+", str(want.value))
    assert operation
    assert operation[0] in str(got.value), f"{got.value!r} should say {operation[0]}"
