"""The report, the machine's description, and the comparison with what was kept."""

import json
from html.parser import HTMLParser

import pytest

from benchmarks import kept
from benchmarks.arithmetic import Spread
from benchmarks.machine import machine, settings, thread_environment
from benchmarks.report import page, write_report
from benchmarks.results import Blas, Entry, Fact, Failure, Measurement, Ratio, Results
from benchmarks.rows import KINDS, ROWS
from benchmarks.tables import means
from benchmarks.terminal import print_head, print_summary, said
from spec_tests.judge.written import BENCHMARK
from spec_tests.matrix.memory import memory_of

ROWS_OF_MEMORY = [row for row in ROWS if row.kind == "memory"]
CPUINFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
flags\t\t: fpu sse2 avx avx2 {wide}

processor\t: 1
model name\t: Another
"""


def value(median):
    return Spread(median, 0.9 * median, 1.1 * median)


def measured(row, factor=1.0, threads=(1, 2)):
    """What a row would give: the peer takes ``factor`` times as long as ours."""
    entries, ratios = [], []
    for count in threads:
        share = value(0.5) if row.flops else None
        entries.append(Entry("impl_numpy", count, value(2e-3 / count), 0.99, 9, share))
        entries.append(Entry("torch.nn", count, value(2e-3 * factor / count), 0.98, 9, share))
        ratios.append(Ratio("impl_numpy", "torch.nn", count, value(factor)))
    failures = [Failure("chainer", 1, "no <b>such</b> cell")]
    return Measurement(row, entries, ratios, {"impl_numpy": value(2.0)}, failures)


@pytest.fixture
def results():
    found = Results(machine(CPUINFO.format(wide="avx512f")), "2026-11-26 14:00 UTC", "run", [1, 2])
    found.measurements = [measured(row, 1.5) for row in ROWS]
    found.blas = [Blas("numpy", 1, value(9e10), True)]
    found.facts = {"impl_numpy": Fact({"numpy": "2.4.6"}, "CPU", False, ["openblas, 2 threads"])}
    found.missing = {"tinygrad": "FileNotFoundError: 'clang' & <more>"}
    return found


class Reader(HTMLParser):
    """Collects tags that are open, words, and addresses."""

    VOID = ("meta", "img", "br", "wbr", "link")

    def __init__(self):
        super().__init__()
        self.open, self.words, self.addresses, self.identities = [], [], [], []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.addresses += [given[key] for key in ("src", "href") if key in given]
        self.identities += [given["id"]] if "id" in given else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_needs_nothing_else(results):
    reader = read(page(results))
    places = {f"#{identity}" for identity in reader.identities}
    for address in reader.addresses:
        own = address in places or address == "bench.json"
        assert own or address.startswith("data:image/svg+xml;base64,"), address[:80]
    assert {f"#{kind}" for kind in KINDS} <= places
    assert sum(address.startswith("data:") for address in reader.addresses) > 20


def test_the_page_says_what_was_found(results):
    words = " ".join(" ".join(read(page(results)).words).split())
    for expected in (
        "AMD EPYC family 26 model 2",
        "AVX-512",
        "openblas, 2 threads",
        "90.0",
        "FileNotFoundError: 'clang' & <more>",
        "no <b>such</b> cell",
        "min 1.50",
        "1.35–1.65",
    ):
        assert expected in words, expected


def test_results_of_an_emulation_say_so_wherever_they_stand(results):
    row = next(row for row in ROWS if row.kind == "launches")
    entry = Entry("impl_cupy", 1, Spread(49.0, 49.0, 49.0), 0.0, 1, emulated=True)
    results.measurements = [Measurement(row, [entry], [])]
    words = " ".join(read(page(results)).words)
    assert words.count("CPU emulation, no GPU code ran") == words.count("49") == 2


def test_the_page_of_a_run_that_found_nothing(results):
    results.measurements, results.blas, results.facts = [], [], {}
    assert "How it was measured" in " ".join(read(page(results)).words)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_one_kind_where_all_failed(kind, results):
    row = next(row for row in ROWS if row.kind == kind)
    results.measurements = [Measurement(row, [], [], {}, [Failure("impl_numpy", 1, "it broke")])]
    assert "it broke" in " ".join(read(page(results)).words)


def test_means(results):
    table = means(results)
    rows = {(row[0].text, row[1].text, row[2].text): row[3] for row in table.rows}
    cell = rows["Sequence layers, training: LSTM", "impl_numpy", "2"]
    assert (cell.text, cell.below, cell.good) == ("1.50", "min 1.50", True)
    results.measurements = [
        measured(row, factor)
        for row, factor in zip(
            [row for row in ROWS if (row.kind, row.name) == ("train", "GRU")][:2],
            [0.5, 8.0],
            strict=True,
        )
    ]
    cell = means(results).rows[0][3]
    assert (cell.text, cell.below, cell.good) == ("2.00", "min 0.50", False)


def test_the_file_for_programs(results, tmp_path):
    places = write_report(tmp_path / "report", results)
    assert [place.name for place in places] == ["bench.json", "bench.html"]
    content = json.loads(places[0].read_text())
    assert content["machine"]["instruction_set"] == "AVX-512"
    first = content["measurements"][0]
    assert first["row"]["shape"] == list(ROWS[0].shape)
    assert first["ratios"][0]["value"]["median"] == 1.5
    assert first["entries"][0]["efficiency"]["median"] == 0.5


def test_the_page_of_the_matrix_reads_the_file(results, tmp_path):
    content = BENCHMARK.read(write_report(tmp_path, results)[0])
    found = memory_of(content)
    assert found["threads"] == 1
    assert len(found["plots"]) == len({row.name for row in ROWS_OF_MEMORY}) + 2
    number = found["plots"][0].lines["impl_numpy"][ROWS_OF_MEMORY[0].shape[0]]
    assert number.median == 2e-3 / 2**20


def test_the_terminal_names_numbers_and_failures(results):
    lines = said(results.measurements[1])
    assert lines[0] == ROWS[1].key
    assert "2 ms" in lines[1]
    assert "efficiency 0.50" in lines[1]
    assert "CPU/wall 0.99" in lines[1]
    assert "torch.nn 1.50 (1.35–1.65)" in lines[1]
    assert lines[-1] == "  chainer cannot: no <b>such</b> cell"


def test_a_kind_that_a_peer_lacks_takes_no_line(results):
    measurement = results.measurements[1]
    measurement.failures[:] = [Failure("keras", 1, "has no cell")]
    assert not any("keras" in line for line in said(measurement))


def test_worse_and_better_by_the_share():
    then = {"a": 2.0, "b": 2.0, "c": 2.0, "d": 2.0, "gone": 1.0}
    now = {"a": 1.71, "b": 1.69, "c": 2.34, "d": 2.4, "new": 0.1}
    worse, better = kept.compare(now, then)
    assert worse == ["b: 0.84 times what was kept"]
    assert better == ["d: 1.20 times what was kept"]


def test_the_worst_comes_first():
    worse, _ = kept.compare({"a": 1.0, "b": 0.5}, {"a": 2.0, "b": 2.0})
    assert [line[0] for line in worse] == ["b", "a"]


def test_what_is_kept_is_found_again(results, tmp_path):
    assert kept.load(results.slug, tmp_path) == {}
    path = kept.keep(results, tmp_path)
    assert path.name == "amd-epyc-family-26-model-2.json"
    known = kept.load(results.slug, tmp_path)
    assert kept.compare(kept.figures(results), known["figures"]) == ([], [])
    results.settings = {"IMPL_TORCH_EXT_TARGET": "avx2"}
    assert kept.load(results.slug, tmp_path) == {}
    assert results.slug == "amd-epyc-family-26-model-2-avx2"
    results.measurements = [measured(row, 1.2) for row in ROWS]
    worse, better = kept.compare(kept.figures(results), known["figures"])
    assert len(worse) == len(ROWS) * 2
    assert better == []


def test_more_memory_and_more_launches_are_worse(results):
    rows = [row for row in ROWS if row.kind in ("memory", "launches")]
    results.measurements = [measured(row, threads=(1,)) for row in rows]
    then = kept.figures(results)
    for measurement in results.measurements:
        entry = measurement.entries[0]
        measurement.entries[0] = Entry("impl_numpy", 1, value(entry.value.median * 1.3), 0, 3)
    worse, _ = kept.compare(kept.figures(results), then)
    assert len(worse) == len(rows)


def test_keeping_a_part_leaves_the_rest(results, tmp_path):
    kept.keep(results, tmp_path)
    before = kept.load(results.slug, tmp_path)["figures"]
    results.measurements = [measured(ROWS[0], 9.0)]
    kept.keep(results, tmp_path)
    after = kept.load(results.slug, tmp_path)["figures"]
    assert before.keys() == after.keys()
    changed = [key for key in after if after[key] != before[key]]
    assert len(changed) == 2
    assert all(ROWS[0].key in key for key in changed)


def test_the_head_says_what_it_runs_on(results, capsys):
    results.settings = {"IMPL_TORCH_EXT_TARGET": "avx2"}
    print_head(results)
    head = capsys.readouterr().out
    for expected in (
        "family 26 model 2",
        "AVX-512",
        "1 and 2 threads",
        "IMPL_TORCH_EXT_TARGET=avx2",
    ):
        assert expected in head


def test_the_summary_prints_what_is_worse(results, capsys, tmp_path):
    results.kept, results.worse = "yesterday on a processor", ["train: 0.50 times what was kept"]
    print_summary(results, [tmp_path])
    said_ = capsys.readouterr().out
    assert "worse: train: 0.50 times what was kept" in said_
    assert "not measured: tinygrad: FileNotFoundError" in said_
    assert str(tmp_path) in said_


@pytest.mark.parametrize(
    ("wide", "known"), [("avx512f avx512vl", "AVX-512"), ("", "AVX2")], ids=["wide", "narrow"]
)
def test_the_processor(wide, known):
    found = machine(CPUINFO.format(wide=wide))
    assert (found.processor, found.instruction_set) == ("AMD EPYC family 26 model 2", known)
    assert found.cores >= 1


def test_a_processor_that_linux_does_not_describe():
    found = machine("")
    assert found.processor
    assert found.instruction_set == "unknown"
    assert machine("Features\t: fp asimd").instruction_set == "NEON"


def test_settings_are_those_that_choose_kernels():
    given = {
        "OMP_WAIT_POLICY": "passive",
        "IMPL_TORCH_EXT_TARGET": "avx2",
        "HOME": "/",
        "LANG": "C",
    }
    assert settings(given) == {"IMPL_TORCH_EXT_TARGET": "avx2", "OMP_WAIT_POLICY": "passive"}


def test_threads():
    assert thread_environment(3)["OMP_NUM_THREADS"] == "3"
    assert "XLA_FLAGS" not in thread_environment(3)
    assert "=1" in thread_environment(1)["XLA_FLAGS"]
