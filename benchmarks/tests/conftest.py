"""Contestants made of toys, in the interpreter that runs the tests."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.bench import Bench, Plan
from benchmarks.peers.table import Contestant

HERE = Path(__file__).parent


def toy(name, argument="", role="peer", library="json", place="here"):
    return Contestant(name, "toys", library, (place,), argument, role)


@pytest.fixture
def inherited():
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


@pytest.fixture
def bench_of(tmp_path, inherited):
    """Return a function that makes a bench of toys."""
    made = []

    def make(*table, threads=(1,), **changes):
        plan = Plan(
            environments=changes.get("environments", {"here": sys.executable}),
            missing=changes.get("missing", {}),
            ours=[who.name for who in table if who.role == "ours"],
            peers=[who.name for who in table if who.role == "peer"],
            threads=threads,
            seconds=0.0,
            patience=changes.get("patience", 60.0),
            limit=changes.get("limit", 60.0),
            folder=tmp_path,
        )
        made.append(Bench(plan, inherited, table))
        return made[-1]

    yield make
    for bench in made:
        bench.__exit__()
