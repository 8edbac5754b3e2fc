"""What importing and using an implementation leaves of the interpreter, seen from a new process."""

import contextlib
import importlib
import logging
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

# The package that a program imports for a backend, by where its arrays' class lives.
_PACKAGES = {"jaxlib": "jax"}


def backend_of(nn: Any) -> str:
    """Return the package that a program imports to make raw arrays, or an empty string."""
    root = type(nn.zeros(1).data).__module__.partition(".")[0]
    name = _PACKAGES.get(root, root)
    return name if name in ("numpy", "cupy", "torch", "jax") else ""


def observed(implementation: str, backend: str, folder: str, wide: str) -> list[list[str]]:
    """Import the backend, then the implementation, then use it.

    Parameters
    ----------
    implementation, backend : str
        What is imported; no backend where it has no package of its own.
    folder : str
        Where a file may be written.
    wide : str
        Not empty where the program has chosen 64 bits as the backend's default.

    Returns
    -------
    list of two lists of str
        What the import changed, and what the calls changed beyond it.
    """
    if backend:
        importlib.import_module(backend)
    # A program's own choices, which are not the defaults.
    np.seterr(under="raise", over="warn", divide="raise", invalid="warn")
    np.set_printoptions(precision=3, threshold=17)
    warnings.simplefilter("error", DeprecationWarning)
    random.seed(5)
    np.random.seed(7)
    _choose(backend, bool(wide))
    before = _snapshot(backend)
    nn = importlib.import_module(implementation)
    after = _snapshot(backend)
    _use(nn, Path(folder))
    later = _snapshot(backend)
    return [_differences(before, after), _differences(after, later)]


def _choose(backend: str, wide: bool) -> None:
    if backend == "torch":
        torch: Any = importlib.import_module("torch")
        torch.manual_seed(11)
        torch.set_num_threads(2)
        if wide:
            torch.set_default_dtype(torch.float64)
    if backend == "jax":
        importlib.import_module("jax").config.update("jax_enable_x64", wide)


def _snapshot(backend: str) -> dict[str, str]:
    state = {
        "numpy.geterr": repr(np.geterr()),
        "numpy.geterrcall": repr(np.geterrcall()),
        "numpy.get_printoptions": repr(np.get_printoptions()),
        "numpy.random": repr([str(part) for part in np.random.get_state()]),
        "numpy's results": _results_of_numpy(),
        "warnings.filters": repr(warnings.filters),
        "warnings.showwarning": repr(warnings.showwarning),
        "random": repr(random.getstate()),
        "signals": repr([(s, signal.getsignal(s)) for s in sorted(signal.valid_signals())]),
        "environment": repr(sorted(os.environ.items())),
        "directory": str(Path.cwd()),
        "recursion limit": str(sys.getrecursionlimit()),
        "switch interval": str(sys.getswitchinterval()),
        "hooks": repr((sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook)),
        "trace": repr((sys.gettrace(), sys.getprofile())),
        "streams": repr((sys.stdin, sys.stdout, sys.stderr)),
        "logging": repr((logging.root.level, logging.root.handlers, logging.root.disabled)),
        "threads": repr([t.name for t in threading.enumerate()]),
    }
    if backend in _SETTINGS:
        state |= {f"{backend} {name}": value for name, value in _SETTINGS[backend]().items()}
    return state


def _results_of_numpy() -> str:
    results = [np.ones(3).dtype, np.arange(3).dtype, np.float32(1) + 1, np.array([1, 2.5])]
    try:
        results.append(np.array([1.0]) / np.array([0.0]))
    except FloatingPointError as error:
        results.append(str(error))
    return repr(results)


