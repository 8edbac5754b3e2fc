"""The floor plan that every implementation keeps to, and what its sources say of it.

    python spec_tests/tests/rooms.py

prints the table of rooms by implementation, with lines.
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMPLEMENTATIONS = ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp")

# From the ground up: a room may import itself and the rooms before it. Those of some
# implementations alone are in `ONLY`, and those that one lacks in `LACKS`.
ROOMS = (
    "backend dtypes random capabilities tracing checks grad_checks operands launch native sums "
    "buffers memory tape engine recording protocols tensor creation ops xp pytree context followed "
    "function_vjp replay function_node function_transformed function trees autograd parameter "
    "module init nn rnn explain loss optim serialization data"
).split()
ONLY = {
    "backend": "impl_cupy",
    "launch": "impl_cupy",
    "xp": "impl_cupy",
    "native": "impl_torch_ext",
    "tracing": "impl_torch_ext",
    "replay": "impl_torch_ext",
    "function_transformed": "impl_torch_ext",
    "sums": "impl_numpy impl_cupy",
    "grad_checks": "impl_numpy",
    "operands": "impl_numpy",
    "buffers": "impl_numpy",
    "memory": "impl_numpy impl_cupy",
    "protocols": "impl_numpy impl_cupy impl_jax_vjp",
    "pytree": "impl_jax_vjp",
    "followed": "impl_jax_vjp",
    "function_vjp": "impl_jax_vjp",
    "rnn/steps": "impl_numpy",
    "ops/lookups": "impl_jax_vjp",
    "ops/formulas": "impl_jax_vjp",
    "ops/operands": "impl_torch_ext",
    "ops/plans": "impl_jax_vjp",
    "ops/factors": "impl_jax_vjp",
    "ops/matrices": "impl_cupy",
    "ops/eigenvalues": "impl_cupy",
    "ops/transforms": "impl_cupy",
}
LACKS = {"impl_torch_ext": {"tape", "engine", "recording"}}

# The files of a folder, in the order in which they may import each other.
FOLDERS = {
    "ops": (
        "lookups formulas operands families plans elementwise transcendental rounding complexes "
        "comparison reduction recurrence products manipulation movement indexing places einsum "
        "sorting creation matrices factors decompositions eigenvalues solving linalg transforms "
        "fft activation inspection"
    ).split(),
    "autograd": "modes anomaly saved graph transforms derivatives jit checkpoint vmap".split(),
    "module": "state hooks base functional summary".split(),
    "nn": (
        "layer activation linear embedding window conv pool norm dropout attention shape container"
    ).split(),
    "rnn": "equations lengths packed steps fused cell variants layer unroll exchange".split(),
    "loss": "reduction regression classification embedding sequence".split(),
    "optim": "optimizer algorithms lbfgs growth lr_scheduler clip".split(),
    "serialization": "files checkpoint".split(),
}
# Folders of sources that are not Python, beside the rooms.
OTHER = {"impl_cupy": {"kernels"}}

MAX_FILE, MAX_FUNCTION, MAX_ENGINE = 500, 50, 30
# The line that opens a function's body, in the format of .clang-format; not that of a statement.
CPP_FUNCTION = re.compile(
    r"^(?P<indent> *)(?!\s|if |for |while |switch |else|do |namespace |struct |class |\} ).*\)"
    r"(?: const| noexcept| override| mutable| -> [^{]+)* \{$"
)


def planned(name):
    """Return the rooms and files, as ``room`` or ``room/file``, that an implementation has."""
    every = [
        place
        for room in ROOMS
        for place in ([f"{room}/{file}" for file in FOLDERS[room]] if room in FOLDERS else [room])
    ]
    return [p for p in every if name in ONLY.get(p, name).split() and p not in LACKS.get(name, ())]


def places(source):
    """Return the path of each room of a package's sources, by ``room`` or ``room/file``."""
    return {
        path.relative_to(source).with_suffix("").as_posix(): path
        for path in sorted(source.rglob("*.py"))
        if path.name != "__init__.py"
    }


def misplaced(source):
    """Return a line for each room that is not in the plan, or is missing from it."""
    wanted, there = set(planned(source.name)), set(places(source))
    folders = {path.parent.name for path in source.glob("*/__init__.py")}
    return [
        *(f"{place} is not in the plan" for place in sorted(there - wanted)),
        *(f"{place} is missing" for place in sorted(wanted - there)),
        *(f"{room}/ is not in the plan" for room in sorted(folders - set(FOLDERS))),
    ]


def not_for_types(tree):
    """Return the nodes of a tree without what stands under ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield other
                yield from not_for_types(other)
        else:
            yield node
            yield from not_for_types(node)


def own_imports(source, path):
    """Return what a file imports of its own package: tuples of names, empty for the package.

    Imports inside functions and by `importlib.import_module` with a constant count.
    """
    package = [source.name, *path.relative_to(source).parts[:-1]]
    for node in not_for_types(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *(node.module or "").split(".")] if node.module else above
            names = [[*base, alias.name] for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rpartition(".")[2]
            if called in ("import_module", "__import__"):
                names = [str(node.args[0].value).split(".")]
        for name in names:
            if name[0] == source.name:
                yield tuple(name[1:])


@dataclass(frozen=True, order=True)
class Passage:
    """One room's import of another; both are ``room`` or ``room/file``."""

    start: str
    end: str


