"""Mutation testing finds what tests miss, and nothing else."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from spec_tests.mutation import kept, score, shadow, token_mutants
from spec_tests.mutation.compiled import Extension
from spec_tests.mutation.mutants import chosen, in_rooms, made

python_mutants = pytest.importorskip(
    "spec_tests.mutation.python_mutants", reason="the mutants of Python are cosmic-ray's"
)

PACKAGE = {
    "__init__": """
from toy.ops import clipped, double

__version__ = "1.0"


def spec_capabilities():
    return {"float64": True}
""",
    "ops": '''
def double(x: int | None = None) -> int | None:
    """Return two times 2."""
    if x is None:
        raise ValueError("double: 1 argument is wanted, got " + str(0))
    return x * 2


def clipped(x):
    return 10 if x > 10 else x
''',
}
TESTS = """
import pytest
from spec_tests import clause

@clause("ops-01")
@pytest.mark.parametrize("x", [3, 4, 5])
def test_double(nn, x):
    assert nn.double(x) == x + x

@clause("ops-01")
def test_double_of_nothing(nn):
    with pytest.raises(ValueError):
        nn.double()

@clause("ops-01")
def test_clipped_small(nn):
    assert nn.clipped(3) == 3
"""
MISSING = """
@clause("ops-01")
def test_clipped(nn):
    assert [nn.clipped(x) for x in (9, 9.5, 10, 11, 12)] == [9, 9.5, 10, 10, 10]
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Return a function that runs mutation testing on a package made for the purpose."""
    package, tests = tmp_path / "src" / "toy", tmp_path / "tests"
    package.mkdir(parents=True)
    tests.mkdir()
    for name, text in PACKAGE.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    (tests / "test_toy.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "none.toml").write_text("", encoding="utf-8")
    source = Path(score.__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{source}")

    def mutate(*options, returncode=0):
        command = [sys.executable, "-m", "spec_tests.mutation", "toy", "--rooms", "ops"]
        folders = ("--out", "out", "--tests", str(tests), "--seconds", "60")
        entries = () if "--list" in options else ("--list", "none.toml")
        run = subprocess.run(
            [*command, *folders, *entries, *options],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert run.returncode == returncode, run.stdout + run.stderr
        content = json.loads((tmp_path / "out" / "toy.json").read_text(encoding="utf-8"))
        return content, run.stdout + run.stderr

    return mutate


def test_a_missing_test_is_found_and_a_test_kills(toy, tmp_path):
    content, text = toy()
    found = {one["function"] for one in content["survivors"]}
    assert found == {"clipped"}, text
    assert "ops.py:10 clipped" in text
    scores = content["scores"]["python"]
    assert scores["killed"] + scores["survived"] == scores["mutants"] > 5
    assert content["complete"]
    before = (tmp_path / "src" / "toy" / "ops.py").read_text(encoding="utf-8")
    assert before == PACKAGE["ops"]
    # The tests that were missing; only survivors are asked again, and only the new file is run.
    (tmp_path / "tests" / "test_more.py").write_text(
        "from spec_tests import clause\n" + MISSING, encoding="utf-8"
    )
    after, text = toy("--again", "--at-least", "100")
    assert after["survivors"] == [], text
    assert "5 tests, 1 of them run" not in text
    assert "6 tests, 1 of them run" in text
    lines = (tmp_path / "out" / "toy.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [line for line in lines if '"status": "none"' not in line]
    assert len(asked) == scores["mutants"] + scores["survived"]


def test_a_run_goes_on_where_it_stopped_and_a_sample_grows(toy, tmp_path):
    some, _ = toy("--sample", "3")
    assert some["scores"]["python"]["mutants"] == 3
    lines = (tmp_path / "out" / "toy.jsonl").read_text(encoding="utf-8")
    # A run that was ended while it wrote leaves half a line.
    (tmp_path / "out" / "toy.jsonl").write_text(lines + '{"id": "', encoding="utf-8")
    whole, text = toy()
    more = (tmp_path / "out" / "toy.jsonl").read_text(encoding="utf-8")
    assert more.startswith(lines)
    assert whole["complete"], text
    assert whole["scores"]["python"]["mutants"] > 3
    again, _ = toy()
    assert (again["scores"], again["survivors"]) == (whole["scores"], whole["survivors"])


def test_a_test_that_always_fails_kills_nothing(toy, tmp_path):
    broken = 'from spec_tests import clause\n\n@clause("ops-01")\ndef test_wrong(nn):\n'
    text = broken + "    assert nn.clipped(11) + nn.double(1) == 0\n"
    (tmp_path / "tests" / "test_broken.py").write_text(text, encoding="utf-8")
    content, text = toy()
    assert {one["function"] for one in content["survivors"]} == {"clipped"}, text


def test_a_kept_mutant_does_not_count(toy, tmp_path):
    before, _ = toy()
    one = before["survivors"][0]
    lines = ["[[toy]]", *(f"{key} = {json.dumps(one[key])}" for key in ("file", "function"))]
    lines += [f"{key} = {json.dumps(one[key])}" for key in ("was", "now")]
    path = tmp_path / "list.toml"
    path.write_text("\n".join([*lines, 'reason = "a trial"', ""]), encoding="utf-8")
    after, _ = toy("--list", str(path))
    assert after["scores"]["python"]["equivalent"] == 1
    assert after["scores"]["python"]["mutants"] == before["scores"]["python"]["mutants"] - 1
    assert [entry["id"] for entry in after["equivalents"]] == [one["id"]]
    path.write_text("\n".join([*lines, 'reason = ""', ""]), encoding="utf-8")
    _, text = toy("--list", str(path), returncode=2)
    assert "has no reason" in text


def test_what_does_not_end_is_killed(toy, tmp_path):
    # Without its step the loop has no end.
    text = "def double(x=None):\n    if x is None:\n        raise ValueError('')\n"
    text += "    left, sum = x, 0\n    while left > 0:\n        sum += 2\n        left -= 1\n"
    text += "    return sum\n\n\ndef clipped(x):\n    return x\n"
    (tmp_path / "src" / "toy" / "ops.py").write_text(text, encoding="utf-8")
    content, _ = toy("--sample", "12")
    assert content["scores"]["python"]["timeout"] >= 1


SETUP = """
import pathlib, subprocess
pathlib.Path("made/toy").mkdir(parents=True, exist_ok=True)
compiler = ("g++", "-shared", "-fPIC", "csrc/toy.cpp", "-o", "made/toy/_C.so")
raise SystemExit(subprocess.run(compiler).returncode)
"""
SOURCE = """
extern "C" int twice(int x) {
    return x + x;
}

