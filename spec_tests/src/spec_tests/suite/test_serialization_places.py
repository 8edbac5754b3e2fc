"""Chapter serialization: a save that fails when some of its files are in their places."""

from pathlib import Path
from typing import Any

import pytest

from spec_tests import clause


def saved(nn: Any, path: Path, value: float) -> None:
    """Save three arrays, each of which has a shard of its own."""
    arrays = {name: nn.full((3,), value, dtype=nn.float32) for name in "abc"}
    nn.save(arrays, path, max_shard_size=12)


@clause("serialization-12")
@pytest.mark.parametrize("place", [2, 3])
def test_shards_that_were_replaced_come_back(nn: Any, tmp_path: Path, place: int) -> None:
    path = tmp_path / "model.safetensors"
    saved(nn, path, 1.0)
    # No file takes the place of a folder.
    taken = tmp_path / f"model-0000{place}-of-00003.safetensors"
    taken.unlink()
    (taken / "folder").mkdir(parents=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert len(before) == 3
    with pytest.raises(OSError, match=r"."):
        saved(nn, path, 2.0)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert after == before
    assert (taken / "folder").is_dir()
