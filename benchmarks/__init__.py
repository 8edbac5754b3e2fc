"""Times of the four implementations and of their peers, taken in turns: ``python -m benchmarks``.

From the ground up: `rows` (what is measured), `arithmetic` (what is made of the numbers),
`machine` (what it ran on), `peers` (who is measured), `worker` (the process that works, in the
peer's own environment), `processes` (what starts it and asks it), `turns` (who works when), `bench`
(row by row), `results`, `kept` (the comparison with earlier results), `plots`, `report`.

Importing the package, its `options` or `peers.table` needs the standard library alone.
"""

__all__: list[str] = []
