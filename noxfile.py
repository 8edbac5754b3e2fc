"""Each implementation in an environment of its own; the tests, the comparison, the benchmark."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["numpy", "cupy", "torch_ext", "jax_vjp", "meta", "style", "typing"]

ROOT = Path(__file__).parent
REPORT = ROOT / "report"

# torch is pinned: the extension is built against it, and the stored references were made with it.
TORCH = "torch==2.13.0"
BUILD_TOOLS = ("setuptools>=77", "wheel", "ninja")

# What each backend's environment gets before the distribution itself is installed.
BACKENDS: dict[str, tuple[str, ...]] = {
    "numpy": (),
    "cupy": ("nvidia-cuda-nvrtc-cu12",),
    "torch_ext": (TORCH, *BUILD_TOOLS),
    "jax_vjp": ("optax",),
}
# The tests run in two processes. Who has none left steals some of the same file, whose shapes are
# compiled where there is a compiler.
TWO_PROCESSES = ("-n", "2", "--dist", "worksteal")
# The passes that make a program quick take longer than the programs of most tests, run once, do; so
# do the emitters that go through MLIR, and a program cut into parts to compile side by side.
# `OPTIMIZED` of the implementation's own tests and the fuzzer go through all of them.
UNOPTIMIZED = {
    "XLA_FLAGS": " ".join(
        (
            "--xla_backend_optimization_level=0",
            "--xla_llvm_disable_expensive_passes=true",
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
        )
    )
}
OPTIMIZED = {"jax_vjp": ("test_compilation", "test_lookups", "test_further")}
# matplotlib draws the pictures.
DOCUMENTATION = ("mkdocs==1.6.1", "mkdocs-material==9.6.23", "matplotlib>=3.8")
EMULATION = "impl_cupy/emulation"
CPLUSPLUS = (
    "impl_torch_ext/csrc/*.*",
    "impl_cupy/src/impl_cupy/kernels/*.cu",
    f"{EMULATION}/src/cupy_emulation/*.h",
)
SOURCES = [f"impl_{name}/src" for name in BACKENDS]
SOURCES += [f"{EMULATION}/src", "spec_tests/src", "benchmarks"]


@nox.session
def numpy(session: nox.Session) -> None:
    """Run the suite and the implementation's own tests on impl_numpy."""
    conformance(session, "numpy")


@nox.session
def cupy(session: nox.Session) -> None:
    """Run the suite and the implementation's own tests on impl_cupy: on a GPU, or emulated."""
    # The emulation's products are NumPy's, whose threads get in the way of the other process.
    session.env["OPENBLAS_NUM_THREADS"] = "1"
    conformance(session, "cupy")


@nox.session
def torch_ext(session: nox.Session) -> None:
    """Run the suite and the implementation's own tests on impl_torch_ext (builds the extension)."""
    # Threads of OpenMP that spin while they wait take the processors from the other process.
    session.env["OMP_WAIT_POLICY"] = "PASSIVE"
    conformance(session, "torch_ext")


@nox.session
def jax_vjp(session: nox.Session) -> None:
    """Run the suite and the implementation's own tests on impl_jax_vjp."""
    # Nearly all of its time goes into compiling. Of tests that compile much it asks some cases,
    # each in one dtype; `nox -s jax_vjp -- -n 2` asks all.
    conformance(session, "jax_vjp", quick=True)


@nox.session
def meta(session: nox.Session) -> None:
    """Run the judge's own tests: wrong implementations must fail, by the right clause."""
    forget_builds()
    session.install("./impl_numpy", "./spec_tests[compare,standard,mutation]", "pytest-xdist")
    # Nearly all of its time goes into processes that run the suite on a wrong implementation.
    session.run("python", "-m", "pytest", "spec_tests/tests", *TWO_PROCESSES, *session.posargs)
    if not session.posargs:
        session.run("python", "-m", "pytest", "benchmarks/tests", *TWO_PROCESSES)
        # What two processes of pytest's print is not seen: the tables by themselves.
        for table in ("argument_coverage", "rooms"):
            session.run("python", f"spec_tests/tests/{table}.py")


