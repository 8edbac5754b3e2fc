"""Every test of the suite can be reproduced outside pytest: its script lacks nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("impl_numpy", reason="the scripts are run on impl_numpy")

# One process looks at them all. The names that a script needs are read from its compiled code, and
# all but its last statement, the call of the test, is run.
RUNNER = """
import ast, builtins, dis, json, sys, warnings

KNOWN = {*vars(builtins), "__name__", "__file__", "__annotations__"}


def names(code, *operations):
    for instruction in dis.get_instructions(code):
        if instruction.opname in operations:
            yield instruction.argval
    for inner in code.co_consts:
        if isinstance(inner, type(code)):
            yield from names(inner, *operations)


warnings.simplefilter("ignore")
for name, text in json.loads(open(sys.argv[1], encoding="utf-8").read()).items():
    try:
        tree = ast.parse(text, name)
        code = compile(tree, name, "exec")
        bound = {*names(code, "STORE_NAME", "STORE_GLOBAL"), *KNOWN}
        lacking = set(names(code, "LOAD_NAME", "LOAD_GLOBAL")) - bound
        if lacking:
            raise NameError(", ".join(sorted(lacking)))
        tree.body.pop()
        exec(compile(tree, name, "exec"), {"__name__": "snippet", "__file__": name})
    except Exception as error:
        print(name, type(error).__name__, error)
"""


def test_every_script_is_complete(tmp_path):
    path = tmp_path / "snippets.json"
    environment = {**os.environ, "SNIPPETS": str(path), "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "pytest", "--pyargs", "spec_tests.suite"]
    command += ["--impl", "impl_numpy", "--collect-only", "-q"]
    command += ["-p", "collect_snippets", "-p", "no:cacheprovider", "--quick"]
    subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=False)
    scripts = json.loads(path.read_text(encoding="utf-8"))
    assert len(scripts) > 500
    unbound = [name for name, text in scripts.items() if "= None  #" in text]
    assert unbound == []
    run = subprocess.run(
        [sys.executable, "-c", RUNNER, str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == []
