"""The chapter ``serialization``."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import folder, load
from spec_tests.support.assertions import agrees, exactly, raw, refuses, to_numpy


def tagger(nn: Any, dtype: str) -> Any:
    """Return a Module of the shape of the torch model that was saved."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            options = {"dtype": getattr(nn, dtype)}
            self.embedding = nn.Embedding(7, 3, **options)
            self.lstm = nn.LSTM(3, 4, **options)
            self.head = nn.Linear(4, 2, **options)

        def forward(self, indices: Any) -> Any:
            return self.head(self.lstm(self.embedding(indices))[0])

    return Tagger()


def saved(nn: Any, path: Path) -> bytes:
    """Save a small Module and return the file's bytes."""
    nn.save(nn.Linear(3, 2), str(path))
    return path.read_bytes()


@clause("serialization-01")
def test_a_module_saves_and_loads(nn: Any, dtype: str, tmp_path: Path) -> None:
    module = tagger(nn, dtype)
    path = tmp_path / "model.safetensors"
    nn.save(module, path)
    loaded = nn.load(path)
    state = module.state_dict()
    assert set(loaded) == set(state)
    for name, value in state.items():
        assert isinstance(loaded[name], nn.Tensor)
        exactly(nn, loaded[name], to_numpy(nn, value))
    other = tagger(nn, dtype)
    other.load_state_dict(nn.load(str(path)))
    indices = nn.tensor(load("tagger")[dtype]["indices"])
    exactly(nn, other(indices), to_numpy(nn, module(indices)))


@clause("serialization-01")
def test_every_dtype_and_shape_keeps_its_bits(nn: Any, tmp_path: Path) -> None:
    unusual = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    arrays: dict[str, np.ndarray] = {
        "unusual": unusual,
        "scalar": np.array(0.1, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "counts": np.array([[-1, 2**40]], np.int64),
        "short": np.array([7, -7], np.int32),
        "flags": np.array([True, False, True]),
    }
    if nn.spec_capabilities()["float64"]:
        arrays["wide"] = np.array([0.1, 1e300])
    path = tmp_path / "arrays.safetensors"
    tensors = {name: nn.tensor(array) for name, array in arrays.items()}
    tensors["turned"] = nn.tensor(np.ascontiguousarray(arrays["turned"].T)).T
    for mapping in (tensors, {name: raw(nn, array) for name, array in arrays.items()}, arrays):
        nn.save(mapping, path)
        loaded = nn.load(path)
        assert set(loaded) == set(arrays)
        for name, array in arrays.items():
            got = to_numpy(nn, loaded[name])
            assert (got.dtype, got.shape) == (array.dtype, array.shape)
            assert got.tobytes() == array.tobytes(), name


@clause("serialization-01")
def test_the_file_is_a_safetensors_file(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    nn.save({"weight": nn.tensor(weight), "step": nn.tensor(3)}, path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    body = content[8 + length :]
    for name, code, array in (("weight", "F32", weight), ("step", "I64", np.array(3))):
        assert header[name]["dtype"] == code
        assert header[name]["shape"] == list(array.shape)
        begin, end = header[name]["data_offsets"]
        assert body[begin:end] == array.tobytes()


@clause("serialization-02")
def test_a_checkpoint_of_torch(nn: Any, dtype: str) -> None:
    known = load("tagger")[dtype]
    module = tagger(nn, dtype)
    module.load_state_dict(nn.load(folder / f"tagger_{dtype}.safetensors"))
    agrees(nn, module(nn.tensor(known["indices"])), known["logits"], "rnn", call="torch's model")


@clause("serialization-03")
def test_a_save_replaces_the_file_and_leaves_no_other(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    saved(nn, path)
    nn.save({"x": nn.ones((2,))}, path)
    assert list(nn.load(path)) == ["x"]
    assert os.listdir(tmp_path) == [path.name]


@clause("serialization-03")
@pytest.mark.parametrize("there", [True, False])
def test_a_rename_that_fails(
    nn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    path = tmp_path / "model.safetensors"
    before = saved(nn, path) if there else b""
    renamed = []

    def full(source: Any, *rest: Any, **options: Any) -> None:
        renamed.append((Path(source).resolve().parent, Path(source).exists()))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "link"):
            patch.setattr(os, name, full)
        with refuses(OSError, "No space left"):
            nn.save(nn.Linear(3, 2), path)
    assert renamed[0] == (tmp_path.resolve(), True)
    assert os.listdir(tmp_path) == ([path.name] if there else [])
    assert not there or path.read_bytes() == before


@clause("serialization-03")
def test_a_write_that_fails(nn: Any, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="file sizes are limited on Unix alone")
    path = tmp_path / "model.safetensors"
    before = saved(nn, path)
    large = nn.zeros((64, 1024))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with refuses(Exception):
            nn.save({"large": large}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@clause("serialization-04")
@pytest.mark.parametrize(
    "fault",
    [
        "empty file",
        "truncated length",
        "truncated header",
        "header of another length",
        "header that is no JSON",
        "shape that is altered",
        "dtype that is unknown",
        "truncated body",
        "another kind of file",
    ],
)
def test_damaged_files(nn: Any, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "model.safetensors"
    good = saved(nn, path)
    length = int.from_bytes(good[:8], "little")
    bad = {
        "empty file": b"",
        "truncated length": good[:5],
        "truncated header": good[: 8 + length // 2],
        "header of another length": (2**62).to_bytes(8, "little") + good[8:],
        "header that is no JSON": good.replace(b"{", b"(", 1),
        "shape that is altered": good.replace(b"[2,3]", b"[3,3]").replace(b"[2, 3]", b"[3, 3]"),
        "dtype that is unknown": good.replace(b'"F32"', b'"Q99"'),
        "truncated body": good[:-1],
        "another kind of file": b"PK\x03\x04" + bytes(60),
    }[fault]
    assert bad != good
    path.write_bytes(bad)
    with refuses(ValueError, "load", str(path)) as refused:
        nn.load(path)
    assert len(refused.message) > len("load: ") + len(str(path)) + 8
    assert path.read_bytes() == bad


@clause("serialization-04")
def test_a_file_that_is_not_there(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "nothing.safetensors"
    with refuses(FileNotFoundError, str(path)):
        nn.load(path)
    assert os.listdir(tmp_path) == []


@clause("serialization-05")
def test_what_cannot_be_saved(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    before = saved(nn, path)
    good = nn.ones((2,))
    for what, fragments in (
        (3, ("int",)),
        (good, ("Tensor",)),
        ({"good": good, "name": "text"}, ("name", "str")),
        ({"good": good, "sizes": [1, 2]}, ("sizes", "list")),
        ({"good": good, "missing": None}, ("missing", "None")),
        ({"good": good, 7: good}, ("7",)),
    ):
        with refuses(TypeError, "save", *fragments):
            nn.save(what, path)
        assert path.read_bytes() == before
        assert os.listdir(tmp_path) == [path.name]


@clause("serialization-06")
def test_shared_parameters(nn: Any, tmp_path: Path) -> None:
    def tied() -> Any:
        module = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2))
        module[2].weight = module[0].weight
        return module

    module, other = tied(), tied()
    path = tmp_path / "tied.safetensors"
    nn.save(module, path)
    loaded = nn.load(path)
    assert set(loaded) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    exactly(nn, loaded["2.weight"], to_numpy(nn, module[0].weight))
    other.load_state_dict(loaded)
    assert other[2].weight is other[0].weight
    x = nn.tensor([[0.5, -1.0]])
    exactly(nn, other(x), to_numpy(nn, module(x)))
