"""Every implementation keeps to one floor plan: its rooms, one direction of imports, its sizes."""

import subprocess
import sys
from pathlib import Path

import pytest
import rooms

SUFFIXES = {".py", ".cpp", ".h", ".inl", ".cu"}
# Sources and tests; what a build left is not ours.
SOURCES = [
    path
    for folder in (*rooms.IMPLEMENTATIONS, "spec_tests", "benchmarks", "examples", "docs")
    for path in sorted((rooms.ROOT / folder).rglob("*"))
    if path.suffix in SUFFIXES and not {"build", ".nox"} & set(path.parts)
]


def source_of(name):
    source = rooms.ROOT / name / "src" / name
    if not source.is_dir():
        pytest.skip(f"the checkout has no {name}")
    return source


@pytest.fixture
def house(tmp_path):
    """Return a function that writes the files of a package and returns its sources."""

    def write(files, name="impl_x"):
        source = tmp_path / name
        for place, text in files.items():
            path = source / f"{place}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            if path.parent != source:
                (path.parent / "__init__.py").touch()
        return source

    return write


@pytest.mark.parametrize("name", rooms.IMPLEMENTATIONS)
def test_the_rooms_are_those_of_the_plan(name):
    assert rooms.misplaced(source_of(name)) == []


@pytest.mark.parametrize("name", rooms.IMPLEMENTATIONS)
def test_imports_go_one_way(name):
    assert rooms.wrong_ways(source_of(name)) == []


@pytest.mark.parametrize("name", rooms.IMPLEMENTATIONS)
def test_no_imports_go_in_circles(name):
    assert rooms.cycles(source_of(name)) == []


def test_files_and_functions_are_short():
    faults = [(path.relative_to(rooms.ROOT), rooms.too_long(path)) for path in SOURCES]
    assert len(faults) > 100
    assert [fault for fault in faults if fault[1]] == []


def test_the_table_has_every_room():
    text = rooms.table()
    print(text)
    first_words = [line.split()[0] for line in text.splitlines()]
    for name in rooms.IMPLEMENTATIONS:
        for place in rooms.planned(name):
            assert place.rpartition("/")[2] in first_words
    assert "formulas *" in text


def test_the_script_prints_the_table():
    run = subprocess.run(
        [sys.executable, str(Path(rooms.__file__))], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == rooms.table()


def test_strange_and_missing_rooms_are_seen(house):
    places = [place for place in rooms.planned("impl_numpy") if place != "nn/layer"]
    source = house(dict.fromkeys([*places, "xp", "ops/more", "util/things"], ""), "impl_numpy")
    assert rooms.misplaced(source) == [
        "ops/more is not in the plan",
        "util/things is not in the plan",
        "xp is not in the plan",
        "nn/layer is missing",
        "util/ is not in the plan",
    ]


WAYS = {
    "of a module": ("random", "import impl_x.tensor\n", "tensor"),
    "from the package": ("random", "from impl_x import tensor\n", "tensor"),
    "relative": ("random", "from . import tensor\n", "tensor"),
    "of a name": ("random", "from .tensor import Tensor\n", "tensor"),
    "inside a function": ("random", "def f():\n    from . import tensor\n", "tensor"),
    "by name": ("random", "importlib.import_module('impl_x.tensor')\n", "tensor"),
    "of the whole package": ("random", "import impl_x\n", "__init__"),
    "from a folder": ("ops/products", "from ..nn import Linear\n", "nn"),
    "back in a folder": ("ops/products", "from .sorting import f\n", "ops/sorting"),
    "of a folder's names": ("ops/products", "from . import add\n", "ops/__init__"),
    "of one's own folder": ("ops/products", "from impl_x import ops\n", "ops/__init__"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_form_of_a_wrong_import_is_seen(way, house):
    place, text, end = WAYS[way]
    files = {"random": "", "tensor": "", "ops/products": "", "ops/sorting": "", "nn/linear": ""}
    assert rooms.wrong_ways(house({**files, place: text})) == [f"{place} imports {end}"]


def test_what_is_imported_for_types_alone_is_free(house):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from . import tensor\n"
    assert rooms.wrong_ways(house({"random": text, "tensor": ""})) == []


def test_imports_downward_are_free(house):
    files = {
        "random": "",
        "ops/families": "from ..random import draw\n",
        "ops/products": "from .families import unary\n",
        "nn/linear": "from ..ops import matmul\nfrom impl_x.ops.products import matmul\n",
    }
    assert rooms.wrong_ways(house(files)) == []


def test_circles_are_seen(house):
    files = {"ops/products": "from . import sorting\n", "ops/sorting": "from . import products\n"}
    assert rooms.cycles(house(files)) == ["ops/products", "ops/sorting"]


def test_a_circle_through_a_folder_is_seen(house):
    files = {"tensor": "from .ops import add\n", "ops/products": "from ..tensor import Tensor\n"}
    assert rooms.cycles(house(files)) == ["ops", "ops/products", "tensor"]


def test_long_files_and_functions_are_seen(tmp_path):
    body = "    x = 1\n"
    for name, size, faults in (
        ("short.py", 49, []),
        ("long.py", 50, ["long.py: f has 51 lines"]),
        ("engine.py", 30, ["engine.py: f has 31 lines"]),
    ):
        path = tmp_path / name
        path.write_text('def f():\n    """Say\n    more."""\n' + body * size, encoding="utf-8")
        assert rooms.too_long(path) == faults
    for name in ("rnn.cpp", "rnn.cu", "rnn.h", "rnn.inl", "rnn.py"):
        path = tmp_path / name
        path.write_text("\n" * 500, encoding="utf-8")
        assert rooms.too_long(path) == []
        path.write_text("\n" * 501, encoding="utf-8")
        assert rooms.too_long(path) == [f"{name}: 501 lines"]


@pytest.mark.parametrize("head", ["void f(int n) {", "int f() const {", "    T g(T x) noexcept {"])
def test_a_long_function_of_cpp_is_seen(head, tmp_path):
    path = tmp_path / "rnn.inl"
    indent = " " * (len(head) - len(head.lstrip()))
    for inside, faults in ((48, []), (49, [f"rnn.inl: {head.strip()} has 51 lines"])):
        body = f"{indent}    n += 1;\n" * inside
        path.write_text(f"namespace a {{\n{head}\n{body}{indent}}}\n}}\n", encoding="utf-8")
        assert rooms.too_long(path) == faults