@nox.session
def style(session: nox.Session) -> None:
    """Check style: Python's by ruff, C++'s by clang-format, and that the picture is up to date."""
    session.install("ruff==0.17.6", "clang-format==23.1.5")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    files = [str(path) for pattern in CPLUSPLUS for path in sorted(ROOT.glob(pattern))]
    session.run("clang-format", "--dry-run", "-Werror", *files)
    session.run("python", "docs/draw_rooms.py", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Check types with mypy in strict mode."""
    session.install("mypy==2.4.1", "numpy>=2.0")
    session.run("mypy", *SOURCES)


@nox.session
def compare(session: nox.Session) -> None:
    """Do the main job: train the same models on real data in all four, and write report/."""
    forget_builds()
    session.install("./spec_tests[compare]")
    arguments = []
    for name in BACKENDS:
        python = backend_python(session, name)
        install_backend(session, name, python)
        arguments += ["--backend", f"impl_{name}={python}"]
        if name == "torch_ext":
            arguments += ["--reference", str(python)]
    # As in its own session, so that a person does not wait for the compiler.
    arguments += ["--quick-suite", "impl_jax_vjp"]
    arguments += [f"--quick-environment={key}={value}" for key, value in UNOPTIMIZED.items()]
    session.run(
        "python", "-m", "spec_tests.compare", *arguments, "--out", str(REPORT), *session.posargs
    )


@nox.session
def across(session: nox.Session) -> None:
    """Train in one implementation, or torch.nn, and go on in another: five times five."""
    folder = Path(session.create_tmp()) / "files"
    shutil.rmtree(folder, ignore_errors=True)
    pythons = {}
    for name in BACKENDS:
        pythons[f"impl_{name}"] = backend_python(session, name)
        install_backend(session, name, pythons[f"impl_{name}"])
    pythons["torch"] = pythons["impl_torch_ext"]
    program = ROOT / "examples" / "training" / "across.py"
    for stage in ("write", "read"):
        for name, python in pythons.items():
            options = ("--impl", name, "--folder", str(folder), "--stage", stage)
            session.run(str(python), str(program), *options, external=True)
    run = (str(program), "--folder", str(folder), "--stage", "table")
    session.run(str(pythons["impl_numpy"]), *run, external=True)


@nox.session
def accuracy(session: nox.Session) -> None:
    """Measure how far each is from float64 and from the others; put it on the page of the matrix.

    ``nox -s accuracy -- [numpy cupy ...]``; left out, all four. Who passes what is read from the
    files in ``report/clauses/``, which the sessions of the four leave there. Where there are
    ``report/compare.json`` and ``report/bench.json``, training and memory are on the page too.
    """
    chosen = [name for name in BACKENDS if name in session.posargs] or list(BACKENDS)
    results = [REPORT / "clauses" / f"impl_{name}.json" for name in chosen]
    missing = [path.stem for path in results if not path.is_file()]
    if missing:
        session.error(f"no result of {', '.join(missing)}: run these sessions first")
    forget_builds()
    session.install("./spec_tests[compare]")
    others = {"--training": REPORT / "compare.json", "--memory": REPORT / "bench.json"}
    found = [part for pair in others.items() if pair[1].is_file() for part in map(str, pair)]
    page = ("spec-tests", "matrix", *map(str, results), *found)
    page += ("--html", str(REPORT / "matrix.html"))
    # First without accuracy: a file that cannot be read is told before the minutes of measuring.
    session.run(*page, success_codes=[0, 1])
    measured = []
    for name in chosen:
        python = backend_python(session, name)
        install_backend(session, name, python)
        measured.append(REPORT / "accuracy" / f"impl_{name}.json")
        run = ("--impl", f"impl_{name}", "--out", str(measured[-1]))
        session.run(str(python), "-m", "spec_tests.accuracy", *run, external=True)
    session.run(*page, "--accuracy", *map(str, measured), success_codes=[0, 1])


@nox.session
def page(session: nox.Session) -> None:
    """Make the page of the matrix, and use it in Chromium: `apt install chromium chromium-driver`.

    Screenshots at two widths go to `report/page/`.
    """
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        session.error(f"not on this machine: {', '.join(missing)}; Debian has both")
    forget_builds()
    session.install("./spec_tests[compare]", "selenium>=4.20")
    env = {"SPEC_TESTS_SCREENSHOTS": str(REPORT / "page")}
    tests = ("test_matrix_page", "test_matrix_training", "test_page_in_chromium")
    files = [f"spec_tests/tests/{name}.py" for name in tests]
    session.run("python", "-m", "pytest", *files, *session.posargs, env=env)


@nox.session
def third_party(session: nox.Session) -> None:
    """Run the suite on somebody else's implementation, which is a part of the specification."""
    forget_builds()
    session.install("./spec_tests", "./examples/third_party", "pytest-xdist")
    result = REPORT / "clauses" / "impl_hips.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    suite = ("--pyargs", "spec_tests.suite", "--impl", "impl_hips", "--result", str(result))
    session.run("python", "-m", "pytest", *suite, *TWO_PROCESSES, *session.posargs)
    session.run("spec-tests", "selftest", "--impl", "impl_hips")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into report/docs, without a warning, and run the code in it.

    ``nox -s docs -- [numpy cupy ...]`` runs the code on these; left out, on all four. Who passes
    is read from the files in ``report/clauses/``, which the sessions of the four leave there.
    """
    forget_builds()
    session.install("./impl_numpy", "./spec_tests[check]", *DOCUMENTATION)
    session.run("python", "-m", "mkdocs", "build", "--strict")
    session.run("python", "-m", "pytest", "docs/tests", "-q")
    for name in [name for name in BACKENDS if name in session.posargs] or list(BACKENDS):
        python = Path(session.bin) / "python"
        if name != "numpy":
            python = backend_python(session, name)
            install_backend(session, name, python)
        run = (str(python), "docs/run_blocks.py", "--impl", f"impl_{name}")
        session.run(*run, external=True)


@nox.session
def array_api(session: nox.Session) -> None:
    """Run the array API standard's public suite, and code that others wrote for the standard.

    ``nox -s array_api -- FOLDER [numpy cupy ...] [pytest's options]``, where FOLDER is a clone of
    the suite. Results go to ``report/array_api/``.
    """
    folder, *rest = session.posargs or [""]
    if not (Path(folder) / "array_api_tests").is_dir():
        session.error(
            "nox -s array_api -- FOLDER [numpy cupy ...]: FOLDER is a clone of the public suite: "
            "git clone --recurse-submodules https://github.com/data-apis/array-api-tests FOLDER"
        )
    chosen = [name for name in BACKENDS if name in rest] or list(BACKENDS)
    options = [option for option in rest if option not in BACKENDS]
    standard, out = ("-m", "spec_tests.standard"), ("--out", str(REPORT / "array_api"))
    consumers = ("-m", "pytest", "spec_tests/tests/test_consumers.py")
    wrong = []
    for name in chosen:
        python = backend_python(session, name)
        install_backend(session, name, python)
        pip = (str(python), "-m", "pip", "install", "--quiet", "./spec_tests[standard]")
        session.run(*pip, external=True)
        suite = ("run", "--suite", str(Path(folder).resolve()), "--impl", f"impl_{name}")
        for what, command in (
            ("the suite", (*standard, *suite, *out, *TWO_PROCESSES, *options)),
            ("the consumers", consumers),
        ):
            try:
                session.run(str(python), *command, external=True)
            except nox.command.CommandFailed:
                # The others are run all the same, and the table shows what each found.
                wrong.append(f"{what} on impl_{name}")
    names = [f"impl_{name}" for name in chosen]
    session.run(str(python), *standard, "table", *out, *names, external=True, success_codes=[0, 1])
    if wrong:
        session.error(f"not as expected: {', '.join(wrong)}")


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the implementations, one place at a time, and see whether the suite alone finds it.

    ``nox -s mutation -- [numpy cupy ...] [options of spec-tests mutation]``. Results go to
    ``report/mutation/``; the same command goes on where it was interrupted.
    """
    chosen = [name for name in BACKENDS if name in session.posargs] or list(BACKENDS)
    options = [option for option in session.posargs if option not in BACKENDS]
    forget_builds()
    session.install("./spec_tests[mutation]")
    missed = []
    for name in chosen:
        python = backend_python(session, name)
        install_backend(session, name, python)
        session.run(str(python), "-m", "pip", "install", "--quiet", "coverage", external=True)
        quick = ("--quick",) if name == "jax_vjp" else ()
        kinds = ("--kind", "python", "cuda") if name == "cupy" else ()
        run = (
            f"impl_{name}={python}",
            "--out",
            str(REPORT / "mutation"),
            *quick,
            *kinds,
            "--processes",
            "2",
        )
        env = UNOPTIMIZED if name == "jax_vjp" else {}
        try:
            session.run("python", "-m", "spec_tests.mutation", *run, *options, env=env)
        except nox.command.CommandFailed:
            # The others are run all the same.
            missed.append(name)
    if missed:
        session.error(f"not finished, or below what was asked: {', '.join(missed)}")


@nox.session
def bench(session: nox.Session) -> None:
    """Time the four and their peers in turns, each in its environment; write report/bench.html."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.options import options
    from benchmarks.peers.table import needed

    chosen = options(session.posargs)
    forget_builds()
    session.install("./spec_tests[compare]")
    arguments = []
    for name in needed([*chosen.impl, *chosen.peer]):
        reason = ""
        if name in BACKENDS:
            python = backend_python(session, name)
            install_backend(session, name, python)
        else:
            python, reason = install_peer(session, name)
        found = ("--missing", reason) if reason else ("--environment", python)
        arguments += [found[0], f"{name}={found[1]}"]
    session.run("python", "-m", "benchmarks", *arguments, "--out", str(REPORT), *session.posargs)


def install_peer(session: nox.Session, name: str) -> tuple[Path, str]:
    """Make the environment of a benchmark's peer; return its interpreter, and what went wrong."""
    from benchmarks.peers.table import ENVIRONMENTS

    python = backend_python(session, f"bench-{name}")
    installs = next(row.installs for row in ENVIRONMENTS if row.name == name)
    for packages in installs:
        try:
            session.run(str(python), "-m", "pip", "install", "--quiet", *packages, external=True)
        except nox.command.CommandFailed as error:
            # A peer that cannot be had is reported, and the run goes on without it.
            return python, f"could not be installed: pip install {' '.join(packages)}: {error}"
    return python, ""


def conformance(session: nox.Session, name: str, *, quick: bool = False) -> None:
    """Install one implementation and run the suite and its own tests on it.

    What stands behind ``--`` goes to pytest, for the suite alone. With `quick` the suite leaves out
    cases, unless there are options behind ``--``.
    """
    python = Path(session.bin) / "python"
    install_backend(session, name, python)
    result = REPORT / "clauses" / f"impl_{name}.json"
    result.parent.mkdir(parents=True, exist_ok=True)
    pytest = ("python", "-m", "pytest")
    suite = ("--pyargs", "spec_tests.suite", "--impl", f"impl_{name}", "--result", str(result))
    some = session.posargs or (["--quick"] if quick else [])
    env = UNOPTIMIZED if quick and not session.posargs else {}
    session.run(*pytest, *suite, *TWO_PROCESSES, *some, env=env)
    if not session.posargs:
        own = f"impl_{name}/tests"
        optimized = [f"{own}/{file}.py" for file in OPTIMIZED.get(name, ())]
        others = [f"--ignore={file}" for file in optimized]
        session.run(*pytest, own, *others, *TWO_PROCESSES, env=env)
        if optimized:
            session.run(*pytest, *optimized, *TWO_PROCESSES)
        # What the judge asks of installed packages, and each is installed in its own session only.
        judged = ("test_public_names", "test_independence", "test_fuzz")
        files = [f"spec_tests/tests/{name}.py" for name in judged]
        session.run(*pytest, *files, *TWO_PROCESSES)
    if not session.posargs and name == "cupy":
        session.run(*pytest, f"{EMULATION}/tests")
    if not session.posargs and name == "torch_ext":
        # The comparison's reference is made with torch, which the judge's own session lacks.
        session.run(*pytest, "spec_tests/tests/test_compare_reference.py")
        session.run(*pytest, "spec_tests/tests/test_check_torch.py", *TWO_PROCESSES)
    if not session.posargs and name == "jax_vjp":
        session.run(*pytest, "spec_tests/tests/test_check_jax.py", *TWO_PROCESSES)


def backend_python(session: nox.Session, name: str) -> Path:
    """Return the interpreter of a backend's environment, which its test session uses too."""
    folder = Path(session.virtualenv.location).parent / name
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        shutil.rmtree(folder, ignore_errors=True)
        session.run(sys.executable, "-m", "virtualenv", str(folder), external=True, silent=True)
    return python


def install_backend(session: nox.Session, name: str, python: Path) -> None:
    """Install an implementation and the suite into the environment of ``python``.

    Without a CUDA device the session emulates one from here on.
    """
    pip = (str(python), "-m", "pip", "install", "--quiet")
    if BACKENDS[name]:
        session.run(*pip, *BACKENDS[name], external=True)
    # torch must be the one that the extension will run with, so no isolated build for it.
    isolation = ("--no-build-isolation",) if name == "torch_ext" else ()
    forget_builds()
    session.run(*pip, *isolation, f"./impl_{name}", external=True)
    if name == "cupy":
        session.run(*pip, f"./{EMULATION}", external=True)
    session.run(*pip, "./spec_tests", "pytest-xdist", external=True)
    if name == "cupy":
        emulate_without_a_gpu(session, python)


def forget_builds() -> None:
    """Remove what earlier builds left: it would be packed again, files deleted since included."""
    for leftover in [*ROOT.glob("*/build/lib*"), *(ROOT / EMULATION).glob("build/lib*")]:
        shutil.rmtree(leftover)


def emulate_without_a_gpu(session: nox.Session, python: Path) -> None:
    """Set IMPL_CUPY_EMULATE for this session if no CUDA device answers."""
    probe = """
import cupy
try:
    print("devices:", cupy.cuda.runtime.getDeviceCount())
except cupy.cuda.runtime.CUDARuntimeError as error:
    print("devices: none,", error)
"""
    answer = str(session.run(str(python), "-c", probe, external=True, silent=True, log=False))
    if "devices: none" in answer or "devices: 0" in answer:
        session.log("No CUDA device answers: impl_cupy runs on its CPU emulation, no GPU code.")
        session.env["IMPL_CUPY_EMULATE"] = "1"
