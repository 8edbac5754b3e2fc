"""The comparison: ``python -m spec_tests.compare --backend NAME=PYTHON ... --out FOLDER``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spec_tests.compare.data import make_data
from spec_tests.compare.findings import Failure, Provenance
from spec_tests.compare.memory import PeakMemory
from spec_tests.compare.reference import SHADOWS
from spec_tests.compare.report import write_report
from spec_tests.compare.results import Evidence, assemble, common_start, training_folder
from spec_tests.compare.tasks import ONE_THREAD, Task, run
from spec_tests.compare.terminal import Display, print_report
from spec_tests.compare.workloads import Workload, cut_down

__all__ = ["main"]

AT_ONCE = 2
QUICK_STEPS = 20
REFERENCE = "reference"
# The suite's share of an implementation's line of progress, of the work of its trainings.
SUITE_SHARE = 0.3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's, by default.

    Returns
    -------
    int
        The exit status: 0 if every promise was kept, 1 if one was not.
    """
    options = _options(arguments)
    began = time.monotonic()
    out = options.out.resolve()
    shutil.rmtree(out / "runs", ignore_errors=True)
    workloads, data = make_data(out / "data")
    if options.quick:
        workloads = tuple(cut_down(workload, QUICK_STEPS) for workload in workloads)
    comparison = Comparison(options, out, workloads)
    failures = comparison.run()
    evidence = Evidence(
        out=out,
        names=list(options.backend),
        workloads=workloads,
        failures=failures,
        suite=options.suite,
        reference=bool(options.reference),
    )
    report = assemble(evidence)
    report.provenance = Provenance(
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        minutes=round((time.monotonic() - began) / 60, 1),
        machine=f"{platform.platform()}, {_processor()}, {os.cpu_count()} logical cores",
        command=shlex.join(["python", "-m", "spec_tests.compare", *options.command_line]),
        processes_at_once=AT_ONCE,
        environment=ONE_THREAD,
        data=data,
        peak_bytes_is=PeakMemory.MEANING,
    )
    write_report(out, report, workloads)
    places = [f"For people:   {out / 'index.html'}", f"For programs: {out / 'compare.json'}"]
    print_report(comparison.display.console, report, places)
    return 0 if all(verdict.kept is not False for verdict in report.verdicts) else 1


