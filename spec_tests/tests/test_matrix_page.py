"""The page of the matrix: every row is there, printed text stays text, nothing is fetched."""

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import page_sample
import pytest

from spec_tests.matrix.__main__ import main
from spec_tests.matrix.merge import KINDS, STATES, merge

pytest.importorskip("jinja2", reason="the page is made with Jinja2, of the extra `compare`")

from spec_tests.matrix.page import MARKS, as_page
from spec_tests.matrix.prose import as_html


class Page(HTMLParser):
    """What a page has: elements with their attributes, and the text of each cell by row."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.cells, self.ids, self.text = [], {}, [], []
        self._row, self._cell, self._raw = None, None, None
        self.raw = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "tr":
            self._row = found.get("id")
        if tag == "td" and self._row:
            self.cells.setdefault(self._row, []).append("")
            self._cell = self._row
        if tag in ("script", "style"):
            self._raw = found.get("id", tag)

    def handle_endtag(self, tag):
        if tag == "td":
            self._cell = None
        if tag in ("script", "style"):
            self._raw = None

    def handle_data(self, data):
        if self._raw:
            self.raw[self._raw] = self.raw.get(self._raw, "") + data
            return
        self.text.append(data)
        if self._cell:
            self.cells[self._cell][-1] += data


@pytest.fixture(scope="module")
def results():
    return page_sample.results()


@pytest.fixture(scope="module")
def text(results):
    return as_page(merge(results), results, **page_sample.parts())


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def line(text, name):
    """Return the words of an implementation's line at the top."""
    top = text[text.index('id="totals"') : text.index("</ul>")]
    (found,) = [one for one in top.split("<li>") if f"<b>{name}</b>" in one]
    return " ".join(re.sub("<[^>]+>", " ", found).split())


def test_every_row_is_there_with_a_cell_for_each_implementation(results, page):
    matrix = merge(results)
    wanted = [re.sub(r"[^\w.=:-]+", "_", key) for kind in KINDS for key in matrix.rows(kind)]
    assert len(wanted) > 1500
    assert len(set(page.ids)) == len(page.ids)
    assert sorted(page.cells) == sorted(wanted)
    assert {len(cells) for cells in page.cells.values()} == {len(results)}


def test_a_state_is_a_sign_and_a_word_or_a_share(page):
    for row, cells in page.cells.items():
        for cell in cells:
            assert re.fullmatch(r"\S+ (\d+/\d+|passed|(\d+/\d+ )?[a-z]+)", cell.strip()), row
    assert page.cells["ops.sin"][:2] == ["✓ 7/7", "✗ 0/7 failed"]
    assert page.cells["errors-01"][1] == "✗✗ crashed"
    assert set(MARKS) == set(STATES)
    assert len(set(MARKS.values())) == len(STATES)


def test_an_incomplete_run_is_never_a_result(results, text, page):
    cut = page_sample.NAMES.index("impl_cut")
    assert {cells[cut].strip() for cells in page.cells.values()} == {"… incomplete"}
    said = line(text, "impl_cut")
    assert "incomplete no result: not all tests of the suite were asked for" in said
    assert "passed" not in said
    assert not re.search(r"\d+ of \d+", said)
    alone = [content for content in results if content["implementation"] == "impl_cut"]
    assert "✓" not in "".join(Page(as_page(merge(alone), alone)).cells["ops.sin"])


def test_the_line_of_each_implementation(text):
    right = "passed passed: 277 of 277 functions 471 of 471 clauses"
    assert right in line(text, "impl_right")
    wrong = line(text, "impl_wrong")
    assert "✗ failed" in wrong
    assert "5 failed" in wrong
    assert "1 crashed" in wrong
    assert "emulated: no GPU ran this" in line(text, "impl_emulated")
    part = line(text, "impl_part")
    assert "passed in part" in part
    assert "1 xfailed" in part
    assert re.search(r"\d+ unsupported", part)


def test_what_a_test_printed_stays_text(text, page):
    # In the list of what did not pass it is escaped, and nowhere an element of the page.
    assert page_sample.HOSTILE.strip() in "".join(page.text)
    assert "<script>window.broken" not in text
    assert not [one for one in page.elements if one[0] == "b" and "bold" in one[1]]
    scripts = [found for tag, found in page.elements if tag == "script"]
    assert len(scripts) == 3
    json.loads(page.raw["about"])


def test_an_implementation_whose_name_is_markup():
    one = page_sample.one("<img src=x onerror=alert(1)>")
    found = Page(as_page(merge([one]), [one]))
    assert "img" not in {tag for tag, _ in found.elements}


