"""All distributions have one version, and each states it once."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = sorted(
    path.parent
    for pattern in ("*/pyproject.toml", "*/*/pyproject.toml")
    for path in ROOT.glob(pattern)
    if "build" not in path.parts
)
STATED = re.compile(r"^__version__\s*(?::\s*\w+\s*)?=\s*[\"']", re.MULTILINE)


def version(folder):
    """Return the version that a distribution's pyproject.toml states."""
    with (folder / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["version"]


def restated(folder):
    """Return the sources of a distribution that state its version once more."""
    sources = sorted((folder / "src").rglob("*.py"))
    return [path.name for path in sources if STATED.search(path.read_text(encoding="utf-8"))]


def test_every_distribution_has_the_same_version():
    versions = {folder.relative_to(ROOT).as_posix(): version(folder) for folder in DISTRIBUTIONS}
    assert "spec_tests" in versions
    assert len(set(versions.values())) == 1, versions


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.name)
def test_a_version_is_stated_once(folder):
    assert restated(folder) == []


def test_a_second_statement_of_the_version_is_seen(tmp_path):
    (tmp_path / "src").mkdir()
    for line in ('__version__ = "1"', "__version__: str = '1'"):
        (tmp_path / "src" / "__init__.py").write_text(f"import os\n{line}\n", encoding="utf-8")
        assert restated(tmp_path) == ["__init__.py"]
