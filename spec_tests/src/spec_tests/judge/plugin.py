"""The pytest plugin: ``--impl``, clause marks, categories and the result file.

It does nothing unless ``--impl`` is given, as it is loaded wherever spec_tests is installed.
"""

import gc
import importlib
import json
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spec_tests.judge import clauses, expectations, properties
from spec_tests.judge.environment import suite_version
from spec_tests.judge.explain import explained
from spec_tests.judge.marks import asked_of, cells_of, clauses_of, functions_of, name_of
from spec_tests.judge.processes import Collected, Gathering, hand_over, tell_why
from spec_tests.judge.result import Result, Subjects
from spec_tests.judge.summary import summarize
from spec_tests.judge.tables import Row
from spec_tests.support import assertions

_SELECTIONS = ("keyword", "markexpr", "deselect", "lf", "last_failed", "stepwise")
# Advice that torch.Tensor's own methods give where the specification asks for just that.
_ADVICE = (
    "ignore:Using backward\\(\\) with create_graph=True:UserWarning",
    "ignore:The \\.grad attribute of a Tensor that is not a leaf:UserWarning",
)
_RUN = pytest.StashKey["Run"]()
_PASSED_XFAIL = "spec_tests_passed_xfail"
# Marks of tests that are asked of a table's columns, and what the result calls the table.
_GRIDS = {"cells": "transforms", "options": "options"}


class Run:
    """What one run of the suite knows: the implementation, the clauses and the outcomes."""

    def __init__(self, implementation: str, module: ModuleType, spec: Path) -> None:
        self.implementation = implementation
        self.module = module
        self.subjects = Subjects(spec)
        self.capabilities: dict[str, bool] = dict(module.spec_capabilities())
        self.result = Result(implementation, module, self.subjects)
        self.expectations = self.result.expectations
        self.gathering = Gathering(self.result)
        self.tests: list[Collected] = []
        self.files: set[Path] = set()
        # Some tests were left out by choice, or some files could not be read.
        self.selected = False
        self.broken = False
        self.full = False

    def expect(self, path: Path | None) -> None:
        """Read what the implementation says beforehand of its results, from `path` if given.

        Raises
        ------
        ValueError
            The list cannot be read, or names what there is not.
        """
        self.expectations = self.result.expectations = expectations.find(self.module, path)
        self.expectations.check_names(self.subjects.clauses, self.subjects.functions)

    def expected(self, state: str, item: pytest.Item) -> expectations.Expectation | None:
        """Return the entry by which a test is unsupported, or an xfail."""
        ids, functions = clauses_of(item), functions_of(item)
        return self.expectations.of(state, name_of(item), ids, functions)

    def write(self, path: str | None) -> None:
        """Write the result file, if one is wanted."""
        if path:
            content = self.result.as_dict()
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
            Path(path).write_text(text + "\n", encoding="utf-8")

    def lacking(self, item: pytest.Item) -> str | None:
        """Return the capability that a test needs and the implementation lacks."""
        needed = [self.subjects.clauses[number].capability for number in clauses_of(item)]
        for mark in item.iter_markers("clause"):
            needed += mark.kwargs.get("needs", ())
        for name in needed:
            if name and not self.capabilities.get(name, False):
                return name
        return None


