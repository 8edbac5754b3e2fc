"""A layer that is the solution of an equation, with the gradient of the implicit function theorem.

z solves z = tanh(z W + x). `forward` iterates until nothing changes; nothing of the iterations is
kept. At the solution dz = (dz W + dx + z dW) (1 - z^2), so `backward` solves a linear equation of
the same kind, again by iterating: u = g + (u (1 - z^2)) W^T, a Neumann series (Bai, Kolter, Koltun,
Deep equilibrium models, 2019, theorem 1). The class is written against ``ctx.xp`` alone, so one
class runs on every implementation.

    python fixed_point.py --impl impl_numpy
"""

from typing import Any

import chosen

STEPS = 60


class FixedPoint:
    """x (N, H) and W (H, H), whose rows are small enough to contract, to z (N, H)."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any) -> Any:
        """Iterate from zero."""
        z = 0 * x
        for _ in range(STEPS):
            z = ctx.xp.tanh(ctx.xp.matmul(z, w) + x)
        ctx.save_for_backward(z, w)
        return z

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        """Solve for u; the gradients are those of one step, with u in the place of g."""
        z, w = ctx.saved_tensors
        slope = 1 - z * z
        u = grad_output
        for _ in range(STEPS):
            u = grad_output + ctx.xp.matmul(u * slope, ctx.xp.matrix_transpose(w))
        step = u * slope
        return step, ctx.xp.matmul(ctx.xp.matrix_transpose(z), step)


def unrolled(nn: Any, x: Any, w: Any) -> Any:
    """Return what `FixedPoint` returns, with every iteration on the tape."""
    z = 0 * x
    for _ in range(STEPS):
        z = nn.ops.tanh(z @ w + x)
    return z


def problem(nn: Any, n: int = 16, h: int = 4) -> tuple[Any, Any, Any]:
    """Return x, the W that made the target, and the target."""
    nn.manual_seed(0)
    x, w = nn.randn((n, h)), 0.15 * nn.randn((h, h))
    return x, w, unrolled(nn, x, w)


def difference(nn: Any) -> float:
    """Return the largest difference between its gradients and those through every iteration."""
    apply = nn.as_function(FixedPoint).apply
    x, w, _ = problem(nn)

    def by(solve: Any) -> Any:
        return nn.grad(lambda x, w: nn.ops.sum(solve(x, w) ** 2), argnums=(0, 1))(x, w)

    pairs = zip(by(apply), by(lambda x, w: unrolled(nn, x, w)), strict=True)
    return max(nn.ops.max(nn.ops.abs(a - b)).item() for a, b in pairs)


def learn(nn: Any, steps: int) -> list[float]:
    """Find W again from the solutions; return the loss before each step."""
    apply = nn.as_function(FixedPoint).apply
    x, w, target = problem(nn)
    weight = nn.Parameter(nn.zeros(w.shape))
    optimizer = nn.optim.Adam([weight], lr=0.02)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.loss.mse_loss(apply(x, weight), target)
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


if __name__ == "__main__":
    nn, picture = chosen.arguments("fixed_point.png")
    print(f"largest difference to the gradient through every iteration: {difference(nn):.1e}")
    losses = learn(nn, steps=100)
    for number in range(0, 100, 20):
        print(f"step {number:2d}: loss {losses[number]:.2e}")
    print(f"last: loss {losses[-1]:.2e}")
    chosen.draw(losses, picture, scale="log")
