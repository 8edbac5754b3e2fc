"""Transforms of torch over everything that has a derivative of its own.

    python impl_torch_ext/tests/test_transforms.py [part of a name ...]

prints the table: each object beside each transform, and what stands in the way where something
does. Every cell compares with what torch's plain autograd gives for the object itself. The table
takes half an hour, so that pytest asks some of the cells, of every object and every transform;
`EVERY_TRANSFORM=1` asks all.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils.checkpoint import checkpoint
from transform_cases import CASES, Case, flat

BATCH = 3


def outputs_of(result: Any) -> tuple[Tensor, ...]:
    """Return the outputs that can be differentiated."""
    results = (result,) if isinstance(result, Tensor) else flat(result)
    return tuple(y for y in results if y.is_floating_point())


def loss_of(case: Case) -> Callable[..., Tensor]:
    """Return a number, in which no element of the outputs is linear."""

    def loss(*tensors: Tensor) -> Tensor:
        outputs = outputs_of(case.fn(*tensors))
        return sum(((y + 0.1 * i) ** 2).sum() for i, y in enumerate(outputs, 1))

    return loss


def every(case: Case) -> tuple[int, ...]:
    return tuple(range(len(case.tensors)))


def leaves(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [x.detach().clone().requires_grad_() for x in tensors]


def plain_gradients(case: Case, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of the loss by `torch.autograd.grad`."""
    own = leaves(tensors)
    return filled(own, torch.autograd.grad(loss_of(case)(*own), own, allow_unused=True))


def filled(own: Sequence[Tensor], grads: Sequence[Tensor | None]) -> list[Tensor]:
    return [torch.zeros_like(x) if g is None else g for x, g in zip(own, grads, strict=True)]


