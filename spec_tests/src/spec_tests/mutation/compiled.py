"""An extension in C++, built again for each mutant of its sources.

The sources are copied once, with `setup.py`, and built there; a mutant's file is written over the
copy, and the next build compiles what depends on it alone, as ninja knows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["Extension", "sources_of"]

SUFFIXES = {".cpp", ".h", ".inl"}
_PARTS = ("csrc", "setup.py", "pyproject.toml", "README.md", "MANIFEST.in")


def sources_of(project: Path) -> dict[str, str]:
    """Return the texts of a project's C++ files, by path from its folder."""
    return {
        path.relative_to(project).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((project / "csrc").glob("*"))
        if path.suffix in SUFFIXES
    }


class Extension:
    """The build of one project.

    Parameters
    ----------
    project : Path
        The folder with `setup.py` and ``csrc``.
    python : str
        The interpreter to build for.
    folder : Path
        Where to build; what is there from an earlier run is built on.
    """

    def __init__(self, project: Path, python: str, folder: Path) -> None:
        self.project, self.python, self.folder = project, python, folder
        folder.mkdir(parents=True, exist_ok=True)
        for name in _PARTS:
            source = project / name
            if source.is_dir():
                (folder / name).mkdir(exist_ok=True)
                for path in source.iterdir():
                    _renew(path, folder / name / path.name)
            elif source.exists():
                _renew(source, folder / name)
        (folder / "src" / project.name).mkdir(parents=True, exist_ok=True)

    def built(self, changed: dict[str, str]) -> Path | None:
        """Build with some files changed; return the library, or None if it does not compile."""
        for file, text in changed.items():
            (self.folder / file).write_text(text, encoding="utf-8")
        command = [self.python, "setup.py", "-q", "build_ext", "--build-lib", "made"]
        try:
            made = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, check=False
            )
        finally:
            for file in changed:
                shutil.copy(self.project / file, self.folder / file)
        if made.returncode:
            return None
        return next((self.folder / "made").rglob("*.so"))


def _renew(source: Path, copy: Path) -> None:
    """Copy a file where it differs, so that what is built on it stays where it does not."""
    if not copy.exists() or copy.read_bytes() != source.read_bytes():
        shutil.copy(source, copy)
        os.utime(copy)
