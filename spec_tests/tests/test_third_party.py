"""Somebody else's backend: a distribution of its own, held to the list that it ships."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from spec_tests.judge import expectations, tables
from spec_tests.judge.clauses import read

FOLDER = Path(__file__).parents[2] / "examples" / "third_party"
SOURCE = FOLDER / "src" / "impl_hips"
LIST = SOURCE / expectations.NAME


def listed():
    return expectations.parse(LIST.read_text(encoding="utf-8"), LIST.name)


def test_the_list_names_what_there_is():
    listed().check_names(list(read()), list(tables.read()))


def test_every_entry_has_one_state():
    names = [(entry.kind, entry.pattern) for entry in listed().entries]
    assert [name for name in names if names.count(name) > 1] == []


def test_the_distribution_carries_its_list_and_names_itself():
    with (FOLDER / "pyproject.toml").open("rb") as file:
        content = tomllib.load(file)
    assert content["tool"]["setuptools"]["package-data"]["impl_hips"] == [LIST.name]
    assert content["project"]["entry-points"]["spec_tests.implementations"] == {"hips": "impl_hips"}


def test_it_imports_nothing_of_ours():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", sources, re.MULTILINE))
    ours = {"spec_tests", "impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp"}
    assert imported & ours == set()


@pytest.mark.parametrize("file", ["test_rnn_article", "test_function"])
def test_it_keeps_its_list(tmp_path, file, monkeypatch):
    if importlib.util.find_spec("autograd") is None:
        pytest.skip("HIPS autograd is not installed: `nox -s third_party` runs all of the suite")
    monkeypatch.setenv("PYTHONPATH", str(FOLDER / "src"))
    command = [sys.executable, "-m", "pytest", "--pyargs", f"spec_tests.suite.{file}"]
    options = ["--impl", "impl_hips", "--result", "out.json", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert content["expectations"]["source"] == "impl_hips/spec_expectations.toml"
    assert content["counts"]["passed"] > 0
