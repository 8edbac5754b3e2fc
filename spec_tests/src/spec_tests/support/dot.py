"""A reader of graphs in the language DOT, as strict as the program that draws them."""

import re
from itertools import pairwise
from typing import NamedTuple

_TOKEN = re.compile(
    r'\s*(?:(?P<name>"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|-?(?:\.\d+|\d+(?:\.\d*)?))'
    r"|(?P<sign>->|[{}\[\]=;,]))",
    re.DOTALL,
)
_KEYWORDS = {"node", "edge", "graph"}


class Graph(NamedTuple):
    """Labels by node, in their order, and the edges."""

    labels: dict[str, str]
    edges: list[tuple[str, str]]

    def into(self, node: str) -> list[str]:
        """Return what has an edge to a node."""
        return [start for start, end in self.edges if end == node]

    def ends(self) -> list[str]:
        """Return the nodes that nothing follows."""
        starts = {start for start, _ in self.edges}
        return [node for node in self.labels if node not in starts]

    def starts(self) -> list[str]:
        """Return the nodes that nothing comes before."""
        followers = {end for _, end in self.edges}
        return [node for node in self.labels if node not in followers]

    def named(self, *words: str) -> list[str]:
        """Return the nodes whose label has one of the words in it, whatever its case."""
        return [
            node
            for node, label in self.labels.items()
            if any(word.lower() in label.lower() for word in words)
        ]

    def leads(self, start: str, end: str) -> bool:
        """Return whether there is a way from a node to another one, or they are one."""
        onward: dict[str, list[str]] = {}
        for one, other in self.edges:
            onward.setdefault(one, []).append(other)
        seen, waiting = set(), [start]
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting.extend(onward.get(node, ()))
        return end in seen


class _Reader:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if not found:
                msg = f"this is no DOT: {text[at : at + 60]!r}"
                raise ValueError(msg)
            kind = "name" if found["name"] is not None else "sign"
            self.tokens.append((kind, found[kind]))
            at = found.end()
        self.tokens.reverse()

    def sees(self, sign: str) -> bool:
        return bool(self.tokens) and self.tokens[-1] == ("sign", sign)

    def take(self, sign: str) -> None:
        if not self.sees(sign):
            msg = f"DOT wants {sign!r}, got {self.tokens[-1:] or 'the end'}"
            raise ValueError(msg)
        self.tokens.pop()

    def name(self) -> str:
        if not self.tokens or self.tokens[-1][0] != "name":
            msg = f"DOT wants a name, got {self.tokens[-1:] or 'the end'}"
            raise ValueError(msg)
        text = self.tokens.pop()[1]
        return text if text.startswith('"') else text.strip()

    def attributes(self) -> dict[str, str]:
        found = {}
        while self.sees("["):
            self.take("[")
            while not self.sees("]"):
                key = plain(self.name())
                self.take("=")
                found[key] = plain(self.name())
                for sign in (",", ";"):
                    if self.sees(sign):
                        self.take(sign)
            self.take("]")
        return found


def plain(name: str) -> str:
    """Return a name without its quotes and with what its escapes stand for."""
    if not name.startswith('"'):
        return name
    meant = {"n": "\n", "l": "\n", "r": "\n"}
    return re.sub(r"\\(.)", lambda m: meant.get(m[1], m[1]), name[1:-1], flags=re.DOTALL)


def read(text: str) -> Graph:
    """Read a graph.

    Raises
    ------
    ValueError
        Where the text is not one ``digraph``, or an edge joins what is no node.
    """
    reader = _Reader(text)
    if reader.name() != "digraph":
        msg = f"a graph begins with digraph, got {text[:40]!r}"
        raise ValueError(msg)
    if not reader.sees("{"):
        reader.name()
    reader.take("{")
    graph = Graph({}, [])
    while not reader.sees("}"):
        _statement(reader, graph)
    reader.take("}")
    strange = [node for edge in graph.edges for node in edge if node not in graph.labels]
    if reader.tokens or strange:
        msg = f"nodes without a statement: {strange[:5]}; after the end: {reader.tokens[-5:]}"
        raise ValueError(msg)
    return graph


def _statement(reader: _Reader, graph: Graph) -> None:
    first = reader.name()
    if reader.sees("="):
        reader.take("=")
        reader.name()
    elif reader.sees("->"):
        ends = [plain(first)]
        while reader.sees("->"):
            reader.take("->")
            ends.append(plain(reader.name()))
        reader.attributes()
        graph.edges.extend(pairwise(ends))
    else:
        attributes = reader.attributes()
        if first not in _KEYWORDS:
            node = plain(first)
            if node in graph.labels:
                msg = f"node {node} stands there twice"
                raise ValueError(msg)
            graph.labels[node] = attributes.get("label", node)
    if reader.sees(";"):
        reader.take(";")
