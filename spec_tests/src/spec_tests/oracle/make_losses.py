"""Compute the results of the losses' table with torch.nn.functional in float64.

With spec_tests and torch installed, in the versions that ``data/provenance_losses.json`` names::

    python -m spec_tests.oracle.make_losses

The cases are the table's own (``support/losses.py``). torch cannot differentiate its ``ctc_loss``
twice, and the first gradient that it gives is that with regard to logits in front of a
``log_softmax``. So the recursion is written out here, and `check_ctc` holds it against torch's. The
second derivative of its ``binary_cross_entropy`` is off by 1e-11, from a number that it adds to
denominators; that loss is written out too, and `check_bce` holds it against torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from spec_tests.oracle.stored import record, store
from spec_tests.support.losses import Case, cases, cotangent, flat, is_floating, losses


def main() -> None:
    """Write the results of all cases, and where they come from."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    check_bce()
    check_ctc()
    stored = {
        row.name: flat([array for case in cases(row, "float64") for array in results(case)])
        for row in losses()
    }
    store("loss_rows", stored)
    everything = b"".join(numbers.tobytes() for numbers in stored.values())
    facts = {"cases": sum(len(cases(row, "float64")) for row in losses())}
    record("losses", "make_losses.py", everything, facts, {"torch": torch.__version__})


def results(case: Case) -> list[np.ndarray]:
    """Return the value of a case, its first gradients and, where asked, its second."""
    leaves: list[torch.Tensor] = []

    def given(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        made = torch.tensor(leaf)
        if is_floating(leaf) and len(leaves) < len(case.floating):
            leaves.append(made.requires_grad_())
        return made

    positional, options = case.call.map(given)
    name = case.row.name
    function = OWN[name] if name in OWN else getattr(functional, name)
    value = function(*positional, **options, reduction=case.reduction)
    arrives = cotangent(tuple(value.shape)) if case.reduction == "none" else np.array(1.0)
    total = (value * torch.tensor(arrives)).sum()
    found = [value, *slopes(total, leaves)]
    if case.twice:
        found += slopes(sum((slope**2).sum() for slope in found[1:]), leaves)
    arrays = [array.numpy(force=True) for array in found]
    assert all(np.isfinite(array).all() for array in arrays), case.text
    return arrays


def slopes(total: Any, leaves: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the gradient to every leaf; zeros where it has none."""
    if not total.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    pairs = zip(leaves, found, strict=True)
    return [torch.zeros_like(leaf) if slope is None else slope for leaf, slope in pairs]


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> torch.Tensor:
    """Return what torch's function does between 0 and 1."""
    loss = -(target * input.log() + (1 - target) * (-input).log1p())
    loss = loss if weight is None else weight * loss
    return {"mean": loss.mean, "sum": loss.sum, "none": loss.clone}[reduction]()


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> torch.Tensor:
    """Return what ``torch.nn.functional.ctc_loss`` does, of operations that differentiate twice."""
    if log_probs.ndim == 2:
        alone = log_probs[:, None], targets, input_lengths, target_lengths
        return ctc_loss(*alone, blank, "sum" if reduction == "none" else reduction, zero_infinity)
    steps, sizes = ([int(n) for n in given] for given in (input_lengths, target_lengths))
    parts = targets if targets.ndim == 2 else torch.split(targets, sizes)
    each = [
        sequence_loss(log_probs[:length, n], parts[n][:size].tolist(), blank)
        for n, (length, size) in enumerate(zip(steps, sizes, strict=True))
    ]
    if zero_infinity:
        each = [torch.zeros(()) if torch.isinf(loss) else loss for loss in each]
    loss = torch.stack(each)
    if reduction == "mean":
        return (loss / torch.tensor(sizes).clamp(min=1)).mean()
    return loss.sum() if reduction == "sum" else loss


def sequence_loss(log_probs: torch.Tensor, labels: list[int], blank: int) -> torch.Tensor:
    """Return the loss of one sequence: log_probs (T, C)."""
    path = [blank]
    for label in labels:
        path += [label, blank]
    alpha: list[Any] = [log_probs[0, label] if s < 2 else None for s, label in enumerate(path)]
    for row in log_probs[1:]:
        following: list[Any] = []
        for s, label in enumerate(path):
            skips = s > 1 and label != blank and label != path[s - 2]
            sources = [alpha[s], *([alpha[s - 1]] if s else []), *([alpha[s - 2]] if skips else [])]
            known = [source for source in sources if source is not None]
            reached = torch.logsumexp(torch.stack(known), 0) + row[label] if known else None
            following.append(reached)
        alpha = following
    ends = [end for end in alpha[-2:] if end is not None]
    return -torch.logsumexp(torch.stack(ends), 0) if ends else torch.tensor(torch.inf)


OWN: dict[str, Callable[..., torch.Tensor]] = {
    "binary_cross_entropy": binary_cross_entropy,
    "ctc_loss": ctc_loss,
}


def check_bce() -> None:
    """Compare the loss that is written out with torch's own: values and gradients to the input."""
    compare("binary_cross_entropy", lambda x: x)


def check_ctc() -> None:
    """Compare the recursion with torch's own: values, and gradients through ``log_softmax``."""
    compare("ctc_loss", lambda x: x.log_softmax(-1))


def compare(name: str, before: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Compare a loss of `OWN` with torch's: its values, also behind `before`, and gradients."""
    for case in (case for row in losses() if row.name == name for case in cases(row, "float64")):
        positional, options = case.call.map(
            lambda leaf: torch.tensor(leaf) if isinstance(leaf, np.ndarray) else leaf
        )
        options["reduction"] = case.reduction
        found = []
        for function in (OWN[name], getattr(functional, name)):
            x = positional[0].clone().requires_grad_()
            plain = function(x, *positional[1:], **options)
            value = function(before(x), *positional[1:], **options)
            arrives = torch.tensor(cotangent(tuple(value.shape)))
            (slope,) = torch.autograd.grad((value * arrives).sum(), x)
            found.append((plain, value, slope))
        for ours, theirs in zip(*found, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


if __name__ == "__main__":
    main()
