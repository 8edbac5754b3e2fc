"""The pytest plugin: ``--impl``, clause marks, categories and the result file.

It does nothing unless ``--impl`` is given, as it is loaded wherever spec_tests is installed.
"""

import importlib
import json
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spec_tests.judge import clauses, tables
from spec_tests.judge.explain import explained
from spec_tests.judge.processes import Collected, Gathering, hand_over, tell_why
from spec_tests.judge.result import Result
from spec_tests.support import assertions

_SELECTIONS = ("keyword", "markexpr", "deselect", "lf", "last_failed", "stepwise")
# Advice that torch.Tensor's own methods give where the specification asks for just that.
_ADVICE = (
    "ignore:Using backward\\(\\) with create_graph=True:UserWarning",
    "ignore:The \\.grad attribute of a Tensor that is not a leaf:UserWarning",
)
_RUN = pytest.StashKey["Run"]()


class Run:
    """What one run of the suite knows: the implementation, the clauses and the outcomes."""

    def __init__(self, implementation: str, module: ModuleType, spec: Path) -> None:
        self.implementation = implementation
        self.module = module
        self.clauses = clauses.read(spec)
        self.rows = tables.read(spec)
        self.capabilities: dict[str, bool] = dict(module.spec_capabilities())
        self.result = Result(implementation, module, self.clauses, self.rows)
        self.gathering = Gathering(self.result)
        self.tests: list[Collected] = []
        self.files: set[Path] = set()
        # Some tests were left out by choice, or some files could not be read.
        self.selected = False
        self.broken = False
        self.full = False

    def lacking(self, item: pytest.Item) -> str | None:
        """Return the capability that a test needs and the implementation lacks."""
        needed = [self.clauses[number].capability for number in clauses_of(item)]
        for mark in item.iter_markers("clause"):
            needed += mark.kwargs.get("needs", ())
        for name in needed:
            if name and not self.capabilities.get(name, False):
                return name
        return None


def run_of(config: pytest.Config) -> Run:
    """Return the run that ``--impl`` began."""
    return config.stash[_RUN]


def clauses_of(item: pytest.Item) -> list[str]:
    """Return the numbers of the clauses that a test asks for."""
    return [number for mark in item.iter_markers("clause") for number in mark.args]