class Comparison:
    """The processes of one comparison, at most two at a time.

    Parameters
    ----------
    options : argparse.Namespace
    out : Path
    workloads : sequence of Workload
    """

    def __init__(
        self, options: argparse.Namespace, out: Path, workloads: Sequence[Workload]
    ) -> None:
        self.options = options
        self.out = out
        self.workloads = workloads
        self.failures: list[Failure] = []
        steps = sum(
            workload.weight * (workload.steps + workload.float64_steps) for workload in workloads
        )
        self.suite_units = int(steps * SUITE_SHARE)
        owners = dict.fromkeys(options.backend, steps + self.suite_units * options.suite)
        if options.reference:
            once = sum(workload.weight * workload.steps for workload in workloads)
            owners[REFERENCE] = (1 + SHADOWS) * once
        self.display = Display(owners)

    def run(self) -> list[Failure]:
        """Run all processes; return what failed."""
        names = list(self.options.backend)
        with self.display, ThreadPoolExecutor(AT_ONCE) as pool:
            # What takes longest comes first, so that the other process has all the rest to do
            # meanwhile: the suites, from the last backend, and the trainings, from the last
            # workload.
            asked = reversed(names) if self.options.suite else ()
            futures = [pool.submit(self._suite, name) for name in asked]
            trainings = [
                pool.submit(self._train, name, workload)
                for workload in reversed(self.workloads)
                for name in names
            ]
            futures += trainings
            if self.options.reference:
                futures.append(pool.submit(self._references, trainings))
            for future in futures:
                future.result()
            for owner in [*names, *([REFERENCE] if self.options.reference else [])]:
                self.display.finished(owner)
        return self.failures

    def _train(self, name: str, workload: Workload) -> None:
        folder = training_folder(self.out, name, workload.name)
        job = {
            "module": name,
            "data": str(self.out / "data"),
            "out": str(folder),
            "workloads": [workload.as_dict()],
        }
        self._process(name, workload.name, self.options.backend[name], "worker", folder, job)

    def _references(self, trainings: list[Future[None]]) -> None:
        """Run the reference, which starts from what the trainings drew."""
        for future in trainings:
            future.result()
        for workload in self.workloads:
            start = common_start(self.out, list(self.options.backend), workload.name)
            if start is None:
                continue
            folder = training_folder(self.out, REFERENCE, workload.name)
            job = {
                "data": str(self.out / "data"),
                "out": str(folder),
                "workloads": [workload.as_dict()],
                "initial": {workload.name: str(start)},
            }
            python = self.options.reference
            self._process(REFERENCE, workload.name, python, "reference", folder, job)

    def _suite(self, name: str) -> None:
        result = self.out / "clauses" / f"{name}.json"
        result.parent.mkdir(parents=True, exist_ok=True)
        result.unlink(missing_ok=True)
        pytest = [self.options.backend[name], "-m", "pytest", "--pyargs", "spec_tests.suite"]
        asked = ["--impl", name, "--result", str(result), "-q", "-p", "no:cacheprovider"]
        quick = name in self.options.quick_suite
        task = Task(
            owner=name,
            what="suite",
            command=[*pytest, *asked, *(["--quick"] if quick else [])],
            folder=self.out / "runs" / name,
            timeout=self.options.timeout,
            # 1: some tests failed, and the result file says which.
            succeeded=(0, 1),
            environment=dict(self.options.quick_environment) if quick else {},
        )
        self._run(task)
        known = any(fault.owner == name and fault.what == "suite" for fault in self.failures)
        if not result.exists() and not known:
            self.failures.append(Failure(name, "suite", "left no result", ""))

    def _process(
        self, owner: str, what: str, python: str, module: str, folder: Path, job: dict[str, Any]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "job.json"
        path.write_text(json.dumps(job, indent=1), encoding="utf-8")
        command = [python, "-m", f"spec_tests.compare.{module}", str(path)]
        self._run(Task(owner, what, command, folder, self.options.timeout))

    def _run(self, task: Task) -> None:
        self.display.begin(task.owner, task.what)
        outcome = run(
            task,
            lambda message: self.display.hear(task.owner, task.what, self.suite_units, message),
        )
        if outcome.fault:
            self.failures.append(Failure(task.owner, task.what, outcome.fault, outcome.last_lines))
        self.display.end(task.owner, task.what, outcome.fault)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m spec_tests.compare", description=__doc__)
    parser.add_argument(
        "--backend",
        action="append",
        required=True,
        type=_backend,
        metavar="NAME=PYTHON",
        help="an implementation's importable name and the interpreter it is installed for",
    )
    parser.add_argument(
        "--reference", metavar="PYTHON", help="an interpreter that has torch and spec_tests"
    )
    parser.add_argument("--out", type=Path, default=Path("report"), help="the report's folder")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK_STEPS} steps a training: to try it out"
    )
    parser.add_argument(
        "--no-suite", dest="suite", action="store_false", help="leave the conformance suite out"
    )
    parser.add_argument(
        "--quick-suite",
        action="append",
        default=[],
        metavar="NAME",
        help="run the suite --quick on this implementation, as it compiles",
    )
    parser.add_argument(
        "--quick-environment",
        action="append",
        default=[],
        type=_variable,
        metavar="VARIABLE=VALUE",
        help="set this for the processes of --quick-suite",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=3600.0,
        metavar="SECONDS",
        help="end a process that takes longer (default: 3600)",
    )
    command_line = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(command_line)
    options.backend = dict(options.backend)
    if unknown := set(options.quick_suite).difference(options.backend):
        known = ", ".join(options.backend)
        parser.error(f"--quick-suite {unknown.pop()}: not among the backends {known}")
    options.command_line = command_line
    return options


def _backend(text: str) -> tuple[str, str]:
    """Split ``NAME=PYTHON``."""
    name, equals, python = text.partition("=")
    if not (name.isidentifier() and equals and python):
        msg = f"wanted NAME=PYTHON, as in impl_numpy=/usr/bin/python3, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    # Not resolved: a virtual environment's interpreter is a link, and knows itself by its name.
    return name, os.path.abspath(python) if os.sep in python else python


def _variable(text: str) -> tuple[str, str]:
    """Split ``VARIABLE=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        msg = f"wanted VARIABLE=VALUE, as in XLA_FLAGS=--xla_dump_to=/tmp, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return name, value


def _processor() -> str:
    """Return the processor's name, as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