extern "C" int least(int x, int y) {
    return x < y ? x : y;
}
"""
CALLING = """
import ctypes
from pathlib import Path

LIBRARY = ctypes.CDLL(str(Path(__file__).parent / "_C.so"))


def double(x=None):
    if x is None:
        raise ValueError("double: wants an int")
    return LIBRARY.twice(x)


def clipped(x):
    return LIBRARY.least(x, 10)
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="C++ is compiled by g++")
def test_an_extension_is_built_for_each_mutant(toy, tmp_path):
    project = tmp_path / "project"
    (project / "csrc").mkdir(parents=True)
    (project / "setup.py").write_text(SETUP, encoding="utf-8")
    (project / "csrc" / "toy.cpp").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "src" / "toy" / "ops.py").write_text(CALLING, encoding="utf-8")
    first = Extension(project, sys.executable, tmp_path / "first").built({})
    shutil.copy(first, tmp_path / "src" / "toy" / "_C.so")
    content, text = toy("--kind", "cpp", "--project", str(project))
    scores = content["scores"]["cpp"]
    assert scores["killed"] >= 1, text
    assert {one["function"] for one in content["survivors"]} <= {"least"}, text
    assert (project / "csrc" / "toy.cpp").read_text(encoding="utf-8") == SOURCE
    assert (tmp_path / "src" / "toy" / "_C.so").read_bytes() == first.read_bytes()
    broken = {"csrc/toy.cpp": "this is no C++"}
    assert Extension(project, sys.executable, tmp_path / "first").built(broken) is None


