"""The pictures of the tutorial, from the programs in examples/article."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ARTICLE = Path(__file__).parents[2] / "examples" / "article"
# One picture has the same bytes in every build of it.
_LOSSES = """
import matplotlib, mlp, rnn, sys
import impl_numpy as nn
matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "docs"
import matplotlib.pyplot as plt
figure, plot = plt.subplots(figsize=(5.5, 3), layout="constrained")
for name, program in (("MLP", mlp), ("RNN", rnn)):
    plot.plot(program.train(nn, 100), label=name)
plot.set(xlabel="step", ylabel="loss", yscale="log")
plot.legend()
figure.savefig(sys.argv[1], metadata={"Date": None})
"""


def draw(folder: Path) -> list[Path]:
    """Draw them in a folder, and return their paths.

    Raises
    ------
    subprocess.CalledProcessError
        Where a program fails.
    """
    losses, grown = folder / "losses.svg", folder / "grown.svg"
    _run("-c", _LOSSES, str(losses))
    _run("grown.py", "--impl", "impl_numpy", "--picture", str(grown))
    return [losses, grown]


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], cwd=ARTICLE, check=True, stdout=subprocess.DEVNULL)
