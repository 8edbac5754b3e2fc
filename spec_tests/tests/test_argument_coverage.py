"""Every argument of the tables is asked for in values, gradients and second derivatives."""

import argument_coverage as coverage
import pytest


def test_no_argument_is_left_blank() -> None:
    assert [line for line in coverage.lines() if line.blank] == []


def test_every_argument_of_torch_is_taken_or_left_out_with_a_reason() -> None:
    assert coverage.missing() == []


def test_a_blank_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(coverage.ELSEWHERE, "nn.Dropout.p")
    monkeypatch.delitem(coverage.LEFT_OUT, "sparse")
    assert [line.argument for line in coverage.lines() if line.blank] == ["p"]
    assert coverage.missing() == ["nn.Embedding: sparse"]