def operators_at(text):
    return {(one.site.line, one.operator) for one in python_mutants.candidates(text)}


SILENT = {
    "an annotation": "def f(x: int | None, *y: list[1]) -> int | None:\n    ...\n",
    "an error's text": "raise ValueError('a' + str(1))\n",
    "a text for an error": "msg = 'a' + str(1)\n",
    "an f-string": "f'{1 + 1}'\n",
    "an assertion": "assert x is not None, 1\n",
    "types alone": "if TYPE_CHECKING:\n    x = 1\n",
    "an alias": "A: TypeAlias = int | None\n",
    "a protocol": "class A(Protocol):\n    @property\n    def f(self): return 1\n",
    "names": "__all__ = ['a'] + [1]\n",
    "a cache": "@cache\ndef f():\n    ...\n",
    "slots": "@dataclass(slots=True, frozen=True)\nclass A:\n    ...\n",
    "a strict zip": "zip(a, b, strict=True)\n",
    "a docstring": "def f():\n    '''1 + 1'''\n",
}


@pytest.mark.parametrize("what", SILENT)
def test_what_no_test_can_see_is_not_changed(what):
    found = {
        operator
        for _, operator in operators_at(SILENT[what])
        if operator != "statement/Delete" and not (what == "slots" and "Decorator" in operator)
    }
    assert found == set()


def test_each_kind_of_change_is_made():
    text = (
        "def f(x, y=1):\n    if x < y and x:\n        x.a += 1\n        return -x\n"
        "    for i in x:\n        break\n    x.set(True)\n    return x is None\n"
    )
    found = {(line, name.partition("_")[0]) for line, name in operators_at(text)}
    assert found >= {
        (1, "core/NumberReplacer"),
        (2, "core/ReplaceComparisonOperator"),
        (2, "core/ReplaceAndWithOr"),
        (2, "core/AddNot"),
        (3, "statement/Delete"),
        (4, "core/ReplaceUnaryOperator"),
        (5, "core/ZeroIterationForLoop"),
        (6, "core/ReplaceBreakWithContinue"),
        (7, "core/ReplaceTrueWithFalse"),
        (7, "statement/Delete"),
        (8, "core/ReplaceComparisonOperator"),
    }


def drawn(text, seed=1):
    places = [("a.py", one) for one in python_mutants.candidates(text)]
    return chosen(places, {"a.py": text}, seed)


def test_a_mutant_is_known_again_when_lines_move():
    text = "def f(x):\n    return x + 1\n"
    found = []
    for source in (text, "A = x\n\n\n" + text):
        tree = ast.parse(source)
        one = next(one for one in drawn(source) if "Binary" in one.change.operator)
        function = python_mutants.function_at(tree, one.change.site.line)
        lines = python_mutants.statement_at(tree, one.change.site)[:2]
        mutant = made("a.py", function, lines, one.change, source)
        found.append((one.id, mutant.function, mutant.was, mutant.now))
    assert found[0] == found[1]
    assert found[0][1:3] == ("f", "return x + 1")


def test_the_sample_is_decided_by_the_seed_and_one_a_place():
    text = "def f(x):\n    return x + 1 - 2 * x\n" * 5
    first = drawn(text)
    assert first == drawn(text)
    assert [one.id for one in first] != [one.id for one in drawn(text, 2)]
    assert len({one.change.site for one in first}) == len(first)
    assert len({one.id for one in first}) == len(first)
    # What is added stands between the others, which keep their order and their changes.
    more = [one.id for one in drawn("x = 1\n" + text)]
    assert [name for name in more if name in {one.id for one in first}] == [o.id for o in first]


