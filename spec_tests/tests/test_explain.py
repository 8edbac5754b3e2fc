"""``spec-tests explain``: clauses, functions and tests by name."""

import json

import pytest

from spec_tests import cli, explain
from spec_tests.judge import clauses, tables
from spec_tests.judge.result import FORMAT


def said(capsys, *arguments):
    status = cli.main(["explain", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_a_clause(capsys):
    status, out, _ = said(capsys, "ops-27")
    clause = clauses.read()["ops-27"]
    assert status == 0
    assert out.startswith(f"ops-27 {clause.title}\n")
    assert clause.text in out
    assert "\n  test_ops_edges.py::" in out or "\n  test_ops_nan" in out


def test_a_capability(capsys):
    _, out, _ = said(capsys, "autograd-50")
    assert "with the capability vmap." in out


def test_a_function(capsys):
    status, out, _ = said(capsys, "loss.cross_entropy")
    row = tables.read()["loss.cross_entropy"]
    assert status == 0
    text = " ".join(out.split())
    for word in (str(row.signature), "nn.CrossEntropyLoss(", row.source, "reduction: 9.54e-07"):
        assert word in text
    assert all(f"{number} {clauses.read()[number].title}" in text for number in row.clauses)
    assert "  test_loss_rows.py::test_losses\n" in out


def test_a_test_by_any_of_its_names(capsys):
    for name in (
        "test_losses",
        "test_loss_rows.py::test_losses",
        "suite/test_loss_rows.py::test_losses[mse_loss-mean-float32]",
    ):
        status, out, _ = said(capsys, name)
        assert status == 0
        assert "test_loss_rows.py::test_losses, line " in out
        assert "spec_tests.suite.test_loss_rows -k test_losses" in out
    assert "test_autograd_vmap_rows.py" not in out


@pytest.mark.parametrize("name", [*clauses.read(), *tables.read()])
def test_every_clause_and_function_is_told_and_asked_by_a_test(name):
    _, _, asked = "\n".join(explain.explain(name)).partition("\nasked ")
    assert "\n  test_" in asked


def test_who_passes(capsys, tmp_path):
    path = tmp_path / "one.json"
    why = "test_ops.py::test_it: got 1 but should be 2"
    content = {
        "format": FORMAT,
        "spec_version": "2026.12",
        "implementation": "impl_one",
        "complete": False,
        "counts": {},
        "clauses": {"ops-27": {"status": "failed", "why": why, "tests": []}},
        "functions": {},
        "state": "incomplete",
        "skips": [],
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    status, out, err = said(capsys, "ops-27", "ops.tanh", "--results", str(path))
    assert status == 0, err
    assert f"impl_one: failed (an incomplete run)\n  {why}" in out
    assert "impl_one: not asked (an incomplete run)" in out


@pytest.mark.parametrize(
    ("name", "near"), [("ops-270", "ops-27"), ("tanh", "ops.tanh"), ("test_losess", "test_losses")]
)
def test_what_is_not_known(capsys, name, near):
    status, out, err = said(capsys, name)
    assert (status, out) == (2, "")
    assert f"{name!r}, did you mean {near}" in err
    assert len(err.splitlines()) == 1


def test_a_file_that_is_no_result(capsys, tmp_path):
    path = tmp_path / "other.json"
    path.write_text("{}", encoding="utf-8")
    status, _, err = said(capsys, "ops-27", "--results", str(path))
    assert status == 2
    assert "other.json" in err
