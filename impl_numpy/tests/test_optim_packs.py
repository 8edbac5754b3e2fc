"""Optimizers change small Parameters several at a time, and large ones by blocks."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.optim.optimizer import BLOCK

SHAPES = [(3,), (), (0, 2), (4, 5), (BLOCK + 7,), (2, BLOCK), (7,), (BLOCK - 9,), (11,)]
OPTIMIZERS = {
    "SGD": {"momentum": 0.75, "nesterov": True, "weight_decay": 0.25},
    "Adam": {"amsgrad": True, "weight_decay": 0.25, "maximize": True},
    "AdamW": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adagrad": {"lr_decay": 0.25},
}


def made(kind: str) -> list[nn.Parameter]:
    random = np.random.default_rng(1)
    found = []
    for place, shape in enumerate(SHAPES):
        array = random.normal(size=shape).astype("float64" if place % 4 == 3 else "float32")
        if kind == "transposed":
            array = np.asarray(array.T.copy().T)
        elif kind == "read-only":
            array.setflags(write=False)
        found.append(nn.Parameter(nn.from_array(array)))
    return found


def give(parameters: list[nn.Parameter], step: int) -> None:
    random = np.random.default_rng(step)
    for place, p in enumerate(parameters):
        grad = nn.tensor(random.normal(size=p.shape).astype(p.dtype))
        # One rests, and is behind the others afterwards.
        p.grad = None if (place, step) == (6, 1) else grad


@pytest.mark.parametrize("kind", ["plain", "transposed", "read-only"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_together_as_one_by_one(name: str, kind: str) -> None:
    algorithm, options = getattr(nn.optim, name), OPTIMIZERS[name]
    together, apart = made(kind), made("plain")
    one = algorithm(together, lr=0.125, **options)
    several = [algorithm([p], lr=0.125, **options) for p in apart]
    for step in range(4):
        give(together, step)
        give(apart, step)
        one.step()
        for optimizer in several:
            optimizer.step()
    for p, q in zip(together, apart, strict=True):
        assert p.dtype == q.dtype
        assert np.array_equal(np.asarray(p.detach()), np.asarray(q.detach()))


def test_a_gradient_that_is_the_parameter() -> None:
    p = nn.Parameter(nn.tensor([1.0, 2.0]))
    p.grad = p.detach()
    nn.optim.AdamW([p], lr=0.5, weight_decay=0.5).step()
    assert np.allclose(np.asarray(p.detach()), [0.25, 1.0])


def test_lbfgs_goes_back_where_its_closure_fails() -> None:
    p = nn.Parameter(nn.tensor([1.0, 2.0]))
    optimizer = nn.optim.LBFGS([p], lr=0.125)
    calls = []

    def closure() -> nn.Tensor:
        calls.append(1)
        if len(calls) == 3:
            raise LookupError
        optimizer.zero_grad()
        loss = nn.ops.sum(p * p * p * p)
        loss.backward()
        return loss

    with pytest.raises(LookupError):
        optimizer.step(closure)
    assert np.asarray(p.detach()).tolist() == [1.0, 2.0]
    assert not optimizer.state_dict()["state"]
