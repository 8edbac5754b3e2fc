"""Compiles CUDA sources for the CPU with g++, and keeps what was compiled."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from .device import CompileException
from .sourcetext import has_barriers, kernel_names, with_dynamic_shared_memory

_HEADERS = ("prelude.h", "prelude_math.h", "prelude_fibers.h")
_FLAGS = ("-shared", "-fPIC", "-w", "-fno-strict-aliasing", "-ffp-contract=off")
_SANITIZED = ("-fsanitize=address,alignment", "-fno-sanitize-recover=all", "-g", "-O1")
_VECTORIZED = ("-O3", "-fno-trapping-math", "-fno-math-errno")
_IGNORED = (
    "-use_fast_math",
    "-fmad",
    "-ftz",
    "-lineinfo",
    "-generate-line-info",
    "-prec-",
    "-maxrregcount",
)


class Library:
    """The kernels of one compiled source."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._library = ctypes.CDLL(str(path))
        self._numbers = {name: number for number, name in enumerate(names)}
        self._library.emulation_message.restype = ctypes.c_char_p

    def __contains__(self, name: str) -> bool:
        return name in self._numbers

    def signature(self, name: str) -> tuple[str, ...]:
        """Return the kernel's parameter types, such as ``("*f4", "i4")``."""
        function = getattr(self._library, f"emulation_signature_{self._numbers[name]}")
        function.restype = ctypes.c_char_p
        text = function().decode()
        return tuple(text.split(",")) if text else ()

    def launcher(self, name: str) -> Any:
        """Return the C function that runs the kernel over a grid; it returns 0 or a failure."""
        return getattr(self._library, f"emulation_launch_{self._numbers[name]}")

    def message(self) -> str:
        """Return what the last failed launch said."""
        return str(self._library.emulation_message().decode())


@functools.cache
def load(code: str, options: tuple[str, ...], extra_names: tuple[str, ...]) -> Library:
    """Compile a CUDA source, or find it compiled, and load it.

    Parameters
    ----------
    code : str
        The source, as NVRTC gets it.
    options : tuple of str
        NVRTC's options. ``-D``, ``-I`` and ``-std`` are passed on; those about speed and precision
        are not.
    extra_names : tuple of str
        Name expressions of templates, beside the kernels that the source names.

    Raises
    ------
    CompileException
        If g++ rejects the source, with its message, or an option is unknown.
    RuntimeError
        If there is no g++, or AddressSanitizer is asked for in a process that it was not preloaded
        into.
    """
    flags = _compiler_flags(options)
    names = [*kernel_names(expanded(code, flags)), *extra_names]
    names = list(dict.fromkeys(names))
    text = _translation_unit(code, names)
    if has_barriers(code):
        flags = [*flags, "-DEMULATION_FIBERS"]
    return Library(_compiled(text, flags), names)


@functools.cache
def load_loop(preamble: str, parameters: str, operation: str, options: tuple[str, ...]) -> Any:
    """Compile an operation on single elements as a loop, or find it compiled, and load it.

    Parameters
    ----------
    preamble : str
        CUDA C++ that comes before the loop.
    parameters : str
        Those of the loop's function; ``_size`` is the number of elements.
    operation : str
        What is done with element ``i``; no two elements depend on one another.
    options : tuple of str
        NVRTC's, as for `load`.

    Returns
    -------
    ctypes function

    Raises
    ------
    CompileException, RuntimeError
        As for `load`.
    """
    text = (
        f'#include "prelude.h"\n{preamble}\n'
        f'extern "C" void emulation_loop({parameters}) {{\n'
        "#pragma GCC ivdep\n"
        f"for (long long i = 0; i < _size; ++i) {{\n{operation}\n}}\n}}\n"
    )
    flags = _compiler_flags(options)
    flags = flags if sanitizing() else [*flags, *_VECTORIZED]
    return ctypes.CDLL(str(_compiled(text, flags))).emulation_loop


def _compiled(text: str, flags: list[str]) -> Path:
    """Compile a source, unless it was compiled before, and return where the result is."""
    prelude = [resources.files(__package__).joinpath(name).read_text() for name in _HEADERS]
    digest = hashlib.sha256("\0".join([text, *prelude, *flags, _version()]).encode()).hexdigest()
    path = cache_directory() / f"{digest}.so"
    if not path.exists():
        _compile(text, flags, path)
    return path