def functions_of(item: pytest.Item) -> list[str]:
    """Return the keys of the rows that a test asks for."""
    return [key for mark in item.iter_markers("function") for key in mark.args]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("spec_tests", "conformance to the specification")
    group.addoption("--impl", metavar="MODULE", help="the implementation, by its importable name")
    group.addoption("--result", metavar="FILE", help="write the results to FILE as JSON")
    group.addoption(
        "--spec",
        metavar="DIRECTORY",
        default=str(clauses.SPEC_DIRECTORY),
        help="the chapters to ask for (default: those of this package)",
    )
    group.addoption(
        "--quick",
        action="store_true",
        help="of tests with very many cases run some, each in one dtype, for an implementation "
        "that compiles",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clause(*ids, needs=()): what the test asks for")
    config.addinivalue_line("markers", "rows(chapter, where=None): asked of each row of a table")
    config.addinivalue_line("markers", "function(key): the row of a table that is asked for")
    config.addinivalue_line("markers", "sampled(every): with --quick, one case in so many is run")
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
    config.pluginmanager.register(run.gathering)
    for line in ("error", *_ADVICE):
        config.addinivalue_line("filterwarnings", line)
    config.option.strict_markers = True


def pytest_report_header(config: pytest.Config) -> list[str]:
    run = config.stash.get(_RUN, None)
    if run is None:
        return []
    return [f"specification {clauses.SPEC_VERSION}, implementation {run.result.describe()}"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    run = metafunc.config.stash.get(_RUN, None)
    if run is None:
        return
    for mark in metafunc.definition.iter_markers("rows"):
        metafunc.parametrize("row", _parameters(run, *mark.args, **mark.kwargs))
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
        ids, functions = clauses_of(item), functions_of(item)
        run.result.collected(name_of(item), ids, functions)
        run.tests.append((item.nodeid, name_of(item), ids, functions))


def pytest_runtest_setup(item: pytest.Item) -> None:
    run = item.config.stash.get(_RUN, None)
    if run is None:
        return
    assertions.expect_dtype(None)
    lacking = run.lacking(item)
    if lacking:
        item.user_properties.append(("unsupported", lacking))
        pytest.skip(f"unsupported: {run.implementation} lacks {lacking}")
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
    if report.failed:
        wanted = [run.clauses[number] for number in clauses_of(item)]
        name = run.implementation
        report.longrepr = explained(item, call.excinfo, wanted, name, report.longrepr)
    why = _first_line(call.excinfo) if report.failed else _reason(report)
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
    whole = full and not session.shouldstop and not session.shouldfail
    run.result.finish(whole and exitstatus != pytest.ExitCode.INTERRUPTED)
    missing = run.result.untested or run.result.untested_functions
    if missing and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    path = session.config.getoption("--result")
    if path:
        text = json.dumps(run.result.as_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    run = config.stash.get(_RUN, None)
    if run is None:
        return
    lacking = terminalreporter.stats.get("unsupported", [])
    if lacking:
        terminalreporter.section("unsupported")
        names = sorted({name for report in lacking for _, name in report.user_properties})
        terminalreporter.line(f"{len(lacking)} tests need {', '.join(names)}: not passed")
    if run.result.untested:
        terminalreporter.section("clauses without a test", red=True)
        for number in run.result.untested:
            terminalreporter.line(f"{number} {run.clauses[number].title}")
    if run.result.untested_functions:
        terminalreporter.section("functions without a test", red=True)
        for key in run.result.untested_functions:
            terminalreporter.line(key)
    if run.rows:
        _summarize_functions(terminalreporter, run.result)
    counts = [f"{number} {status}" for status, number in run.result.counts().items()]
    device = run.result.device
    # With -q there is no header to say that these are not the results of a real device.
    emulation = f"; device {device['device']} (emulated)" if device["emulated"] else ""
    terminalreporter.line(f"clauses: {', '.join(counts)}{emulation}")


def _parameters(
    run: Run, chapter: str, where: Callable[[tables.Row], bool] | None = None
) -> list[Any]:
    chosen = [row for row in run.rows.values() if row.chapter == chapter]
    return [
        pytest.param(row, id=row.name, marks=pytest.mark.function(row.key))
        for row in chosen
        if where is None or where(row)
    ]


def _summarize_functions(terminalreporter: Any, result: Result) -> None:
    counts = [f"{number} {status}" for status, number in result.function_counts().items()]
    terminalreporter.line(f"functions: {', '.join(counts)}")
    failing = result.failing_functions()
    if failing:
        terminalreporter.line(f"functions that fail: {', '.join(failing)}")


def _faults(item: pytest.Item, run: Run) -> Generator[str, None, None]:
    ids = clauses_of(item)
    if not ids:
        yield f"{name_of(item).partition('[')[0]}: a test needs a clause, as in @clause('rnn-07')"
    for number in ids:
        if number not in run.clauses:
            yield f"{name_of(item).partition('[')[0]}: there is no clause {number}"
    for mark in item.iter_markers():
        if mark.name in ("skip", "xfail") and not mark.kwargs.get("reason") and not _text(mark):
            yield f"{name_of(item).partition('[')[0]}: {mark.name} needs a reason"


def _sample(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests without most cases of those that are marked; every test keeps one.

    Of two cases that differ by their dtype alone it is the one or the other, by turns.
    """
    others: dict[tuple[str, Any], list[pytest.Item]] = {}
    for item in items:
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        parameters.pop("dtype", None)
        case = tuple((name, repr(value)) for name, value in parameters.items())
        others.setdefault((name_of(item).partition("[")[0], case), []).append(item)
    seen: Counter[str] = Counter()
    kept = []
    for turn, ((name, _), alike) in enumerate(others.items()):
        mark = alike[0].get_closest_marker("sampled")
        if mark is None or seen[name] % mark.args[0] == 0:
            kept.append(alike[turn % len(alike)])
        seen[name] += 1
    return kept


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


def name_of(item: pytest.Item) -> str:
    """Return a test's name in result files."""
    # The node id of a file named by --pyargs begins with the `::`.
    return f"{item.path.name}::{item.nodeid.partition('::')[2]}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped:").removeprefix("Skipped").strip()
    return ""


def _first_line(excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    if excinfo is None:
        return "a skip or xfail needs a reason, or an xfail passed"
    if isinstance(excinfo.value, pytest.skip.Exception):
        return "a skip needs a reason"
    lines = str(excinfo.value).splitlines() or [""]
    prefix = "" if isinstance(excinfo.value, AssertionError) else f"{excinfo.typename}: "
    return prefix + lines[0]