def plain_jacobian(case: Case, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Return by output and Tensor the Jacobian, one row after the other."""
    own = leaves(tensors)
    outputs = outputs_of(case.fn(*own))
    found = []
    for y in outputs:
        rows = [
            filled(own, torch.autograd.grad(e, own, retain_graph=True, allow_unused=True))
            for e in y.reshape(-1)
        ]
        found.append(
            [torch.stack(of).reshape(y.shape + of[0].shape) for of in zip(*rows, strict=True)]
        )
    return found


def agree(got: Sequence[Any], wanted: Sequence[Any]) -> None:
    """Compare Tensors of float64."""
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        if isinstance(other, Tensor):
            scale = 1 + other.detach().abs().max().item() if other.numel() else 1.0
            torch.testing.assert_close(one, other, rtol=0, atol=256 * 2.0**-52 * scale)
        else:
            agree(one, other)


def samples(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return other values for each sample of a batch, the first axis."""
    return [torch.stack([x + 0.125 * i for i in range(BATCH)]) for x in tensors]


def by_grad(case: Case) -> None:
    agree(grad(loss_of(case), every(case))(*case.tensors), plain_gradients(case, case.tensors))


def by_vjp(case: Case) -> None:
    outputs, pull = vjp(lambda *t: outputs_of(case.fn(*t)), *case.tensors)
    seeds = tuple(torch.cos(y) for y in outputs)
    own = leaves(case.tensors)
    results = outputs_of(case.fn(*own))
    wanted = torch.autograd.grad(results, own, seeds, allow_unused=True)
    agree(outputs, results)
    agree(pull(seeds), filled(own, wanted))


def directional(case: Case) -> tuple[tuple[Tensor, ...], list[Tensor]]:
    """Return a direction, and the derivative of each output along it."""
    tangents = tuple(torch.cos(x + 0.5) for x in case.tensors)
    wanted = [
        sum(torch.tensordot(j, t, t.ndim) for j, t in zip(row, tangents, strict=True))
        for row in plain_jacobian(case, case.tensors)
    ]
    return tangents, wanted


def by_jvp(case: Case) -> None:
    tangents, wanted = directional(case)
    outputs, found = jvp(lambda *t: outputs_of(case.fn(*t)), case.tensors, tangents)
    agree(outputs, outputs_of(case.fn(*case.tensors)))
    agree(found, wanted)


def by_dual_numbers(case: Case) -> None:
    tangents, wanted = directional(case)
    with forward_ad.dual_level():
        duals = map(forward_ad.make_dual, case.tensors, tangents)
        found = [forward_ad.unpack_dual(y).tangent for y in outputs_of(case.fn(*duals))]
    agree(found, wanted)


def by_vmap(case: Case) -> None:
    batches = samples(case.tensors)
    wanted = [outputs_of(case.fn(*one)) for one in zip(*batches, strict=True)]
    found = vmap(lambda *t: outputs_of(case.fn(*t)))(*batches)
    agree(found, [torch.stack(ys) for ys in zip(*wanted, strict=True)])


def by_vmap_of_the_first(case: Case) -> None:
    """Only the first Tensor has an axis of samples, and it is the last one."""
    (batch,), others = samples(case.tensors[:1]), case.tensors[1:]
    wanted = [outputs_of(case.fn(x, *others)) for x in batch]
    axes = (-1, *(None for _ in others))
    found = vmap(lambda *t: outputs_of(case.fn(*t)), axes)(batch.movedim(0, -1), *others)
    agree(found, [torch.stack(ys) for ys in zip(*wanted, strict=True)])


def by_per_sample_gradients(case: Case) -> None:
    (batch,), others = samples(case.tensors[:1]), case.tensors[1:]
    wanted = [plain_gradients(case, (x, *others)) for x in batch]
    axes = (0, *(None for _ in others))
    found = vmap(grad(loss_of(case), every(case)), axes)(batch, *others)
    agree(found, [torch.stack(gs) for gs in zip(*wanted, strict=True)])


def by_ensemble(case: Case) -> None:
    """Each sample has parameters of its own."""
    batches = samples(case.tensors)
    wanted = [plain_gradients(case, one) for one in zip(*batches, strict=True)]
    found = vmap(grad(loss_of(case), every(case)))(*batches)
    agree(found, [torch.stack(gs) for gs in zip(*wanted, strict=True)])


def by_grad_of_vmap(case: Case) -> None:
    (batch,), others = samples(case.tensors[:1]), case.tensors[1:]
    axes = (0, *(None for _ in others))

    def total(batch: Tensor, *others: Tensor) -> Tensor:
        return vmap(loss_of(case), axes)(batch, *others).sum()

    each = [plain_gradients(case, (x, *others)) for x in batch]
    to_first = torch.stack([gs[0] for gs in each])
    wanted = [to_first, *(sum(gs) for gs in list(zip(*each, strict=True))[1:])]
    agree(grad(total, every(case))(batch, *others), wanted)
    own = leaves((batch, *others))
    agree(filled(own, torch.autograd.grad(total(*own), own, allow_unused=True)), wanted)


def jacobian_by(transform: Callable[..., Any]) -> Callable[[Case], None]:
    def check(case: Case) -> None:
        found = transform(lambda *t: outputs_of(case.fn(*t)), every(case))(*case.tensors)
        agree(found, plain_jacobian(case, case.tensors))

    return check


def by_hessian(case: Case) -> None:
    agree_with_hessian(case, hessian, lambda f, n: jacrev(jacrev(f, n), n))


def by_jacfwd_twice(case: Case) -> None:
    agree_with_hessian(case, lambda f, n: jacfwd(jacfwd(f, n), n))


def agree_with_hessian(case: Case, *transforms: Callable[..., Any]) -> None:
    """Compare the rows of the first Tensor with those that two plain backwards give."""
    own = leaves(case.tensors)
    (first,) = torch.autograd.grad(loss_of(case)(*own), own[:1], create_graph=True)
    rows = [
        torch.autograd.grad(g, own, retain_graph=True, allow_unused=True)
        if g.requires_grad
        else [None] * len(own)
        for g in first.reshape(-1)
    ]
    wanted = [
        torch.stack(of).reshape(first.shape + of[0].shape)
        for of in zip(*(filled(own, row) for row in rows), strict=True)
    ]
    for transform in transforms:
        agree(transform(loss_of(case), every(case))(*case.tensors)[0], wanted)


def by_batched_gradients(case: Case) -> None:
    own = leaves(case.tensors)
    outputs = outputs_of(case.fn(*own))
    seeds = [torch.cos(torch.stack([y.detach() + i for i in range(BATCH)])) for y in outputs]
    found = torch.autograd.grad(
        outputs, own, seeds, is_grads_batched=True, retain_graph=True, allow_unused=True
    )
    wanted = [
        filled(own, torch.autograd.grad(outputs, own, one, retain_graph=True, allow_unused=True))
        for one in zip(*seeds, strict=True)
    ]
    agree(
        filled(own, found) if None in found else found,
        [torch.stack(g) for g in zip(*wanted, strict=True)],
    )


class AsModule(torch.nn.Module):
    """A case as torch.export takes it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.case = case

    def forward(self, *tensors: Tensor) -> Any:
        return outputs_of(self.case.fn(*tensors))


def compiled_with(backend: str) -> Callable[[Case], None]:
    def check(case: Case) -> None:
        torch._dynamo.reset()
        program = torch.compile(case.fn, backend=backend, fullgraph=True)
        own, plain = leaves(case.tensors), leaves(case.tensors)
        got, wanted = outputs_of(program(*own)), outputs_of(case.fn(*plain))
        agree(got, wanted)
        seeds = [torch.cos(y.detach()) for y in wanted]
        agree(
            filled(own, torch.autograd.grad(got, own, seeds, allow_unused=True)),
            filled(plain, torch.autograd.grad(wanted, plain, seeds, allow_unused=True)),
        )

    return check


def by_compiled_per_sample_gradients(case: Case) -> None:
    torch._dynamo.reset()
    (batch,), others = samples(case.tensors[:1]), case.tensors[1:]
    axes = (0, *(None for _ in others))
    fn = vmap(grad(loss_of(case), every(case)), axes)
    wanted = [plain_gradients(case, (x, *others)) for x in batch]
    found = torch.compile(fn, backend="aot_eager", fullgraph=True)(batch, *others)
    agree(found, [torch.stack(gs) for gs in zip(*wanted, strict=True)])


def by_export(case: Case) -> None:
    program = torch.export.export(AsModule(case), case.tensors).module()
    agree(program(*case.tensors), outputs_of(case.fn(*case.tensors)))


def by_checkpoint(case: Case) -> None:
    wanted = plain_gradients(case, case.tensors)
    for use_reentrant in (True, False):
        own = leaves(case.tensors)
        result = checkpoint(loss_of(case), *own, use_reentrant=use_reentrant)
        result.backward()
        agree(filled(own, [x.grad for x in own]), wanted)


def by_gradcheck(case: Case) -> None:
    assert torch.autograd.gradcheck(case.fn, leaves(case.tensors))


def by_forward_gradcheck(case: Case) -> None:
    options = {"check_forward_ad": True, "check_batched_grad": True}
    assert torch.autograd.gradcheck(case.fn, leaves(case.tensors), **options)


def by_gradgradcheck(case: Case) -> None:
    assert torch.autograd.gradgradcheck(loss_of(case), leaves(case.tensors))


TRANSFORMS: dict[str, Callable[[Case], None]] = {
    "grad": by_grad,
    "vjp": by_vjp,
    "jvp": by_jvp,
    "dual numbers": by_dual_numbers,
    "vmap": by_vmap,
    "vmap of x": by_vmap_of_the_first,
    "vmap(grad)": by_per_sample_gradients,
    "ensemble": by_ensemble,
    "grad(vmap)": by_grad_of_vmap,
    "jacrev": jacobian_by(jacrev),
    "jacfwd": jacobian_by(jacfwd),
    "hessian": by_hessian,
    "jacfwd(jacfwd)": by_jacfwd_twice,
    "batched gradients": by_batched_gradients,
    "compile eager": compiled_with("eager"),
    "compile aot_eager": compiled_with("aot_eager"),
    "compile vmap": by_compiled_per_sample_gradients,
    "export": by_export,
    "checkpoint": by_checkpoint,
    "gradcheck": by_gradcheck,
    "forward gradcheck": by_forward_gradcheck,
    "gradgradcheck": by_gradgradcheck,
}


# The compiler takes seconds for each: it is asked of these by itself, of all through aot_eager.
SLOW = {"compile eager", "compile vmap", "forward gradcheck"}
COMPILED = {
    "static Function",
    "instance Function",
    "several outputs",
    "reads a number",
    "ops.linear_recurrence",
    "GELU, SiLU",
    "Embedding",
    "LSTM with projection",
    "GRU with lengths",
}
CELLS = [
    (name, transform)
    for i, name in enumerate(CASES)
    for k, transform in enumerate(TRANSFORMS)
    if os.environ.get("EVERY_TRANSFORM") or (5 * i + k) % 9 == 0
    if transform not in SLOW or name in COMPILED
]


# The compiler of torch looks into nodes and results and warns of what it sees there.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "transform"), CELLS, ids=lambda text: text)
def test_transform(name: str, transform: str) -> None:
    torch.manual_seed(0)
    case = CASES[name]()
    if transform in case.without:
        with pytest.raises(Exception):  # noqa: B017, PT011 - of torch's many kinds.
            TRANSFORMS[transform](case)
    else:
        TRANSFORMS[transform](case)


def table(parts: Sequence[str]) -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    chosen = [n for n in CASES if not parts or any(part in n for part in parts)]
    reasons = []
    for name in chosen:
        row = []
        for transform, check in TRANSFORMS.items():
            torch.manual_seed(0)
            case = CASES[name]()
            try:
                check(case)
                row.append("+")
            except Exception as error:
                row.append("-")
                text = " ".join(str(error).split())
                reasons.append(f"{name} | {transform} | {type(error).__name__}: {text[:260]}")
        print(f"{name:32} {' '.join(row)}", flush=True)
    print(", ".join(TRANSFORMS))
    print("\n".join(reasons))


if __name__ == "__main__":
    table(sys.argv[1:])