KERNEL = """
// x + 1
#define STEP(i) \\
    for (int i = 0; i < 1; ++i)
__device__ inline float helper(const float* x, long long n) {
    return n < 2 ? -x[0] * 2.5f : max(x[1], x[2]);
}

extern "C" __global__ void kernel_float(float* y, const float* x, int n) {
    int i = threadIdx.x;
    if (i >= n || !n) return;
    y[i] += helper(x, "a + b"[0]);
}
"""


def test_tokens_of_kernels_are_changed():
    found = {(one.site.line, one.operator) for one in token_mutants.candidates(KERNEL)}
    assert found >= {
        (6, "token/< <="),
        (6, "token/without -"),
        (6, "token/* /"),
        (6, "token/number"),
        (6, "token/max min"),
        (11, "token/>= >"),
        (11, "token/|| &&"),
        (11, "token/without !"),
        (12, "token/+= -="),
        (12, "statement/Delete"),
    }
    assert {line for line, _ in found} == {6, 11, 12}
    assert token_mutants.function_at(KERNEL, 6) == "helper"
    # A file of the least kind has no function.
    texts = {"a.cu": KERNEL, "b.h": "#pragma once\n"}
    assert token_mutants.users(texts, "helper") == {"helper", "kernel_float"}


def test_texts_of_a_statement_outside_of_functions_are_words():
    tree = ast.parse('unary("sin", sine, real=True)\nNAMES = ("cos", "no name")\n')
    assert python_mutants.words_at(tree, 1, 1) == ["sin"]
    assert python_mutants.words_at(tree, 2, 2) == ["NAMES", "cos"]


def test_every_change_of_a_kernel_differs_in_one_place():
    for one in token_mutants.candidates(KERNEL):
        changed = one.text(KERNEL)
        assert changed != KERNEL
        assert len(changed.split("\n")) == len(KERNEL.split("\n"))


def test_the_shadow_has_one_file_of_its_own(tmp_path):
    package = tmp_path / "src" / "toy" / "sub"
    package.mkdir(parents=True)
    for path in (package.parent / "a.py", package / "b.py", package / "c.py"):
        path.write_text("x = 1\n", encoding="utf-8")
    shadow.make(package.parent, tmp_path / "made", {"sub/b.py": "x = 2\n"})
    made_there = tmp_path / "made" / "toy"
    assert (made_there / "sub" / "b.py").read_text(encoding="utf-8") == "x = 2\n"
    assert (made_there / "a.py").is_symlink()
    assert (made_there / "sub" / "c.py").samefile(package / "c.py")
    assert (package / "b.py").read_text(encoding="utf-8") == "x = 1\n"


def test_the_interval_is_wilsons():
    # Wilson's interval of 95 in 100 at 95%, as Brown, Cai and DasGupta's formula gives it.
    low, high = score.wilson(95, 100)
    assert (round(low, 4), round(high, 4)) == (0.8882, 0.9785)
    assert score.wilson(0, 0) == (0.0, 1.0)
    assert score.wilson(10, 10)[1] == pytest.approx(1)


def test_rooms_have_their_neighbours():
    assert in_rooms("function_node.py", ["function"])
    assert in_rooms("ops/fft.py", ["ops"])
    assert not in_rooms("functions.py", ["function"])


def test_the_kept_list_can_be_read_and_names_lines_that_exist():
    root = Path(__file__).parents[2]
    for name in ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp"):
        source = root / name / "src" / name
        if source.is_dir():
            texts = {
                path.relative_to(source).as_posix(): path.read_text(encoding="utf-8")
                for path in source.rglob("*.*")
                if path.suffix in (".py", ".cu")
            }
            assert kept.unknown(kept.read(name), texts) == []
