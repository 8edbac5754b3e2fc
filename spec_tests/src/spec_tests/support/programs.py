"""Programs of `examples`, imported as they import each other: as modules of one folder."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import spec_tests


def programs_of(folder: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Yield what imports a program by its name; forget the programs afterwards.

    Parameters
    ----------
    folder : str
        A folder of `spec_tests`, a link into `examples`.
    monkeypatch : fixture
    """
    path = Path(spec_tests.__file__).parent / folder
    names = [file.stem for file in path.glob("*.py")]
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    monkeypatch.syspath_prepend(str(path))
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)
    sys.modules.update(others)
