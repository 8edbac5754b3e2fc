"""Chapter autograd: `checkpoint`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.memory import peaks_of, unmeasurable

PURPOSE = "on purpose"


class Mishap(Exception):
    """What the user's own code raises."""


def leaves_of(nn: Any, dtype: str) -> list[Any]:
    return [tensor(nn, normal((3, 4), dtype, seed=1)), tensor(nn, normal((4,), dtype, seed=2))]


def same_slopes(
    nn: Any, plain: Callable[..., Any], kept: Callable[..., Any], dtype: str, call: str = ""
) -> None:
    """Compare value and gradients of two functions of `leaves_of`."""
    __tracebackhide__ = True
    outcomes = []
    for fn in (plain, kept):
        nn.manual_seed(8)
        leaves = leaves_of(nn, dtype)
        value = fn(*leaves)
        nn.ops.sum(value * value).backward()
        drawn = nn.rand(3)
        outcomes.append([to_numpy(nn, t) for t in (value.detach(), *[x.grad for x in leaves])])
        outcomes[-1].append(to_numpy(nn, drawn))
    for place, (want, got) in enumerate(zip(*outcomes, strict=True)):
        what = ("value", "gradient 0", "gradient 1", "the next numbers drawn")[place]
        agrees(nn, got, want, "elementwise", call=f"{call}: {what}", dtype=want.dtype.name)


def bent(nn: Any, x: Any, w: Any) -> Any:
    return nn.ops.tanh(x * w) * nn.ops.exp(x) + w


@clause("autograd-39")
def test_values_and_gradients(nn: Any, dtype: str) -> None:
    same_slopes(
        nn,
        lambda x, w: bent(nn, x, w),
        lambda x, w: nn.checkpoint(lambda x, w: bent(nn, x, w), x, w),
        dtype,
        "arguments",
    )


@clause("autograd-39")
def test_tensors_from_elsewhere(nn: Any, dtype: str) -> None:
    def kept(x: Any, w: Any) -> Any:
        doubled = w * 2
        return nn.checkpoint(lambda x: bent(nn, x, doubled) + w, x)

    same_slopes(nn, lambda x, w: bent(nn, x, w * 2) + w, kept, dtype, "closures")


@clause("autograd-39")
def test_parameters_of_a_module(nn: Any, dtype: str) -> None:
    slopes = []
    for through in (False, True):
        nn.manual_seed(2)
        module = nn.Sequential(
            nn.Linear(4, 5, dtype=getattr(nn, dtype)),
            nn.Tanh(),
            nn.Linear(5, 2, dtype=getattr(nn, dtype)),
        )
        x = nn.tensor(normal((3, 4), dtype))
        y = nn.checkpoint(module, x) if through else module(x)
        nn.ops.sum(y * y).backward()
        slopes.append([to_numpy(nn, p.grad) for p in module.parameters()])
    for want, got in zip(*slopes, strict=True):
        agrees(nn, got, want, "matmul", dtype=dtype)


@clause("autograd-39", "autograd-14")
def test_structures_and_other_arguments(nn: Any) -> None:
    def parts(tree: Any, factor: float, *, flag: bool = True) -> Any:
        assert flag
        return {"a": tree["x"] * factor, "b": [tree["y"][0] + tree["x"], tree["y"][1]]}

    x, y = leaves_of(nn, "float32")
    whole = nn.tensor(np.array([1, 2]))
    got = nn.checkpoint(parts, {"x": x, "y": (y, whole)}, 3.0)
    assert set(got) == {"a", "b"}
    assert isinstance(got["b"], list)
    exactly(nn, got["b"][1], np.array([1, 2]))
    (nn.ops.sum(got["a"]) + nn.ops.sum(got["b"][0] * y)).backward()
    exactly(nn, x.grad, 3 + np.broadcast_to(to_numpy(nn, y.detach()), (3, 4)), dtype="float32")
    both = to_numpy(nn, x.detach()) + 2 * to_numpy(nn, y.detach())
    agrees(nn, y.grad, both.astype(np.float64).sum(axis=0), "reduction", dtype="float32")


@clause("autograd-39")
def test_it_nests(nn: Any, dtype: str) -> None:
    def inner(x: Any, w: Any) -> Any:
        return nn.checkpoint(lambda a: nn.ops.tanh(a) * w, bent(nn, x, w))

    same_slopes(
        nn,
        lambda x, w: nn.ops.exp(nn.ops.tanh(bent(nn, x, w)) * w),
        lambda x, w: nn.checkpoint(lambda x, w: nn.ops.exp(inner(x, w)), x, w),
        dtype,
        "nested",
    )


@clause("autograd-39", "nn-08")
def test_what_is_drawn(nn: Any) -> None:
    drop = nn.Dropout(0.5)

    def plain(x: Any, w: Any) -> Any:
        return drop(x) * w + drop(x)

    same_slopes(nn, plain, lambda x, w: nn.checkpoint(plain, x, w), "float32", "dropout")


@clause("autograd-39", needs="double_backward")
def test_second_derivatives(nn: Any) -> None:
    factor = tensor(nn, normal((4,), "float64", seed=5))

    def slope_of(fn: Callable[..., Any]) -> list[np.ndarray]:
        leaves = leaves_of(nn, "float64")
        factor.grad = None
        y = fn(*leaves)
        nn.ops.sum(y * y).backward(create_graph=True)
        first = [leaf.grad for leaf in (*leaves, factor)]
        for leaf in (*leaves, factor):
            leaf.grad = None
        total = sum((nn.ops.sum(g * g) for g in first[1:]), nn.ops.sum(first[0] * first[0]))
        total.backward()
        return [to_numpy(nn, leaf.grad) for leaf in (*leaves, factor)]

    def plain(x: Any, w: Any) -> Any:
        return bent(nn, x, w) * nn.ops.exp(factor)

    wanted = slope_of(plain)
    got = slope_of(lambda x, w: nn.checkpoint(plain, x, w))
    for want, slope in zip(wanted, got, strict=True):
        agrees(nn, slope, want, "gradient", dtype="float64")


