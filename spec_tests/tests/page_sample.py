"""Result files of five implementations that nobody wrote, for the tests of the page.

    python spec_tests/tests/page_sample.py FOLDER

writes them, as `--result` would.
"""

import base64
import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from spec_tests.compare.findings import (
    Agreement,
    ClauseCounts,
    Details,
    Differences,
    Divergence,
    FinalDistances,
    Implementation,
    InitialValues,
    Provenance,
    Reference,
    Report,
    Training,
    Verdict,
)
from spec_tests.judge import clauses, options, properties, tables, transforms
from spec_tests.judge.written import BENCHMARK, COMPARISON

HOSTILE = "<script>window.broken = 1</script> & \"quotes\" 'too' </script><b>bold</b>"
LACKS = "spec_capabilities() says it lacks complex"
NAMES = ("impl_right", "impl_wrong", "impl_emulated", "impl_part", "impl_cut")


def told(tests, status="passed", why="", **more):
    outcomes = {"passed": len(tests)} if status == "passed" else {status: 1}
    return {"status": status, "tests": tests, "outcomes": outcomes, "why": why, **more}


def run(name, complete, emulated):
    """Return what a result file says of its run, and no results."""
    return {
        "format": 2,
        "spec_version": clauses.SPEC_VERSION,
        "suite_version": "2026.12.0",
        "implementation": name,
        "versions": {"python": "3.11.7", "numpy": "2.4.6", name: "0.3"},
        "device": "NVIDIA H100" if emulated else "CPU",
        "emulated": emulated,
        "seed": 0,
        "state": "complete" if complete else "incomplete",
        "complete": complete,
        "why_incomplete": "" if complete else "not all tests of the suite were asked for",
        "quick": False,
        "environment": {
            "platform": "Linux-6.1-x86_64-with-glibc2.36",
            "machine": "x86_64",
            "command": ["pytest", "--pyargs", "spec_tests.suite", "--impl", name, "-k", "a or b"],
            "started": "2026-11-28T01:54:24Z",
            "seconds": 287.3,
        },
        "expectations": {"source": "", "suite": "", "entries": [], "stale": {}},
        "clauses": {},
        "functions": {},
        "transforms": {},
        "options": {},
    }


def one(name, complete=True, emulated=False, wrong=(), lacks=()):
    """Return the content of a result file.

    Parameters
    ----------
    name : str
    complete, emulated : bool
    wrong, lacks : tuple of str
        Parts of keys: what fails, and what is unsupported.
    """

    def verdict(key, tests, **more):
        if any(part in key for part in wrong):
            why = f"{tests[0]}: got 0.25 but should be 0.5 at (0, 3)\n{HOSTILE}"
            return told(tests, "failed", why, **more)
        if any(part in key for part in lacks):
            return told(tests, "unsupported", LACKS, **more)
        return told(tests, **more)

    found = run(name, complete, emulated)
    for number, clause in clauses.read().items():
        chapter = number.partition("-")[0]
        tests = [f"test_{chapter}.py::test_{number[-2:]}[{case}]" for case in range(30)]
        found["clauses"][number] = verdict(number, tests, title=clause.title, seconds=0.1)
    for key, row in tables.read().items():
        test = f"test_{row.chapter}_rows.py::test_values[{row.name}-float32]"
        said = verdict(key, [test])
        states = {
            what: {"state": said["status"], "why": said["why"]} for what in properties.of(row)
        }
        found["functions"][key] = {**said, "properties": states}
    for key, cell in transforms.read_cells().items():
        said = verdict(key, ["test_transforms.py::test_it"])
        kept = {"status": said["status"], "why": said["why"]}
        found["transforms"].setdefault(cell.program, {})[cell.column] = kept
    for key, cell in options.read().items():
        found["options"][key] = verdict(key, [f"test_options.py::test_it[{cell.id}]"])
    if not complete:
        keys = random.Random(0).sample(sorted(found["clauses"]), 300)
        for key in keys:
            del found["clauses"][key]
    return found


def results():
    """Return five: right, wrong, emulated, with parts that are lacking, and one that was cut."""
    wrong = ("ops.sin", "rnn-02", "GRU: vmap", "rnn.GRU.batch_first.vmap")
    five = [
        one(NAMES[0]),
        one(NAMES[1], wrong=wrong),
        one(NAMES[2], emulated=True),
        one(NAMES[3], lacks=("fft", "linalg", "complex", "jit", "vmap")),
        one(NAMES[4], complete=False, wrong=("ops.tanh",)),
    ]
    expected = five[3]["clauses"]["init-01"]
    expected.update(
        status="xfailed", why="the backend draws other numbers", outcomes={"xfailed": 1}
    )
    died = five[1]["clauses"]["errors-01"]
    died.update(status="crashed", why="test_errors.py::test_01[0]: the process died (signal 11)")
    return five


