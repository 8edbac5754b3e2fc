"""Write ``sunspots.csv``: the mean number of sunspots in each year from 1700 to 2008.

Counted since Galileo's days and put together by the observatory in Zurich; the table is that of the
National Geophysical Data Center, in the public domain, as the package statsmodels ships it.

    python make_sunspots.py
"""

from pathlib import Path

from statsmodels.datasets import sunspots

if __name__ == "__main__":
    table = sunspots.load_pandas().data
    lines = [
        f"{year:.0f},{number:g}"
        for year, number in zip(table["YEAR"], table["SUNACTIVITY"], strict=True)
    ]
    text = "\n".join(["year,sunspots", *lines]) + "\n"
    Path(__file__).with_name("sunspots.csv").write_text(text, encoding="ascii")