@clause("autograd-39", "autograd-14", "autograd-34")
def test_under_transformations(nn: Any) -> None:
    x, w = (leaf.detach() for leaf in leaves_of(nn, "float32"))

    def scalar(x: Any, w: Any, *, kept: bool) -> Any:
        y = nn.checkpoint(lambda x: bent(nn, x, w), x) if kept else bent(nn, x, w)
        return nn.ops.sum(y * y)

    for argnums in (0, 1):
        want = nn.grad(lambda x, w: scalar(x, w, kept=False), argnums=argnums)(x, w)
        got = nn.grad(lambda x, w: scalar(x, w, kept=True), argnums=argnums)(x, w)
        agrees(nn, got, to_numpy(nn, want), "gradient", dtype="float32")


@clause("autograd-39", "autograd-20", needs="jit")
def test_under_jit(nn: Any) -> None:
    def kept(x: Any, w: Any) -> Any:
        return nn.checkpoint(lambda x, w: bent(nn, x, w), x, w)

    same_slopes(nn, lambda x, w: bent(nn, x, w), nn.jit(kept), "float32", "jit")


@clause("autograd-39", "autograd-24")
def test_values_that_are_changed_in_between(nn: Any) -> None:
    x, w = leaves_of(nn, "float32")
    before = [to_numpy(nn, t.detach()).astype(np.float64) for t in (x, w)]
    y = nn.checkpoint(lambda x: nn.ops.tanh(x * w), x)
    nn.init.constant_(w, 3.0)
    refusal = ""
    try:
        nn.ops.sum(y).backward()
    except RuntimeError as error:
        refusal = str(error)
    if refusal:
        assert "(4,)" in refusal or "modified" in refusal, refusal
        assert x.grad is None
        return
    want = before[1] / np.cosh(before[0] * before[1]) ** 2
    agrees(nn, x.grad, want, "gradient", dtype="float32")


@clause("autograd-39")
@pytest.mark.parametrize("way", ["full", "tensor", "detach", "operation"])
def test_what_is_made_in_it_is_made_again(nn: Any, way: str) -> None:
    """It does not lie elsewhere, though somebody keeps what was made at first."""
    makers: dict[str, Callable[[Any], Any]] = {
        "full": lambda x: nn.full((4,), 3.0),
        "tensor": lambda x: nn.tensor([3.0] * 4),
        "detach": lambda x: (x * 0 + 3).detach(),
        "operation": lambda x: x.detach() * 0 + 3,
    }
    x, _ = leaves_of(nn, "float32")
    made = []

    def fn(x: Any) -> Any:
        made.append(makers[way](x))
        return nn.ops.tanh(x * made[-1])

    nn.ops.sum(nn.checkpoint(fn, x)).backward()
    before = to_numpy(nn, x.detach()).astype(np.float64)
    agrees(nn, x.grad, 3 / np.cosh(3 * before) ** 2, "gradient", dtype="float32")


@clause("autograd-39", "autograd-04")
def test_the_graph_can_be_kept(nn: Any) -> None:
    x, w = leaves_of(nn, "float32")
    y = nn.ops.sum(nn.checkpoint(lambda x, w: bent(nn, x, w), x, w))
    y.backward(retain_graph=True)
    once = to_numpy(nn, x.grad).copy()
    y.backward()
    agrees(nn, x.grad, 2 * once, "gradient", dtype="float32")
    with refuses(RuntimeError, "retain_graph"):
        y.backward()


@clause("autograd-39")
def test_where_nothing_is_recorded(nn: Any) -> None:
    x, w = leaves_of(nn, "float32")
    with nn.no_grad():
        y = nn.checkpoint(lambda x, w: bent(nn, x, w), x, w)
    assert not y.requires_grad
    exactly(nn, y, to_numpy(nn, bent(nn, x, w).detach()), dtype="float32")


@clause("autograd-39")
def test_what_is_raised(nn: Any) -> None:
    x, _ = leaves_of(nn, "float32")

    def failing(x: Any) -> Any:
        nn.rand(2)
        raise Mishap(PURPOSE)

    with refuses(Mishap, PURPOSE):
        nn.checkpoint(failing, x)
    assert x.grad is None
    for bad in (3, "relu", None):
        with refuses(TypeError, "checkpoint", (type(bad).__name__, str(bad))):
            nn.checkpoint(bad, x)
    with refuses(TypeError, "checkpoint", ("str", "text")):
        nn.checkpoint(lambda x: "text", x)


CHAIN = """
def run(steps):
    x = nn.tensor(np.full((64, 256), 0.5, np.float32), requires_grad=True)
    def chain(x):
        for _ in range(steps):
            x = nn.ops.tanh(x)
        return x
    y = x
    for _ in range(steps):
        y = nn.checkpoint(chain, y)
    nn.ops.sum(y).backward()
"""


@clause("autograd-39")
def test_memory_of_a_chain(nn: Any, implementation: str) -> None:
    reason = unmeasurable(nn)
    if reason:
        pytest.skip(reason)
    short, long = peaks_of(implementation, CHAIN, 10, 40)
    array = 64 * 256 * 4
    grown = (long - short) / array
    # Of 30 more segments and 30 more operations in each; all operations would keep 1500 arrays.
    assert grown <= 300, f"got {grown:.0f} arrays more but should be 300 at most"
