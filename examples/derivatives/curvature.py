"""How curved a loss is along training: the largest eigenvalue of its Hessian, without the Hessian.

Gradient descent with a step ``lr`` is stable along a direction while its curvature is below 2 / lr.
Networks trained with the whole batch climb to that edge and stay near it (Cohen et al., Gradient
descent on neural networks typically occurs at the edge of stability, 2021, figure 1).

    python curvature.py --impl impl_numpy
"""

from typing import Any

import chosen
import numpy as np

RATE, EVERY, PRODUCTS = 0.5, 25, 12


def network(nn: Any) -> tuple[Any, dict[str, Any], Any]:
    """Return a loss of a dict of parameters, these parameters, and their Module."""
    nn.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    x = nn.randn((48, 2))
    target = nn.ops.sin(2 * x[:, :1]) * x[:, 1:]

    def loss(params: dict[str, Any]) -> Any:
        return nn.loss.mse_loss(nn.functional_call(model, params, x), target)

    return loss, {name: p.detach() for name, p in model.named_parameters()}, model


def steepest(
    nn: Any, loss: Any, params: dict[str, Any], start: dict[str, Any], products: int
) -> tuple[float, dict[str, Any]]:
    """Return the Hessian's largest eigenvalue and its direction, by power iteration.

    Each product of the Hessian with a direction costs about two gradients.
    """
    direction, value = start, 0.0
    for _ in range(products):
        (product,) = nn.hvp(loss, (params,), (direction,))
        length = sum(nn.ops.sum(part * part).item() for part in product.values()) ** 0.5
        value = sum(nn.ops.sum(product[name] * direction[name]).item() for name in params)
        direction = {name: part / length for name, part in product.items()}
    return value, direction


def unit(nn: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Return a direction of length one with a part in every parameter."""
    count = sum(int(np.prod(p.shape)) for p in params.values())
    return {name: nn.full(p.shape, count**-0.5) for name, p in params.items()}


def train(nn: Any, steps: int) -> list[tuple[int, float, float]]:
    """Train; return now and then the step, the loss and the largest curvature."""
    loss, params, _ = network(nn)
    slope = nn.value_and_grad(loss)
    direction = unit(nn, params)
    seen = []
    for step in range(steps + 1):
        value, gradient = slope(params)
        if step % EVERY == 0:
            largest, direction = steepest(nn, loss, params, direction, PRODUCTS)
            seen.append((step, value.item(), largest))
        params = {name: p - RATE * gradient[name] for name, p in params.items()}
    return seen


def check(nn: Any) -> tuple[float, float]:
    """Return the largest curvature at the start by products, and from the whole Hessian."""
    loss, params, _ = network(nn)
    value, _ = steepest(nn, loss, params, unit(nn, params), 60)
    table = nn.hessian(loss)(params)
    rows = []
    for outer, p in params.items():
        size = int(np.prod(p.shape))
        blocks = [np.asarray(table[outer][name].tolist()).reshape(size, -1) for name in params]
        rows.append(np.concatenate(blocks, axis=1))
    return value, float(np.linalg.eigvalsh(np.concatenate(rows)).max())


if __name__ == "__main__":
    nn, picture = chosen.arguments("curvature.png")
    by_products, by_hessian = check(nn)
    print(f"at the start: {by_products:.4f} by products, {by_hessian:.4f} from the whole Hessian")
    found = train(nn, steps=400)
    for step, value, largest in found:
        print(f"step {step:3d}: loss {value:.4f}, largest curvature {largest:6.3f} of {2 / RATE:g}")
    drawn = chosen.axes(2)
    if drawn is not None:
        figure, (left, right) = drawn
        steps, losses, curvatures = zip(*found, strict=True)
        left.semilogy(steps, losses)
        left.set(xlabel="step", ylabel="loss")
        right.plot(steps, curvatures, label="largest eigenvalue of the Hessian")
        right.axhline(2 / RATE, linestyle="--", color="gray", label="2 / lr")
        right.set(xlabel="step", ylabel="curvature")
        right.legend()
        figure.savefig(picture)
        print(f"drawn in {picture}")
