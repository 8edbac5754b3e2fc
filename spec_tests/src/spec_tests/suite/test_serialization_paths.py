"""The chapter ``serialization``: names that a file cannot hold, links, and what is no path."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, raw, refuses, to_numpy
from spec_tests.support.inputs import NO_DTYPES, foreign

NAMES = [
    "",
    " ",
    ".",
    "a.b",
    "a/b",
    "../a",
    '"',
    "\\",
    "\\u0041",
    "{}",
    "\n",
    "\t",
    "\x00",
    "\x7f",
    "ü",
    "e\u0301",
    "日本",
    "\U0001f600",
    "\ufeffa",
    "0",
    "dtype",
    "data_offsets",
    "__metadata",
    "__metadata__.weight",
    "__METADATA__",
    "x" * 5000,
]


def present(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder and what stands in each."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def saved(nn: Any, path: Path) -> Path:
    """Save something small, and return the path."""
    nn.save({"weight": nn.ones((2,))}, path)
    return path


@clause("serialization-07")
@pytest.mark.parametrize("kind", ["a mapping", "a Module"])
@pytest.mark.parametrize("there", [True, False])
def test_the_name_that_the_format_keeps(nn: Any, tmp_path: Path, kind: str, there: bool) -> None:
    path = tmp_path / "model.safetensors"
    if there:
        saved(nn, path)
    before = present(tmp_path)
    what: Any = {"weight": nn.ones((2,)), "__metadata__": nn.ones((2,))}
    if kind == "a Module":
        what = nn.Linear(3, 2)
        what.register_buffer("__metadata__", nn.ones((2,)))
    with refuses(ValueError, "save", "__metadata__"):
        nn.save(what, path)
    assert present(tmp_path) == before


@clause("serialization-07")
@pytest.mark.parametrize("surrogate", ["d800", "dfff"])
def test_names_that_utf8_cannot_spell(nn: Any, tmp_path: Path, surrogate: str) -> None:
    path = saved(nn, tmp_path / "model.safetensors")
    before = present(tmp_path)
    name = "weight" + chr(int(surrogate, 16))
    with refuses(ValueError, "save", "weight"):
        nn.save({"good": nn.ones((2,)), name: nn.ones((2,))}, path)
    assert present(tmp_path) == before


@clause("serialization-07")
@pytest.mark.parametrize("number", range(len(NAMES)))
def test_other_names_come_back(nn: Any, tmp_path: Path, number: int) -> None:
    path = saved(nn, tmp_path / "model.safetensors")
    nn.save({"beside": nn.zeros((1,)), NAMES[number]: nn.tensor([1.5, -2.5])}, path)
    loaded = nn.load(path)
    assert set(loaded) == {"beside", NAMES[number]}
    exactly(nn, loaded[NAMES[number]], np.array([1.5, -2.5], np.float32))
    assert list(present(tmp_path)) == [path.name]


@clause("serialization-07")
def test_whatever_lies_in_memory_comes_back(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    for array in (
        matrix.T,
        matrix[::2, ::-1],
        np.broadcast_to(matrix[0], (3, 4)),
        np.asfortranarray(matrix),
        matrix[:0],
        np.array(1.5, np.float32),
        matrix.astype(">f4"),
    ):
        try:
            nn.save({"x": array}, path)
        except TypeError as error:
            # A NumPy array whose bytes stand the other way round may be of another dtype.
            assert array.dtype.byteorder == ">", error  # noqa: PT017
            continue
        want = np.ascontiguousarray(array).reshape(array.shape).astype(np.float32)
        exactly(nn, nn.load(path)["x"], want, call=f"strides {array.strides}")
    for empty in (dict[str, Any](), nn.ReLU()):
        nn.save(empty, path)
        assert dict(nn.load(path)) == {}
    x = nn.tensor(matrix, requires_grad=True)
    nn.save({"result": x.T * 2}, path)
    got = nn.load(path)["result"]
    exactly(nn, got, matrix.T * 2)
    assert not got.requires_grad


@clause("serialization-07", "tensor-37")
@pytest.mark.parametrize("dtype_name", NO_DTYPES)
def test_dtypes_that_are_not_saved(nn: Any, tmp_path: Path, dtype_name: str) -> None:
    path = saved(nn, tmp_path / "model.safetensors")
    before = present(tmp_path)
    with refuses(TypeError, "save", "odd"):
        nn.save({"good": nn.ones((2,)), "odd": NO_DTYPES[dtype_name]}, path)
    assert present(tmp_path) == before


@clause("tensor-37")
def test_raw_dtypes_that_are_not_saved(nn: Any, tmp_path: Path) -> None:
    path = saved(nn, tmp_path / "model.safetensors")
    before = present(tmp_path)
    for name, array in foreign(raw(nn, np.ones(2, np.float32))).items():
        with refuses(TypeError, "save", "odd", name):
            nn.save({"good": nn.ones((2,)), "odd": array}, path)
        assert present(tmp_path) == before


def written(path: Path, code: str, size: int) -> Path:
    """Write a safetensors file of two elements of a dtype."""
    header = f'{{"odd":{{"dtype":"{code}","shape":[2],"data_offsets":[0,{2 * size}]}}}}'.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2 * size))
    return path


FOREIGN = {
    "F16": "float16",
    "BF16": "bfloat16",
    "U8": "uint8",
    "I8": "int8",
    "I16": "int16",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
}


@clause("tensor-37", needs="serialization")
@pytest.mark.parametrize("code", FOREIGN)
def test_dtypes_that_are_not_loaded(nn: Any, tmp_path: Path, code: str) -> None:
    size = 1 if code.endswith("U8") or code == "I8" else int(code.strip("BFUI")) // 8
    path = written(tmp_path / "odd.safetensors", code, size)
    with refuses((TypeError, ValueError), "load", "odd", (code, FOREIGN[code])):
        nn.load(path)


@clause("serialization-08")
@pytest.mark.parametrize("kind", ["absolute", "relative", "of a link", "to nothing"])
def test_links_stay_links(nn: Any, tmp_path: Path, kind: str) -> None:
    store, here = tmp_path / "store", tmp_path / "here"
    store.mkdir()
    here.mkdir()
    target, link = store / "weights.safetensors", here / "model.safetensors"
    if kind != "to nothing":
        saved(nn, target)
    middle = store / "middle.safetensors"
    if kind == "of a link":
        middle.symlink_to(target.name)
    pointed = {"relative": Path("..") / "store" / target.name, "of a link": middle}
    link.symlink_to(pointed.get(kind, target))
    nn.save({"other": nn.zeros((3,))}, link)
    assert link.is_symlink()
    assert kind != "of a link" or middle.is_symlink()
    assert not target.is_symlink()
    for path in (link, target):
        assert list(nn.load(path)) == ["other"]
    assert os.listdir(here) == [link.name]
    assert len(os.listdir(store)) == (2 if kind == "of a link" else 1)


@clause("serialization-08")
@pytest.mark.parametrize("length", [1, 2, 3])
def test_links_in_a_circle(nn: Any, tmp_path: Path, length: int) -> None:
    links = [tmp_path / f"link{place}" for place in range(length)]
    for place, link in enumerate(links):
        link.symlink_to(links[(place + 1) % length])
    calls: list[Callable[[], Any]] = [
        lambda: nn.save({"x": nn.ones((2,))}, links[0]),
        lambda: nn.load(links[0]),
    ]
    for call in calls:
        with pytest.raises(OSError, match="link"):
            call()
        assert sorted(os.listdir(tmp_path)) == [link.name for link in links], "a file was left"
        assert all(link.is_symlink() for link in links), "a link was replaced"


@clause("serialization-08")
def test_a_link_whose_save_fails(nn: Any, tmp_path: Path) -> None:
    target, link = tmp_path / "weights.safetensors", tmp_path / "model.safetensors"
    before = saved(nn, target).read_bytes()
    link.symlink_to(target)
    with refuses(ValueError, "__metadata__"):
        nn.save({"__metadata__": nn.ones((2,))}, link)
    assert link.is_symlink()
    assert target.read_bytes() == before
    assert len(os.listdir(tmp_path)) == 2


@clause("serialization-08")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
@pytest.mark.parametrize("linked", [True, False])
def test_permissions_are_kept(nn: Any, tmp_path: Path, mode: int, linked: bool) -> None:
    path = saved(nn, tmp_path / "model.safetensors")
    path.chmod(mode)
    name = tmp_path / "link.safetensors" if linked else path
    if linked:
        name.symlink_to(path)
    nn.save({"other": nn.zeros((3,))}, name)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert list(nn.load(path)) == ["other"]


class Spelled:
    """A path of the caller's own class."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@clause("serialization-09")