def expanded(code: str, flags: Sequence[str] = ()) -> str:
    """Return a CUDA source with its macros expanded and its comments gone."""
    definitions = [flag for flag in flags if flag.startswith(("-D", "-I"))]
    return _run(["-E", "-P", "-x", "c++", *definitions, "-"], code)


def cache_directory() -> Path:
    """Return the folder of compiled kernels: private to the user, made if need be.

    It is ``CUPY_EMULATION_CACHE`` if set, else a folder in the place for temporary files. One
    that another user could write to is not trusted; a fresh one is made then, which lasts as long
    as the process.
    """
    chosen = os.environ.get("CUPY_EMULATION_CACHE")
    if chosen:
        path = Path(chosen)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
    path = Path(tempfile.gettempdir()) / f"cupy_emulation_{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        return path
    return _private_directory()


@functools.cache
def _private_directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="cupy_emulation_"))


def sanitizing() -> bool:
    """Tell whether kernels are to be compiled with AddressSanitizer.

    Raises
    ------
    RuntimeError
        If they are, and its library was not loaded first: it would end the process.
    """
    wanted = os.environ.get("CUPY_EMULATION_SANITIZE", "")
    if wanted not in ("", "address"):
        msg = f"CUPY_EMULATION_SANITIZE must be 'address' or unset, got {wanted!r}"
        raise RuntimeError(msg)
    if wanted and "libasan" not in os.environ.get("LD_PRELOAD", ""):
        msg = (
            "CUPY_EMULATION_SANITIZE=address needs libasan preloaded; run "
            "`python -m cupy_emulation.sanitize COMMAND...` instead"
        )
        raise RuntimeError(msg)
    return bool(wanted)


def compiler_command() -> str:
    """Return the C++ compiler: ``CXX``, or g++."""
    return os.environ.get("CXX", "g++")


def _compiler_flags(options: tuple[str, ...]) -> list[str]:
    flags = ["-std=c++17"]
    for option in options:
        bare = "-" + option.lstrip("-")
        if bare.startswith(("-D", "-I", "-std=")):
            flags.append(bare)
        elif not bare.startswith(_IGNORED):
            msg = f"RawModule: the emulation does not know the option {option!r}"
            raise CompileException(msg)
    return [*flags, *_FLAGS, *(_SANITIZED if sanitizing() else ("-O2",))]


def _translation_unit(code: str, names: list[str]) -> str:
    entries = "".join(
        f'extern "C" const char *emulation_signature_{number}() {{\n'
        f"  return emulation::Kernel<&{name}>::signature();\n"
        "}\n"
        f'extern "C" int emulation_launch_{number}(const emulation::Shape *shape,\n'
        "                                          const uint64_t *words) {\n"
        f"  return emulation::Kernel<&{name}>::launch(shape, words);\n"
        "}\n"
        for number, name in enumerate(names)
    )
    return (
        f'#include "prelude.h"\n#line 1 "kernel.cu"\n{with_dynamic_shared_memory(code)}\n'
        f'#line 1 "entries.cpp"\n'
        'extern "C" const char *emulation_message() { return emulation::message; }\n'
        f"{entries}"
    )


def _compile(text: str, flags: list[str], path: Path) -> None:
    work = Path(tempfile.mkdtemp(dir=path.parent))
    try:
        source, library = work / "kernel.cpp", work / "kernel.so"
        source.write_text(text)
        with resources.as_file(resources.files(__package__)) as include:
            _run([*flags, f"-I{include}", str(source), "-o", str(library)])
        library.replace(path)
    finally:
        shutil.rmtree(work)


@functools.cache
def _version() -> str:
    return _run(["--version"])


def _run(arguments: list[str], text: str = "") -> str:
    # A preloaded AddressSanitizer would watch the compiler, too.
    environment = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    try:
        done = subprocess.run(
            [compiler_command(), *arguments],
            input=text,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
    except FileNotFoundError as error:
        msg = f"the emulation of CUDA kernels needs a C++ compiler, not found: {compiler_command()}"
        raise RuntimeError(msg) from error
    if done.returncode != 0:
        raise CompileException(done.stderr)
    return done.stdout