def passages(source):
    """Return every import of one room by another, without repeats."""
    rooms = {place.partition("/")[0] for place in places(source)} | {
        path.parent.name for path in source.glob("*/__init__.py")
    }
    seen = set()
    for place, path in places(source).items():
        room = place.partition("/")[0]
        for name in own_imports(source, path):
            if not name or name[0] not in rooms:
                end = "__init__"
            elif name[0] != room or place == room:
                end = name[0]
            else:
                within = "/".join(name[:2])
                end = within if within in places(source) else f"{room}/__init__"
            if end != place:
                seen.add(Passage(place, end))
    return sorted(seen)


def wrong_ways(source):
    """Return a line for each import that goes up, or within a folder back."""
    ranks = {room: rank for rank, room in enumerate(ROOMS)}
    faults = []
    for way in passages(source):
        room, _, file = way.start.partition("/")
        end, _, other = way.end.partition("/")
        if end == room and file and other:
            order = FOLDERS.get(room, [])
            allowed = other in order and file in order and order.index(other) < order.index(file)
        else:
            allowed = end in ranks and room in ranks and ranks[end] < ranks[room]
        if not allowed:
            faults.append(f"{way.start} imports {way.end}")
    return faults


def cycles(source):
    """Return the places that reach themselves by imports, inside folders too."""
    onward = {}
    for way in passages(source):
        onward.setdefault(way.start, set()).add(way.end)
        if "/" in way.start:
            # Who imports a folder's room runs every file of it.
            onward.setdefault(way.start.partition("/")[0], set()).add(way.start)
    return sorted(place for place in onward if place in reached(onward, place))


def reached(onward, start):
    """Return what can be reached from a place in one step or more."""
    seen, waiting = set(), [start]
    while waiting:
        for place in onward.get(waiting.pop(), ()):
            if place not in seen:
                seen.add(place)
                waiting.append(place)
    return seen


def lines_of(path):
    """Return the number of a file's lines that are not blank."""
    return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def length(function):
    """Return the lines of a function without its decorators and docstring."""
    total = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        total -= docstring.end_lineno - docstring.lineno + 1
    return total


def bodies(text):
    """Yield the first line and the length of each function of formatted C++."""
    lines = text.splitlines()
    for start, line in enumerate(lines):
        opening = CPP_FUNCTION.match(line)
        closing = f"{opening['indent']}}}" if opening else None
        # A statement of several lines ends like a function's first line; nothing closes it there.
        if closing in lines[start:]:
            yield line.strip(), lines.index(closing, start) - start + 1


def too_long(path):
    """Return a line for a file, and for each function in it, that is longer than allowed."""
    text = path.read_text(encoding="utf-8")
    total = len(text.splitlines())
    faults = [f"{path.name}: {total} lines"] if total > MAX_FILE else []
    if path.suffix == ".py":
        limit = MAX_ENGINE if path.name == "engine.py" else MAX_FUNCTION
        faults += [
            f"{path.name}: {node.name} has {length(node)} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > limit
        ]
    else:
        faults += [
            f"{path.name}: {line} has {lines} lines"
            for line, lines in bodies(text)
            if lines > MAX_FUNCTION
        ]
    return faults


def table(root=ROOT):
    """Return the rooms by implementation, with lines that are not blank; exceptions are marked *.

    A folder is one line with its sum, followed by its files.
    """
    names = [name for name in IMPLEMENTATIONS if (root / name / "src" / name).is_dir()]
    sources = {name: places(root / name / "src" / name) for name in names}
    rows = []
    for room in ROOMS:
        files = [f"{room}/{file}" for file in FOLDERS.get(room, ())]
        if files:
            sums = [sum(lines_of(p) for k, p in sources[n].items() if k in files) for n in names]
            rows.append((f"{room}/", sums))
        for place in files or [room]:
            mark = " *" if place in ONLY or any(place in LACKS.get(n, ()) for n in names) else ""
            counts = [lines_of(sources[n][place]) if place in sources[n] else None for n in names]
            rows.append((("  " + place.partition("/")[2] if files else place) + mark, counts))
    rows.append(("all", [sum(map(lines_of, sources[name].values())) for name in names]))
    width = max(len(label) for label, _ in rows)
    head = f"{'room':{width}}" + "".join(f"{name:>16}" for name in names)
    body = [
        f"{label:{width}}" + "".join(f"{n or '-':>16}" for n in counts) for label, counts in rows
    ]
    return "\n".join([head, *body, "* an exception: not in all implementations"])


if __name__ == "__main__":
    print(table())