def test_nothing_is_fetched(text, page):
    for tag, found in page.elements:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        source = found.get("src", "")
        assert not source or (tag == "img" and source.startswith("data:image/svg+xml;base64,"))
        if "href" in found:
            assert found["href"].startswith(("#", "data:"))
    assert "@import" not in text
    assert "url(" not in page.raw["style"]
    assert "fetch(" not in page.raw["script"]
    policy = next(f["content"] for t, f in page.elements if f.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_every_link_has_its_end(page):
    for _, found in page.elements:
        href = found.get("href", "")
        if href.startswith("#"):
            assert href[1:].partition("@")[0] in page.ids


def test_the_files_are_in_the_page_whole(results, page):
    held = {
        found["download"]: found["href"].partition(",")[2]
        for tag, found in page.elements
        if tag == "a" and found.get("href", "").startswith("data:application/gzip")
    }
    for content in results:
        packed = base64.b64decode(held[f"{content['implementation']}.json.gz"])
        assert json.loads(gzip.decompress(packed)) == content


def test_environment_and_command_of_each_run(text):
    for name in page_sample.NAMES:
        section = text[text.index(f'id="environment-{name}"') :]
        section = section[: section.index("</section>")]
        for wanted in ("Linux-6.1", "numpy 2.4.6", f"--impl {name} -k &#39;a or b&#39;"):
            assert wanted in section


def test_the_text_of_each_clause_is_there(results, page):
    for number in merge(results).clauses:
        assert f"text-{number}" in page.ids
    other = [{**results[0], "spec_version": "2031.1"}]
    assert "of another version of the specification" in as_page(merge(other), other)


def test_the_same_files_make_the_same_page(results, text):
    assert as_page(merge(results), results, **page_sample.parts()) == text


def test_files_of_an_older_suite_make_a_page(results):
    old = {key: value for key, value in results[0].items() if key not in ("environment", "seed")}
    for kind in ("transforms", "options"):
        del old[kind]
    found = Page(as_page(merge([old]), [old]))
    assert "transforms" not in found.ids
    assert found.cells["ops-01"] == ["✓ passed"]


def test_the_command_writes_the_page(tmp_path, capsys):
    right, wrong, *_ = map(str, page_sample.write(tmp_path / "files"))
    target = tmp_path / "out" / "page.html"
    assert main([right, "--html", str(target)]) == 0
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert main([right, wrong, "--html", str(target)]) == 1
    assert main([right, "--html", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("one\ntwo\n\n`x<y`", "<p>one two</p>\n<p><code>x&lt;y</code></p>"),
        ("so:\n- a\n  b\n- c\nend", "<p>so:</p>\n<ul><li>a b</li><li>c</li></ul>\n<p>end</p>"),
        ("```\nx = 1\n\ny < 2\n```", "<pre>x = 1\n\ny &lt; 2</pre>"),
        (
            "| a | b |\n| --- | --- |\n| 1 | 2 |",
            '<div class="scroll"><table class="plain"><tr><th>a</th><th>b</th></tr>'
            "<tr><td>1</td><td>2</td></tr></table></div>",
        ),
    ],
)
def test_the_prose_of_clauses(markdown, html):
    assert as_html(markdown) == html


def test_the_heat_map(text, results):
    table = text[text.index('<table class="heat">') :]
    table = table[: table.index("</table>")]
    rows = re.findall(r'<tr data-key="([^"]+)">(.*?)</tr>', table, re.DOTALL)
    files = page_sample.accuracy()
    assert [key for key, _ in rows] == list(files[0]["functions"])
    cells = dict(rows)
    # Three alone, and three pairs.
    assert {content.count("<td") for content in cells.values()} == {6}
    middle, high, largest = files[1]["functions"]["ops.sin"]["ulp"]
    told = f"median {middle}, 99.9% {high}, largest {largest}"
    assert f'title="{told}">{high:.2f}</td>' in cells["ops.sin"]
    assert page_sample.HOSTILE not in text
    assert cells["ops.cos"].count('class="none"') == 6
    assert 'href="#ops.sin"' in cells["ops.sin"]
    assert "emulated" in table
    for file in files:
        section = text[text.index(f'id="accuracy-{file["implementation"]}"') :]
        packed = re.search(r'base64,([^"]+)"', section)
        held = json.loads(gzip.decompress(base64.b64decode(packed[1])))
        assert held["functions"]["ops.sin"]["ulp"] == file["functions"]["ops.sin"]["ulp"]
        assert " ".join(file["command"]) in section
    part = text[text.index('id="accuracy-part"') : text.index('id="training-part"')]
    assert part.count("<figure>") == 5
    assert "Accuracy" not in as_page(merge(results), results)


def test_files_of_accuracy_are_for_the_page(tmp_path, capsys):
    (path, *_) = page_sample.write(tmp_path)
    measured = tmp_path / "accuracy.json"
    measured.write_text(json.dumps(page_sample.accuracy()[0]), encoding="utf-8")
    page = tmp_path / "page.html"
    assert main([str(path), "--accuracy", str(measured), "--html", str(page)]) == 0
    assert '<table class="heat">' in page.read_text(encoding="utf-8")
    assert main([str(path), "--accuracy", str(path), "--html", str(page)]) == 2
    assert "is no file of `spec-tests accuracy`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(path), "--accuracy", str(measured)])
    assert "--accuracy is for the page" in capsys.readouterr().err
