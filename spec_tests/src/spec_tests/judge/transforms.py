"""The table of the chapter ``transforms``, read as cells: a program, and what is done to it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from spec_tests.judge.clauses import SPEC_DIRECTORY

COLUMNS = ("jit", "vmap", "jvp", "second", "checkpoint", "deepcopy", "pickle", "threads")
_CELL = re.compile(r"^(?P<yes>yes)?(?: or )?(?:refused: (?P<clause>[a-z]+-\d\d))?$")


@dataclass(frozen=True)
class Cell:
    """What the table says of a program under a transformation.

    Attributes
    ----------
    program, column : str
        The row and the column.
    works : bool
        Whether the program may work there.
    clause : str or None
        The clause by which it may be refused; where it works too, the implementation chooses.
    """

    program: str
    column: str
    works: bool
    clause: str | None

    @property
    def id(self) -> str:
        """The name of a test's case."""
        return self.program

    @property
    def key(self) -> str:
        """The name in the result, as in ``GRU: vmap``."""
        return f"{self.program}: {self.column}"


@cache
def read_cells(directory: Path = SPEC_DIRECTORY) -> dict[str, Cell]:
    """Read the cells of ``transforms.md`` in `directory`, if it is there, by their keys.

    Raises
    ------
    ValueError
        Where the columns are others, a cell cannot be read or a program stands twice; the message
        names the line.
    """
    path = directory / "transforms.md"
    cells: dict[str, Cell] = {}
    for cell in _cells(path) if path.is_file() else ():
        if cell.key in cells:
            msg = f"{path.name}: {cell.program} stands there twice"
            raise ValueError(msg)
        cells[cell.key] = cell
    return cells


def _cells(path: Path) -> Iterator[Cell]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.startswith("|") or set(line) <= set("|- "):
            continue
        program, *texts = (text.strip() for text in line.strip().strip("|").split("|"))
        if program == "program":
            _check(tuple(texts) == COLUMNS, path, number, f"columns must be {', '.join(COLUMNS)}")
            continue
        _check(len(texts) == len(COLUMNS), path, number, f"a row must have {len(COLUMNS)} cells")
        for column, text in zip(COLUMNS, texts, strict=True):
            found = _CELL.match(text)
            wanted = "a cell must read 'yes', 'refused: clause' or 'yes or refused: clause'"
            _check(bool(text and found), path, number, f"{wanted}, got {text!r}")
            assert found is not None
            yield Cell(program, column, bool(found["yes"]), found["clause"])


def _check(holds: bool, path: Path, number: int, wanted: str) -> None:
    if not holds:
        msg = f"{path.name}:{number}: {wanted}"
        raise ValueError(msg)
