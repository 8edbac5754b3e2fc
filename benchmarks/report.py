"""Write the report: ``bench.json`` for programs, ``bench.html`` for people."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from benchmarks.kept import WORSE
from benchmarks.results import Results
from benchmarks.rows import SGEMM
from benchmarks.tables import means, sections
from spec_tests.judge.written import BENCHMARK

__all__ = ["page", "write_report"]

TEMPLATE = Path(__file__).parent / "page.html.j2"


def write_report(out: Path, results: Results) -> list[Path]:
    """Write both files and return their places."""
    out.mkdir(parents=True, exist_ok=True)
    places = [out / "bench.json", out / "bench.html"]
    text = json.dumps({**BENCHMARK.head(), **asdict(results)}, indent=1, allow_nan=False)
    places[0].write_text(text + "\n", encoding="utf-8")
    places[1].write_text(page(results), encoding="utf-8")
    return places


def page(results: Results) -> str:
    """Return the page, one file that needs no other."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("spec_tests.compare").joinpath("page.css")
    given: dict[str, Any] = {
        "style": markupsafe.Markup(style.read_text(encoding="utf-8")),
        "results": results,
        "means": means(results),
        "sections": sections(results),
        "worse": f"{WORSE:.0%}",
        "product": " x ".join(map(str, SGEMM.shape)),
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(**given)
