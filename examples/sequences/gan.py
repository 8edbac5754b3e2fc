"""A generative adversarial network invents sunspots: a critic with a gradient penalty.

The generator, a GRU, makes series of 16 years from noise. The critic, another, gives series a
number, greater for real ones than for invented: the mean difference is the Wasserstein distance of
the two kinds if the critic's slope is at most 1. For that the squared distance of its slope from 1
is added to its loss, at places between real and invented series (Gulrajani et al. 2017, equation
3). The slope is a derivative through the whole recurrent critic, and training differentiates it
again.

T steps (years), N series, Z numbers of noise a year.

    python gan.py --impl impl_numpy
"""

from typing import Any

import chosen
import numpy as np
from forecast import counts, series

YEARS, BATCH, NOISE, HIDDEN = 16, 32, 2, 16
CRITIC_STEPS, PENALTY = 3, 10.0


def define(nn: Any) -> tuple[Any, Any]:
    """Return the generator, (T, N, Z) to (T, N, 1), and the critic, (T, N, 1) to (N,)."""

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(NOISE, HIDDEN)
            self.head = nn.Linear(HIDDEN, 1)

        def forward(self, noise: Any) -> Any:
            return self.head(self.rnn(noise)[0])

    class Critic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(1, HIDDEN)
            self.head = nn.Linear(HIDDEN, 1)

        def forward(self, values: Any) -> Any:
            # Each state has judged the years so far.
            return nn.ops.mean(self.head(self.rnn(values)[0]), axis=(0, 2))

    return Generator(), Critic()


def penalty(nn: Any, critic: Any, between: Any) -> Any:
    """Return by how much the lengths of the critic's slopes miss 1, squared, on average."""
    leaf = between.detach().requires_grad_()
    (slope,) = nn.autograd.grad(nn.ops.sum(critic(leaf)), [leaf], create_graph=True)
    # Where it is 0 a length has no derivative.
    length = nn.ops.sqrt(nn.ops.sum(slope * slope, axis=(0, 2)) + 1e-12)
    return nn.ops.mean((length - 1) ** 2)


class Sun:
    """Windows of real years, noise, and places between real and invented ones."""

    def __init__(self) -> None:
        self.values = series().astype("float32")
        self.random = np.random.default_rng(0)

    def real(self, count: int = BATCH) -> np.ndarray:
        """Return so many windows, (T, N, 1)."""
        starts = self.random.integers(0, len(self.values) - YEARS + 1, count)
        return self.values[starts + np.arange(YEARS)[:, None]][..., None]

    def noise(self, count: int = BATCH) -> np.ndarray:
        """Return normal numbers, (T, N, Z)."""
        return self.random.normal(size=(YEARS, count, NOISE)).astype("float32")

    def share(self) -> np.ndarray:
        """Return how far each place is on the way, (N, 1)."""
        return self.random.random((BATCH, 1)).astype("float32")


def learn(nn: Any, steps: int) -> tuple[Any, list[float], list[float]]:
    """Train; return the generator, and distance and mean slope before each of its steps."""
    nn.manual_seed(0)
    generator, critic = define(nn)
    optimizers = [
        nn.optim.Adam(model.parameters(), lr=lr, betas=(0.5, 0.9))
        for model, lr in ((generator, 0.002), (critic, 0.01))
    ]
    sun = Sun()
    distances, missed = [], []
    for _ in range(steps):
        for _ in range(CRITIC_STEPS):
            real, share = nn.tensor(sun.real()), nn.tensor(sun.share())
            with nn.no_grad():
                invented = generator(nn.tensor(sun.noise()))
            optimizers[1].zero_grad()
            distance = nn.ops.mean(critic(real)) - nn.ops.mean(critic(invented))
            lost = penalty(nn, critic, share * real + (1 - share) * invented)
            (PENALTY * lost - distance).backward()
            optimizers[1].step()
        distances.append(distance.item())
        missed.append(lost.item())
        optimizers[0].zero_grad()
        (-nn.ops.mean(critic(generator(nn.tensor(sun.noise()))))).backward()
        optimizers[0].step()
    return generator, distances, missed


def invented(nn: Any, generator: Any, count: int = 256) -> np.ndarray:
    """Return so many invented series, (T, N)."""
    noise = np.random.default_rng(1).normal(size=(YEARS, count, NOISE))
    with nn.no_grad():
        return np.asarray(generator(nn.tensor(noise.astype("float32"))).numpy()[..., 0])


def rhythm(values: np.ndarray) -> np.ndarray:
    """Return the correlation of series (T, N) with themselves so many years later, 0 to 11."""
    centred = values - values.mean()
    lags = [np.mean(centred[: YEARS - lag] * centred[lag:]) for lag in range(12)]
    return np.array(lags) / lags[0]


def described(values: np.ndarray) -> str:
    """Return mean, spread and rhythm in words."""
    found = rhythm(values)
    return (
        f"mean {values.mean():5.2f}, spread {values.std():.2f}, correlation with 1, 5 and 11 "
        f"years later {found[1]:5.2f} {found[5]:5.2f} {found[11]:5.2f}"
    )


def draw(real: np.ndarray, fake: np.ndarray, distances: list[float], picture: str) -> None:
    """Draw the distance and a few series of both kinds, if there is matplotlib."""
    drawn = chosen.axes(3)
    if drawn is None:
        return
    figure, (first, *others) = drawn
    first.plot(distances)
    first.set(xlabel="step", ylabel="distance by the critic")
    for plot, values, name in zip(others, (real, fake), ("real", "invented"), strict=True):
        plot.plot(counts(values[:, :5]))
        plot.set(xlabel="year", ylabel="sunspots", title=name, ylim=(0, 220))
    figure.savefig(picture)
    print(f"drawn in {picture}")


if __name__ == "__main__":
    nn, picture = chosen.arguments("gan.png")
    generator, distances, missed = learn(nn, steps=300)
    for number in range(0, 300, 50):
        print(f"step {number:3d}: distance {distances[number]:6.3f}, penalty {missed[number]:.4f}")
    real, fake = Sun().real(256)[..., 0], invented(nn, generator)
    print(f"real:     {described(real)}\ninvented: {described(fake)}")
    draw(real, fake, distances, picture)
