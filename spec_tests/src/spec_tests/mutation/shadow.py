"""A package as it is, but for one file: a folder of links, so that nothing in the tree changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["make"]

# A time that no file of the package has, so that nothing compiled before is taken for the mutant.
_LONG_AGO = 1.0


def make(source: Path, folder: Path, changed: Mapping[str, str | Path]) -> None:
    """Fill a folder with a package of links and some files of one's own.

    Parameters
    ----------
    source : Path
        The package's folder.
    folder : Path
        An empty folder, which then has one of the package's name.
    changed : mapping of str to str or Path
        By their path in the package, texts of files, or files to take in their place.
    """
    package = folder / source.name
    package.mkdir(parents=True)
    _fill(source, package, {Path(file).parts: text for file, text in changed.items()})


def _fill(source: Path, folder: Path, changed: Mapping[tuple[str, ...], str | Path]) -> None:
    for entry in source.iterdir():
        below = {path[1:]: text for path, text in changed.items() if path[0] == entry.name}
        if not below:
            (folder / entry.name).symlink_to(entry)
        elif isinstance(there := below.get(()), Path):
            (folder / entry.name).symlink_to(there)
        elif there is not None:
            made = folder / entry.name
            made.write_text(there, encoding="utf-8")
            os.utime(made, (_LONG_AGO, _LONG_AGO))
        else:
            (folder / entry.name).mkdir()
            _fill(entry, folder / entry.name, below)
