"""Shards whose names cannot be changed."""

import os
from pathlib import Path

import pytest

import impl_torch_ext as nn


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_shards_take_their_places_all_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    path = tmp_path / "model.safetensors"
    nn.save({"x": nn.zeros(2), "y": nn.zeros(2)}, path, max_shard_size=8)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    turns, replace = [0], os.replace

    def failing(*names: str) -> None:
        turns[0] += 1
        if turns[0] == turn:
            raise OSError(28, "No space left on device")
        replace(*names)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        with pytest.raises(OSError, match="save: No space left"):
            nn.save({"x": nn.ones(2), "y": nn.ones(2)}, path, max_shard_size=8)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_damaged_index_is_replaced(tmp_path: Path) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text("[", encoding="utf-8")
    nn.save({"x": nn.zeros(2)}, tmp_path / "model.safetensors", max_shard_size=8)
    assert os.listdir(tmp_path) == ["model.safetensors"]
