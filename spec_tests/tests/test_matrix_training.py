"""The page's parts on training and memory, from what the comparison and the benchmark write."""

import base64
import gzip
import html
import json
import math
import re
from dataclasses import asdict

import page_sample
import pytest

from spec_tests.compare import reading
from spec_tests.judge.written import BENCHMARK
from spec_tests.matrix.__main__ import main
from spec_tests.matrix.merge import merge

pytest.importorskip("jinja2", reason="the page is made with Jinja2, of the extra `compare`")

from spec_tests.matrix.memory import memory_of
from spec_tests.matrix.page import as_page

EMULATED = "CPU emulation, no GPU code ran"


@pytest.fixture(scope="module")
def results():
    return [page_sample.one("impl_right")]


@pytest.fixture(scope="module")
def text(results):
    parts = page_sample.parts()
    return as_page(merge(results), results, training=parts["training"], memory=parts["memory"])


def part(text, name):
    found = text[text.index(f'id="{name}-part"') :]
    return found[: found.index("</section>")]


def table(text):
    """Return the rows of the first table of numbers: the words of each cell."""
    body = text[text.index('<table class="numbers">') :]
    rows = re.findall(r"<tr.*?</tr>", body[: body.index("</table>")], re.DOTALL)
    return [
        [
            " ".join(re.sub(r"<(?!wbr)[^>]+>", " ", cell).replace("<wbr>", "").split())
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


def held(text, name):
    """Return the content of a file that the page holds."""
    packed = re.search(rf'id="{name}-file"[^>]*base64,([^"]+)"', text)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def test_the_table_of_training(text):
    head, *rows = table(part(text, "training"))
    names = ["workload", "impl_right", "impl_wrong", f"impl_emulated {EMULATED}"]
    assert head == [*names, "torch.nn, float64"]
    assert rows == [
        ["Accuracy on data not seen", ""],
        ["digits_rnn", "97.0%", "97.0%", "97.0%", "96.0%"],
        ["truecase_lstm", "97.0%", "–", "97.0%", "96.0%"],
        ["Milliseconds per step", ""],
        ["digits_rnn", "1 0.9–1.2", "2 1.8–2.4", "3 2.7–3.6", "–"],
        ["truecase_lstm", "1 0.9–1.2", "–", "3 2.7–3.6", "–"],
        ["Peak memory, MiB", ""],
        ["digits_rnn", "1.0", "2.0", "3.0", "–"],
        ["truecase_lstm", "1.0", "–", "3.0", "–"],
    ]


def test_the_curves_and_what_is_seen(text):
    found = part(text, "training")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", found, re.DOTALL)
    assert found.count("data:image/svg+xml;base64,") == len(captions) == 4
    assert "Training loss of digits_rnn by step, from 2.25 at the start" in captions[0]
    assert "impl_right stays within it (uses 12.5% of it at most)" in captions[1]
    assert all(f"impl_emulated: {EMULATED}" in caption for caption in captions)
    assert "Handwritten digits, read row by row: RNN" in found
    assert page_sample.HOSTILE not in found
    assert html.escape(page_sample.HOSTILE, quote=False).split("&")[0] in found


def test_memory_over_the_length(text):
    found = part(text, "memory")
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", found, re.DOTALL)
    assert found.count("data:image/svg+xml;base64,") == len(captions) == 3
    assert "a training step of GRU, in MiB: impl_right 64 at T = 64, 1024 at 1024" in captions[0]
    assert "sqrt" in captions[2]
    head, *rows = table(found)
    assert head == ["MiB at T =", "64", "256", "1024"]
    names = ["impl_right", f"impl_emulated {EMULATED}", "torch.nn"]
    assert rows == [[name, "64 64–64", "256 256–256", "1024 1024–1024"] for name in names]
    assert page_sample.HOSTILE not in found


@pytest.mark.parametrize("name", ["training", "memory"])
def test_each_number_leads_to_its_json_environment_and_command(text, name):
    found, content = part(text, name), held(text, name)
    numbers = re.findall(
        r"<a class=\"measured\" href=\"#([^\"]+)\"[^>]*data-places='([^']+)'", found
    )
    assert len(numbers) >= 20
    for where, places in numbers:
        section = found[found.index(f'id="{where}"') :]
        assert "python -m" in section[: section.index("</details>")]
        for place in json.loads(html.unescape(places)):
            value = content
            for key in place:
                value = value[key]
            assert value


def test_the_files_are_held(text):
    content, _ = page_sample.comparison()
    assert held(text, "training") == content
    kept, whole = held(text, "memory"), page_sample.benchmark()
    assert kept["measurements"] == whole["measurements"][:9]
    assert kept["machine"] == whole["machine"]


def test_a_page_without_them_says_nothing_of_them(results):
    alone = as_page(merge(results), results)
    assert 'href="#training"' not in alone
    assert 'href="#memory"' not in alone


def test_a_broken_promise_is_told(results):
    content, report = page_sample.comparison()
    report.verdicts[0] = type(report.verdicts[0])("Every process finishes", False, "one did not")
    found = part(as_page(merge(results), results, training=(content, report)), "training")
    assert "s-failed" in found
    assert "Not kept: every process finishes" in found
    assert "s-passed" not in found


def test_a_comparison_without_a_reference(results):
    content, report = page_sample.comparison()
    report.reference.clear()
    found = part(as_page(merge(results), results, training=(content, report)), "training")
    assert table(found)[0][-1] == f"impl_emulated {EMULATED}"
    assert found.count("<figure>") == 2


def test_a_benchmark_without_rows_of_memory(results):
    content = {**page_sample.benchmark(), "measurements": []}
    assert memory_of(content)["plots"] == []
    found = part(as_page(merge(results), results, memory=content), "memory")
    assert "has no rows of memory" in found
    assert "<img" not in found


def test_the_report_is_read_back(tmp_path):
    content, report = page_sample.comparison()
    content["workloads"]["digits_rnn"]["impl_right"]["losses"] = [None, 0.5]
    path = tmp_path / "compare.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    found, again = reading.read(path)
    assert found == content
    training = again.workloads["digits_rnn"].pop("impl_right")
    assert math.isnan(training.losses[0])
    assert training.losses[1] == 0.5
    del report.workloads["digits_rnn"]["impl_right"]
    assert asdict(again) == asdict(report)


def spoiled(content):
    """Return texts that are no such file, with what is said of them."""
    key = "provenance" if "provenance" in content else "machine"
    without = {name: value for name, value in content.items() if name != key}
    other = {**content, "spec_version": "2031.1"}
    return {
        "{": "cannot be read",
        "[]": "is no file of `nox -s ",
        json.dumps({**content, "kind": "accuracy"}): "is no file of `nox -s ",
        json.dumps(without): "is no file of `nox -s ",
        json.dumps({**content, "format": 2}): "has format 2, this program reads 1",
        json.dumps(other): "is of version 2031.1 of the specification",
    }


@pytest.mark.parametrize("name", ["training", "memory"])
def test_what_is_no_such_file_is_refused_in_one_line(name, tmp_path, capsys):
    (path, *_) = page_sample.write(tmp_path)
    target, given = tmp_path / "page.html", tmp_path / "given.json"
    content = {"training": page_sample.comparison()[0], "memory": page_sample.benchmark()}[name]
    for text, reason in spoiled(content).items():
        given.write_text(text, encoding="utf-8")
        assert main([str(path), f"--{name}", str(given), "--html", str(target)]) == 2
        said = capsys.readouterr().err
        assert reason in said
        assert said.count("\n") == 1
        assert not target.exists()
    given.write_text(json.dumps(content), encoding="utf-8")
    assert main([str(path), f"--{name}", str(given), "--html", str(target)]) == 0
    assert f'id="{name}-part"' in target.read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main([str(path), f"--{name}", str(given)])
    assert f"--{name} is for the page" in capsys.readouterr().err


def test_a_report_with_other_fields_is_refused(tmp_path):
    content, _ = page_sample.comparison()
    path = tmp_path / "compare.json"
    for change in (
        {"provenance": None},
        {"provenance": {"created": "today"}},
        {"workloads": {"digits_rnn": {"impl_right": {"losses": []}}}},
        {"workloads": {"digits_rnn": []}},
    ):
        path.write_text(json.dumps({**content, **change}), encoding="utf-8")
        with pytest.raises(ValueError, match="is no file of `nox -s compare`"):
            reading.read(path)


def test_files_of_accuracy_of_another_specification_are_refused(results):
    other = [{**page_sample.accuracy()[0], "spec_version": "2031.1"}]
    with pytest.raises(ValueError, match=r"accuracy of impl_right: is of version 2031\.1"):
        as_page(merge(results), results, other)


def test_the_file_says_what_it_is():
    assert BENCHMARK.head() == {
        "format": 1,
        "kind": "benchmark",
        "spec_version": merge([page_sample.one("impl_right")]).spec_version,
    }
