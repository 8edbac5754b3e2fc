"""The chapter ``serialization``: metadata, other names, and files in shards."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses


def present(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder and what stands in each."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file."""
    data = path.read_bytes()
    read: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return read


ARRAYS = {
    "z": np.arange(4, dtype=np.float32),
    "a": np.array([1.5], np.float32),
    "large": np.arange(12, dtype=np.float32).reshape(3, 4),
    "count": np.array(3),
    "empty": np.zeros((0, 2), np.float32),
}
# At most 24 bytes a shard: 16 + 4, 48 alone, 8 + 0.
SHARDS = [["z", "a"], ["large"], ["count", "empty"]]


def sharded(nn: Any, folder: Path, name: str = "model.safetensors", **options: Any) -> Path:
    """Save the arrays in shards of at most 24 bytes and return the path."""
    nn.save({key: nn.tensor(x) for key, x in ARRAYS.items()}, folder / name, **options)
    return folder / name


@clause("serialization-10", "serialization-01")
def test_metadata(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    given = {"format": "pt", "": "empty", "über": '日本 "quoted"\n'}
    for what in (nn.Linear(3, 2), {"x": nn.ones((2,))}):
        nn.save(what, path, given)
        assert header(path)["__metadata__"] == given
        tensors, metadata = nn.load(path, True)
        assert metadata == given
        assert set(tensors) == set(nn.load(path)) == set(header(path)) - {"__metadata__"}
    for nothing in (None, dict[str, str]()):
        nn.save({"x": nn.ones((2,))}, path, metadata=nothing)
        assert "__metadata__" not in header(path)
        tensors, metadata = nn.load(path, return_metadata=True)
        assert metadata == {}
        exactly(nn, tensors["x"], np.ones(2, np.float32))


@clause("serialization-10")
def test_metadata_that_are_refused(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    nn.save({"x": nn.ones((2,))}, path)
    before = present(tmp_path)
    bad: list[tuple[Any, type[Exception], tuple[Any, ...]]] = [
        ("text", TypeError, ("str",)),
        ([("a", "b")], TypeError, ("list",)),
        ({"epoch": 3}, TypeError, ("epoch", "int")),
        ({"good": "a", "none": None}, TypeError, ("none", "None")),
        ({7: "a"}, TypeError, ("7", "int")),
        ({"a": "\ud800"}, ValueError, ()),
        ({"\udfff": "a"}, ValueError, ()),
    ]
    for metadata, error, fragments in bad:
        with refuses(error, "save", "metadata", *fragments):
            nn.save({"x": nn.zeros((3,))}, path, metadata=metadata)
        assert present(tmp_path) == before


@clause("serialization-11")
def test_other_names(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    nn.save({key: nn.full((2,), float(k)) for k, key in enumerate("abc")}, path)
    swapped = {"a": "b", "b": "a", "other": "c"}
    for names, want in (
        (swapped, {"b": 0, "a": 1, "c": 2}),
        ({"a": "x.y", "c": None}, {"x.y": 0, "b": 1}),
        ({}, {"a": 0, "b": 1, "c": 2}),
        (None, {"a": 0, "b": 1, "c": 2}),
        (str.upper, {"A": 0, "B": 1, "C": 2}),
        (lambda name: None if name == "b" else f"model.{name}", {"model.a": 0, "model.c": 2}),
    ):
        loaded = nn.load(path, names=names)
        assert set(loaded) == set(want)
        for key, number in want.items():
            exactly(nn, loaded[key], np.full(2, number, np.float32))
    tensors, metadata = nn.load(path, True, names=swapped)
    assert set(tensors) == {"a", "b", "c"}
    assert metadata == {}


@clause("serialization-11")
def test_names_of_a_foreign_checkpoint(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    source, module = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2))
    state = {f"encoder.layer.0.dense.{key}": p for key, p in source.state_dict().items()}
    nn.save(state | {"pooler.weight": nn.ones((1,))}, path)

    def own(name: str) -> str | None:
        return None if name.startswith("pooler") else name.replace("encoder.layer.0.dense", "0")

    module.load_state_dict(nn.load(path, names=own))
    for key, value in source.state_dict().items():
        exactly(nn, module.state_dict()[f"0.{key}"], value)


@clause("serialization-11")
def test_names_that_are_refused(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    nn.save({key: nn.ones((2,)) for key in ("a", "b")}, path)
    bad: list[tuple[Any, type[Exception], tuple[Any, ...]]] = [
        ({"a": "b"}, ValueError, ("a", "b")),
        (lambda name: "same", ValueError, ("a", "b", "same")),
        ({"a": 3}, TypeError, ("names", ("int", "3"))),
        (lambda name: name.encode(), TypeError, ("names", ("bytes", "b'"))),
        ("a", TypeError, ("names", ("str", "'a'"))),
        (3, TypeError, ("names", ("int", "3"))),
    ]
    for names, error, fragments in bad:
        with refuses(error, "load", *fragments):
            nn.load(path, names=names)

    def fail(name: str) -> str:
        raise LookupError(name)

    with pytest.raises(LookupError):
        nn.load(path, names=fail)


@clause("serialization-12", "serialization-13")
def test_shards_and_their_index(nn: Any, tmp_path: Path) -> None:
    path = sharded(nn, tmp_path, max_shard_size=24, metadata={"format": "pt"})
    index = tmp_path / "model.safetensors.index.json"
    files = [f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]
    assert set(present(tmp_path)) == {*files, index.name}
    read = json.loads(index.read_text(encoding="utf-8"))
    wanted = {key: file for file, keys in zip(files, SHARDS, strict=True) for key in keys}
    assert read["weight_map"] == wanted
    assert list(read["weight_map"]) == list(ARRAYS)
    assert read["metadata"] == {"total_size": 76, "format": "pt"}
    for file, keys in zip(files, SHARDS, strict=True):
        assert set(header(tmp_path / file)) == {*keys, "__metadata__"}
        assert set(nn.load(tmp_path / file)) == set(keys)
    for place in (index, str(index), tmp_path):
        loaded, metadata = nn.load(place, return_metadata=True)
        assert metadata == {"format": "pt"}
        assert list(loaded) == list(ARRAYS)
        for key, array in ARRAYS.items():
            exactly(nn, loaded[key], array)
    assert "Z" in nn.load(tmp_path, names=str.upper)
    with refuses(FileNotFoundError, str(path)):
        nn.load(path)


@clause("serialization-12")
def test_a_shard_may_be_full(nn: Any, tmp_path: Path) -> None:
    """Of exactly so many bytes."""
    path = tmp_path / "model.safetensors"
    nn.save({name: nn.ones((2,)) for name in "abcde"}, path, max_shard_size=16)
    files = [f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)]
    assert ["".join(sorted(nn.load(tmp_path / file))) for file in files] == ["ab", "cd", "e"]


@clause("serialization-12", "serialization-13")
def test_one_shard_is_a_plain_file(nn: Any, tmp_path: Path) -> None:
    plain = sharded(nn, tmp_path, "plain.safetensors")
    path = sharded(nn, tmp_path, max_shard_size=76)
    assert path.read_bytes() == plain.read_bytes()
    assert set(present(tmp_path)) == {path.name, plain.name}
    assert set(nn.load(tmp_path)) == set(ARRAYS)
    nn.save({}, path, max_shard_size=1)
    assert nn.load(path) == {}


@clause("serialization-12")
def test_a_save_in_shards_takes_the_other_form_away(nn: Any, tmp_path: Path) -> None:
    path = sharded(nn, tmp_path)
    beside = sharded(nn, tmp_path, "other.safetensors")
    sharded(nn, tmp_path, max_shard_size=1)
    assert len(present(tmp_path)) == 5 + 2
    sharded(nn, tmp_path, max_shard_size=24)
    wanted = {f"model-0000{k}-of-00003.safetensors" for k in (1, 2, 3)}
    assert set(present(tmp_path)) == {*wanted, f"{path.name}.index.json", beside.name}
    sharded(nn, tmp_path, max_shard_size=1000)
    assert set(present(tmp_path)) == {path.name, beside.name}


@clause("serialization-12")
def test_what_is_not_saved_in_shards(nn: Any, tmp_path: Path) -> None:
    path = sharded(nn, tmp_path, max_shard_size=24)
    before = present(tmp_path)
    good = {"x": nn.ones((3,)), "y": nn.ones((3,))}
    bad: list[tuple[Any, dict[str, Any], type[Exception], tuple[Any, ...]]] = [
        (good, {"max_shard_size": 0}, ValueError, ("max_shard_size", "0")),
        (good, {"max_shard_size": -1}, ValueError, ("max_shard_size", "-1")),
        (good, {"max_shard_size": 1.5}, TypeError, ("max_shard_size", ("float", "1.5"))),
        (good, {"max_shard_size": "5GB"}, TypeError, ("max_shard_size", ("str", "5GB"))),
        (
            good,
            {"max_shard_size": 12, "metadata": {"total_size": "1"}},
            ValueError,
            ("total_size",),
        ),
        (good | {"z": "text"}, {"max_shard_size": 12}, TypeError, ("z", "str")),
        (good | {"__metadata__": nn.ones((1,))}, {"max_shard_size": 12}, ValueError, ()),
    ]
    for what, options, error, fragments in bad:
        with refuses(error, "save", *fragments):
            nn.save(what, path, **options)
        assert present(tmp_path) == before


@clause("serialization-12", "serialization-03")
@pytest.mark.parametrize("there", ["shards", "a plain file", "nothing"])
def test_shards_that_cannot_be_written(nn: Any, tmp_path: Path, there: str) -> None:
    resource = pytest.importorskip("resource", reason="file sizes are limited on Unix alone")
    path = tmp_path / "model.safetensors"
    if there != "nothing":
        sharded(nn, tmp_path, max_shard_size=24 if there == "shards" else None)
    before = present(tmp_path)
    arrays = {"z": nn.zeros((4,)), "large": nn.zeros((4096,)), "count": nn.zeros((2,))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with refuses(Exception):
            nn.save(arrays, path, max_shard_size=24)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert present(tmp_path) == before


FAULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda index: [index],
    "no map": lambda index: {"metadata": {}},
    "a number for a file": lambda index: index | {"weight_map": {"z": 3}},
    "a way out": lambda index: index | {"weight_map": {"z": "../model.safetensors"}},
    "a folder": lambda index: index | {"weight_map": {"z": ".."}},
    "an entry that is not there": lambda index: {
        **index,
        "weight_map": index["weight_map"] | {"more": "model-00001-of-00003.safetensors"},
    },
}


@clause("serialization-13")
@pytest.mark.parametrize("fault", [*FAULTS, "no JSON", "a shard that is not there"])
def test_an_index_that_is_refused(nn: Any, tmp_path: Path, fault: str) -> None:
    index = Path(f"{sharded(nn, tmp_path, max_shard_size=24)}.index.json")
    if fault == "a shard that is not there":
        (tmp_path / "model-00002-of-00003.safetensors").unlink()
        with refuses(FileNotFoundError, "model-00002-of-00003.safetensors"):
            nn.load(tmp_path)
        return
    text = index.read_text(encoding="utf-8")
    bad = "(" + text if fault == "no JSON" else json.dumps(FAULTS[fault](json.loads(text)))
    index.write_text(bad, encoding="utf-8")
    for place in (index, tmp_path):
        with refuses(ValueError, "load", str(index)):
            nn.load(place)


@clause("serialization-13")
def test_what_an_index_does_not_name(nn: Any, tmp_path: Path) -> None:
    index = Path(f"{sharded(nn, tmp_path, max_shard_size=24)}.index.json")
    read = json.loads(index.read_text(encoding="utf-8"))
    read["weight_map"] = {"a": read["weight_map"]["a"]}
    del read["metadata"]
    index.write_text(json.dumps(read), encoding="utf-8")
    loaded, metadata = nn.load(index, True)
    assert set(loaded) == {"a"}
    assert metadata == {}
    with refuses(FileNotFoundError, "gone.index.json"):
        nn.load(tmp_path / "gone.index.json")


@clause("serialization-12", "serialization-08")
@pytest.mark.parametrize("hard", [True, False])
def test_a_link_among_shards_when_writing_fails(
    nn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard: bool
) -> None:
    """It is a link afterwards, also where a file system has no hard links."""
    path, store = tmp_path / "model.safetensors", tmp_path / "store"
    nn.save({name: nn.ones((4,)) for name in "abc"}, path, max_shard_size=16)
    first, second = (tmp_path / f"model-0000{number}-of-00003.safetensors" for number in (1, 2))
    first.rename(store)
    first.symlink_to(store.name)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    failed = list[str]()

    def failing(name: str) -> Callable[..., None]:
        usual = getattr(os, name)

        def call(*paths: Any, **options: Any) -> None:
            if os.path.basename(paths[1]) == second.name and not failed:
                failed.append(name)
                raise OSError(28, "No space left on device")
            usual(*paths, **options)

        return call

    def without(*paths: Any, **options: Any) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patch:
        for name in ("replace", "rename"):
            patch.setattr(os, name, failing(name))
        if not hard:
            patch.setattr(os, "link", without)
        with refuses(OSError, "No space left"):
            nn.save({name: nn.zeros((4,)) for name in "abc"}, path, max_shard_size=16)
    assert failed
    assert first.is_symlink()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
