"""Forecast the sunspots of the next year: a small LSTM on the numbers of 309 years, with a plot.

The sun has a cycle of about eleven years, of which no two are alike: one takes nine years, another
fourteen, and its peak may be three times as high. The layer learns from the years up to 1930. From
then on it says each year what the next will bring, and is measured by two forecasts that know
nothing: that all stays as it is, and that all comes back after eleven years. Fed with what it said
itself, it goes on for longer.

T steps (years), N windows.

    python forecast.py --impl impl_numpy
"""

from pathlib import Path
from typing import Any

import chosen
import numpy as np

WINDOW, BATCH, READ = 32, 32, 12
FIRST, LAST, CYCLE = 1700, 1930, 11


def series() -> np.ndarray:
    """Return the numbers of sunspots of the years from `FIRST` on, as `roots` of them."""
    path = Path(__file__).with_name("sunspots.csv")
    return roots(np.loadtxt(path, delimiter=",", skiprows=1)[:, 1])


def roots(counts: np.ndarray) -> np.ndarray:
    """Return square roots, moved to about 0: these vary as much where counts are great."""
    return np.asarray(np.sqrt(counts) / 5 - 1.2)


def counts(values: np.ndarray) -> np.ndarray:
    """Return the numbers whose `roots` these are."""
    return np.asarray(np.maximum(5 * (values + 1.2), 0) ** 2)


def forecaster(nn: Any, hidden: int = 8) -> Any:
    """Return a Module: values (T, N, 1) and a state to those that follow each, and the state."""

    class Forecaster(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(1, hidden)
            self.head = nn.Linear(hidden, 1)

        def forward(self, values: Any, state: Any = None) -> Any:
            output, state = self.rnn(values, state)
            return self.head(output), state

    return Forecaster()


def learn(nn: Any, steps: int) -> tuple[Any, list[float]]:
    """Train on windows up to the year `LAST`; return the Module and the loss before each step."""
    nn.manual_seed(0)
    model = forecaster(nn)
    optimizer = nn.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    scheduler = nn.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    known = series()[: LAST - FIRST + 1].astype("float32")
    random = np.random.default_rng(0)
    losses = []
    for _ in range(steps):
        starts = random.integers(0, len(known) - WINDOW, BATCH)
        windows = known[starts + np.arange(WINDOW + 1)[:, None]][..., None]
        optimizer.zero_grad()
        got, _ = model(nn.tensor(windows[:-1]))
        # Of a few years alone nobody could tell where in its cycle the sun is.
        loss = nn.loss.mse_loss(got[READ:], nn.tensor(windows[READ + 1 :]))
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return model, losses


def next_years(nn: Any, model: Any) -> np.ndarray:
    """Return what is said of each year behind `LAST`, (T,), by the years before it."""
    values = series()
    with nn.no_grad():
        said, _ = model(nn.tensor(values[:-1, None, None].astype("float32")))
    return np.asarray(said.numpy()[LAST - FIRST :, 0, 0], np.float64)


def errors(said: np.ndarray) -> dict[str, float]:
    """Return the root mean squared errors of forecasts of the years behind `LAST`."""
    values, first = series(), LAST - FIRST + 1
    guesses = {
        "the LSTM": said,
        "as the year before": values[first - 1 : -1],
        "as eleven years before": values[first - CYCLE : -CYCLE],
    }
    wanted = values[first:]
    return {name: float(np.sqrt(np.mean((x - wanted) ** 2))) for name, x in guesses.items()}


def onward(nn: Any, model: Any, year: int, count: int) -> np.ndarray:
    """Return what is said of the years behind one, each read before the next is said."""
    values = series()[: year - FIRST + 1].astype("float32")
    found = []
    with nn.no_grad():
        said, state = model(nn.tensor(values[:, None, None]))
        for _ in range(count):
            found.append(said[-1].item())
            said, state = model(said[-1:], state)
    return np.array(found)


def draw(said: np.ndarray, longer: dict[int, np.ndarray], picture: str) -> None:
    """Draw the years with their forecasts, if there is matplotlib."""
    drawn = chosen.axes(2)
    if drawn is None:
        return
    figure, plots = drawn
    values = series()[LAST - FIRST - 20 :]
    for plot in plots:
        plot.plot(LAST - 20 + np.arange(len(values)), counts(values), color="0.6", label="counted")
        plot.set(xlabel="year", ylabel="sunspots")
    plots[0].plot(LAST + 1 + np.arange(len(said)), counts(said), label="said the year before")
    for year, found in longer.items():
        years = year + 1 + np.arange(len(found))
        plots[1].plot(years, counts(found), label=f"said in {year}")
    for plot in plots:
        plot.legend(fontsize=7)
    figure.savefig(picture)
    print(f"drawn in {picture}")


if __name__ == "__main__":
    nn, picture = chosen.arguments("forecast.png")
    model, losses = learn(nn, steps=150)
    for number in range(0, 150, 50):
        print(f"step {number:3d}: loss {losses[number]:.4f}")
    print(f"last: loss {losses[-1]:.4f}\n")
    said = next_years(nn, model)
    print(f"root mean squared error of the years behind {LAST}, in the numbers of `series`")
    for name, error in errors(said).items():
        print(f"  {name:22s} {error:.3f}")
    print("\nyear  counted  said the year before")
    values = series()
    for year in range(2000, 2009):
        numbers = [counts(x) for x in (values[year - FIRST], said[year - LAST - 1])]
        print(f"{year}  {numbers[0]:7.0f}  {numbers[1]:7.0f}")
    longer = {year: onward(nn, model, year, 15) for year in (1950, 1970, 1990, 2008)}
    draw(said, longer, picture)