def _of_torch() -> dict[str, str]:
    torch: Any = importlib.import_module("torch")
    return {
        "default dtype": str(torch.get_default_dtype()),
        "threads": str((torch.get_num_threads(), torch.get_num_interop_threads())),
        "grad": str((torch.is_grad_enabled(), torch.is_inference_mode_enabled())),
        "anomaly": str(torch.is_anomaly_enabled()),
        "generator": str(torch.get_rng_state().sum().item()) + str(torch.initial_seed()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "precision": torch.get_float32_matmul_precision(),
        "printing": repr(vars(torch._tensor_str.PRINT_OPTS)),
        "device": str(torch.get_default_device()),
        "flush": str(torch.tensor(1e-40).mul(1.0).item()),
        "onednn": str(torch.backends.mkldnn.enabled),
        "results": repr([torch.ones(2).dtype, torch.arange(2).dtype, torch.tensor(1.5) + 1]),
        "methods": repr(sorted((n, id(v)) for n, v in vars(torch.Tensor).items())),
    }


def _of_jax() -> dict[str, str]:
    jax: Any = importlib.import_module("jax")
    jnp: Any = importlib.import_module("jax.numpy")
    values = {f"config {name}": repr(value) for name, value in jax.config.values.items()}
    doubled = jax.jit(lambda x: x * 2)
    results = [
        jnp.ones(3).dtype,
        jnp.arange(3).dtype,
        jnp.asarray(1.5).dtype,
        jnp.asarray(np.ones(2, np.float32)).dtype,
        doubled(jnp.ones(2)).dtype,
        jax.random.normal(jax.random.key(0), (2,)).tolist(),
        jax.grad(lambda x: x * x)(3.0).dtype,
        jnp.finfo(float).bits,
    ]
    with warnings.catch_warnings(), contextlib.suppress(Exception):
        warnings.simplefilter("ignore")
        results.append(jnp.ones(3, dtype="float64").dtype)
    return values | {"results": repr(results)}


def _of_cupy() -> dict[str, str]:
    cupy: Any = importlib.import_module("cupy")
    return {
        "allocator": repr(cupy.cuda.get_allocator()),
        "results": repr([cupy.dtype(float), cupy.dtype(int)]),
    }


_SETTINGS: dict[str, Any] = {"torch": _of_torch, "jax": _of_jax, "cupy": _of_cupy}


def _use(nn: Any, folder: Path) -> None:
    """Make calls of every chapter, errors among them."""
    nn.manual_seed(3)
    dtypes = [nn.float32] + [nn.float64] * bool(nn.spec_capabilities()["float64"])
    for dtype in dtypes:
        model = nn.Sequential(nn.Linear(3, 4, dtype=dtype), nn.Tanh(), nn.Dropout(0.5))
        layer = nn.LSTM(4, 2, dtype=dtype)
        parameters = [*model.parameters(), *layer.parameters()]
        optimizer = nn.optim.Adam(parameters, lr=0.1)
        x = nn.randn((5, 2, 3), dtype=dtype)
        for _ in range(2):
            optimizer.zero_grad()
            nn.ops.mean(layer(model(x))[0] ** 2).backward()
            optimizer.step()
        slope = nn.grad(lambda x: nn.ops.sum(nn.ops.exp(x) * x))
        nn.ops.sum(slope(x))
        if nn.spec_capabilities()["jit"]:
            nn.jit(slope)(x)
        y = nn.tensor([0.0, -1.0, 3e38], dtype=dtype)
        repr([nn.ops.log(y), nn.ops.sqrt(y), y / 0, y * y, nn.ops.exp(-y), str(y), y.tolist()])
    if nn.spec_capabilities()["serialization"]:
        nn.save(model, folder / "model.safetensors")
        nn.load(folder / "model.safetensors")
    with contextlib.suppress(Exception):
        nn.ones((2,)) + nn.ones((3,))
    with contextlib.suppress(Exception):
        nn.tensor("text")
    with nn.no_grad():
        nn.ops.softmax(nn.ones((2, 2)))


def _differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    changed = [name for name in before if before[name] != after.get(name)]
    return [f"{name}: {before[name][:200]} -> {str(after.get(name))[:200]}" for name in changed]
