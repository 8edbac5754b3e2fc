"""Files that take their places together: a failure at any step leaves the folder as it was."""

import os

import pytest

import impl_numpy as nn


def present(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def saved(folder, value, size):
    arrays = {name: nn.full((4,), value) for name in "abc"}
    nn.save(arrays, folder / "model.safetensors", max_shard_size=size)


# To how many bytes a shard, which function fails, and at which of its calls on a file in place.
FAILURES = [
    *((16, "replace", n) for n in range(4)),
    *((32, "unlink", n) for n in range(3)),
    *((1000, "unlink", n) for n in range(4)),
    (1000, "replace", 0),
]


@pytest.mark.parametrize(("size", "name", "n"), FAILURES)
def test_the_nth_step_fails(tmp_path, monkeypatch, size, name, n):
    saved(tmp_path, 1.0, 16)
    there, original, calls = present(tmp_path), getattr(os, name), []

    def failing(*args, **options):
        if not os.path.basename(args[-1]).startswith("."):
            calls.append(args)
            if len(calls) == n + 1:
                raise OSError(28, "No space left on device")
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing)
        with pytest.raises(OSError, match="save: No space left"):
            saved(tmp_path, 2.0, size)
    assert present(tmp_path) == there


def test_shards_through_a_link(tmp_path):
    store, here = tmp_path / "store", tmp_path / "here"
    store.mkdir()
    here.mkdir()
    (here / "model.safetensors").symlink_to(store / "weights")
    saved(here, 1.0, 1000)
    assert os.listdir(store) == ["weights"]
    assert (here / "model.safetensors").is_symlink()
    saved(here, 2.0, 16)
    assert len(present(here)) == 4
    assert nn.load(here)["c"].tolist() == [2.0] * 4
