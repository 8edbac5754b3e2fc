"""The comparison's report: verdicts, keys for programs, and the page for people."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from spec_tests.compare.data import make_data
from spec_tests.compare.findings import Failure, Provenance
from spec_tests.compare.report import EMULATED, write_report
from spec_tests.compare.results import Evidence, assemble, common_start, training_folder
from spec_tests.compare.terminal import print_report
from spec_tests.compare.workloads import PADDING, WORKLOADS, save_arrays
from spec_tests.judge.clauses import SPEC_VERSION

NAMES = ["impl_one", "impl_two"]
STEPS = 60
WORKLOAD = replace(WORKLOADS[0], steps=STEPS, float64_steps=STEPS)
EPS = float(np.finfo(np.float32).eps)


@pytest.fixture
def evidence(tmp_path):
    """Files as the processes leave them, of two implementations that keep every promise."""
    reference = 2.3 * np.exp(-np.arange(STEPS) / 20)
    for number, name in enumerate(NAMES, start=1):
        training(tmp_path, name, "float32", reference * (1 + number * EPS))
        training(tmp_path, name, "float64", reference * (1 + number * 1e-14))
        results = {
            "versions": {"python": "3.11.7", "numpy": "2.0.0"},
            "device": "CPU",
            "emulated": name == "impl_two",
            "workloads": {WORKLOAD.name: {"float32": summary(0.975), "float64": summary(0.975)}},
        }
        write(training_folder(tmp_path, name, WORKLOAD.name) / "results.json", results)
        clauses(tmp_path, name, {"tensor-01": "passed", "tensor-02": "passed"})
    folder = training_folder(tmp_path, "reference", WORKLOAD.name)
    write(folder / "results.json", {"versions": {}, "workloads": {WORKLOAD.name: summary(0.975)}})
    shadows = reference * (1 + EPS * np.linspace(-2, 2, 6)[:, None])
    final = {"final/head.bias": np.float64([0.25, 1 / 3])}
    arrays = {"losses": reference, "shadows": shadows, **final}
    save_arrays(folder / f"{WORKLOAD.name}.npz", arrays)
    return Evidence(tmp_path, NAMES, [WORKLOAD], [], suite=True, reference=True)


def training(out, name, dtype, losses, bias=(0.5, 0.125)):
    folder = training_folder(out, name, WORKLOAD.name)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "losses": losses,
        "seconds": np.linspace(0.001, 0.003, len(losses)),
        "initial/head.bias": np.array(bias, dtype),
        "final/head.bias": np.array([0.25, 1 / 3], dtype),
    }
    save_arrays(folder / f"{WORKLOAD.name}.{dtype}.npz", arrays)


def summary(accuracy):
    return {"final_accuracy": accuracy, "held_out_loss": 0.1, "peak_bytes": 4096}


def clauses(out, name, statuses):
    verdicts = {
        number: {"status": status, "title": "A title"} for number, status in statuses.items()
    }
    counts = {
        key: list(statuses.values()).count(key) for key in ("passed", "failed", "unsupported")
    }
    write(out / "clauses" / f"{name}.json", {"clauses": verdicts, "counts": counts, "versions": {}})


def functions(out, name, statuses):
    path = out / "clauses" / f"{name}.json"
    verdicts = {
        function: {"status": status, "tests": [], "why": "" if status == "passed" else "it is so"}
        for function, status in statuses.items()
    }
    content = json.loads(path.read_text(encoding="utf-8"))
    write(path, {**content, "functions": verdicts})


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def kept(report):
    return {verdict.promise.split()[0]: verdict.kept for verdict in report.verdicts}


def written(evidence):
    report = assemble(evidence)
    report.provenance = Provenance(
        created="2026-12-01 00:00 UTC",
        minutes=1,
        machine="a machine",
        command="python -m spec_tests.compare",
        processes_at_once=2,
        environment={"OMP_NUM_THREADS": "1"},
        data={},
        peak_bytes_is="memory",
    )
    write_report(evidence.out, report, evidence.workloads)
    page = (evidence.out / "index.html").read_text(encoding="utf-8")
    return json.loads((evidence.out / "compare.json").read_text(encoding="utf-8")), page


def test_two_that_agree_keep_every_promise(evidence):
    assert set(kept(assemble(evidence)).values()) == {True}


def test_the_keys_that_programs_read(evidence):
    content, _ = written(evidence)
    implementation = content["implementations"]["impl_two"]
    assert set(implementation) == {"versions", "device", "emulated", "quick", "clauses"}
    assert implementation["clauses"] == {"passed": 2, "failed": 0, "unsupported": 0}
    assert implementation["emulated"] is True
    head = {key: content[key] for key in ("kind", "format", "spec_version")}
    assert head == {"kind": "comparison", "format": 1, "spec_version": SPEC_VERSION}
    entry = content["workloads"][WORKLOAD.name]["impl_one"]
    assert set(entry) == {"losses", "final_accuracy", "seconds_per_step", "peak_bytes"}
    assert len(entry["losses"]) == STEPS
    assert entry["seconds_per_step"] == pytest.approx(0.002)
    assert (entry["final_accuracy"], entry["peak_bytes"]) == (0.975, 4096)
    final = content["agreement"][WORKLOAD.name]["final_ulp"]["to_reference"]["impl_one"]
    assert final == {"max": 0, "median": 0.0, "identical": True}


class Page(HTMLParser):
    """Collects what a browser would fetch, the images' texts, and unclosed elements."""

    EMPTY = frozenset({"meta", "br", "wbr", "img", "link", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.sources, self.alts, self.open, self.links, self.ids = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.ids += [named["id"]] if "id" in named else []
        if tag in ("img", "script", "link"):
            self.sources.append(named.get("src") or named.get("href"))
        if tag == "img":
            self.alts.append(named.get("alt", ""))
        if tag == "a":
            self.links.append(named["href"])
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(evidence):
    _, text = written(evidence)
    page = Page(text)
    assert page.open == []
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.sources)
    assert all(len(alt) > 40 and "impl_two" in alt for alt in page.alts)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not re.search(r"(src|href)=.https?:", text)
    assert "all 7 promises that were asked are kept" in text


def test_every_number_of_an_emulation_is_labelled(evidence):
    _, text = written(evidence)
    rows = re.findall(r"<tr><th scope=.row.>(.*?)</th>.*?</tr>", text, flags=re.DOTALL)
    of_two = [row for row in rows if "impl_two" in row and "~" not in row]
    assert len(of_two) == 5
    assert all(EMULATED in row for row in of_two)
    assert not any(EMULATED in row for row in rows if "impl_two" not in row)


def test_a_failed_clause_is_listed(evidence):
    clauses(evidence.out, "impl_one", {"tensor-01": "passed", "rnn-09": "failed"})
    content, text = written(evidence)
    assert [clause["id"] for clause in content["failed_clauses"]["impl_one"]] == ["rnn-09"]
    assert "<code>rnn-09</code>" in text
    assert "Failed clauses of impl_one" in text
    assert "1 of 7 promises were not kept" in text


def test_each_function_has_a_verdict(evidence):
    functions(evidence.out, "impl_one", {"ops.exp": "passed", "ops.tanh": "failed"})
    functions(evidence.out, "impl_two", {"ops.exp": "passed", "nn.LayerNorm": "unsupported"})
    content, text = written(evidence)
    assert content["functions"] == {
        "ops.exp": {name: {"status": "passed", "why": ""} for name in NAMES},
        "ops.tanh": {"impl_one": {"status": "failed", "why": "it is so"}},
        "nn.LayerNorm": {"impl_two": {"status": "unsupported", "why": "it is so"}},
    }
    assert "The 3 functions that the chapters list" in text
    assert "Failed functions of impl_one" in text
    assert "Failed functions of impl_two" not in text
    assert "– not asked" in text
    assert Page(text).open == []


def test_the_terminal_names_the_functions_that_failed(evidence):
    functions(evidence.out, "impl_one", {"ops.exp": "passed", "ops.tanh": "failed"})
    console = Console(file=io.StringIO(), width=110)
    print_report(console, assemble(evidence), [])
    (line,) = [row for row in console.file.getvalue().splitlines() if "ops.tanh" in row]
    assert [cell.strip() for cell in re.split("[│┃]", line)[1:-1]] == [
        "impl_one",
        "1",
        "1",
        "0",
        "ops.tanh",
    ]


def test_a_suite_that_asked_some_cases_says_so(evidence):
    path = evidence.out / "clauses" / "impl_one.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    write(path, said | {"quick": True})
    content, text = written(evidence)
    assert [content["implementations"][name]["quick"] for name in evidence.names] == [True, False]
    assert text.count("<td>2, quick</td>") == 1
    console = Console(file=io.StringIO(), width=110)
    print_report(console, assemble(evidence), [])
    assert console.file.getvalue().count("2, quick") == 1


def test_a_suite_without_result_does_not_pass(evidence):
    (evidence.out / "clauses" / "impl_one.json").unlink()
    report = assemble(evidence)
    assert kept(report)["Every"] is not None
    promises = {verdict.promise: verdict for verdict in report.verdicts}
    verdict = promises["Every clause of the specification is kept"]
    assert (verdict.kept, verdict.detail) == (False, "impl_one: no result")


@pytest.mark.parametrize(
    ("dtype", "error", "promise"),
    [
        ("float64", 2e-9, "Losses in float64"),
        ("float32", 2e-4, "Losses in float32"),
        ("float32", 1e-5, "No float32 curve"),
    ],
)
def test_a_wrong_curve_breaks_its_promise(evidence, dtype, error, promise):
    losses = 2.3 * np.exp(-np.arange(STEPS) / 20)
    losses[9] *= 1 + error
    training(evidence.out, "impl_two", dtype, losses)
    broken = [verdict.promise for verdict in assemble(evidence).verdicts if verdict.kept is False]
    assert any(line.startswith(promise) for line in broken)


def test_the_first_divergent_step_is_counted_from_one(evidence):
    losses = 2.3 * np.exp(-np.arange(STEPS) / 20)
    losses[30:] *= 1.001
    training(evidence.out, "impl_two", "float32", losses)
    divergence = assemble(evidence).agreement[WORKLOAD.name].divergence
    assert divergence["impl_two"].first_step == 31
    assert divergence["impl_one"].first_step is None
    _, text = written(evidence)
    assert "step 31" in text


def test_other_initial_parameters_break_a_promise(evidence):
    training(evidence.out, "impl_two", "float64", np.ones(STEPS), bias=(0.5, 0.125 + 2**-55))
    report = assemble(evidence)
    assert report.agreement[WORKLOAD.name].initial["float64"].ulp["impl_two"].max == 1
    assert kept(report)["One"] is False


def test_the_reference_starts_from_what_most_drew(evidence):
    names = ["impl_odd", *NAMES]
    training(evidence.out, "impl_odd", "float32", np.ones(STEPS), bias=(9.0, 9.0))
    start = common_start(evidence.out, names, WORKLOAD.name)
    assert start.parent.parent.name == "impl_one"
    assert common_start(evidence.out, ["impl_absent"], WORKLOAD.name) is None


def test_a_low_accuracy_breaks_a_promise(evidence):
    path = training_folder(evidence.out, "impl_two", WORKLOAD.name) / "results.json"
    results = json.loads(path.read_text())
    results["workloads"][WORKLOAD.name]["float32"]["final_accuracy"] = 0.92
    write(path, results)
    low = [verdict for verdict in assemble(evidence).verdicts if verdict.kept is False]
    assert [verdict.detail for verdict in low] == [
        f"closest of 2: 92.0% ({WORKLOAD.name} in impl_two)",
    ]


def test_a_failure_is_shown_and_loses_nothing_of_the_others(evidence):
    crash = Failure("impl_gone", WORKLOAD.name, "was ended by signal 11", "free(): <bad>")
    broken = replace(evidence, names=[*NAMES, "impl_gone"], failures=[crash])
    content, text = written(broken)
    assert content["workloads"][WORKLOAD.name]["impl_gone"] == {
        "losses": [],
        "final_accuracy": None,
        "seconds_per_step": None,
        "peak_bytes": None,
    }
    assert content["workloads"][WORKLOAD.name]["impl_one"]["final_accuracy"] == 0.975
    assert "impl_gone: digits_rnn was ended by signal 11" in text
    assert "free(): &lt;bad&gt;" in text
    assert content["verdicts"][0]["kept"] is False


def test_a_loss_that_is_no_number_becomes_null(evidence):
    losses = np.full(STEPS, np.nan)
    training(evidence.out, "impl_two", "float32", losses)
    content, text = written(evidence)
    assert content["workloads"][WORKLOAD.name]["impl_two"]["losses"] == [None] * STEPS
    assert "leaves it at step 1" in text


def test_data_are_the_same_each_time_and_split(tmp_path):
    workloads, first = make_data(tmp_path / "a")
    _, second = make_data(tmp_path / "b")
    assert [first[key]["sha256"] for key in first] == [second[key]["sha256"] for key in second]
    with np.load(tmp_path / "a" / "digits.npz") as digits:
        assert (len(digits["train"]), len(digits["held_out"])) == (1437, 360)
        assert not set(digits["train"]) & set(digits["held_out"])
        assert set(digits["batches"].ravel()) <= set(digits["train"])
        assert digits["images"].min() == 0
        assert digits["images"].max() == 1
        np.testing.assert_array_equal(digits["images"].astype(np.float32), digits["images"])
    with np.load(tmp_path / "a" / "pydoc.npz") as pydoc:
        length = int(pydoc["length"])
        assert pydoc["batches"].max() + length < pydoc["held_out"].min()
        assert pydoc["held_out"].max() + length < len(pydoc["tokens"])
        assert workloads[3].classes == len(pydoc["vocabulary"])
    with np.load(tmp_path / "a" / "truecase.npz") as lines:
        tokens, capitals = lines["tokens"], lines["capitals"]
        assert not set(lines["batches"].ravel()) & set(lines["held_out"])
        lengths = (tokens > 0).sum(axis=1)
        assert lengths.min() >= 8
        assert len(set(lengths)) > 30
        assert tokens.max() == workloads[-1].vocabulary - 1
        past = np.arange(tokens.shape[1]) >= lengths[:, None]
        np.testing.assert_array_equal(capitals == PADDING, past)
        np.testing.assert_array_equal(tokens == 0, past)
        assert np.all((capitals == 1).sum(axis=1) > 0)
