"""All distributions have one version, stated once each, and the suite's carries all of it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = sorted(
    path.parent
    for pattern in ("*/pyproject.toml", "*/*/pyproject.toml")
    for path in ROOT.glob(pattern)
    # That of an example is somebody else's, and so is its version.
    if not {"build", "examples"} & set(path.parts)
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


def unpacked(folder, package):
    """Return the files of a package's sources that its distribution does not carry."""
    with (folder / "pyproject.toml").open("rb") as file:
        carried = tomllib.load(file)["tool"]["setuptools"]["package-data"][package]
    source = folder / "src" / package
    data = {path for pattern in carried for path in source.glob(pattern)}
    return [
        path.relative_to(source).as_posix()
        for path in sorted(source.rglob("*"))
        if path.is_file() and path.suffix not in (".py", ".pyc") and path not in data
    ]


def test_the_suite_carries_chapters_and_stored_data():
    assert unpacked(ROOT / "spec_tests", "spec_tests") == []


def test_a_file_that_is_not_carried_is_seen(tmp_path):
    toml = '[tool.setuptools.package-data]\npack = ["data/*.npz"]\n'
    (tmp_path / "pyproject.toml").write_text(toml, encoding="utf-8")
    (tmp_path / "src" / "pack" / "data").mkdir(parents=True)
    for name in ("__init__.py", "data/one.npz", "data/two.json"):
        (tmp_path / "src" / "pack" / name).touch()
    assert unpacked(tmp_path, "pack") == ["data/two.json"]
