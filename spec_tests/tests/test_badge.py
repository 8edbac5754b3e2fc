"""Badges of result files."""

import json
import xml.etree.ElementTree as ET

import pytest

from spec_tests.badge import endpoint, main, svg


def result(**changes):
    counts = {"passed": 7, "failed": 0, "unsupported": 0, "xfailed": 0, "crashed": 0}
    known = {"spec_version": "2026.12", "implementation": "impl_x", "complete": True}
    return {**known, "counts": {**counts, **changes.pop("counts", {})}, **changes}


@pytest.mark.parametrize(
    ("changes", "message", "color"),
    [
        ({}, "7/7 clauses", "brightgreen"),
        ({"counts": {"failed": 1}}, "7/8 clauses", "red"),
        ({"counts": {"crashed": 2}}, "7/9 clauses", "red"),
        ({"counts": {"xfailed": 3}}, "7/10 clauses", "yellow"),
        ({"counts": {"unsupported": 4}}, "7/7 clauses, 4 unsupported", "brightgreen"),
        ({"counts": {"passed": 0, "unsupported": 4}}, "0/0 clauses, 4 unsupported", "red"),
        ({"emulated": True}, "7/7 clauses, emulated", "brightgreen"),
        ({"complete": False}, "incomplete", "lightgrey"),
        ({"complete": False, "counts": {"failed": 1}}, "incomplete", "lightgrey"),
    ],
)
def test_what_a_badge_says(changes, message, color):
    badge = endpoint(result(**changes))
    assert badge == {
        "schemaVersion": 1,
        "label": "impl_x on spec 2026.12",
        "message": message,
        "color": color,
    }


def test_the_picture_says_the_same_and_asks_for_nothing():
    badge = endpoint(result(implementation="a<b"))
    root = ET.fromstring(svg(badge))
    texts = [node.text for node in root.iter() if node.tag.endswith("}text")]
    assert texts == ["a<b on spec 2026.12", "7/7 clauses"]
    assert "href" not in svg(badge)


def test_files(tmp_path, capsys):
    (tmp_path / "whole.json").write_text(json.dumps(result()))
    (tmp_path / "part.json").write_text(json.dumps(result(complete=False)))
    (tmp_path / "none.json").write_text("[]")
    out = ["--out", str(tmp_path / "badges")]
    assert main([str(tmp_path / "whole.json"), *out]) == 0
    assert json.loads((tmp_path / "badges" / "impl_x.json").read_text())["message"] == "7/7 clauses"
    assert (tmp_path / "badges" / "impl_x.svg").read_text().startswith("<svg ")
    assert main([str(tmp_path / "part.json"), *out]) == 1
    assert main([str(tmp_path / "none.json"), *out]) == 2
    assert "a result file has" in capsys.readouterr().err