def test_what_is_a_path(nn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    for spelled in (path, str(path), Spelled(path)):
        nn.save({"x": nn.ones((2,))}, spelled)
        exactly(nn, nn.load(spelled)["x"], np.ones(2, np.float32))
        path.unlink()
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        nn.save({"x": nn.ones((2,))}, path.name)
        exactly(nn, nn.load(path.name)["x"], np.ones(2, np.float32))
    assert list(present(tmp_path)) == [path.name]


@clause("serialization-09")
@pytest.mark.parametrize("what", ["number", "True", "bytes", "None", "file", "float", "list"])
def test_what_is_no_path(
    nn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(nn, tmp_path / "model.safetensors")
    before = present(tmp_path)
    with path.open("r+b") as file:
        wrong: Any = {
            "number": file.fileno(),
            "True": True,
            "bytes": os.fsencode(path),
            "None": None,
            "file": file,
            "float": 1.5,
            "list": [str(path)],
        }[what]
        came = type(wrong).__name__
        # A number is the end of a file's life if it is taken for the file; 1 is standard output.
        ends = [os.fstat(number).st_ino for number in (0, 1, 2)]
        with refuses(TypeError, "load", came):
            nn.load(wrong)
        with refuses(TypeError, "save", came):
            nn.save({"x": nn.zeros((3,))}, wrong)
        if what == "number":
            number = np.int64(file.fileno())
            with refuses(TypeError, "load", "int64"):
                nn.load(number)
            with refuses(TypeError, "save", "int64"):
                nn.save({"x": nn.zeros((3,))}, number)
        assert [os.fstat(number).st_ino for number in (0, 1, 2)] == ends
        assert not file.closed
        assert file.tell() == 0
        os.fstat(file.fileno())
    assert present(tmp_path) == before


@clause("serialization-09")
def test_a_directory_is_no_file(nn: Any, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with refuses(OSError, "folder"):
        nn.load(folder)
    with refuses(OSError, "folder"):
        nn.save({"x": nn.ones((2,))}, folder)
    assert os.listdir(folder) == []
    assert os.listdir(tmp_path) == ["folder"]
    with refuses(OSError, "nowhere"):
        nn.save({"x": nn.ones((2,))}, tmp_path / "nowhere" / "model.safetensors")
    assert os.listdir(tmp_path) == ["folder"]


@clause("serialization-07")
def test_a_module_comes_back_from_what_was_there(nn: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    module = nn.GRU(3, 2)
    for _ in range(3):
        nn.save(module, path)
        module.load_state_dict(nn.load(path))
    state = module.state_dict()
    for name, entry in nn.load(path).items():
        exactly(nn, entry, to_numpy(nn, state[name]))
