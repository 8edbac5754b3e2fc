"""The gradient of each sample by itself, and what it tells: which labels are wrong.

The gradient of a batch is the sum of the gradients of its samples, and says nothing of any one. By
`grad` of the loss of one sample, in a loop, each is seen: after some training, samples whose labels
contradict the others pull hardest.

    python per_sample.py --impl impl_numpy
"""

from typing import Any

import chosen
import numpy as np

SAMPLES, WRONG = 60, (7, 23, 41)


def labelled() -> tuple[np.ndarray, np.ndarray]:
    """Return points (N, 2) in two heaps and their labels (N,), some of which are wrong."""
    labels = np.arange(SAMPLES) % 2
    centres = np.where(labels[:, None] == 1, 1.5, -1.5)
    points = np.random.default_rng(0).normal(size=(SAMPLES, 2)) * 0.6 + centres
    labels[list(WRONG)] = 1 - labels[list(WRONG)]
    return points.astype(np.float32), labels


def network(nn: Any) -> tuple[Any, dict[str, Any]]:
    """Return a loss of parameters, points and labels, summed over the samples, and parameters."""
    nn.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))

    def loss(params: dict[str, Any], points: Any, labels: Any) -> Any:
        logits = nn.functional_call(model, params, points)
        return nn.loss.cross_entropy(logits, labels, reduction="sum")

    return loss, {name: p.detach() for name, p in model.named_parameters()}


def one_by_one(
    nn: Any, loss: Any, params: dict[str, Any], points: Any, labels: Any
) -> list[dict[str, Any]]:
    """Return the gradient of each sample, a dict like the parameters."""
    slope = nn.grad(loss)
    return [slope(params, points[i : i + 1], labels[i : i + 1]) for i in range(points.shape[0])]


def learn(nn: Any, steps: int) -> tuple[list[float], list[dict[str, Any]], dict[str, Any]]:
    """Train; return the losses, then the gradient of each sample, and that of the batch."""
    points, labels = (nn.tensor(array) for array in labelled())
    loss, params = network(nn)
    slope = nn.value_and_grad(loss)
    losses = []
    for _ in range(steps):
        value, gradient = slope(params, points, labels)
        params = {name: p - 0.01 * gradient[name] for name, p in params.items()}
        losses.append(value.item())
    _, together = slope(params, points, labels)
    return losses, one_by_one(nn, loss, params, points, labels), together


def lengths(nn: Any, each: list[dict[str, Any]]) -> list[float]:
    """Return the length of each sample's gradient."""
    return [sum(nn.ops.sum(g * g).item() for g in one.values()) ** 0.5 for one in each]


def rest(nn: Any, each: list[dict[str, Any]], together: dict[str, Any]) -> float:
    """Return the largest difference between the sum of the gradients and that of the batch."""
    worst = 0.0
    for name, gradient in together.items():
        total = nn.ops.sum(nn.ops.stack([one[name] for one in each]), axis=0)
        worst = max(worst, nn.ops.max(nn.ops.abs(total - gradient)).item())
    return worst


if __name__ == "__main__":
    nn, picture = chosen.arguments("per_sample.png")
    losses, each, together = learn(nn, steps=100)
    print(f"loss: {losses[0]:.3f} before the first step, {losses[-1]:.3f} before the last")
    print(f"the sum of {len(each)} gradients and that of the batch: {rest(nn, each, together):.1e}")
    pulls = lengths(nn, each)
    for place in sorted(range(len(pulls)), key=lambda i: -pulls[i])[:5]:
        said = "wrong label" if place in WRONG else ""
        print(f"sample {place:2d}: length {pulls[place]:.3f} {said}")
    drawn = chosen.axes(1)
    if drawn is not None:
        figure, plot = drawn
        plot.bar(range(len(pulls)), pulls, color=["C1" if i in WRONG else "C0" for i in range(60)])
        plot.set(xlabel="sample", ylabel="length of its gradient")
        figure.savefig(picture)
        print(f"drawn in {picture}")