def accuracy():
    """Return what `spec-tests accuracy` would write for three of them."""
    draw = np.random.default_rng(5)
    keys = [key for key, row in tables.read().items() if row.chapter == "ops" and row.formula]
    files = []
    for name in NAMES[:3]:
        functions = {}
        for key in keys:
            errors = draw.normal(size=64) * 2.0 ** draw.integers(-3, 10)
            sizes = np.sort(np.abs(errors))
            functions[key] = {
                "family": "unary",
                "elements": errors.size,
                "ulp": [round(float(sizes[place]), 3) for place in (32, 62, 63)],
                "nanoseconds": round(float(draw.uniform(0.1, 20)), 3),
                "errors": base64.b64encode(errors.astype("<f2").tobytes()).decode(),
            }
        functions["ops.cos"] = {"why": HOSTILE}
        rows = {what: [float(2 + step) for step in range(7)] for what in ("output", "gradient")}
        about = {
            "device": "NVIDIA H100" if name == "impl_emulated" else "CPU",
            "emulated": name == "impl_emulated",
            "processor": "one of two",
            "instruction_set": "AVX2",
            "versions": {"numpy": "2.4.6"},
        }
        files.append(
            {
                "format": 1,
                "kind": "accuracy",
                "spec_version": clauses.SPEC_VERSION,
                "implementation": name,
                "about": about,
                "started": "2026-11-28 10:00 UTC",
                "command": ["spec-tests", "accuracy", "--impl", name],
                "functions": functions,
                "steps": [4**power for power in range(7)],
                "lengths": {layer: rows for layer in ("RNN_tanh", "GRU", "LSTM")},
            }
        )
    return files


def comparison():
    """Return what the comparison would write of three of them, and the report it is made of."""
    known = [2.25 * 0.97**step for step in range(120)]
    report = Report(verdicts=[Verdict("Every process finishes", True, "no process failed")])
    report.provenance = Provenance(
        created="2026-11-28 11:00 UTC",
        minutes=2.5,
        machine="one of two processors",
        command="python -m spec_tests.compare --out report",
        processes_at_once=2,
        environment={"OMP_NUM_THREADS": "1"},
        data={"digits": {"source": HOSTILE, "sha256": "0123"}},
        peak_bytes_is="memory of the host",
    )
    for name in NAMES[:3]:
        emulated = name == "impl_emulated"
        counts = ClauseCounts(471, 0, 0)
        about = ({"numpy": "2.4.6"}, "CPU", emulated, False, counts)
        report.implementations[name] = Implementation(*about)
    for key in ("digits_rnn", "truecase_lstm"):
        trainings, details = {}, {}
        for number, name in enumerate(NAMES[:3], start=1):
            near = [loss * (1 + number * 1e-7) for loss in known]
            trainings[name] = Training(near, 0.97, number * 1e-3, number * 2**20)
            quartiles = [number * 0.9e-3, number * 1.2e-3]
            details[name] = Details(0.1, quartiles, 0.01, known[:60], 2e-3, 0.97)
        report.workloads[key], report.details[key] = trainings, details
        report.reference[key] = Reference({"torch": "2.13.0"}, known, [1e-5] * 120, 0.96, 0.1)
        alike, same = Differences({}, {}, 1e-7, "impl_right ~ torch.nn"), InitialValues(True, {})
        report.agreement[key] = Agreement(
            steps=40,
            float32=alike,
            float64=alike,
            initial={"float32": same, "float64": same},
            final_ulp=FinalDistances({}, {}),
            divergence={name: Divergence(None, 0.125) for name in NAMES[:3]},
        )
    # One that did not come to its end.
    report.workloads["truecase_lstm"]["impl_wrong"] = Training([], None, None, None)
    report.details["truecase_lstm"]["impl_wrong"] = Details(None, [], None, [], None, None)
    return {**COMPARISON.head(), "summary": [], **asdict(report)}, report


def benchmark():
    """Return what the benchmark would write of two of them and a peer, memory and one time."""
    rows = [
        ("memory", "GRU", {}),
        ("states", "own", {"narrow": True}),
        ("states", "own", {"narrow": True, "sqrt": True}),
        ("train", "GRU", {}),
    ]
    measurements = []
    for kind, name, row_options in rows:
        for steps in (64, 256, 1024):
            entries = [
                {
                    "contestant": who,
                    "threads": threads,
                    "value": {key: 2.0**20 * steps * threads for key in ("median", "low", "high")},
                }
                for who in ("impl_right", "impl_emulated", "torch.nn")
                for threads in (1, 2)
            ]
            row = {"kind": kind, "name": name, "shape": [steps, 8, 32, 64], "options": row_options}
            failure = {"contestant": "impl_part", "threads": 1, "reason": HOSTILE}
            measurements.append({"row": row, "entries": entries, "failures": [failure]})
    fact = {"versions": {"numpy": "2.4.6"}, "device": "CPU", "emulated": False}
    machine = {"processor": "one", "instruction_set": "AVX2", "cores": 2, "system": "Linux"}
    return {
        **BENCHMARK.head(),
        "created": "2026-11-28 12:00 UTC",
        "command": "python -m benchmarks --out report",
        "machine": machine,
        "facts": {"impl_right": fact, "impl_emulated": {**fact, "emulated": True}},
        "measurements": measurements,
    }


def parts():
    """Return the parts of the page beside the results."""
    return {"measured": accuracy(), "training": comparison(), "memory": benchmark()}


def write(folder):
    """Write the five; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for content in results():
        paths.append(folder / f"{content['implementation']}.json")
        paths[-1].write_text(json.dumps(content), encoding="utf-8")
    return paths


if __name__ == "__main__":
    print(*write(Path(sys.argv[1])), sep="\n")
