"""Every test of the suite can be reproduced outside pytest: its script lacks nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("impl_numpy", reason="the scripts are run on impl_numpy")

# One process runs them all: what a script lacks shows as one of these, whatever it asks for.
RUNNER = """
import json, sys, warnings
warnings.simplefilter("ignore")
for name, text in json.loads(open(sys.argv[1], encoding="utf-8").read()).items():
    if "long_chains" in name or "long_sequences" in name:
        compile(text, name, "exec")
        continue
    try:
        exec(compile(text, name, "exec"), {"__name__": "snippet", "__file__": name})
    except (NameError, ImportError, SyntaxError) as error:
        print(name, type(error).__name__, error)
    except BaseException:
        continue
"""


def test_every_script_is_complete(tmp_path):
    path = tmp_path / "snippets.json"
    environment = {**os.environ, "SNIPPETS": str(path), "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-m", "pytest", "--pyargs", "spec_tests.suite"]
    command += ["--impl", "impl_numpy", "--collect-only", "-q"]
    command += ["-p", "collect_snippets", "-p", "no:cacheprovider"]
    # Each test has its script: what that lacks does not depend on how many of the cases are asked.
    command += ["--quick"]
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
