"""Who is measured, and the environments that they live in. A new peer joins as a row of each.

Needs the standard library alone: nox reads it to make the environments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["CONTESTANTS", "ENVIRONMENTS", "OURS", "Contestant", "Environment", "needed"]

# torch only by this pin, which the extension is built against and the references were made with.
TORCH = "torch==2.13.0"
NUMPY = "numpy==2.4.6"
JAX = ("jax==0.10.2", "optax==0.2.8")
# For the workloads and the memory gauge of spec_tests, and to ask which BLAS is loaded.
TOOLS = ("pytest==9.2.0", "threadpoolctl==3.6.0")


@dataclass(frozen=True)
class Environment:
    """Packages that are installed together.

    Attributes
    ----------
    name : str
    installs : tuple of tuple of str
        What pip is asked for, one call after the other.
    variables : tuple of pair of str
        Environment variables that the processes get.
    old_blas : bool
        Whether its OpenBLAS may need a core type set by hand, which a current one is slowed by.
    """

    name: str
    installs: tuple[tuple[str, ...], ...]
    variables: tuple[tuple[str, str], ...] = ()
    old_blas: bool = False


# Those of the implementations, numpy, cupy, torch_ext and jax_vjp, are made by the noxfile.
ENVIRONMENTS: tuple[Environment, ...] = (
    Environment("torch", ((TORCH, NUMPY, "setuptools>=77", *TOOLS),)),
    Environment("flax", (("flax==0.12.8", *JAX, NUMPY, *TOOLS),)),
    Environment("equinox", (("equinox==0.13.8", *JAX, NUMPY, *TOOLS),)),
    Environment(
        "keras", (("keras==3.15.1", *JAX, NUMPY, *TOOLS),), variables=(("KERAS_BACKEND", "jax"),)
    ),
    Environment("autograd", (("autograd==1.9.1", "scipy==1.17.1", NUMPY, *TOOLS),)),
    Environment("mygrad", (("mygrad==2.5.0", NUMPY, *TOOLS),)),
    Environment(
        "chainer",
        (
            # Its setup.py is older than what isolated builds bring.
            ("setuptools<58", "wheel", "numpy==1.23.5", *TOOLS),
            ("--no-build-isolation", "chainer==7.8.1"),
        ),
        variables=(("CHAINER_WARN_VERSION_MISMATCH", "0"),),
        old_blas=True,
    ),
    # Compiles by clang, which has to be on the machine.
    Environment("tinygrad", (("tinygrad==0.14.0", NUMPY, *TOOLS),), variables=(("DEV", "CPU"),)),
)


@dataclass(frozen=True)
class Contestant:
    """One side of a comparison.

    Attributes
    ----------
    name : str
    module : str
        The module that makes its work.
    library : str
        What it imports.
    environments : tuple of str
        Where it is installed; the first that there is serves.
    argument : str
        For the module's ``makers``.
    role : str
        ``"ours"``, ``"peer"``, or ``"blas"``: multiplies matrices, which gauges the machine.
    """

    name: str
    module: str
    library: str
    environments: tuple[str, ...]
    argument: str = ""
    role: str = "peer"


def _ours(name: str, mode: str = "") -> Contestant:
    label = f"{name} {mode}".strip()
    place = name.removeprefix("impl_")
    return Contestant(label, "benchmarks.peers.ours", name, (place,), label, "ours")


def _peer(name: str, module: str, library: str, place: str, argument: str = "") -> Contestant:
    return Contestant(name, f"benchmarks.peers.{module}", library, (place,), argument)


def _blas(name: str, *places: str) -> Contestant:
    return Contestant(name, "benchmarks.peers.blas", name, places, name, "blas")


CONTESTANTS: tuple[Contestant, ...] = (
    _ours("impl_numpy"),
    _ours("impl_cupy"),
    _ours("impl_torch_ext"),
    _ours("impl_jax_vjp"),
    _ours("impl_jax_vjp", "jit"),
    _peer("torch.nn", "torch_nn", "torch", "torch"),
    _peer("torch.compile", "torch_nn", "torch", "torch", "compile"),
    _peer("flax.nnx", "flax_nnx", "flax.nnx", "flax"),
    _peer("equinox", "equinox_scan", "equinox", "equinox"),
    _peer("lax.scan", "jax_scan", "jax", "flax"),
    _peer("keras", "keras_layers", "keras", "keras"),
    _peer("autograd", "hips_autograd", "autograd", "autograd"),
    _peer("mygrad", "mygrad_tensors", "mygrad", "mygrad"),
    _peer("chainer", "chainer_links", "chainer", "chainer"),
    _peer("tinygrad", "tinygrad_tensors", "tinygrad", "tinygrad"),
    # The best of these is what efficiency is measured by; importing them is part of importing ours.
    _blas("numpy", "numpy", "autograd", "mygrad", "jax_vjp"),
    _blas("torch", "torch", "torch_ext"),
)
OURS = tuple(contestant.name for contestant in CONTESTANTS if contestant.role == "ours")


def needed(names: Iterable[str]) -> tuple[str, ...]:
    """Return the environments that these contestants live in, each once.

    Raises
    ------
    ValueError
        If a name is not in the table.
    """
    known = {contestant.name: contestant for contestant in CONTESTANTS}
    found: dict[str, None] = {}
    for name in names:
        if name not in known:
            msg = f"needed: {name!r} is not in the table, which has {', '.join(known)}"
            raise ValueError(msg)
        found[known[name].environments[0]] = None
    return tuple(found)