def run_of(config: pytest.Config) -> Run:
    """Return the run that ``--impl`` began."""
    return config.stash[_RUN]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("spec_tests", "conformance to the specification")
    group.addoption("--impl", metavar="MODULE", help="the implementation, by its importable name")
    group.addoption("--result", metavar="FILE", help="write the results to FILE as JSON")
    group.addoption(
        "--expectations",
        metavar="FILE",
        help="what is unsupported or expected to fail (default: the implementation's own "
        f"{expectations.NAME})",
    )
    group.addoption(
        "--spec",
        metavar="DIRECTORY",
        default=str(clauses.SPEC_DIRECTORY),
        help="the chapters to ask for (default: those of this package)",
    )
    group.addoption(
        "--quick",
        action="store_true",
        help="of tests that compile much run some of the cases, and each test in one dtype",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clause(*ids, needs=()): what the test asks for")
    config.addinivalue_line("markers", "rows(chapter, where=None, asks=()): of each row of a table")
    config.addinivalue_line("markers", "function(*keys, asks=()): the rows that are asked for")
    for table in _GRIDS:
        config.addinivalue_line("markers", f"{table}(column): asked of each cell of a column")
    config.addinivalue_line("markers", "cell(key): the cell that is asked for")
    config.addinivalue_line(
        "markers", "sampled(every, first=None): with --quick, one case in so many, from the first"
    )
    name = config.getoption("--impl")
    if not name:
        return
    try:
        module = importlib.import_module(name)
    except Exception as error:  # whatever a foreign module raises, the user wants one line
        reason = " ".join(str(error).split())
        msg = f"--impl: cannot import {name!r}: {type(error).__name__}: {reason}"
        raise pytest.UsageError(msg) from None
    if not hasattr(module, "spec_capabilities"):
        msg = f"--impl: {name!r} has no spec_capabilities(), so it is no implementation (tensor-01)"
        raise pytest.UsageError(msg)
    run = config.stash[_RUN] = Run(name, module, Path(config.getoption("--spec")))
    run.result.quick = config.getoption("--quick")
    run.result.command = [Path(sys.argv[0]).name, *map(str, config.invocation_params.args)]
    listed = config.getoption("--expectations")
    try:
        run.expect(Path(listed) if listed else None)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    # The tests make few cycles, and what a compiler keeps takes long to walk through.
    gc.set_threshold(100_000, 20, 100)
    config.pluginmanager.register(run.gathering)
    for line in ("error", *_ADVICE):
        config.addinivalue_line("filterwarnings", line)
    config.option.strict_markers = True


def pytest_report_header(config: pytest.Config) -> list[str]:
    run = config.stash.get(_RUN, None)
    if run is None:
        return []
    lines = [f"specification {clauses.SPEC_VERSION}, implementation {run.result.describe()}"]
    if run.expectations.source:
        lines.append(_about_expectations(run.expectations))
    return lines


def pytest_sessionstart(session: pytest.Session) -> None:
    run = session.config.stash.get(_RUN, None)
    if run is not None and not hasattr(session.config, "workerinput"):
        # What an earlier run left must not pass for the result of one that dies.
        run.write(session.config.getoption("--result"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    run = metafunc.config.stash.get(_RUN, None)
    if run is None:
        return
    for mark in metafunc.definition.iter_markers("rows"):
        metafunc.parametrize("row", _parameters(run, *mark.args, **mark.kwargs))
    for table, kind in _GRIDS.items():
        for mark in metafunc.definition.iter_markers(table):
            metafunc.parametrize("cell", _cells(run, kind, *mark.args))
    if "dtype" not in metafunc.fixturenames:
        return
    parametrized = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if any("dtype" in str(names).replace(",", " ").split() for names in parametrized):
        return
    dtypes = ["float32"] + ["float64"] * run.capabilities.get("float64", False)
    metafunc.parametrize("dtype", dtypes, indirect=True)


@pytest.fixture
def nn(request: pytest.FixtureRequest) -> ModuleType:
    """Return the implementation named by ``--impl``."""
    run = request.config.stash.get(_RUN, None)
    if run is None:
        pytest.fail("this test needs --impl MODULE", pytrace=False)
    return run.module


@pytest.fixture
def implementation(request: pytest.FixtureRequest) -> str:
    """Return the name that ``--impl`` gave, by which another process can import it."""
    return str(request.config.getoption("--impl"))


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> str:
    """``"float32"`` and ``"float64"`` in turn; what results are compared in by default."""
    assertions.expect_dtype(request.param)
    return str(request.param)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    run = collector.config.stash.get(_RUN, None)
    report = yield
    if run is not None and isinstance(collector, pytest.Module):
        run.files.add(collector.path)
        if report.skipped and not _reason(report).strip():
            report.outcome = "failed"
            report.longrepr = f"{collector.path.name}: a skip needs a reason"
        run.broken |= report.failed
    return report


def pytest_deselected(items: list[pytest.Item]) -> None:
    run = items[0].config.stash.get(_RUN, None) if items else None
    if run is not None:
        run.selected = True


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run = config.stash.get(_RUN, None)
    if run is None:
        if any(item.nodeid and _is_suite(item) for item in items):
            msg = "the suite needs an implementation: --impl MODULE"
            raise pytest.UsageError(msg)
        return
    faults = [fault for item in items for fault in _faults(item, run)]
    if faults:
        raise pytest.UsageError("\n".join(sorted(set(faults))))
    if config.getoption("--quick"):
        items[:] = _sample(items)
    run.full = _is_full(config, run)
    for item in items:
        for mark in list(item.iter_markers("xfail")):
            # The first mark of a name counts, so this one takes the place of the test's own.
            strict = {**mark.kwargs, "strict": True}
            item.add_marker(pytest.mark.xfail(*mark.args, **strict), append=False)
        ids, keys, asked = clauses_of(item), [*functions_of(item), *cells_of(item)], asked_of(item)
        run.result.collected(name_of(item), ids, keys, asked)
        run.tests.append((item.nodeid, name_of(item), ids, keys, asked))


def pytest_runtest_setup(item: pytest.Item) -> None:
    run = item.config.stash.get(_RUN, None)
    if run is None:
        return
    assertions.expect_dtype(None)
    lacking = run.lacking(item)
    if lacking:
        item.user_properties.append(("unsupported", lacking))
        pytest.skip(f"unsupported: {run.implementation} lacks {lacking}")
    listed = run.expected("unsupported", item)
    if listed:
        item.user_properties.append(("unsupported", ""))
        pytest.skip(f"unsupported: {listed.reason}")
    if hasattr(run.module, "manual_seed"):
        run.module.manual_seed(run.result.seed)
    if hasattr(run.module, "is_grad_enabled") and not run.module.is_grad_enabled():
        # A test that failed left recording off; it is not for the next one to suffer.
        run.module.enable_grad().__enter__()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    run = item.config.stash.get(_RUN, None)
    if run is None:
        return report
    if report.skipped and not _reason(report).strip():
        report.outcome = "failed"
        # pytest counts nothing as a failure that still calls itself an expected one.
        vars(report).pop("wasxfail", None)
        report.longrepr = f"{name_of(item)}: a skip or xfail needs a reason"
    elif report.when != "teardown" and not report.skipped:
        _hold_to_expectations(item, report, run)
    if report.failed:
        wanted = [run.subjects.clauses[number] for number in clauses_of(item)]
        name = run.implementation
        report.longrepr = explained(item, call.excinfo, wanted, name, report.longrepr)
    why = _why(report, call.excinfo)
    run.result.happened(name_of(item), report, why)
    tell_why(report, why)
    return report


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, str] | None:
    # The report of a file that is skipped as a whole has no properties.
    properties = getattr(report, "user_properties", ())
    if report.skipped and any(name == "unsupported" for name, _ in properties):
        return "unsupported", "u", "UNSUPPORTED"
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    run = session.config.stash.get(_RUN, None)
    if run is None or exitstatus in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR):
        return
    if hand_over(session.config, run.tests, run.full):
        return
    elsewhere = run.gathering.merge()
    full = run.full if elsewhere is None else elsewhere
    stopped = session.shouldstop or session.shouldfail
    if stopped or exitstatus == pytest.ExitCode.INTERRUPTED:
        why = f"the run was interrupted{f': {stopped}' if isinstance(stopped, str) else ''}"
    else:
        why = "" if full else "not all tests of the suite were asked for"
    run.result.finish(why)
    if run.result.faults() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    run.write(session.config.getoption("--result"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    run = config.stash.get(_RUN, None)
    if run is not None:
        summarize(terminalreporter, run.result)


def _parameters(
    run: Run,
    chapter: str,
    where: Callable[[Row], bool] | None = None,
    asks: tuple[str, ...] = (),
) -> list[Any]:
    chosen = [row for row in run.subjects.functions.values() if row.chapter == chapter]
    return [
        pytest.param(row, id=row.name, marks=pytest.mark.function(row.key, asks=asks))
        for row in chosen
        if where is None or where(row)
    ]


def _cells(run: Run, kind: str, column: str) -> list[Any]:
    return [
        pytest.param(cell, id=cell.id, marks=pytest.mark.cell(cell.key))
        for cell in run.subjects.of(kind).values()
        if cell.column == column
    ]


def _about_expectations(listed: expectations.Expectations) -> str:
    line = f"expectations: {len(listed.entries)} of {listed.source}"
    version = suite_version()
    if version and listed.suite != version:
        line += f", written for spec-tests {listed.suite}; this is {version}"
    return line


def _hold_to_expectations(item: pytest.Item, report: pytest.TestReport, run: Run) -> None:
    """Make an expected failure of a failure that is listed, and a failure of one that passed."""
    listed = run.expected("xfail", item)
    if listed is None:
        return
    if report.failed:
        report.outcome = "skipped"
        vars(report)["wasxfail"] = listed.reason
    elif report.when == "call" and listed.kind == "tests":
        report.outcome = "failed"
        report.longrepr = f"passes, and is expected to fail: {listed.reason}"
        vars(report)[_PASSED_XFAIL] = report.longrepr


def _faults(item: pytest.Item, run: Run) -> Generator[str, None, None]:
    ids = clauses_of(item)
    if not ids:
        yield f"{name_of(item).partition('[')[0]}: a test needs a clause, as in @clause('rnn-07')"
    for number in ids:
        if number not in run.subjects.clauses:
            yield f"{name_of(item).partition('[')[0]}: there is no clause {number}"
    for key in functions_of(item):
        if key not in run.subjects.functions:
            yield f"{name_of(item).partition('[')[0]}: there is no function {key} in the tables"
    try:
        asked_of(item)
    except ValueError as error:
        yield f"{name_of(item).partition('[')[0]}: {error}"
    for mark in item.iter_markers():
        if mark.name in ("skip", "xfail") and not mark.kwargs.get("reason") and not _text(mark):
            yield f"{name_of(item).partition('[')[0]}: {mark.name} needs a reason"


def _sample(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests without most cases of those that are marked; every test keeps one.

    Each test begins to count at a case of its own, so that the tests of one table ask for different
    rows, but for those that say where, as their cases differ much in what they cost. Of two cases
    that differ by their dtype alone a test asks the one or the other, the same in all of its cases,
    for what is compiled serves the next.
    """
    others: dict[tuple[str, Any], list[pytest.Item]] = {}
    for item in items:
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        parameters.pop("dtype", None)
        case = tuple((name, repr(value)) for name, value in parameters.items())
        others.setdefault((name_of(item).partition("[")[0], case), []).append(item)
    cases = Counter(name for name, _ in others)
    seen: Counter[str] = Counter()
    kept = set()
    for (name, _), alike in others.items():
        mark = alike[0].get_closest_marker("sampled")
        every = min(mark.args[0] if mark is not None else 1, cases[name])
        start = zlib.crc32(name.encode())
        first = -start if mark is None else mark.kwargs.get("first", -start)
        if (seen[name] - first) % every == 0:
            kept.add(alike[start // every % len(alike)])
        seen[name] += 1
    asked = {what for item in kept for what in _asked(item)}
    for item in items:
        # What no other test asks: a clause, a function, a property of one, its values in the other
        # dtype above all.
        if item not in kept and not asked.issuperset(_asked(item)):
            kept.add(item)
            asked.update(_asked(item))
    return [item for item in items if item in kept]


def _asked(item: pytest.Item) -> list[Any]:
    pairs = [pair for pair in asked_of(item) if pair[1] not in properties.SAMPLED]
    return [*clauses_of(item), *functions_of(item), *pairs]


def _text(mark: pytest.Mark) -> bool:
    return mark.name == "skip" and bool(mark.args)


def _is_full(config: pytest.Config, run: Run) -> bool:
    if run.selected or run.broken or any(config.getoption(name, None) for name in _SELECTIONS):
        return False
    if any("::" in argument for argument in config.args):
        return False
    there = {path for file in run.files for path in file.parent.glob("test_*.py")}
    return there == run.files


def _is_suite(item: pytest.Item) -> bool:
    module = getattr(item, "module", None)
    return getattr(module, "__name__", "").startswith("spec_tests.suite")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped:").removeprefix("Skipped").strip()
    return ""


def _why(report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    passed = getattr(report, _PASSED_XFAIL, "")
    if passed:
        return str(passed)
    if report.failed:
        return _first_line(excinfo)
    if report.skipped and hasattr(report, "wasxfail") and excinfo is not None:
        return f"{_reason(report)} ({_first_line(excinfo)})"
    return _reason(report)


def _first_line(excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    if excinfo is None:
        return "a skip or xfail needs a reason, or an xfail passed"
    if isinstance(excinfo.value, pytest.skip.Exception):
        return "a skip needs a reason"
    lines = str(excinfo.value).splitlines() or [""]
    prefix = "" if isinstance(excinfo.value, AssertionError) else f"{excinfo.typename}: "
    return prefix + lines[0]
