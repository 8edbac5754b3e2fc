"""The table of recurrent options, read cell by cell: of what layer, which option, asked how."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spec_tests.judge.clauses import SPEC_DIRECTORY

COLUMNS = (
    "values",
    "gradients",
    "second",
    "lengths",
    "resets",
    "jit",
    "vmap",
    "jvp",
    "exchange",
)
LAYERS = ("RNN_tanh", "RNN_relu", "LSTM", "GRU")
_HEAD = ("option", "of", *COLUMNS)


@dataclass(frozen=True)
class Cell:
    """One cell of the table that says `yes`.

    Attributes
    ----------
    layer : str
        One of `LAYERS`.
    option : str
        The row, as in ``"batch_first"``.
    column : str
        One of `COLUMNS`.
    """

    layer: str
    option: str
    column: str

    @property
    def id(self) -> str:
        """The name of a test's case."""
        return f"{self.layer}-{self.option}"

    @property
    def key(self) -> str:
        """The cell's name in the result file, as in ``rnn.LSTM.batch_first.vmap``."""
        return f"rnn.{self.layer}.{self.option}.{self.column}"


@cache
def read(directory: Path = SPEC_DIRECTORY) -> dict[str, Cell]:
    """Read the cells of the table that say `yes`, by their keys, in its order.

    Raises
    ------
    ValueError
        Where a row cannot be read or stands twice; the message names the line.
    """
    path = directory / "rnn.md"
    cells: dict[str, Cell] = {}
    inside = False
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        row = tuple(part.strip() for part in line.strip("|").split("|"))
        if not line.startswith("|") or not inside:
            inside = row == _HEAD
        elif not set(line) <= set("|- "):
            try:
                own = _cells(row)
            except ValueError as error:
                msg = f"{path.name}:{number}: {error}"
                raise ValueError(msg) from error
            if set(own) & set(cells):
                msg = f"{path.name}:{number}: {row[0]} stands there twice"
                raise ValueError(msg)
            cells |= own
    return cells


def _cells(row: tuple[str, ...]) -> dict[str, Cell]:
    option, of, *said = row
    layers = LAYERS if of == "all" else (of,)
    if len(said) != len(COLUMNS) or not set(said) <= {"yes", "-"}:
        msg = f"a row must say yes or - in {len(COLUMNS)} columns, got {', '.join(said)}"
        raise ValueError(msg)
    if not set(layers) <= set(LAYERS):
        msg = f"an option must be of all or of one of {', '.join(LAYERS)}, got {of}"
        raise ValueError(msg)
    every = [
        Cell(layer, option.strip("`"), column)
        for layer in layers
        for column, word in zip(COLUMNS, said, strict=True)
        if word == "yes"
    ]
    return {cell.key: cell for cell in every}
